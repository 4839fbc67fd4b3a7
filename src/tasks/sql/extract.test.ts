import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sqlIn } from './extract.ts'

const fence = '```'
const query = fc.string({ minLength: 1 }).filter((s) => s.trim() !== '' && !s.includes('`') && !/<\/?answer>/i.test(s))
/** Anything a model may say around its query, unclosed marks included, but no closing tag and no fence. */
const chatter = fc.stringMatching(/^[a-z <>/.\n]*$/).filter((s) => !/answer>/.test(s))

test('the query between the answer tags comes out trimmed, whatever stands around it', () => {
  fc.assert(
    fc.property(chatter, query, chatter, (before, sql, after) => {
      expect(sqlIn(`${before}<answer>${sql}</answer>${after}`)).toBe(sql.trim())
    }),
  )
})

test('the last of several answers counts', () => {
  fc.assert(
    fc.property(query, query, (a, b) => {
      expect(sqlIn(`<answer>${a}</answer> no: <answer>${b}</answer>`)).toBe(b.trim())
    }),
  )
})

test('without tags the last sql block counts', () => {
  fc.assert(
    fc.property(chatter, query, query, (before, a, b) => {
      expect(sqlIn(`${before}${fence}sql\n${a}\n${fence}\nbetter:\n${fence}SQL\n${b}\n${fence}\nbye`)).toBe(b.trim())
    }),
  )
})

test.each([
  ['a block inside the tags', `<answer>\n${fence}sql\nSELECT 1\n${fence}\n</answer>`, 'SELECT 1'],
  ['a block with words inside the tags', `<answer>Here:\n${fence}sqlite\nSELECT 1\n${fence}</answer>`, 'SELECT 1'],
  ['a plain fence inside the tags', `<answer>${fence}\nSELECT 1\n${fence}</answer>`, 'SELECT 1'],
  ['a block before the tags', `${fence}sql\nSELECT 2\n${fence}<answer>SELECT 1</answer>`, 'SELECT 1'],
  ['nothing', '', undefined],
  ['words', 'SELECT 1', undefined],
  ['an empty answer', '<answer>  </answer>', undefined],
  ['an unclosed answer', '<answer>SELECT 1', undefined],
  ['an unclosed block', `${fence}sql\nSELECT 1`, undefined],
  ['a plain fence alone', `${fence}\nSELECT 1\n${fence}`, undefined],
])('%s', (_, text, sql) => {
  expect(sqlIn(text)).toBe(sql)
})

test('a megabyte of open blocks is read once', () => {
  expect(sqlIn(`${fence}sql`.repeat(170_000))).toBe(undefined)
})
