// Scripted editors: the perfect one marks where the road ends, the demonstrator is what a policy is warm-started from. Both write the text
// that a policy would write; they say nothing about language models.
import { partText } from '../../core/context.ts'
import type { Observation } from '../../core/observation.ts'
import { shuffle } from '../../core/rng.ts'
import { favourite } from './actor.ts'
import type { Company } from './company.ts'
import { readRule, ruleText } from './notes.ts'
import { type ActorName, finch, part } from './parameters.ts'
import { seenWords } from './policy-prompt.ts'
import { expectedScore } from './reward.ts'
import { fragmentsOf, words } from './words.ts'

export const formats = ['lines', 'rewrite'] as const
/** Changes of lines, or the whole next text. */
export type Format = (typeof formats)[number]

/**
 * The best notes for a company and an actor that its editor knows of: true rules only, for the words that bring most on the training
 * questions, and as many as pay.
 */
export function perfectNotes(company: Company, actor: ActorName = 'finch-actor'): string {
  const value = ({ word, meaning, use }: Company['conventions'][number]): number =>
    use * (favourite(actor, company.domain, word) === meaning ? 0.2 : 1)
  const rules = [...company.conventions]
    .sort((a, b) => value(b) - value(a))
    .slice(0, finch.lines)
    .map(({ word, meaning }) => ruleText(word.text, meaning))
  const options = rules.map((_, i) => rules.slice(0, i + 1).join('\n'))
  const score = (notes: string): number => expectedScore(company, notes, { split: 'train', actor })
  return options.reduce((best, notes) => (score(notes) > score(best) ? notes : best))
}

/** The perfect editor's completion: one edit leads to the end. */
export function perfectText(o: Observation, format: Format, notes: string): string {
  if (format === 'rewrite') return `<prompt>\n${notes}\n</prompt>`
  const goal = notes.split('\n')
  const gone = linesOf(o).filter(
    (line) => !goal.includes(line) && !goal.some((rule) => rule.startsWith(`${line.split(': ')[0]}: `)),
  )
  return block([...gone.map((line) => `- ${line}`), ...goal])
}

/**
 * The demonstrator's completion. Mediocre on purpose: it drops good rules, copies the meaning of another word as often as the right one,
 * and now and then forgets to close its answer.
 */
export function demonstrate(o: Observation, format: Format, draw: () => number): string {
  const { drop, rewrite, add, right, invalid } = finch.demonstrator
  const seen = seenWords(o.seen.rollouts)
  const rules = linesOf(o).flatMap((line) => {
    const rule = readRule(line)
    return rule ? rule.words.map((word) => ({ word, meaning: rule.meaning })) : []
  })
  const kept = rules.filter(() => draw() >= drop)
  const dropped = rules.filter((rule) => !kept.includes(rule))
  const had = new Set(rules.map((rule) => rule.word))
  const copied = (word: string): string | undefined => {
    const others = seen.filter((s) => !fragmentsOf[words.get(word)!.kind].includes(s.meaning))
    const meaning =
      draw() < right ? seen.find((s) => s.word === word)?.meaning : others[Math.floor(draw() * others.length)]?.meaning
    return meaning && ruleText(word, meaning)
  }
  const written = seen
    .filter(({ word }) => !dropped.some((rule) => rule.word === word) && draw() < (had.has(word) ? rewrite : add))
    .flatMap(({ word }) => copied(word) ?? [])
  const few = shuffle(written, draw).slice(0, finch.lines + 1 - dropped.length)
  const lines = written.filter((line) => few.includes(line)) // in order of appearance
  const isNew = (rule: { word: string }): boolean => !lines.some((line) => line.startsWith(`${rule.word}: `))
  const text =
    format === 'lines'
      ? block([...dropped.map(({ word }) => `${word}: drop`), ...lines])
      : block([...kept.filter(isNew).map(({ word, meaning }) => ruleText(word, meaning)), ...lines].slice(-finch.lines))
  return draw() < invalid ? text.slice(0, -'</prompt>'.length) : text
}

function linesOf(o: Observation): readonly string[] {
  return partText(o.node.context[part] ?? '').split('\n')
}

function block(lines: readonly string[]): string {
  return `<prompt>\n${lines.map((line) => `${line}\n`).join('')}</prompt>`
}
