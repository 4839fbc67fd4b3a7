// A policy trained over the Tinker API: on the hosted service, or on a SkyRL server of one's own. Weights, gradients and optimizer are the server's.
//
// Order is what keeps it right. On SkyRL the sampler and the trainer share the weights: a sample of an earlier step that arrives after a step
// would undo it, in silence. So a policy is refused from the moment a step is asked for, and the step waits for all that is being drawn.
// Gradients that a model did not use stay in its place there, for the next model: a first one is made only to sweep them out.
// When something fails between a gradient and its step, nobody can tell what the server gathered: then only `load` is answered.
import pLimit from 'p-limit'
import type { Adam, Engine, Group, Loss, Metrics } from '../../core/engine.ts'
import { ConfigError, EngineError, NotFiniteError } from '../../core/errors.ts'
import type { Message } from '../../core/model.ts'
import { rng, shuffle } from '../../core/rng.ts'
import { type Checkpoint, type ClientOptions, type Sampler, type TinkerClient, type TinkerModel, tinkerClient } from './client.ts'
import { checkGroups, chunksOf, type Datum, datumsOf, metricsOf, type Scale, serverLoss } from './datums.ts'
import { policyOf } from './policy.ts'
import type { Tokenizer } from './tokenizer.ts'
import { RefusedError } from './wire.ts'

/** Which model of which server is trained. */
export interface TinkerOptions extends ClientOptions {
  /** The model's own. */
  readonly tokenizer: Tokenizer
  /** As the server calls it. Default: the only one it has. */
  readonly model?: string | undefined
  /** Of the LoRA weights. Default 32. */
  readonly rank?: number
  /** Of their initial values. Default 0. */
  readonly seed?: number
  /** Longest sequence, in tokens. Must be given where the server does not say it. */
  readonly context?: number | undefined
  /** Rows of a training pass are a multiple of this: the `train_micro_batch_size` of a JAX server, which compiles for each number. */
  readonly multiple?: number
  /** False for weights that were never trained: then nothing shows whether the tokenizer is the model's. Default true. */
  readonly isPretrained?: boolean
}

/** What an engine on a server can do beyond any other. */
export interface TinkerEngine extends Engine {
  /** Of the model that is trained now, by the server's name. */
  readonly modelId: string
  /** How the server scales its losses (see datums.ts): found out by asking it. */
  readonly scale: Scale
  /** `optimizer: false` begins with a fresh optimizer. */
  load(checkpoint: string, options?: { readonly optimizer?: boolean }): Promise<void>
  /** The trained LoRA as a tar.gz in PEFT's layout. */
  adapter(name: string): Promise<Uint8Array>
  /** What was written of the model that is trained now. */
  checkpoints(): Promise<readonly Checkpoint[]>
}

/** One model on the server, and the session that keeps it alive. */
interface Seat {
  readonly client: TinkerClient
  readonly model: TinkerModel
}

/**
 * Opens a model with fresh LoRA weights; `load` puts others in their place.
 * @throws {ConfigError} if there is no such server, key or model, or the tokenizer is not the model's; `MissingPackageError` without @bufbuild/protobuf.
 */
export async function tinkerEngine(options: TinkerOptions): Promise<TinkerEngine> {
  const { tokenizer, rank = 32, seed = 0, multiple } = options
  if (tokenizer.stops.length === 0)
    throw new ConfigError('the tokenizer names no stop token, and the server knows none by itself')
  const create = (client: TinkerClient): Promise<TinkerModel> => client.createModel({ baseModel, rank, seed })
  const first = await tinkerClient(options)
  let baseModel: string
  let context: number
  let scale: Scale
  let seat: Seat
  try {
    ;({ baseModel, context } = chosen(first, options))
    const probe: Seat = { client: first, model: await create(first) }
    scale = await scaleOf(probe, options).catch(async (error: unknown) => {
      await leave(probe)
      throw error
    })
    await swept(probe.model, scale)
    seat = { client: first, model: await create(first) }
  } catch (error) {
    await first[Symbol.asyncDispose]()
    throw error
  }

  /** A model that begins with no gradient. On SkyRL's JAX backend it would find those that the last model in its place left there. */
  const sit = async (client: TinkerClient): Promise<Seat> => {
    if (scale === 'sequence') await swept(await create(client), scale)
    return { client, model: await create(client) }
  }
  /** Counts steps and loads: policies know theirs. */
  let version = 0
  /** Rows of the first pass since the last step; undefined = nothing was gathered. */
  let rows: number | undefined
  let broken: Error | undefined
  let refreshed: { readonly version: number; readonly sampler: ReturnType<TinkerModel['sampler']> } | undefined
  const drawing = new Set<Promise<unknown>>()
  const inOrder = pLimit(1)

  /** Sends in the order of the calls; waits for the result beside the calls that follow. */
  const ordered = async <T>(send: () => Promise<{ readonly done: Promise<T> }>): Promise<T> =>
    (
      await inOrder(() => {
        if (broken)
          throw new EngineError(`the server may hold half a step: load a checkpoint (${broken.message})`, { cause: broken })
        return send()
      })
    ).done
  /** What fails from here on leaves the server in an unknown state. */
  const guarded = async <T>(work: Promise<T>, isHarmless: (error: unknown) => boolean = () => false): Promise<T> => {
    const mine = seat
    try {
      return await work
    } catch (error) {
      if (!isHarmless(error) && mine === seat) broken = error instanceof Error ? error : new Error(String(error))
      throw error
    }
  }

  const engine: Omit<TinkerEngine, 'modelId'> = {
    name: 'tinker',
    scale,
    forwardBackward: (groups: readonly Group[], loss: Loss): Promise<Metrics> =>
      ordered(async () => {
        checkGroups(groups, loss, context)
        const { client, model } = seat
        const datums = datumsOf(groups, loss, { scale, multiple, rows })
        const chunks = chunksOf(datums, client.limits)
        const before = rows
        rows ??= datums.length
        const passes = Promise.all(chunks.map((chunk) => model.forwardBackward(chunk, serverLoss(loss, scale))))
        const isHarmless = (error: unknown): boolean => chunks.length === 1 && tookNothing(error)
        const learned = async (): Promise<Metrics> => {
          const now = (await passes).flatMap(({ logprobs }) => logprobs)
          const metrics = metricsOf(groups, loss, now)
          if (!Number.isFinite(metrics.loss))
            throw new NotFiniteError(`the ${loss.kind} loss is ${metrics.loss}: load the last checkpoint`)
          return metrics
        }
        const done = guarded(learned(), isHarmless).catch((error: unknown) => {
          if (isHarmless(error)) rows = before
          throw error
        })
        return { done }
      }),
    async optimStep(adam: Adam): Promise<Metrics> {
      if (adam.maxNorm !== undefined && !seat.client.isHosted) {
        throw new ConfigError(`${seat.client.url} does not clip gradients: leave maxNorm out, it is ${adam.maxNorm}`)
      }
      version++
      return ordered(async () => {
        if (rows === undefined) throw new EngineError('there is no gradient since the last step: call forwardBackward first')
        rows = undefined
        await Promise.allSettled(drawing)
        return { done: guarded(stepOf(seat.model, adam)) }
      })
    },
    encode: (prompt: readonly Message[]) => tokenizer.encodeChat(prompt),
    policy: () =>
      ordered(async () => {
        const { client, model } = seat
        const mine = version
        if (refreshed?.version !== mine) refreshed = { version: mine, sampler: freshSampler(client, model, refreshed?.sampler) }
        const { sampler } = refreshed
        sampler.catch(() => {
          if (refreshed?.sampler === sampler) refreshed = undefined
        })
        const done = sampler.then((sampler) =>
          policyOf({
            ...{ name: `tinker:${model.id}@${mine}`, sampler, tokenizer, context },
            isCurrent: () => version === mine,
            watch(call) {
              drawing.add(call)
              const forget = (): void => void drawing.delete(call)
              call.then(forget, forget)
            },
          }),
        )
        return { done }
      }),
    save: (name) =>
      ordered(async () => {
        checkName(name)
        return { done: seat.model.saveWeights(name) }
      }),
    load: (checkpoint, { optimizer = true } = {}) => {
      version++
      return inOrder(async () => {
        await Promise.allSettled(drawing)
        const next = await loaded(checkpoint, optimizer)
        const last = seat
        seat = next
        rows = undefined
        broken = undefined
        refreshed = undefined
        await leave(last)
      })
    },
    adapter: (name) =>
      ordered(async () => {
        checkName(name)
        const { client, model } = seat
        return { done: model.saveForSampler(name).then(() => client.archive(model.id, name)) }
      }),
    checkpoints: () => seat.client.checkpoints(seat.model.id),
    async [Symbol.asyncDispose]() {
      version++
      await inOrder(() => leave(seat))
    },
  }
  return Object.defineProperty(engine, 'modelId', { get: () => seat.model.id, enumerable: true }) as TinkerEngine // now it has all

  /** A model of its own for a checkpoint, as only the first request of a model may load. */
  async function loaded(checkpoint: string, optimizer: boolean): Promise<Seat> {
    const client = await tinkerClient(options)
    let next: Seat | undefined
    try {
      await checkCheckpoint(client, checkpoint, { baseModel, rank })
      next = await sit(client).catch(async (error: unknown) => {
        if (!(error instanceof RefusedError && /maximum number/i.test(error.detail))) throw error
        await leave(seat)
        return sit(client)
      })
      await next.model.loadWeights(checkpoint, { optimizer })
      return next
    } catch (error) {
      if (next) await leave(next)
      await client[Symbol.asyncDispose]()
      if (!(error instanceof RefusedError)) throw error
      throw new EngineError(`checkpoint ${checkpoint} can't be loaded: ${error.message}`, { cause: error })
    }
  }
}

/** Frees the place of a model for the next one, and leaves no gradient there. */
async function swept(model: TinkerModel, scale: Scale): Promise<void> {
  if (scale === 'sequence') await model.optimStep({ learningRate: 0 })
  await model.unload()
}

/** Frees the place of a model. One that is gone, or whose server is, has none. */
async function leave({ client, model }: Seat): Promise<void> {
  try {
    await model.unload({ isLast: true })
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
  } finally {
    await client[Symbol.asyncDispose]()
  }
}

function chosen({ url, models }: TinkerClient, { model, context }: TinkerOptions): { baseModel: string; context: number } {
  const names = models.map(({ name }) => name)
  const have = `(have: ${names.join(', ')})`
  if (model === undefined && names.length !== 1) throw new ConfigError(`${url} has ${names.length} models: choose one ${have}`)
  const baseModel = model ?? names[0]!
  if (names.length > 0 && !names.includes(baseModel)) throw new ConfigError(`${url} has no model "${baseModel}" ${have}`)
  const longest = context ?? models.find(({ name }) => name === baseModel)?.context
  if (longest === undefined) throw new ConfigError(`${url} does not say how long a sequence ${baseModel} takes: give context`)
  return { baseModel, context: longest }
}

/** Plain English: a model likes its words more in their order than in any other, if they reach it as what they are. */
const sentence =
  'The cat sat on the mat and looked out of the window, because it was raining and there was nothing else to do that day.'
/** By how much more, in nats a token. */
const leastPreference = 0.5

/**
 * One pass without a gradient: how the server scales its losses, and whether the tokens are the model's. The backends that sum report so.
 * @throws {ConfigError} if the sentence is no likelier than its tokens shuffled.
 */
async function scaleOf({ client, model }: Seat, { tokenizer, isPretrained = true }: TinkerOptions): Promise<Scale> {
  const tokens = tokenizer.encodeChat([{ role: 'user', content: sentence }])
  const shuffled = Int32Array.from(shuffle([...tokens], rng('plausible')))
  const rows = [tokens, shuffled].map((row): Datum => {
    const weights = new Float32Array(row.length - 1).fill(1)
    return { tokens: row.subarray(0, -1), targets: row.subarray(1), inputs: { weights } }
  })
  const { logprobs, metrics } = await model.forward(rows, { name: 'cross_entropy', config: {} })
  const [inOrder, mixed] = logprobs.map((row) => row.reduce((sum, logprob) => sum + logprob, 0) / row.length)
  if (!Number.isFinite(inOrder)) throw new NotFiniteError(`${client.url} gives a plain sentence the log-probability ${inOrder}`)
  if (isPretrained && !(inOrder! - mixed! > leastPreference)) {
    const found = `${inOrder!.toFixed(2)} nats a token in order, ${mixed!.toFixed(2)} shuffled`
    throw new ConfigError(
      `the tokenizer is not that of the model ${client.url} serves: a plain sentence makes no sense to it (${found})`,
    )
  }
  return client.isHosted || Object.keys(metrics).length > 0 ? 'sum' : 'sequence'
}

async function stepOf(model: TinkerModel, adam: Adam): Promise<Metrics> {
  const said = await model.optimStep(adam)
  const norm = Object.entries(said).find(([name]) => /grad(?:ient)?_norm/.test(name))?.[1]
  if (norm !== undefined && !Number.isFinite(norm))
    throw new NotFiniteError(`the gradient's norm is ${norm}: load the last checkpoint`)
  return { learningRate: adam.learningRate, ...(norm !== undefined && { norm }) }
}

/** The model as it is now. What was written for the one before it is removed: the self-hosted server keeps it for ever. */
async function freshSampler(
  client: TinkerClient,
  model: TinkerModel,
  before: ReturnType<TinkerModel['sampler']> | undefined,
): Promise<Sampler & { readonly checkpoint: string }> {
  const sampler = await model.sampler()
  if (before && !client.isHosted) {
    const { checkpoint } = await before
    await client.deleteCheckpoint(model.id, checkpoint).catch((error: unknown) => {
      if (!(error instanceof RefusedError && error.status === 404)) throw error
    })
  }
  return sampler
}

/** Before anything is given up for it. @throws {RefusedError | EngineError} */
async function checkCheckpoint(
  client: TinkerClient,
  checkpoint: string,
  { baseModel, rank }: { readonly baseModel: string; readonly rank: number },
): Promise<void> {
  if (!/^tinker:\/\/[^/]+\/weights\/[\w-]+$/.test(checkpoint)) {
    throw new EngineError(`"${checkpoint}" is no checkpoint of a Tinker server: expected tinker://MODEL/weights/NAME`)
  }
  const info = await client.weightsInfo(checkpoint)
  if (info.baseModel !== baseModel)
    throw new EngineError(`checkpoint ${checkpoint} is of ${info.baseModel}, and the model is ${baseModel}`)
  if (info.rank !== undefined && info.rank !== rank) {
    throw new EngineError(
      `checkpoint ${checkpoint} has rank ${info.rank}, and the engine ${rank}: open it with rank ${info.rank}`,
    )
  }
}

function checkName(name: string): void {
  if (!/^[\w-]{1,255}$/.test(name)) throw new ConfigError(`a checkpoint can't be called "${name}": use letters, digits, _ -`)
}

/** Whether a pass was refused before anything was computed. */
function tookNothing(error: unknown): boolean {
  return error instanceof RefusedError && (error.status === 422 || /not supported/i.test(error.detail))
}
