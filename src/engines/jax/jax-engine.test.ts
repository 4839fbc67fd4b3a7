import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { engineContract } from '../../../test/contracts/engine.ts'
import { modelContract } from '../../../test/contracts/model.ts'
import type { Group, Loss } from '../../core/engine.ts'
import { ConfigError, EngineError, MissingPackageError, ModelError, NotFiniteError } from '../../core/errors.ts'
import type { Message } from '../../core/model.ts'
import { readPolicyCard, sharpen } from './checkpoint.ts'
import { type JaxEngine, type JaxOptions, jaxEngine } from './jax-engine.ts'
import { end } from './tokenizer.ts'

const folder = mkdtempSync(join(tmpdir(), 'lamarck-jax-'))
afterAll(() => rmSync(folder, { recursive: true }))

const pieces = ['You', 'improve', 'a', 'context', 'late', 'order', 'means', 'status', '=', '\n']
const tiny: JaxOptions = { pieces, layers: 1, width: 32, heads: 2, context: 48, folder, workers: 1, seed: 1 }
const open = (options: Partial<JaxOptions> = {}): Promise<JaxEngine> => jaxEngine({ ...tiny, ...options })

engineContract('the embedded engine', async () => {
  const engine = await open()
  const { tokenizer } = engine
  const answer = (text: string): Int32Array => Int32Array.from([...tokenizer.encode(text), end])
  return { engine, answer, learningRate: 1e-2 }
})

describe('its policy', () => {
  const engines: JaxEngine[] = []
  afterAll(() => Promise.all(engines.map((engine) => engine[Symbol.asyncDispose]())))

  modelContract('the embedded policy', async () => {
    engines[0] ??= await open({ context: 200 })
    return { model: await engines[0].policy(), echoes: false }
  })
})

const ask = (content: string): readonly Message[] => [{ role: 'user', content }]

async function groupsOf(engine: JaxEngine, prompts: readonly string[]): Promise<readonly Group[]> {
  const policy = await engine.policy()
  return Promise.all(
    prompts.map(async (text, i) => ({
      prompt: engine.encode(ask(text)),
      rollouts: (await policy.sample(ask(text), { maxTokens: 8, n: 2, seed: i })).map(({ tokens, logprobs }, j) => ({
        ...{ tokens, logprobs },
        advantages: logprobs.map((_, at) => Math.sin(i + 3 * j + at)),
        weights: logprobs.map(() => 1),
      })),
    })),
  )
}

const prompts = ['late order', 'late', 'order means', 'status = late', 'a context']
const ppo: Loss = { kind: 'ppo', low: 0.2, high: 0.28 }

async function train(engine: JaxEngine, steps: number): Promise<void> {
  for (let step = 0; step < steps; step++) {
    await engine.forwardBackward(await groupsOf(engine, prompts), ppo)
    await engine.optimStep({ learningRate: 3e-3, maxNorm: 1 })
  }
}

describe('the embedded engine', () => {
  test('two threads give bit by bit what one gives', async () => {
    const after: Buffer[] = []
    for (const workers of [1, 2]) {
      await using engine = await open({ workers })
      await train(engine, 3)
      after.push(readFileSync(await engine.save(`workers-${workers}`)))
    }
    expect(after[0]!.equals(after[1]!)).toBe(true)
  })

  test('resumed from a checkpoint, in another engine, it ends bit by bit the same', async () => {
    await using whole = await open()
    await train(whole, 2)
    const half = await whole.save('half')
    await train(whole, 2)
    await using resumed = await open({ seed: 9 })
    await resumed.load(half)
    await train(resumed, 2)
    expect(readFileSync(await resumed.save('resumed')).equals(readFileSync(await whole.save('whole')))).toBe(true)
  })

  test('calls of one turn are drawn together, and each as if alone', async () => {
    await using engine = await open({ workers: 2 })
    const policy = await engine.policy()
    const call = (text: string, i: number) => policy.sample(ask(text), { maxTokens: 8, seed: i, n: 1 + (i % 3) })
    const together = await Promise.all(prompts.map(call))
    for (const [i, text] of prompts.entries()) expect(await call(text, i)).toEqual(together[i])
    expect(together.map((completions) => completions.length)).toEqual([1, 2, 3, 1, 2])
  })

  test('more completions than a batch holds are all there, each with its own seed', async () => {
    await using engine = await open()
    const policy = await engine.policy()
    const many = await policy.sample(ask('late'), { maxTokens: 4, seed: 2, n: 70 })
    expect(many).toHaveLength(70)
    const [last] = await policy.sample(ask('late'), { maxTokens: 4, seed: 71 })
    expect(many[69]).toEqual(last)
  })

  test('a policy of a checkpoint is what the engine would be that loads it, and outlives what the engine learns', async () => {
    await using engine = await open()
    await train(engine, 1)
    const path = await engine.save('beside')
    await train(engine, 1)
    const beside = await engine.policyAt(path)
    const own = await engine.policy()
    expect(own.name).not.toBe(beside.name)
    const draw = (policy: typeof own) => policy.sample(ask('late'), { maxTokens: 8, n: 4, seed: 3 })
    const [drawn, owned] = await Promise.all([draw(beside), draw(own)])
    expect(owned).not.toEqual(drawn)
    await train(engine, 1)
    expect(await draw(beside)).toEqual(drawn)
    await engine.load(path)
    const loaded = await engine.policy()
    expect(loaded.name).toBe(beside.name)
    expect(await draw(loaded)).toEqual(drawn)
    await expect(engine.policyAt(join(folder, 'nowhere'))).rejects.toThrow(EngineError)
  })

  test('an aborted call ends at once, and those beside it go on', async () => {
    await using engine = await open()
    const policy = await engine.policy()
    const stop = new AbortController()
    const aborted = policy.sample(ask('late'), { maxTokens: 8 }, stop.signal)
    const other = policy.sample(ask('order'), { maxTokens: 8 })
    stop.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    await expect(other).resolves.toHaveLength(1)
  })

  test('a stop text ends the answer before it, with the tokens up to it', async () => {
    await using engine = await open()
    const policy = await engine.policy()
    const [free] = await policy.sample(ask('late'), { maxTokens: 12, seed: 4 })
    const text = free!.text.slice(2, 4)
    const [cut] = await policy.sample(ask('late'), { maxTokens: 12, seed: 4, stop: [text] })
    expect(cut!.text).toBe(free!.text.slice(0, free!.text.indexOf(text)))
    expect(cut!.finish).toBe('stop')
    expect(cut!.tokens).toEqual(free!.tokens.slice(0, cut!.tokens.length))
    expect(engine.tokenizer.decode(cut!.tokens)).toContain(text)
  })

  test('a prompt over the context is refused, and an answer ends with it', async () => {
    await using engine = await open()
    const policy = await engine.policy()
    await expect(policy.sample(ask('late '.repeat(60)), { maxTokens: 4 })).rejects.toThrow(
      new ModelError(`${policy.name}: a prompt of 62 tokens is over the context of 48`, { retryable: false }),
    )
    const [full] = await policy.sample(ask('late '.repeat(22).trim()), { maxTokens: 400, seed: 1 })
    expect(full!.tokens.length).toBeLessThanOrEqual(48 - 23)
  })

  test('a rollout over the context is refused with its place and size', async () => {
    await using engine = await open()
    const tokens = new Int32Array(40).fill(9)
    const floats = new Float32Array(40)
    const rollout = { tokens, logprobs: floats, advantages: floats, weights: floats }
    const call = engine.forwardBackward([{ prompt: new Int32Array(20).fill(9), rollouts: [rollout] }], ppo)
    await expect(call).rejects.toThrow(new EngineError('group 0, rollout 0: 20 + 40 tokens are over the context of 48'))
    await expect(engine.forwardBackward([], ppo)).rejects.toThrow('there are no rollouts to train on')
    await expect(engine.optimStep({ learningRate: 1 })).rejects.toThrow('there is no gradient since the last step')
  })

  test('a token that is not in the vocabulary is refused', async () => {
    await using engine = await open()
    const one = new Float32Array(1)
    const rollout = { tokens: Int32Array.of(5000), logprobs: one, advantages: one, weights: one }
    await expect(engine.forwardBackward([{ prompt: new Int32Array(1), rollouts: [rollout] }], ppo)).rejects.toThrow(
      new EngineError(`group 0, rollout 0: token 5000 is not in the vocabulary of ${engine.tokenizer.size}`),
    )
  })

  test('weights that went to infinity are told from other failures, though a thread meets them', async () => {
    await using engine = await open()
    await engine.forwardBackward(await groupsOf(engine, prompts), ppo)
    await engine.optimStep({ learningRate: 1e40 })
    const policy = await engine.policy()
    await expect(policy.sample(ask('late'), { maxTokens: 4 })).rejects.toThrow(NotFiniteError)
  })

  test('a program that forgets to close it ends all the same', () => {
    const program = `
      import { jaxEngine } from ${JSON.stringify(new URL('jax-engine.ts', import.meta.url).href)}
      const engine = await jaxEngine({ pieces: ['late'], layers: 1, width: 16, heads: 2, context: 16, workers: 2 })
      const policy = await engine.policy()
      const [said] = await policy.sample([{ role: 'user', content: 'late' }], { maxTokens: 1 })
      console.log(said.tokens.length)`
    const args = ['--input-type=module', '--eval', program]
    expect(execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 25_000 }).trim()).toBe('1')
  })

  test('after it was closed it says so', async () => {
    const engine = await open()
    const policy = await engine.policy()
    await engine[Symbol.asyncDispose]()
    await expect(policy.sample(ask('late'), { maxTokens: 4 })).rejects.toThrow('jax engine: it was closed')
  })

  test('a missing package is named with the command that installs it', async () => {
    const call = open({ packages: '/' })
    await expect(call).rejects.toThrow(MissingPackageError)
    await expect(call).rejects.toThrow('npm install @jax-js/jax@0.1.25')
  })

  test.each([{ width: 30 }, { heads: 3 }, { layers: 0 }, { context: 1.5 }, { workers: 0 }, { lengths: [8, 0] }])(
    'the options %j are refused',
    async (options) => {
      await expect(open(options)).rejects.toThrow(ConfigError)
    },
  )
})

describe('a checkpoint', () => {
  test('that cannot be written leaves no part of it, and says what to do', async () => {
    await using engine = await open()
    const path = join(folder, 'taken.safetensors')
    mkdirSync(path) // a file can't take the place of a folder
    const saved = engine.save('taken')
    await expect(saved).rejects.toThrow(EngineError)
    await expect(saved).rejects.toThrow(
      /^cannot write the checkpoint ".*taken\.safetensors": .*; make room, or give another folder$/,
    )
    expect(existsSync(`${path}.part`)).toBe(false)
  })

  test('says what it is', async () => {
    await using engine = await open()
    expect(await readPolicyCard(await engine.save('card'))).toEqual({ shape: engine.shape, pieces })
  })

  test('without the optimizer is a third as large, and starts it anew', async () => {
    await using engine = await open()
    await train(engine, 1)
    const whole = readFileSync(await engine.save('with')).length
    const path = await engine.save('without', { optimizer: false })
    expect(readFileSync(path).length / whole).toBeLessThan(0.4)
    await engine.load(path)
    await engine.forwardBackward(await groupsOf(engine, prompts), ppo)
    expect(await engine.optimStep({ learningRate: 1e-3 })).toMatchObject({ step: 1 })
  })

  test('that is cut off, of another shape, vocabulary or version is refused, and nothing changes', async () => {
    await using engine = await open()
    await train(engine, 1)
    const path = await engine.save('good')
    const good = readFileSync(path)
    const write = (name: string, content: Buffer): string => {
      writeFileSync(join(folder, name), content)
      return join(folder, name)
    }
    const saved = async (name: string, options: Partial<JaxOptions>): Promise<string> => {
      await using other = await open(options)
      return other.save(name)
    }
    const bad: readonly (readonly [file: string, why: RegExp])[] = [
      [write('cut', good.subarray(0, good.length - 4)), /cut off or too long: \d+ bytes instead of \d+/],
      [write('long', Buffer.concat([good, Buffer.alloc(4)])), /cut off or too long/],
      [write('head', good.subarray(0, 100)), /header is cut off/],
      [write('empty', Buffer.alloc(0)), /no safetensors file/],
      [write('text', Buffer.from('{"a": 1, "b": "a text that is no checkpoint"}')), /no safetensors file/],
      [
        write('version', Buffer.from(good.toString('latin1').replace('"version":"1"', '"version":"2"'), 'latin1')),
        /its version is 2/,
      ],
      [
        write('format', Buffer.from(good.toString('latin1').replace('lamarck policy', 'another policy'), 'latin1')),
        /no policy of lamarck/,
      ],
      [await saved('layers', { layers: 2 }), /its layers is 2, this engine's is 1/],
      [await saved('width', { width: 16 }), /its width is 16/],
      [
        await saved('pieces', { pieces: [...pieces.slice(1), 'you'] }),
        /its vocabulary is another: piece 0 is "improve", here "You"/,
      ],
    ]
    for (const [file, why] of bad) {
      await expect(engine.load(file)).rejects.toThrow(EngineError)
      await expect(engine.load(file)).rejects.toThrow(why)
    }
    expect(readFileSync(await engine.save('after')).equals(good)).toBe(true)
  })

  test('sharpened by a temperature draws at 1 what it drew at that temperature', async () => {
    await using engine = await open()
    const path = await engine.save('blunt')
    const draw = async (temperature: number): Promise<readonly (readonly number[])[]> => {
      const policy = await engine.policy()
      return (await policy.sample(ask('late'), { maxTokens: 8, n: 4, temperature })).map(({ tokens }) => [...tokens])
    }
    const [before, plain] = [await draw(0.5), await draw(1)]
    await sharpen(path, join(folder, 'sharp'), 0.5)
    await engine.load(join(folder, 'sharp'))
    expect(await draw(1)).toEqual(before)
    expect(before).not.toEqual(plain)
  })

  test('needs a folder and a plain name', async () => {
    await using engine = await open()
    await expect(engine.save('../elsewhere')).rejects.toThrow(ConfigError)
    const { folder: _, ...homeless } = tiny
    await using other = await jaxEngine(homeless)
    await expect(other.save('here')).rejects.toThrow('give the option folder')
  })
})
