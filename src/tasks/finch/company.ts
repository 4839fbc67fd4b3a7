// One company: its domain, its database, what its words mean there, and questions with gold SQL, some of it wrong. All from a seed.
import type { DatabaseSync } from 'node:sqlite'
import { ConfigError } from '../../core/errors.ts'
import { rng, shuffle } from '../../core/rng.ts'
import { execute, openDatabase } from './database.ts'
import { type Domain, domains, domainsIn, kinds, type SetName } from './domains.ts'
import { ruleText } from './notes.ts'
import { finch } from './parameters.ts'
import { type Asked, asksAbout, baseOf, onlys, questionSql, questionText } from './questions.ts'
import { fragments, plausible, type Word, words } from './words.ts'

export interface CompanyOptions {
  readonly set: SetName
  readonly seed: number
  /** Name of a domain of the set; left out: the seed picks one. */
  readonly domain?: string | undefined
  /** Problems of the holdout; those beyond the usual ones are made last, so that all others stay as they are. */
  readonly holdout?: number
}

/** What a word means here, out of what it might. */
export interface Convention {
  readonly word: Word
  readonly meaning: string
  readonly plausible: readonly string[]
  /** Share of all uses of words. */
  readonly use: number
}

export type ProblemSplit = keyof typeof finch.questions

export interface Problem {
  readonly id: string
  readonly asked: Asked
  readonly question: string
  /** Gold SQL. */
  readonly gold: string
}

export interface Company extends Disposable {
  /** "finch:dev:library:12". */
  readonly name: string
  readonly set: SetName
  readonly domain: Domain
  readonly seed: number
  /** The most used word first. */
  readonly conventions: readonly Convention[]
  /** Text of the seed context. */
  readonly notes: string
  problems(split: ProblemSplit): readonly Problem[]
  problem(id: string): Problem
  /** Whether the words of a problem, taken to mean these fragments (by index into `fragments`), give the gold's rows. Executed once. */
  isRight(problem: Problem, meanings: readonly number[]): boolean
}

/** Problems of a holdout at most: a company has not many more questions than that. */
const mostHoldout = 1000

/** @throws {ConfigError} for a domain that the set does not have, or a holdout smaller than the usual one or too large. */
export function createCompany({ set, seed, domain: wanted, holdout = finch.questions.holdout }: CompanyOptions): Company {
  const { holdout: least } = finch.questions
  if (!(Number.isInteger(holdout) && holdout >= least && holdout <= mostHoldout))
    throw new ConfigError(`finch: a holdout of ${holdout} problems (give a whole number from ${least} to ${mostHoldout})`)
  const domain = wanted === undefined ? pick(domainsIn(set), rng('finch', 'domain', set, seed)) : domainOf(set, wanted)
  const name = `finch:${set}:${domain.name}:${seed}`
  const db = openDatabase(domain, seed)
  const conventions = conventionsOf(domain, rng(name, 'conventions'))
  const problems = problemsOf(db, { name, domain, conventions, holdout })
  const all = new Map(Object.values(problems).flatMap((list) => list.map((problem) => [problem.id, problem] as const)))
  const tables = new Map<Problem, Uint8Array>()
  const golds = new Map<Problem, string | undefined>()
  return {
    name,
    set,
    domain,
    seed,
    conventions,
    notes: staleNotes(conventions, rng(name, 'stale')),
    problems: (split) => problems[split],
    problem(id) {
      const found = all.get(id)
      if (!found) throw new ConfigError(`no problem "${id}" in ${name}`)
      return found
    },
    isRight(problem, meanings) {
      let table = tables.get(problem)
      if (!table) {
        table = new Uint8Array(fragments.length ** problem.asked.words.length)
        tables.set(problem, table)
      }
      let at = 0
      for (const meaning of meanings) at = at * fragments.length + meaning
      table[at] ||= givesGold(problem, meanings) ? 2 : 1
      return table[at] === 2
    },
    [Symbol.dispose]: () => db.close(),
  }

  function givesGold(problem: Problem, meanings: readonly number[]): boolean {
    if (!golds.has(problem)) golds.set(problem, digestOf(db, problem.gold))
    const sql = questionSql(
      problem.asked,
      meanings.map((m) => fragments[m]!),
    )
    return sql === problem.gold || digestOf(db, sql) === golds.get(problem)
  }
}

/** Undefined for SQL that does not run; a gold always does. */
function digestOf(db: DatabaseSync, sql: string): string | undefined {
  const result = execute(db, sql)
  return result.kind === 'rows' ? result.digest : undefined
}

function domainOf(set: SetName, name: string): Domain {
  const found = domainsIn(set).find((domain) => domain.name === name)
  if (found) return found
  const other = domains.find((domain) => domain.name === name)
  const why = other ? `it belongs to the set ${other.set}` : `have: ${domainsIn(set).map((d) => d.name)}`
  throw new ConfigError(`finch: no domain "${name}" in the set ${set} (${why})`)
}

function conventionsOf(domain: Domain, draw: () => number): readonly Convention[] {
  const its = kinds.filter((kind) => domain[kind] !== undefined)
  const usable = shuffle(
    [...words.values()].filter((word) => its.includes(word.kind)),
    draw,
  ).slice(0, finch.conventions)
  const uses = usable.map((_, k) => (k + 1) ** -finch.zipf)
  const total = uses.reduce((a, b) => a + b, 0)
  return usable.map((word, k) => {
    const possible = plausible(domain, word)
    return { word, meaning: pick(possible, draw), plausible: possible, use: uses[k]! / total }
  })
}

/** Rules that somebody left, most of them wrong by now. */
function staleNotes(conventions: readonly Convention[], draw: () => number): string {
  const its = shuffle(conventions, draw).slice(0, finch.stale.lines)
  return its
    .map(({ word, meaning, plausible: possible }) =>
      ruleText(word.text, draw() < finch.stale.right ? meaning : other(possible, meaning, draw)),
    )
    .join('\n')
}

interface Making {
  readonly name: string
  readonly domain: Domain
  readonly conventions: readonly Convention[]
  readonly holdout: number
}

/** Questions whose gold gives something, none asked twice over all splits. */
function problemsOf(db: DatabaseSync, making: Making): Readonly<Record<ProblemSplit, readonly Problem[]>> {
  const draw = rng(making.name, 'questions')
  const had = new Set<string>()
  const make = (split: ProblemSplit, to: number = finch.questions[split], from: readonly Problem[] = []): readonly Problem[] => {
    const list = [...from]
    while (list.length < to) {
      const { asked, meanings } = ask(making, draw)
      const question = questionText(asked)
      const isWrong = split !== 'test' && draw() < finch.wrongGold
      const gold = questionSql(asked, isWrong ? mistaken(making.domain, asked.words, { meanings, draw }) : meanings)
      if (had.has(question) || isEmpty(db, gold)) continue
      had.add(question)
      list.push({ id: `${split}-${list.length + 1}`, asked, question, gold })
    }
    return list
  }
  const usual = { train: make('train'), holdout: make('holdout'), test: make('test') }
  return { ...usual, holdout: make('holdout', making.holdout, usual.holdout) }
}

function isEmpty(db: DatabaseSync, sql: string): boolean {
  const result = execute(db, sql)
  return result.kind === 'error' || result.rows === 0 || ['0', 'NULL'].includes(result.preview[0]!)
}

function ask({ domain, conventions }: Making, draw: () => number): { asked: Asked; meanings: readonly string[] } {
  const count = 1 + chosen(finch.words, draw)
  const its = new Set<Convention>()
  while (its.size < count)
    its.add(
      conventions[
        chosen(
          conventions.map((c) => c.use),
          draw,
        )
      ]!,
    )
  const order = ['events', 'people', 'items']
  const read = [...its].sort((a, b) => order.indexOf(a.word.kind) - order.indexOf(b.word.kind))
  const of = { domain, words: read.map((c) => c.word) }
  const base = baseOf(of)
  const narrow = onlys(base)
  const only = narrow.length > 0 && draw() < finch.narrowed ? { only: pick(narrow, draw) } : {}
  return { asked: { ...of, ask: pick(asksAbout(domain, base), draw), ...only }, meanings: read.map((c) => c.meaning) }
}

/** The meanings with one of them mistaken for another that one could think of. */
function mistaken(
  domain: Domain,
  its: readonly Word[],
  { meanings, draw }: { readonly meanings: readonly string[]; readonly draw: () => number },
): readonly string[] {
  const at = Math.floor(draw() * its.length)
  return meanings.map((meaning, i) => (i === at ? other(plausible(domain, its[i]!), meaning, draw) : meaning))
}

/** An index, in proportion to its weight; the weights sum to 1. */
function chosen(weights: readonly number[], draw: () => number): number {
  let left = draw()
  for (let i = 0; i < weights.length; i++) {
    left -= weights[i]!
    if (left < 0) return i
  }
  return weights.length - 1
}

function pick<T>(values: readonly T[], draw: () => number): T {
  return values[Math.floor(draw() * values.length)]!
}

function other(values: readonly string[], than: string, draw: () => number): string {
  return pick(
    values.filter((value) => value !== than),
    draw,
  )
}
