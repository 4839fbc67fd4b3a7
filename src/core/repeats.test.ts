import fc from 'fast-check'
import { expect, test } from 'vitest'
import { truncateRepeats } from './repeats.ts'

test('a run of one character is cut from 100 on', () => {
  expect(truncateRepeats(`so ${'!'.repeat(99)}`)).toBe(`so ${'!'.repeat(99)}`)
  expect(truncateRepeats(`so ${'!'.repeat(100)}`)).toBe('so')
})

test('a repeated block is cut with the white space before it, and a half block before it stays', () => {
  expect(truncateRepeats(`The answer is 4.\n${'ok. '.repeat(50)}`)).toBe('The answer is 4.')
  expect(truncateRepeats(`x${'b'}${'ab'.repeat(60)}`)).toBe('xb')
})

test('a long block is cut only when it occurs three times', () => {
  const block = Array.from({ length: 64 }, (_, i) => String.fromCharCode(48 + i)).join('')
  expect(truncateRepeats(`-${block.repeat(2)}`)).toBe(`-${block.repeat(2)}`)
  expect(truncateRepeats(`-${block.repeat(3)}`)).toBe('-')
})

test('one loop behind another is cut too, and a run longer than any window goes whole', () => {
  expect(truncateRepeats(`start ${'x'.repeat(200)}${'yz'.repeat(100)}`)).toBe('start')
  expect(truncateRepeats(`start${'z'.repeat(100_000)}`)).toBe('start')
})

test('a tail of white space is no repetition', () => {
  const text = `done${' '.repeat(500)}`
  expect(truncateRepeats(text)).toBe(text)
})

test('a cut never splits a character in two', () => {
  expect(truncateRepeats(`ja ${'😀'.repeat(80)}`)).toBe('ja')
  expect(truncateRepeats(`😀${'😁'.repeat(80)}`)).toBe('😀')
})

test('the result is a prefix of the text and is not cut again, whatever the text', () => {
  const piece = fc
    .tuple(fc.string({ unit: 'grapheme', maxLength: 9 }), fc.integer({ min: 1, max: 150 }))
    .map(([s, n]) => s.repeat(n))
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 5 }), (pieces) => {
      const text = pieces.join('')
      const cut = truncateRepeats(text)
      expect(text.startsWith(cut)).toBe(true)
      expect(truncateRepeats(cut)).toBe(cut)
      // What was cut is at least a whole run; anything less is untouched.
      if (cut !== text) expect(text.length - cut.length).toBeGreaterThanOrEqual(100)
    }),
    { seed: 4, numRuns: 500 },
  )
})

test('text without repetition is untouched', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }), { maxLength: 40 }), (words) => {
      const text = words.map((w, i) => `${i} ${w}`).join('\n')
      expect(truncateRepeats(text)).toBe(text)
    }),
    { seed: 5, numRuns: 300 },
  )
})

test('a million characters of loops behind loops are cut before the test times out', () => {
  const text = Array.from({ length: 5000 }, (_, i) => (i % 2 ? 'x'.repeat(200) : 'yz'.repeat(100))).join('')
  expect(truncateRepeats(text)).toBe('')
})
