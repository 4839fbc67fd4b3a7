import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type AdvantageOptions, advantages, grpo } from './advantage.ts'

interface Golden {
  readonly before: readonly number[]
  readonly after: readonly (number | null)[]
  readonly option: 'none' | 'std_norm' | 'whitening'
  readonly delta: readonly (number | string)[]
  readonly logit_delta: readonly (number | string)[]
}
const golden = JSON.parse(readFileSync(new URL('../../test/golden/reference.json', import.meta.url), 'utf8')) as {
  advantages: Golden[]
}

const switches: Readonly<Record<Golden['option'], AdvantageOptions>> = {
  none: {},
  std_norm: { scale: 'batch' },
  whitening: { baseline: 'batch', scale: 'batch' },
}

// The code gives −∞ at scores of 0 and 1, where ours is guarded: such batches are compared for delta alone.
for (const [i, g] of golden.advantages.entries()) {
  const earned = [g.before.map((before, k) => ({ before, after: g.after[k] ?? undefined }))]
  test(`delta advantages are the reference's: batch ${i}, ${g.option}`, () => {
    const ours = advantages(earned, switches[g.option])[0]!
    for (const [k, a] of ours.entries()) expect(a).toBeCloseTo(Number(g.delta[k]), 5)
  })
  const isGuarded = g.before.concat(g.after.map((a) => a ?? 0.5)).some((s) => s === 0 || s === 1)
  if (!isGuarded)
    test(`logit-delta advantages are the reference's: batch ${i}, ${g.option}`, () => {
      const ours = advantages(earned, { reward: 'logit-delta', ...switches[g.option] })[0]!
      for (const [k, a] of ours.entries()) expect(a).toBeCloseTo(Number(g.logit_delta[k]), 4)
    })
}

const pool = [
  [
    { before: 0.5, after: 0.7 },
    { before: 0.5, after: 0.4 },
    { before: 0.5, after: undefined },
  ],
  [
    { before: 0.2, after: 0.2 },
    { before: 0.2, after: 0.5 },
    { before: 0.2, after: 0.2 },
  ],
]

test('by default an edit is told its change in score, and an invalid one -1', () => {
  expect(advantages(pool)[0]).toEqual([0.7 - 0.5, 0.4 - 0.5, -1])
})

test('an invalid edit earns -1 by any reward', () => {
  expect(advantages(pool, { reward: 'post-edit' })[0]).toEqual([0.7, 0.4, -1])
  expect(advantages(pool, { reward: 'logit-delta' })[0]![2]).toBe(-1)
  expect(advantages(pool, { reward: 'gain' })[0]).toEqual([0.7 - 0.5, 0, -1])
})

test('with the other rollouts as baseline the score before cancels for valid edits', () => {
  const shifted = (by: number): number[] =>
    advantages([pool[1]!.map((e) => ({ ...e, before: e.before + by }))], { baseline: 'leave-one-out' })[0]!
  for (const [k, a] of shifted(0.3).entries()) expect(a).toBeCloseTo(shifted(0)[k]!, 12)
  expect(shifted(0)[1]).toBeCloseTo(0.5 - 0.2, 12)
})

test('grpo normalises the score after within the rollouts of a node', () => {
  const [, group] = advantages(pool, grpo)
  // scores .2 .5 .2: mean .3, sample deviation .1732
  expect(group![1]).toBeCloseTo(0.2 / (Math.sqrt(0.03) + 1e-6), 6)
  expect(group!.reduce((a, b) => a + b)).toBeCloseTo(0, 9)
})

test('a node whose rollouts all earned the same is told nothing by its own mean', () => {
  expect(advantages([[pool[0]![0]!, pool[0]![0]!]], grpo)[0]).toEqual([0, 0])
})
