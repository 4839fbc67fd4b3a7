// The small experiment of `lamarck quickstart --real`, and the first two of docs/measured.md: a real local model learns two tasks from
// examples. Edits come from a function that adds failures as turns, so nothing here says anything about evolvers.
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Model } from '../core/model.ts'
import type { Store } from '../core/store.ts'
import type { Example, Task } from '../core/task.ts'
import { evolve } from '../evolve.ts'
import { type LlamaModel, type LlamaOptions, labelled, llama } from '../models/llama.ts'
import type { Report } from '../report.ts'
import { qaTask } from '../tasks/qa.ts'
import { rememberFailures } from './remember-failures.ts'

/** A task for a real model, and how the model answers it. */
export interface RealTask {
  readonly title: string
  /** What is asked, how it is answered and scored. */
  readonly about: string
  /** Each shuffles the problems into splits of its own. */
  readonly seeds: readonly number[]
  readonly rounds: number
  readonly format: NonNullable<LlamaOptions['format']>
  readonly contextSize: number
  /** Most turns in a context. */
  readonly most: number
  readonly task: (seed: number) => Promise<Task<Example, unknown, Model>>
  readonly model: (model: LlamaModel) => Model
}

const examples = fileURLToPath(new URL('../../examples/', import.meta.url))

/** The two tasks by name; their texts stand in docs/measured.md. */
export const realTasks = {
  topic: {
    title: 'Topic of a sentence, examples as turns',
    about: `120 sentences of our own (examples/topic), four topics; the answer is decoded from the four words. Seed: "What is the topic of the text?"`,
    seeds: [1, 2, 3, 4, 5],
    rounds: 10,
    format: 'chat',
    contextSize: 1024,
    most: 8,
    task: (seed) =>
      qaTask({
        name: 'topic',
        data: `${examples}topic/topic.jsonl`,
        context: { instructions: 'What is the topic of the text?', examples: [] },
        scorer: 'label',
        params: { maxTokens: 8 },
        seed,
      }),
    model: (model) => labelled(model, ['sports', 'food', 'weather', 'money']),
  },
  sentiment: {
    title: 'Sentiment of a review, examples as plain text',
    about: `60 reviews of our own (examples/sentiment); plain format, the answer is decoded from the two words. Seed: "Decide if the review is positive or negative."`,
    seeds: [1, 2, 3, 4, 5],
    rounds: 10,
    format: 'plain',
    contextSize: 1024,
    most: 8,
    task: (seed) =>
      qaTask({
        name: 'sentiment',
        data: `${examples}sentiment/sentiment.jsonl`,
        context: { instructions: 'Decide if the review is positive or negative.', examples: [] },
        scorer: 'label',
        params: { maxTokens: 8 },
        seed,
      }),
    model: (model) => labelled(model, ['positive', 'negative']),
  },
} as const satisfies Readonly<Record<string, RealTask>>

/** Where the runs are kept. */
export interface RealOptions {
  readonly store: Store
  readonly meta?: string
  readonly signal?: AbortSignal
}

/** One split of a task. */
export interface RealFact {
  readonly kind: 'real'
  readonly task: string
  readonly split: number
  readonly report: Report
}

/** Splits of each task: four minutes of one core with a model of 135 million weights. `benchmarks/real/smollm2.ts` takes all. */
const splits = 2

/**
 * Evolves both tasks on their first splits with a model file; runs that are in the store already are not made again.
 * @throws {ConfigError} if the file can't be loaded; `MissingPackageError` without node-llama-cpp, which may also lie beside the file.
 */
export async function* real(file: string, { store, meta, signal }: RealOptions): AsyncGenerator<RealFact> {
  const name = createHash('sha256').update(basename(file)).digest('hex').slice(0, 6)
  for (const { seeds, format, contextSize, most, rounds, ...of } of Object.values<RealTask>(realTasks)) {
    await using local = await opened(file, { format, contextSize })
    for (const seed of seeds.slice(0, splits)) {
      signal?.throwIfAborted()
      const task = await of.task(seed)
      const run = evolve({
        task,
        model: of.model(local),
        evolver: rememberFailures({ most }).propose,
        ...{
          id: `quickstart-real-${name}-${task.name}-${seed}`,
          seed,
          rounds,
          store,
          ...(meta && { meta }),
          ...(signal && { signal }),
        },
        ...{ batch: 10, draws: 1, testDraws: 1, choice: 'mean', timeout: 600 },
      })
      yield { kind: 'real', task: task.name, split: seed, report: (await run.result).report }
    }
  }
}

/** @throws as `real` does, before anything else is done. */
export async function checkReal(file: string): Promise<void> {
  await using _model = await opened(file, { contextSize: 256 })
}

function opened(file: string, options: LlamaOptions): Promise<LlamaModel> {
  const beside = dirname(file)
  const isBeside = existsSync(join(beside, 'node_modules', 'node-llama-cpp'))
  return llama(file, { ...options, ...(isBeside && { packages: beside }) })
}
