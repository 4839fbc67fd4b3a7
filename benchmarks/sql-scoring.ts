// How fast SQL answers are scored, nothing remembered, and the same pairs through the reference's evaluator beside it.
//   node benchmarks/sql-scoring.ts [--reference CHECKOUT] [--data ../shared/data] [--workers 2] [--repeats 5]
// CHECKOUT (or LSE_REFERENCE in the environment) is a clone of github.com/chenyn66/learning-to-self-evolve; python3 runs it.
// Best of the repeats on both sides, taken in turn, so that other work on the machine touches both alike. Our worker processes start
// once, as in an evolution; every query of every repeat is run. The reference is a new process each time, its start not counted.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { rng } from '../src/core/rng.ts'
import type { Result } from '../src/tasks/sql/result.ts'
import type { Sandbox } from '../src/tasks/sql/sandbox.ts'
import { sqlSandbox } from '../src/tasks/sql/sandbox.ts'

interface Pair {
  readonly db: string
  readonly gold: string
  readonly prediction: string
}

const { values: options } = parseArgs({
  options: {
    reference: { type: 'string', default: process.env.LSE_REFERENCE ?? '' },
    data: { type: 'string', default: join(import.meta.dirname, '../../shared/data') },
    workers: { type: 'string', default: '2' },
    repeats: { type: 'string', default: '5' },
  },
})
const databases = join(options.data, 'databases')
const sets: Record<string, readonly string[]> = {
  geography: ['geography'],
  world_1: ['world_1'],
  KaggleDBQA: ['GeoNuclearData', 'GreaterManchesterCrime', 'StudentMathScore'],
}

if (!options.reference) console.log('reference not given: absolute numbers only')
for (const [name, dbs] of Object.entries(sets)) {
  const pairs = pairsOf(dbs, 500)
  await using sandbox = sqlSandbox({ workers: Number(options.workers), cache: 0 })
  const ours: number[] = []
  const theirs: Record<string, number[]> = {}
  for (let repeat = 0; repeat < Number(options.repeats); repeat++) {
    const mine = await scored(pairs, sandbox)
    ours.push(mine.seconds)
    if (!options.reference) continue
    const peer = reference(pairs)
    if (peer.right !== mine.right) console.log(`${name}: ${mine.right} right here, ${peer.right} in the reference`)
    for (const [threads, seconds] of Object.entries(peer.seconds)) theirs[threads] = [...(theirs[threads] ?? []), seconds]
  }
  const rate = (seconds: readonly number[]): number => Math.round(pairs.length / Math.min(...seconds))
  const peers = Object.entries(theirs).map(([threads, seconds]) => `reference, ${threads} thread(s) ${rate(seconds)}`)
  const best = Math.max(...Object.values(theirs).map(rate))
  const ratio = options.reference ? ` · ratio to its best ${(rate(ours) / best).toFixed(2)}` : ''
  console.log(`${name}: ${[`${options.workers} workers ${rate(ours)} pairs/s`, ...peers].join(' · ')}${ratio}`)
}

/** Half of the predictions are the gold query itself, half that of some question on the same database. */
function pairsOf(dbs: readonly string[], count: number): readonly Pair[] {
  const questions = ['spider-dev', 'kaggledbqa', 'geography']
    .flatMap((file) =>
      readFileSync(join(options.data, 'questions', `${file}.jsonl`), 'utf8')
        .trim()
        .split('\n'),
    )
    .map((line): { db_id: string; SQL: string } => JSON.parse(line))
    .filter((question) => dbs.includes(question.db_id))
  const draw = rng('sql-scoring', ...dbs)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(draw() * from.length)]!
  return Array.from({ length: count }, () => {
    const question = pick(questions)
    const other = draw() < 0.5 ? question : pick(questions.filter((q) => q.db_id === question.db_id))
    return { db: question.db_id, gold: question.SQL, prediction: other.SQL }
  })
}

async function scored(pairs: readonly Pair[], sandbox: Sandbox): Promise<{ right: number; seconds: number }> {
  const run = ({ db }: Pair, sql: string): Promise<Result> => sandbox.query(join(databases, db, `${db}.sqlite`), sql)
  const started = performance.now()
  const right = await Promise.all(
    pairs.map(async (pair) => {
      const [a, b] = await Promise.all([run(pair, pair.prediction), run(pair, pair.gold)])
      return a.kind === 'rows' && b.kind === 'rows' && a.digest === b.digest
    }),
  )
  return { right: right.filter(Boolean).length, seconds: (performance.now() - started) / 1000 }
}

function reference(pairs: readonly Pair[]): { right: number; seconds: Record<string, number> } {
  const folder = mkdtempSync(join(tmpdir(), 'sql-scoring-'))
  try {
    writeFileSync(join(folder, 'pairs.json'), JSON.stringify(pairs))
    const script = join(import.meta.dirname, 'sql-scoring.py')
    return JSON.parse(
      execFileSync('python3', [script, options.reference, databases, join(folder, 'pairs.json')], { encoding: 'utf8' }),
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
}
