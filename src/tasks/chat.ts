// A task in one call of a chat model: the context, a question, and a grade for what comes back.
import type { Context, Rules } from '../core/context.ts'
import { ModelError } from '../core/errors.ts'
import type { Completion, Message, Model, Params } from '../core/model.ts'
import { truncateRepeats } from '../core/repeats.ts'
import { chat, type Example, type Grade, type Task } from '../core/task.ts'
import type { Judge } from './judge.ts'
import type { Splits } from './read.ts'
import { textOf } from './template.ts'

export interface ChatOptions {
  readonly name: string
  /** The context to start from. */
  readonly context: Context
  readonly rules?: Rules
  readonly splits: Splits
  /** The question put to the model. */
  readonly prompt: (example: Example) => string
  /** All messages, where they are not simply the context and then the question. */
  readonly messages?: (context: Context, example: Example) => readonly Message[]
  /** @throws {BadAnswer} to score 0 with feedback. */
  readonly grade: (text: string, example: Example, judge: Judge) => Grade | Promise<Grade>
  /** What the evolver is shown as right; default: the first of the fields `expected`, `answer`, `gold`. */
  readonly gold?: (example: Example) => string | undefined
  readonly params?: Omit<Params, 'n' | 'seed'>
}

export const chatParams: Omit<Params, 'n' | 'seed'> = { maxTokens: 2048 }

/** A task that asks the model once per attempt and grades the text of its answer. */
export function chatTask(options: ChatOptions): Task<Example, Completion, Model> {
  const { name, context: seed, rules, splits, prompt, grade, gold = goldOf, params = chatParams } = options
  const { messages = (context, example) => chat(context, prompt(example)) } = options
  return {
    name,
    seed,
    ...(rules && { rules }),
    examples: (split) => splits[split] ?? [],
    async run({ context, example, model, seed: drawn, signal }) {
      const [completion] = await model.sample(messages(context, example), { ...params, seed: drawn }, signal)
      if (!completion) throw new ModelError(`model "${model.name}" gave no completion`, { retryable: true })
      return completion
    },
    score: (output, example, judge) => grade(output.text, example, judge),
    show(example, output) {
      const right = gold(example)
      return {
        question: prompt(example),
        // A model that fell into a loop would fill the evolver's prompt with it.
        answer: truncateRepeats(output?.text ?? ''),
        ...(output?.reasoning && { thinking: truncateRepeats(output.reasoning) }),
        ...(right !== undefined && { gold: right }),
        ...(output?.finish === 'length' && { error: `the answer was cut off at ${params.maxTokens} tokens` }),
        ...(output?.finish === 'filter' && { error: "the provider's filter ended the answer" }),
      }
    },
  }
}

function goldOf(example: Example): string | undefined {
  const value = example.expected ?? example.answer ?? example.gold
  return value === undefined || value === null ? undefined : textOf(value)
}

/** What is inside the last `<answer>…</answer>`, trimmed; undefined without one. */
export function tagged(text: string): string | undefined {
  const end = text.lastIndexOf('</answer>')
  const start = end < 0 ? -1 : text.lastIndexOf('<answer>', end)
  return start < 0 ? undefined : text.slice(start + '<answer>'.length, end).trim()
}
