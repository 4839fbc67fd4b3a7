import { expect, test } from 'vitest'
import { readNotes, readRule } from './notes.ts'

test.each([
  'late: days > 5',
  '- **Late** orders are those with `days>5`.',
  'When somebody says "late", use days > 5, not days <= 2',
  'LATE means DAYS  >  5',
  'days > 5 is what we call late',
])('a rule is found however it is phrased: %s', (line) => {
  expect(readRule(line)).toEqual({ words: ['late'], meaning: 'days > 5' })
})

test.each([
  ['tier = "gold"', "tier = 'gold'"],
  ['status != ‘done’', "status <> 'done'"],
])('SQL is recognised in other spellings: %s', (spelling, meaning) => {
  expect(readRule(`premium: ${spelling}`)?.meaning).toBe(meaning)
})

test.each(['late: days > 50', 'late orders matter most', 'days > 5', 'latest: days > 5', 'late: ship it within 5 days', ''])(
  'a malformed rule is no rule: %s',
  (line) => {
    expect(readRule(line)).toBeUndefined()
  },
)

test('one line may be a rule for several words', () => {
  expect(readRule('late and overdue both mean days > 5')?.words).toEqual(['late', 'overdue'])
})

test('lines that are no rules are read all the same, long ones longer', () => {
  const { length, rules } = readNotes(`Be brief.\n\nlate: days > 5\n${'very '.repeat(40)}long`)
  expect(length).toBe(1 + 1 + 4)
  expect([...rules]).toEqual([['late', ['days > 5']]])
})

test('rules that contradict each other are all kept, the same one twice is one', () => {
  expect(readNotes('late: days > 5\nlate: days <= 2\nlate: days > 5').rules.get('late')).toEqual(['days > 5', 'days <= 2'])
})
