// The metadata at the head of a GGUF file: a test's way to a tokenizer that is published inside a model. Source: ggml's gguf.md.
import { closeSync, openSync, readSync } from 'node:fs'

/** Bytes read; a tokenizer of 49,000 tokens takes 2 MB. */
const head = 16e6

type Value = number | bigint | boolean | string | readonly Value[]

/** The fields by name. */
export function ggufFields(path: string): ReadonlyMap<string, Value> {
  const bytes = Buffer.alloc(head)
  const file = openSync(path, 'r')
  readSync(file, bytes, 0, head, 0)
  closeSync(file)
  if (bytes.toString('latin1', 0, 4) !== 'GGUF') throw new Error(`${path} is no GGUF file`)
  let at = 16
  const past = (size: number): number => {
    at += size
    return at - size
  }
  const word = (): number => bytes.readUInt32LE(past(4))
  const long = (): number => Number(bytes.readBigUInt64LE(past(8)))
  const text = (): string => {
    const length = long()
    const from = past(length)
    return bytes.toString('utf8', from, from + length)
  }
  const value = (kind: number): Value => {
    if (kind === 8) return text()
    if (kind === 9) {
      const of = word()
      return Array.from({ length: long() }, () => value(of))
    }
    const [size, read] = numbers[kind]!
    return read(bytes, past(size))
  }
  const count = long()
  return new Map(Array.from({ length: count }, () => [text(), value(word())]))
}

/** By kind: bytes, and how they are read. */
const numbers: Readonly<Record<number, readonly [number, (bytes: Buffer, at: number) => number | bigint | boolean]>> = {
  0: [1, (b, at) => b.readUInt8(at)],
  1: [1, (b, at) => b.readInt8(at)],
  2: [2, (b, at) => b.readUInt16LE(at)],
  3: [2, (b, at) => b.readInt16LE(at)],
  4: [4, (b, at) => b.readUInt32LE(at)],
  5: [4, (b, at) => b.readInt32LE(at)],
  6: [4, (b, at) => b.readFloatLE(at)],
  7: [1, (b, at) => b.readUInt8(at) === 1],
  10: [8, (b, at) => b.readBigUInt64LE(at)],
  11: [8, (b, at) => b.readBigInt64LE(at)],
  12: [8, (b, at) => b.readDoubleLE(at)],
}
