import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Engine, Group } from '../core/engine.ts'
import { ConfigError, EngineError } from '../core/errors.ts'
import { type Message, type Model, noUsage, type Params, type TokenCompletion } from '../core/model.ts'
import { rng } from '../core/rng.ts'
import { memoryStore } from '../stores/memory.ts'
import { chatTask } from '../tasks/chat.ts'
import type { LlmRecipe } from './llm-recipe.ts'
import { stopwatch } from './stopwatch.ts'
import { type Collected, collect, type LlmPorts, type TrainLlmFact, trainLlm, treesOf } from './train-llm.ts'

/** Problems are right as often as the context has stars, up to nine of ten. */
const recipe: LlmRecipe = {
  name: 'stars',
  base: 'none',
  tasks: async () => ({ train: ['a', 'b'], dev: ['c'], test: [] }),
  open: async (_, name) =>
    chatTask({
      name: `stars:${name}`,
      context: { text: 'no stars here' },
      splits: {
        train: problems(`${name}t`, 8),
        holdout: problems(`${name}h`, 60),
        test: problems(`${name}x`, 2),
      },
      prompt: (example) => String(example.question),
      grade: (text) => ({ score: Number(text === 'right') }),
      params: { maxTokens: 4 },
    }),
  trees: { runs: 4, rounds: 3, batch: 2, holdout: 50, draws: 2 },
  train: { states: 2, rollouts: 3, passes: 2, maxTokens: 16, learningRate: 1, every: 2, devRounds: 1 },
  assumed: { rollout: { input: 1, output: 1 }, edit: { input: 1, output: 1 } },
}

const problems = (prefix: string, n: number) =>
  Array.from({ length: n }, (_, i) => ({ id: `${prefix}${i}`, question: `${prefix}${i}` }))

/** Answers, and counts. */
function actor(dieAt = Number.POSITIVE_INFINITY): Model & { calls: number } {
  const model = {
    name: 'actor',
    calls: 0,
    async sample(prompt: readonly Message[], { seed = 0 }: Params) {
      if (++model.calls > dieAt) throw new ConfigError('killed')
      const stars = prompt[0]!.content.split('*').length - 1
      const isRight = rng(prompt.at(-1)!.content, seed, 'right')() < Math.min(0.9, 0.1 + 0.1 * stars)
      return [{ text: isRight ? 'right' : 'wrong', finish: 'stop' as const, usage: noUsage }]
    },
  }
  return model
}

/** Writes a context with some stars; one answer in eight can't be read. */
function writes(seed: number): TokenCompletion {
  const k = Math.floor(8 * rng(seed, 'stars')())
  const text = k === 0 ? 'nothing' : `<prompt>a context with ${'*'.repeat(k)}</prompt>`
  return { text, finish: 'stop', usage: noUsage, tokens: Int32Array.of(k), logprobs: Float32Array.of(Math.log(1 / 8)) }
}

const untrained: Model<TokenCompletion> = {
  name: 'untrained',
  sample: async (_, { n = 1, seed = 0 }) => Array.from({ length: n }, (_, i) => writes(seed + i)),
}

/** Learns nothing and keeps what it is given. */
function toyEngine(): Engine & { readonly given: (readonly Group[])[]; readonly loaded: string[] } {
  const [given, loaded]: [(readonly Group[])[], string[]] = [[], []]
  return {
    ...{ name: 'toy', given, loaded },
    forwardBackward: async (groups) => {
      given.push(groups)
      return { loss: 0 }
    },
    optimStep: async () => ({}),
    encode: () => Int32Array.of(1),
    policy: async () => untrained,
    save: async (name) => name,
    load: async (checkpoint) => void loaded.push(checkpoint),
    async [Symbol.asyncDispose]() {},
  }
}

function ports(more: Partial<LlmPorts> = {}): LlmPorts {
  const folder = mkdtempSync(join(tmpdir(), 'lamarck-train-llm-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return { recipe, data: '', folder, store: memoryStore(), action: actor(), seed: 1, ...more }
}

async function all<T>(facts: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const fact of facts) list.push(fact)
  return list
}

const grown = (p: LlmPorts): Promise<Collected[]> => all(collect(p, { policy: untrained }))
const steps = (facts: readonly TrainLlmFact[]) => facts.filter((fact) => fact.kind === 'step')
const asked = (p: LlmPorts): number => (p.action as ReturnType<typeof actor>).calls // made above

test('trees are the searches of the runs, with the prompts their edits were asked with and their holdouts', async () => {
  const p = ports()
  expect(await grown(p)).toHaveLength(4)
  const trees = await treesOf(p)
  expect(trees.map((tree) => [tree.of, tree.task])).toEqual([
    ['a', 'stars-1-tree-0'],
    ['b', 'stars-1-tree-1'],
    ['a', 'stars-1-tree-2'],
    ['b', 'stars-1-tree-3'],
  ])
  for (const { asked, nodes, options, invalid } of trees) {
    expect(asked).toHaveLength(3)
    expect(nodes.length + invalid).toBe(4)
    expect([options.splits.holdout.length, options.draws]).toEqual([50, 2])
    for (const { observation, prompt } of asked) {
      expect(nodes[observation.node.id]).toEqual(observation.node)
      expect(prompt.at(-1)?.content).toContain('no stars here')
      expect(observation.seen.rollouts).toEqual([])
    }
  }
})

test('a collection that was killed goes on where it was: nothing is paid for twice', async () => {
  const whole = ports()
  await grown(whole)
  const killed = ports({ action: actor(700) })
  await expect(grown(killed)).rejects.toThrow('killed')
  appendFileSync(join(killed.folder, 'states.jsonl'), '{"run": "cut o')
  await expect(treesOf(killed)).rejects.toThrow('has not ended: go on with lamarck train collect')
  const again = { ...killed, action: actor() }
  await grown(again)
  const answers = (p: LlmPorts) => treesOf(p).then((trees) => trees.map(({ nodes }) => nodes))
  expect(await answers(again)).toEqual(await answers(whole))
  expect(asked(again)).toBeLessThanOrEqual(asked(whole) - 700 + 64) // those in flight were lost
  const isOld = (await grown({ ...again, action: actor(0) })).map((tree) => tree.isOld)
  expect(isOld).toEqual([true, true, true, true])
})

test('the trainer learns from the trees; a reward is the holdout score of the edit minus that of its state', async () => {
  const p = ports()
  await grown(p)
  const engine = toyEngine()
  const facts = await all(trainLlm(p, { engine }))
  expect(facts.map((fact) => fact.kind).slice(0, 4)).toEqual(['set', 'grown', 'began', 'looked'])
  expect(facts.at(-1)).toMatchObject({ kind: 'ended', why: 'done' })
  const done = steps(facts)
  expect(done.length).toBeGreaterThan(6)
  expect(done.map((fact) => fact.metrics.reward)).toEqual(
    engine.given.map((groups) => expect.closeTo(meanOf(groups.flatMap((g) => g.rollouts.map((r) => r.advantages[0]!))), 5)),
  )
  const timed = facts.filter((fact) => fact.kind === 'timed')
  expect(timed).toHaveLength(done.length)
  for (const { seconds, sampling, reward, training } of timed)
    for (const part of [sampling, reward, training]) expect(part >= 0 && part <= seconds).toBe(true)
})

const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b) / values.length

test.each([0, 1] as const)(
  'killed in a step and started again, it brings the same steps, and what was rewarded is not paid for again: lag %i',
  async (lag) => {
    const p = ports()
    await grown(p)
    const whole = await all(trainLlm({ ...p, folder: copied(p.folder) }, { engine: toyEngine(), lag }))
    const first = { ...p, action: actor() }
    const rewarded = (): number => readFileSync(join(p.folder, 'rewards.jsonl'), 'utf8').split('\n').length - 1
    const killed = { ...p, action: actor(1500) }
    await expect(all(trainLlm(killed, { engine: toyEngine(), lag }))).rejects.toThrow('killed')
    const paid = rewarded()
    expect(paid).toBeGreaterThan(0)
    const engine = toyEngine()
    const again = await all(trainLlm(first, { engine, lag }))
    expect([engine.loaded[0], engine.loaded.at(-1)]).toEqual(['step-2', 'step-2'])
    const rest = steps(again)
    expect(rest).toEqual(steps(whole).slice(-rest.length))
    const lines = readFileSync(join(p.folder, 'rewards.jsonl'), 'utf8').split('\n').slice(0, -1)
    const edits = lines
      .map((line) => JSON.parse(line) as { step: number; edit: string })
      .map(({ step, edit }) => `${step} ${edit}`)
    expect(new Set(edits).size).toBe(edits.length)
    const other = { ...p, action: actor(), seed: 2 }
    await expect(all(trainLlm(other, { engine, lag }))).rejects.toThrow(
      'the training began with seed 1, this is 2: give another folder',
    )
  },
)

test('a step to go on from whose checkpoint is gone takes nothing out of the record', async () => {
  const p = ports()
  await grown(p)
  await all(trainLlm(p, { engine: toyEngine() }))
  const record = (): string => readFileSync(join(p.folder, 'facts.jsonl'), 'utf8')
  const before = record()
  const gone: Engine = { ...toyEngine(), load: async (name) => Promise.reject(new EngineError(`${name} is gone`)) }
  await expect(all(trainLlm(p, { engine: gone, from: 0 }))).rejects.toThrow('step-0 is gone')
  expect(record()).toBe(before)
  await all(trainLlm(p, { engine: toyEngine(), from: 2 }))
  const looked = (text: string): number => text.split('\n').filter((line) => line.includes('"looked"')).length
  expect(looked(record())).toBe(looked(before))
})

test('an edit is scored while others of its step are still drawn', async () => {
  const p = ports()
  await grown(p)
  const { promise: scored, resolve } = Promise.withResolvers<void>()
  let asked = 0
  const policy: Model<TokenCompletion> = {
    name: 'slow',
    async sample() {
      if (++asked % recipe.train.states === 0) await scored // else the trainer waits for ever
      return Array.from({ length: recipe.train.rollouts }, (_, i) => ({
        ...writes(3),
        text: `<prompt>an edit with ${'*'.repeat(i + 2)}</prompt>`,
      }))
    },
  }
  const action: Model = {
    ...p.action,
    async sample(...call) {
      if (call[0][0]?.content.includes('an edit with')) resolve()
      return p.action.sample(...call)
    },
  }
  let drawing = false
  const engine: Engine = { ...toyEngine(), policy: async () => (drawing ? policy : untrained) }
  for await (const fact of trainLlm({ ...p, action }, { engine, maxSteps: 1 })) {
    if (fact.kind === 'looked') drawing = true
    if (fact.kind === 'step') drawing = false
  }
  expect(asked).toBe(recipe.train.states)
})

function copied(folder: string): string {
  const to = mkdtempSync(join(tmpdir(), 'lamarck-train-llm-'))
  onTestFinished(() => rmSync(to, { recursive: true }))
  appendFileSync(join(to, 'states.jsonl'), readFileSync(join(folder, 'states.jsonl')))
  return to
}

test('a stopwatch counts time of a kind once, however much of it goes on at once', async () => {
  let now = 0
  const watch = stopwatch(() => now)
  const [a, b] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const first = watch.during('sampling', () => a.promise)
  now = 1000
  const second = watch.during('sampling', () => b.promise)
  now = 2000
  const reward = watch.during('reward', () => a.promise)
  a.resolve()
  now = 3000
  await Promise.all([first, reward])
  b.resolve()
  now = 4000
  await second
  now = 5000
  expect(watch.take()).toEqual({ seconds: 5, sampling: 4, reward: 1, training: 0 })
  expect(watch.take()).toEqual({ seconds: 0, sampling: 0, reward: 0, training: 0 })
})
