import { expect, test } from 'vitest'
import { rng } from '../core/rng.ts'
import { difference, figure, type Result, standings } from './standings.ts'

const noCost = { calls: 10, tokens: 100, usd: 0 }

function result(entrant: string, track: string, seed: number, before: readonly number[], after: readonly number[]): Result {
  const per = (scores: readonly number[]): Record<string, number> => Object.fromEntries(scores.map((s, i) => [`x${i}`, s]))
  const average = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0) / x.length
  return {
    ...{ entrant, track, seed, before: average(before), after: average(after), optimism: 0, cost: noCost, seconds: 1 },
    ...{ rounds: 4, nodes: 5, invalid: 1, stop: 'budget', per: { seed: per(before), chosen: per(after) } },
  }
}

test('with eight tracks the interval is t over tracks, seeds averaged: by hand', () => {
  const means = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
  const found = figure(means.map((m, i) => ({ track: `t${i}`, seeds: [m - 0.05, m + 0.05], problems: [] })))
  // sd = 0.244949, t(7) = 2.364624: half = 2.364624 × 0.244949 / √8
  expect(found.mean).toBeCloseTo(0.45, 12)
  expect(found.interval[1] - 0.45).toBeCloseTo(0.204783, 5)
})

test('with fewer tracks the variances of seed means and of problem means add up: by hand', () => {
  const found = figure([{ track: 'a', seeds: [0.4, 0.6], problems: [0, 1, 0.5, 0.5] }])
  // 0.02 / 2 + (1/6) / 4 = 0.0516667; df = 0.0516667² / (0.01² / 1 + 0.0416667² / 3) = 3.94, so 3: t = 3.182446
  expect(found.interval[1] - found.mean).toBeCloseTo(Math.min(0.5, 3.182446 * Math.sqrt(0.0516667)), 5)
})

test('one seed and no problems say nothing: the interval is all there is', () => {
  expect(figure([{ track: 'a', seeds: [0.5], problems: [] }], [0, 1]).interval).toEqual([0, 1])
})

/** Share of simulated races whose interval holds the truth. Scores: truth + track + seed + problem + noise. */
function coverage(tracks: number, isSample: boolean): number {
  const times = 600
  let held = 0
  for (let k = 0; k < times; k++) {
    const draw = rng('coverage', tracks, k)
    const normal = (): number => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw())
    let truth = 0
    const samples = Array.from({ length: tracks }, (_, t) => {
      const own = 0.5 + 0.1 * normal()
      truth += isSample ? 0.5 / tracks : own / tracks
      const problemsN = Array.from({ length: 30 }, () => 0.2 * normal())
      const runsSN = Array.from({ length: 5 }, () => {
        const luck = 0.05 * normal()
        return problemsN.map((p) => own + luck + p + 0.3 * normal())
      })
      const average = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0) / x.length
      return {
        track: `t${t}`,
        seeds: runsSN.map(average),
        problems: problemsN.map((_, i) => average(runsSN.map((run) => run[i]!))),
      }
    })
    const [low, high] = figure(samples, [-9, 9]).interval
    held += Number(low <= truth && truth <= high)
  }
  return held / times
}

test('the interval over a sample of tracks holds the truth as often as it says', () => {
  expect(coverage(12, true)).toBeGreaterThan(0.93)
  expect(coverage(12, true)).toBeLessThan(0.97)
})

test.each([1, 3])('the interval about %i tracks as they are holds the truth at least as often as it says', (tracks) => {
  expect(coverage(tracks, false)).toBeGreaterThan(0.94)
  expect(coverage(tracks, false)).toBeLessThan(0.995)
})

test('a difference is paired by track, seed and problem', () => {
  const right = [1, 0, 1, 0]
  const results = [1, 2, 3].flatMap((seed) => [
    result('a', 't', seed, [0, 0, 0, 0], right),
    result('b', 't', seed, [0, 0, 0, 0], right),
    result('c', 't', seed, [0, 0, 0, 0], [1, 1, 1, 1]),
  ])
  expect(difference(results, 'a', 'b')).toEqual({ mean: 0, interval: [-1, 1] }) // nothing varies: nothing is known of what might
  expect(difference(results, 'c', 'a')?.mean).toBeCloseTo(0.5)
  expect(difference(results, 'a', 'nobody')).toBeUndefined()
})

test('a standing has the means of its runs, by group too', () => {
  const results = [1, 2].flatMap((seed) => [
    result('a', 't', seed, [0, 0, 1, 0], [1, 0, 1, seed - 1]),
    result('a', 'u', seed, [0, 1, 0, 0], [1, 1, 1, 1]),
  ])
  const tracks = [
    { name: 't', group: 'left', way: 0.5 },
    { name: 'u', group: 'right', way: 0.7 },
  ]
  const [only] = standings(results, { tracks })
  expect(only!.test.mean).toBeCloseTo((0.5 + 0.75 + 1 + 1) / 4)
  expect(only!.byGroup.left?.mean).toBeCloseTo(0.625)
  expect(only!.gain.mean).toBeCloseTo(0.8125 - 0.25)
  expect(only!.share?.mean).toBeCloseTo(0.5625 / 0.6)
  expect(only).toMatchObject({ calls: 10, rounds: 4, invalid: 0.25 })
})
