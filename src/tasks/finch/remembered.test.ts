import { expect, test } from 'vitest'
import { remembered } from './remembered.ts'

test('a text is read once, also where nothing is found in it, and again when too many were kept', () => {
  const read: string[] = []
  const size = remembered((text) => {
    read.push(text)
    return text === '' ? undefined : text.length
  })
  expect([size('abc'), size(''), size('abc'), size('')]).toEqual([3, undefined, 3, undefined])
  expect(read).toEqual(['abc', ''])
  for (let i = 0; i < 5_000; i++) size(`text ${i}`)
  expect(size('abc')).toBe(3)
  expect(read.filter((text) => text === 'abc')).toHaveLength(2)
})
