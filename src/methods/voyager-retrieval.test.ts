import { expect, test } from 'vitest'
import { ConfigError } from '../core/errors.ts'
import { byNearness, cosine, hashedNgrams } from './voyager-retrieval.ts'

const keys = [
  'rounding: questions that ask for an amount of money',
  'joins: a query over several tables',
  'dates: a text that names a day or a month',
]

test('the skill whose words are in the task comes first', async () => {
  expect((await byNearness('Which tables must the query join?', keys, hashedNgrams))[0]).toBe(1)
  expect((await byNearness('How much money is left, in the right amount?', keys, hashedNgrams))[0]).toBe(0)
  expect((await byNearness('On which days of which months?', keys, hashedNgrams))[0]).toBe(2) // by word stems
})

test('every skill is there once; of equals the later one comes first', async () => {
  expect([...(await byNearness('months', keys, hashedNgrams))].sort()).toEqual([0, 1, 2])
  expect(await byNearness('', keys, hashedNgrams)).toEqual([2, 1, 0])
  expect(await byNearness('anything', [], () => Promise.reject(new Error('asked for nothing')))).toEqual([])
})

test('the same text has the same vector, whatever its case and punctuation', async () => {
  const [a = [], b = [], c = []] = await hashedNgrams(['Sum the Amounts!', 'sum, the amounts', 'ÜBER 北京'])
  expect(cosine(a, b)).toBeCloseTo(1, 12)
  expect(cosine(a, c)).toBeLessThan(0.2)
  expect(c.some((x) => x > 0)).toBe(true)
})

test('an embedding of your own decides; vectors that do not fit are refused with what came', async () => {
  const embed = async (texts: readonly string[]): Promise<number[][]> => texts.map((t) => [t.startsWith('joins') ? 1 : 0.1, 1])
  expect(await byNearness('x', keys, embed)).toEqual([2, 0, 1])
  for (const wrong of [async () => [[1]], async () => [[1], [1], [1], [1, 2]], async () => [[1], [1], [1], [Number.NaN]]]) {
    await expect(byNearness('x', keys, wrong)).rejects.toThrow(ConfigError)
  }
  await expect(byNearness('x', keys, async () => [[1]])).rejects.toThrow('embed returned 1 vectors of 1 numbers for 4 texts')
})
