// What one edit earns, which is all that a reward of one step sees, beside where the same editor leads in 25 rounds, and beside its gain,
// which counts no harm. Scripted editors write what the actor took wrong, or all that the batch shows, or nothing where the context is full;
// contexts are those of trees that a trained policy grew. In Finch (simulated).
// Usage: node benchmarks/finch-one-edit.ts POLICY [COMPANIES]    POLICY is a checkpoint of lamarck train
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { finchCaption } from '../src/bench/finch-suite.ts'
import { contextText } from '../src/core/context.ts'
import type { Writer } from '../src/core/evolver.ts'
import { type Model, noUsage } from '../src/core/model.ts'
import type { Observation } from '../src/core/observation.ts'
import { gainReward } from '../src/core/reward.ts'
import { mean } from '../src/core/score.ts'
import { meanInterval } from '../src/core/statistics.ts'
import { finchWriter } from '../src/recipes/finch.ts'
import { finchEngine, finchGrammar } from '../src/recipes/finch-policy.ts'
import { type FinchTree, growTree, holdoutScore } from '../src/recipes/finch-tree.ts'
import { endsOf, growAll, sharesOf } from '../src/recipes/train-finch.ts'
import { type Company, createCompany } from '../src/tasks/finch/company.ts'
import { finchHash } from '../src/tasks/finch/hash.ts'
import { finch } from '../src/tasks/finch/parameters.ts'
import { companiesIn } from '../src/tasks/finch/sets.ts'
import { copy, written } from './copier.ts'

const [, , checkpoint, size = '32'] = process.argv
const count = Number(size)
if (checkpoint === undefined || !(count >= 2)) throw new Error('usage: node benchmarks/finch-one-edit.ts POLICY [COMPANIES ≥ 2]')

const seed = 1
const marks = [1, 3, 10, 25]
const rounds = 25
const { write: _, ...reader } = finchWriter()

/** What a scripted editor answers. */
type Editor = (o: Observation) => string

/** Scripted editors, by which words of the batch they write. */
const editors: Readonly<Record<string, Editor>> = {
  'every word of the batch': (o) => written(o, () => true),
  'words that were taken wrong': copy,
  'every word, none once it is full': (o) => written(o, () => fillOf(contextText(o.node.context)) !== full),
}

/** An editor as a policy: its prompt is what it will answer. */
function scripted(editor: Editor): { readonly writer: Writer; readonly policy: Model } {
  return {
    writer: { ...reader, write: (o) => [{ role: 'user', content: editor(o) }] },
    policy: {
      name: 'simulated:finch-script',
      sample: async ([message]) => [{ text: message!.content, finish: 'stop', usage: noUsage }], // the writer's one message
    },
  }
}

/** Change of the expected holdout score by one edit of each state of a tree, by how full the context is. */
function earnedIn(tree: FinchTree, editor: Editor): ReadonlyMap<string, readonly number[]> {
  const earned = tree.asked.map(({ observation: o }) => {
    const edit = reader.read(editor(o), o)
    const score = (notes: string): number => holdoutScore(tree.company, notes, { reward: 'expected', seed })
    const before = contextText(o.node.context)
    const after = edit.kind === 'edit' ? score(String(edit.context.notes)) : undefined
    return { fill: fillOf(before), change: after === undefined ? 0 : after - o.node.score.mean }
  })
  return new Map([...Map.groupBy(earned, (e) => e.fill)].map(([fill, its]) => [fill, its.map((e) => e.change)]))
}

const full = `${finch.lines} lines: full`
const fills = ['up to 7 lines', '8 to 13 lines', full] as const

function fillOf(notes: string): (typeof fills)[number] {
  const lines = notes.split('\n').filter(Boolean).length
  return lines < 8 ? fills[0] : lines < finch.lines ? fills[1] : full
}

function points(values: readonly number[]): string {
  if (values.length < 2) return '–'
  const { mean: at, interval } = meanInterval(values, { within: [-1, 1] })
  const of = (x: number): string => `${x < 0 ? '−' : '+'}${Math.abs(100 * x).toFixed(1)}`
  return `${of(at)} [${of(interval[0])}, ${of(interval[1])}]`
}

function companiesOf(set: 'train' | 'report'): readonly Company[] {
  return companiesIn(set, count, seed).map(createCompany)
}

async function oneEdit(): Promise<readonly (readonly string[])[]> {
  await using engine = await finchEngine({ workers: 1 })
  await engine.load(checkpoint!) // given, or it ended above
  const policy = await engine.policy({ grammar: finchGrammar() })
  const trees = await growAll(companiesOf('train'), policy, { rounds, seed, reward: 'expected' })
  return fills.flatMap((fill) => {
    const changes = Object.values(editors).map((editor) =>
      trees.map((tree) => earnedIn(tree, editor).get(fill) ?? []).filter((its) => its.length > 0),
    )
    return [
      [`${fill}, change`, ...changes.map((each) => points(each.map(mean)))],
      [`${fill}, gain`, ...changes.map((each) => points(each.map((its) => mean(its.map((change) => gainReward(0, change))))))],
    ]
  })
}

async function roads(): Promise<readonly (readonly string[])[]> {
  const companies = companiesOf('report')
  const ends = companies.map((company) => endsOf(company))
  return Promise.all(
    Object.entries(editors).map(async ([name, editor]) => {
      const { writer, policy } = scripted(editor)
      const grow = (company: Company): Promise<FinchTree> =>
        growTree(company, policy, writer, { rounds, seed, reward: 'sampled' })
      const shares = sharesOf(await Promise.all(companies.map(grow)), ends, rounds)
      return [name, ...marks.map((r) => `${(100 * mean(shares.map((s) => s[r]!))).toFixed(1)} %`)]
    }),
  )
}

const result = {
  title: `What one edit earns, and where it leads, ${finchCaption}`,
  command: `node benchmarks/finch-one-edit.ts POLICY ${count}`,
  finch: finchHash(),
  tables: [
    {
      caption: `Points of expected holdout score that one edit of a scripted editor earns, in the contexts that trees of a trained policy chose to edit, a mean over ${count} training companies [95 %]: the change, and the gain, for which a change for the worse counts as none. By the change, an editor that stops once the context is full is the better one there:`,
      columns: [finchCaption, ...Object.keys(editors)],
      rows: await oneEdit(),
    },
    {
      caption: `The same editors in the tree, as shares of the way to the perfect editor after so many edits, ${count} companies of the set report, the best by a sampled holdout. It is the order of the gains, since the tree goes on from the parent where an edit did harm:`,
      columns: [finchCaption, ...marks.map((m) => `after ${m}`)],
      rows: await roads(),
    },
  ],
}
const file = join(import.meta.dirname, 'results/finch-one-edit.json')
writeFileSync(file, `${JSON.stringify(result, undefined, 2)}\n`)
for (const { columns, rows } of result.tables) console.log([columns, ...rows].map((cells) => cells.join(' | ')).join('\n'))
