import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type TinkerFault, type TinkerServer, type TinkerServerOptions, tinkerServer } from '../../../test/tinker-server.ts'
import { ConfigError } from '../../core/errors.ts'
import { type ClientOptions, type SampleOptions, type TinkerClient, type TinkerModel, tinkerClient } from './client.ts'
import type { Datum } from './datums.ts'
import { RefusedError } from './wire.ts'

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const it of open.splice(0).reverse()) await it[Symbol.asyncDispose]()
})

interface Set {
  readonly server: TinkerServer
  readonly client: TinkerClient
  readonly model: TinkerModel
}

async function start(of: TinkerServerOptions = {}, more: Partial<ClientOptions> = {}): Promise<Set> {
  const server = await tinkerServer(of)
  const client = await tinkerClient({ url: server.url, pause: 1, patience: 500, ...more })
  open.push(server, client)
  return { server, client, model: await client.createModel({ baseModel: 'tiny', rank: 8 }) }
}

const row: Datum = {
  tokens: Int32Array.of(2, 5, 6),
  targets: Int32Array.of(5, 6, 7),
  inputs: { weights: Float32Array.of(1, 1, 1) },
}
const likelihood = { name: 'cross_entropy', config: {} }
const sampling: SampleOptions = {
  ...{ prompt: Int32Array.of(2, 5), maxTokens: 4, n: 2, seed: 1, temperature: 1, topP: 1, topK: -1 },
  stops: [1],
}

/** One step, by its gradient's norm: the same whatever happened on the way, or it happened twice. */
async function norms({ model }: Set): Promise<readonly (number | undefined)[]> {
  const steps: (number | undefined)[] = []
  for (let step = 0; step < 2; step++) {
    await model.forwardBackward([row], likelihood)
    steps.push((await model.optimStep({ learningRate: 0.1 }))['skyrl.ai/grad_norm'])
  }
  return steps
}

const passing: readonly TinkerFault[] = [
  { status: 408 },
  { status: 429, headers: { 'retry-after': '0.01' } },
  { status: 500 },
  { status: 503 },
  'reset',
  'half',
  'lost',
]

describe('what passes is tried again, and nothing is done twice', () => {
  test.each(
    passing.flatMap((fault) => ['forward_backward', 'optim_step', 'retrieve_future'].map((path) => [fault, path] as const)),
  )('%j at %s', async (fault, path) => {
    const expected = await norms(await start())
    const set = await start()
    set.server.fail(path, fault, 2)
    expect(await norms(set)).toEqual(expected)
  })

  test.each(passing)('%j while a checkpoint is written: one is had', async (fault) => {
    const { server, client, model } = await start()
    await model.forwardBackward([row], likelihood)
    await model.optimStep({ learningRate: 0.1 })
    server.fail('save_weights', fault)
    server.fail('save_weights_for_sampler', fault)
    const path = await model.saveWeights('a')
    const sampler = await model.sampler()
    expect(await sampler.sample(sampling)).toHaveLength(2)
    const other = await client.createModel({ baseModel: 'tiny', rank: 8 })
    await other.loadWeights(path)
    const [now, then] = [await model.forward([row], likelihood), await other.forward([row], likelihood)]
    expect(then.logprobs).toEqual(now.logprobs)
  })

  test('all tries of a request have one key, and every request its own', async () => {
    const { server, model } = await start()
    server.fail('optim_step', { status: 500 }, 2)
    await model.optimStep({ learningRate: 0 })
    await model.optimStep({ learningRate: 0 })
    const keys = server.bodies.filter(({ path }) => path === 'optim_step').map(({ key }) => key)
    expect(keys).toHaveLength(4)
    expect(new Set(keys.slice(0, 3)).size).toBe(1)
    expect(keys[3]).not.toBe(keys[0])
  })

  test('one that does not pass is told when patience ends', async () => {
    const { server, model } = await start({}, { patience: 30 })
    server.fail('optim_step', { status: 503, detail: 'come back tomorrow' }, 1000)
    await expect(model.optimStep({ learningRate: 0 })).rejects.toThrow(/refuses \(503\): come back tomorrow/)
  })

  test('one of which the server says that it does not pass is not tried again', async () => {
    const { server, model } = await start()
    server.fail('optim_step', { status: 503, headers: { 'x-should-retry': 'false' } })
    await expect(model.optimStep({ learningRate: 0 })).rejects.toThrow(RefusedError)
  })
})

describe('a result is asked for until it is there', () => {
  test.each<[string, TinkerFault]>([
    ['try again', { json: { type: 'try_again', request_id: '1', queue_state: 'paused_capacity' } }],
    ['its size first', { json: { status: 'complete_metadata', response_payload_size: 100 } }],
    ['not yet', { status: 408 }],
    ['garbage once', { bytes: Uint8Array.of(1, 2, 3) }],
    ['lost: it is computed again', { status: 410 }],
  ])('%s', async (_, fault) => {
    const { server, model } = await start()
    const expected = await model.forward([row], likelihood)
    server.fail('retrieve_future', fault, 1)
    expect(await model.forward([row], likelihood)).toEqual(expected)
  })

  test.each<[string, TinkerFault, RegExp]>([
    ['an error', { json: { error: 'prompt too long', category: 'user' } }, /refuses \(400\): prompt too long/],
    ['an account without funds', { status: 402, detail: 'pay' }, /its account is out of funds/],
    ['a refused key', { status: 401 }, /set TINKER_API_KEY/],
    ['garbage, again and again', { bytes: Uint8Array.of(1, 2, 3) }, /is no output message/],
    ['no memory', { status: 400, detail: 'RESOURCE_EXHAUSTED: Out of memory' }, /take fewer or shorter rollouts/],
  ])('%s is final', async (_, fault, words) => {
    const { server, model } = await start()
    server.fail('retrieve_future', fault, 10)
    await expect(model.forward([row], likelihood)).rejects.toThrow(words)
  })

  test('a client that is closed ends what it still tries', async () => {
    const { server, client } = await start({}, { patience: 60_000, pause: 10_000 })
    server.fail('create_sampling_session', { status: 503 }, 100)
    const sampler = client.sampler({ baseModel: 'tiny' })
    await client[Symbol.asyncDispose]()
    await expect(sampler).rejects.toThrow(/was closed/)
  })
})

describe('order', () => {
  test('one sequence number a model, from 1, over all that changes it', async () => {
    const { server, model } = await start()
    await Promise.all([
      model.saveWeights('a'),
      model.optimStep({ learningRate: 0 }),
      model.sampler(),
      model.optimStep({ learningRate: 0 }),
    ])
    const numbers = server.bodies.slice(-4).map(({ body }) => (body as { seq_id: number }).seq_id) // what was sent
    expect(numbers).toEqual([1, 2, 3, 4])
  })

  test('what waits behind a request that is not taken is not sent; what comes later is', async () => {
    const { server, model } = await start()
    server.fail('forward_backward', { status: 422, detail: 'no such loss_fn' })
    const [pass, step] = await Promise.allSettled([
      model.forwardBackward([row], likelihood),
      model.optimStep({ learningRate: 1 }),
    ])
    expect(pass.status).toBe('rejected')
    expect(step).toMatchObject({ status: 'rejected', reason: { message: expect.stringContaining('was not sent') } })
    expect(server.asked).not.toContain('optim_step')
    await expect(model.optimStep({ learningRate: 0 })).resolves.toBeDefined()
  })

  test('so many samples at once, and no more', async () => {
    const { server, model } = await start({}, { concurrency: 3 })
    const sampler = await model.sampler()
    const all = await Promise.all(Array.from({ length: 12 }, (_, seed) => sampler.sample({ ...sampling, seed })))
    expect(all.every((sequences) => sequences.length === 2)).toBe(true)
    expect(server.peak).toBe(3)
  })

  test('an aborted sample that waits for its turn is not sent', async () => {
    const { server, model } = await start({}, { concurrency: 1 })
    const sampler = await model.sampler()
    const stop = new AbortController()
    const [first, second] = [sampler.sample(sampling), sampler.sample(sampling, stop.signal)]
    stop.abort(new Error('enough'))
    await expect(second).rejects.toThrow('enough')
    await first
    expect(server.asked.filter((path) => path === 'asample')).toHaveLength(1)
  })

  test('a pass without rows, and rows of unequal length, are never sent', async () => {
    const { server, model } = await start()
    await expect(model.forwardBackward([], likelihood)).rejects.toThrow(/without rows is never answered/)
    const short = { ...row, inputs: { weights: Float32Array.of(1) } }
    await expect(model.forward([short], likelihood)).rejects.toThrow('row 0: expected 3 weights, got 1')
    await expect(model.forward([{ ...row, targets: Int32Array.of(1) }], likelihood)).rejects.toThrow('expected 3 targets, got 1')
    expect(server.asked).not.toContain('forward_backward')
  })
})

describe('another server', () => {
  test('that is none of the Tinker API is named', async () => {
    const { server } = await start()
    await expect(tinkerClient({ url: `${server.url}/elsewhere` })).rejects.toThrow(/is no Tinker server/)
    server.fail('client/config', { bytes: new TextEncoder().encode('<html>') })
    await expect(tinkerClient({ url: server.url })).rejects.toThrow(/no JSON: is it a Tinker server/)
  })

  test('a key is sent to nobody but the server, and is in no message', async () => {
    const server = await tinkerServer({ key: 'right' })
    open.push(server)
    const error = await tinkerClient({ url: server.url, key: 'secret' }).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(ConfigError)
    expect(String(error)).not.toContain('secret')
  })
})

test('a session beats until its client is closed', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  onTestFinished(() => void vi.useRealTimers())
  const { server, client } = await start()
  const beats = () => server.bodies.filter(({ path }) => path === 'session_heartbeat').map(({ body }) => body)
  vi.advanceTimersByTime(25_000)
  await client.sampler({ baseModel: 'tiny' }) // sent after them
  expect(beats()).toEqual(Array(2).fill({ session_id: expect.stringMatching(/^session_/), type: 'session_heartbeat' }))
  await client[Symbol.asyncDispose]()
  vi.advanceTimersByTime(25_000)
  await expect(tinkerClient({ url: server.url })).resolves.toHaveProperty('url')
  expect(beats()).toHaveLength(2)
})

describe('a server that wants tokens for the key', () => {
  const signIns = ({ server }: Set): number => server.asked.filter((path) => path === 'auth/token').length

  test('is signed in to once, while its token holds; another is had before it ends', async () => {
    const long = await start({ key: 'right', tokens: 3600 }, { key: 'right' })
    await norms(long)
    expect(signIns(long)).toBe(1)
    const short = await start({ key: 'right', tokens: 30 }, { key: 'right' })
    const before = signIns(short)
    await norms(short)
    expect(signIns(short)).toBeGreaterThan(before)
  })

  test('refuses a wrong key in one line; a token that is none, or is over, is told', async () => {
    const server = await tinkerServer({ key: 'right', tokens: 3600 })
    open.push(server)
    await expect(tinkerClient({ url: server.url, key: 'wrong' })).rejects.toThrow(/refuses the key \(401\): set TINKER_API_KEY/)
    for (const jwt of ['none', 'a.e30.b', 7]) {
      server.fail('auth/token', { json: { jwt } })
      await expect(tinkerClient({ url: server.url, key: 'right' })).rejects.toThrow(/gave no token that holds/)
    }
  })
})

test('an archive is fetched from where the server says, without the key if that is elsewhere', async () => {
  const other = await tinkerServer()
  open.push(other)
  const signed = (server: TinkerServer): boolean | undefined =>
    server.bodies.find(({ path }) => path.includes('/download/'))?.isSigned
  const elsewhere = await start({ archives: other.url, key: 'right' }, { key: 'right' })
  await elsewhere.model.saveForSampler('a')
  expect(await elsewhere.client.archive(elsewhere.model.id, 'a')).toHaveLength(2)
  expect([signed(elsewhere.server), signed(other)]).toEqual([undefined, false])
  const here = await start({ key: 'right' }, { key: 'right' })
  await here.model.saveForSampler('a')
  await here.client.archive(here.model.id, 'a')
  expect(signed(here.server)).toBe(true)
})

test('an archive that is sent on once more is refused, and the key goes nowhere', async () => {
  const other = await tinkerServer()
  open.push(other)
  const { server, client, model } = await start({ key: 'right' }, { key: 'right' })
  await model.saveForSampler('a')
  const location = `${other.url}/api/v1/elsewhere`
  server.fail(`training_runs/${model.id}/download/a/archive`, { status: 302, headers: { location } })
  await expect(client.archive(model.id, 'a')).rejects.toThrow(/broke off/)
  expect(other.asked).toEqual([])
})

test('base models and named weights can be drawn from, and deleted', async () => {
  const { client, model, server } = await start()
  const drawn = await (await client.sampler({ baseModel: 'tiny' })).sample(sampling)
  const path = await model.saveForSampler('named')
  expect(await (await client.sampler({ path })).sample(sampling)).toEqual(drawn)
  await client.deleteCheckpoint(model.id, 'sampler_weights/named')
  expect(server.written).toEqual([])
})
