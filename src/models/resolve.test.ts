import { afterAll, beforeAll, expect, test } from 'vitest'
import { type FaultServer, startFaultServer } from '../../test/fault-server.ts'
import { ConfigError, MissingPackageError } from '../core/errors.ts'
import { installed, type ResolveOptions, resolveModel } from './resolve.ts'

let server: FaultServer
beforeAll(async () => {
  server = await startFaultServer({ world: 'echo' })
})
afterAll(() => server.close())

test.each([
  ['openai:gpt-5-mini', 'openai:gpt-5-mini', 'openai.responses'],
  ['openai/gpt-5-mini', 'openai:gpt-5-mini', 'openai.responses'],
  ['anthropic:claude-sonnet-4-5', 'anthropic:claude-sonnet-4-5', 'anthropic.messages'],
  ['google:gemini-2.5-flash', 'google:gemini-2.5-flash', 'google.generative-ai'],
  ['ollama:qwen3:4b', 'ollama:qwen3:4b', 'ollama.chat'],
  ['compatible:org/model', 'openai-compatible:org/model', 'openai-compatible.chat'],
])('%s is the model %s of %s', async (spec, name, provider) => {
  const env = { OPENAI_API_KEY: 'a', ANTHROPIC_API_KEY: 'b', GEMINI_API_KEY: 'c', OPENAI_BASE_URL: server.url }
  const model = await resolveModel(spec, { env })
  expect(model.name).toBe(name)
  expect(model.languageModel).toMatchObject({ provider, specificationVersion: 'v4', modelId: name.slice(name.indexOf(':') + 1) })
})

test.each(['compatible:small', 'vllm:small', 'ollama:small', 'llama-server:small', 'lmstudio:small'])(
  '%s answers at the base URL given',
  async (spec) => {
    const model = await resolveModel(spec, { env: {}, baseUrl: server.url })
    const [completion] = await model.sample([{ role: 'user', content: 'hello' }], { maxTokens: 77 })
    expect(JSON.parse(completion?.text ?? '')).toMatchObject({ maxTokens: 77 })
  },
)

const none: ResolveOptions = { env: {} }
test.each([
  ['gpt-5-mini', none, /model "gpt-5-mini" is not provider:model \(have: openai, anthropic, google/],
  ['openai:', none, /is not provider:model/],
  ['opanai:gpt-5-mini', none, /unknown provider "opanai" in model "opanai:gpt-5-mini" \(have: openai, .*llamacpp\)/],
  ['constructor:x', none, /unknown provider "constructor"/],
  ['openai:gpt-5-mini', none, /^openai:gpt-5-mini needs a key: set OPENAI_API_KEY$/],
  ['google:gemini-2.5-flash', none, /needs a key: set GOOGLE_GENERATIVE_AI_API_KEY or GEMINI_API_KEY/],
  ['compatible:small', none, /needs a base URL: give --base-url or set OPENAI_BASE_URL/],
  ['ollama:small', { env: {}, baseUrl: 'localhost' }, /base URL "localhost" is not a URL/],
])('%s is refused with the remedy (%#)', async (spec, options, message) => {
  const error = await resolveModel(spec, options).catch((e: unknown) => e)
  expect(error).toBeInstanceOf(ConfigError)
  expect((error as Error).message).toMatch(message) // just checked
})

test('a missing package is named with the command that installs it', async () => {
  const nowhere = '@ai-sdk/nowhere'
  const error = await installed('@ai-sdk/nowhere@4', () => import(nowhere)).catch((e: unknown) => e)
  expect(error).toBeInstanceOf(MissingPackageError)
  expect(String(error)).toBe('MissingPackageError: @ai-sdk/nowhere is not installed: run npm install @ai-sdk/nowhere@4')
})

test('a package that breaks while loading is not called missing', async () => {
  const broken = new Error('broken')
  await expect(installed('@ai-sdk/nowhere@4', () => Promise.reject(broken))).rejects.toBe(broken)
})
