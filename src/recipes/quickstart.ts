// `lamarck quickstart`: trains Finch's policy by LSE from its warm start, then evolves the contexts of companies it never saw, three times
// each with the same problems, draws and rounds: untrained as a chain, untrained in the tree, trained in the tree. Every search is a run of
// the real loop, kept in the store; test scores are looked at when all of them are over. Every number: in Finch (simulated).
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pLimit from 'p-limit'
import type { Context } from '../core/context.ts'
import { evolver } from '../core/evolver.ts'
import type { Method } from '../core/method.ts'
import type { Model } from '../core/model.ts'
import { mean } from '../core/score.ts'
import { type Interval, meanInterval } from '../core/statistics.ts'
import type { Store } from '../core/store.ts'
import { evolve } from '../evolve.ts'
import { chain, lse } from '../methods/lse.ts'
import { finchActor } from '../tasks/finch/actor.ts'
import { type Company, type CompanyOptions, createCompany } from '../tasks/finch/company.ts'
import { finchHash } from '../tasks/finch/hash.ts'
import { finch } from '../tasks/finch/parameters.ts'
import { companiesIn } from '../tasks/finch/sets.ts'
import { finchTask } from '../tasks/finch/task.ts'
import { finchWriter } from './finch.ts'
import { finchEngine, finchGrammar, policyParams, warmStartFile } from './finch-policy.ts'
import type { FinchTree } from './finch-tree.ts'
import {
  curveOf,
  endsOf,
  readFacts,
  type TrainFinchFact,
  type TrainFinchSettings,
  trainFinch,
  trainFinchDefaults,
} from './train-finch.ts'

/** How much of everything. */
export interface QuickstartSizes {
  /** Of training. */
  readonly steps: number
  /** Evolved by each arm. */
  readonly companies: number
  /** Edits of a company. */
  readonly rounds: number
}

/** What `lamarck quickstart` does. */
export const wholeSizes: QuickstartSizes = { steps: 100, companies: 16, rounds: 25 }
/** What it does with `--quick`. */
export const quickSizes: QuickstartSizes = { steps: 40, companies: 6, rounds: 10 }

export const arms = ['chain', 'tree', 'trained'] as const
/** Who edits, where: the untrained policy as a chain, the untrained one in the tree, the trained one in the tree. */
export type Arm = (typeof arms)[number]

/** Where a quickstart is kept, and how much of it there is. */
export interface QuickstartOptions {
  readonly store: Store
  /** Trainings lie in folders of their own under it. */
  readonly folder: string
  readonly sizes?: QuickstartSizes
  /** Of all chance. */
  readonly seed?: number
  /** Free-form JSON, kept with each run. */
  readonly meta?: string
  readonly signal?: AbortSignal
}

/** A mean over companies and its 95 % interval. */
export interface OverCompanies {
  readonly mean: number
  readonly interval: Interval
}

/** One line of the table. Scores are expected ones (exact over the actor's slips) on test, of the best context by holdout. */
export interface QuickstartRow {
  readonly name: 'seed' | Arm | 'perfect'
  readonly test: OverCompanies
  /** Paired, over the seed context. */
  readonly gain: OverCompanies
  /** Share of the way from the seed context to the perfect editor, after each number of edits of `marks`. */
  readonly way: readonly number[]
  /** Model calls a company, and the share of edits that were invalid; for arms. */
  readonly calls?: number
  readonly invalid?: number
}

/** What came of it. */
export interface QuickstartTable {
  readonly kind: 'table'
  readonly finch: string
  readonly sizes: QuickstartSizes
  readonly seed: number
  readonly marks: readonly number[]
  readonly rows: readonly QuickstartRow[]
  /** Edits that were learned from, and the model calls that scoring each of them once by attempts would have taken; it took none. */
  readonly training: { readonly edits: number; readonly calls: number }
  /** Trained over untrained, both in the tree, paired. */
  readonly trainedOver: OverCompanies
  /** The run of the trained policy for the first company. */
  readonly shown: {
    readonly run: string
    readonly company: string
    readonly before: Context
    readonly after: Context
    readonly test: readonly [before: number, after: number]
  }
}

/** What it tells while it goes on; the table comes last. */
export type QuickstartFact =
  /** `isNew` = nothing of it was there before. */
  | {
      readonly kind: 'quickstart'
      readonly name: string
      readonly training: string
      readonly sizes: QuickstartSizes
      readonly isNew: boolean
    }
  | { readonly kind: 'training'; readonly fact: TrainFinchFact; readonly isPast: boolean }
  | { readonly kind: 'searched'; readonly arm: Arm; readonly run: string; readonly done: number; readonly of: number }
  | QuickstartTable

/**
 * Trains, evolves, compares. What is there already from an earlier life is not made again: the same options go on, and end with the same table.
 * @throws {MissingPackageError} without @jax-js/jax.
 */
export async function* quickstart(options: QuickstartOptions): AsyncGenerator<QuickstartFact> {
  const { store, folder, sizes = wholeSizes, seed = 1, meta, signal } = options
  const made = JSON.stringify([sizes, seed, finchHash()])
  const name = `quickstart-${createHash('sha256').update(made).update(readFileSync(warmStartFile)).digest('hex').slice(0, 6)}`
  const training = join(folder, name)
  await using engine = await finchEngine({ folder: training })
  await using _lease = await store.lease(name, 'quickstart') // two of them would write the same training
  yield { kind: 'quickstart', name, training, sizes, isNew: !existsSync(join(training, 'facts.jsonl')) }
  await engine.load(warmStartFile)
  let each = 0 // edits a step
  let learned = 0
  for await (const told of trained(engine, training, { ...trainingOf(sizes), seed, ...(signal && { signal }) })) {
    if (told.fact.kind === 'began') each = told.fact.options.states * told.fact.options.rollouts
    if (told.fact.kind === 'step') learned += each
    yield told
  }
  const weights = { chain: warmStartFile, tree: warmStartFile, trained: join(training, 'policy.safetensors') }

  const companies = companiesIn('report', sizes.companies, seed)
  const found: Record<Arm, readonly Searched[]> = { chain: [], tree: [], trained: [] }
  for (const arm of arms) {
    await engine.load(weights[arm])
    const policy = await engine.policy({ grammar: finchGrammar() })
    const one = (of: CompanyOptions, i: number, stop: AbortSignal): Promise<Searched> =>
      search(of, {
        ...{ store, rounds: sizes.rounds, policy, method: arm === 'chain' ? chain() : lse() },
        ...{ id: `${name}-${i + 1}-${arm}`, signal: signal ? AbortSignal.any([signal, stop]) : stop, ...(meta && { meta }) },
      })
    for await (const searched of sideBySide(companies, one)) {
      found[arm] = [...found[arm], searched]
      yield { kind: 'searched', arm, run: searched.run, done: found[arm].length, of: companies.length }
    }
  }
  yield tableOf(found, { companies, sizes, seed, learned })
}

/** What of a training the sizes decide; it is looked at about every 24 steps, and at its end. */
function trainingOf({ steps }: QuickstartSizes): Pick<TrainFinchSettings, 'steps' | 'every' | 'trees' | 'dev'> {
  const every = Math.ceil(steps / Math.max(1, Math.round(steps / 24)))
  return { steps, every, trees: Math.min(trainFinchDefaults.trees, Math.max(4, steps)), dev: Math.min(16, Math.ceil(steps / 4)) }
}

/** The facts of a training, those of an earlier life first. */
async function* trained(
  engine: Parameters<typeof trainFinch>[0],
  folder: string,
  options: NonNullable<Parameters<typeof trainFinch>[2]>,
): AsyncGenerator<QuickstartFact & { kind: 'training' }> {
  const past = readFacts(join(folder, 'facts.jsonl'))
  const isOver = past.at(-1)?.kind === 'ended' && existsSync(join(folder, 'policy.safetensors'))
  const kept = isOver ? past : past.slice(0, past.findLastIndex((fact) => fact.kind === 'looked') + 1)
  for (const fact of kept) yield { kind: 'training', fact, isPast: true }
  if (isOver) return
  for await (const fact of trainFinch(engine, folder, options)) yield { kind: 'training', fact, isPast: false }
}

/** A search that is over, as the curves read it. */
interface Searched extends Omit<FinchTree, 'company'> {
  readonly run: string
  readonly chosen: Context
  readonly calls: number
}

interface SearchOptions {
  readonly id: string
  readonly store: Store
  readonly rounds: number
  readonly policy: Model
  readonly method: Method
  readonly meta?: string
  readonly signal: AbortSignal
}

/** One run of the real loop; all chance in it comes from the company, so that arms differ in nothing else. */
async function search(of: CompanyOptions, { policy, method, ...settings }: SearchOptions): Promise<Searched> {
  settings.signal.throwIfAborted()
  await using task = finchTask(of)
  const run = evolve({
    task,
    model: finchActor(),
    evolver: policy,
    method: { ...method, evolver: evolver(finchWriter(), { params: policyParams, tries: 1 }) },
    ...{ draws: 2, racing: false, choice: 'mean', folds: 0 }, // each usable edit takes as many calls, whoever wrote it
    seed: of.seed,
    ...settings,
  })
  const { report } = await run.result
  const { nodes } = run.progress()!.state // it has run
  const calls = report.spent.act.calls + report.spent.evolve.calls
  const tree = { task: task.name, actor: 'finch-actor', nodes, asked: [], invalid: report.counts.invalid } as const
  return { ...tree, run: run.id, chosen: report.chosenContext, calls }
}

/** How many runs go at once: their edits are drawn together where they meet. */
const atOnce = 4

/** What becomes of each, in order. Whoever stops listening, or one that fails, ends the others. */
async function* sideBySide<A, B>(
  all: readonly A[],
  one: (each: A, i: number, stop: AbortSignal) => Promise<B>,
): AsyncGenerator<B> {
  const stop = new AbortController()
  const limit = pLimit(atOnce)
  const going = all.map((each, i) => limit(() => one(each, i, stop.signal)))
  const over = Promise.allSettled(going)
  try {
    for (const each of going) yield await each
  } finally {
    stop.abort()
    await over
  }
}

interface Played {
  readonly companies: readonly CompanyOptions[]
  readonly sizes: QuickstartSizes
  readonly seed: number
  readonly learned: number
}

function tableOf(
  found: Readonly<Record<Arm, readonly Searched[]>>,
  { companies: of, sizes, seed, learned }: Played,
): QuickstartTable {
  const { rounds } = sizes
  const marks = [...new Set([1, 3, rounds])].filter((mark) => mark <= rounds)
  using companies = made(of)
  const ends = companies.all.map((company) => endsOf(company))
  const [lows, highs] = [ends.map((e) => e.low), ends.map((e) => e.high)]
  const row = (name: QuickstartRow['name'], curves: readonly (readonly number[])[]): QuickstartRow => {
    const way = (mark: number): number => (mean(curves.map((curve) => curve[mark]!)) - mean(lows)) / (mean(highs) - mean(lows))
    return { name, test: meanInterval(lastOf(curves)), gain: paired(lows, lastOf(curves)), way: marks.map(way) }
  }
  const flat = (scores: readonly number[]): readonly number[][] => scores.map((s) => Array<number>(rounds + 1).fill(s))
  const curves = (arm: Arm): readonly (readonly number[])[] =>
    found[arm].map((tree, i) => curveOf({ ...tree, company: companies.all[i]! }, rounds))
  const by = { chain: curves('chain'), tree: curves('tree'), trained: curves('trained') }
  const rowOf = (arm: Arm): QuickstartRow => ({
    ...row(arm, by[arm]),
    calls: mean(found[arm].map((s) => s.calls)),
    invalid: mean(found[arm].map((s) => s.invalid)) / rounds,
  })
  const [first] = found.trained as readonly [Searched, ...Searched[]] // a company at least
  return {
    ...{ kind: 'table', finch: finchHash(), sizes, seed, marks },
    rows: [row('seed', flat(lows)), ...arms.map(rowOf), row('perfect', flat(highs))],
    training: { edits: learned, calls: learned * finch.questions.holdout },
    trainedOver: paired(lastOf(by.tree), lastOf(by.trained)),
    shown: {
      run: first.run,
      company: first.task,
      before: first.nodes[0]!.context,
      after: first.chosen,
      test: [lows[0]!, lastOf(by.trained)[0]!],
    },
  }
}

function made(of: readonly CompanyOptions[]): Disposable & { readonly all: readonly Company[] } {
  const all = of.map(createCompany)
  return {
    all,
    [Symbol.dispose]: () => {
      for (const company of all) company[Symbol.dispose]()
    },
  }
}

function lastOf(curves: readonly (readonly number[])[]): readonly number[] {
  return curves.map((curve) => curve.at(-1)!)
}

function paired(before: readonly number[], after: readonly number[]): OverCompanies {
  return meanInterval(
    after.map((score, i) => score - before[i]!),
    { within: [-1, 1] },
  )
}
