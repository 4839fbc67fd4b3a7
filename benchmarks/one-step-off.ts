// What one step off the policy saves and what it costs, beside on-policy training by the same recipe. First the clock: a server of the Tinker
// API on loopback whose commands take as long as they are told (draws 400 ms, a pass 300, a step of Adam 50), once one after the other as
// SkyRL does them and once side by side (waiting in its queue counts), rewards from a model that takes 50 ms a call, 16 calls at once; the
// shares overlap. Then what is learned, in Finch (simulated): 100 steps of the embedded engine by the default recipe, one thread, one seed
// each, and how well each evolves the development companies (share of the way, mean of five rounds). Not shown: other seeds, and a real model.
// Run: node benchmarks/one-step-off.ts [STEPS OF FINCH]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Writer } from '../src/core/evolver.ts'
import { type Model, noUsage } from '../src/core/model.ts'
import { mean } from '../src/core/score.ts'
import type { Example } from '../src/core/task.ts'
import { tinkerEngine } from '../src/engines/tinker/tinker-engine.ts'
import { finchEngine, warmStartFile } from '../src/recipes/finch-policy.ts'
import type { LlmRecipe } from '../src/recipes/llm-recipe.ts'
import { trainFinch } from '../src/recipes/train-finch.ts'
import { collect, type LlmPorts, trainLlm } from '../src/recipes/train-llm.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { chatTask } from '../src/tasks/chat.ts'
import { tinyTokenizer } from '../test/e2e-skyrl/tiny-tokenizer.ts'
import { tinkerServer } from '../test/tinker-server.ts'
import { head, row } from './table.ts'

const lags = [0, 1] as const
const named = ['on-policy', 'one step off'] as const
const takes = { sample: 400, forward_backward: 300, optim_step: 50 } // ms
const answering = 50 // ms a call
const steps = 24

const problems = (prefix: string, n: number): readonly Example[] =>
  Array.from({ length: n }, (_, i) => ({ id: `${prefix}${i}`, question: `${prefix}${i}` }))

/** Nothing can be learned of it; what it takes is the same for both. */
const recipe: LlmRecipe = {
  name: 'clock',
  base: 'tiny',
  tasks: async () => ({ train: ['a'], dev: [], test: [] }),
  open: async () =>
    chatTask({
      name: 'clock',
      context: { text: 'a' },
      splits: { train: problems('t', 8), holdout: problems('h', 8), test: problems('x', 2) },
      prompt: (example) => String(example.question),
      grade: (text) => ({ score: Number(text === 'right') }),
      params: { maxTokens: 4 },
    }),
  trees: { runs: 1, rounds: 12, batch: 2, holdout: 8, draws: 1 },
  train: { states: 4, rollouts: 4, passes: 100, maxTokens: 8, learningRate: 1e-3, every: steps, devRounds: 1 },
  assumed: { rollout: { input: 1, output: 1 }, edit: { input: 1, output: 1 } },
}

const writer: Writer = {
  name: 'everything',
  write: (observation) => [{ role: 'user', content: `Node ${observation.node.id}.` }],
  read: (completion) => ({ kind: 'edit', context: { text: completion }, completion }),
}

const action = (pause: number): Model => ({
  name: 'action',
  async sample() {
    if (pause > 0) await sleep(pause)
    return [{ text: 'wrong', finish: 'stop', usage: noUsage }]
  },
})

interface Clock {
  readonly seconds: number
  readonly sampling: number
  readonly reward: number
  readonly training: number
}

/** Means over the steps of a training. */
async function clock(isHosted: boolean, lag: 0 | 1): Promise<Clock> {
  const folder = mkdtempSync(join(tmpdir(), 'lamarck-off-'))
  await using server = await tinkerServer({ isHosted, takes, places: 6 })
  await using engine = await tinkerEngine({
    ...{ url: server.url, tokenizer: tinyTokenizer, context: 256, rank: 8, isPretrained: false, pause: 20 },
  })
  const ports: LlmPorts = { recipe, data: '', folder, store: memoryStore(), seed: 1, writer, concurrency: 16, action: action(0) }
  let n = 0
  const policy: Model = {
    name: 'untrained',
    sample: async () => [{ text: `context ${n++}`, finish: 'stop', usage: noUsage }],
  }
  for await (const _ of collect(ports, { policy }));
  const timed: Clock[] = []
  for await (const fact of trainLlm({ ...ports, action: action(answering) }, { engine, lag, maxSteps: steps }))
    if (fact.kind === 'timed') timed.push(fact)
  rmSync(folder, { recursive: true })
  const of = (name: keyof Clock): number => mean(timed.map((fact) => fact[name]))
  return { seconds: of('seconds'), sampling: of('sampling'), reward: of('reward'), training: of('training') }
}

const percent = (part: number): string => `${(100 * part).toFixed(0)} %`

console.log('### By the clock\n')
console.log(head('server, loopback', 'training', 's a step', '× on-policy', 'sampling', 'rewards', 'training'))
for (const [isHosted, server] of [
  [false, 'one after the other'],
  [true, 'side by side'],
] as const) {
  let first: number | undefined
  for (const lag of lags) {
    const { seconds, ...parts } = await clock(isHosted, lag)
    first ??= seconds
    const shares = [parts.sampling, parts.reward, parts.training].map((part) => percent(part / seconds))
    console.log(row(server, named[lag], seconds.toFixed(2), (seconds / first).toFixed(2), ...shares))
  }
}

interface Learned {
  readonly dev: ReadonlyMap<number, number>
  /** Means of the last fifth of the steps. */
  readonly reward: number
  readonly clipped: number
  readonly kl: number
  readonly seconds: number
}

const finchSteps = Number(process.argv[2] ?? 100)

async function learned(lag: 0 | 1): Promise<Learned> {
  const folder = mkdtempSync(join(tmpdir(), 'lamarck-off-'))
  await using engine = await finchEngine({ folder, workers: 1 })
  await engine.load(warmStartFile)
  const dev = new Map<number, number>()
  const last: { reward: number; clipped: number; kl: number }[] = []
  const from = performance.now()
  for await (const fact of trainFinch(engine, folder, { seed: 1, steps: finchSteps, lag })) {
    if (fact.kind === 'looked') dev.set(fact.step, fact.dev)
    if (fact.kind === 'step' && fact.step > 0.8 * finchSteps)
      last.push({ reward: fact.metrics.reward!, clipped: fact.engine.clipped!, kl: fact.engine.kl! })
  }
  rmSync(folder, { recursive: true })
  const seconds = (performance.now() - from) / 1000
  const of = (name: 'reward' | 'clipped' | 'kl'): number => mean(last.map((one) => one[name]))
  return { dev, reward: of('reward'), clipped: of('clipped'), kl: of('kl'), seconds }
}

const both = [await learned(0), await learned(1)]
const looks = [...both[0]!.dev.keys()]
console.log('\n### What is learned, in Finch (simulated)\n')
console.log(
  head(
    'in Finch (simulated)',
    ...looks.map((step) => `dev after ${step}`),
    `reward, last ${finchSteps / 5} steps`,
    'clipped',
    'kl',
    's in all',
  ),
)
for (const [lag, { dev, reward, clipped, kl, seconds }] of both.entries()) {
  const numbers = [reward.toFixed(3), `${(100 * clipped).toFixed(1)} %`, kl.toFixed(4), seconds.toFixed(0)]
  console.log(row(named[lag]!, ...looks.map((step) => percent(dev.get(step) ?? Number.NaN)), ...numbers))
}
