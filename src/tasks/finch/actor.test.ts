import { beforeAll, describe, expect, test } from 'vitest'
import { contextText } from '../../core/context.ts'
import { ConfigError } from '../../core/errors.ts'
import { mean } from '../../core/score.ts'
import { chat } from '../../core/task.ts'
import { tagged } from '../chat.ts'
import { sqlPrompt } from '../sql/sql.ts'
import { chances, favourite, finchActor, type Reading } from './actor.ts'
import { type Company, createCompany } from './company.ts'
import { schemaSql } from './database.ts'
import { readNotes, ruleText } from './notes.ts'
import { actorNames, finch } from './parameters.ts'
import { attempts, expectedScore, rightChances, sampledScore } from './reward.ts'
import { companiesIn } from './sets.ts'

let companies: readonly Company[] = []
beforeAll(() => {
  companies = companiesIn('dev', 16).map((options) => createCompany(options))
})

const rules = (company: Company, count: number): string =>
  company.conventions
    .slice(0, count)
    .map(({ word, meaning }) => ruleText(word.text, meaning))
    .join('\n')

const reading = (company: Company, notes: string, more: Partial<Reading> = {}): Reading => ({
  actor: 'finch-actor',
  domain: company.domain,
  notes: readNotes(notes),
  temperature: finch.temperature,
  ...more,
})

/** Probability that the company's first word is taken for what it means there. */
const knows = (company: Company, notes: string, more: Partial<Reading> = {}): number => {
  const { word, meaning } = company.conventions[0]!
  return chances(reading(company, notes, more), word).get(meaning) ?? 0
}

describe.each(actorNames)('%s', (actor) => {
  test('guesses about 30 % of the words', () => {
    const each = companies.flatMap((company) =>
      company.conventions.map(({ word, meaning }) => chances(reading(company, '', { actor }), word).get(meaning) ?? 0),
    )
    // 384 words, most of them with a chance near 0 or 1: standard error about 0.02
    expect(mean(each)).toBeGreaterThan(0.25)
    expect(mean(each)).toBeLessThan(0.4)
  })

  test('its chances sum to 1 whatever the context', () => {
    for (const notes of ['', rules(companies[0]!, 24), 'late: days > 5\nlate: days <= 2', companies[0]!.notes]) {
      for (const { word } of companies[0]!.conventions) {
        const all = [...chances(reading(companies[0]!, notes, { actor }), word).values()]
        expect(all.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12)
      }
    }
  })

  test('the expected score is the mean of the sampled ones', () => {
    for (const [i, count] of [0, 5, 14, 24].entries()) {
      const company = companies[i]!
      const notes = `${company.notes}\n${rules(company, count)}`
      const expected = expectedScore(company, notes, { actor })
      // 50 problems × 120 draws: a standard error of at most 0.0065
      expect(Math.abs(sampledScore(company, notes, { actor, seed: 1, draws: 120 }) - expected)).toBeLessThan(0.02)
    }
  })

  test("a problem's chance is how often attempts at it are right", () => {
    const company = companies[0]!
    const notes = `${company.notes}\n${rules(company, 5)}`
    const problems = company.problems('holdout').slice(0, 12)
    const draws = Array.from({ length: 1500 }, (_, draw) =>
      attempts(company, notes, { actor, seed: 2, draw, ids: problems.map((p) => p.id) }).map((r) => r.score),
    )
    for (const [i, chance] of rightChances(company, notes, { actor, problems }).entries()) {
      // 1,500 attempts: a standard error of at most 0.013
      expect(Math.abs(mean(draws.map((scores) => scores[i]!)) - chance)).toBeLessThan(0.05)
    }
    const all = rightChances(company, notes, { actor, problems: company.problems('holdout') })
    expect(mean(all)).toBeCloseTo(expectedScore(company, notes, { actor }), 12)
  })

  test('slips more the higher the temperature, and not at all at 0', () => {
    const company = companies[0]!
    const at = (temperature: number): number => mean(companies.map((c) => knows(c, rules(c, 1), { actor, temperature })))
    expect(at(0)).toBeGreaterThan(at(1))
    expect(at(1)).toBeGreaterThan(at(2))
    const notes = rules(company, 8)
    const greedy = [1, 2, 3].map((seed) => sampledScore(company, notes, { actor, seed, temperature: 0 }))
    expect(new Set(greedy).size).toBe(1)
  })

  test('overlooks rules in a long context', () => {
    const noise = Array.from({ length: 60 }, (_, i) => `Remember remark ${i}.`).join('\n')
    for (const company of companies) {
      const rule = rules(company, 1)
      expect(knows(company, `${rule}\n${noise}`, { actor })).toBeLessThan(knows(company, rule, { actor }))
    }
  })

  test('follows a rule that is contradicted less than half as well', () => {
    for (const company of companies) {
      const { word, meaning, plausible } = company.conventions[0]!
      const wrong = plausible.find((m) => m !== meaning)!
      const [right, both] = [ruleText(word.text, meaning), `${ruleText(word.text, meaning)}\n${ruleText(word.text, wrong)}`]
      if (favourite(actor, company.domain, word) === meaning) continue
      expect(knows(company, both, { actor })).toBeLessThan(0.5 * knows(company, right, { actor }))
    }
  })

  test('takes a rule for the word next in meaning, until the word has its own', () => {
    const company = companies.find((c) => c.conventions[0]!.word.near)!
    const { word, plausible } = company.conventions[0]!
    const odd = plausible.find((m) => m !== favourite(actor, company.domain, word))!
    const near = ruleText(word.near, odd)
    const as = (notes: string): number => chances(reading(company, notes, { actor }), word).get(odd) ?? 0
    expect(as(near)).toBeGreaterThan(as('') + 0.1)
    expect(as(`${near}\n${ruleText(word.text, favourite(actor, company.domain, word))}`)).toBeLessThan(as(near))
  })
})

test('true rules help, as far as attention goes', () => {
  const at = (count: number): number => mean(companies.map((c) => expectedScore(c, rules(c, count), { split: 'test' })))
  expect(at(4)).toBeGreaterThan(at(0) + 0.1)
  expect(at(14)).toBeGreaterThan(at(4) + 0.1)
})

test('the second actor guesses other things and has another attention span', () => {
  const differ = companies.flatMap((c) =>
    c.conventions.map(({ word }) => favourite('finch-actor', c.domain, word) !== favourite('finch-actor-2', c.domain, word)),
  )
  expect(differ.filter(Boolean).length / differ.length).toBeGreaterThan(0.5)
  expect(finch.actors['finch-actor-2'].span).not.toBe(finch.actors['finch-actor'].span)
})

test('the model answers as the rewards reckon, between tags, and says that it is simulated', async () => {
  const company = companies[1]!
  const notes = rules(company, 6)
  const ids = company
    .problems('train')
    .slice(0, 5)
    .map((p) => p.id)
  const model = finchActor()
  expect(model.name).toBe('simulated:finch-actor')
  for (const attempt of attempts(company, notes, { ids, seed: 4 })) {
    const { question } = company.problem(attempt.exampleId)
    const messages = chat({ notes }, sqlPrompt(schemaSql(company.domain), question))
    const [a, b] = await model.sample(messages, { maxTokens: 300, temperature: finch.temperature, seed: 9, n: 2 })
    const [again] = await model.sample(messages, { maxTokens: 300, temperature: finch.temperature, seed: 10 })
    expect(tagged(a!.text)).toMatch(/^SELECT .* FROM /)
    expect(again).toEqual(b)
    expect(contextText({ notes })).toBe(messages[0]!.content)
  }
})

test('a question from elsewhere is answered with a confession', async () => {
  const [completion] = await finchActor().sample([{ role: 'user', content: 'Question: Who are you?' }], { maxTokens: 9 })
  expect(completion?.text).toMatch(/do not understand/)
})

test('an unknown problem is named', () => {
  expect(() => companies[0]!.problem('train-0')).toThrow(ConfigError)
})
