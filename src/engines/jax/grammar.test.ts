import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../core/errors.ts'
import { after, automatonOf, type Grammar, masked } from './grammar.ts'
import { end, vocabularyTokenizer } from './tokenizer.ts'

const tokenizer = vocabularyTokenizer(['(', ')', 'a', 'b'])
/** One or more of (a) or (b). */
const pairs: Grammar = {
  open: [{ pieces: ['('], to: 'letter' }],
  letter: [{ pieces: ['a', 'b'], to: 'close' }],
  close: [{ pieces: [')'], to: 'more' }, { pieces: [')'] }],
  more: [{ pieces: ['('], to: 'letter' }],
}
/** The same, with one way for each piece. */
const lists: Grammar = {
  open: [{ pieces: ['('], to: 'letter' }],
  letter: [{ pieces: ['a', 'b'], to: 'next' }, { pieces: [')'] }],
  next: [{ pieces: ['a', 'b'], to: 'next' }, { pieces: [')'] }],
}

/** The likeliest answer within a limit. */
function answerOf(grammar: Grammar, logits: readonly number[], most: number): readonly number[] {
  const automaton = automatonOf(grammar, tokenizer)
  const tokens: number[] = []
  let state = 0
  while (tokens.length < most && tokens.at(-1) !== end) {
    const allowed = masked(automaton, state, Float32Array.from(logits), most - tokens.length)
    const token = allowed.indexOf(Math.max(...allowed))
    tokens.push(token)
    state = after(automaton, state, token)
  }
  return tokens
}

describe('a grammar', () => {
  test('whatever the policy would rather say, an answer within it is whole at the limit', () => {
    const logit = fc.double({ min: -30, max: 30, noNaN: true })
    const of = fc.tuple(
      fc.array(logit, { minLength: tokenizer.size, maxLength: tokenizer.size }),
      fc.integer({ min: 3, max: 12 }),
    )
    fc.assert(
      fc.property(of, ([logits, most]) => {
        const tokens = answerOf(lists, logits, most)
        expect(tokens.at(-1)).toBe(end)
        expect(tokenizer.decode(tokens)).toMatch(/^\(( ?[ab])* ?\)$/)
      }),
    )
  })

  test('leaves the likeliest answer as it is where that keeps to it', () => {
    const logits = Array.from({ length: tokenizer.size }, () => -9)
    const [a, close] = tokenizer.encode('a)').filter((token) => token !== 5)
    logits[a!] = 0
    logits[close!] = 1
    expect(tokenizer.decode(answerOf(lists, logits, 9))).toBe('( )')
  })

  test('its shortest answer counts the end', () => {
    expect(automatonOf(lists, tokenizer).left[0]).toBe(3)
    expect(automatonOf({ one: [{ pieces: ['a'] }] }, tokenizer).left[0]).toBe(2)
  })

  test.each([
    [{ one: [{ pieces: ['ab'] }] }, 'the grammar\'s piece "ab" is not one token of the vocabulary'],
    [{ one: [{ pieces: ['a'], to: 'two' }] }, 'the grammar\'s state "one" leads to "two", which is not there'],
    [{ one: [{ pieces: ['a'], to: 'one' }] }, 'the grammar\'s state "one" leads to no end'],
    [pairs, 'the grammar\'s state "close" takes ")" to two places'],
  ])('%j is refused in one line', (grammar, line) => {
    expect(() => automatonOf(grammar, tokenizer)).toThrow(ConfigError)
    expect(() => automatonOf(grammar, tokenizer)).toThrow(line)
  })
})
