// From what edits earned to what their tokens are told. Default: the change in score itself, as arXiv:2603.18620; the rest are named switches.
import { gainReward, invalidReward, logitReward, reward } from '../core/reward.ts'
import { mean } from '../core/score.ts'
import { deviation } from '../core/statistics.ts'

/** What one edit earned: holdout score before, and after; undefined = an invalid edit. */
export interface Earned {
  readonly before: number
  readonly after: number | undefined
}

export interface AdvantageOptions {
  /**
   * `delta` (the paper), `logit-delta` (its code's option), `gain`: a change for the worse counts as none, since the tree goes on from the
   * parent; or `post-edit`: the score after, whatever it was before.
   */
  readonly reward?: 'delta' | 'logit-delta' | 'gain' | 'post-edit'
  /**
   * Taken off each reward: nothing (the paper), the mean of the node's other rollouts, of the node, or of the batch. Without the node's own
   * rollout, the score before cancels for valid edits: `leave-one-out` on `delta` is GRPO without its division.
   */
  readonly baseline?: 'none' | 'leave-one-out' | 'group' | 'batch'
  /** Divided by: nothing (the paper), the standard deviation of the batch, or of the node's rollouts (GRPO). */
  readonly scale?: 'none' | 'batch' | 'group'
}

/** The paper's ablation: score after the edit, normalised within the node's rollouts. Source: GRPO, arXiv:2402.03300. */
export const grpo: AdvantageOptions = { reward: 'post-edit', baseline: 'group', scale: 'group' }

/** Keeps a division finite; GRPO's constant. */
const tiny = 1e-6

/** One advantage a rollout, [P][G]; every token of the rollout gets it. P nodes, G rollouts of each. */
export function advantages(earnedPG: readonly (readonly Earned[])[], options: AdvantageOptions = {}): number[][] {
  const { reward: kind = 'delta', baseline = 'none', scale = 'none' } = options
  const rewardsPG = earnedPG.map((group) => group.map((e) => rewardOf(e, kind)))
  // As in the reference code: a change of odds has its own scale, which an invalid edit's flat −1 stays out of.
  const counts = (e: Earned): boolean => kind !== 'logit-delta' || e.after !== undefined
  const countedPG = rewardsPG.map((group, p) => group.filter((_, g) => counts(earnedPG[p]![g]!)))
  const all = countedPG.flat()
  return rewardsPG.map((group, p) =>
    group.map((r, g) => {
      if (!counts(earnedPG[p]![g]!)) return r
      const base = baselineOf(baseline, { r, group: countedPG[p]!, all })
      return (r - base) / scaleOf(scale, { group: countedPG[p]!, all })
    }),
  )
}

function rewardOf({ before, after }: Earned, kind: NonNullable<AdvantageOptions['reward']>): number {
  if (kind === 'delta') return reward(before, after)
  if (kind === 'logit-delta') return logitReward(before, after)
  if (kind === 'gain') return gainReward(before, after)
  return after ?? invalidReward
}

interface Around {
  /** Rewards of the node's rollouts, this one included. */
  readonly group: readonly number[]
  /** Rewards of the batch. */
  readonly all: readonly number[]
}

function baselineOf(
  baseline: NonNullable<AdvantageOptions['baseline']>,
  { r, group, all }: Around & { readonly r: number },
): number {
  if (baseline === 'none') return 0
  if (baseline === 'batch') return all.length > 1 ? mean(all) : 0
  if (baseline === 'group') return mean(group)
  return group.length > 1 ? (group.reduce((a, b) => a + b, 0) - r) / (group.length - 1) : 0
}

function scaleOf(scale: NonNullable<AdvantageOptions['scale']>, { group, all }: Around): number {
  if (scale === 'none') return 1
  return scale === 'group' ? deviation(group) + tiny : deviation(all) || 1
}
