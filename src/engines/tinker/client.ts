// The calls of the Tinker API that training needs, typed. One sequence number a model, counted over everything that changes it: requests are sent
// one at a time, in the order they were made, and their results are waited for together.
import pLimit, { type LimitFunction } from 'p-limit'
import type { Adam, Metrics } from '../../core/engine.ts'
import { ConfigError, EngineError } from '../../core/errors.ts'
import { type Datum, defaultLimits, type Limits, type ServerLoss } from './datums.ts'
import { bytesOf, dtypes, float32s, int32s, int64s, loadMessages, type Messages } from './messages.ts'
import { signIn } from './sign-in.ts'
import { RefusedError, record, type Wire, type WireOptions, wireOf } from './wire.ts'

/** Which server, and how much is asked of it at once. */
export interface ClientOptions extends WireOptions {
  /** Samples and their waiting that are under way at once. Default 32. */
  readonly concurrency?: number
}

/** A model as the server offers it. */
export interface Offered {
  readonly name: string
  /** Longest sequence, where the server says so. */
  readonly context: number | undefined
}

/** What a training pass found. */
export interface Pass {
  /** Of the targets under the model now, for each row, [N][T]. */
  readonly logprobs: readonly Float32Array[]
  /** As the server reckons it, [N][T]; the self-hosted server gives it. */
  readonly losses: readonly Float32Array[]
  readonly metrics: Metrics
}

/** What is drawn, and how. */
export interface SampleOptions {
  readonly prompt: Int32Array
  readonly maxTokens: number
  /** How many; the i-th is drawn with seed + i. */
  readonly n: number
  readonly seed: number
  readonly temperature: number
  readonly topP: number
  /** −1 for all. */
  readonly topK: number
  /** Tokens that end a sequence. They are part of it. */
  readonly stops: readonly number[]
}

/** One answer in tokens. */
export interface Sequence {
  readonly tokens: Int32Array<ArrayBuffer>
  /** Under the model itself, at temperature 1 with nothing cut off. */
  readonly logprobs: Float32Array<ArrayBuffer>
  readonly finish: 'stop' | 'length'
}

/** Weights that can be drawn from. */
export interface Sampler {
  /** Aborted, it is not sent if it still waited for its turn; else it ends as it would. */
  sample(options: SampleOptions, signal?: AbortSignal): Promise<readonly Sequence[]>
}

/** Weights that were written: kind `training` holds the optimizer, `sampler` can be drawn from and downloaded. */
export interface Checkpoint {
  readonly path: string
  readonly kind: 'training' | 'sampler'
}

/** What weights belong to. */
export interface WeightsInfo {
  readonly baseModel: string
  readonly rank: number | undefined
}

/** A model on the server, with LoRA weights of its own. */
export interface TinkerModel {
  readonly id: string
  /** Adds the gradient of the loss to what was gathered since the last step. */
  forwardBackward(rows: readonly Datum[], loss: ServerLoss): Promise<Pass>
  /** The same without a gradient. */
  forward(rows: readonly Datum[], loss: ServerLoss): Promise<Pass>
  optimStep(adam: Adam): Promise<Metrics>
  /** Weights and optimizer; gives back the path that `loadWeights` takes. A name that is taken gets a number. */
  saveWeights(name: string): Promise<string>
  /** Weights that can be drawn from; gives back their path. */
  saveForSampler(name: string): Promise<string>
  /** Draws from the model as it is now. Used after a step of the model, it would draw from the new weights, or undo the step. */
  sampler(): Promise<Sampler & { readonly checkpoint: string }>
  /** The model's first request, or it is refused. */
  loadWeights(path: string, options?: { readonly optimizer?: boolean }): Promise<void>
  /** Frees its place on the server, which `isLast` tries once: a session that ends frees it too. */
  unload(options?: { readonly isLast?: boolean }): Promise<void>
}

/** A session on one server. */
export interface TinkerClient extends AsyncDisposable {
  readonly url: string
  readonly limits: Limits
  /** Whether it is the hosted service, as far as its answers tell. */
  readonly isHosted: boolean
  readonly models: readonly Offered[]
  createModel(options: { readonly baseModel: string; readonly rank: number; readonly seed?: number }): Promise<TinkerModel>
  /** Of a base model or of `tinker://` weights for sampling. */
  sampler(source: { readonly baseModel: string } | { readonly path: string }): Promise<Sampler>
  checkpoints(modelId: string): Promise<readonly Checkpoint[]>
  weightsInfo(path: string): Promise<WeightsInfo>
  /** Sampler weights as a tar.gz in PEFT's layout. */
  archive(modelId: string, name: string): Promise<Uint8Array>
  deleteCheckpoint(modelId: string, checkpoint: string): Promise<void>
}

/** Between two beats; SkyRL lets go of a session that is silent for 300 s. */
const heartbeatEvery = 10_000 // ms
/** The API's version that is spoken, as its SDK counts them. */
const spoken = '0.38.0'

/**
 * Opens a session, which is kept alive until disposed; what is under way then ends.
 * @throws {ConfigError} if no server answers, or not to this key; `MissingPackageError` without @bufbuild/protobuf.
 */
export async function tinkerClient(options: ClientOptions): Promise<TinkerClient> {
  const messages = await loadMessages()
  const closing = new AbortController()
  const ends = [closing.signal, ...(options.signal ? [options.signal] : [])]
  const way = { ...options, signal: AbortSignal.any(ends) }
  const byKey = wireOf(way)
  const config = record(await firstAnswer(byKey))
  const wire = config.pjwt_auth_enabled === true ? wireOf(way, signIn(byKey)) : byKey
  const offered = record(await wire.send('GET', 'get_server_capabilities')).supported_models
  const session = textOf(
    await wire.send('POST', 'create_session', {
      body: { tags: ['lamarck'], user_metadata: {}, sdk_version: spoken, type: 'create_session' },
    }),
    'session_id',
  )
  const heart = heartbeat(wire, session)
  const drawing = pLimit(options.concurrency ?? 32)
  const all: Common = { wire, messages, drawing, session, samplerSequence: counter() }
  const modelSequence = counter()

  return {
    url: wire.url,
    limits: {
      datums: countOf(config.fwdbwd_max_chunk_len) ?? defaultLimits.datums,
      bytes: countOf(config.fwdbwd_max_chunk_bytes_count) ?? defaultLimits.bytes,
    },
    isHosted: config.fwdbwd_max_chunk_len !== undefined,
    models: listOf(offered).map((m) => ({ name: textOf(m, 'model_name'), context: countOf(record(m).max_context_length) })),
    async createModel({ baseModel, rank, seed }) {
      const body = {
        session_id: session,
        model_seq_id: modelSequence(),
        base_model: baseModel,
        lora_config: { rank, ...(seed !== undefined && { seed }) },
        type: 'create_model',
      }
      return modelOf(await wire.compute('create_model', { body, read: (answer) => textOf(answer, 'model_id') }), all)
    },
    async sampler(source) {
      const from = 'path' in source ? { model_path: source.path } : { base_model: source.baseModel }
      const body = {
        ...{ session_id: session, sampling_session_seq_id: all.samplerSequence(), ...from },
        type: 'create_sampling_session',
      }
      return samplerOf(textOf(await wire.send('POST', 'create_sampling_session', { body }), 'sampling_session_id'), all)
    },
    async checkpoints(modelId) {
      const { checkpoints } = record(await wire.send('GET', `training_runs/${encodeURIComponent(modelId)}/checkpoints`))
      return listOf(checkpoints).map((c) => ({
        path: textOf(c, 'tinker_path'),
        kind: record(c).checkpoint_type === 'sampler' ? 'sampler' : 'training',
      }))
    },
    async weightsInfo(path) {
      const info = record(await wire.send('POST', 'weights_info', { body: { tinker_path: path } }))
      return { baseModel: textOf(info, 'base_model'), rank: countOf(info.lora_rank) }
    },
    archive: (modelId, name) =>
      wire.download(`training_runs/${encodeURIComponent(modelId)}/checkpoints/${encodeURIComponent(name)}/archive`),
    async deleteCheckpoint(modelId, checkpoint) {
      await wire.send('DELETE', `training_runs/${encodeURIComponent(modelId)}/checkpoints/${checkpoint}`)
    },
    async [Symbol.asyncDispose]() {
      clearInterval(heart)
      closing.abort(new EngineError(`the connection to ${wire.url} was closed`))
    },
  }
}

async function firstAnswer(wire: Wire): Promise<unknown> {
  try {
    return await wire.send('POST', 'client/config', { body: { sdk_version: spoken }, isOnce: true })
  } catch (error) {
    if (error instanceof RefusedError && error.status === 404) {
      throw new ConfigError(`${wire.url} is no Tinker server: it has no /api/v1/client/config`, { cause: error })
    }
    if (!(error instanceof EngineError) || error instanceof RefusedError) throw error
    throw new ConfigError(error.message, { cause: error })
  }
}

/** A beat that does not arrive shows in the next call; the clock keeps no program alive. */
function heartbeat(wire: Wire, session: string): NodeJS.Timeout {
  const body = { session_id: session, type: 'session_heartbeat' }
  const beat = (): void => void wire.send('POST', 'session_heartbeat', { body, isOnce: true }).catch(() => undefined)
  return setInterval(beat, heartbeatEvery).unref()
}

/** What models and samplers of a session share. */
interface Common {
  readonly wire: Wire
  readonly messages: Messages
  readonly drawing: LimitFunction
  readonly session: string
  readonly samplerSequence: () => number
}

/** 1, 2, 3, …. */
function counter(from = 1): () => number {
  let next = from
  return () => next++
}

function modelOf(id: string, all: Common): TinkerModel {
  const { wire, messages } = all
  const sequence = counter()
  const inOrder = pLimit(1)
  let last = 0
  let failed = 0

  /** Sends in order. What waited for its turn when a request before it was not taken is not sent. */
  const compute = <T>(path: string, of: (seq: number) => object | Uint8Array<ArrayBuffer>, read: (answer: unknown) => T) => {
    const known = failed
    return new Promise<T>((settle, fail) => {
      const turn = (taken: () => void): void => {
        if (failed !== known) {
          fail(new EngineError(`${path} was not sent: the request before it failed`))
          taken()
          return
        }
        let isTaken = false
        const sent = (): void => {
          isTaken = true
          taken()
        }
        last = sequence()
        wire.compute(path, { body: of(last), read, sent }).then(settle, (error: unknown) => {
          if (!isTaken) failed++
          fail(error)
          taken()
        })
      }
      void inOrder(() => new Promise<void>(turn))
    })
  }

  const pass = async (rows: readonly Datum[], { name, config }: ServerLoss, forwardOnly: boolean): Promise<Pass> => {
    checkRows(rows)
    let sent = 0
    const body = (seqId: number): Uint8Array<ArrayBuffer> => {
      sent = seqId
      return messages.encode('request', {
        ...{ modelId: id, seqId, lossFn: name, lossFnConfig: { ...config }, forwardOnly },
        data: rows.map(rowOf),
        lossFnConfigV2: Object.fromEntries(
          Object.entries(config).map(([key, value]) => [key, { value: { case: 'number' as const, value } }]),
        ),
      })
    }
    const once = (): Promise<Pass> =>
      compute('forward_backward', body, (answer) => passOf(binaryOf(answer), messages, rows.length))
    try {
      return await once()
    } catch (error) {
      if (!(isOfAnother(error, name) && last === sent)) throw error
      return once()
    }
  }

  const saved = (type: 'save_weights' | 'save_weights_for_sampler') => (name: string) =>
    underFreeName(name, (path) => {
      const body = (seq: number): object => ({ model_id: id, path, seq_id: seq, type })
      return compute(type, body, (answer) => textOf(answer, 'path'))
    })

  return {
    id,
    forwardBackward: (rows, loss) => pass(rows, loss, false),
    forward: (rows, loss) => pass(rows, loss, true),
    optimStep: ({ learningRate, beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8, maxNorm }) => {
      const params = { learning_rate: learningRate, beta1, beta2, eps: epsilon, weight_decay: 0 }
      const adam = maxNorm === undefined ? params : { ...params, grad_clip_norm: maxNorm }
      const body = (seq: number): object => ({ model_id: id, seq_id: seq, adam_params: adam, type: 'optim_step' })
      return compute('optim_step', body, (answer) => numbersOf(record(answer).metrics))
    },
    saveWeights: saved('save_weights'),
    saveForSampler: saved('save_weights_for_sampler'),
    sampler: () => {
      const refresh = async (): Promise<Sampler & { readonly checkpoint: string }> => {
        const nth = all.samplerSequence()
        let checkpoint = ''
        const body = (seq: number): object => {
          checkpoint = `sampler_weights/ss${nth}_seq${seq}`
          return { model_id: id, sampling_session_seq_id: nth, seq_id: seq, type: 'save_weights_for_sampler' }
        }
        const name = await compute('save_weights_for_sampler', body, (answer) => textOf(answer, 'sampling_session_id'))
        return { ...samplerOf(name, all), checkpoint }
      }
      return underFreeName('', refresh) // each has a name of its own
    },
    loadWeights: (path, { optimizer = true } = {}) => {
      const body = (seq: number): object => ({ model_id: id, path, optimizer, seq_id: seq, type: 'load_weights' })
      return compute('load_weights', body, () => undefined)
    },
    unload: ({ isLast = false } = {}) => {
      const body = { model_id: id, type: 'unload_model' }
      return inOrder(() => wire.compute('unload_model', { body, read: () => undefined, isOnce: isLast }))
    },
  }
}

/** Names tried before a server is believed that none is free. */
const mostNames = 100

/**
 * Saves under a name, or under that with a number. A name can be taken by the same request, sent before: the server then kept its weights, but
 * its answer was lost.
 */
async function underFreeName<T>(name: string, save: (free: string) => Promise<T>): Promise<T> {
  for (let nth = 1; ; nth++) {
    try {
      return await save(nth === 1 ? name : `${name}-${nth}`)
    } catch (error) {
      if (nth === mostNames || !(error instanceof RefusedError && error.status === 409 && /already exists/i.test(error.detail)))
        throw error
    }
  }
}

/** Whether a pass was refused for another's loss: the server computes them together and fails them together. */
function isOfAnother(error: unknown, loss: string): boolean {
  const named = error instanceof RefusedError && /loss functions \[(.*?)\] are not supported/i.exec(error.detail)
  return Boolean(named && !named[1]?.includes(`'${loss}'`))
}

/** @throws {EngineError} on what the server would never answer, or pad in silence. */
function checkRows(rows: readonly Datum[]): void {
  if (rows.length === 0) throw new EngineError('a training pass without rows is never answered')
  for (const [i, { tokens, targets, inputs }] of rows.entries()) {
    for (const [name, { length }] of Object.entries({ targets, ...inputs })) {
      if (length !== tokens.length) throw new EngineError(`row ${i}: expected ${tokens.length} ${name}, got ${length}`)
    }
  }
}

function rowOf({ tokens, targets, inputs }: Datum) {
  const shape = [BigInt(tokens.length)]
  const numbers = Object.entries(inputs).map(([name, values]) => [name, { dense: bytesOf(values), dtype: dtypes.float32, shape }])
  return {
    modelInput: [{ encodedText: { tokens: bytesOf(tokens) } }],
    lossFnInputs: {
      target_tokens: { dense: bytesOf(BigInt64Array.from(targets, BigInt)), dtype: dtypes.int64, shape },
      ...Object.fromEntries(numbers),
    },
  }
}

function passOf(bytes: Uint8Array, messages: Messages, rows: number): Pass {
  const { lossFnOutputs, metrics } = messages.decode('output', bytes)
  const column = (name: string): readonly Float32Array[] =>
    lossFnOutputs.flatMap(({ fields }) => {
      const found = fields[name]
      if (!found) return []
      const offsets = int64s(found.offsets)
      return offsets.slice(1).map((end, i) => float32s(found.data.subarray(offsets[i], end), found.dtype))
    })
  const logprobs = column('logprobs')
  if (logprobs.length !== rows)
    throw new EngineError(`expected log-probabilities of ${rows} rows from the server, got ${logprobs.length}`)
  return { logprobs, losses: column('elementwise_loss'), metrics }
}

function samplerOf(id: string, { wire, messages, drawing }: Common): Sampler {
  const sequence = counter(0)
  return {
    sample: ({ prompt, maxTokens, n, seed, temperature, topP, topK, stops }, signal) =>
      drawing(() => {
        signal?.throwIfAborted()
        const body = {
          sampling_session_id: id,
          seq_id: sequence(),
          num_samples: n,
          prompt: { chunks: [{ type: 'encoded_text', tokens: Array.from(prompt) }] },
          sampling_params: { max_tokens: maxTokens, temperature, top_p: topP, top_k: topK, seed, stop: stops },
          prompt_logprobs: false,
          type: 'sample',
        }
        // Not given up once it is sent: who trains next must know that it is over.
        return wire.compute('asample', { body, read: (answer) => sequencesOf(binaryOf(answer), messages, n) })
      }),
  }
}

function sequencesOf(bytes: Uint8Array, messages: Messages, n: number): readonly Sequence[] {
  const { sequences } = messages.decode('sample', bytes)
  if (sequences.length !== n) throw new EngineError(`expected ${n} sequences from the server, got ${sequences.length}`)
  return sequences.map(({ stopReason, ...sequence }) => {
    const tokens = int32s(sequence.tokens)
    const logprobs = float32s(sequence.logprobs)
    if (logprobs.length !== tokens.length) {
      throw new EngineError(`expected ${tokens.length} log-probabilities of the tokens drawn, the server gave ${logprobs.length}`)
    }
    return { tokens, logprobs, finish: stopReason === 0 ? 'stop' : 'length' }
  })
}

function binaryOf(answer: unknown): Uint8Array {
  if (answer instanceof Uint8Array) return answer
  throw new EngineError(`expected a binary message from the server, got ${JSON.stringify(answer)?.slice(0, 80)}`)
}

function textOf(answer: unknown, field: string): string {
  const found = record(answer)[field]
  if (typeof found === 'string') return found
  throw new EngineError(`expected ${field} from the server, got ${JSON.stringify(answer).slice(0, 80)}`)
}

function listOf(answer: unknown): readonly unknown[] {
  return Array.isArray(answer) ? answer : []
}

function countOf(value: unknown): number | undefined {
  return typeof value === 'number' && value > 0 ? value : undefined
}

function numbersOf(answer: unknown): Metrics {
  const entries = Object.entries(answer === null || answer === undefined ? {} : record(answer))
  return Object.fromEntries(entries.filter((entry): entry is [string, number] => typeof entry[1] === 'number'))
}
