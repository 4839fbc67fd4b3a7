import { expect, test } from 'vitest'
import { calls, scored, toyOptions } from '../../test/toys.ts'
import { noCost } from './budget.ts'
import { close } from './close.ts'
import type { Fact, Options, Result } from './facts.ts'
import type { Answer, Command } from './method.ts'
import type { Score } from './score.ts'
import { apply, type State, start } from './state.ts'

/** A state whose nodes have these holdout scores, all edits of the seed; the context's share is the node's id. */
function state(o: Options, scores: readonly Score[]): State {
  const s = start(o)
  for (const [id, score] of scores.entries()) {
    apply(s, { kind: 'scored', round: id, parents: id ? [0] : [], context: { share: `${id}` }, score })
  }
  return s
}

/** Plays the closing look; `world` scores a node on a problem, undefined = the budget ended before. */
function closed(
  s: State,
  o: Options,
  world: (id: number, problem: string, role: string) => number | undefined,
): { readonly result: Result; readonly asked: readonly Command[] } {
  const asked: Command[] = []
  const answer = (c: Command): Answer => {
    asked.push(c)
    if (c.kind !== 'evaluate')
      return { kind: 'overlap', share: 0.25, copied: [c.kind === 'overlap' ? c.split : ''], cost: noCost }
    const per = c.ids.flatMap((id) => {
      const score = world(Number(c.context.share), id, c.role)
      return score === undefined ? [] : [[id, score] as const]
    })
    return {
      kind: 'score',
      score: scored(Object.fromEntries(per), per.length === c.ids.length),
      rollouts: [],
      cost: calls(per.length),
    }
  }
  const look = close(s, o)
  let turn = look.next()
  while (!turn.done) turn = look.next(turn.value.map(answer))
  const [fact] = turn.value as readonly (Fact & { kind: 'reported' })[]
  return { result: fact!.result, asked }
}

const problems = Array.from({ length: 30 }, (_, i) => `x${i}`)
const of = (test: readonly string[], more: Partial<Options['splits']> = {}): Options['splits'] => ({
  ...toyOptions().splits,
  test,
  ...more,
})
const holdout = (mean: number, full = true): Score => scored({ h0: mean, h1: mean }, full)

test('a problem that was not scored is left out, whatever its name', () => {
  const names = ['a', 'constructor', 'toString', '__proto__']
  const o = toyOptions({ splits: of(names) })
  const { result } = closed(state(o, [holdout(0.2), holdout(0.7)]), o, (id, problem) =>
    problem === 'a' || problem === '__proto__' ? id : undefined,
  )
  expect(Object.entries(result.per.chosen)).toEqual([
    ['a', 1],
    ['__proto__', 1],
  ])
  expect(result.gain).toMatchObject({ mean: 1, n: 2 })
})

test('the context is chosen on the holdout and its gain is measured on test', () => {
  const o = toyOptions({ splits: of(problems), testDraws: 2 })
  // On test the chosen one is right on x0 … x19, the seed on x0 … x4 only.
  const { result, asked } = closed(state(o, [holdout(0.2), holdout(0.7), holdout(0.5)]), o, (id, problem) =>
    Number(Number(problem.slice(1)) < (id === 1 ? 20 : id === 0 ? 5 : 30)),
  )
  expect(result).toMatchObject({ chosen: 1, returned: 1, holdout: { seed: 0.2, chosen: 0.7 }, asked: 30 })
  expect(result.gain).toMatchObject({ mean: 0.5, n: 30, changed: 15, shown: true, rule: 't' })
  expect(result.test.seed.mean).toBeCloseTo(5 / 30, 12)
  expect(result.test.chosen.mean).toBeCloseTo(20 / 30, 12)
  expect(result.optimism).toBeCloseTo(0.5 - 0.5, 12)
  expect(asked.flatMap((c) => (c.kind === 'evaluate' ? [[c.role, c.context.share, c.ids.length, c.draws]] : []))).toEqual([
    ['test', '0', 30, [0, 2]],
    ['test', '1', 30, [0, 2]],
  ])
})

test('a budget that ends in the look leaves the blocks of problems that both contexts answered', () => {
  const many = Array.from({ length: 150 }, (_, i) => `x${i}`)
  const o = toyOptions({ splits: of(many) })
  let left = 200
  const { result, asked } = closed(state(o, [holdout(0.2), holdout(0.7)]), o, (id) => (left-- > 0 ? id : undefined))
  expect(asked.flatMap((c) => (c.kind === 'evaluate' ? [c.ids.length] : []))).toEqual([60, 60, 60, 60, 30, 30])
  expect(result).toMatchObject({ asked: 150, gain: { n: 60 + 20, mean: 1, shown: true } })
})

test('a gain that is not shown returns the seed', () => {
  const o = toyOptions({ splits: of(problems) })
  const { result } = closed(state(o, [holdout(0.2), holdout(0.9)]), o, (id, problem) => Number(problem === 'x0' && id === 1))
  expect(result.gain).toMatchObject({ shown: false, changed: 1, rule: 'bonett-price' })
  expect(result).toMatchObject({ chosen: 1, returned: 0 })
  expect(result.optimism).toBeCloseTo(0.7 - 1 / 30, 12)
})

test('a context that is worse on test is not returned, however good it was on the holdout', () => {
  const o = toyOptions({ splits: of(problems) })
  const { result } = closed(state(o, [holdout(0.1), holdout(1)]), o, (id) => 1 - id)
  expect(result).toMatchObject({ chosen: 1, returned: 0, gain: { mean: -1, shown: false } })
})

test('when the seed is the best it is looked at once and gains nothing', () => {
  const o = toyOptions({ splits: of(problems) })
  const { result, asked } = closed(state(o, [holdout(0.5), holdout(0.5)]), o, () => 1)
  expect(asked.filter((c) => c.kind === 'evaluate')).toHaveLength(1)
  expect(result).toMatchObject({ chosen: 0, returned: 0, gain: { mean: 0, n: 30, shown: false } })
})

test.each(['mean', 'shrink', 'confirm'] as const)(
  'chosen by %s, a node whose scoring was cut short is never the one',
  (choice) => {
    const o = toyOptions({ choice, splits: of(problems, { confirm: ['c0', 'c1'] }) })
    const { result } = closed(state(o, [holdout(0.3), holdout(1, false), holdout(0.5)]), o, () => 1)
    expect(result.chosen).toBe(2)
    if (choice === 'confirm') expect(Object.keys(result.confirmed!)).toEqual(['0', '2'])
  },
)

test('only problems that both contexts answered count, paired by problem', () => {
  const o = toyOptions({ splits: of(problems) })
  // The budget ends: the seed lacks the even problems, the chosen those from x20.
  const { result } = closed(state(o, [holdout(0.2), holdout(0.9)]), o, (id, problem) => {
    const i = Number(problem.slice(1))
    if (id === 0) return i % 2 ? 0 : undefined
    return i < 20 ? Number(i % 4 === 1) : undefined
  })
  expect(result.gain.n).toBe(10)
  expect(Object.keys(result.per.seed)).toEqual(Object.keys(result.per.chosen))
  expect(result.gain.mean).toBe(0.5)
  expect(result.asked).toBe(30)
})

test('the best four are scored again on problems kept back, and the pooled mean decides', () => {
  const o = toyOptions({ choice: 'confirm', splits: of(problems, { confirm: ['c0', 'c1', 'c2', 'c3'] }) })
  const means = [0.1, 0.5, 0.6, 0.7, 0.8]
  const { result, asked } = closed(
    state(
      o,
      means.map((m) => holdout(m)),
    ),
    o,
    (id, _, role) => (role === 'confirm' ? Number(id === 2) : 0),
  )
  expect(asked.flatMap((c) => (c.kind === 'evaluate' && c.role === 'confirm' ? [c.context.share] : []))).toEqual([
    '4',
    '3',
    '2',
    '1',
  ])
  // Pooled over 2 holdout and 4 fresh problems: (2 · .6 + 4) / 6 for node 2, 2 · .8 / 6 for node 4.
  expect(result.confirmed?.[2]).toBeCloseTo(5.2 / 6, 12)
  expect(result.confirmed?.[4]).toBeCloseTo(1.6 / 6, 12)
  expect(result.chosen).toBe(2)
})

test('finalists that are equal but for rounding stay in the order of the holdout', () => {
  const o = toyOptions({ choice: 'confirm', splits: of(problems, { confirm: ['c0'] }) })
  const { result } = closed(state(o, [holdout(0), holdout(0.1), holdout(0.3)]), o, (id, _, role) =>
    role === 'confirm' && id === 1 ? 0.4 : 0,
  )
  // (.1 + .1 + .4) / 3 comes out above (.3 + .3 + 0) / 3 in the last bit.
  expect(result.confirmed![1]).toBeGreaterThan(result.confirmed![2]!)
  expect(result.chosen).toBe(2)
})

test('fresh problems that one of the four lacks decide for none', () => {
  const o = toyOptions({ choice: 'confirm', splits: of(problems, { confirm: ['c0', 'c1'] }) })
  const { result } = closed(state(o, [holdout(0.4), holdout(0.6)]), o, (id, problem, role) => {
    if (role !== 'confirm') return 0
    return id === 1 && problem === 'c1' ? undefined : Number(id === 0)
  })
  // c0 alone counts: seed (.8 + 1) / 3, node 1 (1.2 + 0) / 3.
  expect(result.confirmed?.[0]).toBeCloseTo(0.6, 12)
  expect(result.confirmed?.[1]).toBeCloseTo(0.4, 12)
  expect(result.chosen).toBe(0)
})

test('by shrinkage a lucky child of a bad node loses to one whose relatives are good too', () => {
  const o = toyOptions({ choice: 'shrink', splits: of(problems) })
  const s = start(o)
  const per = (right: number): Score =>
    scored(Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`h${i}`, Number(i < right)])))
  const add = (id: number, parent: number | undefined, right: number): void => {
    const parents = parent === undefined ? [] : [parent]
    apply(s, { kind: 'scored', round: id, parents, context: { share: `${id}` }, score: per(right) })
  }
  add(0, undefined, 8)
  add(1, 0, 14)
  add(2, 1, 14)
  add(3, 0, 2)
  add(4, 3, 15) // the highest mean, but from a bad parent
  expect(closed(s, o, () => 0).result.chosen).not.toBe(4)
  expect(closed(s, { ...o, choice: 'mean' }, () => 0).result.chosen).toBe(4)
})

test('the second test from elsewhere is looked at beside the first, and decides nothing', () => {
  const o = toyOptions({ splits: of(problems, { ood: ['o0', 'o1', 'o2'] }) })
  const { result } = closed(state(o, [holdout(0.2), holdout(0.9)]), o, (id, _, role) => (role === 'ood' ? 1 - id : id))
  expect(result).toMatchObject({ returned: 1, gain: { mean: 1 }, ood: { gain: { mean: -1, n: 3 } } })
})

test('overlap with each split, test included, is looked at in the end', () => {
  const o = toyOptions({ splits: of(problems) })
  const { result } = closed(state(o, [holdout(0.2)]), o, () => 0)
  const found = (split: string): object => ({ share: 0.25, copied: [split] })
  expect(result.overlap).toEqual({ train: found('train'), holdout: found('holdout'), test: found('test') })
})

test('the cross-validated figure stands beside the choice, and cut nodes are not in it', () => {
  const o = toyOptions({ folds: 2, splits: of(problems) })
  const { result } = closed(state(o, [holdout(0.5), holdout(0.75), scored({ h0: 1 }, false)]), o, () => 0)
  expect(result.crossValidated).toBe(0.75)
  expect(closed(state(o, [holdout(0.5)]), { ...o, folds: 0 }, () => 0).result).not.toHaveProperty('crossValidated')
})

test('a second opening of the test split is counted', () => {
  const o = toyOptions({ splits: of(problems) })
  const s = state(o, [holdout(0.5)])
  const { result } = closed(s, o, () => 0)
  expect(result.openings).toBe(1)
  apply(s, { kind: 'reported', result })
  expect(closed(s, o, () => 0).result.openings).toBe(2)
})
