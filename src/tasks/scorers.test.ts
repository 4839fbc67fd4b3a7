import fc from 'fast-check'
import { expect, test } from 'vitest'
import { contains, exact, json, label, lastNumber, number, regex, type Scorer } from './scorers.ts'

const table: readonly [string, Scorer, unknown, string, number][] = [
  ['exact: white space at the ends and between is evened', exact(), 'a b', '  a \n b ', 1],
  ['exact: composed and decomposed letters are the same', exact(), 'é', 'e\u0301', 1],
  ['exact: case counts', exact(), 'Paris', 'paris', 0],
  ['exact: unless it is told not to', exact({ ignoreCase: true }), 'Paris', 'PARIS', 1],
  ['exact: one of a list', exact(), ['a', 'b'], 'b', 1],
  ['exact: a number is its text', exact(), 42, '42', 1],
  ['exact: more than the text is wrong', exact(), 'a', 'a.', 0],
  ['contains: inside a sentence', contains(), 'Paris', 'It is Paris.', 1],
  ['contains: not there', contains(), 'Paris', 'It is Rome.', 0],
  ['regex: found anywhere', regex(), '\\d{3}', 'call 911', 1],
  ['regex: not found', regex(), '^\\d{3}$', 'call 911', 0],
  ['number: the last one counts', number(), 7, 'from 3 + 4 we get 7', 1],
  ['number: thousands commas', number(), 1234567.5, 'about 1,234,567.5 $', 1],
  ['number: a list is not thousands', number(), 3, '1, 2, 3', 1],
  ['number: a real minus sign', number(), -5, 'x = −5', 1],
  ['number: a dash is no minus', number(), 5, '2020-5', 1],
  ['number: within the tolerance', number({ tolerance: 0.01 }), '3.14', '3.145', 1],
  ['number: outside the tolerance', number({ tolerance: 0.001 }), '3.14', '3.145', 0],
  ['number: none at all', number(), 1, 'no idea', 0],
  ['number: an overflow is none', number(), 1, '1e999', 0],
  ['json: key order is free', json(), { a: 1, b: [1, 2] }, '{"b":[1,2],"a":1}', 1],
  ['json: array order counts', json(), [1, 2], '[2,1]', 0],
  ['json: in a fence', json(), { a: 1 }, 'Here:\n```json\n{"a": 1}\n```\nDone.', 1],
  ['json: within a sentence', json(), { a: 1 }, 'It is {"a": 1}, I think.', 1],
  ['json: the expected value as text', json(), '{"a":1}', '{"a":1}', 1],
  ['json: none at all', json(), { a: 1 }, 'a is 1', 0],
  ['label: case and punctuation are free', label({ labels: ['billing', 'bug'] }), 'bug', '**Bug!**', 1],
  ['label: the first one named counts', label({ labels: ['billing', 'bug'] }), 'bug', 'billing, maybe bug', 0],
  ['label: only whole words', label({ labels: ['bug', 'other'] }), 'other', 'debugging: other', 1],
  ['label: the longest at the same place', label({ labels: ['not ok', 'not', 'ok'] }), 'not ok', 'Not OK.', 1],
  ['label: none at all', label({ labels: ['a b', 'c'] }), 'c', 'hm', 0],
]

test.each(table)('%s', (_, scorer, expected, answer, score) => {
  const grade = scorer(expected)(answer)
  expect(grade.score).toBe(score)
  if (score === 0) expect(grade.feedback).toMatch(/^expected .*, got /s)
})

test.each<[string, () => unknown, RegExp]>([
  ['an empty expected text', () => exact()(''), /empty expected value ""/],
  ['an empty list of texts', () => contains()([]), /empty expected value \[\]/],
  ['a broken pattern', () => regex()('('), /not a regular expression: \/\(\/u/],
  ['an empty pattern', () => regex()(''), /empty pattern/],
  ['an expected value that is no number', () => number()('many'), /can't score against "many": not a number/],
  ['a negative tolerance', () => number({ tolerance: -1 }), /tolerance must be 0 or more, got -1/],
  ['an expected label that is none', () => label({ labels: ['a'] })('b'), /"b" is not one of the labels a/],
  ['labels that differ in case only', () => label({ labels: ['a', 'A'] }), /"a" and "A" differ in case or punctuation only/],
  ['a label without letters', () => label({ labels: ['+', '-'] }), /"\+" has no letter or digit/],
  ['a missing JSON value', () => json()(undefined), /missing expected value/],
])('%s is refused', (_, make, message) => {
  expect(make).toThrow(message)
})

const anyAnswer = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.json(),
  fc.double().map(String),
  fc.constantFrom('', '```', '{', '1,2,3.4.5e', '```\n[1]'),
)
const scorers: Record<string, ReturnType<Scorer>> = {
  exact: exact()('a'),
  contains: contains({ ignoreCase: true })(['a', 'B']),
  regex: regex({ flags: 'gi' })('a+'),
  number: number({ tolerance: 1 })(0),
  json: json()({ a: 1 }),
  label: label({ labels: ['a', 'b c'] })('a'),
}

test.each(Object.keys(scorers))('%s gives 0 or 1 on any text, and the reason with 0', (name) => {
  fc.assert(
    fc.property(anyAnswer, (answer) => {
      const grade = scorers[name]!(answer)
      expect([0, 1]).toContain(grade.score)
      if (grade.score === 0) expect(grade.feedback).toMatch(/^expected /)
    }),
    { seed: 3 },
  )
})

test('any finite number written out is read back', () => {
  const finite = fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0) // + 0: minus zero is written "0"
  fc.assert(
    fc.property(finite, (n) => {
      expect(lastNumber(`it is ${n} .`)).toBe(n)
    }),
    { seed: 4 },
  )
})

test('a pattern that never ends on an answer is given up on', () => {
  const grade = regex()('^(a+)+$')(`${'a'.repeat(40)}!`)
  expect(grade).toEqual({ score: 0, feedback: 'expected a match of /^(a+)+$/, which took over 1 s on this answer' })
})
