import { expect, test } from 'vitest'
import type { Node, Observation } from '../core/observation.ts'
import { curriculum, type Grown, type State, statesOf } from './curriculum.ts'

function node(id: number, mean: number): Node {
  return { id, parents: [], round: id, context: { rules: `rules ${id}` }, score: { per: {}, mean, draws: 1, full: true } }
}
function asked(n: Node, text = `prompt of ${n.id}`): Grown['asked'][number] {
  const observation = { node: n, seen: { ...n.score, rollouts: [] }, history: [], earlier: [], rules: {} } satisfies Observation
  return { observation, prompt: [{ role: 'user', content: text }] }
}
const nodes = [node(0, 0.3), node(1, 0.6), node(2, 0.5)]
const states = statesOf([{ task: 'a', nodes, asked: nodes.map((n) => asked(n)), invalid: 0 }])
const before = (list: readonly State[]): number[] => list.map((s) => s.before)

test("the potential of a state is its tree's best score minus its own", () => {
  expect(states.map((s) => s.potential)).toEqual([0.6 - 0.3, 0, 0.6 - 0.5])
})

test('a score that racing cut short is refused: it would bias rewards', () => {
  const cut = { ...node(1, 0.2), score: { per: {}, mean: 0.2, draws: 1, full: false } }
  const grown = { task: 'a', nodes: [node(0, 0.3), cut], asked: [asked(node(0, 0.3))], invalid: 0 }
  expect(() => statesOf([grown])).toThrow('node 1 of a was scored in part')
})

test('the same prompt is kept once, the first time', () => {
  const twice = statesOf([
    { task: 'a', nodes, asked: [asked(nodes[0]!, 'same'), asked(nodes[1]!, 'same')], invalid: 0 },
    { task: 'b', nodes, asked: [asked(nodes[2]!, 'same'), asked(nodes[2]!, 'other')], invalid: 0 },
  ])
  expect(twice.map((s) => [s.task, s.before])).toEqual([
    ['a', 0.3],
    ['b', 0.5],
  ])
})

test('the largest potential comes first; reversed, last', () => {
  expect(before(curriculum(states, 0, { seed: 1 }))).toEqual([0.3, 0.5, 0.6])
  expect(before(curriculum(states, 0, { seed: 1, order: 'reversed' }))).toEqual([0.6, 0.5, 0.3])
})

test('states below the least potential are left out', () => {
  expect(before(curriculum(states, 0, { seed: 1, minPotential: 0.05 }))).toEqual([0.3, 0.5])
})

test('a random order is another in each pass and the same for a seed', () => {
  const many = Array.from({ length: 30 }, (_, i) => ({ ...states[0]!, before: i }))
  const order = (pass: number, seed: number): number[] => before(curriculum(many, pass, { seed, order: 'random' }))
  expect(order(0, 1)).toEqual(order(0, 1))
  expect(order(0, 1)).not.toEqual(order(1, 1))
  expect([...order(0, 1)].sort((a, b) => a - b)).toEqual(many.map((s) => s.before))
})
