import { expect, test } from 'vitest'
import { EngineError } from '../../core/errors.ts'
import { adamStep, noMoments } from './adam.ts'

test('two steps agree with a calculation by hand', () => {
  const adam = { learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 }
  const one = adamStep(Float32Array.of(1), Float32Array.of(2), noMoments(1), adam)
  // First step: both means are corrected to the gradient itself, so it moves by the learning rate.
  expect(one.weights[0]).toBeCloseTo(0.9, 5)
  const two = adamStep(one.weights, Float32Array.of(-1), one.moments, adam)
  // first = 0.9 · 0.2 − 0.1 = 0.08, corrected by 0.19; second = 0.99 · 0.04 + 0.01 = 0.0496, corrected by 0.0199.
  expect(two.weights[0]).toBeCloseTo(0.9 - (0.1 * (0.08 / 0.19)) / Math.sqrt(0.0496 / 0.0199), 5)
  expect(two.moments.step).toBe(2)
})

test('a gradient over the norm is scaled down to it, one under it is not', () => {
  const means = (gradient: Float32Array): readonly number[] => {
    const { moments, norm } = adamStep(new Float32Array(2), gradient, noMoments(2), { learningRate: 1, maxNorm: 1 })
    return [norm, ...moments.first]
  }
  const close = (values: readonly number[], expected: readonly number[]): void => {
    for (const [i, value] of values.entries()) expect(value).toBeCloseTo(expected[i]!, 6)
  }
  close(means(Float32Array.of(3, 4)), [5, 0.06, 0.08])
  close(means(Float32Array.of(0.3, 0.4)), [0.5, 0.03, 0.04])
  close(means(Float32Array.of(0, 0)), [0, 0, 0])
})

test('a gradient that is not finite is refused, and nothing given is changed', () => {
  const weights = Float32Array.of(1, 2)
  const moments = noMoments(2)
  expect(() => adamStep(weights, Float32Array.of(1, Number.NaN), moments, { learningRate: 1 })).toThrow(EngineError)
  expect(() => adamStep(weights, Float32Array.of(1, 1), moments, { learningRate: Number.NaN })).toThrow(EngineError)
  adamStep(weights, Float32Array.of(1, 1), moments, { learningRate: 1 })
  expect([...weights, ...moments.first, ...moments.second]).toEqual([1, 2, 0, 0, 0, 0])
})
