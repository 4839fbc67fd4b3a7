// The safetensors format, float32 tensors only: 8 bytes of header length, a JSON header, the numbers. Little-endian.
// Source: https://huggingface.co/docs/safetensors
import { EngineError } from '../../core/errors.ts'

export interface Tensors {
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly values: Float32Array<ArrayBuffer> }>
}

interface Entry {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly data_offsets: readonly [from: number, to: number]
}

export function encodeTensors({ metadata, tensors }: Tensors): Uint8Array {
  const header: Record<string, Entry | Readonly<Record<string, string>>> = { __metadata__: metadata }
  let size = 0
  for (const [name, { shape, values }] of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [size, size + values.byteLength] }
    size += values.byteLength
  }
  const json = JSON.stringify(header)
  const padded = new TextEncoder().encode(json.padEnd(json.length + ((8 - (Buffer.byteLength(json) % 8)) % 8)))
  const file = new Uint8Array(8 + padded.length + size)
  new DataView(file.buffer).setBigUint64(0, BigInt(padded.length), true)
  file.set(padded, 8)
  let at = 8 + padded.length
  for (const { values } of tensors.values()) {
    file.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at)
    at += values.byteLength
  }
  return file
}

/** @throws {EngineError} on anything that is not a whole file of this format; the message has no file name. */
export function decodeTensors(file: Uint8Array): Tensors {
  if (file.length < 8) throw new EngineError('it is no safetensors file')
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true))
  if (length > file.length - 8 && length > 100_000_000) throw new EngineError('it is no safetensors file')
  const header = headerOf(file.subarray(8, 8 + length))
  const { __metadata__: metadata = {}, ...entries } = header
  const start = 8 + length
  const expected = Math.max(start, ...Object.values(entries).map(({ data_offsets: [, to] }) => start + to))
  if (file.length !== expected) throw new EngineError(`it is cut off or too long: ${file.length} bytes instead of ${expected}`)
  const tensors = Object.entries(entries).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [from, to],
      },
    ]) => {
      const isWhole = shape.reduce((a, b) => a * b, 4) === to - from
      if (dtype !== 'F32' || !isWhole)
        throw new EngineError(`its tensor "${name}" is ${dtype} of ${to - from} bytes, not float32 [${shape}]`)
      return [name, { shape, values: new Float32Array(new Uint8Array(file.subarray(start + from, start + to)).buffer) }] as const
    },
  )
  return { metadata, tensors: new Map(tensors) }
}

function headerOf(bytes: Uint8Array): Record<string, Entry> & { __metadata__?: Record<string, string> } {
  try {
    const header: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    if (isHeader(header)) return header as Record<string, Entry> & { __metadata__?: Record<string, string> } // checked just before
  } catch (cause) {
    throw new EngineError('its header is cut off or no JSON', { cause })
  }
  throw new EngineError('its header is not that of a safetensors file')
}

function isHeader(header: unknown): boolean {
  if (typeof header !== 'object' || header === null) return false
  return Object.entries(header).every(([name, of]: [string, unknown]) => {
    if (typeof of !== 'object' || of === null) return false
    if (name === '__metadata__') return Object.values(of).every((value) => typeof value === 'string')
    const { dtype, shape, data_offsets: offsets } = of as Partial<Record<keyof Entry, unknown>> // looked at below
    return typeof dtype === 'string' && areCounts(shape) && areCounts(offsets) && offsets.length === 2
  })
}

function areCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0)
}
