// How far policies lead contexts in Finch, as the share of the way from the seed context to where the perfect editor ends: expected score
// on test of the best node by a sampled holdout. Every number: in Finch (simulated).
// Usage: node benchmarks/finch-policy.ts SET COMPANIES CHECKPOINT...    for example: dev 32 .lamarck/train/policy.safetensors
// Policies that write whole notes: --writer rewrite --from WARM-START
import { parseArgs } from 'node:util'
import { mean } from '../src/core/score.ts'
import { finchEngine, finchGrammar, warmStartFile } from '../src/recipes/finch-policy.ts'
import { endsOf, growAll, sharesOf } from '../src/recipes/train-finch.ts'
import { createCompany } from '../src/tasks/finch/company.ts'
import { setNames } from '../src/tasks/finch/domains.ts'
import { formats } from '../src/tasks/finch/editors.ts'
import { finchHash } from '../src/tasks/finch/hash.ts'
import { companiesIn } from '../src/tasks/finch/sets.ts'
import { head, row } from './table.ts'

const options = { writer: { type: 'string', default: 'lines' }, from: { type: 'string', default: warmStartFile } } as const
const { values, positionals } = parseArgs({ options, allowPositionals: true })
const [wanted, size, ...checkpoints] = positionals
const writer = formats.find((name) => name === values.writer)
const set = setNames.find((name) => name === wanted)
const count = Number(size)
if (!set || !writer || !(count >= 2)) throw new Error('usage: node benchmarks/finch-policy.ts SET COMPANIES [CHECKPOINT...]')

const rounds = 25
const marks = [1, 3, 10, rounds]
const companies = companiesIn(set, count, 1).map(createCompany)
const tree = { kind: 'ucb', c: 0.1 } as const
const searches = [
  { name: 'tree', selection: tree, actor: 'finch-actor' },
  { name: 'chain', selection: { kind: 'newest' }, actor: 'finch-actor' },
  { name: 'tree, the second actor', selection: tree, actor: 'finch-actor-2' },
] as const
await using engine = await finchEngine({ workers: 1 })

/** Mean, and its standard error over companies. */
function shown(values: readonly number[]): string {
  const m = mean(values)
  const error = Math.sqrt(mean(values.map((v) => (v - m) ** 2)) / (values.length - 1))
  return `${(100 * m).toFixed(0)} ± ${(100 * error).toFixed(0)} %`
}

console.log(`Finch ${finchHash()}, ${count} companies of the set ${set}`)
console.log(head('in Finch (simulated)', ...marks.map((m) => `after ${m}`), 'valid edits'))
for (const { name, selection, actor } of searches) {
  const ends = companies.map((company) => endsOf(company, actor))
  const [low, high] = [mean(ends.map((e) => e.low)), mean(ends.map((e) => e.high))]
  for (const checkpoint of [values.from, ...checkpoints]) {
    await engine.load(checkpoint)
    const trees = await growAll(companies, await engine.policy({ grammar: finchGrammar(writer) }), {
      rounds,
      seed: 7,
      reward: 'sampled',
      writer,
      selection,
      actor,
    })
    const shares = sharesOf(trees, ends, rounds)
    const valid = 1 - mean(trees.map((t) => t.invalid)) / rounds
    const label = `${checkpoint === values.from ? 'untrained' : checkpoint}, ${name}`
    console.log(row(label, ...marks.map((m) => shown(shares.map((s) => s[m]!))), `${(100 * valid).toFixed(1)} %`))
  }
  console.log(`${name}: seed ${low.toFixed(3)}, perfect ${high.toFixed(3)}`)
}
