// What GEPA leaves to chance.
import { rng, shuffle } from '../core/rng.ts'

/** Everything that is drawn, so that a test can hand in the original's draws. */
export interface Chance {
  /** The order of the training problems in an epoch, the same whenever it is asked for. */
  shuffle(ids: readonly string[], epoch: number): readonly string[]
  /** Nodes of equal mean, and parts to join: which is looked at first. */
  order<T extends number | string>(of: readonly T[]): readonly T[]
  pick<T>(of: readonly T[]): T
  /** Without replacement. */
  sample<T>(of: readonly T[], k: number): readonly T[]
  /** One, by weights ≥ 0; if all are 0, any. */
  weighted<T>(of: readonly T[], weights: readonly number[]): T
}

/** Generators named by seed and round. */
export function seeded(seed: number, round: number): Chance {
  const draw = rng(seed, round, 'gepa')
  const pick = <T>(of: readonly T[]): T => of[Math.floor(draw() * of.length)]!
  return {
    shuffle: (ids, epoch) => shuffle(ids, rng(seed, epoch, 'batch')),
    order: (of) => of,
    pick,
    sample: (of, k) => shuffle(of, draw).slice(0, k),
    weighted(of, weights) {
      let left = draw() * weights.reduce((a, b) => a + b, 0)
      for (const [i, one] of of.entries()) {
        left -= weights[i]!
        if (left < 0) return one
      }
      return pick(of)
    },
  }
}
