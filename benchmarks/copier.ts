// Scripted editors of Finch for benchmarks, which write the gold's meaning of words of the batch. They are simulated and say nothing about
// language models.
import type { Observation } from '../src/core/observation.ts'
import { ruleText } from '../src/tasks/finch/notes.ts'
import { type SeenWord, seenWords } from '../src/tasks/finch/policy-prompt.ts'

/** Which words an editor writes. */
export type Picks = (word: SeenWord) => boolean

/** The completion of an editor, as line edits. */
export function written(o: Observation, picks: Picks): string {
  const lines = seenWords(o.seen.rollouts)
    .filter(picks)
    .map(({ word, meaning }) => `${ruleText(word, meaning)}\n`)
  return `<prompt>\n${lines.join('')}</prompt>`
}

/** The copier's, of every word that was taken wrong: about what a trained policy can do. */
export function copy(o: Observation): string {
  return written(o, ({ isWrong }) => isWrong)
}
