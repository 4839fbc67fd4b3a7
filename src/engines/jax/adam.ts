// Adam on flat arrays, in the process that holds the weights. Source: arXiv:1412.6980.
import type { Adam } from '../../core/engine.ts'
import { EngineError, NotFiniteError } from '../../core/errors.ts'

/** Running means of the gradient and of its square, and the steps they have seen. */
export interface Moments {
  readonly first: Float32Array<ArrayBuffer>
  readonly second: Float32Array<ArrayBuffer>
  readonly step: number
}

export interface Stepped {
  readonly weights: Float32Array<ArrayBuffer>
  readonly moments: Moments
  /** Of the gradient, before it was scaled down. */
  readonly norm: number
}

export function noMoments(size: number): Moments {
  return { first: new Float32Array(size), second: new Float32Array(size), step: 0 }
}

/**
 * One step; nothing that is given is changed. Without `maxNorm` the gradient is taken as it is.
 * @throws {EngineError} on a gradient that is not finite.
 */
export function adamStep(weights: Float32Array, gradient: Float32Array, moments: Moments, adam: Adam): Stepped {
  const { learningRate, beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8, maxNorm = Infinity } = adam
  if (!Number.isFinite(learningRate)) throw new EngineError(`the learning rate is ${learningRate}`)
  const norm = Math.sqrt(gradient.reduce((sum, of) => sum + of * of, 0))
  if (!Number.isFinite(norm)) throw new NotFiniteError('the gradient is not finite: no step was made')
  const scale = Math.min(1, maxNorm / norm || 1)
  const step = moments.step + 1
  const [correct1, correct2] = [1 - beta1 ** step, 1 - beta2 ** step]
  const next = {
    weights: new Float32Array(weights),
    first: new Float32Array(moments.first),
    second: new Float32Array(moments.second),
  }
  for (let i = 0; i < weights.length; i++) {
    const of = gradient[i]! * scale
    const first = beta1 * moments.first[i]! + (1 - beta1) * of
    const second = beta2 * moments.second[i]! + (1 - beta2) * of * of
    next.first[i] = first
    next.second[i] = second
    next.weights[i]! -= (learningRate * (first / correct1)) / (Math.sqrt(second / correct2) + epsilon)
  }
  return { weights: next.weights, moments: { first: next.first, second: next.second, step }, norm }
}
