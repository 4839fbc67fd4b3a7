import fc from 'fast-check'
import { expect, test } from 'vitest'
import { overlap } from './copy.ts'
import { rng } from './rng.ts'

const numbers = (from: number, to: number): string => Array.from({ length: to - from }, (_, i) => `word${from + i}`).join(' ')

test('an example quoted whole is copied, whatever its case, punctuation and line breaks', () => {
  const example = { id: 'q1', text: 'How many singers are there in the year 2014, by country?' }
  const text = 'Remember:\n"HOW MANY singers\nare there – in the year 2014 by Country" is 3.'
  expect(overlap(text, [example])).toEqual({ share: 1, copied: ['q1'] })
})

test('the share is the highest of any one example, and half of it is copied', () => {
  // 17 words have 10 8-grams. Words 0–11 hold 5 of them, words 0–10 hold 4.
  const example = { id: 'a', text: numbers(0, 17) }
  expect(overlap(numbers(0, 12), [example, { id: 'b', text: numbers(100, 130) }])).toEqual({ share: 0.5, copied: ['a'] })
  expect(overlap(numbers(0, 11), [example])).toEqual({ share: 0.4, copied: [] })
  expect(overlap(numbers(0, 5), [example], { n: 3 }).share).toBeCloseTo(3 / 15, 12)
})

test('the same words in another order are no copy', () => {
  expect(overlap(numbers(0, 20).split(' ').reverse().join(' '), [{ id: 'a', text: numbers(0, 20) }]).share).toBe(0)
})

test('an example of few words is copied when they occur in a row as whole words', () => {
  const example = { id: 'short', text: 'red apple' }
  expect(overlap('a Red, apple pie', [example])).toEqual({ share: 1, copied: ['short'] })
  expect(overlap('a bored apple', [example]).share).toBe(0)
  expect(overlap('red applesauce', [example]).share).toBe(0)
})

test('an empty example, no examples and an empty text share nothing', () => {
  expect(overlap('some text', [{ id: 'a', text: ' … ' }])).toEqual({ share: 0, copied: [] })
  expect(overlap('some text', [])).toEqual({ share: 0, copied: [] })
  expect(overlap('', [{ id: 'a', text: numbers(0, 9) }])).toEqual({ share: 0, copied: [] })
})

test('text without spaces and composed letters are compared by what they say', () => {
  expect(overlap('覚えて：東京の人口は何人ですか。', [{ id: 'jp', text: '東京の人口は何人ですか' }]).copied).toEqual(['jp'])
  expect(overlap('東京の面積は何人ですか', [{ id: 'jp', text: '東京の人口は何人ですか' }]).copied).toEqual([])
  expect(overlap('cafe\u0301 creme', [{ id: 'fr', text: 'CAFÉ CREME' }]).copied).toEqual(['fr'])
})

test('agrees with a plain search for every n-gram', () => {
  const letters = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 25 })
  fc.assert(
    fc.property(letters, letters, fc.integer({ min: 1, max: 5 }), (held, its, n) => {
      const at = Math.min(n, its.length)
      const grams = its.length ? Array.from({ length: its.length - at + 1 }, (_, i) => its.slice(i, i + at).join('')) : []
      const found = grams.filter((gram) => held.join('').includes(gram)).length
      const { share, copied } = overlap(held.join(' '), [{ id: 'x', text: its.join(', ') }], { n })
      expect(share).toBeCloseTo(grams.length ? found / grams.length : 0, 12)
      expect(copied).toEqual(share >= 0.5 ? ['x'] : [])
    }),
    { seed: 6, numRuns: 500 },
  )
})

test('one copied example is found among 200 of 10 kB', () => {
  const draw = rng('copy')
  const words = (n: number): string => Array.from({ length: n }, () => `w${Math.floor(draw() * 3000)}`).join(' ')
  const examples = Array.from({ length: 200 }, (_, i) => ({ id: String(i), text: words(1800) }))
  expect(overlap(`${words(1500)} ${examples[7]!.text}`, examples).copied).toEqual(['7'])
})
