import fc from 'fast-check'
import { expect, test } from 'vitest'
import { calls, ids, limited, ToyRun, toyOptions } from '../../test/toys.ts'
import { best, chain, lse } from '../methods/lse.ts'
import type { Fact, Options, Steer } from './facts.ts'
import { closingCost } from './search.ts'
import { start } from './state.ts'

async function finished(options: Options, timing = 0): Promise<ToyRun> {
  const run = new ToyRun(options)
  await run.live(lse(), { timing })
  return run
}

/** The nodes edited, in the order their rounds were planned. */
const picks = (facts: readonly Fact[]): number[] =>
  facts.flatMap((f) => (f.kind === 'planned' && f.plan.kind === 'edit' ? f.plan.from : []))

const stops = (facts: readonly Fact[]): string[] => facts.flatMap((f) => (f.kind === 'stopped' ? [f.why] : []))
const once = (
  steers: readonly Steer[],
  when: (facts: readonly Fact[]) => boolean,
): ((facts: readonly Fact[]) => readonly Steer[]) => {
  let isDone = false
  return (facts) => {
    if (isDone || !when(facts)) return []
    isDone = true
    return steers
  }
}
const settledIs = (n: number) => (facts: readonly Fact[]) => facts.filter((f) => f.kind === 'settled').length >= n
const isReported = (facts: readonly Fact[]): boolean => facts.some((f) => f.kind === 'reported')

test.each([1, 2, 4, 8])('in flight %i: any order of arrival gives one log', async (inFlight) => {
  const logs = new Set<string>()
  for (let timing = 0; timing < 25; timing++) logs.add((await finished(toyOptions({ inFlight }), timing)).bytes)
  expect(logs.size).toBe(1)
})

test('the log depends on how many rounds are in flight, beyond the setting itself', async () => {
  const logs = new Set<string>()
  for (const inFlight of [1, 2, 4, 8]) logs.add(JSON.stringify((await finished(toyOptions({ inFlight }))).facts.slice(1)))
  expect(logs.size).toBe(4)
})

test('rounds settle in the order they were planned, however late one is', async () => {
  const { facts } = await finished(toyOptions({ inFlight: 4 }), 3)
  const settled = facts.flatMap((f) => (f.kind === 'settled' ? [f.round] : []))
  expect(settled).toEqual(settled.map((_, i) => i))
  expect(settled).toHaveLength(14) // the seed, 12 edits, the closing look
})

test('a round is planned from the rounds up to P before it, and never with more than P open', async () => {
  const { facts } = await finished(toyOptions({ inFlight: 3 }))
  const open = new Set<number>()
  for (const f of facts) {
    if (f.kind === 'planned') open.add(f.plan.round)
    if (f.kind === 'settled') open.delete(f.round)
    expect(open.size).toBeLessThanOrEqual(3)
    if (f.kind === 'planned' && f.plan.kind === 'edit') expect(open.has(f.plan.round - 3)).toBe(false)
  }
})

/** Racing in small blocks, so that toys are cut short. */
const racing = { alpha: 0.5, block: 5 }

test.each([1, 4])(
  'in flight %i: a race gives one log in any order of arrival, and killed and resumed the same',
  async (inFlight) => {
    const options = toyOptions({ inFlight, rounds: 8, draws: 2, probe: 2, racing })
    const whole = await finished(options)
    const cut = whole.facts.filter((f) => f.kind === 'scored' && !f.score.full)
    expect(cut.length).toBeGreaterThan(1)
    for (let dieAt = 1; dieAt <= whole.actions; dieAt += 7) {
      const run = new ToyRun(options)
      await run.live(lse(), { timing: dieAt, dieAt })
      await run.live(lse(), { timing: dieAt + 1000 })
      expect(run.bytes === whole.bytes).toBe(true)
      expect(Math.max(...run.paid.values())).toBe(1)
    }
  },
)

test('a node that was cut short is never the best, never raced against, never chosen, and may be edited', async () => {
  let edited = 0
  await fc.assert(
    fc.asyncProperty(
      fc.nat(1000),
      fc.constantFrom(1, 4),
      fc.constantFrom('mean', 'shrink', 'confirm'),
      async (seed, inFlight, choice) => {
        const splits = { ...toyOptions().splits, confirm: ids('c', 10) }
        const { facts } = await finished(toyOptions({ seed, inFlight, choice, splits, racing, folds: 5 }))
        const nodes = facts.flatMap((f) => (f.kind === 'scored' ? [f] : []))
        const isCut = nodes.map((f) => !f.score.full)
        for (const f of facts) {
          if (f.kind !== 'planned' || f.plan.kind !== 'edit') continue
          expect(isCut[f.plan.best!]).toBe(false)
          if (isCut[f.plan.from[0]!]) edited++
        }
        const result = facts.flatMap((f) => (f.kind === 'reported' ? [f.result] : []))[0]!
        expect([isCut[result.chosen], isCut[result.returned]]).toEqual([false, false])
        for (const id of Object.keys(result.confirmed ?? {})) expect(isCut[Number(id)]).toBe(false)
        for (const { score } of nodes) {
          expect(Object.keys(score.per)).toHaveLength(score.n ?? 30)
          expect(score.full).toBe(score.interval === undefined)
        }
      },
    ),
    { seed: 5, numRuns: 40 },
  )
  expect(edited).toBeGreaterThan(0)
})

test.each([1, 4])(
  'in flight %i: killed at any moment and resumed, the log is the same and nothing is paid twice',
  async (inFlight) => {
    const options = toyOptions({ inFlight, rounds: 6 })
    const whole = await finished(options)
    expect(whole.actions).toBeGreaterThan(60)
    for (let dieAt = 1; dieAt <= whole.actions; dieAt++) {
      const run = new ToyRun(options)
      expect(await run.live(lse(), { timing: dieAt, dieAt })).toBeUndefined()
      await run.live(lse(), { timing: dieAt + 1000 })
      expect(run.bytes === whole.bytes).toBe(true)
      expect(Math.max(...run.paid.values())).toBe(1)
    }
  },
)

test('killed again and again, a run gets through with the same log', async () => {
  const options = toyOptions({ inFlight: 4 })
  const whole = await finished(options)
  for (const dieAt of [9, 14, 23]) {
    const run = new ToyRun(options)
    let lives = 1
    while (!(await run.live(lse(), { timing: lives, dieAt }))) lives++
    expect(lives).toBeGreaterThan(4)
    expect(run.bytes === whole.bytes).toBe(true)
    expect(Math.max(...run.paid.values())).toBe(1)
  }
})

test('a budget is never exceeded, and what the closing look needs is not touched by the search', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 40, max: 420 }), fc.constantFrom(1, 2, 4), fc.nat(1000), async (cap, inFlight, timing) => {
      const options = limited({ calls: cap }, { inFlight, rounds: 99 })
      const run = await finished(options, timing)
      const closing = closingCost(start(options), options).calls
      expect(closing).toBe(40)
      expect(run.high.search + closing).toBeLessThanOrEqual(Math.max(cap, closing))
      expect(run.high.all).toBeLessThanOrEqual(cap)
      const last = run.facts.at(-1)
      const report = run.facts.find((f) => f.kind === 'reported')
      if (last?.kind === 'stopped')
        expect(cap).toBeLessThan(70) // the seed alone takes 30 beside the 40
      else expect(report?.result.gain.n).toBe(20)
      expect(stops(run.facts)).toEqual(['budget'])
    }),
    { seed: 3, numRuns: 60 },
  )
})

test('rounds that the end of the budget left open are taken up again when it is raised, and nothing of them is paid twice', async () => {
  // Edits are thought to cost nothing, so that four rounds are begun (30 + 4 · 34 + 8 calls) which can't all be ended.
  const assumed = { rollout: calls(1), proposal: calls(0) }
  const splits = { ...toyOptions().splits, test: ids('x', 4) }
  const options = limited({ calls: 175 }, { inFlight: 4, rounds: 5, assumed, splits, seed: 2 })
  const run = new ToyRun(options)
  await run.live(lse(), { inbox: once([{ wish: 'extend', budget: { calls: 5000 } }], isReported) })
  const reported = run.facts.findIndex((f) => f.kind === 'reported')
  const settledBefore = run.facts.slice(0, reported).filter((f) => f.kind === 'settled').length
  const plannedBefore = run.facts.slice(0, reported).filter((f) => f.kind === 'planned' && f.plan.kind === 'edit').length
  expect(plannedBefore + 1).toBeGreaterThan(settledBefore)
  expect(stops(run.facts)).toEqual(['budget', 'rounds'])
  expect(
    run.facts.filter(
      (f) =>
        f.kind === 'settled' && run.facts.some((p) => p.kind === 'planned' && p.plan.kind === 'edit' && p.plan.round === f.round),
    ),
  ).toHaveLength(5)
  expect(run.facts.filter((f) => f.kind === 'reported')).toHaveLength(2)
  expect(run.facts.findLast((f) => f.kind === 'reported')?.result.openings).toBe(2)
  expect(Math.max(...run.paid.values())).toBe(1)
})

test('a pruned node is never picked again, and a resumed run repeats it', async () => {
  const options = toyOptions({ inFlight: 4 })
  const run = new ToyRun(options)
  await run.live(lse(), { inbox: once([{ wish: 'prune', node: 0 }], settledIs(4)) })
  const at = run.facts.findIndex((f) => f.kind === 'steered')
  expect(picks(run.facts.slice(0, at))).toContain(0)
  expect(picks(run.facts.slice(at))).not.toContain(0)
  const again = new ToyRun(options)
  again.facts = run.facts.slice(0, run.facts.findIndex((f) => f.kind === 'settled' && f.round === 9) + 1)
  for (const [key, entry] of run.entries) again.entries.set(key, entry)
  await again.live(lse(), { timing: 9 })
  expect(again.bytes === run.bytes).toBe(true)
})

test('pruning every node ends the search, and the seed is reported on', async () => {
  const run = new ToyRun(toyOptions())
  await run.live(lse(), { inbox: once([{ wish: 'prune', node: 0 }], settledIs(1)) })
  expect(run.facts.find((f) => f.kind === 'stopped')).toEqual({ kind: 'stopped', why: 'asked', detail: 'every node is pruned' })
  expect(run.facts.at(-2)).toMatchObject({ kind: 'reported', result: { chosen: 0, returned: 0 } })
})

test.each([
  [{ wish: 'prune', node: 77 }, 'there is no node 77 (have: 2)'],
  [{ wish: 'branch', node: 77 }, 'there is no node 77 (have: 2)'],
  [{ wish: 'add', context: { share: '0.5' }, parent: 77 }, 'there is no node 77 (have: 2)'],
  [{ wish: 'add', context: { other: '0.5' } }, 'the parts must be share; got other'],
] as const)('the wish %j is refused, and the run goes on', async (wish, refused) => {
  const run = new ToyRun(toyOptions())
  await run.live(best(), { inbox: once([wish], settledIs(3)) })
  expect(run.facts.filter((f) => f.kind === 'steered')).toEqual([{ kind: 'steered', ...wish, refused }])
  expect(isReported(run.facts)).toBe(true)
  const again = new ToyRun(toyOptions())
  again.facts = structuredClone(run.facts)
  await again.live(best())
  expect(again.bytes === run.bytes).toBe(true)
})

test('a branch is planned next, from its node and with its hint, and counts as a round', async () => {
  const run = new ToyRun(toyOptions())
  await run.live(lse(), { inbox: once([{ wish: 'branch', node: 1, hint: 'shorter' }], settledIs(4)) })
  const at = run.facts.findIndex((f) => f.kind === 'steered')
  expect(run.facts[at + 1]).toMatchObject({ kind: 'planned', plan: { kind: 'edit', from: [1], hint: 'shorter' } })
  expect(picks(run.facts)).toHaveLength(12)
})

test('a context written by hand is scored and may be the best', async () => {
  const run = new ToyRun(toyOptions())
  await run.live(lse(), { inbox: once([{ wish: 'add', context: { share: '0.9' }, parent: 0 }], settledIs(2)) })
  const added = run.facts.find((f) => f.kind === 'scored' && f.context.share === '0.9')
  expect(added).toMatchObject({ parents: [0] })
  expect(run.facts.find((f) => f.kind === 'planned' && f.plan.kind === 'score')).toBeDefined()
  expect(picks(run.facts)).toHaveLength(12)
})

test('a paused run plans nothing until it is told to continue', async () => {
  const run = new ToyRun(toyOptions({ inFlight: 2 }))
  const pause = once([{ wish: 'pause' }], settledIs(3))
  let asked = 0
  await run.live(lse(), {
    inbox: (facts) => (facts.some((f) => f.kind === 'steered') && ++asked === 20 ? [{ wish: 'continue' }] : pause(facts)),
  })
  const [paused, continued] = run.facts.flatMap((f, i) => (f.kind === 'steered' ? [i] : []))
  expect(run.facts.slice(paused, continued).some((f) => f.kind === 'planned')).toBe(false)
  expect(run.facts.slice(paused, continued).filter((f) => f.kind === 'settled').length).toBeLessThanOrEqual(2)
  expect(picks(run.facts)).toHaveLength(12)
})

test('stop ends what is in flight and then looks at test', async () => {
  const run = new ToyRun(toyOptions({ inFlight: 4 }))
  await run.live(lse(), { inbox: once([{ wish: 'stop' }], settledIs(3)) })
  expect(stops(run.facts)).toEqual(['asked'])
  const planned = picks(run.facts).length
  expect(planned).toBeLessThan(12)
  expect(run.facts.filter((f) => f.kind === 'settled')).toHaveLength(planned + 2)
  expect(isReported(run.facts)).toBe(true)
})

test('more rounds reopen a finished run, and the second look at test is counted', async () => {
  const run = new ToyRun(toyOptions({ rounds: 3 }))
  await run.live(lse())
  expect(picks(run.facts)).toHaveLength(3)
  await run.live(lse(), { inbox: once([{ wish: 'extend', rounds: 5 }], () => true) })
  expect(picks(run.facts)).toHaveLength(5)
  const openings = run.facts.flatMap((f) => (f.kind === 'reported' ? [f.result.openings] : []))
  expect(openings).toEqual([1, 2])
})

test('a finished run that is driven again does nothing', async () => {
  const run = await finished(toyOptions())
  const { bytes, actions } = run
  await run.live(lse())
  expect([run.bytes, run.actions]).toEqual([bytes, actions])
})

test('patience counts settled rounds without gain, and with rounds in flight those that were begun are waited for', async () => {
  for (const inFlight of [1, 4]) {
    const { facts } = await finished(toyOptions({ inFlight, patience: 3, rounds: 99 }))
    expect(stops(facts)).toEqual(['patience'])
    let high = -1
    let since = 0
    const runs: number[] = []
    for (const f of facts) {
      if (f.kind === 'scored' && f.score.mean > high) {
        high = f.score.mean
        since = -1
      }
      if (f.kind === 'settled') runs.push(++since)
      if (f.kind === 'stopped') break
    }
    // Nothing was planned after the third round without gain, unless one in flight brought a gain.
    expect(runs.at(-1)).toBeGreaterThanOrEqual(3)
    expect(runs.at(-1)).toBeLessThan(3 + inFlight)
  }
})

test('a chain edits its newest context each time', async () => {
  const run = new ToyRun(toyOptions())
  await run.live(chain())
  let newest = 0
  for (const f of run.facts) {
    if (f.kind === 'scored' && f.parents.length) newest++
    if (f.kind === 'planned' && f.plan.kind === 'edit') expect(f.plan.from).toEqual([newest])
  }
})

test('an error of one round stops the run with it, and a resumed run goes on', async () => {
  const options = toyOptions({ inFlight: 4 })
  const whole = await finished(options)
  const run = new ToyRun(options)
  const broken = {
    ...lse(),
    *round(view: Parameters<ReturnType<typeof lse>['round']>[0]) {
      if (view.plan.round === 5) throw new Error('the provider broke')
      return yield* lse().round(view)
    },
  }
  await expect(run.live(broken, { timing: 1 })).rejects.toThrow('the provider broke')
  await run.live(lse(), { timing: 2 })
  expect(run.bytes === whole.bytes).toBe(true)
  expect(Math.max(...run.paid.values())).toBe(1)
})
