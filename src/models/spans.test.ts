import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Ledger } from '../core/budget.ts'
import { ModelError } from '../core/errors.ts'
import { type Model, noUsage } from '../core/model.ts'
import { gate, meteredModel } from './metered.ts'

const exporter = new InMemorySpanExporter()
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
beforeAll(() => void trace.setGlobalTracerProvider(provider))
afterEach(() => exporter.reset())
afterAll(async () => {
  trace.disable()
  await provider.shutdown()
})

async function ask(faults: Error[]): Promise<void> {
  const model: Model = {
    name: 'google:gemini-2.5-flash',
    async sample() {
      const fault = faults.shift()
      if (fault) throw fault
      return [{ text: 'hi', finish: 'stop', usage: { ...noUsage, input: 12, cached: 4, output: 3 } }]
    },
  }
  const options = { journal: { put: async () => {} }, ledger: new Ledger({}), gate: gate(), retry: { base: 1 } }
  await meteredModel(model, options)
    .open(0, 'k', [])
    .model.sample([{ role: 'user', content: 'hello' }], { maxTokens: 9, temperature: 0.5 })
}

test('a call is a client span with the GenAI attributes', async () => {
  await ask([])
  const [span] = exporter.getFinishedSpans()
  expect(span).toMatchObject({ name: 'chat gemini-2.5-flash', kind: SpanKind.CLIENT })
  expect(span?.attributes).toEqual({
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': 'gcp.gemini',
    'gen_ai.request.model': 'gemini-2.5-flash',
    'gen_ai.request.max_tokens': 9,
    'gen_ai.request.temperature': 0.5,
    'gen_ai.usage.input_tokens': 12,
    'gen_ai.usage.output_tokens': 3,
    'gen_ai.usage.cache_read.input_tokens': 4,
  })
})

test('each attempt is a span; a failed one says why', async () => {
  await ask([new ModelError('busy', { status: 429, retryable: true }), new ModelError('odd', { retryable: true })])
  const spans = exporter.getFinishedSpans()
  expect(spans.map((span) => span.attributes['error.type'])).toEqual(['429', 'ModelError', undefined])
  expect(spans[0]?.status.code).toBe(SpanStatusCode.ERROR)
})
