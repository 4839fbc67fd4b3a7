// Trains Finch's policy by LSE: trees grown by the policy as it begins, their states, rewards from the training companies, development
// companies to pick the checkpoint by. Facts go to a file as they come; whoever is killed goes on from the last checkpoint.
import { appendFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { ConfigError, EngineError } from '../core/errors.ts'
import type { Model } from '../core/model.ts'
import { mean } from '../core/score.ts'
import type { JaxEngine } from '../engines/jax/jax-engine.ts'
import { type Company, createCompany } from '../tasks/finch/company.ts'
import type { SetName } from '../tasks/finch/domains.ts'
import { type Format, perfectNotes } from '../tasks/finch/editors.ts'
import { finchHash } from '../tasks/finch/hash.ts'
import { type ActorName, part } from '../tasks/finch/parameters.ts'
import { expectedScore, type RewardName } from '../tasks/finch/reward.ts'
import { companiesIn } from '../tasks/finch/sets.ts'
import { type AdvantageOptions, grpo } from '../train/advantage.ts'
import type { CurriculumOptions } from '../train/curriculum.ts'
import { type TrainFact, type TrainOptions, train } from '../train/train.ts'
import { finchViolation, finchWriter } from './finch.ts'
import { checkPolicy, policyParams } from './finch-policy.ts'
import { type FinchTree, type GrowOptions, growTree, holdoutScore } from './finch-tree.ts'
import { hold, parsedLines, replaceWhole, strange } from './training-folder.ts'

/** What an edit's tokens are told, by name: `delta` is the paper's, `grpo` its ablation and the recipe's. */
export const advantageOf = {
  'leave-one-out': { baseline: 'leave-one-out' },
  delta: {},
  batch: { baseline: 'batch' },
  whiten: { baseline: 'batch', scale: 'batch' },
  'logit-delta': { reward: 'logit-delta' },
  gain: { reward: 'gain', baseline: 'group', scale: 'group' },
  grpo,
} as const satisfies Readonly<Record<string, AdvantageOptions>>
export type AdvantageName = keyof typeof advantageOf
export const advantageNames = Object.keys(advantageOf) as readonly AdvantageName[] // its own keys

export interface TrainFinchOptions {
  /** Of all chance. */
  readonly seed?: number
  readonly steps?: number
  readonly reward?: RewardName
  readonly advantage?: AdvantageName
  /** What the entropy of the policy counts in the loss; 0 = nothing. */
  readonly entropy?: number
  readonly learningRate?: number
  /** How edits are written. Whole rewrites need a policy that was warm-started to write them. */
  readonly writer?: Format
  /** States a step, and rollouts of each. */
  readonly states?: number
  readonly rollouts?: number
  /** Trees that the policy grows before it learns, and edits of each; grown again after every `refresh` steps, 0 = never. */
  readonly trees?: number
  readonly rounds?: number
  readonly refresh?: number
  /** 1: a step's edits are drawn by the policy of the step before, while that step trains. */
  readonly lag?: 0 | 1
  readonly order?: NonNullable<CurriculumOptions['order']>
  /** Development companies, and steps between looks at them. */
  readonly dev?: number
  readonly every?: number
}

/** The settings of a training, all of them: what a resumed one must share. */
export type TrainFinchSettings = Required<TrainFinchOptions> & { readonly finch: string; readonly from: string }

export type TrainFinchFact = { readonly kind: 'set'; readonly settings: TrainFinchSettings } | TrainFact

/** The recipe of docs/guide/train-a-policy.md. */
export const trainFinchDefaults: Required<TrainFinchOptions> = {
  seed: 1,
  steps: 100,
  reward: 'expected',
  advantage: 'grpo',
  entropy: 0,
  learningRate: 1e-3,
  writer: 'lines',
  ...{ states: 16, rollouts: 8 },
  ...{ trees: 64, rounds: 12, refresh: 0, lag: 0 },
  order: 'random',
  ...{ dev: 32, every: 25 },
}

/**
 * Trains an engine whose folder is `folder`, beginning with the weights it has; facts are appended to `folder/facts.jsonl`. One that is
 * there is gone on with, and its last facts come again.
 * @throws {ConfigError} on settings other than those of the facts that are there, on too few states, and on a policy of another task.
 */
export async function* trainFinch(
  engine: JaxEngine,
  folder: string,
  { signal, ...options }: TrainFinchOptions & { readonly signal?: AbortSignal } = {},
): AsyncGenerator<TrainFinchFact> {
  checkPolicy(engine)
  const from = (await engine.policy()).name
  const settings: TrainFinchSettings = { ...trainFinchDefaults, ...options, finch: finchHash(), from }
  const { seed, reward, writer, dev: devCompanies, trees, rounds, states } = settings
  if (states > trees * rounds)
    throw new ConfigError(`${trees} trees of ${rounds} edits leave ${trees * rounds} states at most, and a step takes ${states}`)
  const { baseline }: AdvantageOptions = advantageOf[settings.advantage]
  if (settings.rollouts < 2 && baseline === 'group')
    throw new ConfigError(
      `${settings.advantage} compares the rollouts of a state: with 1 nothing is learned; give 2 or more, or another advantage`,
    )
  using _held = hold(folder)
  const file = join(folder, 'facts.jsonl')
  const past = kept(readFacts(file), settings)
  await loadLast(engine, past)
  replaceWhole(file, past.map(line).join(''))
  const note = <F extends TrainFinchFact>(fact: F): F => {
    appendFileSync(file, line(fact))
    return fact
  }

  const companies = companiesIn('train', trees, seed).map(createCompany)
  const dev = devRoad(devCompanies, writer, signal)
  try {
    if (past.length === 0) yield note({ kind: 'set', settings })
    const by = new Map(companies.map((company) => [company.name, company]))
    const facts = train(
      trainOptions(settings),
      {
        engine,
        writer: finchWriter(writer),
        grow: (policy, step) => growAll(companies, policy, { rounds, seed, step, reward, writer, ...(signal && { signal }) }),
        check: (context, { observation }) => finchViolation(observation.node.context, context),
        // Each state's task is one of these companies.
        score: async (context, { task }) => holdoutScore(by.get(task)!, String(context[part]), { reward, seed }),
        dev: (of) => dev.look(of),
        ...(signal && { signal }),
      },
      past.filter((f): f is TrainFact => f.kind !== 'set'),
    )
    for await (const fact of facts) {
      yield note(fact)
      if (fact.kind !== 'ended') continue
      await engine.load(fact.best.checkpoint)
      await engine.save('policy', { optimizer: false })
    }
  } finally {
    for (const company of companies) company[Symbol.dispose]()
    dev[Symbol.dispose]()
  }
}

/** @throws {ConfigError} if what it would go on from can't be read. */
async function loadLast(engine: JaxEngine, past: readonly TrainFinchFact[]): Promise<void> {
  const last = past.findLast((fact) => fact.kind === 'looked')
  await (last && engine.load(last.checkpoint))?.catch((cause: unknown) => {
    throw cause instanceof EngineError
      ? new ConfigError(`${cause.message}; put it back, or give another folder`, { cause })
      : cause
  })
}

function trainOptions(s: TrainFinchSettings): TrainOptions {
  return {
    seed: s.seed,
    ...{ states: s.states, rollouts: s.rollouts, maxSteps: s.steps, passes: s.steps, every: s.every },
    maxTokens: policyParams.maxTokens,
    ...(s.refresh > 0 && { refresh: s.refresh }),
    lag: s.lag,
    adam: { learningRate: s.learningRate },
    loss: { kind: 'ppo', low: 0.2, high: 0.2, ...(s.entropy > 0 && { entropy: s.entropy }) },
    advantage: advantageOf[s.advantage],
    curriculum: { order: s.order },
  }
}

/** Trees of several companies, grown side by side. */
export function growAll(
  companies: readonly Company[],
  policy: Model,
  { writer: format, ...options }: GrowOptions & { readonly writer?: Format },
): Promise<readonly FinchTree[]> {
  const writer = finchWriter(format)
  return Promise.all(companies.map((company) => growTree(company, policy, writer, options)))
}

/** Where each company's road begins and where the perfect editor's one ends: expected scores on test. */
export interface Ends {
  readonly low: number
  readonly high: number
}

export function endsOf(company: Company, actor: ActorName = 'finch-actor'): Ends {
  const at = (notes: string): number => expectedScore(company, notes, { split: 'test', actor })
  return { low: at(company.notes), high: at(perfectNotes(company, actor)) }
}

/** Expected score on test of the best node by holdout after each round, [rounds + 1]. */
export function curveOf({ company, actor, nodes }: FinchTree, rounds: number): readonly number[] {
  const tests = new Map<number, number>()
  return Array.from({ length: rounds + 1 }, (_, round) => {
    const best = nodes.filter((n) => n.round <= round).reduce((a, b) => (b.score.mean > a.score.mean ? b : a))
    const known = tests.get(best.id) ?? expectedScore(company, String(best.context[part]), { split: 'test', actor })
    tests.set(best.id, known)
    return known
  })
}

/** A share of the way for each company and round, [companies][rounds + 1]: 0 = the seed context, 1 = the perfect editor's mean end. */
export function sharesOf(trees: readonly FinchTree[], ends: readonly Ends[], rounds: number): readonly (readonly number[])[] {
  const way = mean(ends.map((e) => e.high)) - mean(ends.map((e) => e.low))
  return trees.map((tree, i) => curveOf(tree, rounds).map((score) => (score - ends[i]!.low) / way))
}

/** Rounds of a look at the development companies. */
const devRounds = 5

/** How a policy does on companies of the set: the share of the way, a mean over the first five rounds of a tree. */
function devRoad(
  count: number,
  writer: Format,
  signal: AbortSignal | undefined,
): Disposable & { look(policy: Model): Promise<number> } {
  const set: SetName = 'dev'
  const companies = companiesIn(set, count).map(createCompany)
  const ends = companies.map((company) => endsOf(company))
  return {
    async look(policy) {
      const trees = await growAll(companies, policy, { rounds: devRounds, seed: 0, writer, ...(signal && { signal }) })
      return mean(sharesOf(trees, ends, devRounds).map((curve) => mean(curve.slice(1))))
    },
    [Symbol.dispose]: () => {
      for (const company of companies) company[Symbol.dispose]()
    },
  }
}

function line(fact: TrainFinchFact): string {
  return `${JSON.stringify(fact)}\n`
}

/** The facts of a file; a last line that was cut off is no fact. @throws {ConfigError} if they are not those of a training. */
export function readFacts(file: string): readonly TrainFinchFact[] {
  if (!existsSync(file)) return []
  const facts = parsedLines(file).map((fact, i) => {
    if (!isFact(fact)) throw new ConfigError(strange(file, i))
    return fact as TrainFinchFact // written above, as it has what this kind holds
  })
  if (facts.length === 0 || facts[0]?.kind === 'set') return facts
  throw new ConfigError(`${file} is not the record of a training: give another folder`)
}

/** What must be there of each kind of fact. */
const held: Readonly<Record<string, readonly string[]>> = {
  ...{ set: ['settings'], began: ['options'], step: ['metrics'], looked: ['checkpoint'], ended: ['best'] },
  ...{ grown: [], timed: ['seconds'] },
}

function isFact(fact: unknown): boolean {
  if (typeof fact !== 'object' || fact === null || !('kind' in fact) || typeof fact.kind !== 'string') return false
  const needs = Object.hasOwn(held, fact.kind) ? held[fact.kind] : undefined
  return needs?.every((name) => Object.entries(fact).some(([key, value]) => key === name && value !== null)) ?? false
}

/** The facts up to the last checkpoint: those after it will come again. */
function kept(facts: readonly TrainFinchFact[], settings: TrainFinchSettings): readonly TrainFinchFact[] {
  const first = facts[0]
  if (first?.kind === 'set') {
    for (const [name, now] of Object.entries(settings)) {
      const then = Object.entries({ ...trainFinchDefaults, ...first.settings }).find(([key]) => key === name)?.[1]
      if (!isDeepStrictEqual(then, now))
        throw new ConfigError(
          `the training began with ${name} ${JSON.stringify(then)}, this is ${JSON.stringify(now)}: give another folder`,
        )
    }
  }
  const kept = facts.slice(0, facts.findLastIndex((fact) => fact.kind === 'looked') + 1)
  for (const fact of kept) {
    if (fact.kind === 'looked' && !existsSync(fact.checkpoint))
      throw new ConfigError(`the checkpoint ${fact.checkpoint} is gone: put it back, or give another folder`)
  }
  return kept
}
