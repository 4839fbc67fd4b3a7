// A run told to people: lines while it goes, a report when it is done. Pure functions of facts and measurements.
import type { Budget, Cost } from './core/budget.ts'
import { type Context, sizeOf, type Tokenizer } from './core/context.ts'
import type { Fact, Names, Options, Result, Spent, StopReason } from './core/facts.ts'
import type { Usage } from './core/model.ts'
import type { Node } from './core/observation.ts'
import type { Score } from './core/score.ts'
import { apply, type State, start } from './core/state.ts'
import { roughTokenizer } from './options.ts'

/** What was measured and is not canonical. */
export interface Measured {
  /** Seconds of wall clock over all the run's lives. */
  readonly seconds: number
  /** Bounds of calls whose answer was lost; they count as spent. */
  readonly lost: Cost
  /** Attempts that failed and were made again, in all lives. */
  readonly failed: number
  /** All that the budget was charged. */
  readonly spent: Cost
  /** Tokens of all answered calls of all lives. */
  readonly usage: Usage
  /** Lives of the run: 1 = never interrupted. */
  readonly lives: number
  /** Tokens of seed and chosen context, once there is a result; `tokenizer` says by which count. */
  readonly size?: { readonly seed: number; readonly chosen: number; readonly tokenizer: string }
}

/** What a run found, for people and programs. */
export interface Report extends Result {
  readonly run: string
  readonly names: Names
  readonly stop: { readonly why: StopReason; readonly detail?: string }
  readonly seedContext: Context
  readonly chosenContext: Context
  /** Tokens of seed and chosen context. */
  readonly size: { readonly seed: number; readonly chosen: number; readonly tokenizer: string }
  readonly counts: {
    readonly rounds: number
    readonly nodes: number
    readonly invalid: number
    readonly rejected: number
    readonly flagged: number
    /** Nodes whose scoring was cut short. */
    readonly cut: number
  }
  readonly splits: Readonly<Record<'train' | 'holdout' | 'confirm' | 'test' | 'ood', number>>
  readonly draws: { readonly holdout: number; readonly test: number }
  readonly inFlight: number
  readonly spent: Spent
  readonly budget: Budget
  /** Half-width that a gain on this test split had to pass, as measured. */
  readonly smallestGain: number
  /** Whether a model of the run is a scripted stand-in, of which nothing can be claimed. */
  readonly simulated: boolean
  readonly measured: Measured
}

/** A run read back from its facts. */
export interface Told {
  readonly names: Names
  readonly options: Options
  readonly state: State
  readonly hashes: Readonly<Record<string, string>>
}

/** Folds facts. Undefined for a run that never started. */
export function tell(facts: readonly Fact[]): Told | undefined {
  const [first] = facts
  if (first?.kind !== 'started') return undefined
  const state = start(first.options)
  for (const fact of facts) apply(state, fact)
  return { names: first.names, options: first.options, state, hashes: first.hashes }
}

/** The report of a finished run; undefined before the test split was looked at. */
export function reportOf(run: string, told: Told, measured: Measured): Report | undefined {
  const { state, options, names } = told
  const { result } = state
  if (!result || !state.stopped) return undefined
  const seed = state.nodes[0]!.context
  const chosen = state.nodes[result.chosen]!.context
  const kinds = state.edits.map((e) => e.tried.kind)
  const sizes = Object.entries(options.splits).map(([name, ids]) => [name, ids.length])
  return {
    ...result,
    run,
    names,
    stop: state.stopped,
    seedContext: seed,
    chosenContext: chosen,
    // Where the run's own count was not kept (it was killed at its very end), the rule of thumb, which says so.
    size: measured.size ?? tokensOf(seed, chosen, roughTokenizer),
    counts: {
      rounds: state.editsPlanned,
      nodes: state.nodes.length,
      invalid: kinds.filter((k) => k === 'invalid').length,
      rejected: kinds.filter((k) => k === 'rejected').length,
      flagged: state.flagged.size,
      cut: state.nodes.filter((n) => !n.score.full).length,
    },
    splits: Object.fromEntries(sizes) as Report['splits'], // the same names
    draws: { holdout: state.draws, test: options.testDraws },
    inFlight: options.inFlight,
    spent: state.spent,
    budget: state.budget,
    smallestGain: (result.gain.interval[1] - result.gain.interval[0]) / 2,
    simulated: isSimulated(names),
    measured,
  }
}

/** Tokens of seed and chosen context; undefined before there is a result. */
export function sizesOf({ nodes, result }: State, tokenizer: Tokenizer): Measured['size'] {
  if (!result) return undefined
  return tokensOf(nodes[0]!.context, nodes[result.chosen]!.context, tokenizer)
}

function tokensOf(seed: Context, chosen: Context, tokenizer: Tokenizer): Report['size'] {
  return { seed: sizeOf(seed, tokenizer), chosen: sizeOf(chosen, tokenizer), tokenizer: tokenizer.name }
}

/** Names of scripted stand-ins begin so; reports say what they are. */
export const simulatedPrefix = 'simulated:'

export const simulatedNotice = 'simulated model: shows the machinery, no improvement is claimed'

export function isSimulated(names: Names): boolean {
  return [names.model, names.evolver, names.judge].some((name) => name.includes(simulatedPrefix))
}

/** 0 improved, 3 no improvement shown, 4 the budget ended first. */
export function exitCodeOf(report: Pick<Report, 'gain' | 'stop'>): 0 | 3 | 4 {
  if (report.gain.shown) return 0
  return report.stop.why === 'budget' ? 4 : 3
}

/** One line for a fact, or undefined for facts that say nothing new. `state` is the state after it. */
export function lineOf(fact: Fact, state: State, isOfStandIn = false): string | undefined {
  switch (fact.kind) {
    case 'started':
      return `${fact.names.method} on ${fact.names.task}: ${fact.names.model}, edits by ${fact.names.evolver}`
    case 'scored':
      return scoredLine(state.nodes.at(-1)!, state)
    case 'rejected':
      return `round ${fact.round}  node ${fact.parent}  edit not accepted: ${fact.reason}`
    case 'invalid':
      return `round ${fact.round}  node ${fact.parent}  no usable edit: ${fact.reason}`
    case 'steered':
      return `${fact.refused === undefined ? 'steered' : 'not done'}: ${steerText(fact)}${fact.refused === undefined ? '' : `: ${fact.refused}`}`
    case 'stopped':
      return `stopped: ${fact.why}${fact.detail === undefined ? '' : ` (${fact.detail})`}`
    case 'reported':
      return gainLine(fact.result, isOfStandIn)
    default:
      return undefined
  }
}

function scoredLine(node: Node, state: State): string {
  const parent = state.nodes[node.parents[0] ?? -1]
  const score = percent(node.score.mean)
  if (!parent) return `${node.id === 0 ? 'seed' : `node ${node.id} (by hand)`}  holdout ${score}`
  const change = `${points(node.score.mean - parent.score.mean)} from node ${parent.id}`
  const cut = cutText(node.score)
  return `round ${node.round}  node ${node.id}  holdout ${score} (${change})${state.best === node ? '  best so far' : cut && `  ${cut}`}`
}

/** What is known of a score that was cut short; empty for a full one. */
export function cutText({ full, n, interval }: Score): string {
  if (full) return ''
  if (n === undefined || !interval) return 'scored in part'
  return `cut short after ${n} answers: 80 % interval ${percent(interval[0])} to ${percent(interval[1])}`
}

function steerText(fact: Fact & { kind: 'steered' }): string {
  if (fact.wish === 'branch') return `branch from node ${fact.node}${fact.hint === undefined ? '' : `, hint: ${fact.hint}`}`
  if (fact.wish === 'prune') return `prune node ${fact.node}`
  if (fact.wish === 'add') return 'a context written by hand'
  if (fact.wish === 'extend') return `more ${[fact.rounds && 'rounds', fact.budget && 'budget'].filter(Boolean).join(' and ')}`
  return fact.wish
}

/** "+4.2 points on 200 test problems, 95 % interval +1.1 to +7.3" and what it means, which is nothing for a scripted stand-in. */
export function gainLine({ gain, chosen }: Pick<Result, 'gain' | 'chosen'>, isOfStandIn = false): string {
  if (isOfStandIn) return `${simulatedNotice} (${gainText(gain)})`
  if (chosen === 0) return 'no improvement shown: no edit scored above the seed on the holdout'
  return gain.shown ? `improved: ${gainText(gain)}` : `no improvement shown: ${gainText(gain)}`
}

function gainText({ mean, n, interval: [low, high] }: Result['gain']): string {
  return `${points(mean)} points on ${n} test problems, 95 % interval ${points(low)} to ${points(high)}`
}

/** A score as a percentage, "62.4 %". */
export function percent(x: number): string {
  return `${(100 * x).toFixed(1)} %`
}

/** A difference of scores in points, "+4.2". */
export function points(x: number): string {
  const text = (100 * x).toFixed(1)
  return Number(text) === 0 ? '0.0' : x > 0 ? `+${text}` : text.replace('-', '−')
}

export function dollars(usd: number): string {
  return `$${usd.toFixed(usd < 1 ? 4 : 2)}`
}
