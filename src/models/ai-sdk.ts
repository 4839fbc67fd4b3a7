// AI SDK models, taken by their shape: as a core Model, or metered and handed on to the user's own `generateText`. Types come from
// `@ai-sdk/provider`; `ai` is never loaded. Neither face retries: the door does. An empty text is an answer; a reply without one,
// broken JSON or half a stream is a broken provider.
import type {
  LanguageModelV2,
  LanguageModelV3,
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4GenerateResult,
  LanguageModelV4StreamPart,
} from '@ai-sdk/provider'
import { ConfigError, ModelError } from '../core/errors.ts'
import type { Meter } from '../core/meter.ts'
import { bytes, type Completion, inputBound, type Message, type Model, type Params, type Usage } from '../core/model.ts'
import { type Answered, type Ask, canonical, type MeteredOptions, meter, priced, redact } from './metered.ts'
import { unpriced } from './prices.ts'

/** What AI SDK 5, 6 and 7 call a language model. */
export type LanguageModel = LanguageModelV4 | LanguageModelV3 | LanguageModelV2

/** Tokens an image or file counts for in a bound, besides its bytes; one given by URL or reference has no bytes to count. */
export const fileBound = 16_384

/** Tokens of thinking that some providers add on top of the limit of the answer, where the call does not say how many. */
export const thinkingBound = 65_536

export interface LanguageModelOptions {
  /** In place of `provider:model` as the model itself says. */
  readonly name?: string
  /** Told once of each setting the provider does not support. */
  readonly onWarning?: (warning: string) => void
}

/** An AI SDK model as a core Model; `n` completions are `n` requests, the i-th with `seed + i`. Unmetered and never retried. */
export function languageModel(
  lm: LanguageModel,
  { name = modelName(lm), onWarning = () => {} }: LanguageModelOptions = {},
): Model {
  const model = accepted(lm)
  const warned = new Set<string>()
  return {
    name,
    sample(prompt, { n = 1, ...params }, signal) {
      const draw = async (i: number): Promise<Completion> => {
        const one = params.seed === undefined ? params : { ...params, seed: params.seed + i }
        try {
          const result = await model.doGenerate({ ...callOptions(prompt, one), ...(signal ? { abortSignal: signal } : {}) })
          for (const warning of result.warnings ?? []) tellOnce(`${name}: ${say(warning)}`, warned, onWarning)
          return completionOf(result, prompt, name)
        } catch (error) {
          if (signal?.aborted) throw signal.reason
          throw toModelError(error, name)
        }
      }
      return Promise.all(Array.from({ length: n }, (_, i) => draw(i)))
    },
  }
}

export interface MeteredAiSdkOptions extends MeteredOptions {
  readonly name?: string
  /** Sent when the caller gives no `maxOutputTokens`: without a limit a call has no bound. */
  readonly maxOutputTokens?: number
}

/** Meters an AI SDK model; scopes hand out a model of the same version for `generateText`, `streamText` and the like. */
export function meteredAiSdk<L extends LanguageModel>(lm: L, options: MeteredAiSdkOptions): Meter<L> {
  return meter((ask) => meteredLanguageModel(lm, ask, options), options)
}

/** An AI SDK model whose calls go through `ask`. A stream is read to its end and recorded before its first part is given. */
export function meteredLanguageModel<L extends LanguageModel>(
  lm: L,
  ask: Ask,
  options: Omit<MeteredAiSdkOptions, 'journal' | 'gate'>,
): L {
  const { name = modelName(lm), maxOutputTokens = 4096, price = unpriced, ledger } = options
  const model = accepted(lm)
  const call = async <T>(kind: 'generate' | 'stream', given: LanguageModelV4CallOptions, send: Send<T>): Promise<T> => {
    const { abortSignal, headers: _, ...asked } = { ...given, maxOutputTokens: given.maxOutputTokens ?? maxOutputTokens }
    if (asked.tools?.some((tool) => tool.type !== 'function') && (ledger.budget.usd ?? ledger.budget.tokens) !== undefined) {
      throw new ConfigError(
        `${name}: tools that the provider runs have no bound; leave them out, or budget calls or minutes instead`,
      )
    }
    const question = canonical([name, kind, asked])
    const limit = boundOf(question, asked, name)
    const value = await ask(
      {
        model: name,
        question,
        bound: priced({ ...limit, written: /cache/i.test(question) ? limit.input : 0 }, price),
        params: { maxTokens: asked.maxOutputTokens, temperature: asked.temperature, topP: asked.topP },
        async send(stop): Promise<Answered<unknown>> {
          try {
            const reply = await send({ ...given, ...asked, abortSignal: stop })
            const usage = usageOf(reply.usage, limit)
            return { value: pack(reply.value), usage, cost: priced(usage, price) }
          } catch (error) {
            throw stop.aborted ? stop.reason : toModelError(error, name)
          }
        },
      },
      abortSignal,
    )
    return unpack(value) as T // what `send` gave, packed for the journal
  }
  const face: Speaks = {
    specificationVersion: model.specificationVersion,
    provider: model.provider,
    modelId: model.modelId,
    supportedUrls: model.supportedUrls,
    doGenerate: (given) =>
      call('generate', given, async (asked) => {
        const { request: _, response, ...result } = await model.doGenerate(asked)
        refuseBroken(result, name)
        const { body: __, headers: ___, ...about } = response ?? {}
        return { value: { ...result, response: about }, usage: result.usage }
      }),
    async doStream(given) {
      const parts = await call('stream', given, async (asked) => {
        const value = await whole((await model.doStream(asked)).stream, name)
        return { value, usage: value.find((part) => part.type === 'finish')?.usage }
      })
      return { stream: ReadableStream.from(parts) }
    },
  }
  return face as L // the same version of the same interface: options and results pass through unchanged
}

type Send<T> = (options: LanguageModelV4CallOptions) => Promise<{ readonly value: T; readonly usage: unknown }>

/** What the three versions have in common; usage and finish reasons are read by shape. */
type Speaks = Omit<LanguageModelV4, 'specificationVersion'> & { readonly specificationVersion: string }

const versions: readonly string[] = ['v2', 'v3', 'v4']

function accepted(lm: LanguageModel): Speaks {
  const given: unknown = lm
  if (typeof given === 'string') {
    throw new ConfigError(
      `"${given}" is a model's name; give a model object such as openai('gpt-5-mini'), or --model openai:gpt-5-mini`,
    )
  }
  if (typeof given !== 'object' || given === null || !('doGenerate' in given)) {
    throw new ConfigError(`not an AI SDK language model: ${typeof given}; give one such as openai('gpt-5-mini')`)
  }
  if (!versions.includes(lm.specificationVersion)) {
    throw new ConfigError(
      `${modelName(lm)} speaks version ${lm.specificationVersion} of the AI SDK's model interface (have: ${versions.join(', ')}); install a release of its package for AI SDK 5, 6 or 7`,
    )
  }
  return lm as Speaks // checked above
}

function modelName(lm: LanguageModel): string {
  return `${String(lm?.provider).split('.')[0]}:${lm?.modelId}`
}

function callOptions(prompt: readonly Message[], params: Params): LanguageModelV4CallOptions {
  const given = {
    temperature: params.temperature,
    topP: params.topP,
    topK: params.topK,
    presencePenalty: params.presencePenalty,
    stopSequences: params.stop && [...params.stop],
    seed: params.seed,
  }
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  return {
    prompt: prompt.map(({ role, content }) =>
      role === 'system' ? { role, content } : { role, content: [{ type: 'text', text: content }] },
    ),
    maxOutputTokens: params.maxTokens,
    ...set,
  }
}

function completionOf(result: LanguageModelV4GenerateResult, prompt: readonly Message[], name: string): Completion {
  refuseBroken(result, name)
  const join = (kind: 'text' | 'reasoning'): string => result.content.map((c) => (c.type === kind ? c.text : '')).join('')
  const text = join('text')
  const reasoning = join('reasoning')
  // A provider that reports no usage is charged for what the texts can be at most.
  const limit = { input: inputBound(prompt), cached: 0, output: bytes(text) + bytes(reasoning), reasoning: 0 }
  const finish = finishOf(result.finishReason)
  return {
    text,
    ...(reasoning ? { reasoning } : {}),
    finish: finish === 'stop' || finish === 'length' ? finish : finish === 'content-filter' ? 'filter' : 'other',
    usage: plainUsage(usageOf(result.usage, limit)),
  }
}

/** v2 says it with a word, v3 and v4 with an object. */
function finishOf(reason: unknown): string {
  return typeof reason === 'object' && reason !== null && 'unified' in reason ? String(reason.unified) : String(reason)
}

/** Throws for a reply that says itself that it broke, or that holds nothing and has no end. */
function refuseBroken(
  { content, finishReason }: Pick<LanguageModelV4GenerateResult, 'content' | 'finishReason'>,
  name: string,
): void {
  const finish = finishOf(finishReason)
  if (finish === 'error' || finish === 'interrupted')
    throw new ModelError(`${name}: the reply broke off`, { status: 200, retryable: true })
  if (content.length === 0 && (finish === 'other' || finish === 'unknown')) {
    throw new ModelError(`${name}: the reply held no answer`, { status: 200, retryable: true })
  }
}

/** All parts of a stream, deltas joined. @throws {ModelError} if it reports an error or ends without its finish. */
async function whole(stream: ReadableStream<LanguageModelV4StreamPart>, name: string): Promise<LanguageModelV4StreamPart[]> {
  const parts: LanguageModelV4StreamPart[] = []
  for await (const part of stream) {
    const last = parts.at(-1)
    if (part.type === 'error') throw part.error
    if ((part.type === 'text-delta' || part.type === 'reasoning-delta') && last?.type === part.type && last.id === part.id) {
      parts[parts.length - 1] = { ...last, ...part, delta: last.delta + part.delta }
    } else parts.push(part)
  }
  const finish = parts.find((part) => part.type === 'finish')
  if (!finish) throw new ModelError(`${name}: the stream ended half-way`, { status: 200, retryable: true })
  const held = parts.some((part) => part.type !== 'finish' && part.type !== 'stream-start' && part.type !== 'response-metadata')
  refuseBroken({ content: held ? [{ type: 'text', text: '' }] : [], finishReason: finish.finishReason }, name)
  return parts
}

/**
 * Upper bound of a call's tokens: no tokenizer makes more tokens than bytes, 16 more a message for the template, and constants
 * for what bytes do not show.
 */
function boundOf(question: string, { prompt, maxOutputTokens = 0, reasoning }: LanguageModelV4CallOptions, name: string): Usage {
  // Quotes inside texts are escaped, so these match keys only.
  const files = question.match(/"type":"(?:reasoning-)?(?:file|image|media)/g)?.length ?? 0
  const budgets = [...question.matchAll(/"(?:budgetTokens|thinkingBudget)":(\d+)/g)].map((found) => Number(found[1]))
  const thinks =
    question.includes('"thinking":{') || (reasoning !== undefined && !['none', 'provider-default'].includes(reasoning))
  const unsaid = thinks && budgets.length === 0 && /anthropic|bedrock/.test(name) ? thinkingBound : 0
  return {
    input: Buffer.byteLength(question) + 16 * prompt.length + fileBound * files,
    cached: 0,
    output: maxOutputTokens + budgets.reduce((a, b) => a + b, 0) + unsaid,
    reasoning: 0,
  }
}

type BilledUsage = Usage & { readonly written: number }

/** Usage of any version; a count that is missing is taken at its limit. Parts are never more than their whole. */
function usageOf(given: unknown, limit: Usage): BilledUsage {
  // Read by shape: v3 and v4 nest, v2 is flat.
  const u = (given ?? {}) as {
    inputTokens?: number | { total?: number; cacheRead?: number; cacheWrite?: number }
    outputTokens?: number | { total?: number; reasoning?: number }
    cachedInputTokens?: number
    reasoningTokens?: number
  }
  const i = typeof u.inputTokens === 'object' ? u.inputTokens : { total: u.inputTokens, cacheRead: u.cachedInputTokens }
  const o = typeof u.outputTokens === 'object' ? u.outputTokens : { total: u.outputTokens, reasoning: u.reasoningTokens }
  const input = count(i.total) ?? limit.input
  const output = count(o.total) ?? limit.output
  const cached = Math.min(count(i.cacheRead) ?? 0, input)
  const written = Math.min(('cacheWrite' in i ? count(i.cacheWrite) : 0) ?? 0, input - cached)
  return { input, cached, output, reasoning: Math.min(count(o.reasoning) ?? 0, output), written }
}

function count(tokens: number | undefined): number | undefined {
  return typeof tokens === 'number' && tokens >= 0 ? tokens : undefined
}

function plainUsage({ input, cached, output, reasoning }: Usage): Usage {
  return { input, cached, output, reasoning }
}

/** Errors by which the AI SDK says that the caller asked for something impossible. */
const callers: ReadonlySet<string> = new Set([
  'AI_LoadAPIKeyError',
  'AI_LoadSettingError',
  'AI_NoSuchModelError',
  'AI_UnsupportedFunctionalityError',
  'AI_InvalidPromptError',
  'AI_InvalidArgumentError',
])

/** Errors by which it says that the reply made no sense. */
const garbled: ReadonlySet<string> = new Set([
  'AI_InvalidResponseDataError',
  'AI_EmptyResponseBodyError',
  'AI_JSONParseError',
  'AI_TypeValidationError',
  'AI_NoContentGeneratedError',
])

/** What a provider threw, in our words; its own error stays as the cause. */
function toModelError(error: unknown, name: string): Error {
  if (error instanceof ModelError || error instanceof ConfigError) return error
  // Read by shape: the error may come from another copy of the AI SDK.
  const {
    statusCode: status,
    responseHeaders,
    isRetryable,
    message,
  } = Object(error) as {
    statusCode?: number
    responseHeaders?: Record<string, string>
    isRetryable?: boolean
    message?: string
  }
  const kind = error instanceof Error ? error.name : ''
  const text = redact(message || kind || String(error))
  if (callers.has(kind)) return new ConfigError(`${name}: ${text}`, { cause: error })
  const good = status !== undefined && status < 300
  const retryable =
    good || garbled.has(kind) || isRetryable === true || [408, 409, 429].includes(status ?? 0) || (status ?? 0) >= 500
  const retryAfter = responseHeaders && retryAfterOf(responseHeaders, Date.now())
  return new ModelError(`${name}${status === undefined || good ? '' : ` answered ${status}`}: ${text}`, {
    status: garbled.has(kind) ? (status ?? 200) : status,
    retryable: retryable || isNetwork(error),
    retryAfter,
    cause: error,
  })
}

function isNetwork(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    if (('code' in e && /^(E[A-Z_]+|UND_ERR_\w+)$/.test(String(e.code))) || /^(fetch failed|terminated)$/.test(e.message))
      return true
  }
  return false
}

/** Milliseconds to wait by `retry-after-ms`, or by `retry-after` in seconds or as a date. */
export function retryAfterOf(headers: Readonly<Record<string, string>>, now: number): number | undefined {
  const exact = Number.parseFloat(headers['retry-after-ms'] ?? '')
  if (exact >= 0) return exact
  const given = headers['retry-after']?.trim()
  if (!given) return undefined
  const ms = /^[\d.]+$/.test(given) ? Number.parseFloat(given) * 1000 : Date.parse(given) - now
  return Number.isNaN(ms) ? undefined : Math.max(0, ms)
}

function tellOnce(text: string, told: Set<string>, tell: (text: string) => void): void {
  if (told.has(text)) return
  told.add(text)
  tell(text)
}

function say(warning: { type: string; feature?: string; details?: string; message?: string }): string {
  const what = warning.feature ?? ('setting' in warning ? String(warning.setting) : '') // v2 has settings, later ones features
  return [warning.type, what, warning.details ?? warning.message].filter(Boolean).join(' ')
}

const packed = '\u0000lamarck'

/** A value that JSON keeps whole: bytes and dates become marked objects. */
function pack(value: unknown): unknown {
  if (value instanceof Uint8Array) return { [packed]: 'bytes', value: Buffer.from(value).toString('base64') }
  if (value instanceof Date) return { [packed]: 'date', value: value.toISOString() }
  return mapped(value, pack)
}

function unpack(value: unknown): unknown {
  if (typeof value === 'object' && value !== null && packed in value && 'value' in value) {
    const text = String(value.value)
    return value[packed] === 'date' ? new Date(text) : new Uint8Array(Buffer.from(text, 'base64'))
  }
  return mapped(value, unpack)
}

function mapped(value: unknown, each: (value: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map(each)
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([, v]) => v !== undefined && typeof v !== 'function')
  return Object.fromEntries(kept.map(([key, v]) => [key, each(v)]))
}
