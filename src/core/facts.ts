// The vocabulary of a run: its settings, the plans made, what came of them. All of it is plain JSON; a run is the list of its facts.
import type { Budget, Cost } from './budget.ts'
import type { Context, Rules } from './context.ts'
import type { Score } from './score.ts'
import type { Gain, Variances } from './statistics.ts'

/** Settings of a run, fixed when it starts; rounds and budget can be raised by steering. */
export interface Options {
  readonly seed: number
  readonly context: Context
  readonly rules: Rules
  /** Example ids. `confirm` is kept back from the holdout for the last choice; may be empty, as may `ood`. */
  readonly splits: Readonly<Record<'train' | 'holdout' | 'confirm' | 'test' | 'ood', readonly string[]>>
  readonly rounds: number
  /** Rounds in flight, P: round t is planned from the rounds up to t − P. */
  readonly inFlight: number
  /** Problems a round. */
  readonly batch: number
  /** `shuffled`: without replacement until train is used up. `failures`: weighted towards problems that were answered wrong. */
  readonly batches: 'shuffled' | 'failures'
  /** Generations per holdout problem. */
  readonly draws: number
  /**
   * The seed gets so many instead, 2 or more; where its answers then vary much more than problems do, `draws` is doubled. Undefined = not
   * measured.
   */
  readonly probe?: number
  /**
   * Edits are scored `block` rollouts at a time, until they are shown to be worse than the best; `alpha` = most probable share of edits for
   * which that is wrong. Undefined = all are scored to the end.
   */
  readonly racing?: { readonly alpha: number; readonly block: number }
  /** Generations per test problem. */
  readonly testDraws: number
  /** Stop after so many settled rounds without a better holdout score; 0 = never. */
  readonly patience: number
  readonly budget: Budget
  /** Score the seed context on each batch too. */
  readonly reference: boolean
  /** Folds of the cross-validated figure; 0 = none. */
  readonly folds: number
  /** How the last choice is made: by holdout mean, with fresh problems for the best 4, or by tree shrinkage. */
  readonly choice: 'mean' | 'confirm' | 'shrink'
  /** What a rollout and a proposal are assumed to cost until some were seen. */
  readonly assumed: { readonly rollout: Cost; readonly proposal: Cost }
}

/** One piece of work, and all that it may know: `upTo` freezes which of the past edits. */
export interface Plan {
  /** Serial number of the plan, from 0. */
  readonly round: number
  readonly kind: 'seed' | 'edit' | 'score' | 'close'
  /** Nodes edited, the first one counting a visit. */
  readonly from: readonly number[]
  readonly batch: readonly string[]
  readonly part?: string
  /** The part of each of `from`, where several are edited; the first is `part`. */
  readonly parts?: readonly string[]
  readonly hint?: string
  /** A context written by hand, for kind `score`, or made of those of `from`. */
  readonly context?: Context
  /** Best fully scored node when planned. */
  readonly best?: number
  readonly upTo: number
}

/** What the seed's score showed, and the generations a problem that were chosen by it. */
export interface Noise extends Variances {
  readonly draws: number
}

/** What a round brought; `memo` = what its method wants to find again in later rounds. */
export type Outcome = (
  | {
      readonly kind: 'scored'
      readonly parents: readonly number[]
      readonly context: Context
      readonly score: Score
      readonly copied?: readonly string[]
      /** Of the seed, where it was measured. */
      readonly noise?: Noise
    }
  | { readonly kind: 'rejected'; readonly parent: number; readonly reason: string; readonly context: Context }
  | { readonly kind: 'invalid'; readonly parent: number; readonly reason: string }
) & { readonly memo?: string }

/** Someone's wish for a running run; becomes a fact between two rounds. */
export type Steer =
  | { readonly wish: 'pause' | 'continue' | 'stop' }
  | { readonly wish: 'branch'; readonly node: number; readonly hint?: string }
  | { readonly wish: 'prune'; readonly node: number }
  | { readonly wish: 'add'; readonly context: Context; readonly parent?: number }
  | { readonly wish: 'extend'; readonly rounds?: number; readonly budget?: Budget }

export const stopReasons = ['rounds', 'budget', 'patience', 'perfect', 'done', 'asked'] as const
export type StopReason = (typeof stopReasons)[number]

/** What the closing look found; the canonical part of a report. */
export interface Result {
  /** The node chosen on the holdout. */
  readonly chosen: number
  /** The node to use: the chosen one if its gain was shown, else the seed. */
  readonly returned: number
  /** Chosen minus seed on the test split, paired by problem. */
  readonly gain: Gain
  /** Mean test score and its 95 % interval. */
  readonly test: { readonly seed: Estimate; readonly chosen: Estimate }
  /** Gain on the holdout minus gain on test: what choosing the best of many made it look better than it is. */
  readonly optimism: number
  readonly holdout: { readonly seed: number; readonly chosen: number }
  /** Mean over folds of the score of what would have been chosen without the fold; undefined without folds. */
  readonly crossValidated?: number
  /** Second test split from elsewhere. */
  readonly ood?: { readonly gain: Gain; readonly seed: Estimate; readonly chosen: Estimate }
  /** Fresh problems on which the best were scored again, pooled mean by node id. */
  readonly confirmed?: Readonly<Record<string, number>>
  readonly choice: Options['choice']
  /** What the generations per holdout problem were chosen by, if it was measured. */
  readonly noise?: Noise
  /** Test problems asked for; fewer were scored if the budget ended (`gain.n`). */
  readonly asked: number
  /** Score per test problem, for the table of fixed and broken ones. */
  readonly per: { readonly seed: Readonly<Record<string, number>>; readonly chosen: Readonly<Record<string, number>> }
  /** Highest share of a split's example that stands word for word in the chosen context, and which examples by half or more. */
  readonly overlap: Readonly<Record<'train' | 'holdout' | 'test', Overlap>>
  /** How often the test split has been opened, this time included: more than once weakens the claim. */
  readonly openings: number
}

export interface Estimate {
  readonly mean: number
  readonly interval: readonly [low: number, high: number]
}

export interface Overlap {
  readonly share: number
  readonly copied: readonly string[]
}

/** Who took part, and hashes of what can't be written out. */
export interface Names {
  readonly task: string
  readonly method: string
  readonly model: string
  readonly evolver: string
  readonly judge: string
  readonly tokenizer: string
}

/** The canonical record of a run, in round order: byte-identical for the same seed, P and answers. */
export type Fact =
  | {
      readonly kind: 'started'
      readonly names: Names
      readonly options: Options
      readonly hashes: Readonly<Record<string, string>>
    }
  | { readonly kind: 'planned'; readonly plan: Plan }
  | (Outcome & { readonly round: number })
  | {
      readonly kind: 'settled'
      readonly round: number
      readonly spent: Spent
      readonly seen?: Score
      readonly reference?: number
    }
  /** `refused` = why the wish could not be followed. */
  | ({ readonly kind: 'steered'; readonly refused?: string } & Steer)
  | { readonly kind: 'stopped'; readonly why: StopReason; readonly detail?: string }
  | { readonly kind: 'reported'; readonly result: Result }

/** Cost by purpose. */
export interface Spent {
  readonly rollouts: number
  readonly proposals: number
  readonly act: Cost
  readonly evolve: Cost
}
