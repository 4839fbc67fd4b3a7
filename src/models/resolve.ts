// From `provider:model` to a model. Provider packages are optional, and named and loaded here only.
import type { LanguageModelV4 } from '@ai-sdk/provider'
import type { Tokenizer } from '../core/context.ts'
import { ConfigError, MissingPackageError } from '../core/errors.ts'
import type { Model } from '../core/model.ts'
import { languageModel } from './ai-sdk.ts'
import type { LlamaOptions } from './llama.ts'

export interface ResolveOptions {
  /** Variables that keys and base URLs are read from. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Where an OpenAI-compatible or local server is. Hosted providers never get it: their key would go there. */
  readonly baseUrl?: string | undefined
  /** For models in this process; node-llama-cpp is also looked for in the folder that the variable LAMARCK_PACKAGES names. */
  readonly local?: LlamaOptions
  readonly onWarning?: (warning: string) => void
}

/** A model by name: the AI SDK's own beside it, or, in this process, its tokenizer and resources to give back. */
export interface ResolvedModel extends Model, Partial<AsyncDisposable> {
  readonly languageModel?: LanguageModelV4
  readonly tokenizer?: Tokenizer
}

interface Provider {
  /** Variables that may hold the key; the first that is set is used. */
  readonly keys: readonly string[]
  create(model: string, to: { readonly apiKey: string; readonly baseURL: string | undefined }): Promise<LanguageModelV4>
}

const hosted: Readonly<Record<string, Provider>> = {
  openai: {
    keys: ['OPENAI_API_KEY'],
    async create(model, { apiKey, baseURL = 'https://api.openai.com/v1' }) {
      const { createOpenAI } = await installed('@ai-sdk/openai@4', () => import('@ai-sdk/openai'))
      return createOpenAI({ apiKey, baseURL })(model)
    },
  },
  anthropic: {
    keys: ['ANTHROPIC_API_KEY'],
    async create(model, { apiKey, baseURL = 'https://api.anthropic.com/v1' }) {
      const { createAnthropic } = await installed('@ai-sdk/anthropic@4', () => import('@ai-sdk/anthropic'))
      return createAnthropic({ apiKey, baseURL })(model)
    },
  },
  google: {
    keys: ['GOOGLE_GENERATIVE_AI_API_KEY', 'GEMINI_API_KEY'],
    async create(model, { apiKey, baseURL = 'https://generativelanguage.googleapis.com/v1beta' }) {
      const { createGoogle } = await installed('@ai-sdk/google@4', () => import('@ai-sdk/google'))
      return createGoogle({ apiKey, baseURL })(model)
    },
  },
}

/** Servers on the user's machine that speak OpenAI's chat API, at their default ports. */
const local: Readonly<Record<string, string>> = {
  vllm: 'http://127.0.0.1:8000/v1',
  ollama: 'http://127.0.0.1:11434/v1',
  'llama-server': 'http://127.0.0.1:8080/v1',
  lmstudio: 'http://127.0.0.1:1234/v1',
}

/** Names that `resolveModel` knows. */
export const providers: readonly string[] = [
  ...Object.keys(hosted),
  'openai-compatible',
  'compatible',
  ...Object.keys(local),
  'llamacpp',
]

/**
 * The model called `provider:model` or `provider/model`.
 * @throws {ConfigError} for an unknown provider, a missing key or base URL; {@link MissingPackageError} with the command that helps.
 */
export async function resolveModel(spec: string, options: ResolveOptions): Promise<ResolvedModel> {
  const [, provider = '', id = ''] = /^([^:/]+)[:/](.+)$/s.exec(spec) ?? []
  if (!id) throw new ConfigError(`model "${spec}" is not provider:model (have: ${providers.join(', ')})`)
  if (provider === 'llamacpp') {
    const { llama } = await import('./llama.ts')
    const packages = options.env.LAMARCK_PACKAGES
    return llama(id, { ...(packages && { packages }), ...options.local })
  }
  const lm = await chosen(provider, id, options)
  const { onWarning } = options
  const named = provider === 'compatible' ? 'openai-compatible' : provider
  return { ...languageModel(lm, { name: `${named}:${id}`, ...(onWarning ? { onWarning } : {}) }), languageModel: lm }
}

/** Whether a base URL means anything to this model. */
export function takesBaseUrl(spec: string): boolean {
  const provider = /^[^:/]+/.exec(spec)?.[0] ?? ''
  return provider in local || provider === 'compatible' || provider === 'openai-compatible'
}

function chosen(provider: string, id: string, { env, baseUrl }: ResolveOptions): Promise<LanguageModelV4> {
  const own = Object.hasOwn(hosted, provider) ? hosted[provider] : undefined
  if (own) {
    const apiKey = own.keys.map((name) => env[name]).find(Boolean)
    if (!apiKey) throw new ConfigError(`${provider}:${id} needs a key: set ${own.keys.join(' or ')}`)
    return own.create(id, { apiKey, baseURL: provider === 'openai' ? env.OPENAI_BASE_URL || undefined : undefined })
  }
  const port = Object.hasOwn(local, provider) ? local[provider] : undefined
  if (port) return compatible(provider, id, { baseURL: baseUrl ?? port })
  if (provider !== 'compatible' && provider !== 'openai-compatible') {
    throw new ConfigError(`unknown provider "${provider}" in model "${provider}:${id}" (have: ${providers.join(', ')})`)
  }
  const baseURL = baseUrl ?? env.OPENAI_BASE_URL
  if (!baseURL) throw new ConfigError(`${provider}:${id} needs a base URL: give --base-url or set OPENAI_BASE_URL`)
  return compatible('openai-compatible', id, { baseURL, ...(env.OPENAI_API_KEY ? { apiKey: env.OPENAI_API_KEY } : {}) })
}

async function compatible(name: string, id: string, to: { baseURL: string; apiKey?: string }): Promise<LanguageModelV4> {
  if (!URL.canParse(to.baseURL))
    throw new ConfigError(`base URL "${to.baseURL}" is not a URL; give one such as http://127.0.0.1:8000/v1`)
  const { createOpenAICompatible } = await installed('@ai-sdk/openai-compatible@3', () => import('@ai-sdk/openai-compatible'))
  return createOpenAICompatible({ name, ...to, includeUsage: true })(id)
}

/** Loads an optional package. @throws {MissingPackageError} if it is not there. */
export async function installed<T>(pkg: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (error) {
    const bare = pkg.replace(/@[^@/]*$/, '')
    const missing =
      error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND' && error.message.includes(bare)
    if (!missing) throw error
    throw new MissingPackageError(`${bare} is not installed: run npm install ${pkg}`, { cause: error })
  }
}
