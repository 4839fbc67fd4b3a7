import { expect, test } from 'vitest'
import { echoModel } from '../../test/contracts/model.ts'
import { type Message, type Model, noUsage } from '../core/model.ts'
import { cached } from './cached.ts'

const hello: readonly Message[] = [{ role: 'user', content: 'hello' }]

function toys(): { model: Model; seeds: (number | undefined)[] } {
  const kept = new Map<string, string>()
  const seeds: (number | undefined)[] = []
  const echo = echoModel()
  const watched: Model = {
    name: echo.name,
    sample(prompt, params, signal) {
      seeds.push(params.seed)
      return echo.sample(prompt, params, signal)
    },
  }
  const cache = {
    get: async (key: string) => kept.get(key),
    put: async (key: string, value: string) => void kept.set(key, value),
  }
  return { model: cached(watched, cache), seeds }
}

test('the same draw of the same question is asked once, and then uses no tokens', async () => {
  const { model, seeds } = toys()
  const [first] = await model.sample(hello, { maxTokens: 9, seed: 1 })
  const [again] = await model.sample(hello, { maxTokens: 9, seed: 1 })
  expect(seeds).toEqual([1])
  expect(again).toEqual({ ...first, usage: noUsage })
})

test('another draw, prompt or parameter is asked anew', async () => {
  const { model, seeds } = toys()
  await model.sample(hello, { maxTokens: 9, seed: 1 })
  await model.sample(hello, { maxTokens: 9, seed: 1, n: 2 })
  await model.sample(hello, { maxTokens: 8, seed: 1 })
  await model.sample([...hello, ...hello], { maxTokens: 9, seed: 1 })
  expect(seeds).toEqual([1, 2, 1, 1])
})

test('a call without a seed is never kept', async () => {
  const { model, seeds } = toys()
  await model.sample(hello, { maxTokens: 9 })
  await model.sample(hello, { maxTokens: 9 })
  expect(seeds).toEqual([undefined, undefined])
})
