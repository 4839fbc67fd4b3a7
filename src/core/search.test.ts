import fc from 'fast-check'
import { expect, test } from 'vitest'
import { answered, calls, ids, node, score, scored, toyOptions } from '../../test/toys.ts'
import { lse } from '../methods/lse.ts'
import { noCost } from './budget.ts'
import type { Fact, Options, Plan } from './facts.ts'
import type { Answer, Command } from './method.ts'
import { rng } from './rng.ts'
import { type Rollout, scoreOf } from './score.ts'
import { closingCost, decide, expectedCost, type Limits, nextBatch, play, viewOf } from './search.ts'
import { apply, noSpent, type State, start } from './state.ts'

const none: Limits = { lost: noCost, expired: false }
const method = lse()

/** A state with nodes of these holdout means, all edits of the seed. */
function grown(o: Options, means: readonly number[]): State {
  const s = start(o)
  means.forEach((mean, round) => {
    const plan: Plan = { round, kind: round ? 'edit' : 'seed', from: round ? [0] : [], batch: [], upTo: 0 }
    apply(s, { kind: 'planned', plan })
    apply(s, { kind: 'scored', round, parents: round ? [0] : [], context: node(round, mean).context, score: score(mean) })
    apply(s, { kind: 'settled', round, spent: noSpent })
  })
  return s
}

/** Plans all that may be planned now. */
function planned(s: State, o: Options): Plan[] {
  const plans: Plan[] = []
  for (let f = decide(s, method, o, none); f?.kind === 'planned'; f = decide(s, method, o, none)) {
    plans.push(f.plan)
    apply(s, f)
  }
  return plans
}

const scoreAnswer = (per: Readonly<Record<string, number>>, rollouts: readonly Rollout[] = []): Answer => ({
  kind: 'score',
  score: scored(per),
  rollouts,
  cost: calls(Object.keys(per).length),
})

test('the seed is scored before anything is edited, whatever is in flight', () => {
  const o = toyOptions({ inFlight: 8 })
  const s = start(o)
  expect(planned(s, o)).toEqual([{ round: 0, kind: 'seed', from: [], batch: [], upTo: 0 }])
})

test('a round by hand: the batch, the edit, the holdout, one node', () => {
  const o = toyOptions({ splits: { ...toyOptions().splits, holdout: ['h0', 'h1'] }, draws: 3 })
  const s = grown(o, [0.5])
  const [plan] = planned(s, o)
  expect(plan).toMatchObject({ round: 1, kind: 'edit', from: [0], best: 0, upTo: 0 })
  const round = play(s, method, o, plan!)
  const context = s.nodes[0]!.context
  expect(round.next().value).toEqual([{ kind: 'evaluate', role: 'batch', context, ids: plan!.batch, draws: [0, 1] }])
  const rollout = { exampleId: 't1', draw: 0, score: 0, feedback: 'no', question: 'q', answer: 'a' }
  const [ask] = round.next([scoreAnswer({ t1: 0, t2: 1 }, [rollout])]).value as readonly Command[]
  expect(ask).toMatchObject({
    kind: 'propose',
    observation: { node: { id: 0 }, seen: { mean: 0.5, rollouts: [rollout] }, earlier: [], history: [{ context, score: 0.5 }] },
  })
  const edit: Answer = { kind: 'edit', context: { share: '0.9' }, completion: '', cost: calls(3) }
  expect(round.next([edit]).value).toEqual([
    { kind: 'evaluate', role: 'holdout', context: { share: '0.9' }, ids: ['h0', 'h1'], draws: [0, 3] },
  ])
  expect(round.next([scoreAnswer({ h0: 1, h1: 0 })]).value).toEqual([
    { kind: 'scored', round: 1, parents: [0], context: { share: '0.9' }, score: scored({ h0: 1, h1: 0 }) },
    {
      kind: 'settled',
      round: 1,
      spent: { rollouts: 4 + 6, proposals: 1, act: calls(4), evolve: calls(3) },
      seen: scored({ t1: 0, t2: 1 }),
    },
  ])
})

/** Plays an edit of the seed to this context; `right` answers a rollout. Also how many rollouts each step asked for. */
function raced(
  o: Options,
  seed: Readonly<Record<string, number>>,
  right: (id: string, draw: number) => number,
): { readonly facts: readonly Fact[]; readonly steps: readonly number[]; readonly order: readonly string[] } {
  const s = start(o)
  apply(s, { kind: 'planned', plan: { round: 0, kind: 'seed', from: [], batch: [], upTo: 0 } })
  apply(s, { kind: 'scored', round: 0, parents: [], context: o.context, score: scored(seed) })
  apply(s, { kind: 'settled', round: 0, spent: noSpent })
  const steps: number[] = []
  const order: string[] = []
  const round = play(s, method, o, planned(s, o)[0]!)
  let turn = round.next()
  while (!turn.done) {
    const asked = turn.value.flatMap((c) => (c.kind === 'evaluate' && c.role === 'holdout' ? [c] : []))
    if (asked.length > 0) steps.push(asked.reduce((sum, c) => sum + c.ids.length, 0))
    turn = round.next(
      turn.value.map((c): Answer => {
        if (c.kind !== 'evaluate') return { kind: 'edit', context: { share: '0.9' }, completion: '', cost: calls(1) }
        order.push(...c.ids.map((id) => `${id}#${c.draws[0]}`))
        const rollouts = c.ids.flatMap((exampleId) =>
          Array.from({ length: c.draws[1] - c.draws[0] }, (_, k) => ({ exampleId, score: right(exampleId, c.draws[0] + k) })),
        )
        return {
          kind: 'score',
          score: scoreOf(rollouts, c.draws[1] - c.draws[0]),
          rollouts: [],
          cost: calls(rollouts.length),
        }
      }),
    )
  }
  return { facts: turn.value, steps, order }
}

const fifty = { ...toyOptions().splits, holdout: ids('h', 50) }
const all = (score: number): Readonly<Record<string, number>> => Object.fromEntries(fifty.holdout.map((id) => [id, score]))

test('an edit that wins or holds its own is scored to the end, to the last bit as without racing', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 4, max: 60 }), fc.nat(1000), (draws, block, seed) => {
      const o = toyOptions({ splits: fifty, draws, seed })
      const right = (id: string, draw: number): number => rng(id, draw, seed)() // any number, so that the order of sums shows
      const score = (options: Options): unknown => raced(options, all(0), right).facts[0]
      expect(score({ ...o, racing: { alpha: 0.2, block } })).toEqual(score(o))
    }),
    { numRuns: 25 },
  )
})

test('an edit that is far worse than the best is cut short after a block, and keeps its interval', () => {
  const o = toyOptions({ splits: fifty, racing: { alpha: 0.2, block: 20 } })
  const { facts, steps } = raced(o, { ...all(1), h0: 0 }, () => 0)
  expect(steps).toEqual([20])
  const { score } = facts[0] as Fact & { kind: 'scored' }
  expect(score).toMatchObject({ full: false, n: 20, draws: 1 })
  expect(score.mean).toBeLessThan(0.04)
  expect(Object.keys(score.per)).toHaveLength(20)
  const [low, high] = score.interval!
  expect(low).toBe(0)
  expect(high).toBeGreaterThan(0)
  expect(high).toBeLessThanOrEqual(0.6) // 30 of 50 are left
  expect(facts.at(-1)).toMatchObject({ spent: { rollouts: 4 + 20 } })
})

test('a race is run in an order of its own, by seed, round and edit, over every generation once', () => {
  const order = (seed: number): readonly string[] =>
    raced(toyOptions({ splits: fifty, draws: 2, seed, racing: { alpha: 0.2, block: 30 } }), all(0), () => 1).order.slice(4)
  expect(order(1)).toEqual(order(1))
  expect(order(1)).not.toEqual(order(2))
  expect(order(1).toSorted()).toEqual(fifty.holdout.flatMap((id) => [`${id}#0`, `${id}#1`]).toSorted())
})

test('what an edit is worth is what it is raced against plus the mean difference from it', () => {
  // The seed is right on the first 40; the edit is never right.
  const seed = Object.fromEntries(fifty.holdout.map((id, i) => [id, Number(i < 40)]))
  const { facts, order } = raced(toyOptions({ splits: fifty, racing: { alpha: 0.2, block: 10 } }), seed, () => 0)
  const { score } = facts[0] as Fact & { kind: 'scored' }
  const drawn = order.slice(4).map((cell) => seed[cell.slice(0, -2)]!)
  expect(score.full).toBe(false)
  expect(score.mean).toBeCloseTo(Math.max(0, 0.8 - drawn.reduce((a, b) => a + b, 0) / drawn.length), 12)
})

test('contexts written by hand are scored to the end', () => {
  const o = toyOptions({ splits: fifty, racing: { alpha: 0.2, block: 10 } })
  const s = grown(o, [1])
  const plan: Plan = { round: 1, kind: 'score', from: [0], batch: [], context: { share: '0' }, best: 0, upTo: 0 }
  expect(play(s, method, o, plan).next().value).toMatchObject([{ ids: fifty.holdout, draws: [0, 1] }])
})

/** Plays the seed's round; `right` answers a rollout. */
function seedOf(
  o: Options,
  right: (id: string, draw: number) => number,
): { readonly s: State; readonly asked: readonly Command[] } {
  const s = start(o)
  const [plan] = planned(s, o)
  const asked: Command[] = []
  const round = play(s, method, o, plan!)
  let turn = round.next()
  while (!turn.done) {
    asked.push(...turn.value)
    turn = round.next(
      turn.value.map((c) =>
        c.kind === 'evaluate' ? scoreAnswer(Object.fromEntries(c.ids.map((id) => [id, right(id, c.draws[0])]))) : answered(c),
      ),
    )
  }
  for (const fact of turn.value) apply(s, fact)
  return { s, asked }
}

test('where one answer varies more than twice as much as problems do, children get twice the generations, and so does the seed', () => {
  const o = toyOptions({ splits: fifty, probe: 2 })
  const odd = (id: string): number => Number(id.slice(1)) % 2
  const { s: sure } = seedOf(o, odd)
  expect(sure.noise).toEqual({ within: 0, between: expect.closeTo(25 / 98, 12), draws: 1 }) // variance of 25 ones and 25 zeros
  expect([sure.draws, sure.nodes[0]!.score]).toMatchObject([1, { draws: 2, full: true, mean: 0.5 }])
  const { s: noisy, asked } = seedOf({ ...o, draws: 2 }, (_, draw) => draw % 2)
  expect(noisy.noise).toEqual({ within: expect.closeTo(0.5, 12), between: 0, draws: 4 })
  expect(asked.map((c) => c.kind === 'evaluate' && c.draws)).toEqual([
    [0, 1],
    [1, 2],
    [2, 3],
    [3, 4],
  ])
  expect(noisy.nodes[0]!.score).toMatchObject({ draws: 4, mean: 0.5 })
  expect(viewOf(noisy, { ...o, draws: 2 }, planned(noisy, o)[0]!).options.draws).toBe(4)
})

test('the seed is expected to cost its generations, and a round those that were chosen', () => {
  const o = toyOptions({ splits: fifty, probe: 2, draws: 2 })
  expect(expectedCost(start(o), { ...o, draws: 1 }, 'seed')).toEqual(calls(2 * 50))
  expect(expectedCost(start(o), { ...o, draws: 3 }, 'seed')).toEqual(calls(3 * 50))
  const { s } = seedOf(o, (_, draw) => draw % 2)
  const one = calls(4 * 50 + 4 + 2)
  expect(expectedCost({ ...s, spent: noSpent }, o, 'edit')).toEqual(one)
})

test('an invalid edit ends the round without scoring anything, and is a fact', () => {
  const o = toyOptions()
  const s = grown(o, [0.5])
  const round = play(s, method, o, planned(s, o)[0]!)
  round.next()
  round.next([scoreAnswer({ t1: 1 })])
  const end = round.next([{ kind: 'invalid', reason: 'no tags', completion: 'x', cost: calls(3) }])
  expect(end.done).toBe(true)
  expect(end.value).toMatchObject([
    { kind: 'invalid', round: 1, parent: 0, reason: 'no tags' },
    { kind: 'settled', spent: { proposals: 1, evolve: calls(3) } },
  ])
})

test('the reference context is scored on the same batch at the same time, if wanted', () => {
  const o = toyOptions({ reference: true })
  const s = grown(o, [0.5, 0.7])
  const [plan] = planned(s, o)
  const round = play(s, method, o, plan!)
  const commands = round.next().value as readonly Command[]
  expect(commands.map((c) => c.kind === 'evaluate' && [c.role, c.context, c.ids])).toEqual([
    ['batch', s.nodes[1]!.context, plan!.batch],
    ['reference', o.context, plan!.batch],
  ])
  round.next([scoreAnswer({ t1: 1 }), scoreAnswer({ t1: 0 })])
  const facts = round.next([{ kind: 'invalid', reason: '', completion: '', cost: noCost }]).value as readonly Fact[]
  expect(facts.at(-1)).toMatchObject({ seen: scored({ t1: 1 }), reference: 0 })
})

test('a pick counts at once, so that rounds in flight spread out', () => {
  const o = toyOptions({ inFlight: 6 })
  const s = grown(o, [0.5, 0.5, 0.4])
  // Planned rounds 1 and 2 visited the seed twice: picks 2, bonuses .1·√(ln 2 / 2) = .0589 and .1·√(ln 2) = .0833.
  // 1: .5833. Then 1 again (ln 3 / 1: .6048), node 1 with two visits and the seed tie at ln 4: the seed, then 1, the seed, …
  const picks = planned(s, o).map((p) => p.from[0])
  expect(picks).toEqual([1, 1, 0, 1, 0, 1])
})

test('no more rounds are planned than may be in flight, and a settled one makes room for one', () => {
  const o = toyOptions({ inFlight: 3 })
  const s = grown(o, [0.5])
  const plans = planned(s, o)
  expect(plans.map((p) => p.round)).toEqual([1, 2, 3])
  apply(s, { kind: 'invalid', round: 1, parent: 0, reason: '' })
  apply(s, { kind: 'settled', round: 1, spent: noSpent })
  expect(planned(s, o).map((p) => p.round)).toEqual([4])
})

test('a round sees the facts from before its plan only, whenever it is played', () => {
  const o = toyOptions({ inFlight: 2 })
  const s = grown(o, [0.5])
  const [first, second] = planned(s, o)
  const before = viewOf(s, o, second!)
  apply(s, { kind: 'scored', round: 1, parents: [0], context: { share: '0.8' }, score: score(0.8) })
  apply(s, { kind: 'settled', round: 1, spent: noSpent })
  expect(first?.round).toBe(1)
  expect(viewOf(s, o, second!)).toEqual(before)
  expect(viewOf(s, o, planned(s, o)[0]!).earlier).toEqual([])
  const again = viewOf(s, o, { ...second!, upTo: s.edits.length })
  expect(again.earlier).toEqual([{ kind: 'scored', context: { share: '0.8' }, before: 0.5, after: 0.8 }])
})

test('the history of a node goes from the seed down to it', () => {
  const o = toyOptions()
  const s = grown(o, [0.5, 0.6])
  apply(s, { kind: 'scored', round: 2, parents: [1], context: { share: '0.70' }, score: score(0.7) })
  const view = viewOf(s, o, { round: 3, kind: 'edit', from: [2], batch: [], upTo: 0 })
  expect(view.history.map((h) => h.score)).toEqual([0.5, 0.6, 0.7])
})

test('batches use up train before any problem comes again, and hold none twice', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 25 }), fc.integer({ min: 1, max: 12 }), fc.integer(), (size, batch, seed) => {
      const o = toyOptions({ seed, batch, splits: { ...toyOptions().splits, train: ids('t', size) } })
      const s = start(o)
      const drawn: string[] = []
      const width = Math.min(batch, size)
      for (let round = 0; round < 12; round++) {
        const next = nextBatch(s, o)
        expect(next).toEqual(nextBatch(s, o))
        expect(new Set(next).size).toBe(width)
        expect(next).toHaveLength(width)
        drawn.push(...next)
        s.editsPlanned++
      }
      const counts = ids('t', size).map((id) => drawn.filter((d) => d === id).length)
      if (size % width === 0) expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
      if (drawn.length >= 2 * size) expect(Math.min(...counts)).toBeGreaterThanOrEqual(1)
      const whole = Math.min(12, Math.floor(size / width)) * width
      expect(new Set(drawn.slice(0, whole)).size).toBe(whole)
    }),
    { seed: 4, numRuns: 100 },
  )
})

test('another seed draws other batches', () => {
  const draw = (seed: number): readonly string[] => nextBatch(start(toyOptions({ seed })), toyOptions({ seed }))
  expect(draw(1)).not.toEqual(draw(2))
})

test('failure-weighted batches take wrong problems four times as often as right ones', () => {
  const train = ids('t', 40)
  const o = toyOptions({ batches: 'failures', batch: 4, splits: { ...toyOptions().splits, train } })
  const s = start(o)
  for (const [i, id] of train.entries()) s.lastSeen.set(id, i < 20 ? 0 : 1)
  let wrong = 0
  for (; s.editsPlanned < 500; s.editsPlanned++) wrong += nextBatch(s, o).filter((id) => s.lastSeen.get(id) === 0).length
  expect(wrong / 2000).toBeGreaterThan(0.75)
  expect(wrong / 2000).toBeLessThan(0.82) // 4 of 5 were there no replacement
})

const stopped = (s: State, o: Options, limits = none): unknown => decide(s, method, o, limits)

test('each reason to stop is given, and only when nothing is open', () => {
  const o = toyOptions({ rounds: 2 })
  expect(stopped(grown(o, [0.5, 0.5, 0.5]), o)).toMatchObject({ kind: 'stopped', why: 'rounds', detail: '2 rounds' })
  expect(stopped(grown(o, [0.5, 1]), o)).toMatchObject({ kind: 'stopped', why: 'perfect' })
  const patient = toyOptions({ patience: 2, rounds: 9 })
  expect(stopped(grown(patient, [0.5, 0.6, 0.6]), patient)).toMatchObject({ kind: 'planned' })
  expect(stopped(grown(patient, [0.5, 0.6, 0.6, 0.6]), patient)).toMatchObject({ kind: 'stopped', why: 'patience' })
  const asked = grown(o, [0.5])
  apply(asked, { kind: 'steered', wish: 'stop' })
  expect(stopped(asked, o)).toMatchObject({ kind: 'stopped', why: 'asked' })
  expect(stopped(grown(o, [0.5]), o, { ...none, expired: true })).toEqual({ kind: 'stopped', why: 'budget', detail: 'minutes' })
  const open = grown({ ...o, inFlight: 2 }, [0.5])
  planned(open, { ...o, inFlight: 2 })
  apply(open, { kind: 'steered', wish: 'stop' })
  expect(stopped(open, { ...o, inFlight: 3 })).toBeUndefined()
})

test('a round is begun only if the budget covers it beside what is open, lost, and set aside for the closing look', () => {
  // A round: 4 of the batch, 30 of the holdout, 2 for the edit = 36. Closing: 2 × 20. Nothing was spent yet.
  const o = toyOptions({ inFlight: 2 })
  const s = grown(o, [0.5])
  expect(expectedCost(s, o, 'edit')).toEqual(calls(36))
  expect(closingCost(s, o)).toEqual(calls(40))
  const at = (limit: number, limits = none): string | undefined => {
    s.budget = { calls: limit }
    return decide(s, method, o, limits)?.kind
  }
  expect([at(75), at(76)]).toEqual(['stopped', 'planned'])
  expect([at(80, { ...none, lost: calls(5) }), at(81, { ...none, lost: calls(5) })]).toEqual(['stopped', 'planned'])
  s.budget = {}
  apply(s, decide(s, method, o, none)!)
  expect([at(111), at(112)]).toEqual([undefined, 'planned'])
})

test('costs are expected to be what they were so far', () => {
  const o = toyOptions()
  const s = grown(o, [0.5])
  apply(s, { kind: 'settled', round: 0, spent: { rollouts: 10, proposals: 2, act: calls(20), evolve: calls(2) } })
  expect(expectedCost(s, o, 'edit')).toEqual(calls(2 * 34 + 1))
  expect(closingCost(s, o)).toEqual(calls(80))
})

test('the closing look is planned once, beside rounds that the budget left open', () => {
  const o = toyOptions({ inFlight: 2 })
  const s = grown(o, [0.5])
  planned(s, o)
  apply(s, { kind: 'stopped', why: 'budget' })
  const close = decide(s, method, o, none)
  expect(close).toMatchObject({ kind: 'planned', plan: { round: 3, kind: 'close' } })
  apply(s, close!)
  expect(s.open.size).toBe(3)
  expect(decide(s, method, o, none)).toBeUndefined()
})

test('a run whose seed was never scored has nothing to close', () => {
  const o = toyOptions()
  const s = start(o)
  apply(s, { kind: 'stopped', why: 'budget' })
  expect(decide(s, method, o, none)).toBeUndefined()
})

test('the same plan played twice on the same answers gives the same facts', () => {
  const o = toyOptions()
  const s = grown(o, [0.3])
  const plan = planned(s, o)[0]!
  const facts = (): readonly Fact[] => {
    const round = play(s, method, o, plan)
    let turn = round.next()
    while (!turn.done) turn = round.next(turn.value.map(answered))
    return turn.value
  }
  expect(facts()).toEqual(facts())
})
