// OpenTelemetry spans of model calls, by the GenAI semantic conventions. Nothing is loaded unless the process has a tracer.
import type { Usage } from '../core/model.ts'

/** What a span says about a request. */
export interface Spoken {
  /** `provider:model`. */
  readonly model: string
  readonly maxTokens: number
  readonly temperature?: number | undefined
  readonly topP?: number | undefined
}

/** Where `@opentelemetry/api` 1.x keeps what a process has registered; importing it to find out takes 20 ms. */
const registry: symbol = Symbol.for('opentelemetry.js.api.1')

/** Names of the conventions where they differ from ours. */
const providers: Readonly<Record<string, string>> = { google: 'gcp.gemini' }

/** Does `work` inside a client span of the active context, where the process has a tracer. */
export async function spanned<T extends { readonly usage: Usage }>(spoken: Spoken, work: () => Promise<T>): Promise<T> {
  if (!(registry in globalThis)) return work()
  const { SpanKind, SpanStatusCode, trace } = await import('@opentelemetry/api')
  const [provider = '', ...rest] = spoken.model.split(':')
  const model = rest.join(':')
  const attributes = {
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': providers[provider] ?? provider,
    'gen_ai.request.model': model,
    'gen_ai.request.max_tokens': spoken.maxTokens,
    ...(spoken.temperature === undefined ? {} : { 'gen_ai.request.temperature': spoken.temperature }),
    ...(spoken.topP === undefined ? {} : { 'gen_ai.request.top_p': spoken.topP }),
  }
  return trace.getTracer('lamarck').startActiveSpan(`chat ${model}`, { kind: SpanKind.CLIENT, attributes }, async (span) => {
    try {
      const answer = await work()
      span.setAttributes({
        'gen_ai.usage.input_tokens': answer.usage.input,
        'gen_ai.usage.output_tokens': answer.usage.output,
        'gen_ai.usage.cache_read.input_tokens': answer.usage.cached,
      })
      return answer
    } catch (error) {
      span.setAttribute('error.type', errorType(error))
      span.setStatus({ code: SpanStatusCode.ERROR })
      throw error
    } finally {
      span.end()
    }
  })
}

/** The status, else the error's name: few values, as the conventions ask. */
function errorType(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER'
  return 'status' in error && error.status !== undefined ? String(error.status) : error.name
}
