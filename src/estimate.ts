// What a run will take, before anything is spent: calls, tokens, dollars, minutes, and the smallest gain its test split can show.
import { addCost, type Cost, noCost, scaleCost } from './core/budget.ts'
import { closingCost, expectedCost, roundsAfforded } from './core/search.ts'
import { start } from './core/state.ts'
import { smallestGain } from './core/statistics.ts'
import type { EvolveOptions } from './options.ts'
import { prepare } from './prepare.ts'

export interface Estimate {
  /** Splits' sizes. */
  readonly splits: Readonly<Record<'train' | 'holdout' | 'confirm' | 'test' | 'ood', number>>
  readonly draws: { readonly holdout: number; readonly test: number }
  readonly rounds: number
  /** Whether an edit that is shown to be worse is not scored to the end: a round then costs what is said here or less. */
  readonly racing: boolean
  /** Whether the seed decides about the generations: noisy answers double `draws.holdout`, and what rounds cost with them. */
  readonly measures: boolean
  /** Cost of the parts of a run; calls are exact for one call a rollout, one try an edit, and neither of the two above. */
  readonly seed: Cost
  readonly round: Cost
  readonly closing: Cost
  readonly total: Cost
  /** Whether all prices are known; dollars are 0 where not. */
  readonly priced: boolean
  /** Wall clock at the given seconds a call. */
  readonly minutes: number
  /** Rounds that the budget affords, if one is set. */
  readonly affords?: number
  /** Smallest gain on test whose 95 % interval would lie above 0, at typical variances; in [0, 1]. */
  readonly smallestGain: number
}

/** Estimates a run; resolves models and reads data, calls nothing. `secondsPerCall` is an assumption of the caller's. */
export async function estimate(
  given: EvolveOptions,
  { secondsPerCall = 2 }: { secondsPerCall?: number } = {},
): Promise<Estimate> {
  await using prepared = await prepare(given)
  const { options: o, settings, sources } = prepared
  const state = start(o)
  const [seed, round, closing] = [expectedCost(state, o, 'seed'), expectedCost(state, o, 'edit'), closingCost(state, o)]
  const total = [seed, scaleCost(round, o.rounds), closing].reduce(addCost, noCost)
  // A round is three steps one after the other: batch, edit, holdout. P rounds share the limiter.
  const steps = (calls: number): number => Math.ceil(calls / settings.concurrency)
  const perRound = 2 + steps(o.splits.holdout.length * o.draws)
  const path = steps(seed.calls) + (perRound * o.rounds) / o.inFlight + steps(closing.calls)
  const minutes = (Math.max(path, total.calls / settings.concurrency) * secondsPerCall) / 60
  const affords = roundsAfforded(state, o)
  const { act, judge, evolve } = sources
  return {
    splits: {
      train: o.splits.train.length,
      holdout: o.splits.holdout.length,
      confirm: o.splits.confirm.length,
      test: o.splits.test.length,
      ood: o.splits.ood.length,
    },
    draws: { holdout: o.draws, test: o.testDraws },
    rounds: o.rounds,
    racing: o.racing !== undefined,
    measures: o.probe !== undefined,
    seed,
    round,
    closing,
    total,
    priced: [act, judge, ...(evolve ? [evolve] : [])].every((s) => s.price !== undefined),
    minutes,
    ...(Number.isFinite(affords) && { affords: Math.max(0, affords) }),
    smallestGain: smallestGain({ n: o.splits.test.length, draws: o.testDraws }),
  }
}
