import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { rng } from './rng.ts'
import {
  crossValidated,
  isNoisy,
  meanInterval,
  pairedGain,
  shrunk,
  smallestGain,
  studentQuantile,
  variances,
} from './statistics.ts'

// jstat ships no types; this is all that is used of it.
const { jStat } = createRequire(import.meta.url)('jstat') as {
  jStat: {
    studentt: { inv(p: number, df: number): number }
    tci(mean: number, alpha: number, values: number[]): [number, number]
  }
}

const per = (values: readonly number[]): Record<string, number> => Object.fromEntries(values.map((v, i) => [`p${i}`, v]))

test('the t quantile agrees with jstat', () => {
  fc.assert(
    fc.property(fc.double({ min: 0.001, max: 0.999, noNaN: true }), fc.integer({ min: 1, max: 400 }), (p, df) => {
      const expected = jStat.studentt.inv(p, df)
      expect(Math.abs(studentQuantile(p, df) - expected)).toBeLessThan(1e-6 * Math.max(1, Math.abs(expected)))
    }),
    { seed: 2, numRuns: 300 },
  )
})

test('the t quantile agrees with the printed tables', () => {
  const table = [
    [1, 12.706],
    [2, 4.303],
    [5, 2.571],
    [9, 2.262],
    [49, 2.01],
    [99, 1.984],
    [199, 1.972],
    [100_000, 1.96],
  ] as const
  for (const [df, t] of table) expect(studentQuantile(0.975, df)).toBeCloseTo(t, 3)
  expect(studentQuantile(0.025, 9)).toBe(-studentQuantile(0.975, 9))
})

test('a share outside (0, 1) and broken degrees of freedom are refused', () => {
  for (const p of [0, 1, Number.NaN]) expect(() => studentQuantile(p, 5)).toThrow(RangeError)
  for (const df of [0, -1, 2.5]) expect(() => studentQuantile(0.9, df)).toThrow(RangeError)
})

test('the interval of a mean agrees with jstat and is cut to where scores can lie', () => {
  const values = [0.2, 0.4, 0.5, 0.3, 0.6]
  const { interval } = meanInterval(values)
  const expected = jStat.tci(0.4, 0.05, values)
  expect(interval[0]).toBeCloseTo(expected[0], 8)
  expect(interval[1]).toBeCloseTo(expected[1], 8)
  expect(meanInterval([0, 1]).interval).toEqual([0, 1])
  expect(meanInterval([0.5])).toEqual({ mean: 0.5, interval: [0, 1] })
  expect(meanInterval([])).toEqual({ mean: 0, interval: [0, 1] })
})

test('a gain over many changed problems has the t interval of its differences', () => {
  const before = Array.from({ length: 40 }, (_, i) => (i % 4) / 4)
  const after = before.map((v, i) => (i % 3 === 0 ? v : Math.min(1, v + 0.25)))
  const gain = pairedGain(per(before), per(after))
  const differences = after.map((v, i) => v - before[i]!)
  const expected = jStat.tci(differences.reduce((a, b) => a + b) / 40, 0.05, differences)
  expect(gain).toMatchObject({ n: 40, changed: 26, rule: 't', shown: true })
  expect(gain.interval[0]).toBeCloseTo(expected[0], 8)
  expect(gain.interval[1]).toBeCloseTo(expected[1], 8)
})

test('fewer than ten changed problems get one win and one loss more, by hand', () => {
  // n = 20, three wins and one loss: (4 − 2) / 22 = .0909; sum of squares 6, variance (6 − 22·.0909²) / 21 = .27706;
  // standard error √(.27706 / 22) = .11222; t(.975, 21) = 2.0796; half-width .23338.
  const gain = pairedGain(per(Array(20).fill(0).fill(1, 19)), per([1, 1, 1, ...Array(17).fill(0)]))
  expect(gain).toMatchObject({ mean: 0.1, n: 20, changed: 4, rule: 'bonett-price', shown: false })
  expect(gain.interval[0]).toBeCloseTo(0.0909 - 0.2334, 3)
  expect(gain.interval[1]).toBeCloseTo(0.0909 + 0.2334, 3)
})

test('the added win and loss give the estimate and standard error that Bonett and Price print', () => {
  // statpsych ci.prop.ps(.05, 12, 4, 26, 6): estimate .44, standard error .09448809 (with n, not n − 1, in the variance).
  const values = [...Array(26 + 1).fill(1), ...Array(4 + 1).fill(-1), ...Array(18).fill(0)]
  const { mean, interval } = meanInterval(values, { within: [-1, 1] })
  expect(mean).toBeCloseTo(0.44, 12)
  expect(((interval[1] - mean) / studentQuantile(0.975, 49)) * Math.sqrt(49 / 50)).toBeCloseTo(0.09448809, 8)
})

test('no change, one problem or none is never certain and never a gain', () => {
  for (const n of [0, 1, 2, 5, 200]) {
    const same = pairedGain(per(Array(n).fill(0.5)), per(Array(n).fill(0.5)))
    expect(same).toMatchObject({ mean: 0, changed: 0, shown: false })
    expect(same.interval[0]).toBeLessThan(0)
    expect(same.interval[1]).toBeGreaterThan(0)
  }
  expect(pairedGain({ a: 0 }, { a: 1 })).toMatchObject({ mean: 1, n: 1, changed: 1, shown: false, interval: [-1, 1] })
})

test('a gain is shown exactly when its interval lies above 0, and its mean is inside', () => {
  const scores = fc.array(fc.tuple(fc.constantFrom(0, 0.5, 1), fc.constantFrom(0, 0.5, 1)), { maxLength: 60 })
  fc.assert(
    fc.property(scores, (pairs) => {
      const gain = pairedGain(per(pairs.map(([a]) => a)), per(pairs.map(([, b]) => b)))
      const [low, high] = gain.interval
      expect(gain.shown).toBe(low > 0)
      expect(gain.rule).toBe(gain.changed < 10 ? 'bonett-price' : 't')
      expect(low >= -1 && high <= 1 && low <= gain.mean + 1e-12 && gain.mean <= high + 1e-12).toBe(true)
      if (gain.changed === 0) expect(high - low).toBeGreaterThan(0)
    }),
    { seed: 3, numRuns: 500 },
  )
})

test('different problems before and after are refused', () => {
  expect(() => pairedGain({ a: 1 }, { b: 1 })).toThrow('no score for problem "a"')
  expect(() => pairedGain({ a: 1 }, { a: 1, b: 0 })).toThrow('expected scores for the same 1 problems, got 2')
})

/** Share of simulated tests whose interval covers the true gain. */
function coverage(
  runs: number,
  problem: (draw: () => number) => readonly [before: number, after: number],
  truth: number,
): number {
  let covered = 0
  for (let run = 0; run < runs; run++) {
    const draw = rng('coverage', run)
    const pairs = Array.from({ length: 100 }, () => problem(draw))
    const { interval } = pairedGain(per(pairs.map(([a]) => a)), per(pairs.map(([, b]) => b)))
    if (interval[0] <= truth && truth <= interval[1]) covered++
  }
  return covered / runs
}

test('the 95 % interval covers the true gain in 93.5 to 97 % of tests of 100 problems', () => {
  const share = coverage(
    4000,
    (draw) => {
      // p before ~ U(.2, .8); p after = p before + U(−.2, .3): the true gain is .05. Two generations each.
      const p = 0.2 + 0.6 * draw()
      const q = p - 0.2 + 0.5 * draw()
      const twice = (x: number): number => (Number(draw() < x) + Number(draw() < x)) / 2
      return [twice(p), twice(q)]
    },
    0.05,
  )
  expect(share).toBeGreaterThan(0.935)
  expect(share).toBeLessThan(0.97)
})

test('with few changed problems the interval covers in at least 95 % of tests, where plain t would not', () => {
  // 4 % of the problems are won, none is lost.
  expect(coverage(2000, (draw) => [0, Number(draw() < 0.04)], 0.04)).toBeGreaterThan(0.95)
})

test('before a run, the smallest gain is the half-width that simulated runs had', () => {
  const table = [
    [50, 4, 0.12],
    [100, 1, 0.121],
    [100, 2, 0.098],
    [100, 4, 0.084],
    [150, 2, 0.079],
    [200, 1, 0.085],
    [200, 4, 0.059],
  ] as const
  for (const [n, draws, half] of table) expect(smallestGain({ n, draws })).toBeCloseTo(half, 2)
  expect(smallestGain({ n: 1, draws: 1 })).toBe(1)
})

test('after a run, the smallest gain is the half-width of its own interval', () => {
  const draw = rng('measured')
  const gain = pairedGain(per(Array.from({ length: 60 }, draw)), per(Array.from({ length: 60 }, draw)))
  expect(smallestGain({ n: 60, draws: 1, sd: gain.sd })).toBeCloseTo((gain.interval[1] - gain.interval[0]) / 2, 12)
})

test('the cross-validated score of pure noise is near the truth, the score of the chosen is not', () => {
  // 20 nodes, 100 problems, every answer right with .5: the best node looks like .5 + 1.87·.05 = .59.
  let honest = 0
  let selected = 0
  for (let run = 0; run < 200; run++) {
    const draw = rng('noise', run)
    const nodes = Array.from({ length: 20 }, () => per(Array.from({ length: 100 }, () => Number(draw() < 0.5))))
    honest += crossValidated(nodes, 5, run)! / 200
    selected += Math.max(...nodes.map((n) => meanInterval(Object.values(n)).mean)) / 200
  }
  expect(selected).toBeGreaterThan(0.58)
  expect(Math.abs(honest - 0.5)).toBeLessThan(0.015)
})

test('cross-validation of a node that is better everywhere is its score, and needs two folds', () => {
  const nodes = [per([0, 0.2, 0.1, 0.3]), per([0.5, 0.7, 0.6, 0.8])]
  expect(crossValidated(nodes, 4, 1)).toBeCloseTo(0.65, 12)
  expect(crossValidated(nodes, 99, 1)).toBeCloseTo(0.65, 12)
  for (const args of [
    [nodes, 1],
    [[], 5],
    [[per([1])], 5],
  ] as const)
    expect(crossValidated(args[0], args[1], 1)).toBeUndefined()
  expect(() => crossValidated([per([1, 1]), per([1])], 2, 1)).toThrow(RangeError)
})

interface Case {
  readonly parent: readonly (number | null)[]
  readonly per: readonly (readonly number[])[]
  readonly shrunk: readonly number[]
}

test('tree shrinkage agrees with dense linear algebra in numpy', () => {
  const { cases } = JSON.parse(readFileSync('test/golden/shrinkage.json', 'utf8')) as { cases: readonly Case[] }
  expect(cases.length).toBeGreaterThan(5)
  for (const c of cases) {
    // Ids need not be places.
    const got = shrunk(
      c.parent.map((p, i) => ({ id: 10 * i + 3, parent: p === null ? undefined : 10 * p + 3, per: per(c.per[i]!) })),
    )
    got.forEach((value, i) => {
      expect(value).toBeCloseTo(c.shrunk[i]!, 10)
    })
  }
})

test('shrinkage pulls a lucky child towards its parent, and predicts a node without a score from its relatives', () => {
  const seed = per(Array.from({ length: 50 }, (_, i) => i % 2))
  const lucky = per(Array.from({ length: 50 }, (_, i) => Number(i % 2 === 0 || i % 3 === 0)))
  const [root, child, grandchild] = shrunk([
    { id: 0, parent: undefined, per: seed },
    { id: 1, parent: 0, per: lucky },
    { id: 2, parent: 1 },
  ])
  const raw = meanInterval(Object.values(lucky)).mean
  expect(child).toBeLessThan(raw)
  expect(child).toBeGreaterThan(root!)
  expect(grandchild).toBeCloseTo(child! - 0.015, 12)
})

test('variances of one answer and of problems, by hand and where they are known', () => {
  // Problem means 1, ½, 0: variance ¼; within: 0, ½, 0. Between: ¼ − (1/6) / 2.
  const found = variances([per([1, 1, 0]), per([1, 0, 0])])
  expect(found.within).toBeCloseTo(1 / 6, 12)
  expect(found.between).toBeCloseTo(1 / 4 - 1 / 12, 12)
  // Each problem's p is 0.2 or 0.8: within .16, between .09.
  const draw = rng('variances')
  const many = Array.from({ length: 2 }, () =>
    per(Array.from({ length: 20_000 }, (_, i) => Number(draw() < (i % 2 ? 0.2 : 0.8)))),
  )
  expect(variances(many).within).toBeCloseTo(0.16, 2)
  expect(variances(many).between).toBeCloseTo(0.09, 2)
  expect([isNoisy({ within: 0.21, between: 0.1 }), isNoisy({ within: 0.2, between: 0.1 })]).toEqual([true, false])
  expect(() => variances([per([1, 0])])).toThrow('got 1 of 2')
  expect(() => variances([per([1, 0]), per([1])])).toThrow(RangeError)
})

test('shrinkage refuses a parent that does not come before its child', () => {
  expect(() => shrunk([{ id: 0, parent: 7, per: per([1, 0]) }])).toThrow('parent 7 of node 0 does not come before it')
})
