import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  type Context,
  contextText,
  editable,
  partText,
  type Rules,
  regionEnd,
  regionStart,
  sizeOf,
  type Tokenizer,
  violation,
} from './context.ts'

const words: Tokenizer = { name: 'words', count: (text) => text.split(/\s+/).filter(Boolean).length }
const why = (before: Context, next: Context, rules: Rules = {}): string | undefined => violation(before, next, rules, words)

/** Text that holds no mark of a region. */
const plain = fc.string().filter((s) => !s.includes('<!--') && !s.includes('-->'))

test('the parts of a context stay the same parts in the same order', () => {
  expect(why({ a: 'x', b: 'y' }, { a: 'x' })).toBe('the parts must stay a, b; got a')
  expect(why({ a: 'x', b: 'y' }, { b: 'y', a: 'x' })).toBe('the parts must stay a, b; got b, a')
  expect(why({ a: 'x' }, { a: 'x', b: 'y' })).toBe('the parts must stay a; got a, b')
  expect(why({ a: 'x' }, {})).toBe('the parts must stay a; got none')
})

test('text stays text and examples stay examples', () => {
  expect(why({ a: 'x' }, { a: [{ input: 'i', output: 'o' }] })).toContain('text must stay text')
  expect(why({ a: [] }, { a: '' })).toContain('examples must stay examples')
})

test('a frozen part never changes, whatever the edit', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (frozen, free, other) => {
      const rules = { system: { frozen: true } }
      expect(why({ system: frozen, notes: free }, { system: frozen, notes: other }, rules)).toBeUndefined()
      if (other !== frozen) {
        expect(why({ system: frozen, notes: free }, { system: other, notes: free }, rules)).toBe(
          'part "system": it is frozen and may not change',
        )
      }
    }),
    { seed: 1 },
  )
})

test('inside the regions anything may change, outside nothing may', () => {
  const withRegions = (outside: readonly string[], inside: readonly string[]): string =>
    outside.map((text, i) => (i < inside.length ? `${text}${regionStart}${inside[i]}${regionEnd}` : text)).join('')
  const three = fc.tuple(plain, plain, plain)
  const two = fc.tuple(plain, plain)
  fc.assert(
    fc.property(three, two, two, three, (outside, inside, other, elsewhere) => {
      const before = { p: withRegions(outside, inside) }
      expect(why(before, { p: withRegions(outside, other) })).toBeUndefined()
      const next = { p: withRegions(elsewhere, other) }
      const isSame = elsewhere.every((text, i) => text === outside[i])
      expect(why(before, next) === undefined).toBe(isSame)
    }),
    { seed: 2 },
  )
})

test('marks can be neither dropped, moved nor added to get at the text outside', () => {
  const [s, e] = [regionStart, regionEnd]
  const before = { p: `keep ${s}free${e} keep too` }
  for (const next of [
    'free for all',
    `keep ${s}free keep too`,
    `${s}keep free${e} keep too`,
    `keep ${s}free${e}${s} keep too${e}`,
    `keep ${s}free${e} order ${s}x${e} keep too`,
    `keep ${s}${e}new${s}free${e} keep too`,
    `keep ${s}free${e} keep too, and this`,
  ]) {
    expect(why(before, { p: next }), next).toContain('may change')
  }
})

test('placeholders that are there must survive', () => {
  const rules = { p: { keep: ['{{question}}', '{{schema}}'] } }
  expect(why({ p: 'Ask {{question}}' }, { p: 'Ask {{question}} well' }, rules)).toBeUndefined()
  expect(why({ p: 'Ask {{question}}' }, { p: 'Ask question' }, rules)).toBe('part "p": "{{question}}" must stay in it')
  expect(why({ p: [{ input: '{{question}}', output: 'o' }] }, { p: [{ input: 'q', output: 'o' }] }, rules)).toContain('must stay')
})

test('a part over its cap is refused with its size and the tokenizer, and a part at its cap is not', () => {
  const rules = { p: { maxTokens: 3 } }
  expect(why({ p: 'a' }, { p: 'a b c' }, rules)).toBeUndefined()
  expect(why({ p: 'a' }, { p: 'a b c d' }, rules)).toBe('part "p": 4 tokens (words), at most 3 are allowed')
  expect(why({ p: [] }, { p: [{ input: 'a', output: 'b' }] }, rules)).toBe('part "p": 4 tokens (words), at most 3 are allowed')
  // A seed that is over its cap may stay as it is while another part is edited.
  expect(why({ p: 'a b c d', q: 'x' }, { p: 'a b c d', q: 'y' }, rules)).toBeUndefined()
})

test('no edit within caps is refused for its size, and every one over is', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 10 }),
      (text, cap) => {
        const refused = why({ p: 'start' }, { p: text.join(' ') }, { p: { maxTokens: cap } })
        expect(refused !== undefined).toBe(text.length > cap)
      },
    ),
    { seed: 3 },
  )
})

test('a context reads as its one text, or as its parts with their names', () => {
  expect(contextText({ a: 'x' })).toBe('x')
  expect(contextText({ a: 'x', b: [{ input: 'i', output: 'o' }] })).toBe('# a\nx\n\n# b\ninput: i\noutput: o')
  expect(partText([])).toBe('')
  expect(sizeOf({ a: 'x y', b: 'z' }, words)).toBe(3)
  expect(editable({ a: 'x', b: 'y' }, { a: { frozen: true } })).toEqual(['b'])
})
