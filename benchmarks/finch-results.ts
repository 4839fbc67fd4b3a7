// What trained policies do on companies that no training saw: both actors, tree and chain, after 1, 3, 10 and 25 rounds, beside the policy
// they began as. Every number: in Finch (simulated). Scores are shares of the way from the seed context to where the perfect editor ends:
// expected score on test of the best node by a sampled holdout. Evaluations that were made are kept in .lamarck/finch-results.jsonl, by the
// content of the checkpoint, and not made again. What OUT holds of the same Finch and warm start stays, trainings whose folders are gone too.
// Usage: node benchmarks/finch-results.ts FOLDER [COMPANIES] [OUT]    FOLDER holds one folder a training, as lamarck train --out writes it
import { execFileSync } from 'node:child_process'
import { hash } from 'node:crypto'
import { appendFileSync, existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Context } from '../src/core/context.ts'
import { checked } from '../src/core/evolver.ts'
import type { Model } from '../src/core/model.ts'
import { mean } from '../src/core/score.ts'
import type { Selection } from '../src/core/tree.ts'
import { finchViolation, finchWriter } from '../src/recipes/finch.ts'
import { finchEngine, finchGrammar, policyParams, warmStartFile } from '../src/recipes/finch-policy.ts'
import { endsOf, growAll, readFacts, sharesOf, type TrainFinchSettings } from '../src/recipes/train-finch.ts'
import { createCompany } from '../src/tasks/finch/company.ts'
import type { Format } from '../src/tasks/finch/editors.ts'
import { finchHash } from '../src/tasks/finch/hash.ts'
import { type ActorName, actorNames } from '../src/tasks/finch/parameters.ts'
import { companiesIn } from '../src/tasks/finch/sets.ts'
import { chosenRate } from './chosen-rate.ts'

/** A training, as its facts tell it. */
export interface Training {
  readonly name: string
  readonly arm: string
  readonly settings: TrainFinchSettings
  /** Share of the way on development companies. */
  readonly looks: readonly (readonly [step: number, dev: number])[]
  readonly best: { readonly step: number; readonly dev: number }
  readonly why: string
  /** As the shell's `time` said, where a file `log` beside the facts ends with it. */
  readonly seconds?: { readonly wall: number; readonly cpu: number }
}

/** One policy on all companies by one search. */
export interface Evaluation {
  /** Name of its training; the policy that trainings begin with is "untrained". */
  readonly policy: string
  readonly seed: number
  readonly actor: ActorName
  readonly search: string
  readonly rounds: readonly number[]
  /** [company][rounds] */
  readonly shares: readonly (readonly number[])[]
  readonly invalid: number
}

export interface FinchTraining {
  readonly kind: 'finch-training'
  readonly caption: string
  readonly finch: string
  readonly commit: string
  readonly command: string
  readonly made: Readonly<Record<string, string>>
  readonly settings: Readonly<Record<string, unknown>>
  /** Expected scores on test, a mean over companies. */
  readonly ends: Readonly<Record<ActorName, { readonly seed: number; readonly perfect: number }>>
  readonly trainings: readonly Training[]
  readonly evaluations: readonly Evaluation[]
  /** Edits that could be used, of 2,048 drawn for prompts of the policy's own trees: by the grammar, as it evolves, and freely, as it learns. */
  readonly valid: readonly { readonly policy: string; readonly valid: number; readonly freely: number; readonly of: number }[]
}

/** The untrained policy drawn more greedily: what it comes to without learning anything. */
const sharpened = { policy: 'untrained, drawn at temperature 0.4', temperature: 0.4 } as const
const marks = [1, 3, 10, 25]
const long = 200
const [, , folder, size = '32', out = join(import.meta.dirname, 'results/finch-training.json')] = process.argv
const count = Number(size)
if (folder === undefined || !(count >= 2)) throw new Error('usage: node benchmarks/finch-results.ts FOLDER [COMPANIES] [OUT]')

const tree: Selection = { kind: 'ucb', c: 0.1 }
const chain: Selection = { kind: 'newest' }
const nameOf = (s: Selection): string => (s.kind === 'ucb' ? `tree, c = ${s.c}` : s.kind === 'newest' ? 'chain' : s.kind)

const had = earlier()
const found = globSync(join(folder, '*', 'policy.safetensors')).map((file) => trainingIn(dirname(file)))
const isHere = (policy: string): boolean => found.some((t) => t.name === policy)
const gone = had?.trainings.filter((t) => !isHere(t.name)) ?? []
const trainings = [...found, ...gone].sort((a, b) => (a.name < b.name ? -1 : 1))
const picked = chosenOf(trainings)
const companies = companiesIn('report', count, 1).map(createCompany)
const ends = Object.fromEntries(actorNames.map((actor) => [actor, companies.map((company) => endsOf(company, actor))]))
const keptIn = join('.lamarck', 'finch-results.jsonl')
mkdirSync('.lamarck', { recursive: true })
const kept = new Map(existsSync(keptIn) ? readFileSync(keptIn, 'utf8').trim().split('\n').map(keyed) : [])
await using engine = await finchEngine({ workers: Math.min(2, availableParallelism()) })

const evaluations: Evaluation[] = []
const valid: { policy: string; valid: number; freely: number; of: number }[] = []
const seeds = [...new Set(picked.map((t) => t.settings.seed))].sort((a, b) => a - b)
for (const seed of seeds) await everywhere('untrained', warmStartFile, { seed })
for (const seed of seeds) await everywhere(sharpened.policy, warmStartFile, { seed, temperature: sharpened.temperature })
for (const { name, settings } of picked) await everywhere(name, join(folder, name, 'policy.safetensors'), settings)
await validOf('untrained', warmStartFile)
for (const { name, settings } of picked) await validOf(name, join(folder, name, 'policy.safetensors'), settings.writer)
for (const seed of seeds) {
  const of = { policy: 'untrained', checkpoint: warmStartFile, seed, actor: 'finch-actor' } as const
  for (const c of [0, 0.5, 1, 2]) await evaluate({ ...of, selection: { kind: 'ucb', c } })
}
for (const seed of seeds.slice(0, 2)) {
  const of = { policy: 'untrained', checkpoint: warmStartFile, seed, actor: 'finch-actor' } as const
  for (const selection of [tree, chain]) await evaluate({ ...of, selection, rounds: long })
}

const git = (...args: string[]): string => execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim()
const round = (x: number): number => Number(x.toFixed(4))
const result: FinchTraining = {
  kind: 'finch-training',
  caption: 'in Finch (simulated)',
  finch: finchHash(),
  commit: git('rev-parse', '--short=12', 'HEAD'),
  command: `node benchmarks/finch-results.ts FOLDER ${count}`,
  made: { node: process.version, machine: `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores` },
  settings: { set: 'report', companies: count, marks, reward: 'sampled', test: 'expected', warmStart: short(warmStartFile) },
  ends: Object.fromEntries(
    actorNames.map((actor) => [
      actor,
      { seed: round(mean(ends[actor]!.map((e) => e.low))), perfect: round(mean(ends[actor]!.map((e) => e.high))) },
    ]),
  ) as FinchTraining['ends'], // a key an actor
  trainings,
  evaluations: [...evaluations, ...(had?.evaluations ?? []).filter((e) => !evaluations.some((own) => isSame(own, e)))],
  valid: [...valid, ...(had?.valid ?? []).filter((v) => !valid.some((own) => own.policy === v.policy))],
}
mkdirSync(dirname(out), { recursive: true })
writeFileSync(out, lined(result))
console.log(`${out}: ${trainings.length} trainings, ${picked.length} evaluated`)

/** The record that is there already, if it is of the same Finch, companies and warm start. */
function earlier(): FinchTraining | undefined {
  if (!existsSync(out)) return undefined
  const record = JSON.parse(readFileSync(out, 'utf8')) as FinchTraining // written below
  const { settings } = record
  const isOurs = record.finch === finchHash() && settings.companies === count && settings.warmStart === short(warmStartFile)
  return isOurs ? record : undefined
}

/** What an evaluation is of. */
type Subject = Pick<Evaluation, 'policy' | 'seed' | 'actor' | 'search' | 'rounds'>

function isSame(a: Subject, b: Subject): boolean {
  const parts = (s: Subject): string => JSON.stringify([s.policy, s.seed, s.actor, s.search, s.rounds.length])
  return parts(a) === parts(b)
}

function trainingIn(at: string): Training {
  const facts = readFacts(join(at, 'facts.jsonl'))
  const set = facts.find((fact) => fact.kind === 'set')
  const end = facts.findLast((fact) => fact.kind === 'ended')
  if (!set || !end) throw new Error(`${at}: the training has not ended`)
  const looks = facts.flatMap((fact) => (fact.kind === 'looked' ? [[fact.step, Number(fact.dev.toFixed(4))] as const] : []))
  const best = looks.find(([step]) => step === end.best.step)!
  const { settings } = set
  const log = existsSync(join(at, 'log')) ? readFileSync(join(at, 'log'), 'utf8') : ''
  const said = (name: string): number => {
    const [, minutes = Number.NaN, rest = Number.NaN] = new RegExp(`${name}\\s+(\\d+)m([\\d.]+)s`).exec(log) ?? []
    return Number(minutes) * 60 + Number(rest)
  }
  const seconds = { wall: Math.round(said('real')), cpu: Math.round(said('user') + said('sys')) }
  return {
    ...{ name: basename(at), arm: armOf(settings), settings, looks, best: { step: best[0], dev: best[1] }, why: end.why },
    ...(seconds.wall > 0 && { seconds }),
  }
}

/** An advantage, and what else is not the recipe's. */
function armOf({ advantage, reward, order, entropy, refresh, lag, writer }: TrainFinchSettings): string {
  return [
    advantage,
    ...(reward === 'sampled' ? ['sampled reward'] : []),
    ...(order === 'random' ? [] : [`${order} first`]),
    ...(entropy > 0 ? [`entropy ${entropy}`] : []),
    ...(refresh > 0 ? [`trees again every ${refresh}`] : []),
    ...(lag === 1 ? ['one step off'] : []),
    ...(writer === 'rewrite' ? ['whole rewrites'] : []),
  ].join(', ')
}

/** The trainings of each arm at its learning rate. */
function chosenOf(all: readonly Training[]): readonly Training[] {
  return [...Map.groupBy(all, (t) => t.arm).values()].flatMap((arm) => {
    const rate = chosenRate(arm)
    return arm.filter((t) => t.settings.learningRate === rate)
  })
}

/** Whose chance, how it writes, and how it is drawn. */
type Of = Pick<TrainFinchSettings, 'seed'> & Partial<Pick<TrainFinchSettings, 'writer'>> & { readonly temperature?: number }

async function everywhere(policy: string, checkpoint: string, of: Of): Promise<void> {
  const { seed, writer = 'lines', temperature = 1 } = of
  for (const actor of actorNames)
    for (const selection of [tree, chain]) await evaluate({ policy, checkpoint, seed, writer, temperature, actor, selection })
}

interface Wanted {
  readonly policy: string
  readonly checkpoint: string
  readonly seed: number
  readonly writer?: Format
  readonly temperature?: number
  readonly actor: ActorName
  readonly selection: Selection
  readonly rounds?: number
}

async function evaluate(wanted: Wanted): Promise<void> {
  const { policy, checkpoint, seed, writer = 'lines', temperature = 1, actor, selection, rounds = 25 } = wanted
  const search = nameOf(selection)
  const at = rounds === long ? Array.from({ length: long }, (_, i) => i + 1) : marks
  const known = had?.evaluations.find((e) => isSame(e, { policy, seed, actor, search, rounds: at }))
  if (known && !isHere(policy)) {
    evaluations.push(known)
    return
  }
  const drawn = temperature === 1 ? {} : { temperature }
  const made = await once({ checkpoint: short(checkpoint), seed, actor, search, rounds, count, ...drawn }, async () => {
    const options = { rounds, seed: 1000 + seed, reward: 'sampled', writer, selection, actor } as const
    const model = await engine.policyAt(checkpoint, { grammar: finchGrammar(writer) })
    const trees = await growAll(companies, { ...model, sample: (m, p, s) => model.sample(m, { ...p, ...drawn }, s) }, options)
    const curves = sharesOf(trees, ends[actor]!, rounds)
    const shares =
      rounds === long ? [at.map((r) => round4(mean(curves.map((c) => c[r]!))))] : curves.map((c) => at.map((r) => round4(c[r]!)))
    return { rounds: at, shares, invalid: round4(mean(trees.map((t) => t.invalid)) / rounds) }
  })
  evaluations.push({ policy, seed, actor, search, ...(made as Pick<Evaluation, 'rounds' | 'shares' | 'invalid'>) }) // made above
  console.log(policy, seed, actor, search, rounds)
}

function round4(x: number): number {
  return Number(x.toFixed(4))
}

async function validOf(policy: string, checkpoint: string, format: Format = 'lines'): Promise<void> {
  const drawn = 2048
  const each = 8
  const known = had?.valid.find((v) => v.policy === policy)
  if (known && !isHere(policy)) {
    valid.push(known)
    return
  }
  const made = await once({ checkpoint: short(checkpoint), drawn, count }, async () => {
    const byGrammar = await engine.policyAt(checkpoint, { grammar: finchGrammar(format) })
    const trees = await growAll(companies, byGrammar, { rounds: 8, seed: 5, reward: 'sampled', writer: format })
    const asked = trees.flatMap((t) => t.asked).slice(0, drawn / each)
    const writer = finchWriter(format)
    const usable = async (model: Model): Promise<number> => {
      const answers = asked.map(async ({ observation, prompt }, i) => {
        const completions = await model.sample(prompt, { ...policyParams, n: each, seed: 1_000_000 + i * each })
        const check = (next: Context): string | undefined => finchViolation(observation.node.context, next)
        const edits = completions.map((c) => checked(writer.read(c.text, observation), check))
        return edits.filter((edit) => edit.kind === 'edit').length
      })
      return (await Promise.all(answers)).reduce((a, b) => a + b, 0)
    }
    return { valid: await usable(byGrammar), freely: await usable(await engine.policyAt(checkpoint)), of: asked.length * each }
  })
  valid.push({ policy, ...(made as { valid: number; freely: number; of: number }) }) // made above
}

/** What was computed for this Finch before, or is now. */
async function once(what: object, compute: () => Promise<object>): Promise<object> {
  const key = JSON.stringify({ finch: finchHash(), ...what })
  const found = kept.get(key) ?? (await compute())
  if (!kept.has(key)) appendFileSync(keptIn, `${JSON.stringify([key, found])}\n`)
  kept.set(key, found)
  return found
}

function keyed(text: string): [string, object] {
  return JSON.parse(text) as [string, object] // written by `once`
}

/** A checkpoint by what is in it. */
function short(file: string): string {
  return hash('sha256', readFileSync(file)).slice(0, 16)
}

/** One training or evaluation a line. */
function lined(of: FinchTraining): string {
  const parts = Object.entries(of).map(([key, value]) => {
    const text = Array.isArray(value) ? `[\n${value.map((one) => JSON.stringify(one)).join(',\n')}\n]` : JSON.stringify(value)
    return `${JSON.stringify(key)}: ${text}`
  })
  return `{\n${parts.join(',\n')}\n}\n`
}
