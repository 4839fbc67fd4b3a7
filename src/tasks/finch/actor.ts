// The simulated action models: they follow the rules they find in their context, guess where there is none, and err as their temper says.
// What they do says nothing about language models.
import { ModelError } from '../../core/errors.ts'
import { bytes, type Completion, type Message, type Model } from '../../core/model.ts'
import { rng } from '../../core/rng.ts'
import type { Domain } from './domains.ts'
import { type Notes, readNotes } from './notes.ts'
import { type ActorName, finch, type Temper } from './parameters.ts'
import { type Asked, questionSql, questionText, readQuestion } from './questions.ts'
import { plausible, type Word } from './words.ts'

/** Who reads a word, where. */
export interface Reading {
  readonly actor: ActorName
  readonly domain: Domain
  readonly notes: Notes
  readonly temperature: number
}

/** What an actor takes a word for when nothing tells it. */
export function favourite(actor: ActorName, domain: Domain, word: Word): string {
  const possible = plausible(domain, word)
  return possible[Math.floor(rng('finch', actor, domain.name, word.text)() * possible.length)]!
}

/** Probability that a rule for the word is followed; 0 without one. */
function attention({ actor, notes }: Reading, word: Word): number {
  const rules = notes.rules.get(word.text)
  if (!rules) return 0
  const { attend, span, fade, contradicted }: Temper = finch.actors[actor]
  return attend * fade ** Math.max(0, notes.length - span) * (rules.length > 1 ? contradicted : 1)
}

/** Rules that may be taken for the word's own: those of the word near it, where it has none. */
function borrowed({ notes }: Reading, word: Word): readonly string[] | undefined {
  return notes.rules.has(word.text) ? undefined : notes.rules.get(word.near)
}

/** How likely the actor takes a word for each fragment; the probabilities sum to 1. */
export function chances(reading: Reading, word: Word): ReadonlyMap<string, number> {
  const { actor, domain, temperature } = reading
  const { confuse, stray, slip }: Temper = finch.actors[actor]
  const possible = plausible(domain, word)
  const likely = new Map<string, number>()
  const spread = (share: number, over: readonly string[]): void => {
    if (share > 0) for (const meaning of over) likely.set(meaning, (likely.get(meaning) ?? 0) + share / over.length)
  }
  const slips = Math.min(1, slip * temperature)
  const follows = attention(reading, word)
  const near = borrowed(reading, word)
  const guesses = (1 - slips) * (near ? 1 - confuse : 1 - follows)
  const strays = Math.min(1, stray * temperature)
  const own = favourite(actor, domain, word)
  spread(slips, possible)
  spread((1 - slips) * follows, reading.notes.rules.get(word.text) ?? [])
  spread((1 - slips) * confuse, near ?? [])
  spread(guesses * (1 - strays), [own])
  spread(
    guesses * strays,
    possible.filter((meaning) => meaning !== own),
  )
  return likely
}

export interface Read {
  readonly meaning: string
  /** How it came about. */
  readonly why: string
}

/** One reading of a word, drawn step by step. */
function read(reading: Reading, word: Word, draw: () => number): Read {
  const { actor, domain, notes, temperature } = reading
  const { confuse, stray, slip }: Temper = finch.actors[actor]
  const possible = plausible(domain, word)
  const one = (of: readonly string[]): string => of[Math.floor(draw() * of.length)]!
  if (draw() < slip * temperature) return { meaning: one(possible), why: 'I suppose' }
  const rules = notes.rules.get(word.text)
  if (rules && draw() < attention(reading, word)) return { meaning: one(rules), why: 'the notes say so' }
  const near = borrowed(reading, word)
  if (near && draw() < confuse) return { meaning: one(near), why: `as for "${word.near}"` }
  const own = favourite(actor, domain, word)
  const isOdd = draw() < stray * temperature
  return { meaning: isOdd ? one(possible.filter((meaning) => meaning !== own)) : own, why: 'my guess' }
}

/** How an actor reads the words of a question in one attempt: at temperature 0 the same for every seed. */
export function readAll(reading: Reading, asked: Asked, seed: number): readonly (Read & { readonly word: Word })[] {
  const { actor, notes, temperature } = reading
  const draw = rng('finch', actor, temperature > 0 ? seed : 'greedy', notes.id, questionText(asked))
  return asked.words.map((word) => ({ word, ...read(reading, word, draw) }))
}

/** Short reasoning, and the query between tags. */
export function answerText(asked: Asked, readings: readonly (Read & { readonly word: Word })[]): string {
  const sql = questionSql(
    asked,
    readings.map((r) => r.meaning),
  )
  return `${readings.map((r) => `"${r.word.text}" is ${r.meaning} (${r.why}).`).join(' ')}\n<answer>${sql}</answer>`
}

const questionLine = /(?:^|\n)Question: ([^\n]*)/

/** A simulated action model: rules are looked for in everything before the last message, the question in the last. */
export function finchActor(actor: ActorName = 'finch-actor'): Model {
  return {
    name: `simulated:${actor}`,
    async sample(messages, { n = 1, seed = 0, temperature = 1 }) {
      const last = messages.at(-1)
      if (!last) throw new ModelError('the prompt has no message', { retryable: false })
      const notes = messages
        .slice(0, -1)
        .map((message) => message.content)
        .join('\n')
      const question = questionLine.exec(last.content)?.[1]
      const asked = question === undefined ? undefined : readQuestion(question)
      const reading = asked && { actor, domain: asked.domain, notes: readNotes(notes), temperature }
      return Array.from({ length: n }, (_, i) => {
        if (!reading) return completed('I do not understand the question.', messages)
        return completed(answerText(asked, readAll(reading, asked, seed + i)), messages)
      })
    },
  }
}

function completed(text: string, messages: readonly Message[]): Completion {
  const tokens = (s: string): number => Math.ceil(bytes(s) / 3)
  const input = messages.reduce((sum, message) => sum + tokens(message.content), 0)
  return { text, finish: 'stop', usage: { input, cached: 0, output: tokens(text), reasoning: 0 } }
}
