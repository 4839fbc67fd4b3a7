// A core Model as an AI SDK model, so that a task written with `generateText` also runs on a model of this process. Text only: tools,
// files and structured output are refused by name, never dropped.
import type { LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4Prompt } from '@ai-sdk/provider'
import { ConfigError } from '../core/errors.ts'
import type { Completion, Message, Model, Params } from '../core/model.ts'

/** An AI SDK model that asks `model`. @throws {ConfigError} on tools, files and JSON output, when called. */
export function spoken(model: Model): LanguageModelV4 {
  const [provider = 'lamarck', ...rest] = model.name.split(':')
  const sample = async (options: LanguageModelV4CallOptions): Promise<Completion> => {
    if (options.tools?.length) throw new ConfigError(`${model.name} has no tools; use a hosted model for this task`)
    if (options.responseFormat?.type === 'json') throw new ConfigError(`${model.name} has no JSON output; ask for it in words`)
    const [completion] = await model.sample(messagesOf(options.prompt, model.name), paramsOf(options), options.abortSignal)
    return completion! // one was asked for
  }
  const finish = (c: Completion): { unified: 'stop' | 'length' | 'content-filter' | 'other'; raw: undefined } => ({
    unified: c.finish === 'filter' ? 'content-filter' : c.finish,
    raw: undefined,
  })
  return {
    specificationVersion: 'v4',
    provider,
    modelId: rest.join(':') || model.name,
    supportedUrls: {},
    async doGenerate(options) {
      const c = await sample(options)
      const reasoning = c.reasoning === undefined ? [] : [{ type: 'reasoning' as const, text: c.reasoning }]
      return {
        content: [...reasoning, { type: 'text', text: c.text }],
        finishReason: finish(c),
        usage: usageOf(c),
        warnings: [],
      }
    },
    async doStream(options) {
      const c = await sample(options)
      const stream = new ReadableStream({
        start(to) {
          to.enqueue({ type: 'stream-start', warnings: [] })
          to.enqueue({ type: 'text-start', id: '0' })
          to.enqueue({ type: 'text-delta', id: '0', delta: c.text })
          to.enqueue({ type: 'text-end', id: '0' })
          to.enqueue({ type: 'finish', finishReason: finish(c), usage: usageOf(c) })
          to.close()
        },
      })
      return { stream }
    },
  }
}

function usageOf({ usage }: Completion): Awaited<ReturnType<LanguageModelV4['doGenerate']>>['usage'] {
  const { input, cached, output, reasoning } = usage
  return {
    inputTokens: { total: input, noCache: input - cached, cacheRead: cached, cacheWrite: undefined },
    outputTokens: { total: output, text: output - reasoning, reasoning },
  }
}

function messagesOf(prompt: LanguageModelV4Prompt, name: string): readonly Message[] {
  return prompt.map((message) => {
    if (message.role === 'system') return { role: 'system', content: message.content }
    if (message.role === 'tool') throw new ConfigError(`${name} has no tools; use a hosted model for this task`)
    const texts = message.content.map((part) => {
      if (part.type === 'text' || part.type === 'reasoning') return part.text
      throw new ConfigError(`${name} reads text only, not a ${part.type}; use a hosted model for this task`)
    })
    return { role: message.role, content: texts.join('') }
  })
}

function paramsOf(o: LanguageModelV4CallOptions): Params {
  return {
    maxTokens: o.maxOutputTokens ?? 4096,
    ...(o.temperature !== undefined && { temperature: o.temperature }),
    ...(o.topP !== undefined && { topP: o.topP }),
    ...(o.topK !== undefined && { topK: o.topK }),
    ...(o.presencePenalty !== undefined && { presencePenalty: o.presencePenalty }),
    ...(o.stopSequences && { stop: o.stopSequences }),
    ...(o.seed !== undefined && { seed: o.seed }),
  }
}
