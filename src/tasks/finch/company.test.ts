import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ConfigError } from '../../core/errors.ts'
import { mean } from '../../core/score.ts'
import { type Company, createCompany } from './company.ts'
import { execute, openDatabase } from './database.ts'
import { domains, domainsIn, kinds, setNames } from './domains.ts'
import { readRule } from './notes.ts'
import { finch } from './parameters.ts'
import { questionSql, questionText, readQuestion } from './questions.ts'
import { companiesIn } from './sets.ts'
import { fragments, fragmentsOf, meaningsIn, words } from './words.ts'

const splits = ['train', 'holdout', 'test'] as const

const pairsOf = ({ conventions, notes }: Company): string[] => [
  ...conventions.flatMap(({ word, plausible }) => plausible.map((meaning) => `${word.text}: ${meaning}`)),
  ...notes.split('\n'),
]

/** The meanings that the conventions give the words of a problem. */
const meant = (company: Company, problem: ReturnType<Company['problem']>): string[] =>
  problem.asked.words.map((word) => company.conventions.find((c) => c.word === word)!.meaning)

test('there are at least twelve domains, whose tables have names of their own', () => {
  expect(domains.length).toBeGreaterThanOrEqual(12)
  for (const set of setNames) expect(domainsIn(set).length).toBeGreaterThanOrEqual(4)
  const nouns = domains.flatMap((d) => [d.people, d.events, ...(d.items ? [d.items] : []), ...(d.places ? [d.places] : [])])
  expect(new Set(nouns).size).toBe(nouns.length)
  expect(nouns.filter((noun) => words.has(noun))).toEqual([])
})

test('in every domain every condition runs and picks out some rows, not all', () => {
  for (const domain of domains) {
    const db = openDatabase(domain, 1)
    for (const kind of kinds) {
      if (domain[kind] === undefined) continue
      for (const fragment of fragmentsOf[kind]) {
        const result = execute(db, `SELECT id FROM ${domain[kind]} WHERE ${fragment}`)
        const rows = result.kind === 'rows' ? result.rows : result.message
        expect(rows, `${domain.name}: ${fragment}`).toBeGreaterThan(0)
        expect(rows).toBeLessThan(finch.rows[kind])
      }
    }
    db.close()
  }
})

test('a company is the same when made again, and another with another seed', () => {
  using a = createCompany({ set: 'train', seed: 5 })
  using b = createCompany({ set: 'train', seed: 5 })
  using c = createCompany({ set: 'train', seed: 6, domain: a.domain.name })
  for (const split of splits) expect(b.problems(split)).toEqual(a.problems(split))
  expect(b.notes).toBe(a.notes)
  expect(c.conventions).not.toEqual(a.conventions)
})

test('a larger holdout begins as the usual one, and nothing else changes; a smaller or endless one is refused', () => {
  using usual = createCompany({ set: 'report', seed: 5 })
  using large = createCompany({ set: 'report', seed: 5, holdout: 200 })
  expect(large.problems('holdout')).toHaveLength(200)
  expect(large.problems('holdout').slice(0, finch.questions.holdout)).toEqual(usual.problems('holdout'))
  for (const split of ['train', 'test'] as const) expect(large.problems(split)).toEqual(usual.problems(split))
  expect([large.conventions, large.notes]).toEqual([usual.conventions, usual.notes])
  const all = splits.flatMap((split) => large.problems(split))
  for (const of of ['id', 'question'] as const) expect(new Set(all.map((p) => p[of])).size).toBe(500)
  for (const holdout of [49, 50.5, Number.NaN, 1001, 1e9]) {
    expect(() => createCompany({ set: 'report', seed: 5, holdout })).toThrow(
      `a holdout of ${holdout} problems (give a whole number from 50 to 1000)`,
    )
  }
})

test('a domain of another set is refused', () => {
  expect(() => createCompany({ set: 'train', seed: 1, domain: 'airline' })).toThrow(ConfigError)
  expect(() => createCompany({ set: 'train', seed: 1, domain: 'airline' })).toThrow(/belongs to the set report/)
  expect(() => createCompany({ set: 'train', seed: 1, domain: 'moon' })).toThrow(/have: shop/)
})

test('no pair of a word and a meaning of training occurs in dev or report, nor any of dev in report', () => {
  for (const word of words.values()) {
    const all = setNames.flatMap((set) => meaningsIn(set, word))
    expect(new Set(all).size).toBe(all.length)
  }
  fc.assert(
    fc.property(fc.nat(1e6), fc.constantFrom(['train', 'dev'], ['train', 'report'], ['dev', 'report'] as const), (seed, of) => {
      const [a, b] = of.map((set) => companiesIn(set as 'train', 4, seed)) as [ReturnType<typeof companiesIn>, never]
      const pairs = (list: typeof a): string[] =>
        list.flatMap((options) => {
          using company = createCompany(options)
          return pairsOf(company)
        })
      const known = new Set(pairs(a))
      expect(pairs(b).filter((pair) => known.has(pair))).toEqual([])
      expect(a.filter((x) => (b as typeof a).some((y) => y.seed === x.seed || y.domain === x.domain))).toEqual([])
    }),
    { numRuns: 4 },
  )
})

test('every gold runs and gives something, no question comes twice, and its text leads back to it', () => {
  for (const options of companiesIn('dev', 4)) {
    using company = createCompany(options)
    const db = openDatabase(company.domain, company.seed)
    const problems = splits.flatMap((split) => company.problems(split))
    expect(new Set(problems.map((p) => p.question)).size).toBe(problems.length)
    for (const { asked, question, gold } of problems) {
      const result = execute(db, gold)
      expect(result.kind === 'rows' && result.rows).toBeGreaterThan(0)
      expect(readQuestion(question)).toEqual(asked)
      expect(asked.words.length).toBeLessThanOrEqual(3)
    }
    db.close()
  }
})

test('about as many golds as planned take a word in another meaning, and none on test', () => {
  const companies = companiesIn('report', 8).map((options) => createCompany(options))
  const share = (split: (typeof splits)[number]): number =>
    mean(
      companies.flatMap((company) =>
        company.problems(split).map((p) => Number(p.gold !== questionSql(p.asked, meant(company, p)))),
      ),
    )
  expect(share('test')).toBe(0)
  const s = share('train') // 1,600 questions: standard error 0.006
  expect(Math.abs(s - finch.wrongGold)).toBeLessThan(0.02)
  for (const company of companies) company[Symbol.dispose]()
})

test('a question is right under exactly the meanings that give the same rows', () => {
  using company = createCompany({ set: 'dev', seed: 3 })
  const db = openDatabase(company.domain, company.seed)
  const digest = (sql: string): string => {
    const result = execute(db, sql)
    return result.kind === 'rows' ? result.digest : 'error'
  }
  for (const problem of company.problems('holdout').filter((p) => p.asked.words.length === 1)) {
    for (const [i, fragment] of fragments.entries()) {
      const same = digest(questionSql(problem.asked, [fragment])) === digest(problem.gold)
      expect(company.isRight(problem, [i])).toBe(same)
      expect(company.isRight(problem, [i])).toBe(same) // remembered
    }
  }
  db.close()
})

test('one batch shows only a part of the conventions, and the context has no room for all', () => {
  using company = createCompany({ set: 'train', seed: 2 })
  const seen = new Set(
    company
      .problems('train')
      .slice(0, 10)
      .flatMap((p) => p.asked.words),
  )
  expect(seen.size).toBeLessThan(company.conventions.length * 0.75)
  expect(finch.lines).toBeLessThan(company.conventions.length)
})

test('the seed context is short and consists of rules for words of the company', () => {
  using company = createCompany({ set: 'train', seed: 2 })
  const rules = company.notes.split('\n').map(readRule)
  expect(rules).toHaveLength(finch.stale.lines)
  for (const rule of rules) expect(company.conventions.map((c) => c.word.text)).toContain(rule?.words[0])
})

test('a text that is no question of Finch is not understood', () => {
  expect(readQuestion('How many moons are there?')).toBeUndefined()
  expect(readQuestion('How many late orders by nobody are there?')).toBeUndefined()
  expect(questionText(readQuestion('How many late orders by loyal customers in 2025 are there?')!)).toContain('loyal customers')
})
