import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ids, ToyRun, toyOptions } from '../../test/toys.ts'
import type { Context } from '../core/context.ts'
import type { Fact, Options, Steer } from '../core/facts.ts'
import type { Answer, Command } from '../core/method.ts'
import { rng } from '../core/rng.ts'
import { scoreOf } from '../core/score.ts'
import { decide, play } from '../core/search.ts'
import { apply, type State, start } from '../core/state.ts'
import { drawPlayers, type Entry, rated, robophd } from './robophd.ts'

const free = { calls: 0, tokens: 0, usd: 0 }

// Ratings

test('a win among equals moves 16 points, a draw none; who was 400 points below and wins gains 29', () => {
  expect(rated([1500, 1500], [0.9, 0.4])).toEqual([1516, 1484])
  expect(rated([1500, 1500], [0.4, 0.4000001])).toEqual([1500, 1500]) // equal to six places
  // expected of the weaker: 1 / (1 + 10^(400/400)) = 1/11, so 32 × 10/11
  expect(rated([1400, 1800], [1, 0])[0]).toBeCloseTo(1400 + 320 / 11, 9)
  expect(rated([1500], [1])).toEqual([1500])
})

test('three play all against all, one game after the other', () => {
  // 1st beats 2nd: 1516, 1484. 1st (1516) beats 3rd (1500): +32 (1 − 1/(1 + 10^(−16/400))). 2nd (1484) beats 3rd.
  const first = 32 * (1 - 1 / (1 + 10 ** (-16 / 400)))
  const third = 1500 - first
  const second = 32 * (1 - 1 / (1 + 10 ** ((third - 1484) / 400)))
  const now = rated([1500, 1500, 1500], [0.9, 0.5, 0.1])
  for (const [n, rating] of [1516 + first, 1484 + second, third - second].entries()) expect(now[n]).toBeCloseTo(rating, 9)
})

test('no points come or go, and the order of scores is kept among equals', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ rating: fc.integer({ min: 1000, max: 2000 }), score: fc.float({ min: 0, max: 1, noNaN: true }) })),
      (all) => {
        const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
        const before = all.map((p) => p.rating)
        const scores = all.map((p) => p.score)
        expect(sum(rated(before, scores))).toBeCloseTo(sum(before), 6)
        const even = rated(
          all.map(() => 1500),
          scores,
        )
        for (const [a, x] of scores.entries())
          for (const [b, y] of scores.entries()) if (x - y > 1e-5) expect(even[a]!).toBeGreaterThan(even[b]!)
      },
    ),
    { numRuns: 100, seed: 1 },
  )
})

// Who plays

const entry = (more: Partial<Entry>): Entry => ({
  context: {},
  rating: 1500,
  matches: 1,
  played: 0,
  won: -1,
  isNode: false,
  ...more,
})

test('winners that have not played since play, and who never played always does', () => {
  const pool = [
    entry({ rating: 1600, played: 5, won: 3 }),
    entry({ rating: 1490, played: 4, won: 4 }),
    entry({ rating: 1480, played: 6, won: 6 }),
    entry({ matches: 0, played: -1 }),
  ]
  expect(drawPlayers(pool, 3, rng(1))).toEqual([2, 1, 3])
  expect(drawPlayers(pool, 2, rng(1))).toHaveLength(2)
  for (let seed = 0; seed < 20; seed++) {
    const drawn = drawPlayers(pool, 2, rng(seed))
    expect(drawn[1]).toBe(3) // a winner makes room
    expect([1, 2]).toContain(drawn[0])
  }
})

test('places that are left are drawn from twice as many of the best rated', () => {
  const pool = [1400, 1500, 1600, 1700, 1800, 1900].map((rating) => entry({ rating }))
  const drawn = new Set(Array.from({ length: 200 }, (_, seed) => drawPlayers(pool, 2, rng(seed))).flat())
  expect([...drawn].sort()).toEqual([2, 3, 4, 5])
  expect(drawPlayers(pool.slice(0, 1), 3, rng(1))).toEqual([0])
})

test('fewer than two players and a broken number of refinements are refused', () => {
  expect(() => robophd({ players: 1 })).toThrow('players is 1')
  expect(() => robophd({ refinements: Number.NaN })).toThrow('refinements is NaN')
})

// Runs

interface Searched {
  readonly facts: readonly Fact[]
  readonly commands: readonly Command[]
}

/** Runs the search by hand: a context's share is its score; edits bring the shares given, in turn. */
function searched(o: Options, shares: readonly number[], refinements = 0): Searched {
  const method = robophd({ refinements })
  const s: State = start(o)
  const facts: Fact[] = []
  const commands: Command[] = []
  let edits = 0
  const answer = (command: Command): Answer => {
    commands.push(command)
    if (command.kind === 'overlap') return { kind: 'overlap', share: 0, copied: [], cost: free }
    if (command.kind === 'propose') {
      const share = shares[edits++]
      if (share === undefined) return { kind: 'invalid', reason: 'no more', completion: '', cost: free }
      const copied = share === 0.6 ? { copied: ['t1'] } : {}
      return { kind: 'edit', context: { share: share.toFixed(2) }, completion: '', cost: free, ...copied }
    }
    const rollouts = command.ids.map((exampleId) => ({
      exampleId,
      draw: 0,
      score: Number(command.context.share),
      feedback: '',
      question: '',
      answer: '',
    }))
    return { kind: 'score', score: scoreOf(rollouts, 1), rollouts: command.role === 'batch' ? rollouts : [], cost: free }
  }
  const keep = (fact: Fact): void => {
    apply(s, fact)
    facts.push(fact)
  }
  for (;;) {
    const fact = decide(s, method, o, { lost: free, expired: false })
    if (!fact) return { facts, commands }
    keep(fact)
    if (fact.kind !== 'planned') continue
    const round = play(s, method, o, fact.plan)
    let turn = round.next()
    while (!turn.done) turn = round.next(turn.value.map(answer))
    for (const f of turn.value) keep(f)
  }
}

const scoredIn = (facts: readonly Fact[]): readonly Context[] => facts.flatMap((f) => (f.kind === 'scored' ? [f.context] : []))
const holdouts = (commands: readonly Command[]): readonly Context[] =>
  commands.flatMap((c) => (c.kind === 'evaluate' && c.role === 'holdout' ? [c.context] : []))

test('only what comes to lead is scored on the holdout, and the last leader is returned', () => {
  const { facts, commands } = searched(toyOptions({ rounds: 5 }), [0.1, 0.6, 0.2, 0.5, 0.4])
  // The seed has 0.30; 0.10 loses to it, 0.60 beats both, what comes after does not lead.
  expect(scoredIn(facts)).toEqual([{ share: '0.30' }, { share: '0.60' }])
  expect(holdouts(commands)).toEqual([{ share: '0.30' }, { share: '0.60' }])
  expect(facts.at(-2)).toMatchObject({ kind: 'reported', result: { chosen: 1 } })
  expect(facts.filter((f) => f.kind === 'rejected')).toHaveLength(5)
  expect(facts.findLast((f) => f.kind === 'scored')).toMatchObject({ copied: ['t1'] }) // as was said of it when it was written
})

test('each new context plays the next match, on problems that its edit was not made from', () => {
  const { commands } = searched(toyOptions({ rounds: 4, batch: 5 }), [0.1, 0.6, 0.2, 0.5])
  const rounds = Map.groupBy(
    commands.flatMap((c) => (c.kind === 'evaluate' && c.role === 'batch' ? [c] : [])),
    (c) => c.ids.join(),
  )
  expect([...rounds.values()].map((all) => all.map((c) => c.context.share))).toEqual([
    ['0.30'],
    ['0.30', '0.10'],
    ['0.30', '0.60', '0.10'],
    ['0.60', '0.20', expect.stringMatching(/0\.[31]0/)],
  ])
})

test('the best rated that played is edited, and sees how all others are rated', () => {
  const { commands } = searched(toyOptions({ rounds: 4 }), [0.1, 0.6, 0.2])
  const seen = commands.flatMap((c) => (c.kind === 'propose' ? [c.observation] : []))
  expect(seen.map((o) => o.node.context.share)).toEqual(['0.30', '0.30', '0.60', '0.60'])
  expect(seen[3]?.earlier.map((t) => 'context' in t && t.context.share)).toEqual(['0.10', '0.20', '0.30'])
  expect(seen[3]?.earlier[2]).toMatchObject({
    kind: 'rejected',
    reason: expect.stringMatching(/^rated 1\d+ after \d matches; this one/),
  })
  expect(seen[2]?.seen.rollouts).toHaveLength(4)
  const told = seen[3]?.earlier.map((t) => /after (\d) matches;/.exec('reason' in t ? t.reason : '')?.[1])
  const played = commands.flatMap((c) => (c.kind === 'evaluate' && c.role === 'batch' ? [c.context.share] : []))
  expect(told).toEqual(['0.10', '0.20', '0.30'].map((share) => String(played.filter((s) => s === share).length)))
})

test('a new context is tried on the problems of the match and edited once more', () => {
  const { facts, commands } = searched(toyOptions({ rounds: 1 }), [0.1, 0.6], 1)
  expect(facts.filter((f) => f.kind === 'rejected')).toMatchObject([{ context: { share: '0.60' } }])
  const [first, second] = commands.flatMap((c) => (c.kind === 'propose' ? [c.observation] : []))
  expect([first?.node.context.share, second?.node.context.share]).toEqual(['0.30', '0.10'])
  const perfect = searched(toyOptions({ rounds: 1 }), [1, 0.6], 1)
  expect(perfect.commands.filter((c) => c.kind === 'propose')).toHaveLength(1)
})

test('a refinement that is none leaves the edit as it was; an edit that is none is an invalid one, counted', () => {
  const { facts } = searched(toyOptions({ rounds: 3 }), [0.6], 1)
  expect(facts.flatMap((f) => (['scored', 'rejected', 'invalid'].includes(f.kind) ? [f.kind] : []))).toEqual([
    'scored',
    'rejected',
    'scored', // 0.60 leads
    'invalid',
    'invalid',
  ])
})

test('killed at any moment and resumed, the log is the same and nothing is paid twice', async () => {
  const options = toyOptions({ rounds: 6 })
  const whole = new ToyRun(options)
  await whole.live(robophd())
  expect(whole.facts.filter((f) => f.kind === 'rejected').length).toBeGreaterThan(3)
  for (let dieAt = 1; dieAt <= whole.actions; dieAt++) {
    const run = new ToyRun(options)
    await run.live(robophd(), { dieAt })
    await run.live(robophd(), { timing: dieAt })
    expect(run.bytes).toBe(whole.bytes)
    expect([...run.paid.values()].every((n) => n === 1)).toBe(true)
  }
})

test('someone may branch from a node, add a context and prune the leader, and the matches go on', async () => {
  const run = new ToyRun(toyOptions({ rounds: 12, splits: { ...toyOptions().splits, train: ids('t', 10) } }))
  const wishes: readonly Steer[] = [
    { wish: 'add', context: { share: '0.55' }, parent: 0 },
    { wish: 'branch', node: 0, hint: 'look' },
    { wish: 'prune', node: 0 },
  ]
  let made = 0
  await run.live(robophd(), { inbox: (facts) => (facts.length > 8 * (made + 1) ? wishes.slice(made, ++made) : []) })
  expect(run.facts.filter((f) => f.kind === 'steered' && f.refused === undefined)).toHaveLength(3)
  expect(run.facts.at(-2)).toMatchObject({ kind: 'reported' })
  expect(run.facts.filter((f) => f.kind === 'planned' && f.plan.kind === 'edit')).toHaveLength(12)
})
