// What the evolver is given: how a context did on fresh problems, how it came about, and which edits of it were tried before.
import type { Context, Rules } from './context.ts'
import type { Rollout, Score } from './score.ts'

/** A context that was scored on the holdout. */
export interface Node {
  readonly id: number
  /** None = the seed or written by hand, one = edited, two = merged. */
  readonly parents: readonly number[]
  readonly round: number
  readonly context: Context
  readonly score: Score
}

/** One edit of the past. */
export type Tried = (
  | { readonly kind: 'scored'; readonly context: Context; readonly before: number; readonly after: number }
  | { readonly kind: 'rejected'; readonly context: Context; readonly reason: string }
  | { readonly kind: 'invalid'; readonly reason: string }
) & { readonly memo?: string }

export interface Observation {
  readonly node: Node
  /** How the node did on this round's batch. */
  readonly seen: Score & { readonly rollouts: readonly Rollout[] }
  /** From the seed down to the node: each step's holdout score, and the context. */
  readonly history: readonly { readonly context: Context; readonly score: number }[]
  /** Edits of this same node made before, oldest first. */
  readonly earlier: readonly Tried[]
  readonly rules: Rules
  /** The one part to edit, where the method edits one at a time. */
  readonly part?: string | undefined
  /** What the method kept of earlier rounds for this edit, oldest first. */
  readonly memos?: readonly string[] | undefined
  /** Someone's advice for this edit, from steering. */
  readonly hint?: string | undefined
}
