import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Selection, select, Tree } from './tree.ts'

const ucb = (c: number): Selection => ({ kind: 'ucb', c })

test('ucb takes the node whose mean plus bonus is highest, by hand', () => {
  const tree = new Tree()
  tree.insert(0.5) // id 0
  tree.insert(0.6) // id 1
  for (const id of [1, 1, 1, 0]) tree.visit(id)
  // picks 4: 0.5 + .1·√(ln 4 / 1) = .6177; 0.6 + .1·√(ln 4 / 3) = .6680
  expect(tree.select(ucb(0.1))).toBe(1)
  // c = 2: 0.5 + 2·1.1774 = 2.8548; 0.6 + 2·.6798 = 1.9596
  expect(tree.select(ucb(2))).toBe(0)
  expect(tree.picks).toBe(4)
  expect(tree.visits(1)).toBe(3)
})

test('a node picked once competes like one never picked', () => {
  const tree = new Tree()
  tree.insert(0.5)
  tree.visit(0)
  tree.visit(tree.insert(0.5))
  tree.insert(0.5)
  expect(tree.select(ucb(2))).toBe(0)
})

test('equal values go to the lowest id, by every rule but newest', () => {
  const tree = new Tree()
  for (let i = 0; i < 3; i++) tree.insert(0.5)
  expect(tree.select(ucb(0.1))).toBe(0)
  expect(tree.select({ kind: 'best' })).toBe(0)
  expect(tree.select({ kind: 'newest' })).toBe(2)
})

test('means that differ by a rounding error and meet at one value go to the higher mean', () => {
  const tree = new Tree()
  tree.insert(0.3)
  tree.insert(0.1 + 0.2) // one rounding error above 0.3
  for (const id of [0, 1, 1]) tree.visit(id)
  const nodes = [0.3, 0.1 + 0.2].map((mean, id) => ({ mean, visits: id + 1, pruned: false }))
  expect(0.3 + 1e-16 * Math.sqrt(Math.log(3))).toBe(0.1 + 0.2 + 1e-16 * Math.sqrt(Math.log(3) / 2))
  expect([tree.select(ucb(1e-16)), select(nodes, 3, ucb(1e-16))]).toEqual([1, 1])
})

test('a node without a score is taken only when there is nothing else', () => {
  const tree = new Tree()
  tree.insert(Number.NaN)
  expect(tree.select(ucb(2))).toBe(0)
  tree.insert(0)
  expect(tree.select(ucb(2))).toBe(1)
  expect(tree.select({ kind: 'best' })).toBe(1)
})

test('a pruned node is never selected, and an empty tree selects nothing', () => {
  const tree = new Tree()
  expect(tree.select(ucb(1))).toBeUndefined()
  tree.insert(0.9)
  tree.insert(0.1)
  tree.prune(0)
  expect(tree.select({ kind: 'best' })).toBe(1)
  tree.prune(1)
  for (const selection of [ucb(1), { kind: 'best' }, { kind: 'newest' }] as const) expect(tree.select(selection)).toBeUndefined()
})

test('an unknown id is refused', () => {
  const tree = new Tree()
  expect(() => tree.visit(0)).toThrow('no node 0 (have: 0)')
  expect(() => tree.prune(3)).toThrow(RangeError)
})

const steps = fc.array(
  fc.oneof(
    // Coarse means make ties; 0.1 + 0.2 and 0.3 round to one value once a bonus is added.
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('insert' as const),
        mean: fc.constantFrom(0, 0.25, 0.3, 0.1 + 0.2, 0.5, 1, Number.NaN),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('visit' as const), at: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('prune' as const), at: fc.nat() }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('pick' as const),
        by: fc.constantFrom(ucb(0), ucb(0.1), ucb(2), { kind: 'best' } as const),
      }),
    },
  ),
  { maxLength: 120 },
)

test('the index selects what the rule over plain arrays selects, after any inserts, visits and prunes', () => {
  fc.assert(
    fc.property(steps, (sequence) => {
      const tree = new Tree()
      const nodes: { mean: number; visits: number; pruned: boolean }[] = []
      let picks = 0
      const visit = (id: number): void => {
        tree.visit(id)
        nodes[id]!.visits++
        picks++
      }
      for (const step of sequence) {
        if (step.do === 'insert')
          expect(tree.insert(step.mean)).toBe(nodes.push({ mean: step.mean, visits: 0, pruned: false }) - 1)
        else if (step.do === 'pick') {
          const id = tree.select(step.by)
          if (id !== undefined) visit(id)
        } else if (nodes.length > 0) {
          const id = step.at % nodes.length
          if (step.do === 'visit') visit(id)
          else {
            tree.prune(id)
            nodes[id]!.pruned = true
          }
        }
        for (const by of [ucb(0.1), ucb(2), { kind: 'best' }, { kind: 'newest' }] as const) {
          expect(tree.select(by)).toBe(select(nodes, picks, by))
        }
      }
      expect([tree.size, tree.picks]).toEqual([nodes.length, picks])
    }),
    { seed: 1, numRuns: 300 },
  )
})
