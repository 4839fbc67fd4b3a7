// Stand-ins for hosted providers in tests of the documentation: the same factories, answering from the loopback server.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import type { LanguageModelV4 } from '@ai-sdk/provider'

const provider = (name: string): ((model: string) => LanguageModelV4) =>
  createOpenAICompatible({ name, baseURL: process.env.OPENAI_BASE_URL ?? '' })

export const openai: (model: string) => LanguageModelV4 = provider('openai')
export const anthropic: (model: string) => LanguageModelV4 = provider('anthropic')
