// What a user may say about a run. `settings.ts` checks it and has the defaults.
import type { Budget } from './core/budget.ts'
import type { Part, Rule, Tokenizer, Turn } from './core/context.ts'
import type { Edit, ProposeCall } from './core/evolver.ts'
import type { Method } from './core/method.ts'
import { bytes, type Model } from './core/model.ts'
import type { Observation } from './core/observation.ts'
import type { Store } from './core/store.ts'
import type { Grade, Task } from './core/task.ts'
import type { LanguageModel } from './models/ai-sdk.ts'
import type { PriceTable } from './models/prices.ts'
import type { Data } from './tasks/read.ts'

/** A part as users write it: the bare value, or the value with its rules. */
export type PartInput = Part | ({ readonly text: string } & Rule) | ({ readonly turns: readonly Turn[] } & Rule)

/** The context a task function is handed for a context written as `C`. */
export type ContextOf<C> = { readonly [K in keyof C]: C[K] extends string | { readonly text: string } ? string : readonly Turn[] }

/** One row of the data: whatever columns it has. `input` and `expected` are the usual names. */
export interface Problem {
  readonly id: string
  readonly input: string
  readonly expected: string
  readonly [field: string]: unknown
}

/** Something that answers: `provider:model`, an AI SDK model, or a Model. */
export type ModelSpec = string | LanguageModel | Model

/** The model a task function is handed, metered; give it to `generateText` and the like. */
export type TaskModel = Extract<LanguageModel, { specificationVersion: 'v4' }>

/** A function that writes edits, in place of a model with a prompt. */
export type EditFunction = (observation: Observation, call: ProposeCall) => Edit | Promise<Edit>

export type TaskFunction<C, O> = (call: {
  readonly context: ContextOf<C>
  readonly example: Problem
  readonly model: TaskModel
  readonly draw: number
  readonly seed: number
  readonly signal: AbortSignal
}) => O | Promise<O>

export type ScoreFunction<O> = (
  answer: O,
  example: Problem,
  judge: { readonly model: TaskModel; readonly signal: AbortSignal },
) => Grade | number | Promise<Grade | number>

/** Settings of a run that have defaults. */
export interface RunSettings {
  /** Who writes the edits; default: the action model. A function needs no model; `policy:FILE` is a policy that `lamarck train` made. */
  readonly evolver?: ModelSpec | EditFunction
  /** Model of judges inside scorers; default: the action model. */
  readonly judge?: ModelSpec
  /** `lse` (default), `chain`, `best`, `best-of-n`, `gepa`, `textgrad`, `reflexion`, `voyager`, `robophd`, or a method of your own. */
  readonly method?: string | Method
  /** Edits to make; default 25, and 30 where there are fewer than 100 holdout problems. */
  readonly rounds?: number
  /** Rounds in flight at once; default 1. Part of what makes a run repeatable, so a resumed run must have the same. */
  readonly inFlight?: number
  /** Fresh problems a round; default 10. */
  readonly batch?: number
  readonly batches?: 'shuffled' | 'failures'
  /** Exploration constant of UCB; default 0.1. */
  readonly explore?: number
  /** `paper`: 50 holdout problems × 8 generations, c = 2 and no racing, as published. */
  readonly protocol?: 'default' | 'paper'
  /** Generations per holdout problem; default 1, more where there are fewer than 100 problems or where answers are noisy. */
  readonly draws?: number
  /** Stop scoring an edit once it is shown to be worse than the best; default true, and false with `protocol: 'paper'`. */
  readonly racing?: boolean
  /** Test problems looked at, drawn by the seed where there are more; default 500. */
  readonly testSize?: number
  /** Generations per test problem; default 1, more where there are few. */
  readonly testDraws?: number
  readonly choice?: 'mean' | 'confirm' | 'shrink'
  /** Folds of the cross-validated figure; default 5, 0 = none. */
  readonly folds?: number
  /** Score the seed context on every batch too. */
  readonly reference?: boolean
  readonly seed?: number
  readonly budget?: Budget
  /** `after`: rounds without gain. */
  readonly stop?: { readonly after?: number }
  /** What to do with an edit that holds half of an example or more word for word; default flag. */
  readonly copies?: 'ignore' | 'flag' | 'reject'
  /** The evolver's prompt, with {{context}}, {{results}} and {{format}} in it. */
  readonly template?: string
  /** Whether a model answers with the whole next context (default) or with the lines to change; a policy: default `lines`. */
  readonly writer?: 'rewrite' | 'lines'
  readonly tokenizer?: Tokenizer
  /** US dollars per million tokens, by model name, for models whose price is not known. */
  readonly prices?: PriceTable
  /** Calls in flight at once to one model; default 64. */
  readonly concurrency?: number
  /** Seconds one attempt at a call may take; default 120. */
  readonly timeout?: number
  /** Further attempts at a failed call; default 4. */
  readonly retries?: number
  /** Where a provider's API is, in place of its own address. */
  readonly baseUrl?: string
  /** A file, `memory`, `postgres://…`, or a store; default `.lamarck/lamarck.db`. */
  readonly store?: string | Store
  /** A name for the run; a run of that name that is there already is resumed. */
  readonly id?: string
  /** Free-form JSON, kept with a new run in its store. */
  readonly meta?: string
  /** Stops at once when aborted; the run can be resumed. */
  readonly signal?: AbortSignal
  /** Shares of the three splits. */
  readonly fractions?: { readonly train: number; readonly holdout: number; readonly test: number }
  /** Rows with the same value of this field land in the same split. */
  readonly groupBy?: string
  /** Variables that keys are read from; default: the process's. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** A run of a task function: everything said here. */
export interface FunctionOptions<C extends Readonly<Record<string, PartInput>>, O> extends RunSettings {
  readonly name?: string
  readonly context: C
  readonly data: Data
  readonly task: TaskFunction<C, O>
  readonly score: ScoreFunction<O>
  readonly model: ModelSpec
}

/** A run of a ready-made task, which has its own context and data. */
export interface TaskOptions extends RunSettings {
  // biome-ignore lint/suspicious/noExplicitAny: a task's example and output types are its own affair
  readonly task: Task<any, any, Model> | Promise<Task<any, any, Model>>
  /** In place of the task's own seed context. */
  readonly context?: Readonly<Record<string, PartInput>>
  readonly model: ModelSpec
}

export type EvolveOptions = FunctionOptions<Readonly<Record<string, PartInput>>, unknown> | TaskOptions

/** Tokens by rule of thumb, where the model's tokenizer is not known. */
export const roughTokenizer: Tokenizer = { name: 'bytes / 3', count: (text) => Math.ceil(bytes(text) / 3) }

/** Types a config file; gives back what it is given. */
export function defineConfig<const C extends Readonly<Record<string, PartInput>>, O>(
  options: Partial<Pick<FunctionOptions<C, O>, 'model'>> & Omit<FunctionOptions<C, O>, 'model'>,
): EvolveOptions
export function defineConfig(options: Partial<Pick<TaskOptions, 'model'>> & Omit<TaskOptions, 'model'>): EvolveOptions
export function defineConfig(options: unknown): EvolveOptions {
  return options as EvolveOptions // the overloads say what may be in it; a model may come from the command line
}
