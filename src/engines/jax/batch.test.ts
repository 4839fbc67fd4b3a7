import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Group } from '../../core/engine.ts'
import { batchesOf } from './batch.ts'
import { bucket, paddedLength } from './bucket.ts'
import type { Shape } from './shape.ts'

const shape: Shape = { layers: 1, width: 8, heads: 1, context: 96, vocabulary: 50, shifts: 3 }

test('buckets are few and at most half too large', () => {
  expect([1, 2, 3, 4, 5, 6, 7, 9, 13, 17, 25, 33].map(bucket)).toEqual([1, 2, 3, 4, 6, 6, 8, 12, 16, 24, 32, 48])
  expect(paddedLength(3, [], 96)).toBe(8)
  expect(paddedLength(70, [], 72)).toBe(72)
  expect(paddedLength(70, [40, 80], 96)).toBe(80)
  expect(paddedLength(81, [40, 80], 96)).toBe(96)
})

const rollout = fc.integer({ min: 1, max: 40 }).chain((t) =>
  fc.record({
    tokens: fc.int32Array({ min: 1, max: 49, minLength: t, maxLength: t }),
    logprobs: fc.float32Array({ min: -4, max: 0, minLength: t, maxLength: t, noNaN: true }),
    advantages: fc.float32Array({ min: -1, max: 1, minLength: t, maxLength: t, noNaN: true }),
    weights: fc.float32Array({ min: 0, max: 1, minLength: t, maxLength: t, noNaN: true }),
  }),
)
const group = fc.record({
  prompt: fc.int32Array({ min: 1, max: 49, maxLength: 40 }),
  rollouts: fc.array(rollout, { maxLength: 5 }),
})
const groups = fc.array(group, { minLength: 1, maxLength: 20 }).filter((all) => all.some(({ rollouts }) => rollouts.length > 0))

test('every rollout is in the batches once, with its prompt, and all batches have one shape', () => {
  fc.assert(
    fc.property(groups, (all: readonly Group[]) => {
      const batches = batchesOf(all, [], shape)
      const count = all.reduce((sum, { rollouts }) => sum + rollouts.length, 0)
      const [first] = batches
      const found = batches.flatMap(({ n, g, p, t, ...of }) => {
        expect([n, g, p, t]).toEqual([first!.n, first!.g, first!.p, first!.t])
        return Array.from({ length: n }, (_, i) => ({
          prompt: [...of.prompts.slice(i * p, i * p + of.promptLengths[i]!)],
          rollouts: Array.from({ length: g }, (_, j) => i * g + j)
            .filter((row) => of.lengths[row]! > 0)
            .map((row) => {
              const cut = (from: Int32Array | Float32Array): number[] => [...from.slice(row * t, row * t + of.lengths[row]!)]
              return [of.tokens, of.logprobs, of.advantages, of.weights.map((weight) => weight * count)].map(cut)
            }),
        }))
      })
      all.forEach(({ prompt, rollouts }, i) => {
        expect(found[i]!.prompt).toEqual([...prompt])
        expect(found[i]!.rollouts).toHaveLength(rollouts.length)
        rollouts.forEach(({ tokens, logprobs, advantages, weights }, j) => {
          expect(found[i]!.rollouts[j]!.slice(0, 3)).toEqual([[...tokens], [...logprobs], [...advantages]])
          for (const [at, weight] of found[i]!.rollouts[j]![3]!.entries()) expect(weight).toBeCloseTo(weights[at]!, 5)
        })
      })
      expect(found.slice(all.length).every(({ rollouts }) => rollouts.length === 0)).toBe(true)
    }),
    { numRuns: 40, seed: 3 },
  )
})

test('two groups or more are divided, so that two threads have work', () => {
  const one = { prompt: Int32Array.of(1), rollouts: [{ tokens: Int32Array.of(1), ...floats(1) }] }
  expect(batchesOf([one], [], shape)).toHaveLength(1)
  expect(batchesOf([one, one], [], shape).map(({ n }) => n)).toEqual([1, 1])
  expect(
    batchesOf(
      Array.from({ length: 16 }, () => one),
      [],
      shape,
    ).map(({ n }) => n),
  ).toEqual([8, 8])
})

function floats(t: number): { logprobs: Float32Array; advantages: Float32Array; weights: Float32Array } {
  const zeros = new Float32Array(t)
  return { logprobs: zeros, advantages: zeros, weights: zeros }
}
