import { beforeAll, describe, expect, test } from 'vitest'
import type { Group, Loss } from '../../core/engine.ts'
import { EngineError } from '../../core/errors.ts'
import { rng } from '../../core/rng.ts'
import { type Batch, batchesOf } from './batch.ts'
import { initialWeights } from './initial.ts'
import { loadJax } from './load-jax.ts'
import { sumsOf } from './loss.ts'
import { type Network, network } from './network.ts'
import { leavesOf, type Shape } from './shape.ts'

const shape: Shape = { layers: 2, width: 16, heads: 2, context: 24, vocabulary: 24, shifts: 3 }
const weights = initialWeights(shape, 3)
const chance = rng('network test')
const ids = (length: number): Int32Array => Int32Array.from({ length }, () => Math.floor(chance() * shape.vocabulary))

/** Prompts and rollouts of unlike lengths. */
const groups: readonly Group[] = [5, 8, 3].map((length, i) => ({
  prompt: ids(length),
  rollouts: Array.from({ length: 2 + (i % 2) }, (_, j) => {
    const tokens = ids(3 + i + j)
    const values = (draw: () => number): Float32Array => Float32Array.from(tokens, draw)
    return {
      tokens,
      logprobs: values(() => -3.2 + 0.4 * chance()),
      advantages: values(() => chance() - 0.5),
      weights: values(() => 0.5 + chance()),
    }
  }),
}))

let net: Network
beforeAll(async () => {
  net = await network(await loadJax(), shape)
})

function batch(): Batch {
  const [first] = batchesOf(groups.slice(0, 2), [], shape)
  return first!
}

describe('the gradient', () => {
  const losses: readonly Loss[] = [
    { kind: 'cross_entropy' },
    { kind: 'importance_sampling' },
    { kind: 'ppo', low: 0.1, high: 0.15 },
    { kind: 'ppo', low: 0.1, high: 0.15, entropy: 2 },
  ]
  test.each(losses)('of %j agrees with finite differences on every leaf', (loss) => {
    const value = (at: Float32Array): number => {
      net.use(at)
      return sumsOf(batch(), net.gradient(batch(), loss), loss).loss
    }
    net.use(weights)
    const { gradient } = net.gradient(batch(), loss)
    for (const { name, offset, size } of leavesOf(shape)) {
      const slope = gradient.subarray(offset, offset + size)
      const norm = Math.hypot(...slope)
      expect(norm, name).toBeGreaterThan(1e-4)
      const moved = (step: number): number => {
        const at = weights.slice()
        slope.forEach((of, i) => {
          at[offset + i]! += (step * of) / norm
        })
        return value(at)
      }
      const step = 4e-3
      const numeric = (moved(step) - moved(-step)) / (2 * step)
      expect(Math.abs(numeric - norm) / norm, `${name}: ${norm} against ${numeric}`).toBeLessThan(0.02)
    }
  })
})

test('the entropy is that of the distribution drawn from', () => {
  net.use(weights)
  const all: Loss = { kind: 'ppo', low: 0.2, high: 0.2, entropy: 1 }
  // The first token of a prompt, once as each that it could be: their log-probabilities are the whole distribution.
  const one = (token: number): Group['rollouts'][number] => {
    const value = Float32Array.of(1)
    return { tokens: Int32Array.of(token), logprobs: value, advantages: value, weights: value }
  }
  const rollouts = Array.from({ length: shape.vocabulary }, (_, token) => one(token))
  const [each] = batchesOf([{ prompt: groups[0]!.prompt, rollouts }], [], shape)
  const { logprobs, entropies } = net.gradient(each!, all)
  const first = rollouts.map((_, r) => logprobs[r * each!.t]!)
  expect(entropies![0]).toBeCloseTo(
    first.reduce((sum, logprob) => sum - Math.exp(logprob) * logprob, 0),
    4,
  )
})

test('the sampler and the trainer give a rollout the same log-probabilities', () => {
  net.use(weights)
  const slots = groups.map(({ prompt }, i) => ({
    prompt,
    draws: [0, 1, 2].map((j) => ({ seed: 7 + 3 * i + j, maxTokens: 6 + j })),
  }))
  const drawn = net.sample({ sizes: { n: 4, g: 4, p: 8, t: 8 }, slots })
  const made = slots.map(({ prompt }, i) => ({
    prompt,
    rollouts: drawn[i]!.map(({ tokens, logprobs }) => ({ tokens, logprobs, advantages: logprobs, weights: logprobs })),
  }))
  expect(drawn.flat()).toHaveLength(9)
  for (const b of batchesOf(made, [], shape)) {
    const { logprobs } = net.gradient(b, { kind: 'cross_entropy' })
    for (let r = 0; r < b.n * b.g; r++) {
      for (let at = 0; at < b.lengths[r]!; at++) {
        const i = r * b.t + at
        expect(Math.abs(b.logprobs[i]! - logprobs[i]!)).toBeLessThan(1e-4)
      }
    }
  }
})

test('a sequence attended to in blocks has the log-probabilities and gradients of one that is not', async () => {
  const long = { ...shape, context: 256 }
  const net = await network(await loadJax(), long)
  net.use(initialWeights(long, 4))
  const tokens = ids(70)
  const [logprobs, weights] = [new Float32Array(70).fill(-3), new Float32Array(70).fill(1)]
  const group = { prompt: ids(75), rollouts: [{ tokens, logprobs, advantages: weights, weights }] }
  const [whole, inBlocks] = [[96], [128]].map((lengths) => {
    const [b] = batchesOf([group], lengths, long)
    expect([b!.p, b!.t]).toEqual([...lengths, ...lengths])
    return net.gradient(b!, { kind: 'cross_entropy' })
  })
  const apart = (a: Float32Array, b: Float32Array): number => Math.max(...a.map((of, i) => Math.abs(of - b[i]!)))
  expect(apart(whole!.logprobs.subarray(0, 70), inBlocks!.logprobs.subarray(0, 70))).toBeLessThan(1e-5)
  expect(Math.max(...whole!.gradient)).toBeGreaterThan(1)
  expect(apart(whole!.gradient, inBlocks!.gradient)).toBeLessThan(1e-3)
})

test('a draw is the same, bit by bit, wherever it stands and whatever is drawn beside it', () => {
  net.use(weights)
  const it = { seed: 5, maxTokens: 8 }
  const others = Array.from({ length: 16 }, (_, i) => ({ prompt: ids(1 + (i % 8)), draws: [{ seed: i, maxTokens: 8 }] }))
  const mine = { prompt: groups[0]!.prompt, draws: [it] }
  const alone = net.sample({ sizes: { n: 8, g: 1, p: 8, t: 8 }, slots: [mine] })[0]![0]
  for (const [n, g] of [
    [2, 4],
    [4, 2],
    [8, 1],
    [3, 4],
    [12, 1],
    [8, 8],
  ] as const) {
    const beside = Array.from({ length: g - 1 }, (_, j) => ({ seed: 90 + j, maxTokens: 8 }))
    const slots = [...others.slice(0, n - 1), { ...mine, draws: [...beside, it] }]
    expect(
      net
        .sample({ sizes: { n, g, p: 8, t: 8 }, slots })
        .at(-1)
        ?.at(-1),
      `${n} × ${g}`,
    ).toEqual(alone)
  }
})

test('weights that give no numbers are an error, not an answer', () => {
  net.use(new Float32Array(weights.length).fill(Number.NaN))
  const slots = [{ prompt: ids(4), draws: [{ seed: 1, maxTokens: 4 }] }]
  expect(() => net.sample({ sizes: { n: 8, g: 1, p: 8, t: 8 }, slots })).toThrow(EngineError)
})
