import { expect, test } from 'vitest'
import { noUsage } from '../core/model.ts'
import { priceOf, unpriced } from './prices.ts'

const at = new Date('2026-01-01T12:00:00Z')
const million = { ...noUsage, input: 1_000_000, output: 1_000_000 }

test('the config’s table comes first, by full name or by model name', async () => {
  const table = { 'openai:gpt-5-mini': { input: 1, output: 2, cached: 0.5 }, mine: { input: 3, output: 4 } }
  expect((await priceOf('openai:gpt-5-mini', { table, at }))?.(million)).toBe(3)
  expect((await priceOf('openai:gpt-5-mini', { table, at }))?.({ ...million, cached: 1_000_000 })).toBe(2.5)
  expect((await priceOf('vllm:mine', { table, at }))?.({ ...million, cached: 1_000_000 })).toBe(7)
})

test('known models have their published price: gpt-4o-mini is $0.15 in, $0.075 cached and $0.60 out a million tokens', async () => {
  const price = await priceOf('openai:gpt-4o-mini', { at })
  expect(price?.(million)).toBeCloseTo(0.75, 9)
  expect(price?.({ ...million, cached: 1_000_000 })).toBeCloseTo(0.675, 9)
})

test('tokens written to a cache cost what the provider asks: claude-sonnet-4 $3.00 in, $3.75 written below 200,000', async () => {
  const price = await priceOf('anthropic:claude-sonnet-4-20250514', { at })
  expect(price?.({ ...noUsage, input: 100_000 })).toBeCloseTo(0.3, 9)
  expect(price?.({ ...noUsage, input: 100_000, written: 100_000 })).toBeCloseTo(0.375, 9)
})

test.each(['openai:gpt-99', 'nowhere:gpt-4o-mini', 'openai-compatible:gpt-4o-mini', 'plain'])(
  'nobody knows the price of %s',
  async (model) => {
    expect(await priceOf(model, { at })).toBeUndefined()
  },
)

test('a model on the user’s machine is free', async () => {
  expect(await priceOf('llamacpp:./smol.gguf', { at })).toBe(unpriced)
  expect(unpriced(million)).toBe(0)
})
