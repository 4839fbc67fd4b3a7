import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
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

test('a long text is not kept, and a line does not keep the text that it was cut out of', () => {
  let reads = 0
  const size = remembered((text) => {
    reads++
    return text.length
  })
  const long = 'x'.repeat(1_000_000)
  expect([size(long), size(long), reads]).toEqual([1_000_000, 1_000_000, 2])
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void // there by the flag
  const used = (): number => {
    collect()
    return process.memoryUsage().heapUsed
  }
  const before = used()
  for (let i = 0; i < 100; i++) size(Buffer.from(`the ${i}th rule of a text\n${long}`).toString().slice(0, 20))
  expect(used() - before).toBeLessThan(50_000_000) // all of the texts have 100,000,000 characters
  expect(size('the 7th rule of a te')).toBe(20)
  expect(reads).toBe(102)
})
