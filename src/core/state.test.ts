import { expect, test } from 'vitest'
import { node, score, ToyRun, toyOptions } from '../../test/toys.ts'
import { lse } from '../methods/lse.ts'
import type { Fact } from './facts.ts'
import { apply, noSpent, objection, type State, start } from './state.ts'

const scoredFact = (mean: number, more: { full?: boolean; parents?: readonly number[] } = {}): Fact => ({
  kind: 'scored',
  round: 0,
  parents: more.parents ?? [],
  context: { share: `${mean}` },
  score: score(mean, more.full),
})
const settled: Fact = { kind: 'settled', round: 0, spent: noSpent }

function folded(...facts: readonly Fact[]): State {
  const s = start(toyOptions())
  for (const fact of facts) apply(s, fact)
  return s
}

test('the best node is the first of the highest holdout score', () => {
  expect(folded(scoredFact(0.5), scoredFact(0.7), scoredFact(0.7), scoredFact(0.6)).best?.id).toBe(1)
})

test('a node whose scoring was cut short is never the best, but may be edited', () => {
  const s = folded(scoredFact(0.5), scoredFact(0.9, { full: false }))
  expect(s.best?.id).toBe(0)
  expect(s.tree.select({ kind: 'best' })).toBe(1)
})

test('rounds without gain are counted from the last better score', () => {
  const after = (...facts: readonly Fact[]): number => folded(...facts).settledSinceGain
  expect(after(scoredFact(0.5), settled)).toBe(0)
  expect(after(scoredFact(0.5), settled, scoredFact(0.5), settled, settled)).toBe(2)
  expect(after(scoredFact(0.5), settled, settled, scoredFact(0.6), settled)).toBe(0)
})

test('an edit is remembered with its parent and what it changed; a merge under its first parent', () => {
  const s = folded(scoredFact(0.5), scoredFact(0.25, { parents: [0] }), scoredFact(0.75, { parents: [1, 0] }))
  expect(s.edits).toEqual([
    { parent: 0, round: 0, tried: { kind: 'scored', context: { share: '0.25' }, before: 0.5, after: 0.25 } },
    { parent: 1, round: 0, tried: { kind: 'scored', context: { share: '0.75' }, before: 0.25, after: 0.75 } },
  ])
})

test('more rounds reopen a run that stopped, and drop a closing look that was begun', () => {
  const s = folded(
    scoredFact(0.5),
    { kind: 'planned', plan: { round: 1, kind: 'edit', from: [0], batch: [], upTo: 0 } },
    { kind: 'stopped', why: 'budget' },
    { kind: 'planned', plan: { round: 2, kind: 'close', from: [], batch: [], upTo: 0 } },
    { kind: 'steered', wish: 'extend', rounds: 99, budget: { calls: 5 } },
  )
  expect([...s.open.keys()]).toEqual([1])
  expect([s.stopped, s.rounds, s.budget]).toEqual([undefined, 99, { calls: 5 }])
})

test('raising one limit leaves the others', () => {
  const s = start(toyOptions({ budget: { calls: 5, usd: 1 } }))
  apply(s, { kind: 'steered', wish: 'extend', budget: { usd: 2 } })
  expect(s.budget).toEqual({ calls: 5, usd: 2 })
})

test('wishes wait in line and are taken by the plans made of them', () => {
  const s = folded(
    scoredFact(0.5),
    { kind: 'steered', wish: 'add', context: { share: '1' } },
    { kind: 'steered', wish: 'branch', node: 0 },
  )
  apply(s, { kind: 'planned', plan: { round: 1, kind: 'score', from: [], batch: [], context: { share: '1' }, upTo: 0 } })
  expect(s.wishes.map((w) => w.wish)).toEqual(['branch'])
  apply(s, { kind: 'planned', plan: { round: 2, kind: 'edit', from: [0], batch: [], upTo: 0 } })
  expect(s.wishes).toEqual([])
})

test('a wish that names no node is objected to, and a refused one changes nothing', () => {
  const s = folded(scoredFact(0.5))
  expect(objection(s, { wish: 'prune', node: 1 })).toBe('there is no node 1 (have: 1)')
  expect(objection(s, { wish: 'prune', node: -1 })).toBe('there is no node -1 (have: 1)')
  expect(objection(s, { wish: 'branch', node: 0 })).toBeUndefined()
  expect(objection(s, { wish: 'stop' })).toBeUndefined()
  apply(s, { kind: 'steered', wish: 'prune', node: 1, refused: 'there is no node 1 (have: 1)' })
  apply(s, { kind: 'steered', wish: 'stop', refused: 'no' })
  expect([s.asked, s.tree.select({ kind: 'best' })]).toEqual([false, 0])
})

test('facts read back from their JSON fold to the same state', async () => {
  const run = new ToyRun(toyOptions({ inFlight: 4 }))
  const lived = (await run.live(lse()))!
  const read = start(toyOptions({ inFlight: 4 }))
  for (const fact of JSON.parse(run.bytes) as Fact[]) apply(read, fact)
  expect(JSON.stringify({ ...read, open: [...read.open], lastSeen: [...read.lastSeen] })).toBe(
    JSON.stringify({ ...lived, open: [...lived.open], lastSeen: [...lived.lastSeen] }),
  )
  expect(read.nodes).toHaveLength(run.facts.filter((f) => f.kind === 'scored').length)
  expect(node(0, 0.5).parents).toEqual([])
})
