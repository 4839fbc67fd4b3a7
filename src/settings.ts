// What a user said about a run, checked once, with the defaults of docs/guide/choose-a-budget.md. Loaded when a run is prepared: zod takes
// longer to import than all that the door needs.
import { z } from 'zod'
import { type Context, type Part, partText, type Rule, type Rules } from './core/context.ts'
import { ConfigError } from './core/errors.ts'

const count = z.int().min(1)
/** A timer of Node holds 2^31 − 1 ms, and one set for longer ends at once. */
const longest = 2 ** 31 - 1 // ms
const settings = z.object({
  rounds: z.int().min(0).optional(),
  inFlight: count.max(64).default(1),
  batch: count.optional(),
  batches: z.enum(['shuffled', 'failures']).default('shuffled'),
  explore: z.number().min(0).optional(),
  protocol: z.enum(['default', 'paper']).default('default'),
  draws: count.optional(),
  testDraws: count.optional(),
  racing: z.boolean().optional(),
  testSize: count.default(500),
  choice: z.enum(['mean', 'confirm', 'shrink']).optional(),
  folds: z.int().min(0).default(5),
  reference: z.boolean().default(false),
  seed: z.int().default(0),
  budget: z
    .strictObject({
      usd: z.number().positive(),
      calls: count,
      tokens: count,
      minutes: z
        .number()
        .positive()
        .max(longest / 60_000),
    })
    .partial()
    .default({}),
  stop: z.strictObject({ after: count }).partial().default({}),
  copies: z.enum(['ignore', 'flag', 'reject']).default('flag'),
  template: z.string().optional(),
  writer: z.enum(['rewrite', 'lines']).optional(),
  concurrency: count.default(64),
  timeout: z
    .number()
    .positive()
    .max(longest / 1000)
    .default(120),
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
  ...['baseUrl', 'store', 'meta', 'signal', 'fractions', 'groupBy', 'env'],
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
    if (!/^[\w-]+$/.test(name) || name === '__proto__')
      throw new ConfigError(`part "${name}" of context: use letters, digits, "_" and "-" in its name, and not "__proto__"`)
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
  const lost = keep?.find((piece) => !partText(part).includes(piece))
  if (lost !== undefined)
    throw new ConfigError(`part "${name}" of context must keep ${JSON.stringify(lost)}, but does not have it`)
  return {
    part,
    rule: { ...(frozen && { frozen }), ...(maxTokens !== undefined && { maxTokens }), ...(keep && { keep }) },
  }
}
