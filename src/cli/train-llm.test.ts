import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type FaultServer, startFaultServer } from '../../test/fault-server.ts'
import { type TinkerServer, tinkerServer } from '../../test/tinker-server.ts'
import { characters, subjects } from '../../test/tiny-recipe.ts'
import { ConfigError } from '../core/errors.ts'
import { readLlmFacts } from '../recipes/train-llm.ts'
import { adapterFile, factLines, numbersOf, type TrainLlmFlags, trainLlmCommand } from './train-llm.ts'

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
  // what OpenTelemetry and MLflow are told, of these edits that are all invalid
  const told = new Set(facts.flatMap((fact) => Object.keys(numbersOf(fact))))
  for (const name of 'reward rewardDeviation before invalid entropy engine.clipped engine.ratio engine.kl engine.norm dev'.split(
    ' ',
  ))
    expect(told).toContain(name)
  for (const name of 'seconds sampling training tokensPerSecond'.split(' ')) expect(told).toContain(name)
  expect(readFileSync(join(at, 'out', adapterFile)).length).toBeGreaterThan(0)
  const { requests } = await actor.stats()
  expect(await trainLlmCommand('collect', flags)).toBe(0)
  expect(await trainLlmCommand('run', flags)).toBe(3)
  expect((await actor.stats()).requests).toBe(requests)
  expect(printed.join('')).toContain('2 trees; next: lamarck train run --recipe mmlu-qwen3-4b')
})

/** A server of its own, and a folder in which the trees are there. */
interface Ready {
  readonly out: string
  readonly server: TinkerServer
  readonly flags: TrainLlmFlags
  /** Does something at the n-th request for a path. */
  at(path: string, n: number, make: () => void): void
}

interface Trouble {
  readonly what: string
  /** Flags that bring it, and what is done to the server. */
  readonly flags?: Partial<TrainLlmFlags>
  readonly make?: (set: Ready) => void
  readonly key?: string
  /** Nothing was trained at all. */
  readonly isAtOnce?: boolean
  readonly says: RegExp
}

/** The checkpoint after a step. */
const checkpointOf = (out: string, step: number): string => {
  const look = readLlmFacts(join(out, 'facts.jsonl')).find((fact) => fact.kind === 'looked' && fact.step === step)
  if (look?.kind !== 'looked') throw new Error(`no look after step ${step}`)
  return look.checkpoint
}

describe('what goes wrong ends in one line with the remedy, and the same command goes on', () => {
  const work = mkdtempSync(join(tmpdir(), 'lamarck-trouble-'))
  afterAll(() => rmSync(work, { recursive: true }))
  const [data, tokenizer] = [subjects(work), characters(work)]
  const flagsOf = (out: string, url: string): TrainLlmFlags => ({
    ...{ recipe: 'mmlu-qwen3-4b', data, out, store: join(out, 'runs.db'), quiet: true, json: true },
    ...{ model: 'openai-compatible:marks', baseUrl: actor.url, url, tokenizer, untrained: true },
    ...{ runs: 2, rounds: 2, draws: 1, states: 1, rollouts: 2, passes: 1, every: 1, editTokens: 8, rank: 8, context: 30_000 },
    ...{ devTasks: ['s15'], steps: 3 },
  })

  test.each<Trouble>([
    {
      what: 'no server',
      flags: { url: 'http://127.0.0.1:9' },
      isAtOnce: true,
      says: /^no Tinker server answers at .*: start it or give its address$/,
    },
    {
      what: 'a wrong key',
      key: 'wrong',
      isAtOnce: true,
      says: /refuses the key \(401\): set TINKER_API_KEY to one that is valid there$/,
    },
    { what: 'an unknown model', flags: { base: 'qwen' }, isAtOnce: true, says: /has no model "qwen" \(have: tiny\)$/ },
    {
      what: "a tokenizer that is not the model's",
      flags: { untrained: false },
      isAtOnce: true,
      says: /^the tokenizer is not that of the model .*: a plain sentence makes no sense to it/,
    },
    {
      what: 'a prompt over the context',
      flags: { context: 200 },
      says: /are over the context of 200: take a smaller maxTokens or a shorter prompt/,
    },
    {
      what: 'a loss that the server has not',
      make: ({ server, at }) =>
        at('forward_backward', 2, () =>
          server.refuse('forward_backward', "Loss functions ['ppo'] are not supported by the JAX backend"),
        ),
      says: /this server has no such loss/,
    },
    {
      what: 'a server that is started anew',
      make: ({ server, at }) => at('forward_backward', 3, () => server.restart()),
      says: /the server was started anew, or heard nothing for minutes; load the last checkpoint$/,
    },
    {
      what: 'a full disk of the server, for a checkpoint',
      make: ({ server, at }) => at('save_weights', 2, () => server.refuse('save_weights', '[Errno 28] No space left on device')),
      says: /make room on its disk, then go on from the last checkpoint$/,
    },
  ])('$what', async ({ flags: more, make, key = 'right', isAtOnce, says }) => {
    const ready = await collectedAnew()
    make?.(ready)
    const { out, flags } = ready
    vi.stubEnv('TINKER_API_KEY', key)
    const error = await trainLlmCommand('run', { ...flags, ...more }).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(error).toBeInstanceOf(Error)
    expect(String((error as Error).message)).toMatch(says) // seen above
    expect(String((error as Error).message)).not.toContain('\n')
    const kinds = readLlmFacts(join(out, 'facts.jsonl')).map(({ kind }) => kind)
    if (isAtOnce) expect(kinds).toEqual([])
    else expect(kinds).not.toContain('ended')
    vi.stubEnv('TINKER_API_KEY', 'right')
    expect(await trainLlmCommand('run', flags)).toBe(3)
    expect(readLlmFacts(join(out, 'facts.jsonl')).filter(({ kind }) => kind === 'step')).toHaveLength(3)
  })

  test('a checkpoint that was written by half: another is named by its step', async () => {
    const { out, server, flags, at } = await collectedAnew()
    at('forward_backward', 4, () => server.restart()) // the probe, then three steps
    await expect(trainLlmCommand('run', flags)).rejects.toThrow(/started anew/)
    server.damage(checkpointOf(out, 2))
    await expect(trainLlmCommand('run', flags)).rejects.toThrow(
      /can't be loaded.*load the one before it \(lamarck train run --from-step N\)$/,
    )
    expect(await trainLlmCommand('run', { ...flags, fromStep: 1 })).toBe(3)
    const steps = readLlmFacts(join(out, 'facts.jsonl')).flatMap((fact) => (fact.kind === 'step' ? [fact.step] : []))
    expect(steps).toEqual([1, 2, 3])
    await expect(trainLlmCommand('run', { ...flags, fromStep: -1 })).rejects.toThrow('fromStep is -1: give a whole number from 0')
  })

  test('a loss that is no number ends the training with the best checkpoint, and says why', async () => {
    const { out, server, flags, at } = await collectedAnew()
    at('forward_backward', 3, () => server.poison())
    expect(await trainLlmCommand('run', flags)).toBe(5)
    expect(readLlmFacts(join(out, 'facts.jsonl')).at(-1)).toMatchObject({ kind: 'ended', why: 'not finite', best: { step: 0 } })
  })

  let trees: string | undefined

  async function collectedAnew(): Promise<Ready> {
    const moments: { path: string; n: number; make: () => void }[] = []
    const heard = (path: string): void => {
      for (const moment of moments) if (moment.path === path && --moment.n === 0) moment.make()
    }
    const server = await tinkerServer({ places: 20, key: 'right', heard })
    onTestFinished(async () => {
      await server[Symbol.asyncDispose]()
      vi.unstubAllEnvs()
    })
    const write = vi.spyOn(process.stdout, 'write').mockImplementation(() => true)
    onTestFinished(() => write.mockRestore())
    vi.stubEnv('OPENAI_API_KEY', 'x')
    vi.stubEnv('TINKER_API_KEY', 'right')
    if (trees === undefined) {
      trees = join(work, 'trees')
      await trainLlmCommand('collect', flagsOf(trees, server.url))
    }
    const out = mkdtempSync(join(work, 'out-'))
    cpSync(trees, out, { recursive: true })
    return { out, server, flags: flagsOf(out, server.url), at: (path, n, make) => void moments.push({ path, n, make }) }
  }
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
