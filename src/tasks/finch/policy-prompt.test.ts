import { expect, test } from 'vitest'
import { rng } from '../../core/rng.ts'
import type { Rollout } from '../../core/score.ts'
import { createCompany } from './company.ts'
import { demonstrate, formats, perfectNotes, perfectText } from './editors.ts'
import { finch } from './parameters.ts'
import { answerTokens, policyPrompt, promptTokens, seenWords, vocabulary } from './policy-prompt.ts'
import { expectedScore, observe } from './reward.ts'
import { companiesIn } from './sets.ts'
import { fragments, words } from './words.ts'

const pieces = [...vocabulary].sort((a, b) => b.length - a.length)

/** Longest match first; undefined if the vocabulary can't spell the text. */
function tokensOf(text: string): readonly string[] | undefined {
  const out: string[] = []
  for (let at = 0; at < text.length; ) {
    const piece = pieces.find((p) => text.startsWith(p, at))
    if (piece === undefined) return undefined
    out.push(piece)
    at += piece.length
  }
  return out
}

test('every word and every fragment is one token, and no token is there twice', () => {
  for (const word of words.keys()) expect(tokensOf(`${word}: `)).toHaveLength(1)
  for (const fragment of fragments) expect(tokensOf(fragment)).toHaveLength(1)
  expect(new Set(vocabulary).size).toBe(vocabulary.length)
})

test('prompts and answers are spelled in tokens of the vocabulary, three a line, within their lengths', () => {
  for (const options of companiesIn('train', 6)) {
    using company = createCompany(options)
    for (let seed = 0; seed < 6; seed++) {
      const o = observe(company, seed % 2 ? perfectNotes(company) : company.notes, { seed })
      const prompt = tokensOf(policyPrompt(o)[0]!.content)!
      expect(prompt.length).toBeLessThanOrEqual(promptTokens)
      expect((prompt.length - 3) % 3).toBe(0)
      for (const format of formats) {
        const answer = tokensOf(demonstrate(o, format, rng(seed)))!
        expect(answer.length).toBeLessThanOrEqual(answerTokens)
      }
    }
  }
})

/** An attempt at a question about orders. */
function rollout(question: string, gold: string, answer: string): Rollout {
  const sql = (where: string): string => `SELECT COUNT(*) FROM orders WHERE ${where}`
  return {
    ...{ exampleId: question, draw: 0, score: 0, feedback: '', question },
    ...{ gold: sql(gold), answer: `x <answer>${sql(answer)}</answer>` },
  }
}

test('the prompt has the notes, what was taken wrong, and then the rest of the batch', () => {
  using company = createCompany({ set: 'dev', seed: 1 })
  const o = observe(company, 'late: days <= 2\nAnswer in one query.', { seed: 1 })
  const rollouts = [
    rollout('How many open orders are there?', "status = 'held'", "status = 'held'"),
    rollout('How many late orders are there?', 'days > 5', 'days <= 2'),
  ]
  expect(policyPrompt({ ...o, seen: { ...o.seen, rollouts } })).toEqual([
    { role: 'user', content: "notes\nlate: days <= 2\nwrong\nlate: days > 5\nright\nopen: status = 'held'\n" },
  ])
})

test('a word is shown with what most golds take it for, and as wrong if it was ever taken for something else', () => {
  const seen = seenWords([
    rollout('How many late orders are there?', 'days > 5', 'days > 5'),
    rollout('How many late open orders are there?', "days > 5 AND status = 'held'", "days <= 2 AND status = 'held'"),
    rollout('How many late orders in 2025 are there?', 'days <= 2', 'days > 5'),
    rollout('What is this?', 'days <= 2', 'days > 5'),
  ])
  expect(seen).toEqual([
    { word: 'late', meaning: 'days > 5', isWrong: true },
    { word: 'open', meaning: "status = 'held'", isWrong: false },
  ])
})

test('the perfect notes are all true, fit, and no true rule added to them or taken away helps much', () => {
  for (const options of companiesIn('dev', 4)) {
    using company = createCompany(options)
    const notes = perfectNotes(company)
    const truth = company.conventions.map(({ word, meaning }) => `${word.text}: ${meaning}`)
    const lines = notes.split('\n')
    expect(lines.every((line) => truth.includes(line))).toBe(true)
    expect(lines.length).toBeLessThanOrEqual(finch.lines)
    expect(Math.ceil(notes.length / 3)).toBeLessThanOrEqual(finch.maxTokens)
    const score = expectedScore(company, notes, { split: 'test' })
    expect(score).toBeGreaterThan(expectedScore(company, company.notes, { split: 'test' }) + 0.25)
    for (const line of truth.filter((l) => !lines.includes(l))) {
      const swapped = [...lines.slice(0, -1), line].join('\n')
      expect(expectedScore(company, swapped, { split: 'test' })).toBeLessThan(score + 0.04)
    }
  }
})

test('the demonstrator writes only pairs of a word and a meaning that are true in its data or of another kind of table', () => {
  using company = createCompany({ set: 'train', seed: 1 })
  for (let seed = 0; seed < 15; seed++) {
    const o = observe(company, '', { seed })
    const golds = new Map(seenWords(o.seen.rollouts).map((s) => [s.word, s.meaning]))
    for (const [, word = '', meaning = ''] of demonstrate(o, 'lines', rng(seed)).matchAll(/^(\w+): (.*)$/gm)) {
      const own = words.get(word)!.kind
      const isOther =
        fragments.indexOf(meaning) >= 0 &&
        Math.floor(fragments.indexOf(meaning) / 12) !== ['people', 'events', 'items'].indexOf(own)
      expect(golds.get(word) === meaning || isOther).toBe(true)
    }
  }
})

test('the demonstrator is right about as often as it is meant to be, and invalid now and then', () => {
  const draw = rng('demonstrator')
  let right = 0
  let all = 0
  let unclosed = 0
  let count = 0
  for (const options of companiesIn('train', 6)) {
    using company = createCompany(options)
    for (let seed = 0; seed < 20; seed++) {
      const o = observe(company, '', { seed })
      const golds = new Map(seenWords(o.seen.rollouts).map((s) => [s.word, s.meaning]))
      const text = demonstrate(o, 'lines', draw)
      count++
      if (!text.endsWith('</prompt>')) unclosed++
      for (const [, word = '', meaning] of text.matchAll(/^(\w+): (.*)$/gm)) {
        all++
        if (golds.get(word) === meaning) right++
      }
    }
  }
  expect(Math.abs(right / all - finch.demonstrator.right)).toBeLessThan(0.06) // about 800 lines
  expect(unclosed / count).toBeGreaterThan(0)
  expect(unclosed / count).toBeLessThan(0.15)
})

test('the perfect editor drops what is not in its notes and writes the rest', () => {
  using company = createCompany({ set: 'dev', seed: 2 })
  const o = observe(company, company.notes, { seed: 0 })
  const notes = perfectNotes(company)
  expect(perfectText(o, 'rewrite', notes)).toContain(notes)
  for (const line of notes.split('\n')) expect(perfectText(o, 'lines', notes)).toContain(`${line}\n`)
})
