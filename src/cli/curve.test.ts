import fc from 'fast-check'
import { expect, test } from 'vitest'
import { curve } from './curve.ts'

test('a rising line rises from the lower left to the upper right, and the scale names its ends', () => {
  // four dots a line: 0 … 7 stand one above the other
  expect(curve([0, 1, 2, 3, 4, 5, 6, 7], { columns: 4, rows: 2 })).toEqual(['7.00 ┤⠀⠀⣠⠞', '0.00 │⣠⠞⠁⠀'])
})

test('what is not there yet stays empty at the right', () => {
  const [line = ''] = curve([1, 1], { columns: 4, rows: 1, of: 4, label: () => '' })
  expect(line).toBe(' ┤⣀⣀⠀⠀')
})

test('any values give lines of one width, and each column between the ends has a dot', () => {
  const values = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 300 })
  fc.assert(
    fc.property(values, fc.integer({ min: 1, max: 80 }), fc.integer({ min: 1, max: 8 }), (all, columns, rows) => {
      const drawn = curve(all, { columns, rows, label: () => '' }).map((line) => [...line].slice(2))
      expect(drawn.map((line) => line.length)).toEqual(Array<number>(rows).fill(columns))
      for (let x = 0; x < columns; x++) expect(drawn.some((line) => line[x] !== '\u2800')).toBe(true)
    }),
  )
})
