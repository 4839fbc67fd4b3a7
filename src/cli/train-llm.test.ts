import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { type FaultServer, startFaultServer } from '../../test/fault-server.ts'
import { type TinkerServer, tinkerServer } from '../../test/tinker-server.ts'
import { characters, subjects } from '../../test/tiny-recipe.ts'
import { ConfigError } from '../core/errors.ts'
import { readLlmFacts } from '../recipes/train-llm.ts'
import { adapterFile, factLines, type TrainLlmFlags, trainLlmCommand } from './train-llm.ts'

let actor: FaultServer
let trainer: TinkerServer
beforeAll(async () => {
  actor = await startFaultServer()
  trainer = await tinkerServer({ places: 6 })
})
afterAll(async () => {
  await actor?.close()
  await trainer?.[Symbol.asyncDispose]()
})

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'lamarck-train-llm-cli-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

test('trees are collected and trained on over the Tinker API; told to go on, both have nothing left to do', async () => {
  const printed: string[] = []
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => Boolean(printed.push(String(text))))
  onTestFinished(() => write.mockRestore())
  vi.stubEnv('OPENAI_API_KEY', 'x')
  const at = folder()
  const flags: TrainLlmFlags = {
    ...{ recipe: 'mmlu-qwen3-4b', data: subjects(at), out: join(at, 'out'), store: join(at, 'runs.db'), quiet: true },
    ...{ model: 'openai-compatible:marks', baseUrl: actor.url, url: trainer.url, tokenizer: characters(at), untrained: true },
    ...{ runs: 2, rounds: 1, draws: 1, states: 1, rollouts: 2, passes: 1, every: 1, editTokens: 8, rank: 8, context: 30_000 },
  }
  expect(await trainLlmCommand('collect', flags)).toBe(0)
  expect(await trainLlmCommand('run', flags)).toBe(3) // a random model finds nothing
  const facts = readLlmFacts(join(at, 'out', 'facts.jsonl'))
  expect(facts.map((fact) => fact.kind)).toEqual('set grown began looked step timed looked step timed looked ended'.split(' '))
  expect(readFileSync(join(at, 'out', adapterFile)).length).toBeGreaterThan(0)
  const { requests } = await actor.stats()
  expect(await trainLlmCommand('collect', flags)).toBe(0)
  expect(await trainLlmCommand('run', flags)).toBe(3)
  expect((await actor.stats()).requests).toBe(requests)
  expect(printed.join('')).toContain('2 trees; next: lamarck train run --recipe mmlu-qwen3-4b')
})

test.each([
  [{}, 'which recipe? --recipe NAME (have: bird-qwen3-4b, mmlu-qwen3-4b)'],
  [{ recipe: 'toString' }, 'unknown recipe "toString" (have: bird-qwen3-4b, mmlu-qwen3-4b)'],
  [{ recipe: 'bird-qwen3-4b' }, "where is the recipe's data? --data FOLDER"],
  [{ recipe: 'bird-qwen3-4b', rounds: 0.5 }, 'rounds is 0.5: give a whole number from 1'],
  [{ recipe: 'bird-qwen3-4b', learningRate: 0 }, 'learningRate is 0: give a number above 0'],
  [{ recipe: 'bird-qwen3-4b', data: 'x' }, 'who answers the problems? --model openai-compatible:NAME --base-url URL'],
  [{ recipe: 'bird-qwen3-4b', data: 'x', model: 'ollama:x', engine: 'jax' }, 'is trained with --engine tinker, not "jax"'],
  [{ recipe: 'bird-qwen3-4b', data: 'x', model: 'ollama:x' }, 'where is the server of the Tinker API? --url URL'],
  [{ recipe: 'bird-qwen3-4b', data: 'x', model: 'ollama:x', url: 'http://127.0.0.1:1' }, "where are the model's tokenizer.json"],
])('%o is refused before anything is asked', async (flags, message) => {
  const refused = trainLlmCommand('run', { ...flags, store: 'memory' })
  await expect(refused).rejects.toThrow(ConfigError)
  await expect(refused).rejects.toThrow(message)
})

test.each(['bird-qwen3-4b', 'mmlu-qwen3-4b'])('the guide shows what the estimate of %s says', async (recipe) => {
  const printed: string[] = []
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => Boolean(printed.push(String(text))))
  expect(await trainLlmCommand('estimate', { recipe })).toBe(0)
  write.mockRestore()
  const guide = readFileSync('docs/guide/train-at-scale.md', 'utf8')
  expect(guide).toContain(`<!-- estimate ${recipe} -->\n\`\`\`\n${printed.join('')}\`\`\`\n<!-- /estimate -->`)
})

test('a step is told with what it earned, and what the time went to', () => {
  const metrics = {
    reward: -0.02,
    rewardDeviation: 0.1,
    invalid: 0.25,
    before: 0.5,
    after: 0.6,
    entropy: 1.2,
    tokensPerEdit: 700,
  }
  const timed = { kind: 'timed', step: 3, seconds: 20, sampling: 10, reward: 15, training: 2, tokensPerSecond: 4480 } as const
  expect([
    ...factLines({ kind: 'step', step: 3, metrics, engine: { ratio: 1.01, clipped: 0.01, kl: 0.002, norm: 1.5 } }),
    ...factLines(timed),
  ]).toEqual([
    'step 3  reward −0.020 ± 0.100  before 50.0 % after 60.0 %  invalid 25.0 %  700 tokens an edit  entropy 1.20  ratio 1.010  clipped 1.0 %  kl 0.0020  norm 1.500',
    '  20.0 s: sampling 50 %, rewards 75 %, training 10 % of the time; 4480 tokens/s',
  ])
})
