// The tinker engine against a real SkyRL server: npm run e2e:skyrl. A model of random weights learns nothing worth knowing; what is shown is that
// what our trainer sends makes it do more of what was paid for.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Loss } from '../../src/core/engine.ts'
import { EngineError } from '../../src/core/errors.ts'
import type { Writer } from '../../src/core/evolver.ts'
import { type Message, type Model, noUsage } from '../../src/core/model.ts'
import { meanInterval } from '../../src/core/statistics.ts'
import { tinkerClient } from '../../src/engines/tinker/client.ts'
import { type Datum, serverLoss, tokenLoss } from '../../src/engines/tinker/datums.ts'
import { type TinkerEngine, type TinkerOptions, tinkerEngine } from '../../src/engines/tinker/tinker-engine.ts'
import type { LlmRecipe } from '../../src/recipes/llm-recipe.ts'
import { collect, trainLlm } from '../../src/recipes/train-llm.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { chatTask } from '../../src/tasks/chat.ts'
import type { Grown } from '../../src/train/curriculum.ts'
import { type TrainFact, type TrainOptions, type TrainPorts, train } from '../../src/train/train.ts'
import { engineContract } from '../contracts/engine.ts'
import { microBatch, type SkyrlServer, skyrlServer } from './skyrl-server.ts'
import { tinyAnswer, tinyTokenizer } from './tiny-tokenizer.ts'

let server: SkyrlServer
beforeAll(async () => {
  server = await skyrlServer()
}, 400_000)
afterAll(() => server?.[Symbol.asyncDispose]())

const open = (more: Partial<TinkerOptions> = {}): Promise<TinkerEngine> =>
  tinkerEngine({
    ...{ url: server.url, tokenizer: tinyTokenizer, context: 512, rank: 8, seed: 7, multiple: microBatch },
    ...{ isPretrained: false, pause: 50, ...more },
  })

engineContract('the tinker engine on SkyRL', async () => ({ engine: await open(), answer: tinyAnswer, learningRate: 1e-2 }))

// As long as the contract's prompt: the server compiles for each length.
const prompt: readonly Message[] = [{ role: 'user', content: 'Write one line of what you like to write.' }]

describe('the losses of the server are ours', () => {
  const losses: readonly Loss[] = [
    { kind: 'importance_sampling' },
    { kind: 'ppo', low: 0.2, high: 0.28 },
    { kind: 'cispo', low: 0.1, high: 0.2 },
    { kind: 'cross_entropy' },
  ]
  test.each(losses)('$kind, token by token, for both signs of the advantage and on both sides of the bounds', async (loss) => {
    await using client = await tinkerClient({ url: server.url, pause: 50 })
    const model = await client.createModel({ baseModel: client.models[0]!.name, rank: 8, seed: 7 })
    const sampler = await model.sampler()
    const asked = tinyTokenizer.encodeChat(prompt)
    const sampling = { n: 4, maxTokens: 8, seed: 5, temperature: 1, topP: 1, topK: -1, stops: tinyTokenizer.stops }
    const drawn = await sampler.sample({ prompt: asked, ...sampling })
    const rows = drawn.flatMap(({ tokens, logprobs }) =>
      [-1, 1].map((sign): Datum => {
        const whole = Int32Array.from([...asked, ...tokens])
        const row = (of: (t: number) => number): Float32Array =>
          Float32Array.from(whole.subarray(1), (_, i) => (i < asked.length - 1 ? 0 : of(i - asked.length + 1)))
        const inputs = {
          weights: row(() => 1),
          ...(loss.kind !== 'cross_entropy' && {
            logprobs: row((t) => logprobs[t]! + 0.4 * Math.sin(7 * t)), // ratios from 0.67 to 1.5
            advantages: row((t) => sign * (1 + t / 4)),
          }),
        }
        return { tokens: whole.subarray(0, -1), targets: whole.subarray(1), inputs }
      }),
    )
    const filled = [...rows, ...Array.from({ length: microBatch - rows.length }, () => rows[0]!)]
    const { losses, logprobs } = await model.forwardBackward(filled, serverLoss(loss, 'sum'))
    let counted = 0
    for (const [i, { inputs }] of rows.entries()) {
      for (const [t, weight] of inputs.weights!.entries()) {
        const at = { now: logprobs[i]![t]!, drawn: inputs.logprobs?.[t] ?? 0, advantage: inputs.advantages?.[t] ?? 0 }
        expect(Math.abs(losses[i]![t]! - (weight === 0 ? 0 : tokenLoss(loss, at)))).toBeLessThan(1e-5)
        counted += weight
      }
    }
    expect(counted).toBeGreaterThan(40)
    await model.optimStep({ learningRate: 0 })
    await model.unload()
  })

  test('after one step with advantage 1, the sequence is likelier', async () => {
    await using engine = await open()
    const [it] = await (await engine.policy()).sample(prompt, { maxTokens: 8, seed: 1 })
    const ones = it!.logprobs.map(() => 1)
    const group = { prompt: engine.encode(prompt), rollouts: [{ ...it!, advantages: ones, weights: ones }] }
    const before = await engine.forwardBackward([group], { kind: 'importance_sampling' })
    await engine.optimStep({ learningRate: 1e-3 })
    const after = await engine.forwardBackward([group], { kind: 'importance_sampling' })
    expect(after.nll).toBeLessThan(before.nll! - 1e-2)
  })
})

test('the trained adapter is downloaded as a gzip, and what was written is listed', async () => {
  await using engine = await open()
  const saved = await engine.save('a')
  expect([...(await engine.adapter('final')).subarray(0, 2)]).toEqual([0x1f, 0x8b])
  const adapter = `tinker://${engine.modelId}/sampler_weights/final`
  const written = (await engine.checkpoints()).toSorted((a, b) => a.path.length - b.path.length)
  expect(written).toEqual([
    { path: saved, kind: 'training' },
    { path: adapter, kind: 'sampler' },
  ])
})

test('a checkpoint that was written by half is refused, and the model stays as it is', async () => {
  await using engine = await open()
  const saved = await engine.save('half')
  const [before] = await (await engine.policy()).sample(prompt, { maxTokens: 8 })
  const folder = join(server.checkpoints, engine.modelId, 'half.tar.gz') // its name says otherwise
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name)
    if (entry.isFile()) truncateSync(file, Math.floor(statSync(file).size / 2))
  }
  await expect(engine.load(saved)).rejects.toThrow(/can't be loaded/)
  const [after] = await (await engine.policy()).sample(prompt, { maxTokens: 8 })
  expect(after?.logprobs).toEqual(before?.logprobs)
})

test('a sentence that makes no sense to the model stops it before it trains', async () => {
  await expect(open({ isPretrained: true })).rejects.toThrow(/the tokenizer is not that of the model/)
})

/** The whole completion is the context. */
const writer: Writer = {
  name: 'everything',
  write: () => prompt,
  read: (completion) => ({ kind: 'edit', context: { text: completion }, completion }),
}

/** Two states that differ in their prompts, and scored as random text does. */
const asked = ['Write one line of what you like to write.', 'Write down what comes to your mind, so go.'].map(
  (content, id): Grown['asked'][number] => {
    const score = { per: {}, mean: 0.3, draws: 1, full: true }
    const node = { id, parents: [], round: id, context: { text: '' }, score }
    const observation = { node, seen: { ...score, rollouts: [] }, history: [], earlier: [], rules: {} }
    return { observation, prompt: [{ role: 'user', content }] }
  },
)
const trees: readonly Grown[] = [{ task: 'letters', invalid: 0, nodes: asked.map(({ observation }) => observation.node), asked }]

/** Share of small letters; a random model writes 28 % of them. */
const letters = (text: string): number => (text.match(/[a-z]/g)?.length ?? 0) / Math.max(1, text.length)

const ports = (engine: TinkerEngine): TrainPorts => ({
  engine,
  writer,
  grow: async () => trees,
  score: async (context) => letters(String(context.text)),
  dev: async (policy) => {
    const drawn = await policy.sample(prompt, { maxTokens: 8, n: 16, seed: 99 })
    return drawn.reduce((sum, { text }) => sum + letters(text), 0) / drawn.length
  },
})

const options = (seed: number, more: Partial<TrainOptions> = {}): TrainOptions => ({
  ...{ seed, states: 2, rollouts: 8, passes: 24, maxTokens: 8, every: 12, adam: { learningRate: 1e-2 }, ...more },
})

const rewards = (facts: readonly TrainFact[]): readonly number[] =>
  facts.filter((f) => f.kind === 'step').map(({ metrics }) => metrics.reward!)

describe('plumbing: a tiny random model is paid for small letters by our trainer', () => {
  test.each([1, 2])('its mean reward rises, seed %d', async (seed) => {
    await using engine = await open({ seed })
    const facts = await collected(train(options(seed), ports(engine)))
    expect(facts.at(-1)).toMatchObject({ kind: 'ended', why: 'done' })
    const all = rewards(facts)
    const late = all.slice(-8)
    const early = all.slice(0, 8)
    const gained = meanInterval(
      late.map((reward, i) => reward - early[i]!),
      { within: [-1, 1] },
    )
    console.log(
      `seed ${seed}: reward ${mean(early)} in the first 8 steps, ${mean(late)} in the last 8, 95 % interval of the rise ${gained.interval}`,
    )
    expect(gained.interval[0]).toBeGreaterThan(0.05)
  })
})

/** Each problem is answered with the context, and is right as far as that has small letters. */
const recipe: LlmRecipe = {
  name: 'letters',
  base: 'tiny',
  tasks: async () => ({ train: ['a'], dev: ['b'], test: [] }),
  open: async (_, name) => {
    const split = (split: string, n: number) => Array.from({ length: n }, (_, i) => ({ id: `${name}${split}${i}` }))
    return chatTask({
      ...{ name, context: { text: 'NO LETTERS' }, splits: { train: split('t', 8), holdout: split('h', 4), test: split('x', 2) } },
      prompt: ({ id }) => id,
      grade: (text) => ({ score: letters(text) }),
    })
  },
  trees: { runs: 2, rounds: 4, batch: 2, holdout: 4, draws: 1 },
  train: { states: 2, rollouts: 8, passes: 3, maxTokens: 8, learningRate: 1e-2, every: 3, devRounds: 1 },
  assumed: { rollout: { input: 1, output: 1 }, edit: { input: 1, output: 1 } },
}

test('collect and run, one step off the policy: the ratio is 1 on-policy and else is not, and what is done is not paid for again', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lamarck-skyrl-run-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  let calls = 0
  const action: Model = {
    name: 'mirror',
    async sample([context]) {
      calls++
      return [{ text: context!.content, finish: 'stop', usage: noUsage }]
    },
  }
  const numbered: Writer = {
    ...writer,
    // as long as the contract's prompt
    write: ({ node, earlier }) => [
      { role: 'user', content: `Write a line, ${node.id}.${earlier.length}.`.padEnd(prompt[0]!.content.length) },
    ],
  }
  const asked = { recipe, data: '', folder, store: memoryStore(), seed: 1, action, writer: numbered }
  await using engine = await open()
  const params = { maxTokens: 8, temperature: 1 }
  for await (const tree of collect(asked, { policy: await engine.policy(), params })) expect(tree.nodes).toBe(5)
  const run = async () => {
    const facts = []
    for await (const fact of trainLlm(asked, { engine, lag: 1, maxSteps: 6 })) facts.push(fact)
    return facts
  }
  const facts = await run()
  expect(facts.at(-1)).toMatchObject({ kind: 'ended', why: 'done' })
  const steps = facts.filter((f) => f.kind === 'step')
  expect(steps.map((f) => f.metrics.lag)).toEqual([0, 1, 1, 0, 1, 1])
  for (const { metrics, engine } of steps) {
    if (metrics.lag === 0) expect(engine.kl).toBeCloseTo(0, 4)
    else expect(Math.abs(engine.kl!)).toBeGreaterThan(1e-3)
  }
  expect(readFileSync(join(folder, 'rewards.jsonl'), 'utf8').trim().split('\n').length).toBeGreaterThan(6 * 2)
  const before = calls
  expect((await run()).map((f) => f.kind)).toEqual(['ended'])
  expect(calls).toBe(before)
})

describe('a server that is killed in the middle of a training', () => {
  test('ends it with the remedy; started again, the training goes on from its last checkpoint with the same steps', async () => {
    const o = options(3, { passes: 6, every: 2 })
    const facts: TrainFact[] = []
    await using witness = await open()
    const saved = await witness.save('before')
    const live = async (): Promise<void> => {
      await using engine = await open({ patience: 1000 })
      for await (const fact of train(o, ports(engine))) {
        facts.push(fact)
        if (fact.kind === 'step' && fact.step === 3) await server.kill()
      }
    }
    await expect(live()).rejects.toThrow(EngineError)
    await expect(open()).rejects.toThrow(/no Tinker server answers at .*ECONNREFUSED/)

    await server.start()
    await using engine = await open()
    const kept = facts.slice(0, facts.findLastIndex((f) => f.kind === 'looked') + 1)
    const rest = await collected(train(o, ports(engine), kept))
    expect(rest.filter((f) => f.kind === 'step').map((f) => f.step)).toEqual([3, 4, 5, 6])
    expect(rest.at(-1)).toMatchObject({ kind: 'ended', why: 'done' })
    const third = (all: readonly TrainFact[]): unknown => all.find((f) => f.kind === 'step' && f.step === 3)
    expect(third(rest)).toEqual(third(facts))

    await expect(witness.policy()).rejects.toThrow(/started anew.*load the last checkpoint/)
    await witness.load(saved)
    await expect((await witness.policy()).sample(prompt, { maxTokens: 8 })).resolves.toHaveLength(1)
  })
})

async function collected(facts: AsyncIterable<TrainFact>): Promise<readonly TrainFact[]> {
  const all: TrainFact[] = []
  for await (const fact of facts) all.push(fact)
  return all
}

function mean(values: readonly number[]): string {
  return (values.reduce((a, b) => a + b, 0) / values.length).toFixed(3)
}
