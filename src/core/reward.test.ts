import fc from 'fast-check'
import { expect, test } from 'vitest'
import { gainReward, logitReward, reward } from './reward.ts'

const score = fc.double({ min: 0, max: 1, noNaN: true })

test('an edit earns the change in score, an invalid one −1', () => {
  expect(reward(0.5, 0.75)).toBe(0.25)
  expect(reward(0.75, 0.5)).toBe(-0.25)
  expect(reward(0, undefined)).toBe(-1)
  expect(logitReward(0, undefined)).toBe(-1)
})

test('a gain is the change in score where it is one for the better', () => {
  expect(gainReward(0.5, 0.75)).toBe(0.25)
  expect(gainReward(0.75, 0.5)).toBe(0)
  expect(gainReward(0.5, 0.5)).toBe(0)
  expect(gainReward(0, undefined)).toBe(-1)
})

test('the log odds reward by hand', () => {
  // ln(.75·.5 / (.5·.25)) = ln 3
  expect(logitReward(0.5, 0.75)).toBeCloseTo(Math.log(3), 4)
})

test('the log odds reward is finite everywhere, 0 for no change, and never sinks when the score rises', () => {
  fc.assert(
    fc.property(score, score, score, (before, a, b) => {
      expect(Number.isFinite(logitReward(before, a))).toBe(true)
      expect(Math.abs(logitReward(before, before))).toBeLessThan(1)
      expect(logitReward(before, Math.max(a, b))).toBeGreaterThanOrEqual(logitReward(before, Math.min(a, b)))
    }),
    { seed: 7 },
  )
  for (const edge of [0, 1]) expect(logitReward(edge, edge)).toBe(0)
  expect(logitReward(1, 0)).toBeCloseTo(-13.8, 1)
  expect(logitReward(0, 1)).toBeCloseTo(13.8, 1)
})
