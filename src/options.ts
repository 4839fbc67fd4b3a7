// What a user may say about a run, checked once, with the defaults of docs/guide/choose-a-budget.md.
import { z } from 'zod'
import type { Budget } from './core/budget.ts'
import type { Context, Part, Rule, Rules, Tokenizer, Turn } from './core/context.ts'
import { ConfigError } from './core/errors.ts'
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
  /** Who writes the edits; default: the action model. A function needs no model. */
  readonly evolver?: ModelSpec | EditFunction
  /** Model of judges inside scorers; default: the action model. */
  readonly judge?: ModelSpec
  /** `lse` (default), `chain`, `best`, or a method of your own. */
  readonly method?: string | Method
  /** Edits to make; default 25. */
  readonly rounds?: number
  /** Rounds in flight at once; default 1. Part of what makes a run repeatable, so a resumed run must have the same. */
  readonly inFlight?: number
  /** Fresh problems a round; default 10. */
  readonly batch?: number
  readonly batches?: 'shuffled' | 'failures'
  /** Exploration constant of UCB; default 0.1. */
  readonly explore?: number
  /** `paper`: 50 holdout problems × 8 generations and c = 2, as published. */
  readonly protocol?: 'default' | 'paper'
  /** Generations per holdout problem; default 1, more where there are fewer than 100 problems. */
  readonly draws?: number
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
  /** A file, `memory`, or a store; default `.lamarck/lamarck.db`. */
  readonly store?: string | Store
  /** A name for the run; a run of that name that is there already is resumed. */
  readonly id?: string
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

const count = z.int().min(1)
const settings = z.object({
  rounds: z.int().min(0).default(25),
  inFlight: count.max(64).default(1),
  batch: count.default(10),
  batches: z.enum(['shuffled', 'failures']).default('shuffled'),
  explore: z.number().min(0).optional(),
  protocol: z.enum(['default', 'paper']).default('default'),
  draws: count.optional(),
  testDraws: count.optional(),
  choice: z.enum(['mean', 'confirm', 'shrink']).optional(),
  folds: z.int().min(0).default(5),
  reference: z.boolean().default(false),
  seed: z.int().default(0),
  budget: z
    .strictObject({
      usd: z.number().positive(),
      calls: count,
      tokens: count,
      minutes: z.number().positive(),
    })
    .partial()
    .default({}),
  stop: z.strictObject({ after: count }).partial().default({}),
  copies: z.enum(['ignore', 'flag', 'reject']).default('flag'),
  template: z.string().optional(),
  concurrency: count.default(64),
  timeout: z.number().positive().default(120),
  retries: z.int().min(0).default(4),
  id: z
    .string()
    .regex(/^[\w.-]{1,100}$/, 'letters, digits, ".", "_" and "-", at most 100')
    .optional(),
})

export type Settings = z.infer<typeof settings>

const known = new Set([
  ...Object.keys(settings.shape),
  ...['name', 'context', 'data', 'task', 'score', 'model', 'evolver', 'judge', 'method', 'tokenizer', 'prices'],
  ...['baseUrl', 'store', 'signal', 'fractions', 'groupBy', 'env'],
])

/** The settings with their defaults. @throws {ConfigError} naming the first that is wrong. */
export function parseSettings(options: Readonly<Record<string, unknown>>): Settings {
  const stray = Object.keys(options).find((name) => !known.has(name))
  if (stray !== undefined) throw new ConfigError(`unknown option "${stray}" (have: ${[...known].join(', ')})`)
  const parsed = settings.safeParse(Object.fromEntries(Object.entries(options).filter(([name]) => name in settings.shape)))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const path = issue?.path.join('.') ?? ''
  const value = issue?.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)?.[key], options) // a path zod walked
  throw new ConfigError(`option "${path}" is ${JSON.stringify(value) ?? 'missing'}: ${issue?.message}`)
}

/** A context and its rules, from how users write them. @throws {ConfigError} naming the part. */
export function parseContext(input: unknown): { readonly context: Context; readonly rules: Rules } {
  if (typeof input !== 'object' || input === null || Array.isArray(input) || Object.keys(input).length === 0) {
    throw new ConfigError(
      `context is ${JSON.stringify(input)}: give an object of named parts, such as { instructions: 'Answer …' }`,
    )
  }
  const context: Record<string, Part> = {}
  const rules: Record<string, Rule> = {}
  for (const [name, value] of Object.entries(input)) {
    if (!/^[\w-]+$/.test(name)) throw new ConfigError(`part "${name}" of context: use letters, digits, "_" and "-" in its name`)
    const { part, rule } = parsePart(name, value)
    context[name] = part
    if (Object.keys(rule).length > 0) rules[name] = rule
  }
  return { context, rules }
}

const turns = z.array(z.strictObject({ input: z.string(), output: z.string() }))
const rule = { frozen: z.boolean().optional(), maxTokens: count.optional(), keep: z.array(z.string().min(1)).optional() }
const textPart = z.strictObject({ text: z.string(), ...rule })
const turnsPart = z.strictObject({ turns, ...rule })

function parsePart(name: string, value: unknown): { readonly part: Part; readonly rule: Rule } {
  if (typeof value === 'string') return { part: value, rule: {} }
  if (Array.isArray(value) && turns.safeParse(value).success) return { part: turns.parse(value), rule: {} }
  const asText = textPart.safeParse(value)
  const parsed = asText.success ? asText : turnsPart.safeParse(value)
  if (!parsed.success) {
    throw new ConfigError(
      `part "${name}" of context is ${JSON.stringify(value)?.slice(0, 80)}: give a text, a list of { input, output }, or { text or turns, frozen?, maxTokens?, keep? }`,
    )
  }
  const { frozen, maxTokens, keep, ...rest } = parsed.data
  const part = 'text' in rest ? rest.text : rest.turns
  const lost = keep?.find((piece) => !JSON.stringify(part).includes(JSON.stringify(piece).slice(1, -1)))
  if (lost !== undefined)
    throw new ConfigError(`part "${name}" of context must keep ${JSON.stringify(lost)}, but does not have it`)
  return {
    part,
    rule: { ...(frozen && { frozen }), ...(maxTokens !== undefined && { maxTokens }), ...(keep && { keep }) },
  }
}

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
