// What an actor finds in its context: rules, one a line, however they are phrased: a known word and the SQL it is said to mean.
import { seedOf } from '../../core/rng.ts'
import { remembered } from './remembered.ts'
import { fragments, words } from './words.ts'

export interface Notes {
  /** Of the text, so that each text meets its own chance. */
  readonly id: number
  /** Lines, a long one counting as several. */
  readonly length: number
  /** What each word is said to mean, by the word; several things if the lines contradict each other. */
  readonly rules: ReadonlyMap<string, readonly string[]>
}

/** Characters that are read as easily as one rule. */
const lineLength = 60

/** The rules in a text; lines without a known word or without SQL that is known are no rules, but they are read. */
export const readNotes: (text: string) => Notes = remembered((text) => {
  const rules = new Map<string, string[]>()
  let length = 0
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue
    length += Math.max(1, Math.ceil(line.length / lineLength))
    const rule = readRule(line)
    for (const word of rule?.words ?? []) {
      const had = rules.get(word)
      if (!had) rules.set(word, [rule!.meaning])
      else if (!had.includes(rule!.meaning)) had.push(rule!.meaning)
    }
  }
  return { id: seedOf(text), length, rules }
})

export interface Rule {
  readonly words: readonly string[]
  readonly meaning: string
}

/** The rule in a line: the words before, between or after the first SQL fragment in it; undefined if there is none. */
export const readRule: (line: string) => Rule | undefined = remembered(parseRule)

/** Fragments as they are looked for: the longest first, since one may begin another. */
const spelled = [...fragments].sort((a, b) => b.length - a.length).map((text) => ({ text, plain: plainText(text) }))

function parseRule(line: string): Rule | undefined {
  const plain = plainText(line)
  let first: { readonly at: number; readonly text: string; readonly plain: string } | undefined
  for (const fragment of spelled) {
    const at = plain.search(bounded(fragment.plain))
    if (at >= 0 && (!first || at < first.at)) first = { at, ...fragment }
  }
  if (!first) return undefined
  const rest = spelled.reduce((text, fragment) => text.replaceAll(fragment.plain, ' '), plain)
  const its = [...new Set(rest.match(/[a-z]+/g) ?? [])].filter((token) => words.has(token))
  return its.length === 0 ? undefined : { words: its, meaning: first.text }
}

/** Without the ways in which people write the same SQL: case, white space, kind of quotes, backquotes, != for <>. */
function plainText(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[`*]/g, '')
    .replaceAll(/["‘’“”]/g, "'")
    .replaceAll('!=', '<>')
    .replaceAll(/\s*(<>|>=|<=|<|>|=)\s*/g, '$1')
}

/** A pattern that does not match `days>5` in `days>50`. */
function bounded(plain: string): RegExp {
  return new RegExp(`(?<![a-z_])${plain.replaceAll(/[.*+?^$()[\]{}|\\]/g, '\\$&')}(?![0-9a-z_]|\\.\\d)`)
}

/** A rule as Finch's own editors write it; `readRule` understands many other ways. */
export function ruleText(word: string, meaning: string): string {
  return `${word}: ${meaning}`
}
