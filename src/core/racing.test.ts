import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bounds, factor, isBelow, wealth } from './racing.ts'
import { rng, shuffle } from './rng.ts'
import { mean } from './score.ts'

/** Differences of 0/1 answers from measured means, as a race sees them. */
const difference = fc.tuple(fc.constantFrom(0, 1), fc.constantFrom(0, 0.25, 0.5, 1)).map(([y, s]) => y - s)
const stakes = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
const list = fc.array(difference, { minLength: 1, maxLength: 60 })

test('each bettor keeps a part of its wealth whatever is drawn, and its wealth is 1 on average if draws average what it expects', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 20 }), (rest) => {
      const mu = mean(rest)
      for (const stake of stakes) {
        const shares = rest.map((x) => factor(x, mu, stake))
        expect(Math.min(...shares)).toBeGreaterThan(0.009)
        expect(mean(shares)).toBeCloseTo(1, 9)
      }
    }),
  )
})

test('the wealth by hand: two draws of 0 of four, staked on a mean below one half', () => {
  // μ = 4 · ½ / 4 = ½, then 2 / 3; a stake λ gives (1 + λ ½)(1 + λ ⅔) while λ < .99 / (1 − μ)
  const of = (stake: number): number => (1 + stake * 0.5) * (1 + (stake * 2) / 3)
  expect(Math.exp(wealth([0, 0], 4, 0.5))).toBeCloseTo(mean(stakes.map(of)), 12)
})

test('the wealth grows with the mean it is staked against', () => {
  fc.assert(
    fc.property(
      list,
      fc.double({ min: -1, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 0.5, noNaN: true }),
      (xs, m, more) => {
        expect(wealth(xs, 2 * xs.length, m + more)).toBeGreaterThanOrEqual(wealth(xs, 2 * xs.length, m) - 1e-9)
      },
    ),
  )
})

test('bounds only narrow, keep to what is still possible, and end at the mean of all unless they missed it', () => {
  fc.assert(
    fc.property(list, fc.constantFrom(0.05, 0.2, 0.5), (xs, alpha) => {
      let [low, high] = [-1, 1]
      for (let t = 1; t <= xs.length; t++) {
        const next = bounds(xs.slice(0, t), xs.length, alpha)
        expect(next[0]).toBeGreaterThanOrEqual(low)
        expect(next[1]).toBeLessThanOrEqual(high)
        expect(next[0]).toBeLessThanOrEqual(next[1])
        ;[low, high] = next
      }
      const end = mean(xs)
      const isMissed = end < low - 1e-9 || end > high + 1e-9 // once in 1 / alpha runs at most
      if (!isMissed) expect(high - low).toBeLessThanOrEqual(2.1e-4)
    }),
    { numRuns: 50, examples: [[[-1, -1, 0, 0, 1, 1], 0.5]] },
  )
})

test('bounds of draws mirrored are mirrored', () => {
  fc.assert(
    fc.property(list, (xs) => {
      const [low, high] = bounds(xs, 2 * xs.length, 0.2)
      const mirrored = bounds(
        xs.map((x) => -x),
        2 * xs.length,
        0.2,
      )
      expect(mirrored[0]).toBeCloseTo(-high, 12)
      expect(mirrored[1]).toBeCloseTo(-low, 12)
    }),
  )
})

test('what can no longer come up to 0 is below, and nothing is below before it was drawn', () => {
  expect(isBelow([], 4, 0.2)).toBe(false)
  expect(isBelow([-0.9, -0.9], 3, 0.001)).toBe(true)
  expect(isBelow([-0.5, -0.5], 3, 0.001)).toBe(false)
})

/** A list whose mean is exactly 0: answers against means of ½, half of them right. */
const level = Array.from({ length: 100 }, (_, i) => (i % 2 ? 0.5 : -0.5))

test('a child exactly as good as the best loses in fewer than a share alpha of orders, looked at after every draw', () => {
  const runs = 2000
  const draw = rng('level')
  let lost = 0
  for (let run = 0; run < runs; run++) {
    const xs = shuffle(level, draw)
    if (wealth(xs.slice(0, 99), 100, 0, Math.log(5)) === Infinity) lost++
  }
  expect(lost / runs).toBeLessThan(0.2)
  expect(lost / runs).toBeGreaterThan(0.02) // a sequence that never stops would be of no use
})

test('bounds hold the mean of all at every time at once, in at least a share 1 − alpha of orders', () => {
  const draw = rng('covers')
  for (const alpha of [0.05, 0.2]) {
    let held = 0
    for (let run = 0; run < 400; run++) {
      const [p, n] = [0.1 + 0.8 * draw(), 60]
      const xs = Array.from({ length: n }, () => Number(draw() < p) - [0, 0.5, 1][Math.floor(draw() * 3)]!)
      // they only narrow, so the last holds the mean only if all did
      const [low, high] = bounds(xs.slice(0, n - 1), n, alpha)
      if (low <= mean(xs) && mean(xs) <= high) held++
    }
    expect(held / 400).toBeGreaterThanOrEqual(1 - alpha)
  }
})

test('a child far worse is found out in the first draws', () => {
  const draw = rng('worse')
  const xs = Array.from({ length: 100 }, () => Number(draw() < 0.2) - 0.6)
  expect(isBelow(xs.slice(0, 25), 100, 0.2)).toBe(true)
  const [low, high] = bounds(xs.slice(0, 25), 100, 0.2)
  expect([low < -0.4, high > -0.4, high < 0]).toEqual([true, true, true])
})
