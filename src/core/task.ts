// What is being solved: examples, a way to answer one under a context, and a grade.
import type { Cost } from './budget.ts'
import type { Context, Rules } from './context.ts'
import type { Message, Model } from './model.ts'

/** train feeds the evolver, holdout steers the search, test is opened once after it; ood is a second test from elsewhere. */
export const splits = ['train', 'holdout', 'test', 'ood'] as const
export type Split = (typeof splits)[number]

/** One problem. `id` is unique over all splits. */
export interface Example {
  readonly id: string
  readonly [field: string]: unknown
}

/** A score in [0, 1] and what the evolver should know about it. */
export interface Grade {
  readonly score: number
  readonly feedback?: string
  readonly metrics?: Readonly<Record<string, number>>
}

/** What the evolver and the report show of one attempt. */
export interface Shown {
  readonly question: string
  /** The whole answer. */
  readonly answer: string
  readonly thinking?: string
  readonly gold?: string
  /** For example the SQL error. */
  readonly error?: string
}

export interface Call<E, M> {
  readonly context: Context
  readonly example: E
  /** Metered: each call is journaled, limited, reserved and retried. */
  readonly model: M
  /** Which of several attempts, from 0. */
  readonly draw: number
  /** Seed for this attempt, the same for every context: a whole number in [0, 2^31). */
  readonly seed: number
  readonly signal: AbortSignal
}

/** Any async function is a task; `M` is the kind of model it wants to be handed. */
export interface Task<E extends Example = Example, O = unknown, M = Model> {
  readonly name: string
  /** The context to start from. */
  readonly seed: Context
  readonly rules?: Rules
  examples(split: Split): readonly E[]
  run(call: Call<E, M>): Promise<O>
  /**
   * What an attempt spends at most by itself, besides the model it is handed; reserved before it. `undeclared` = it may spend, and
   * nobody said how much: a dollar budget is then refused.
   */
  readonly ownCost?: ((example: E) => Cost) | 'undeclared'
  /** `judge` is metered too. @throws {BadAnswer} to score 0 with feedback. */
  score(output: O, example: E, judge: { readonly model: M; readonly signal: AbortSignal }): Grade | Promise<Grade>
  show(example: E, output: O | undefined): Shown
}

/** A context as a chat: text parts in the system message (headed by name if several), example parts as turns. */
export function chat(context: Context, question: string): readonly Message[] {
  const texts = Object.entries(context).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string' && entry[1] !== '',
  )
  const system = texts.length === 1 ? texts[0]![1] : texts.map(([name, text]) => `# ${name}\n${text}`).join('\n\n')
  const turns = Object.values(context).flatMap((part) => (typeof part === 'string' ? [] : part))
  return [
    ...(system ? [{ role: 'system', content: system } as const] : []),
    ...turns.flatMap((t) => [{ role: 'user', content: t.input } as const, { role: 'assistant', content: t.output } as const]),
    { role: 'user', content: question },
  ]
}
