import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { digest, rowKey, rowText, type Value } from './result.ts'

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 4 }),
  fc.constantFrom('1', '1.0', 'n', ';', '|', '"1:a', 'NULL', 'a\0b'),
)
const value: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(null),
  fc.integer({ min: -3, max: 3 }),
  fc.double({ noNaN: true }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom<Value>(
    0,
    -0,
    1n,
    1,
    2n ** 53n,
    2n ** 53n + 1n,
    2 ** 53,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    1e300,
  ),
  text,
  fc.uint8Array({ maxLength: 3 }),
)
const row = fc.array(value, { minLength: 1, maxLength: 3 })

/** SQLite's own comparison of two values: `IS` compares numbers exactly over integer and real, and knows no other equal types. */
const db = new DatabaseSync(':memory:')
const isSame = db.prepare('SELECT ? IS ? AS same')
function same(a: Value, b: Value): boolean {
  return isSame.get(a, b)?.same === 1
}

function sameRow(a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && a.every((cell, i) => same(cell, b[i]!))
}

test('two rows have one key exactly if SQLite finds their values the same', () => {
  fc.assert(
    fc.property(row, row, (a, b) => {
      expect(rowKey(a) === rowKey(b)).toBe(sameRow(a, b))
      expect(rowKey(a)).toBe(rowKey([...a]))
    }),
    { numRuns: 2000 },
  )
})

test('values that are near each other are told apart, values that are the same are not', () => {
  const values: readonly Value[] = [
    0,
    -0,
    0n,
    1,
    1n,
    '1',
    '1.0',
    2 ** 53,
    2n ** 53n,
    2n ** 53n + 1n,
    0.1 + 0.2,
    0.3,
    null,
    'NULL',
    'a',
    'A',
    'a ',
  ]
  for (const a of values) for (const b of values) expect([a, b, rowKey([a]) === rowKey([b])]).toEqual([a, b, same(a, b)])
  expect(rowKey([new Uint8Array([97])])).not.toBe(rowKey(['a']))
  expect(rowKey(['a', 'b'])).not.toBe(rowKey(['ab']))
  expect(rowKey(['a', ''])).not.toBe(rowKey(['', 'a']))
})

/** Every row of one has a partner in the other, found one by one. */
function sameMultiset(a: readonly string[], b: readonly string[]): boolean {
  const rest = [...b]
  return a.length === b.length && a.every((key) => rest.includes(key) && rest.splice(rest.indexOf(key), 1))
}

const keys = fc.array(fc.constantFrom('n', '1;', '2;', '"1:a', '"1:b'), { maxLength: 6 })

test('a digest that ignores order is the same exactly for the same rows, each as often', () => {
  fc.assert(
    fc.property(keys, keys, (a, b) => {
      expect(digest(a) === digest(b)).toBe(sameMultiset(a, b))
    }),
    { numRuns: 2000 },
  )
})

test('a strict digest is the same exactly for the same rows in the same order', () => {
  fc.assert(
    fc.property(keys, keys, (a, b) => {
      expect(digest(a, 'strict') === digest(b, 'strict')).toBe(JSON.stringify(a) === JSON.stringify(b))
    }),
    { numRuns: 2000 },
  )
})

test('100,000 rows that differ in one digit have 100,000 digests, none near another', () => {
  const digests = Array.from({ length: 100_000 }, (_, i) => digest([`${i};`]))
  expect(new Set(digests).size).toBe(100_000)
  for (let lane = 0; lane < 4; lane++) {
    // 100,000 of 2^32: about 1.2 pairs by chance.
    expect(new Set(digests.map((d) => d.split('.')[lane])).size).toBeGreaterThan(100_000 - 15)
  }
})

test('a row is shown short', () => {
  expect(rowText([null, 1n, 2.5, "it's", new Uint8Array([1, 255])])).toBe("NULL | 1 | 2.5 | 'it's' | x'01ff'")
  expect(rowText(['x'.repeat(10_000)]).length).toBeLessThan(70)
  expect(rowText(Array.from({ length: 2000 }, () => 'xxxxxxxxxxxxxxx')).length).toBeLessThanOrEqual(201)
})
