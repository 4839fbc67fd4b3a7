// Selecting and inserting at 1,000, 10,000 and 100,000 nodes, beside the LSE reference code's tree.
// Usage: node benchmarks/tree.ts [CHECKOUT]    CHECKOUT = https://github.com/chenyn66/learning-to-self-evolve; needs python3 on the path.
import { spawnSync } from 'node:child_process'
import { rng } from '../src/core/rng.ts'
import { Tree } from '../src/core/tree.ts'

const sizes = [1_000, 10_000, 100_000]
const bar = 50 // µs, at the largest size

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!
const microseconds = (from: bigint): number => Number(process.hrtime.bigint() - from) / 1000

/** Medians in µs of a select with its visit, and of an insert, in a tree grown to `size` by both. */
function measure(size: number): { select: number; insert: number } {
  const draw = rng('tree', size)
  const tree = new Tree()
  tree.insert(0.5)
  const selects: number[] = []
  const inserts: number[] = []
  for (let i = 1; i < size + 2000; i++) {
    const start = process.hrtime.bigint()
    tree.visit(tree.select({ kind: 'ucb', c: i % 2 ? 2 : 0.1 })!)
    const middle = process.hrtime.bigint()
    tree.insert(draw())
    if (i < size) continue
    inserts.push(microseconds(middle))
    selects.push(Number(middle - start) / 1000)
  }
  return { select: median(selects), insert: median(inserts) }
}

/** Median of a select in µs where 100,000 picks gave as many distinct visit counts as they can: 447 buckets. */
function worst(size: number): number {
  const draw = rng('worst', size)
  const tree = new Tree()
  for (let i = 0; i < size; i++) tree.insert(draw())
  for (let id = 0; tree.picks < size; id++) for (let v = 0; v < id; v++) tree.visit(id)
  const selects: number[] = []
  for (let i = 0; i < 2000; i++) {
    const start = process.hrtime.bigint()
    tree.select({ kind: 'ucb', c: 0.1 })
    selects.push(microseconds(start))
  }
  return median(selects)
}

const script = `
import importlib.util, json, random, sys, time, types
for n in ('networkx', 'matplotlib', 'matplotlib.pyplot'): sys.modules[n] = types.ModuleType(n)
sys.modules['matplotlib'].pyplot = sys.modules['matplotlib.pyplot']
spec = importlib.util.spec_from_file_location('tree', sys.argv[1] + '/lse/core/tree.py')
module = importlib.util.module_from_spec(spec); sys.modules['tree'] = module; spec.loader.exec_module(module)
random.seed(0)
for size in map(int, sys.argv[2:]):
    t = module.EvolutionTree(selection='ucb', ucb_c=2.0); t.update_node(0, performance=0.5)
    for i in range(size - 1): t.update_node(t.add_node(t.root, '', i, []), performance=random.random())
    t._total_selections = size
    selects, inserts = [], []
    for i in range(15):
        a = time.perf_counter(); node = t.select(); b = time.perf_counter()
        t.update_node(t.add_node(node, '', i, []), performance=random.random()); c = time.perf_counter()
        selects.append(b - a); inserts.append(c - b)
    print(json.dumps([sorted(selects)[7] * 1e6, sorted(inserts)[7] * 1e6]))
`

/** [select, insert] in µs of the reference code for each size; undefined if there is no checkout. */
function reference(checkout: string | undefined): readonly (readonly [number, number])[] | undefined {
  if (checkout === undefined) return undefined
  const { stdout, stderr, status } = spawnSync('python3', ['-c', script, checkout, ...sizes.map(String)], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`the reference code did not run: ${stderr}`)
  // Each line is printed by the script above.
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as [number, number])
}

measure(1_000) // warms the compiler
const theirs = reference(process.argv[2])
if (!theirs) console.log('no checkout of the reference code given: no comparison')
for (const [i, size] of sizes.entries()) {
  const { select, insert } = measure(size)
  const beside = theirs?.[i]
  const ratio = beside
    ? `   reference ${beside[0].toFixed(0)} + ${beside[1].toFixed(1)} µs: select ${(beside[0] / select).toFixed(0)} × faster`
    : ''
  const verdict = i === sizes.length - 1 ? `   bar ${bar} µs: ${Math.max(select, insert) <= bar ? 'met' : 'MISSED'}` : ''
  console.log(`${size} nodes: select ${select.toFixed(1)} µs, insert ${insert.toFixed(1)} µs${ratio}${verdict}`)
}
console.log(`100000 nodes, every visit count there can be: select ${worst(100_000).toFixed(1)} µs`)
