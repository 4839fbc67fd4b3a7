// Values of the losses, in double precision, from the log-probabilities that the compiled program gives back. It computes the gradient
// on its own (network.ts), so each checks the other.
import type { Loss, Metrics } from '../../core/engine.ts'
import type { Batch } from './batch.ts'

/** Sums over tokens; those of batches add up. */
export interface Sums {
  loss: number
  tokens: number
  /** −logprob now. */
  nll: number
  /** logprob then − logprob now. */
  kl: number
  /** exp(logprob now − logprob then). */
  ratio: number
  clipped: number
  entropy: number
}

/** What the policy says now of the batch's tokens, [N, G, T] each. */
export interface Now {
  readonly logprobs: Float32Array
  /** Where the loss counts them. */
  readonly entropies?: Float32Array
}

/** The sums of one batch. */
export function sumsOf({ weights, advantages, logprobs }: Batch, { logprobs: now, entropies }: Now, loss: Loss): Sums {
  const sums: Sums = { loss: 0, tokens: 0, nll: 0, kl: 0, ratio: 0, clipped: 0, entropy: 0 }
  const bonus = entropyOf(loss)
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]!
    if (weight === 0) continue
    const logprob = now[i]!
    sums.tokens++
    sums.nll -= logprob
    if (loss.kind === 'cross_entropy') {
      sums.loss -= weight * logprob
      continue
    }
    sums.kl += logprobs[i]! - logprob
    const advantage = advantages[i]!
    const ratio = Math.exp(logprob - logprobs[i]!)
    sums.ratio += ratio
    const [low, high] = boundsOf(loss)
    const clipped = Math.min(Math.max(ratio, low), high)
    const isClipped = advantage > 0 ? ratio > high : advantage < 0 && ratio < low
    if (advantage !== 0) sums.loss -= weight * advantage * (isClipped ? clipped : ratio)
    if (isClipped) sums.clipped++
    if (entropies) {
      sums.entropy += entropies[i]!
      sums.loss -= weight * bonus * entropies[i]!
    }
  }
  return sums
}

/** The ratios between which a token is trained; without clipping, all. */
export function boundsOf(loss: Loss): readonly [low: number, high: number] {
  return loss.kind === 'ppo' ? [1 - loss.low, 1 + loss.high] : [0, Infinity]
}

/** What the entropy at a token counts; 0 = it is not asked for. */
export function entropyOf(loss: Loss): number {
  return loss.kind === 'ppo' ? (loss.entropy ?? 0) : 0
}

/** Means over tokens; `loss` as it is. */
export function metricsOf(parts: readonly Sums[], loss: Loss): Metrics {
  const sum = (name: keyof Sums): number => parts.reduce((total, sums) => total + sums[name], 0)
  const tokens = sum('tokens')
  const mean = (name: keyof Sums): number => sum(name) / Math.max(1, tokens)
  const both = { loss: sum('loss'), tokens, nll: mean('nll') }
  if (loss.kind === 'cross_entropy') return both
  const all = { ...both, kl: mean('kl'), ratio: mean('ratio'), clipped: mean('clipped') }
  return entropyOf(loss) > 0 ? { ...all, entropy: mean('entropy') } : all
}
