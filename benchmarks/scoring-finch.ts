// The same arms as in scoring.ts, in Finch: real contexts of companies that no training saw, edited by scripted editors that see ten
// problems a round, answered by Finch's actor. Quality is the expected score on test of the context that was chosen. An answer of the
// actor is drawn from its chance to be right (in closed form, over every way to take the words), once for each run, problem, generation
// and text, so the same context has the same answers in every arm; a test holds chances and attempts together. Every number: in Finch
// (simulated). Ends with 1 if a bar is missed.
// Run: node benchmarks/scoring-finch.ts [COMPANIES] [RUNS]    defaults: 60 companies of the set report, 10 runs of each and five times as
// many where the difference is smallest
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { finchCaption } from '../src/bench/finch-suite.ts'
import { noCost } from '../src/core/budget.ts'
import { type Context, sameContext } from '../src/core/context.ts'
import { checked, type Edit } from '../src/core/evolver.ts'
import type { Observation } from '../src/core/observation.ts'
import { rng, seedOf } from '../src/core/rng.ts'
import { mean, scoreOf } from '../src/core/score.ts'
import { finchViolation, finchWriter } from '../src/recipes/finch.ts'
import { type Company, createCompany, type Problem } from '../src/tasks/finch/company.ts'
import { demonstrate } from '../src/tasks/finch/editors.ts'
import { finchHash } from '../src/tasks/finch/hash.ts'
import { finch, part } from '../src/tasks/finch/parameters.ts'
import { attempts, expectedScore, rightChances } from '../src/tasks/finch/reward.ts'
import { companiesIn } from '../src/tasks/finch/sets.ts'
import { copy } from './copier.ts'
import { type Answerer, type Arm, arms, aside, type Outcome, optionsOf, outcomeOf, savings } from './searched.ts'
import { head, row } from './table.ts'

const count = Number(process.argv[2] ?? 60)
const runs = Number(process.argv[3] ?? 10)
if (!(count >= 2 && runs >= 1)) throw new Error('usage: node benchmarks/scoring-finch.ts [COMPANIES ≥ 2] [RUNS]')

/** To tell what shrinkage does from what fewer generations do. */
const plain: Arm = { name: '50 × 4, highest mean, `--no-racing`', holdout: 50, draws: 4 }
const listed: readonly Arm[] = [arms.full, arms.fresh, arms.set, arms.raced, arms.shrunk, plain, arms.longer]
/** The difference between these is the smallest. */
const often: readonly Arm[] = [arms.full, arms.raced]
const more = 5 // times as many runs
const runsOf = (arm: Arm): number => (often.includes(arm) ? more : 1) * runs
const most = Math.max(...listed.map(({ holdout, confirm = 0 }) => holdout + confirm))

/** What an editor writes, by chance or not. */
type Write = (o: Observation, draw: () => number) => string
const editors: Readonly<Record<string, Write>> = {
  demonstrator: (o, draw) => demonstrate(o, 'lines', draw),
  copier: copy,
}
const writer = finchWriter()

/** What the editor's answer makes of the context; refused for the reasons that a run of the real task has. */
function edited(write: Write, o: Observation, seed: number): Edit {
  const completion = write(o, rng('finch', 'demonstrator', 0, seed))
  return checked(writer.read(completion, o), (next) => {
    if (sameContext(next, o.node.context)) return 'nothing was changed'
    if (o.earlier.some((t) => t.kind !== 'invalid' && sameContext(t.context, next))) return 'this same edit was tried before'
    return finchViolation(o.node.context, next)
  })
}

/** The actor's chances at a company's problems, by text and problem: computed when first asked for. */
type Chances = (notes: string, problems: readonly Problem[]) => readonly number[]

function chancesOf(company: Company): Chances {
  const known = new Map<string, Map<Problem, number>>()
  return (notes, problems) => {
    const its = known.get(notes) ?? new Map<Problem, number>()
    known.set(notes, its)
    const fresh = problems.filter((problem) => !its.has(problem))
    const found = fresh.length ? rightChances(company, notes, { problems: fresh }) : []
    for (const [i, problem] of fresh.entries()) its.set(problem, found[i]!)
    return problems.map((problem) => its.get(problem)!)
  }
}

interface Searching {
  readonly company: Company
  readonly chances: Chances
  readonly write: Write
  readonly seed: number
}

function answererOf({ company, chances, write, seed }: Searching): Answerer {
  const indexOf = new Map(company.problems('holdout').map((problem, i) => [problem.id, i]))
  const drawn = new Map<string, Float64Array>()
  /** What decides one generation of answers under a text, a number a problem: the same whatever else is asked. */
  const drawsOf = (notes: string, generation: number): Float64Array => {
    const key = `${generation} ${notes}`
    const had = drawn.get(key)
    if (had) return had
    const draw = rng('finch', 'answers', seed, key)
    const made = Float64Array.from(indexOf, () => draw())
    drawn.set(key, made)
    return made
  }
  return (command, round) => {
    if (command.kind === 'overlap') return aside.overlap
    if (command.kind === 'propose') return { ...edited(write, command.observation, seedOf(seed, round, 'edit')), cost: noCost }
    const { ids, role, draws } = command
    const notes = String(command.context[part])
    if (role === 'batch') {
      const rollouts = attempts(company, notes, { ids, seed })
      return { kind: 'score', score: scoreOf(rollouts, 1), rollouts, cost: noCost }
    }
    if (role !== 'holdout' && role !== 'confirm') return aside.score
    const right = chances(
      notes,
      ids.map((id) => company.problem(id)),
    )
    const generations = Array.from({ length: draws[1] - draws[0] }, (_, k) => drawsOf(notes, draws[0] + k))
    const per = Object.fromEntries(
      ids.map((id, i) => [id, mean(generations.map((draw) => Number(draw[indexOf.get(id)!]! < right[i]!)))]),
    )
    const each = generations.length
    const score = { per, mean: mean(Object.values(per)), draws: each, full: true }
    return { kind: 'score', score, rollouts: [], cost: { calls: ids.length * each, tokens: 0, usd: 0 } }
  }
}

function outcomes(company: Company, chances: Chances, write: Write): readonly (readonly Outcome[])[] {
  const idsOf = (split: 'train' | 'holdout'): readonly string[] => company.problems(split).map((problem) => problem.id)
  const selection = idsOf('holdout')
  const quality = ({ [part]: notes }: Context): number => expectedScore(company, String(notes), { split: 'test' })
  return listed.map((arm) => {
    const [holdout, confirm] = [selection.slice(0, arm.holdout), selection.slice(arm.holdout, arm.holdout + (arm.confirm ?? 0))]
    const splits = { train: idsOf('train'), holdout, confirm, test: ['x'], ood: [] }
    return Array.from({ length: runsOf(arm) }, (_, run) => {
      const seed = seedOf('scoring', company.name, run)
      const rules = { [part]: { maxTokens: finch.maxTokens } }
      const o = optionsOf(arm, { seed, context: { [part]: company.notes }, rules, splits, batch: 10 })
      return outcomeOf(arm, o, { answer: answererOf({ company, chances, write, seed }), quality })
    })
  })
}

/** Words a question, which tell how hard it is. */
const wordsIn = (problems: readonly Problem[]): number => mean(problems.map((p) => p.asked.words.length))

const names = Object.keys(editors)
const all = names.map(() => listed.map((): (readonly Outcome[])[] => [])) // [editor][arm][company][run]
const asked: (readonly number[])[] = []
const seeds: number[] = []
for (const of of companiesIn('report', count, 2)) {
  using company = createCompany({ ...of, holdout: most })
  const chances = chancesOf(company)
  const [usual, further] = [company.problems('holdout').slice(0, 50), company.problems('holdout').slice(50)]
  asked.push([usual, further, company.problems('test')].map(wordsIn))
  seeds.push(expectedScore(company, company.notes, { split: 'test' }))
  for (const [e, name] of names.entries()) {
    for (const [a, its] of outcomes(company, chances, editors[name]!).entries()) all[e]![a]!.push(its)
  }
}

const missed: string[] = []
const [usual, further, test] = [0, 1, 2].map((i) => mean(asked.map((each) => each[i]!)).toFixed(2))
const about = `${count} companies of the set report × ${runs} runs of 25 rounds an arm (where not said otherwise; ${more * runs} of 50 × 8 and of 50 × 8 raced), c = .1, Finch ${finchHash()}. Quality: expected score on test, for the seed context ${mean(seeds).toFixed(3)}. Intervals: t over companies. The holdout has wrong golds, test has none. Problems beyond the usual 50 are made like them of the questions that are left: ${further} words a question beside ${usual}, ${test} on test.`
const tables = names.map((name, e) => {
  const outcomes = all[e]!
  const quality = mean(outcomes[0]!.flat().map((o) => o.quality)).toFixed(3)
  const short: string[] = []
  const caption = `Edits by the scripted ${name}, ${finchCaption}. After 50 × 8 quality is ${quality}.${e === 0 ? ` ${about}` : ''}`
  const table = savings({ caption, head: finchCaption, arms: listed, outcomes, missed: short })
  missed.push(...short.map((arm) => `${name}: ${arm}`))
  return table
})
for (const { caption, columns, rows } of tables)
  console.log([caption, '', head(...columns), ...rows.map((r) => row(...r)), ''].join('\n'))
const title = `Cheaper scoring, ${finchCaption}`
const result = { title, command: `node benchmarks/scoring-finch.ts ${count} ${runs}`, tables }
writeFileSync(join(import.meta.dirname, 'results/scoring-finch.json'), `${JSON.stringify(result, null, 1)}\n`)
if (missed.length > 0) {
  console.error(`missed: ${missed.join('; ')}`)
  process.exitCode = 1
}
