// How a context did: one attempt (rollout), and a score over many.
import type { Shown } from './task.ts'

/** One attempt at one example, as the evolver and the report see it. */
export interface Rollout extends Shown {
  readonly exampleId: string
  readonly draw: number
  readonly score: number
  readonly feedback: string
}

export interface Score {
  /** Mean score per example id, in [0, 1]. */
  readonly per: Readonly<Record<string, number>>
  /** Mean over examples; where a race was lost, the mean of what it was raced against plus the mean difference from it. */
  readonly mean: number
  /** Generations per example; some have fewer, or none, where scoring was cut short. */
  readonly draws: number
  /** False = scoring was cut short: selectable, never returned as best. */
  readonly full: boolean
  /** Of a lost race: where the mean of all rollouts would lie, an interval that holds whenever it is looked at. */
  readonly interval?: readonly [low: number, high: number]
  /** Rollouts made before a race was lost. */
  readonly n?: number
}

export function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length
}

/** Score of rollouts in the order given. */
export function scoreOf(rollouts: readonly Pick<Rollout, 'exampleId' | 'score'>[], draws: number, full = true): Score {
  const by = new Map<string, number[]>()
  for (const r of rollouts) {
    const had = by.get(r.exampleId)
    if (had) had.push(r.score)
    else by.set(r.exampleId, [r.score])
  }
  const per = Object.fromEntries([...by].map(([id, scores]) => [id, mean(scores)]))
  return { per, mean: by.size ? mean(Object.values(per)) : 0, draws, full }
}
