import { afterEach, describe, expect, test } from 'vitest'
import { engineContract } from '../../../test/contracts/engine.ts'
import { modelContract } from '../../../test/contracts/model.ts'
import { tinyAnswer, tinyTokenizer } from '../../../test/e2e-skyrl/tiny-tokenizer.ts'
import { type TinkerServer, type TinkerServerOptions, tinkerServer } from '../../../test/tinker-server.ts'
import type { Group, Loss } from '../../core/engine.ts'
import { ConfigError, EngineError, ModelError, NotFiniteError } from '../../core/errors.ts'
import type { Message, TokenCompletion } from '../../core/model.ts'
import { type TinkerEngine, type TinkerOptions, tinkerEngine } from './tinker-engine.ts'

const servers: TinkerServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]()
})

async function serve(options: TinkerServerOptions = {}): Promise<TinkerServer> {
  const server = await tinkerServer(options)
  servers.push(server)
  return server
}

const open = ({ url }: { readonly url: string }, more: Partial<TinkerOptions> = {}): Promise<TinkerEngine> =>
  tinkerEngine({
    ...{ url, tokenizer: tinyTokenizer, context: 256, rank: 8, isPretrained: false },
    ...{ pause: 1, patience: 200, ...more },
  })

describe.each([false, true])('hosted: %s', (isHosted) => {
  engineContract('the tinker engine', async () => ({
    engine: await open(await serve({ isHosted })),
    answer: tinyAnswer,
    learningRate: 3e-2,
  }))
})

describe('its policy', () => {
  modelContract('the tinker policy', async () => {
    const engine = await open(await serve(), { context: 1024 })
    return { model: await engine.policy(), echoes: false }
  })
})

const messages: readonly Message[] = [{ role: 'user', content: 'late order' }]
const importance: Loss = { kind: 'importance_sampling' }

async function draw(engine: TinkerEngine, n = 1): Promise<readonly TokenCompletion[]> {
  return (await engine.policy()).sample(messages, { maxTokens: 6, n, seed: 2 })
}

function group(engine: TinkerEngine, drawn: readonly TokenCompletion[], advantage = 1): Group {
  const all = drawn.map(({ tokens, logprobs }, i) => {
    const values = logprobs.map((_, t) => advantage * Math.cos(i + t))
    return { tokens, logprobs, advantages: values, weights: logprobs.map((_, t) => 1 + (t % 2)) }
  })
  return { prompt: engine.encode(messages), rollouts: all }
}

describe('what the server would do in silence is refused or kept right', () => {
  test('a sample that was asked for before a step is drawn before it', async () => {
    const server = await serve()
    await using engine = await open(server)
    const policy = await engine.policy()
    await engine.forwardBackward([group(engine, await draw(engine))], importance)
    const late = policy.sample(messages, { maxTokens: 6, n: 3 })
    const step = engine.optimStep({ learningRate: 1e-2 })
    await expect(policy.sample(messages, { maxTokens: 6 })).rejects.toThrow(EngineError)
    await Promise.all([late, step])
    expect(server.asked.lastIndexOf('asample')).toBeLessThan(server.asked.lastIndexOf('optim_step'))
  })

  test('a sample that nobody waits for any more is waited for all the same', async () => {
    const server = await serve()
    await using engine = await open(server)
    const policy = await engine.policy()
    await engine.forwardBackward([group(engine, await draw(engine))], importance)
    server.fail('retrieve_future', { json: { type: 'try_again' } }, 3)
    const stop = new AbortController()
    const dropped = policy.sample(messages, { maxTokens: 6 }, stop.signal)
    stop.abort(new Error('enough'))
    await expect(dropped).rejects.toThrow('enough')
    await engine.optimStep({ learningRate: 1e-2 })
    expect(server.asked.at(-1)).toBe('optim_step')
  })

  test('a gradient that the model before left in its place is not trained on', async () => {
    const server = await serve()
    const first = await open(server)
    const [it] = await draw(first)
    await first.forwardBackward([group(first, [it!])], importance)
    await first[Symbol.asyncDispose]()
    await using second = await open(server)
    await second.forwardBackward([group(second, [it!], 0)], importance)
    expect(await second.optimStep({ learningRate: 1e-2 })).toMatchObject({ norm: 0 })
  })

  test('samplers of past steps are removed', async () => {
    const server = await serve()
    await using engine = await open(server)
    for (let step = 0; step < 3; step++) {
      await engine.forwardBackward([group(engine, await draw(engine))], importance)
      await engine.optimStep({ learningRate: 1e-3 })
    }
    await engine.policy()
    expect(server.written.filter((path) => path.includes('sampler_weights'))).toHaveLength(1)
  })

  test('a step without a gradient, empty groups and wrong tokens are refused', async () => {
    await using engine = await open(await serve())
    const [it] = await draw(engine)
    const good = group(engine, [it!])
    await expect(engine.optimStep({ learningRate: 1 })).rejects.toThrow(/no gradient since the last step/)
    await expect(engine.forwardBackward([], importance)).rejects.toThrow(/no rollouts/)
    await expect(engine.forwardBackward([{ ...good, rollouts: [] }], importance)).rejects.toThrow(/no rollouts/)
    await expect(engine.forwardBackward([{ ...good, prompt: new Int32Array() }], importance)).rejects.toThrow(/prompt is empty/)
    await expect(engine.forwardBackward([{ ...good, prompt: Int32Array.of(-1) }], importance)).rejects.toThrow(/-1 is no token/)
    const long = { ...good, prompt: new Int32Array(253) }
    await expect(engine.forwardBackward([long], importance)).rejects.toThrow('253 + 6 tokens are over the context of 256')
  })

  test('a tokenizer without a stop token is refused', async () => {
    const server = await serve()
    await expect(open(server, { tokenizer: { ...tinyTokenizer, stops: [] } })).rejects.toThrow(/no stop token/)
  })

  test('every request to draw names the stop tokens', async () => {
    const server = await serve()
    await using engine = await open(server)
    await draw(engine)
    const { body } = server.bodies.find(({ path }) => path === 'asample')!
    expect(body).toMatchObject({ sampling_params: { stop: [1], temperature: 1, top_p: 1, top_k: -1 } })
  })

  test("another client's bad request does not fail ours", async () => {
    const server = await serve()
    await using engine = await open(server)
    const drawn = await draw(engine)
    server.refuse('forward_backward', "Loss functions ['gspo'] are not supported by the JAX backend")
    await expect(engine.forwardBackward([group(engine, drawn)], importance)).resolves.toHaveProperty('loss')
    await expect(engine.optimStep({ learningRate: 1e-3 })).resolves.toHaveProperty('norm')
  })
})

describe('the scale of the loss', () => {
  /** Gradient norms of the same groups, as a server reckons them. */
  const normOf = async (isHosted: boolean, loss: Loss, calls = 1): Promise<number> => {
    await using engine = await open(await serve({ isHosted }))
    const drawn = (await draw(engine, 3)).map((it, i) => ({
      ...it,
      tokens: it.tokens.slice(0, 3 + i),
      logprobs: it.logprobs.slice(0, 3 + i),
    }))
    for (let call = 0; call < calls; call++) await engine.forwardBackward([group(engine, drawn)], loss)
    return (await engine.optimStep({ learningRate: 0 })).norm!
  }
  const losses: readonly Loss[] = [
    importance,
    { kind: 'ppo', low: 0.2, high: 0.2 },
    { kind: 'cispo', low: 0.2, high: 0.2 },
    { kind: 'cross_entropy' },
  ]

  test.each(losses)('$kind: a server that means and one that sums get the same gradient of it', async (loss) => {
    const [mean, sum] = [await normOf(false, loss), await normOf(true, loss)]
    expect(sum).toBeGreaterThan(0.05)
    expect(mean / sum).toBeCloseTo(1, 4)
  })

  test('two calls before a step: their sum where sums are had, half of it where means are', async () => {
    const once = await normOf(true, importance)
    expect((await normOf(true, importance, 2)) / once).toBeCloseTo(2, 4)
    expect((await normOf(false, importance, 2)) / once).toBeCloseTo(1, 4)
  })

  test('rows are filled up to the multiple that was given, and to few sizes without one', async () => {
    const sizes = async (multiple?: number): Promise<readonly number[]> => {
      const server = await serve()
      await using engine = await open(server, multiple ? { multiple } : {})
      const drawn = await draw(engine, 7)
      const metrics = await engine.forwardBackward([group(engine, drawn)], importance)
      expect(metrics.tokens).toBe(drawn.reduce((sum, { tokens }) => sum + tokens.length, 0))
      const sent = server.bodies.filter(({ path }) => path === 'forward_backward').at(-1)
      return [rowsOf(sent?.body)]
    }
    expect(await sizes(16)).toEqual([16])
    expect(await sizes()).toEqual([8])
  })

  test('what is over the limits of a request is sent in several, whose gradients add up', async () => {
    const norms: number[] = []
    for (const chunk of [1024, 2]) {
      const server = await serve({ isHosted: true, chunk })
      await using engine = await open(server)
      const drawn = await draw(engine, 5)
      const before = server.asked.length
      const { loss } = await engine.forwardBackward([group(engine, drawn)], importance)
      expect(server.asked.slice(before).filter((path) => path === 'forward_backward')).toHaveLength(chunk === 2 ? 3 : 1)
      norms.push((await engine.optimStep({ learningRate: 0 })).norm!, loss!)
    }
    expect(norms[2]).toBeCloseTo(norms[0]!, 6)
    expect(norms[3]).toBeCloseTo(norms[1]!, 6)
  })

  test('clipping is asked of the hosted service, and refused where it would be left out in silence', async () => {
    await using engine = await open(await serve())
    await engine.forwardBackward([group(engine, await draw(engine))], importance)
    await expect(engine.optimStep({ learningRate: 1e-3, maxNorm: 1 })).rejects.toThrow(ConfigError)
    const server = await serve({ isHosted: true })
    await using hosted = await open(server)
    await hosted.forwardBackward([group(hosted, await draw(hosted))], importance)
    await hosted.optimStep({ learningRate: 1e-3, maxNorm: 1 })
    expect(server.bodies.at(-1)?.body).toMatchObject({ adam_params: { grad_clip_norm: 1 } })
  })
})

describe('in flight together', () => {
  test('gradient, step, checkpoint and policy take effect in the order they were asked for', async () => {
    const server = await serve()
    await using engine = await open(server)
    const drawn = await draw(engine)
    const from = server.asked.length
    const [, , path, policy] = await Promise.all([
      engine.forwardBackward([group(engine, drawn)], importance),
      engine.optimStep({ learningRate: 1e-2 }),
      engine.save('together'),
      engine.policy(),
    ])
    const sent = server.asked.slice(from).filter((asked) => !asked.startsWith('training_runs'))
    expect(sent).toEqual(['forward_backward', 'optim_step', 'save_weights', 'save_weights_for_sampler'])
    expect(path).toBe(`tinker://${engine.modelId}/weights/together`)
    await expect(policy.sample(messages, { maxTokens: 4 })).resolves.toHaveLength(1)
  })
})

describe('what goes wrong is one line with the remedy', () => {
  test('no server', async () => {
    const gone = await tinkerServer()
    await gone[Symbol.asyncDispose]()
    await expect(open(gone)).rejects.toThrow(
      new ConfigError(`no Tinker server answers at ${gone.url} (ECONNREFUSED): start it or give its address`),
    )
  })

  test('a wrong key', async () => {
    const server = await serve({ key: 'right' })
    await expect(open(server, { key: 'wrong' })).rejects.toThrow(/refuses the key \(401\): set TINKER_API_KEY/)
    await using engine = await open(server, { key: 'right' })
    expect(engine.scale).toBe('sequence')
  })

  test('an unknown model, and one of several that was not chosen', async () => {
    const server = await serve({ models: ['a', 'b'] })
    await expect(open(server, { model: 'c' })).rejects.toThrow('has no model "c" (have: a, b)')
    await expect(open(server)).rejects.toThrow('has 2 models: choose one (have: a, b)')
  })

  test('a length that nobody says', async () => {
    await expect(open(await serve(), { context: undefined })).rejects.toThrow(/does not say how long.*give context/)
    await using engine = await open(await serve({ isHosted: true }), { context: undefined })
    await expect((await engine.policy()).sample(messages, { maxTokens: 250 })).rejects.toThrow(ModelError)
  })

  test("a tokenizer that is not the model's", async () => {
    const server = await serve()
    await expect(open(server, { isPretrained: true })).rejects.toThrow(/the tokenizer is not that of the model/)
    expect(server.loaded).toBe(0)
  })

  test('a loss that the server has not; nothing was gathered, so the training can go on with another', async () => {
    const server = await serve()
    await using engine = await open(server)
    const drawn = await draw(engine)
    server.refuse('forward_backward', "Loss functions ['cispo'] are not supported by the JAX backend")
    const loss: Loss = { kind: 'cispo', low: 0.2, high: 0.2 }
    await expect(engine.forwardBackward([group(engine, drawn)], loss)).rejects.toThrow(/has no such loss/)
    await expect(engine.forwardBackward([group(engine, drawn)], importance)).resolves.toHaveProperty('loss')
  })

  test('a presence penalty', async () => {
    await using engine = await open(await serve())
    const policy = await engine.policy()
    await expect(policy.sample(messages, { maxTokens: 4, presencePenalty: 0.5 })).rejects.toThrow(/leave presencePenalty out/)
  })

  test('a loss that is no number: only a checkpoint helps', async () => {
    const server = await serve()
    await using engine = await open(server)
    const drawn = await draw(engine)
    server.poison()
    await expect(engine.forwardBackward([group(engine, drawn)], importance)).rejects.toThrow(NotFiniteError)
    await expect(engine.optimStep({ learningRate: 1e-3 })).rejects.toThrow(/load a checkpoint/)
  })

  test('a full disk, for a checkpoint and for a policy; with room it goes on', async () => {
    const server = await serve()
    await using engine = await open(server)
    server.refuse('save_weights', '[Errno 28] No space left on device')
    await expect(engine.save('a')).rejects.toThrow(/make room on its disk/)
    server.refuse('save_weights_for_sampler', '[Errno 28] No space left on device')
    await expect(engine.policy()).rejects.toThrow(/make room on its disk/)
    await expect(engine.save('b')).resolves.toContain('/weights/b')
    await expect(draw(engine)).resolves.toHaveLength(1)
  })

  test('a half-written checkpoint, one of another rank, and a name that is none: the model stays as it is', async () => {
    const server = await serve()
    await using engine = await open(server)
    const saved = await engine.save('a')
    const before = await draw(engine)
    server.damage(saved)
    await expect(engine.load(saved)).rejects.toThrow(/can't be loaded: .*unexpected end of data.*load the one before it/)
    server.fail('weights_info', { status: 425, detail: 'Checkpoint is still being created' }, 1000)
    await expect(engine.load(saved)).rejects.toThrow(/not written to its end; load the one before it/)
    server.fail('weights_info', { status: 425 }, 0)
    await using other = await open(server, { rank: 4 })
    const small = await other.save('small')
    await expect(engine.load(small)).rejects.toThrow(/has rank 4, and the engine 8: open it with rank 4/)
    await expect(engine.load('step-3')).rejects.toThrow(/expected tinker:\/\/MODEL\/weights\/NAME/)
    expect((await draw(engine))[0]?.logprobs).toEqual(before[0]?.logprobs)
    await expect(engine.save('a/b')).rejects.toThrow(ConfigError)
  })

  test('a server that was started anew: it says so, and the checkpoint is loaded into a new model', async () => {
    const server = await serve()
    await using engine = await open(server)
    const drawn = await draw(engine)
    await engine.forwardBackward([group(engine, drawn)], importance)
    await engine.optimStep({ learningRate: 1e-2 })
    const saved = await engine.save('good')
    const [expected] = await draw(engine)
    const old = engine.modelId
    server.restart()
    await expect(engine.forwardBackward([group(engine, drawn)], importance)).rejects.toThrow(
      /started anew.*load the last checkpoint/,
    )
    await expect(engine.save('lost')).rejects.toThrow(EngineError)
    await engine.load(saved)
    expect(engine.modelId).not.toBe(old)
    expect(await draw(engine)).toEqual([expected])
  })

  test('places that are all taken: its own is given up for the checkpoint', async () => {
    const server = await serve({ places: 1 })
    await using engine = await open(server)
    const saved = await engine.save('a')
    await engine.load(saved)
    expect(server.loaded).toBe(1)
  })
})

test('a fresh optimizer can be had with old weights', async () => {
  await using engine = await open(await serve())
  const drawn = await draw(engine)
  const train = async (): Promise<TokenCompletion> => {
    await engine.forwardBackward([group(engine, drawn)], importance)
    await engine.optimStep({ learningRate: 1e-2 })
    return (await draw(engine))[0]!
  }
  await train()
  const saved = await engine.save('a')
  const expected = await train()
  await engine.load(saved, { optimizer: false })
  expect((await train()).logprobs).not.toEqual(expected.logprobs)
  await engine.load(saved)
  expect((await train()).logprobs).toEqual(expected.logprobs)
})

test('the trained adapter is downloaded, and checkpoints are listed', async () => {
  await using engine = await open(await serve())
  const saved = await engine.save('a')
  const bytes = await engine.adapter('final')
  expect([...bytes]).toEqual([0x1f, 0x8b])
  expect(await engine.checkpoints()).toEqual([
    { path: saved, kind: 'training' },
    { path: `tinker://${engine.modelId}/sampler_weights/final`, kind: 'sampler' },
  ])
})

test('closed, it leaves no model on the server', async () => {
  const server = await serve()
  const engine = await open(server)
  expect(server.loaded).toBe(1)
  await engine[Symbol.asyncDispose]()
  expect(server.loaded).toBe(0)
})

/** Rows of a binary request: fields with number 3 of its outermost level. */
function rowsOf(body: unknown): number {
  if (!(body instanceof Uint8Array)) return 0
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = body[at++]!
      value += (byte & 127) * 2 ** shift
      if (byte < 128) return value
    }
  }
  let rows = 0
  while (at < body.length) {
    const tag = varint()
    const isBytes = tag % 8 === 2
    const value = varint()
    if (isBytes) at += value
    if (tag === 3 * 8 + 2) rows++
  }
  return rows
}
