// The observation as a small policy reads it: one line a rule of the context, one line a word of the batch, in whole tokens of Finch's
// vocabulary. Three tokens a line, everywhere: that regularity is what lets a small transformer copy.
//
//   notes                          the rules of the context, the last written last
//   late: days > 5
//   wrong                          words of the batch that the actor took for something else, and what the gold queries take them for
//   late: days <= 2
//   right                          the others
//   loyal: visits >= 6
//
// The answer, as line edits or as a whole text:  <prompt>⏎ late: days <= 2⏎ loyal: drop⏎ </prompt>

import { partText } from '../../core/context.ts'
import type { Message } from '../../core/model.ts'
import type { Observation } from '../../core/observation.ts'
import type { Rollout } from '../../core/score.ts'
import { readRule, ruleText } from './notes.ts'
import { finch, part } from './parameters.ts'
import { readQuestion } from './questions.ts'
import { fragments, words } from './words.ts'

const marks = ['notes\n', 'wrong\n', 'right\n', '<prompt>\n', '</prompt>', 'drop', '\n'] as const

/** Tokens that spell every prompt of `policyPrompt` and every answer to it, without overlap: no other token is needed. */
export const vocabulary: readonly string[] = [...marks, ...[...words.keys()].map((word) => `${word}: `), ...fragments]

/** Words of a batch that are shown at most. */
const shownWords = 14

/** Tokens of the longest prompt, and of the longest useful answer: a context's lines, all replaced. */
export const promptTokens: number = 3 + 3 * (finch.lines + shownWords)
export const answerTokens: number = 2 + 3 * (finch.lines + 1)

/** The prompt of a small policy. Lines of the context that are no rules are not in it. */
export function policyPrompt(o: Observation): readonly Message[] {
  const rules = partText(o.node.context[part] ?? '')
    .split('\n')
    .flatMap((line) => readRule(line) ?? [])
    .flatMap((rule) => rule.words.map((word) => `${ruleText(word, rule.meaning)}\n`))
    .slice(-finch.lines)
  const seen = seenWords(o.seen.rollouts).slice(0, shownWords)
  const lines = (isWrong: boolean): string =>
    seen.flatMap((s) => (s.isWrong === isWrong ? `${ruleText(s.word, s.meaning)}\n` : [])).join('')
  return [{ role: 'user', content: `notes\n${rules.join('')}wrong\n${lines(true)}right\n${lines(false)}` }]
}

/** A word of a batch. */
export interface SeenWord {
  readonly word: string
  /** What most gold queries take it for. */
  readonly meaning: string
  /** Whether the actor took it for something else at least once. */
  readonly isWrong: boolean
}

/** The words of a batch, those taken wrong first, each in order of appearance. Words and conditions of a query are in the same order. */
export function seenWords(rollouts: readonly Rollout[]): readonly SeenWord[] {
  const found = new Map<string, { meanings: string[]; isWrong: boolean }>()
  for (const { question, gold = '', answer } of rollouts) {
    const asked = readQuestion(question)
    if (!asked) continue
    const right = conditions(gold)
    const taken = conditions(answer.slice(answer.lastIndexOf('<answer>')))
    asked.words.forEach(({ text }, i) => {
      const meaning = right[i]
      if (meaning === undefined) return
      const had = found.get(text) ?? { meanings: [], isWrong: false }
      found.set(text, { meanings: [...had.meanings, meaning], isWrong: had.isWrong || taken[i] !== meaning })
    })
  }
  const seen = [...found].map(([word, { meanings, isWrong }]) => ({ word, meaning: commonest(meanings), isWrong }))
  return [...seen.filter((s) => s.isWrong), ...seen.filter((s) => !s.isWrong)]
}

const anyFragment = new RegExp(
  [...fragments]
    .sort((a, b) => b.length - a.length)
    .map((text) => text.replaceAll(/[.*+?^$()[\]{}|\\]/g, '\\$&'))
    .join('|'),
  'g',
)

/** The fragments in a query, in order. */
function conditions(sql: string): readonly string[] {
  return sql.slice(sql.indexOf(' WHERE ')).match(anyFragment) ?? []
}

/** The most frequent value; of several, the first. */
function commonest(values: readonly string[]): string {
  const count = (value: string): number => values.filter((v) => v === value).length
  return values.reduce((best, value) => (count(value) > count(best) ? value : best))
}
