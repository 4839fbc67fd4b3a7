// Finch: evaluations a second, and how far scripted editors come on the way from the seed context to the perfect editor's. Every number: in
// Finch (simulated). Usage: node benchmarks/finch.ts [COMPANIES] [SET]    defaults: 6 dev
import { checked, type Evolver } from '../src/core/evolver.ts'
import type { Node } from '../src/core/observation.ts'
import { mean } from '../src/core/score.ts'
import { evolve } from '../src/evolve.ts'
import { demonstrator, finchWriter } from '../src/recipes/finch.ts'
import { finchActor } from '../src/tasks/finch/actor.ts'
import { type Company, type CompanyOptions, createCompany } from '../src/tasks/finch/company.ts'
import { type SetName, setNames } from '../src/tasks/finch/domains.ts'
import { perfectNotes } from '../src/tasks/finch/editors.ts'
import { finchHash } from '../src/tasks/finch/hash.ts'
import { expectedScore, sampledScore } from '../src/tasks/finch/reward.ts'
import { finchTask } from '../src/tasks/finch/task.ts'
import { copy } from './copier.ts'
import { cpuSince, head, load, row } from './table.ts'

const count = Number(process.argv[2] ?? 6)
const set = setNamed(process.argv[3] ?? 'dev')
const rounds = 25
const marks = [1, 3, 10, rounds]

const copier: Evolver = {
  name: 'simulated:finch-copier',
  async propose(o, call) {
    return checked(finchWriter().read(copy(o), o), call.check)
  },
}

const arms = [
  { name: 'demonstrator, chain', editor: demonstrator(), method: 'chain' },
  { name: 'demonstrator, tree', editor: demonstrator(), method: 'lse' },
  { name: 'copier, chain', editor: copier, method: 'chain' },
  { name: 'copier, tree', editor: copier, method: 'lse' },
] as const

function setNamed(name: string): SetName {
  const found = setNames.find((n) => n === name)
  if (found === undefined || !(count >= 2))
    throw new Error(`usage: node benchmarks/finch.ts [COMPANIES ≥ 2] [${setNames.join(' | ')}]`)
  return found
}

const onTest = (company: Company, notes: string): number => expectedScore(company, notes, { split: 'test' })

/** True score of the best node by holdout after so many rounds. */
function after(company: Company, nodes: readonly Node[], round: number): number {
  const best = nodes.filter((n) => n.round <= round).reduce((a, b) => (b.score.mean > a.score.mean ? b : a))
  return onTest(company, String(best.context.notes))
}

async function road(of: CompanyOptions, arm: (typeof arms)[number]): Promise<readonly number[]> {
  using company = createCompany(of)
  const run = evolve({
    task: finchTask(of),
    model: finchActor(),
    evolver: arm.editor.propose,
    method: arm.method,
    rounds,
    seed: of.seed,
    choice: 'mean',
    folds: 0,
    store: 'memory',
  })
  await run.result
  const { nodes } = run.progress()!.state // it has run
  return marks.map((round) => after(company, nodes, round))
}

function speed(): void {
  const made = process.cpuUsage()
  const companies = Array.from({ length: 8 }, (_, i) => createCompany({ set: 'train', seed: i }))
  console.log(`a company is made in ${(cpuSince(made) / 8).toFixed(0)} ms of CPU`)
  const notes = (c: Company, n: number): string =>
    c.conventions
      .slice(0, n)
      .map((k) => `${k.word.text}: ${k.meaning}`)
      .join('\n')
  const rate = (name: string, score: (c: Company, i: number) => number): void => {
    const from = process.cpuUsage()
    for (let i = 0; i < 100; i++) for (const c of companies) score(c, i)
    console.log(`${name}: ${Math.round(800 / (cpuSince(from) / 1000))} contexts a second of CPU, 50 problems each`)
  }
  rate('expected, first', (c, i) => expectedScore(c, notes(c, i % 14)))
  rate('expected, warm', (c, i) => expectedScore(c, notes(c, i % 14)))
  rate('sampled, warm', (c, i) => sampledScore(c, notes(c, i % 14), { seed: i }))
}

async function table(): Promise<void> {
  const companies = Array.from({ length: count }, (_, i): CompanyOptions => ({ set, seed: 100 + i }))
  const ends = companies.map((of) => {
    using company = createCompany(of)
    return { seed: onTest(company, company.notes), perfect: onTest(company, perfectNotes(company)) }
  })
  const [low, high] = [mean(ends.map((e) => e.seed)), mean(ends.map((e) => e.perfect))]
  console.log(`${count} companies of the set ${set}; expected score on test: seed ${low.toFixed(3)}, perfect ${high.toFixed(3)}`)
  console.log(head('in Finch (simulated)', ...marks.map((m) => `after ${m}`), 's.e.'))
  for (const arm of arms) {
    const roads: (readonly number[])[] = []
    for (const of of companies) roads.push(await road(of, arm))
    const shares = marks.map((_, k) => roads.map((r, i) => (r[k]! - ends[i]!.seed) / (high - low)))
    const last = shares.at(-1)!
    const error = Math.sqrt(mean(last.map((x) => (x - mean(last)) ** 2)) / Math.max(1, count - 1))
    console.log(row(arm.name, ...shares.map((s) => `${(100 * mean(s)).toFixed(0)} %`), `${(100 * error).toFixed(0)}`))
  }
}

console.log(`Finch ${finchHash()}, load ${load()}`)
speed()
await table()
