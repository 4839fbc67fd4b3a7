import { expect, test } from 'vitest'
import { ConfigError } from './errors.ts'
import type { Node } from './observation.ts'
import { parseTree, referenceTree, renderTree } from './tree-json.ts'

const score = (mean: number): Node['score'] => ({ per: { p: mean }, mean, draws: 1, full: true })
const nodes: readonly Node[] = [
  { id: 0, parents: [], round: 0, context: { instructions: 'Answer.' }, score: score(0.5) },
  { id: 1, parents: [0], round: 1, context: { instructions: 'Answer well.', memory: 'Be brief.' }, score: score(0.6) },
  { id: 2, parents: [1, 0], round: 2, context: { instructions: 'Both.' }, score: score(0.7) },
]

test("a run's nodes become a tree of the reference code, several parts as one text", () => {
  const tree = referenceTree(nodes, { selection: { kind: 'ucb', c: 0.1 }, picks: 2, visits: (id) => (id < 2 ? 1 : 0) })
  expect(tree).toMatchObject({ selection: 'ucb', c: 0.1, nextId: 3, picks: 2, root: 0 })
  expect(tree.nodes.map((n) => [n.parent, n.depth, n.visits, n.performance])).toEqual([
    [undefined, 0, 1, 0.5],
    [0, 1, 1, 0.6],
    [1, 2, 0, 0.7],
  ])
  expect(tree.nodes[1]!.instructions).toBe('# instructions\nAnswer well.\n\n# memory\nBe brief.')
  expect(parseTree(JSON.parse(JSON.stringify(renderTree(tree))))).toEqual(tree)
})

test('a node whose scoring was cut short says so in its summary', () => {
  const part = { ...score(0.3), full: false, n: 25, interval: [0.2, 0.5] as const }
  const tree = referenceTree([nodes[0]!, { ...nodes[1]!, score: part }], {
    selection: { kind: 'newest' },
    picks: 0,
    visits: () => 0,
  })
  expect(tree.nodes.map((n) => n.summary)).toEqual([null, { cut_short: true, rollouts: 25, interval: [0.2, 0.5] }])
})

test("the newest rule is called by the reference code's nearest name", () => {
  expect(referenceTree(nodes, { selection: { kind: 'newest' }, picks: 0, visits: () => 0 }).selection).toBe('deepest')
})

test('fields that the reference loader can do without get its defaults', () => {
  const tree = parseTree({ nodes: [{ id: 0, parent_id: null }] })
  expect(tree).toMatchObject({ selection: 'deepest', c: 2, nextId: 1, picks: 0, root: 0 })
  expect(tree.nodes[0]).toMatchObject({ depth: 0, visits: 0, performance: undefined, instructions: '', evolvePrompt: null })
})

const bad: readonly [what: string, json: unknown, message: string][] = [
  ['a list', [], 'the file must be an object, got []'],
  ['nothing', undefined, 'the file must be an object, got nothing'],
  ['another version', { format_version: 2, nodes: [{ id: 0 }] }, '"format_version" must be 1, got 2'],
  ['no nodes', { nodes: [] }, '"nodes" must be a list with at least one node, got []'],
  ['a node that is none', { nodes: [7] }, 'node 0 must be an object, got 7'],
  ['an id that is no number', { nodes: [{ id: 'a' }] }, '"id" of node 0 must be a whole number from 0, got "a"'],
  ['an id twice', { nodes: [{ id: 0 }, { id: 0 }] }, 'ids must be unique, got 0'],
  [
    'an unknown parent',
    { nodes: [{ id: 0 }, { id: 1, parent_id: 5 }] },
    '"parent_id" of node 1 must be the id of a node before it, got 5',
  ],
  ['its own parent', { nodes: [{ id: 0, parent_id: 0 }] }, '"parent_id" of node 0 must be the id of a node before it, got 0'],
  [
    'a score that is no number',
    { nodes: [{ id: 0, performance: '0.5' }] },
    '"performance" of node 0 must be a number, got "0.5"',
  ],
  ['instructions that are no text', { nodes: [{ id: 0, instructions: 3 }] }, '"instructions" of node 0 must be text, got 3'],
  ['half a visit', { nodes: [{ id: 0, visits: 0.5 }] }, '"visits" of node 0 must be a whole number from 0, got 0.5'],
  ['an unknown root', { root_id: 4, nodes: [{ id: 0 }] }, '"root_id" must be the id of a node, got 4'],
]

test.each(bad)('%s is refused in one line', (_, json, message) => {
  expect(() => parseTree(json)).toThrow(ConfigError)
  expect(() => parseTree(json)).toThrow(`tree.json: ${message}; it must be a file that the reference code wrote`)
})
