import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import type {
  LanguageModelV2,
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4GenerateResult,
} from '@ai-sdk/provider'
import { generateText, streamText } from 'ai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { echoModel, modelContract } from '../../test/contracts/model.ts'
import { type FaultKind, type FaultServer, startFaultServer } from '../../test/fault-server.ts'
import { Ledger } from '../core/budget.ts'
import { ConfigError, ModelError } from '../core/errors.ts'
import type { Message } from '../core/model.ts'
import type { Entry } from '../core/store.ts'
import { languageModel, meteredAiSdk, retryAfterOf } from './ai-sdk.ts'
import { gate } from './metered.ts'

let server: FaultServer
let silent: FaultServer
let refused: FaultServer

beforeAll(async () => {
  server = await startFaultServer({ world: 'echo' })
  silent = await startFaultServer({ faults: [{ kind: 'never' }] })
  refused = await startFaultServer({ faults: [{ kind: '401' }] })
})
afterAll(async () => {
  for (const s of [server, silent, refused]) await s.close()
})

function toy(at: FaultServer): LanguageModelV4 {
  return createOpenAICompatible({ name: 'toy', baseURL: at.url, includeUsage: true })('small')
}

modelContract('the echo toy', async () => ({ model: echoModel(), echoes: true }))
modelContract('languageModel over @ai-sdk/openai-compatible', async () => ({
  model: languageModel(toy(server)),
  echoes: true,
  refused: languageModel(toy(refused)),
  silent: languageModel(toy(silent)),
}))

const hello: readonly Message[] = [{ role: 'user', content: 'hello' }]

const ok: LanguageModelV4GenerateResult = {
  content: [
    { type: 'reasoning', text: 'hm' },
    { type: 'text', text: 'a' },
    { type: 'text', text: 'b' },
  ],
  finishReason: { unified: 'stop', raw: 'stop' },
  usage: {
    inputTokens: { total: 10, noCache: 6, cacheRead: 4, cacheWrite: undefined },
    outputTokens: { total: 7, text: 2, reasoning: 5 },
  },
  warnings: [],
}

/** A model that gives `result`, and keeps what it was asked. */
function fixed(result: Partial<LanguageModelV4GenerateResult>, asked: LanguageModelV4CallOptions[] = []): LanguageModelV4 {
  return {
    specificationVersion: 'v4',
    provider: 'toy.chat',
    modelId: 'fixed',
    supportedUrls: {},
    async doGenerate(options) {
      asked.push(options)
      return { ...ok, ...result }
    },
    doStream: () => Promise.reject(new Error('not streamed')),
  }
}

describe('languageModel', () => {
  test('texts are joined, reasoning is apart, usage is mapped', async () => {
    const [completion] = await languageModel(fixed({})).sample(hello, { maxTokens: 9 })
    expect(completion).toEqual({
      text: 'ab',
      reasoning: 'hm',
      finish: 'stop',
      usage: { input: 10, cached: 4, output: 7, reasoning: 5 },
    })
  })

  test('every parameter is sent under its AI SDK name', async () => {
    const asked: LanguageModelV4CallOptions[] = []
    const params = { maxTokens: 9, temperature: 0.7, topP: 0.8, topK: 20, presencePenalty: 0.5, stop: ['x'], seed: 3 }
    await languageModel(fixed({}, asked)).sample(hello, params)
    expect(asked[0]).toEqual({
      prompt: [{ role: 'user', content: [{ type: 'text', text: 'hello' }] }],
      maxOutputTokens: 9,
      temperature: 0.7,
      topP: 0.8,
      topK: 20,
      presencePenalty: 0.5,
      stopSequences: ['x'],
      seed: 3,
    })
  })

  test.each([
    ['length', 'length'],
    ['content-filter', 'filter'],
    ['tool-calls', 'other'],
  ] as const)('finish %s is %s', async (unified, finish) => {
    const [completion] = await languageModel(fixed({ finishReason: { unified, raw: unified } })).sample(hello, { maxTokens: 9 })
    expect(completion?.finish).toBe(finish)
  })

  test('an empty text with a finish is an answer', async () => {
    const [completion] = await languageModel(fixed({ content: [] })).sample(hello, { maxTokens: 9 })
    expect(completion).toMatchObject({ text: '', finish: 'stop' })
  })

  test.each(['error', 'interrupted', 'other'] as const)(
    'a reply without content that finished as %s is a broken provider',
    async (unified) => {
      const model = languageModel(fixed({ content: [], finishReason: { unified, raw: undefined } }))
      await expect(model.sample(hello, { maxTokens: 9 })).rejects.toMatchObject({ name: 'ModelError', retryable: true })
    },
  )

  test('usage that is not reported counts at its bound', async () => {
    const none = { total: undefined, noCache: undefined, cacheRead: undefined, cacheWrite: undefined }
    const usage = { inputTokens: none, outputTokens: { total: undefined, text: undefined, reasoning: undefined } }
    const [completion] = await languageModel(fixed({ usage })).sample(hello, { maxTokens: 9 })
    expect(completion?.usage).toEqual({ input: 64 + 5 + 16, cached: 0, output: 4, reasoning: 0 })
  })

  test('a warning of the provider is told once', async () => {
    const told: string[] = []
    const model = languageModel(fixed({ warnings: [{ type: 'unsupported', feature: 'topK' }] }), {
      onWarning: (w) => told.push(w),
    })
    await model.sample(hello, { maxTokens: 9, n: 3 })
    expect(told).toEqual(['toy:fixed: unsupported topK'])
  })

  test('a version 2 model is taken, with its flat usage', async () => {
    const v2: LanguageModelV2 = {
      specificationVersion: 'v2',
      provider: 'toy',
      modelId: 'old',
      supportedUrls: {},
      doGenerate: async () => ({
        content: [{ type: 'text', text: 'hi' }],
        finishReason: 'length',
        usage: { inputTokens: 8, outputTokens: 3, totalTokens: 11, cachedInputTokens: 2, reasoningTokens: 1 },
        warnings: [],
      }),
      doStream: () => Promise.reject(new Error('not streamed')),
    }
    const [completion] = await languageModel(v2).sample(hello, { maxTokens: 9 })
    expect(completion).toEqual({ text: 'hi', finish: 'length', usage: { input: 8, cached: 2, output: 3, reasoning: 1 } })
  })

  test.each([
    [{ ...fixed({}), specificationVersion: 'v9' }, /speaks version v9 .*have: v2, v3, v4.*install a release/],
    ['openai/gpt-5-mini', /"openai\/gpt-5-mini" is a model's name/],
    [{}, /not an AI SDK language model/],
  ])('what is no known model is the user’s to fix (%#)', (given, message) => {
    expect(() => languageModel(given as LanguageModelV4)).toThrow(ConfigError) // wrong on purpose
    expect(() => languageModel(given as LanguageModelV4)).toThrow(message)
  })

  test.each([
    ['429', { status: 429, retryable: true, retryAfter: 2000 }],
    ['500', { status: 500, retryable: true }],
    ['401', { status: 401, retryable: false }],
    ['broken-json', { status: 200, retryable: true }],
    ['no-choice', { status: 200, retryable: true }],
    ['empty-body', { status: 200, retryable: true }],
    ['garbage', { status: 200, retryable: true }],
    ['half', { retryable: true }],
  ] satisfies [FaultKind, object][])('a provider that answers %s is a ModelError that says so', async (kind, fault) => {
    await server.faults([{ kind, retryAfter: '2' }])
    const error = await languageModel(toy(server))
      .sample(hello, { maxTokens: 9 })
      .catch((e: unknown) => e)
    await server.faults([])
    expect(error).toBeInstanceOf(ModelError)
    expect(error).toMatchObject(fault)
    expect(String(error)).toContain('toy:small')
  })

  test('a provider that is not there is a ModelError worth a retry', async () => {
    const gone = await startFaultServer()
    await gone.close()
    await expect(languageModel(toy(gone)).sample(hello, { maxTokens: 9 })).rejects.toMatchObject({
      name: 'ModelError',
      retryable: true,
    })
  })
})

test('retry-after is read in milliseconds, seconds and dates', () => {
  const now = Date.parse('2026-01-01T00:00:00Z')
  expect(retryAfterOf({ 'retry-after-ms': '12.5', 'retry-after': '9' }, now)).toBe(12.5)
  expect(retryAfterOf({ 'retry-after': '1.5' }, now)).toBe(1500)
  expect(retryAfterOf({ 'retry-after': 'Thu, 01 Jan 2026 00:00:07 GMT' }, now)).toBe(7000)
  expect(retryAfterOf({ 'retry-after': 'Thu, 01 Jan 2025 00:00:07 GMT' }, now)).toBe(0)
  expect(retryAfterOf({ 'retry-after': 'soon' }, now)).toBeUndefined()
  expect(retryAfterOf({}, now)).toBeUndefined()
})

describe('meteredAiSdk', () => {
  const open = (lm: LanguageModelV4, { recorded = [] as readonly Entry[], ledger = new Ledger({}) } = {}) => {
    const entries: Entry[] = []
    const put = async (entry: Entry): Promise<void> => void entries.push(entry)
    const meter = meteredAiSdk(lm, {
      journal: { put },
      ledger,
      gate: gate(),
      retry: { base: 1 },
      price: (u) => u.input + u.output,
    })
    return { entries, scope: meter.open(0, '0.0.0/x#0', recorded), ledger }
  }

  test('generateText runs over it, and again from the journal without a request', async () => {
    const first = open(toy(server))
    const asked = { system: 'Sort.', prompt: 'hello', seed: 4 }
    const answer = await generateText({ model: first.scope.model, ...asked })
    expect(JSON.parse(answer.text)).toMatchObject({ maxTokens: 4096, seed: 4 })
    expect(first.entries.map((e) => [e.key, e.outcome !== undefined])).toEqual([
      ['0.0.0/x#0/0~0', false],
      ['0.0.0/x#0/0~0', true],
    ])
    const { requests } = await server.stats()
    const again = open(toy(server), { recorded: first.entries.slice(1) })
    const replayed = await generateText({ model: again.scope.model, ...asked })
    again.scope.close()
    expect(replayed.text).toBe(answer.text)
    expect(replayed.usage).toEqual(answer.usage)
    expect(replayed.response.timestamp).toEqual(answer.response.timestamp)
    expect(again.entries).toEqual([])
    expect(again.scope.cost()).toEqual(first.scope.cost())
    expect(await server.stats()).toMatchObject({ requests })
  })

  test('streamText runs over it, and again from the journal', async () => {
    const first = open(toy(server))
    const text = await streamText({ model: first.scope.model, prompt: 'hello', maxOutputTokens: 50 }).text
    expect(text).toContain('hello')
    const again = open(toy(server), { recorded: first.entries.slice(1) })
    expect(await streamText({ model: again.scope.model, prompt: 'hello', maxOutputTokens: 50 }).text).toBe(text)
    expect(again.entries).toEqual([])
  })

  test.each(['half', '500', 'garbage'] satisfies FaultKind[])(
    'a stream that meets %s is asked again, by one layer only',
    async (kind) => {
      await server.faults([{ kind, count: 1 }])
      const { scope, entries } = open(toy(server))
      const text = await streamText({ model: scope.model, prompt: `again ${kind}` }).text
      await server.faults([])
      expect(text).toContain(`again ${kind}`)
      expect(entries.map((e) => e.key.split('~')[1])).toEqual(['0', '0', '1', '1'])
    },
  )

  test('a provider that stays broken ends generateText with our error, after our tries alone', async () => {
    await server.faults([{ kind: '500' }])
    const { requests } = await server.stats()
    const { scope } = open(toy(server))
    await expect(generateText({ model: scope.model, prompt: 'hello' })).rejects.toThrow(
      'toy:small answered 500: injected 500 (5 tries)',
    )
    await server.faults([])
    expect(await server.stats()).toMatchObject({ requests: requests + 5 })
  })

  test('bytes and dates of a result survive the journal', async () => {
    const data = new Uint8Array([1, 2, 255])
    const result = {
      content: [{ type: 'file', mediaType: 'image/png', data: { type: 'data', data } } as const],
      response: { id: 'r', timestamp: new Date(5), headers: { secret: 'x' } },
    }
    const first = open(fixed(result))
    const asked = { prompt: [{ role: 'user' as const, content: [{ type: 'text' as const, text: 'draw' }] }] }
    const live = await first.scope.model.doGenerate(asked)
    const again = open(fixed({}), { recorded: first.entries.slice(1) })
    const replayed = await again.scope.model.doGenerate(asked)
    expect(live.content).toEqual(result.content)
    expect(replayed).toEqual(live)
    expect(replayed.response).toEqual({ id: 'r', timestamp: new Date(5) })
  })

  test('the bound covers texts, tools, files and thinking', async () => {
    const { scope, entries } = open(fixed({}))
    const text = 'é'.repeat(1000) // 2 bytes each
    const user = { role: 'user' as const, content: [{ type: 'text' as const, text }] }
    await scope.model.doGenerate({ prompt: [user], maxOutputTokens: 100 })
    const plain = entries[0]?.bound.tokens ?? 0
    expect(plain).toBeGreaterThan(2000 + 16 + 100)
    expect(plain).toBeLessThan(2000 + 16 + 100 + 300)
    const file = { type: 'file' as const, mediaType: 'image/png', data: { type: 'data' as const, data: new Uint8Array(3000) } }
    await scope.model.doGenerate({ prompt: [{ ...user, content: [...user.content, file] }], maxOutputTokens: 100 })
    expect((entries[2]?.bound.tokens ?? 0) - plain).toBeGreaterThan(16_384 + 3000)
    const providerOptions = { anthropic: { thinking: { type: 'enabled', budgetTokens: 5000 } } }
    await scope.model.doGenerate({ prompt: [user], maxOutputTokens: 100, providerOptions })
    expect((entries[4]?.bound.tokens ?? 0) - plain).toBeGreaterThan(5000)
  })

  test('a tool that the provider runs has no bound, so a dollar budget refuses it', async () => {
    const { scope } = open(fixed({}), { ledger: new Ledger({ usd: 5 }) })
    const tools = [{ type: 'provider' as const, id: 'toy.search' as const, name: 'search', args: {} }]
    await expect(scope.model.doGenerate({ prompt: [], tools })).rejects.toThrow(/tools that the provider runs have no bound/)
  })
})
