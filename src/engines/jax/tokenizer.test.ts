import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../core/errors.ts'
import { end, vocabularyTokenizer } from './tokenizer.ts'

const pieces = ['late order', 'late', 'order', 'means', "status = 'late'", '\n', ':', 'é', '  ', 'a b']

describe('a vocabulary tokenizer', () => {
  const tokenizer = vocabularyTokenizer(pieces)

  test('any text comes back as it was', () => {
    const mixed = fc
      .array(fc.oneof(fc.constantFrom(...pieces, ' ', 'x'), fc.string({ unit: 'binary' })))
      .map((all) => all.join(''))
    fc.assert(
      fc.property(mixed, (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
      }),
      { numRuns: 200, seed: 1 },
    )
  })

  test('any vocabulary gives any text back', () => {
    const unit = fc.constantFrom('a', 'b', ' ', '\n', '"', '𝒳')
    const vocabulary = fc.uniqueArray(fc.string({ unit, minLength: 1, maxLength: 4 }), { maxLength: 8 })
    fc.assert(
      fc.property(vocabulary, fc.string({ unit, maxLength: 30 }), (words, text) => {
        const made = vocabularyTokenizer(words)
        expect(made.decode(made.encode(text))).toBe(text)
      }),
      { numRuns: 200, seed: 2 },
    )
  })

  test('a line of known words is as many tokens as it has pieces, the longest first', () => {
    expect(tokenizer.count("late order : status = 'late'\n")).toBe(4)
    expect(tokenizer.count('late means order')).toBe(3)
  })

  test('words without a space between them take one token more', () => {
    expect(tokenizer.count('lateorder')).toBe(3)
    expect(tokenizer.count('late order')).toBe(1)
  })

  test('what it does not know is spelled in bytes, and their share is told', () => {
    expect(tokenizer.count('möwe')).toBe(5)
    expect(tokenizer.byteShare('möwe')).toBe(1)
    expect(tokenizer.byteShare('late means order')).toBe(0)
    expect(tokenizer.byteShare('late means x')).toBe(0.5) // late, means, and two bytes: a space beside bytes is not understood
    expect(tokenizer.byteShare('')).toBe(0)
  })

  test('a lone surrogate becomes U+FFFD', () => {
    expect(tokenizer.decode(tokenizer.encode('x\ud800y'))).toBe('x\ufffdy')
  })

  test('bytes that are no UTF-8 are shown as such, and control tokens are not shown', () => {
    const [first] = tokenizer.encode('ö')
    expect(tokenizer.decode([first!, 0, 2, end])).toBe('\ufffd')
  })

  test('no text of a message becomes a role, and roles are told apart', () => {
    const prompt = tokenizer.prompt([
      { role: 'system', content: 'late' },
      { role: 'user', content: 'order' },
      { role: 'assistant', content: 'late' },
    ])
    const [late] = tokenizer.encode('late')
    const [order] = tokenizer.encode('order')
    expect([...prompt]).toEqual([2, late, 3, order, 4, late, end])
    expect([...tokenizer.encode('<system>\u0002')].every((token) => token >= 8)).toBe(true)
  })

  test('ids lie below its size', () => {
    const all = tokenizer.encode(pieces.join('') + String.fromCodePoint(0x10ffff))
    expect(Math.max(...all)).toBeLessThan(tokenizer.size)
    expect(tokenizer.size % 8).toBe(0)
  })

  test.each([[['a', '']], [['a', 'b', 'a']], [['\ud800']]])('the vocabulary %j is refused', (words) => {
    expect(() => vocabularyTokenizer(words)).toThrow(ConfigError)
  })
})
