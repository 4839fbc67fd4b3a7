// A language model in this process: a GGUF file through node-llama-cpp, one call at a time. Nothing is downloaded or compiled.
//
// Beginnings that prompts share are evaluated once and kept. Numbers depend on how many tokens are evaluated together, so prompts are
// evaluated in steps of fixed places, and only whole steps are kept: an answer does not depend on what was asked before. (Measured with
// SmolLM2-135M: keeping every shared token changes logits by up to 0.6, keeping whole steps changes none.) On another type of CPU the same
// question may be answered differently.
import { access } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import pLimit from 'p-limit'
import type { Tokenizer } from '../core/context.ts'
import { ConfigError, MissingPackageError, ModelError } from '../core/errors.ts'
import type { Completion, Message, Model, Params, Usage } from '../core/model.ts'

export interface LlamaOptions {
  /** CPU threads; more than one rarely helps beside other work. */
  readonly threads?: number
  /** Tokens of a prompt and its answer together; at most what the model was trained on. */
  readonly contextSize?: number
  /** Beginnings kept at the same time; each takes memory for `contextSize` tokens. */
  readonly sequences?: number
  /** `chat`: the template in the file. `plain`: no template, "Input: …" and "Output: …" lines; better for models not tuned to chat. */
  readonly format?: 'chat' | 'plain'
  /** A folder whose `node_modules` has node-llama-cpp, if this program's has not. */
  readonly packages?: string
}

/**
 * Without `temperature` the likeliest token is taken; without `topP` and `topK` nothing is cut off. `n` completions have the seeds `seed`,
 * `seed + 1`, ….
 */
export interface LlamaModel extends Model, AsyncDisposable {
  readonly tokenizer: Tokenizer
  /** The label the model would rather say: of the tokens that continue some label, the likeliest is taken each time. */
  label(prompt: readonly Message[], labels: readonly string[], signal?: AbortSignal): Promise<Completion>
}

/** Tokens evaluated together. Larger: faster on new prompts; smaller: less of a kept beginning is lost. */
const step = 16

/** Where a plain answer ends. */
const plainStop = ['\n\n', '\nInput:']

/**
 * Loads a model file.
 * @throws {ConfigError} if it is not there or can't be loaded; {@link MissingPackageError} without node-llama-cpp.
 */
export async function llama(file: string, options: LlamaOptions = {}): Promise<LlamaModel> {
  const { threads = 1, contextSize = 4096, sequences = 2, format = 'chat', packages } = options
  await access(file).catch((cause: unknown) => {
    throw new ConfigError(`no model file "${file}": give the path of a .gguf file`, { cause })
  })
  const library = await load(packages)
  const backend = await library.getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: 'disabled',
  })
  const model = await backend.loadModel({ modelPath: resolve(file) }).catch(async (cause: unknown) => {
    await backend.dispose()
    throw new ConfigError(`cannot load the model file "${file}": ${String(cause)}`, { cause })
  })
  const encode = format === 'plain' ? plainEncoder(model) : chatEncoder(model, library, file)
  const context = await model.createContext({ contextSize: Math.min(contextSize, model.trainContextSize), sequences, threads })
  const name = `llamacpp:${basename(file)}`
  const cache = prefixCache(Array.from({ length: sequences }, () => context.getSequence()))
  const oneAtATime = pLimit(1)

  const begin = async (prompt: readonly Message[], signal?: AbortSignal): Promise<Begun> => {
    const tokens = encode(prompt)
    const room = context.contextSize - tokens.length
    if (room < 1) {
      const message = `${name}: a prompt of ${tokens.length} tokens does not fit in ${context.contextSize}; give a larger contextSize`
      throw new ModelError(message, { retryable: false })
    }
    return { ...(await cache.evaluate(tokens, signal)), input: tokens.length, room }
  }
  const draw = async (prompt: readonly Message[], params: Params, seed: number, signal?: AbortSignal): Promise<Completion> => {
    const { sequence, rest, input, cached, room } = await begin(prompt, signal)
    const stop = params.stop ?? (format === 'plain' ? plainStop : [])
    const most = Math.min(params.maxTokens, room)
    const tokens: number[] = []
    let text = ''
    let finish: Completion['finish'] = 'stop'
    for await (const token of sequence.evaluate(rest, sampling(params, seed, tokens))) {
      signal?.throwIfAborted()
      tokens.push(token)
      text = model.detokenize(tokens)
      const end = Math.min(...stop.map((s) => text.indexOf(s)).filter((at) => at >= 0))
      if (end < Infinity) {
        text = text.slice(0, end)
        break
      }
      if (tokens.length >= most) {
        finish = 'length'
        break
      }
    }
    return { text: format === 'plain' ? text.trim() : text, finish, usage: usage(input, cached, tokens.length) }
  }
  const label = async (prompt: readonly Message[], labels: readonly string[], signal?: AbortSignal): Promise<Completion> => {
    const end = format === 'plain' ? model.tokenize('\n', true) : [model.tokens.eos ?? model.tokens.eot ?? -1]
    let open = labels.map((text) => ({
      text,
      tokens: [...model.tokenize(format === 'plain' ? ` ${text}` : text, false), ...end],
    }))
    const { sequence, rest, input, cached } = await begin(prompt, signal)
    let given = rest
    let at = 0
    for (; open.length > 1; at++) {
      signal?.throwIfAborted()
      const next = await likeliest(sequence, given, new Set(open.map((l) => l.tokens[at]!)))
      open = open.filter((l) => l.tokens[at] === next)
      given = [next]
    }
    return { text: open[0]!.text, finish: 'stop', usage: usage(input, cached, at) }
  }

  return {
    name,
    tokenizer: { name: basename(file), count: (text) => model.tokenize(text, false).length },
    sample: (prompt, params, signal) =>
      oneAtATime(async () => {
        const completions: Completion[] = []
        for (let i = 0; i < (params.n ?? 1); i++) {
          completions.push(await guarded(name, signal, () => draw(prompt, params, (params.seed ?? 0) + i, signal)))
        }
        return completions
      }),
    label: (prompt, labels, signal) => {
      if (new Set(labels).size < Math.max(labels.length, 2)) {
        throw new ConfigError(`labels must be two or more, all different; got ${JSON.stringify(labels)}`)
      }
      return oneAtATime(() => guarded(name, signal, () => label(prompt, labels, signal)))
    },
    [Symbol.asyncDispose]: () => oneAtATime(() => backend.dispose()),
  }
}

/** A model that can only answer with one of `labels`. It takes the likeliest at every draw, whatever the temperature. */
export function labelled(model: LlamaModel, labels: readonly string[]): Model {
  return {
    name: `${model.name}[${labels.join('|')}]`,
    async sample(prompt, { n = 1 }, signal) {
      const completion = await model.label(prompt, labels, signal)
      return Array.from({ length: n }, () => completion)
    },
  }
}

interface Begun {
  readonly sequence: Sequence
  /** Tokens of the prompt that are still to be evaluated; one at least. */
  readonly rest: readonly number[]
  readonly input: number
  readonly cached: number
  /** Tokens left for an answer. */
  readonly room: number
}

interface PrefixCache {
  evaluate(tokens: readonly number[], signal?: AbortSignal): Promise<Pick<Begun, 'sequence' | 'rest' | 'cached'>>
}

/**
 * Evaluates all but the last step of a prompt: in the sequence that has most of it, unless that would lose more than half of what the
 * sequence keeps; then, or if several have as much, in the least recently used one.
 */
function prefixCache(sequences: readonly Sequence[]): PrefixCache {
  let slots = sequences.map((sequence) => ({ sequence, kept: [] as readonly number[] })) // least recently used first
  return {
    async evaluate(tokens, signal) {
      const shared = (slot: { kept: readonly number[] }): number => wholeSteps(commonLength(slot.kept, tokens))
      const [oldest, ...others] = slots.filter((s) => 2 * shared(s) >= s.kept.length)
      const slot = oldest ? others.reduce((a, b) => (shared(b) > shared(a) ? b : a), oldest) : slots[0]!
      slots = [...slots.filter((s) => s !== slot), slot]
      const { sequence } = slot
      let at = Math.min(shared(slot), wholeSteps(tokens.length - 1))
      slot.kept = tokens.slice(0, at)
      if (sequence.nextTokenIndex > at) await sequence.eraseContextTokenRanges([{ start: at, end: sequence.nextTokenIndex }])
      if (sequence.nextTokenIndex !== at) {
        // Some architectures can't go back.
        await sequence.clearHistory()
        slot.kept = []
        at = 0
      }
      const cached = at
      for (; at + step < tokens.length; at += step) {
        signal?.throwIfAborted()
        await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(at, at + step))
        slot.kept = tokens.slice(0, at + step)
      }
      return { sequence, rest: tokens.slice(at), cached }
    },
  }
}

function wholeSteps(length: number): number {
  return length - (length % step)
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  const end = Math.min(a.length, b.length)
  let i = 0
  while (i < end && a[i] === b[i]) i++
  return i
}

async function likeliest(sequence: Sequence, given: readonly number[], tokens: ReadonlySet<number>): Promise<number> {
  if (tokens.size === 1) {
    await sequence.evaluateWithoutGeneratingNewTokens(given)
    return [...tokens][0]!
  }
  const ask = { generateNext: { logits: { filter: { tokens: [...tokens] } }, options: { temperature: 0 } } }
  const out = await sequence.controlledEvaluate([...given.slice(0, -1), [given.at(-1)!, ask]])
  const logits = out.at(-1)?.next.logits
  if (!logits) throw new TypeError('expected logits of the last token')
  return [...tokens].reduce((a, b) => (logits.get(b)! > logits.get(a)! ? b : a))
}

function sampling(params: Params, seed: number, sofar: readonly number[]): Sampling {
  const { temperature = 0, topP = 1, topK = 0, presencePenalty = 0 } = params
  if (presencePenalty === 0) return { temperature, topP, topK, seed }
  const repeatPenalty = {
    penalty: 1,
    presencePenalty,
    maxPunishTokens: params.maxTokens,
    punishTokens: () => [...new Set(sofar)],
  }
  return { temperature, topP, topK, seed, repeatPenalty }
}

function usage(input: number, cached: number, output: number): Usage {
  return { input, cached, output, reasoning: 0 }
}

type Encoder = (prompt: readonly Message[]) => readonly number[]

/** The template in the file; text of messages never becomes a control token. */
function chatEncoder(model: Weights, library: Library, file: string): Encoder {
  const template = model.fileInfo.metadata.tokenizer?.chat_template
  if (!template) throw new ConfigError(`the model file "${file}" has no chat template: use format 'plain'`)
  const wrapper = new library.JinjaTemplateChatWrapper({ template })
  return (prompt) => {
    const chatHistory = [...prompt.map(turnOf), { type: 'model' as const, response: [] }]
    return wrapper.generateContextState({ chatHistory }).contextText.tokenize(model.tokenizer)
  }
}

function turnOf({ role, content }: Message): ChatTurn {
  return role === 'assistant' ? { type: 'model', response: [content] } : { type: role, text: content }
}

function plainEncoder(model: Weights): Encoder {
  const start = model.tokens.shouldPrependBosToken && model.tokens.bos !== null ? [model.tokens.bos] : []
  return (prompt) => [...start, ...model.tokenize(prompt.map(plainText).join(''), false)]
}

function plainText({ role, content }: Message): string {
  if (role === 'system') return `${content}\n\n`
  return role === 'user' ? `Input: ${content}\nOutput:` : ` ${content}\n\n`
}

async function guarded<T>(name: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  signal?.throwIfAborted()
  try {
    return await work()
  } catch (cause) {
    if (signal?.aborted) throw signal.reason
    throw cause instanceof ModelError ? cause : new ModelError(`${name}: ${String(cause)}`, { retryable: false, cause })
  }
}

async function load(packages: string | undefined): Promise<Library> {
  const name = 'node-llama-cpp'
  try {
    const from = packages === undefined ? name : pathToFileURL(createRequire(join(resolve(packages), 'x.js')).resolve(name)).href
    return await import(from) // the part of it that is used is declared below
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw cause
    const where = packages === undefined ? '' : ` in ${packages}`
    throw new MissingPackageError(
      `${name} is not installed${where}: run npm install --ignore-scripts ${name}@3.22.1; or, 85 instead of 725 MB, in a folder of its own with --omit=optional and the build of your machine (such as @node-llama-cpp/linux-x64@3.22.1), and name that folder in LAMARCK_PACKAGES`,
      { cause },
    )
  }
}

// What is used of node-llama-cpp 3.22: it is too large to install for its types.

interface Library {
  getLlama(options: {
    readonly gpu: false
    readonly build: 'never'
    readonly skipDownload: true
    readonly progressLogs: false
    readonly logLevel: 'disabled'
  }): Promise<Backend>
  readonly JinjaTemplateChatWrapper: new (options: { readonly template: string }) => ChatWrapper
}

interface Backend {
  loadModel(options: { readonly modelPath: string }): Promise<Weights>
  dispose(): Promise<void>
}

interface Weights {
  readonly tokenizer: unknown
  readonly tokens: {
    readonly bos: number | null
    readonly eos: number | null
    readonly eot: number | null
    readonly shouldPrependBosToken: boolean
  }
  readonly trainContextSize: number
  readonly fileInfo: { readonly metadata: { readonly tokenizer?: { readonly chat_template?: string } } }
  tokenize(text: string, specialTokens: boolean): number[]
  detokenize(tokens: readonly number[]): string
  createContext(options: { readonly contextSize: number; readonly sequences: number; readonly threads: number }): Promise<{
    readonly contextSize: number
    getSequence(): Sequence
  }>
}

type ChatTurn =
  | { readonly type: 'system' | 'user'; readonly text: string }
  | { readonly type: 'model'; readonly response: readonly string[] }

interface ChatWrapper {
  generateContextState(state: { readonly chatHistory: readonly ChatTurn[] }): {
    readonly contextText: { tokenize(tokenizer: unknown): number[] }
  }
}

interface Sampling {
  readonly temperature: number
  readonly topP: number
  readonly topK: number
  readonly seed: number
  readonly repeatPenalty?: {
    readonly penalty: number
    readonly presencePenalty: number
    readonly maxPunishTokens: number
    readonly punishTokens: () => number[]
  }
}

interface LogitsAsk {
  readonly generateNext: {
    readonly logits: { readonly filter: { readonly tokens: number[] } }
    readonly options: { readonly temperature: number }
  }
}

interface Sequence {
  readonly nextTokenIndex: number
  clearHistory(): Promise<void>
  eraseContextTokenRanges(ranges: readonly { readonly start: number; readonly end: number }[]): Promise<void>
  evaluate(tokens: readonly number[], options: Sampling): AsyncGenerator<number, void>
  evaluateWithoutGeneratingNewTokens(tokens: readonly number[]): Promise<void>
  controlledEvaluate(
    input: readonly (number | readonly [number, LogitsAsk])[],
  ): Promise<readonly ({ readonly next: { readonly logits?: ReadonlyMap<number, number> } } | undefined)[]>
}
