// What the loop does with a real, small model: SmolLM2-135M in this process, one thread, edits by `rememberFailures` (no model). Writes its
// figures into docs/measured.md, bad ones too. A figure here says something about the loop; nothing about evolvers.
// Usage: LAMARCK_GGUF=$(npm run -s fetch-smollm2) node benchmarks/real/smollm2.ts [NAME …]    default: all
import { cpus } from 'node:os'
import { basename, dirname } from 'node:path'
import type { Model } from '../../src/core/model.ts'
import { rng, shuffle } from '../../src/core/rng.ts'
import { meanInterval } from '../../src/core/statistics.ts'
import type { Example, Task } from '../../src/core/task.ts'
import { evolve } from '../../src/evolve.ts'
import { type LlamaModel, llama } from '../../src/models/llama.ts'
import { type RealTask, realTasks } from '../../src/recipes/quickstart-real.ts'
import { rememberFailures } from '../../src/recipes/remember-failures.ts'
import { percent, points, type Report } from '../../src/report.ts'
import { mmluTask } from '../../src/tasks/mmlu.ts'
import { type Row, readRows } from '../../src/tasks/read.ts'
import { type SqlOptions, sqlSeed, sqlTask } from '../../src/tasks/sql/sql.ts'
import { record } from './measured.ts'

interface Experiment extends RealTask {
  readonly sequences?: number
  readonly say?: (gold: string) => string
}

const shared = new URL('../../../shared/data/', import.meta.url).pathname

const answered = (gold: string): string => `<answer>${gold}</answer>`

/** Settings that the text-to-SQL experiments share. */
const sql = {
  seeds: [1],
  rounds: 4,
  format: 'chat',
  contextSize: 2560,
  most: 4,
  say: answered,
  model: (model: LlamaModel): Model => model,
} as const

function questions(options: Omit<SqlOptions, 'context' | 'params'>): Promise<Task<Example, unknown, Model>> {
  return sqlTask({ ...options, context: { ...sqlSeed, examples: [] }, params: { maxTokens: 96 } })
}

/** `count` rows, all of a group or none where it fits, groups in an order by chance. */
async function someRows(file: string, count: number, groupOf: (row: Row) => unknown): Promise<readonly Row[]> {
  const groups = Map.groupBy(await readRows(file), groupOf)
  const taken: Row[] = []
  for (const group of shuffle([...groups.values()], rng('real'))) if (taken.length + group.length <= count) taken.push(...group)
  return taken
}

const mmluSubject = 'high_school_geography'

const experiments: Readonly<Record<string, Experiment>> = {
  ...realTasks,
  mmlu: {
    title: 'MMLU-Redux, high school geography',
    about:
      'Sound items of one subject, free generation of at most 24 tokens, letter between <answer> tags. Chance is 25 %: a gain up to there is the form of the answer, not knowledge.',
    seeds: [1],
    rounds: 4,
    format: 'chat',
    contextSize: 2048,
    most: 4,
    say: answered,
    task: (seed) =>
      mmluTask({
        data: `${shared}mmlu-redux`,
        subject: mmluSubject,
        context: { instructions: 'Answer the multiple choice question.', examples: [] },
        params: { maxTokens: 24 },
        seed,
      }),
    model: (model) => model,
  },
  geography: {
    ...sql,
    title: 'Text to SQL on GeoQuery',
    about:
      '100 questions of GeoQuery in its SQL version (not BIRD), split by query_group: the patterns of test questions are new. Free generation of at most 96 tokens, right if the rows are.',
    task: async (seed) =>
      questions({
        name: 'geography',
        database: `${shared}databases/geography/geography.sqlite`,
        questions: await someRows(`${shared}questions/geography.jsonl`, 100, (row) => row.query_group),
        groupBy: 'query_group',
        seed,
      }),
  },
  world_1: {
    ...sql,
    title: 'Text to SQL on world_1',
    about:
      '100 questions of Spider dev on the database world_1 (not BIRD); questions with the same query are in the same split. Free generation of at most 96 tokens, right if the rows are.',
    task: async (seed) => {
      const rows = await readRows(`${shared}questions/spider-dev.jsonl`)
      return questions({
        name: 'world_1',
        database: `${shared}databases/world_1/world_1.sqlite`,
        questions: rows.filter((row) => row.db_id === 'world_1').slice(0, 100),
        groupBy: 'gold',
        seed,
      })
    },
  },
  kaggledbqa: {
    ...sql,
    title: 'Text to SQL on KaggleDBQA',
    about: 'All 87 questions at hand, on 3 databases (not BIRD). Free generation of at most 96 tokens, right if the rows are.',
    sequences: 4,
    task: (seed) =>
      questions({
        name: 'kaggledbqa',
        database: `${shared}databases`,
        questions: `${shared}questions/kaggledbqa.jsonl`,
        seed,
      }),
  },
}

const file = process.env.LAMARCK_GGUF
if (!file) throw new Error('set LAMARCK_GGUF to a model file; npm run fetch-smollm2 prints one')
const names = process.argv.slice(2)
const unknown = names.find((name) => !(name in experiments))
if (unknown !== undefined) throw new Error(`no experiment "${unknown}" (have: ${Object.keys(experiments).join(', ')})`)
for (const [name, experiment] of Object.entries(experiments)) {
  if (names.length > 0 && !names.includes(name)) continue
  await record(`smollm2 ${name}`, await section(name, experiment, file))
}

interface Took {
  readonly report: Report
  readonly cpu: number // seconds
}

async function section(name: string, experiment: Experiment, path: string): Promise<string> {
  const { title, about, seeds, rounds, format = 'chat', contextSize, sequences = 2, most } = experiment
  await using model = await llama(path, { packages: dirname(path), format, contextSize, sequences })
  const took: Took[] = []
  for (const seed of seeds) {
    const one = await measure(experiment, model, seed)
    console.log(name, seed, rowOf(one, seed))
    took.push(one)
  }
  const { splits } = took[0]!.report
  const command = `LAMARCK_GGUF=$(npm run -s fetch-smollm2) node benchmarks/real/smollm2.ts ${name}`
  const gains = took.map(({ report }) => report.gain.mean)
  const over = meanInterval(gains, { within: [-1, 1] })
  return [
    `## ${title}`,
    '',
    about,
    '',
    `${new Date().toISOString().slice(0, 10)}, ${basename(path)}, ${format} format, greedy, 1 thread of ${cpus()[0]?.model.trim()}, Node ${process.version}: \`${command}\``,
    `At most ${rounds} rounds of LSE (P = 1; a perfect holdout ends a run), batch 10, one generation a problem, at most ${most} turns. Problems: ${splits.train} train, ${splits.holdout} holdout, ${splits.test} test.`,
    '',
    '| split | holdout seed → chosen | test seed → chosen | gain on test [95 %] | shown | calls | input tokens (cached) | CPU-s |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...took.map((one, i) => rowOf(one, seeds[i]!)),
    '',
    ...(seeds.length > 1
      ? [
          `Mean gain over ${seeds.length} splits of the same problems: ${points(over.mean)} points, t interval over splits ${points(over.interval[0])} to ${points(over.interval[1])} (splits overlap, so it is too narrow for new problems).`,
          '',
        ]
      : []),
  ].join('\n')
}

async function measure({ task, model, rounds, most, say }: Experiment, local: LlamaModel, seed: number): Promise<Took> {
  const before = process.cpuUsage()
  const { propose } = rememberFailures({ most, ...(say && { say }) })
  const settings = { rounds, batch: 10, draws: 1, testDraws: 1, choice: 'mean', store: 'memory', timeout: 600, seed } as const
  const run = evolve({ task: task(seed), model: model(local), evolver: propose, ...settings })
  const { report } = await run.result
  const { user, system } = process.cpuUsage(before)
  return { report, cpu: (user + system) / 1e6 }
}

function rowOf({ report, cpu }: Took, seed: number): string {
  const { holdout, test, gain, spent, measured } = report
  const [low, high] = gain.interval
  const cells = [
    seed,
    `${percent(holdout.seed)} → ${percent(holdout.chosen)}`,
    `${percent(test.seed.mean)} → ${percent(test.chosen.mean)}`,
    `${points(gain.mean)} [${points(low)}, ${points(high)}]`,
    gain.shown ? 'yes' : 'no',
    spent.act.calls,
    `${measured.usage.input} (${percent(measured.usage.cached / measured.usage.input)})`,
    cpu.toFixed(0),
  ]
  return `| ${cells.join(' | ')} |`
}
