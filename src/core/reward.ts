// What an edit earned. Source: arXiv:2603.18620 and its code.

/** Reward of an edit that could not be read or may not be made. */
export const invalidReward = -1

/** Keeps the ratio of odds finite; the code's constant. */
const tiny = 1e-6

/** Mean score after minus before on the same problems, in [−1, 1]; −1 for an invalid edit (`after` undefined). */
export function reward(before: number, after: number | undefined): number {
  return after === undefined ? invalidReward : after - before
}

/**
 * What a search that keeps the parent gets of an edit, max(0, after − before), in [0, 1]; −1 for an invalid edit. An edit that changes
 * nothing earns as little as one that harms, so where most edits harm, the policy still learns to try what may help.
 */
export function gainReward(before: number, after: number | undefined): number {
  return after === undefined ? invalidReward : Math.max(0, after - before)
}

/**
 * Change in log odds, ln( after (1 − before) / (before (1 − after) + 10⁻⁶) ), in [−13.8, 13.8]; −1 for an invalid edit.
 * Where the numerator is under 10⁻⁶ (after = 0 or before = 1) that is used instead; the code gives −∞ there.
 */
export function logitReward(before: number, after: number | undefined): number {
  if (after === undefined) return invalidReward
  return Math.log(Math.max(tiny, after * (1 - before)) / (before * (1 - after) + tiny))
}
