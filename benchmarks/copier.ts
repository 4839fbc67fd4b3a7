// A scripted editor of Finch for benchmarks: it writes the gold's meaning of every word that was taken wrong, about what a trained policy
// can do. It is simulated and says nothing about language models.
import type { Observation } from '../src/core/observation.ts'
import { ruleText } from '../src/tasks/finch/notes.ts'
import { seenWords } from '../src/tasks/finch/policy-prompt.ts'

/** The copier's completion, as line edits. */
export function copy(o: Observation): string {
  const lines = seenWords(o.seen.rollouts).flatMap(({ word, meaning, isWrong }) =>
    isWrong ? [`${ruleText(word, meaning)}\n`] : [],
  )
  return `<prompt>\n${lines.join('')}</prompt>`
}
