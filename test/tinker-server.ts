// A server of the Tinker API on loopback, with the manners of SkyRL on JAX, its traps included, or of the hosted service; and it breaks on demand.
// Its model predicts a token from the one before and from its place: enough to learn a sentence by heart, with gradients by hand.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { rng } from '../src/core/rng.ts'
import { bytesOf, dtypes, float32s, int32s, int64s, loadMessages } from '../src/engines/tinker/messages.ts'

/** `reset`: no answer. `half`: a body that ends early. `lost`: done, but the answer is not sent. */
export type TinkerFault =
  | { readonly status: number; readonly detail?: string; readonly headers?: Readonly<Record<string, string>> }
  | { readonly json: object }
  | { readonly bytes: Uint8Array }
  | 'reset'
  | 'half'
  | 'lost'

export interface TinkerServerOptions {
  readonly isHosted?: boolean
  readonly key?: string
  /** Signs in with the key, for a token of so many seconds. */
  readonly tokens?: number
  readonly models?: readonly string[]
  /** Models at once. Default 3. */
  readonly places?: number
  /** Of the hosted service. */
  readonly chunk?: number
  readonly port?: number
  /** Where archives are, with the path behind it; left out: here. */
  readonly archives?: string
  /** The tokens it draws with a seed, whatever their probabilities; these are told as they are. */
  readonly says?: (seed: number) => readonly number[]
  /** Is told of each request but polls, before it is done. */
  readonly heard?: (path: string) => void
  /** Milliseconds that a command of a kind takes. SkyRL does one after the other, draws that wait at the same time together; the hosted service all at once. */
  readonly takes?: Readonly<Record<string, number>>
}

export interface TinkerServer extends AsyncDisposable {
  readonly url: string
  /** Paths of the requests, in order, without the polls. */
  readonly asked: readonly string[]
  readonly bodies: readonly {
    readonly path: string
    readonly body: unknown
    readonly key: string | undefined
    readonly isSigned: boolean
  }[]
  /** Most samples that were asked for and not fetched at once. */
  readonly peak: number
  /** How many models are loaded, and checkpoints written. */
  readonly loaded: number
  readonly written: readonly string[]
  /** The next `times` requests of a path get this, and no other fault. */
  fail(path: string, fault: TinkerFault, times?: number): void
  /** The next command of this kind fails on the server, in these words. */
  refuse(kind: string, detail: string): void
  /** What a checkpoint holds is gone. */
  damage(path: string): void
  /** As a process that was killed and started again: models are gone, files and database are there. */
  restart(): void
  /** The log-probability of everything is not a number from now on. */
  poison(): void
}

const vocabulary = 96
/** Between two looks of SkyRL for work. */
const tick = 20 // ms
const places = 64
/** Weights: a row for each token before, then one for each place. */
const size = (vocabulary + places) * vocabulary

interface Adapter {
  readonly weights: Float64Array
  readonly first: Float64Array
  readonly second: Float64Array
  step: number
}

/** A place for a model. Its gradient outlives the model. */
interface Place {
  adapter: Adapter
  readonly gradient: Float64Array
  rows: number
}

interface Loaded {
  readonly id: string
  readonly baseModel: string
  readonly rank: number
  readonly at: number
  /** By sequence number: the body it came with, and its request. */
  readonly sequence: Map<number, { readonly body: string; readonly request: string }>
  requests: number
  /** Sampler weights in the place. */
  sampling: string
}

interface Saved {
  readonly adapter: Adapter
  readonly baseModel: string
  readonly rank: number
  isDamaged?: boolean
}

type Reply = { readonly place?: string; readonly status?: number; readonly json?: unknown; readonly bytes?: Uint8Array }

class No extends Error {
  readonly status: number
  constructor(status: number, detail: string) {
    super(detail)
    this.status = status
  }
}

export async function tinkerServer(options: TinkerServerOptions = {}): Promise<TinkerServer> {
  const { isHosted = false, models: offered = ['tiny'], chunk = 1024 } = options
  const messages = await loadMessages()
  const base = baseWeights()
  const results = new Map<string, Reply>()
  const sessions = new Set<string>()
  const tokens = new Set<string>()
  const owners = new Map<string, { readonly baseModel: string; readonly rank: number }>()
  const checkpoints = new Map<string, Saved>()
  const samplers = new Map<string, string>()
  let models = new Map<string, Loaded>()
  let slots: Place[] = []
  const asked: string[] = []
  const bodies: { path: string; body: unknown; key: string | undefined; isSigned: boolean }[] = []
  const unfetched = new Set<string>()
  let peak = 0
  const faults: { path: string; fault: TinkerFault; times: number }[] = []
  const refusals: { kind: string; detail: string }[] = []
  let isPoisoned = false
  let ids = 0
  /** When the result of a request is there. */
  const ready = new Map<string, number>()
  let free = 0 // when the machine is
  let draws = { from: 0, to: 0 } // the last ones that it was given
  const doneAt = (kind: string): number => {
    const now = performance.now()
    const took = options.takes?.[kind] ?? 0
    if (took === 0 || isHosted) return now + took
    if (kind === 'sample' && draws.from > now) return draws.to
    const from = Math.max(free, (Math.floor(now / tick) + 1) * tick) // it looks for work now and then
    free = from + took
    if (kind === 'sample') draws = { from, to: free }
    return free
  }

  const place = (at: number): Place => (slots[at] ??= { adapter: fresh(), gradient: new Float64Array(size), rows: 0 })
  const logits = (weights: Float64Array, before: number, at: number): Float64Array => {
    const row = new Float64Array(vocabulary)
    const [a, b] = [before * vocabulary, (vocabulary + (at % places)) * vocabulary]
    for (let k = 0; k < vocabulary; k++) row[k] = base[a + k]! + weights[a + k]! + weights[b + k]!
    return row
  }
  const logprobsAt = (weights: Float64Array, before: number, at: number): Float64Array => {
    const row = logits(weights, before, at)
    const most = Math.max(...row)
    const total = Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0)) + most
    return row.map((x) => (isPoisoned ? Number.NaN : x - total))
  }

  /** Runs a command now, and keeps its result for who asks. */
  const future = (kind: string, run: () => Reply, more: object = {}): Reply => {
    const id = String(++ids)
    ready.set(id, doneAt(kind))
    const refused = refusals.findIndex((r) => r.kind === kind)
    try {
      if (refused >= 0) throw new No(400, refusals.splice(refused, 1)[0]!.detail)
      results.set(id, run())
    } catch (error) {
      if (!(error instanceof No)) throw error
      results.set(id, { status: 400, json: { detail: error.message } })
    }
    return { json: { request_id: id, future_id: id, status: 'pending', ...more } }
  }
  const model = (id: string): Loaded => {
    const found = models.get(id)
    if (!found) throw new No(400, `Model ${id} not loaded (likely stale request from previous server)`)
    return found
  }
  const inSequence = (id: string, seq: number, body: string, run: () => Reply): Reply => {
    const found = models.get(id)
    const had = found?.sequence.get(seq)
    if (had && had.body !== body) throw new No(409, 'Training request sequence number was reused')
    if (had) return { json: { request_id: had.request } }
    if (found) found.requests++
    const reply = run()
    found?.sequence.set(seq, { body, request: (reply.json as { request_id: string }).request_id }) // what `future` gives
    return reply
  }

  const trainingPass = (bytes: Uint8Array): Reply => {
    const request = messages.decode('request', bytes)
    const names = ['cross_entropy', 'importance_sampling', 'ppo', 'cispo', 'gspo']
    if (!names.includes(request.lossFn)) throw new No(422, `loss_fn: ${request.lossFn} is none of ${names}`)
    if (request.data.length > chunk) throw new No(400, `${request.data.length} datums are too many`)
    const run = (): Reply => {
      if (request.lossFn === 'gspo') throw new No(400, "Loss functions ['gspo'] are not supported by the JAX backend")
      const { at } = model(request.modelId)
      const { adapter, gradient } = place(at)
      const columns: Record<'logprobs' | 'elementwise_loss', Float32Array[]> = { logprobs: [], elementwise_loss: [] }
      let total = 0
      for (const datum of request.data) {
        const tokens = int32s(datum.modelInput[0]!.encodedText!.tokens)
        const input = (name: string, otherwise: number): Float32Array => {
          const values = datum.lossFnInputs[name]
          if (values && isHosted && name === 'weights' && request.lossFn !== 'cross_entropy')
            throw new No(400, 'weights: unknown input')
          const given = values ? float32s(values.dense, values.dtype) : new Float32Array()
          return Float32Array.from(tokens, (_, t) => (values ? (given[t] ?? 0) : otherwise)) // padded in silence
        }
        const targets = int64s(datum.lossFnInputs.target_tokens!.dense)
        const weights = input('weights', 1)
        const advantages = input('advantages', 0)
        const drawn = input('logprobs', 0)
        const sum = isHosted ? 1 : weights.reduce((a, b) => a + b, 0)
        const now = new Float32Array(tokens.length)
        const losses = new Float32Array(tokens.length)
        for (let t = 0; t < tokens.length; t++) {
          const row = logprobsAt(adapter.weights, tokens[t]!, t)
          now[t] = row[targets[t]!]!
          const { loss, slope } = lossAt(request.lossFn, {
            ...{ now: now[t]!, drawn: drawn[t]!, advantage: advantages[t]! },
            low: request.lossFnConfig.clip_low_threshold ?? 0.8,
            high: request.lossFnConfig.clip_high_threshold ?? 1.2,
          })
          losses[t] = weights[t] === 0 ? 0 : weights[t]! * loss
          total += losses[t]!
          if (request.forwardOnly || weights[t] === 0) continue
          const factor = (weights[t]! * slope) / sum
          for (const start of [tokens[t]! * vocabulary, (vocabulary + (t % places)) * vocabulary]) {
            for (let k = 0; k < vocabulary; k++) gradient[start + k]! += factor * (Number(k === targets[t]) - Math.exp(row[k]!))
          }
        }
        columns.logprobs.push(now)
        columns.elementwise_loss.push(losses)
      }
      if (!request.forwardOnly) place(at).rows += request.data.length
      const record = { numDatums: BigInt(request.data.length), fields: Object.fromEntries(Object.entries(columns).map(batched)) }
      const metrics = isHosted ? { 'loss:sum': total } : {}
      return { bytes: messages.encode('output', { lossFnOutputType: 'scalar', lossFnOutputs: [record], metrics }) }
    }
    return inSequence(request.modelId, request.seqId, Buffer.from(bytes).toString('base64'), () =>
      // An empty one is taken, and never done.
      request.data.length === 0 ? { json: { request_id: 'never' } } : future('forward_backward', run),
    )
  }

  const step = (id: string, adam: Readonly<Record<string, number>>): Reply => {
    const slot = place(model(id).at)
    const count = isHosted ? 1 : Math.max(1, slot.rows)
    const scaled = slot.gradient.map((x) => x / count)
    const norm = Math.sqrt(scaled.reduce((sum, x) => sum + x * x, 0))
    const clip = isHosted && adam.grad_clip_norm ? Math.min(1, adam.grad_clip_norm / norm) : 1
    const { adapter } = slot
    adapter.step++
    const { beta1 = 0.9, beta2 = 0.95, eps = 1e-12, learning_rate: rate = 0 } = adam
    for (let i = 0; i < size; i++) {
      const g = scaled[i]! * clip
      adapter.first[i] = beta1 * adapter.first[i]! + (1 - beta1) * g
      adapter.second[i] = beta2 * adapter.second[i]! + (1 - beta2) * g * g
      const m = adapter.first[i]! / (1 - beta1 ** adapter.step)
      const v = adapter.second[i]! / (1 - beta2 ** adapter.step)
      adapter.weights[i]! -= (rate * m) / (Math.sqrt(v) + eps)
    }
    slot.gradient.fill(0)
    slot.rows = 0
    return { json: { metrics: { 'skyrl.ai/grad_norm': norm, 'skyrl.ai/learning_rate': rate } } }
  }

  const draw = (path: string, b: Body): Reply => {
    const saved = checkpoints.get(path)
    const id = /^tinker:\/\/([^/]+)/.exec(path)?.[1]
    let weights: Float64Array = new Float64Array(size)
    if (id) {
      const found = model(id)
      const slot = place(found.at)
      // The trainer's weights are overwritten by those of the sampler that is asked for; one that was loaded once is never read again.
      if (found.sampling !== path && saved) slot.adapter.weights.set(saved.adapter.weights)
      found.sampling = path
      weights = slot.adapter.weights
    }
    const { max_tokens: most, temperature, seed, stop } = b.sampling_params as SamplingParams // as the client types it
    const prompt = (b.prompt as { chunks: { tokens: number[] }[] }).chunks[0]!.tokens // the same
    const sequences = Array.from({ length: Number(b.num_samples) }, (_, i) => {
      const chance = rng(seed + i)
      const said = options.says?.(seed + i)
      const tokens: number[] = []
      const logprobs: number[] = []
      let before = prompt.at(-1)!
      let stopReason = 1
      for (let t = 0; t < most; t++) {
        const row = logprobsAt(weights, before, prompt.length - 1 + t)
        const token = said?.[t] ?? chosen(row, temperature, chance())
        tokens.push(token)
        logprobs.push(row[token]!)
        before = token
        if (stop.includes(token)) {
          stopReason = 0
          break
        }
      }
      return { stopReason, tokens: bytesOf(Int32Array.from(tokens)), logprobs: bytesOf(Float32Array.from(logprobs)) }
    })
    return { bytes: messages.encode('sample', { sequences }) }
  }

  const save = (b: Body, kind: 'weights' | 'sampler_weights', name: string): string => {
    const found = owners.get(String(b.model_id))
    if (!found) throw new No(404, `Model '${b.model_id}' not found`)
    const path = `tinker://${b.model_id}/${kind}/${name}`
    if (checkpoints.has(path)) throw new No(409, `Checkpoint '${name}' already exists for model '${b.model_id}'`)
    const live = models.get(String(b.model_id))
    const { weights, first, second, step } = live ? place(live.at).adapter : fresh()
    const adapter = { weights: weights.slice(), first: first.slice(), second: second.slice(), step }
    checkpoints.set(path, { ...found, adapter })
    return path
  }

  const handlers: Readonly<Record<string, (b: Body, raw: Uint8Array) => Reply>> = {
    'client/config': () => ({
      json: {
        pjwt_auth_enabled: options.tokens !== undefined,
        ...(isHosted && { fwdbwd_max_chunk_len: chunk, fwdbwd_max_chunk_bytes_count: 5_000_000 }),
      },
    }),
    get_server_capabilities: () => ({
      json: { supported_models: offered.map((model_name) => ({ model_name, ...(isHosted && { max_context_length: 256 }) })) },
    }),
    create_session() {
      const id = `session_${++ids}`
      sessions.add(id)
      return { json: { session_id: id } }
    },
    'auth/token'() {
      const claims = { exp: Date.now() / 1000 + (options.tokens ?? 0), n: ++ids }
      const jwt = `head.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.signature`
      tokens.add(jwt)
      return { json: { jwt } }
    },
    session_heartbeat: () => ({ json: { type: 'session_heartbeat' } }),
    create_model(b) {
      if (!sessions.has(String(b.session_id))) throw new No(404, 'Session not found')
      const id = `model_${++ids}`
      const { rank } = b.lora_config as { rank: number } // as the client types it
      owners.set(id, { baseModel: String(b.base_model), rank })
      return future(
        'create_model',
        () => {
          const used = [...models.values()].map(({ at }) => at)
          const at = Array.from({ length: options.places ?? 3 }, (_, i) => i).find((i) => !used.includes(i))
          if (at === undefined) throw new No(400, `Maximum number of LoRA adapters (${options.places ?? 3}) reached`)
          place(at).adapter = fresh()
          models.set(id, { id, baseModel: String(b.base_model), rank, at, sequence: new Map(), requests: 0, sampling: '' })
          return { json: { model_id: id } }
        },
        { model_id: id },
      )
    },
    unload_model: (b) =>
      future('unload_model', () => {
        model(String(b.model_id))
        models.delete(String(b.model_id))
        return { json: { status: 'unloaded' } }
      }),
    forward_backward: (_, raw) => trainingPass(raw),
    optim_step: (b) =>
      inSequence(String(b.model_id), Number(b.seq_id), JSON.stringify(b), () =>
        future('optim_step', () => step(String(b.model_id), b.adam_params as Record<string, number>)),
      ),
    save_weights(b) {
      const path = save(b, 'weights', String(b.path))
      return future('save_weights', () => {
        model(String(b.model_id)).requests++
        return { json: { path } }
      })
    },
    save_weights_for_sampler(b) {
      const name = b.path === undefined ? `ss${b.sampling_session_seq_id}_seq${b.seq_id}` : String(b.path)
      const path = save(b, 'sampler_weights', name)
      const id = `sampling_${++ids}`
      samplers.set(id, path)
      return future('save_weights_for_sampler', () => {
        model(String(b.model_id)).requests++
        return { json: { path: b.path === undefined ? null : path, sampling_session_id: b.path === undefined ? id : null } }
      })
    },
    create_sampling_session(b) {
      const id = `sampling_${++ids}`
      samplers.set(id, String(b.model_path ?? ''))
      return { json: { sampling_session_id: id } }
    },
    asample(b) {
      const path = samplers.get(String(b.sampling_session_id))
      if (path === undefined) throw new No(404, 'Sampling session not found')
      const reply = future('sample', () => draw(path, b))
      unfetched.add(String(ids))
      peak = Math.max(peak, unfetched.size)
      return reply
    },
    load_weights(b) {
      const found = model(String(b.model_id))
      if (found.requests > 0) throw new No(400, `LoadWeights is not permitted with seq_id ${b.seq_id}`)
      const saved = checkpoints.get(String(b.path))
      if (!saved) throw new No(404, `Checkpoint not found: ${b.path}`)
      return future('load_weights', () => {
        found.requests++
        if (saved.isDamaged) throw new No(400, 'unexpected end of data in checkpoint')
        const { weights, first, second, step } = saved.adapter
        const blank = fresh()
        place(found.at).adapter = {
          weights: weights.slice(),
          first: b.optimizer ? first.slice() : blank.first,
          second: b.optimizer ? second.slice() : blank.second,
          step: b.optimizer ? step : 0,
        }
        return { json: { type: 'load_weights' } }
      })
    },
    weights_info(b) {
      const found = checkpoints.get(String(b.tinker_path))
      if (!found) throw new No(404, `Checkpoint not found: ${b.tinker_path}`)
      return { json: { base_model: found.baseModel, is_lora: true, lora_rank: found.rank } }
    },
    retrieve_future(b) {
      const id = String(b.request_id)
      if (id === 'never') throw new No(408, 'timed out')
      unfetched.delete(id)
      return results.get(id) ?? { status: 404, json: { detail: 'Future not found' } }
    },
  }
  const runs = (method: string, path: string): Reply | undefined => {
    if (/^training_runs\/[^/]+\/download\//.test(path)) return { bytes: Uint8Array.of(0x1f, 0x8b) }
    const [, id, name] = /^training_runs\/([^/]+)\/checkpoints(?:\/(.*))?$/.exec(path) ?? []
    if (!id) return
    const of = `tinker://${id}/`
    if (method === 'DELETE') {
      if (!checkpoints.delete(`${of}${name}`)) throw new No(404, 'Checkpoint not found')
      return { status: 204 }
    }
    if (name?.endsWith('/archive')) {
      const saved = checkpoints.get(`${of}sampler_weights/${name.slice(0, -'/archive'.length)}`)
      if (!saved) throw new No(404, 'Checkpoint not found')
      return { status: 302, place: `${options.archives ?? ''}/api/v1/training_runs/${id}/download/${name}` }
    }
    const found = [...checkpoints.keys()].filter((path) => path.startsWith(of))
    const kind = (path: string): string => (path.includes('/sampler_weights/') ? 'sampler' : 'training')
    return { json: { checkpoints: found.map((path) => ({ tinker_path: path, checkpoint_type: kind(path) })) } }
  }

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? '').replace(/^\/api\/v1\//, '')
    const chunks: Uint8Array[] = []
    for await (const part of request) chunks.push(part as Uint8Array) // no encoding is set
    const raw = Buffer.concat(chunks)
    const isJson = request.headers['content-type']?.includes('json')
    const body: Body = isJson ? (JSON.parse(raw.toString()) as Body) : {} // the client sends objects
    if (path !== 'retrieve_future') {
      asked.push(path)
      options.heard?.(path)
      const key = request.headers['x-idempotency-key']
      bodies.push({
        path,
        body: isJson ? body : new Uint8Array(raw),
        key: typeof key === 'string' ? key : undefined,
        isSigned: 'x-api-key' in request.headers,
      })
    }
    const fault = faults.find((f) => f.path === path && f.times > 0)
    if (fault) fault.times--
    const say = (reply: Reply, headers: Readonly<Record<string, string>> = {}): void => {
      const type = reply.bytes ? 'application/x-protobuf' : 'application/json'
      const content = reply.bytes ?? (reply.json === undefined ? '' : JSON.stringify(reply.json))
      response.writeHead(reply.status ?? 200, {
        'content-type': type,
        'content-length': Buffer.byteLength(content),
        ...(reply.place && { location: reply.place }),
        ...headers,
      })
      if (fault?.fault !== 'half') response.end(content)
      else response.write(Buffer.from(content).subarray(0, content.length / 2), () => response.destroy())
    }
    if (fault && typeof fault.fault === 'object') {
      if ('status' in fault.fault) {
        const { status, detail = 'as asked', headers } = fault.fault
        return say({ status, json: { detail } }, headers)
      }
      return say(fault.fault)
    }
    if (fault?.fault === 'reset') return void response.destroy()
    const signed = String(request.headers['x-api-key'])
    const wantsToken = options.tokens !== undefined && !['client/config', 'auth/token'].includes(path)
    if (options.key !== undefined && !(wantsToken ? tokens.has(signed) : signed === options.key)) {
      return say({ status: 401, json: { detail: 'Unauthorized' } })
    }
    let reply: Reply
    try {
      const left = path === 'retrieve_future' ? (ready.get(String(body.request_id)) ?? 0) - performance.now() : 0
      if (left > 0) await sleep(left)
      reply = runs(request.method ?? '', path) ?? handlers[path]?.(body, raw) ?? { status: 404, json: { detail: 'Not Found' } }
    } catch (error) {
      if (!(error instanceof No)) throw error
      reply = { status: error.status, json: { detail: error.message } }
    }
    if (fault?.fault === 'lost') response.destroy()
    else say(reply)
  }

  const server = createServer((request, response) => void answer(request, response))
  await new Promise<void>((settle) => void server.listen(options.port ?? 0, '127.0.0.1', settle))
  const { port } = server.address() as AddressInfo // it listens on a port

  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    bodies,
    get peak() {
      return peak
    },
    get loaded() {
      return models.size
    },
    get written() {
      return [...checkpoints.keys()]
    },
    fail(path, fault, times = 1) {
      for (const earlier of faults) if (earlier.path === path) earlier.times = 0
      faults.push({ path, fault, times })
    },
    refuse: (kind, detail) => void refusals.push({ kind, detail }),
    damage(path) {
      const saved = checkpoints.get(path)
      if (saved) saved.isDamaged = true
    },
    restart() {
      models = new Map()
      slots = []
    },
    poison() {
      isPoisoned = true
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((settle) => server.close(settle))
    },
  }
}

type Body = Readonly<Record<string, unknown>>

interface SamplingParams {
  readonly max_tokens: number
  readonly temperature: number
  readonly seed: number
  readonly stop: readonly number[]
}

function fresh(): Adapter {
  return { weights: new Float64Array(size), first: new Float64Array(size), second: new Float64Array(size), step: 0 }
}

/** Random, but a token likes to be followed by its neighbours: order means something. */
function baseWeights(): Float64Array {
  const chance = rng('base')
  return Float64Array.from({ length: vocabulary * vocabulary }, () => chance() - 0.5)
}

function batched([name, rows]: [string, Float32Array[]]) {
  const ends = [0]
  for (const row of rows) ends.push(ends.at(-1)! + row.byteLength)
  const data = Buffer.concat(rows.map((row) => bytesOf(row)))
  return [name, { data, offsets: bytesOf(BigInt64Array.from(ends, BigInt)), dtype: dtypes.float32 }] as const
}

function chosen(logprobs: Float64Array, temperature: number, chance: number): number {
  if (temperature === 0) return logprobs.indexOf(Math.max(...logprobs))
  const weights = logprobs.map((x) => Math.exp(x / temperature))
  let left = chance * weights.reduce((a, b) => a + b, 0)
  const found = weights.findIndex((weight) => {
    left -= weight
    return left < 0
  })
  return found < 0 ? vocabulary - 1 : found
}

interface Term {
  readonly now: number
  readonly drawn: number
  readonly advantage: number
  readonly low: number
  readonly high: number
}

/** A token's loss, and its slope by the log-probability. */
function lossAt(name: string, { now, drawn, advantage, low, high }: Term): { readonly loss: number; readonly slope: number } {
  if (name === 'cross_entropy') return { loss: -now, slope: -1 }
  const ratio = Math.exp(now - drawn)
  const clipped = Math.min(Math.max(ratio, low), high)
  if (name === 'cispo') return { loss: -clipped * now * advantage, slope: -clipped * advantage }
  const isClipped = name === 'ppo' && clipped * advantage < ratio * advantage
  return isClipped ? { loss: -clipped * advantage, slope: 0 } : { loss: -ratio * advantage, slope: -ratio * advantage }
}
