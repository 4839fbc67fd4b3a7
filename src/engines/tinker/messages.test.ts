import { readFileSync } from 'node:fs'
import { fromBinary } from '@bufbuild/protobuf'
import { base64Decode } from '@bufbuild/protobuf/wire'
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { describe, expect, test } from 'vitest'
import { EngineError } from '../../core/errors.ts'
import { bytesOf, descriptor, dtypes, float32s, int32s, int64s, loadMessages } from './messages.ts'

const messages = await loadMessages()

/** Written by the generated module of tinker 0.25.0 for Python. */
const golden = {
  request:
    'Cgdtb2RlbF8xEAcaRAoQCg4KDAIAAAADAAAABAAAABIwCg10YXJnZXRfdG9rZW5zEh8KGAMAAAAAAAAABAAAAAAAAAAFAAAAAAAAABgCIgEDIgNwcG8qHQoSY2xpcF9sb3dfdGhyZXNob2xkEZqZmZmZmek/MAE=',
  sample: 'ChYIARIIBQAAAAYAAAAaCAAAAL8AAKC/CgwSBAEAAAAaBAAAAMASCAAAwH8AAEDA',
  output:
    'CgZzY2FsYXISOhI2Cghsb2dwcm9icxIqCgwAAAC/AACAvwAAAMASGAAAAAAAAAAACAAAAAAAAAAMAAAAAAAAABgBGAIaEwoIbG9zczpzdW0RAAAAAAAADEA=',
}

describe('the binary messages', () => {
  test('have the fields of tinker.proto', () => {
    const file = fromBinary(FileDescriptorProtoSchema, base64Decode(descriptor))
    const built = file.messageType.flatMap((m) => m.field.map((f) => `${m.name}.${f.name} = ${f.number}`))
    const written: string[] = []
    let message = ''
    for (const line of readFileSync(new URL('tinker.proto', import.meta.url), 'utf8').split('\n')) {
      message = /^message (\w+)/.exec(line)?.[1] ?? message
      const [, name, number] = /^\s+.*?(\w+) = (\d+);$/.exec(line) ?? []
      if (name) written.push(`${message}.${name} = ${number}`)
    }
    expect(written.length).toBeGreaterThan(25)
    expect(built.toSorted()).toEqual(written.toSorted())
  })

  test("a request has the bytes the vendor's own package writes", () => {
    const bytes = messages.encode('request', {
      modelId: 'model_1',
      seqId: 7,
      data: [
        {
          modelInput: [{ encodedText: { tokens: bytesOf(Int32Array.of(2, 3, 4)) } }],
          lossFnInputs: {
            target_tokens: { dense: bytesOf(BigInt64Array.of(3n, 4n, 5n)), dtype: dtypes.int64, shape: [3n] },
          },
        },
      ],
      lossFn: 'ppo',
      lossFnConfig: { clip_low_threshold: 0.8 },
      forwardOnly: true,
    })
    expect(Buffer.from(bytes).toString('base64')).toBe(golden.request)
  })

  test('samples are read; a stop is what is not on the wire', () => {
    const { sequences, promptLogprobs } = messages.decode('sample', base64Decode(golden.sample))
    expect(sequences.map((s) => s.stopReason)).toEqual([1, 0])
    expect(sequences.map((s) => [...int32s(s.tokens)])).toEqual([[5, 6], [1]])
    expect(sequences.map((s) => [...float32s(s.logprobs)])).toEqual([[-0.5, -1.25], [-2]])
    expect([...float32s(promptLogprobs)]).toEqual([Number.NaN, -3])
  })

  test('results are columns over datums', () => {
    const { lossFnOutputs, metrics } = messages.decode('output', base64Decode(golden.output))
    expect(metrics).toEqual({ 'loss:sum': 3.5 })
    const column = lossFnOutputs[0]!.fields.logprobs!
    expect([...float32s(column.data, column.dtype)]).toEqual([-0.5, -1, -2])
    expect(int64s(column.offsets)).toEqual([0, 8, 12])
  })

  test('numbers of half the size are read, other types refused', () => {
    expect([...float32s(Uint8Array.of(0x80, 0xbf, 0x40, 0x40), dtypes.bfloat16)]).toEqual([-1, 3])
    expect(() => float32s(new Uint8Array(8), dtypes.int64)).toThrow(EngineError)
    expect(() => float32s(new Uint8Array(6))).toThrow(EngineError)
  })

  test('bytes that are no message are an error', () => {
    expect(() => messages.decode('sample', Uint8Array.of(0x0a, 0xff, 1))).toThrow(EngineError)
  })
})
