// The binary messages of tinker.proto, by the optional package @bufbuild/protobuf. A test holds `descriptor` to the fields of that file; after
// a change: protoc --descriptor_set_out=d tinker.proto, and here the bytes of its one file without JSON names.
import type { MessageInitShape, Message as ProtoMessage } from '@bufbuild/protobuf'
import type { GenMessage } from '@bufbuild/protobuf/codegenv2'
import { EngineError, MissingPackageError } from '../../core/errors.ts'

export const descriptor =
  'Cgx0aW5rZXIucHJvdG8SBnRpbmtlciKSAwoWRm9yd2FyZEJhY2t3YXJkUmVxdWVzdBIQCghtb2RlbF9pZBgBIAEoCRIOCgZzZXFfaWQYAiABKAUSGwoEZGF0' +
  'YRgDIAMoCzINLnRpbmtlci5EYXR1bRIPCgdsb3NzX2ZuGAQgASgJEkgKDmxvc3NfZm5fY29uZmlnGAUgAygLMjAudGlua2VyLkZvcndhcmRCYWNrd2FyZFJl' +
  'cXVlc3QuTG9zc0ZuQ29uZmlnRW50cnkSFAoMZm9yd2FyZF9vbmx5GAYgASgIEk0KEWxvc3NfZm5fY29uZmlnX3YyGAcgAygLMjIudGlua2VyLkZvcndhcmRC' +
  'YWNrd2FyZFJlcXVlc3QuTG9zc0ZuQ29uZmlnVjJFbnRyeRozChFMb3NzRm5Db25maWdFbnRyeRILCgNrZXkYASABKAkSDQoFdmFsdWUYAiABKAE6AjgBGkQK' +
  'E0xvc3NGbkNvbmZpZ1YyRW50cnkSCwoDa2V5GAEgASgJEhwKBXZhbHVlGAIgASgLMg0udGlua2VyLlZhbHVlOgI4ASIyCgVWYWx1ZRIQCgZudW1iZXIYASAB' +
  'KAFIABIOCgR0ZXh0GAIgASgJSABCBwoFdmFsdWUiqQEKBURhdHVtEiIKC21vZGVsX2lucHV0GAEgAygLMg0udGlua2VyLkNodW5rEjcKDmxvc3NfZm5faW5w' +
  'dXRzGAIgAygLMh8udGlua2VyLkRhdHVtLkxvc3NGbklucHV0c0VudHJ5GkMKEUxvc3NGbklucHV0c0VudHJ5EgsKA2tleRgBIAEoCRIdCgV2YWx1ZRgCIAEo' +
  'CzIOLnRpbmtlci5UZW5zb3I6AjgBIjIKBUNodW5rEikKDGVuY29kZWRfdGV4dBgBIAEoCzITLnRpbmtlci5FbmNvZGVkVGV4dCIdCgtFbmNvZGVkVGV4dBIO' +
  'CgZ0b2tlbnMYASABKAwiNQoGVGVuc29yEg0KBWRlbnNlGAEgASgMEg0KBWR0eXBlGAMgASgFEg0KBXNoYXBlGAQgAygDIs8BChVGb3J3YXJkQmFja3dhcmRP' +
  'dXRwdXQSGwoTbG9zc19mbl9vdXRwdXRfdHlwZRgBIAEoCRIsCg9sb3NzX2ZuX291dHB1dHMYAiADKAsyEy50aW5rZXIuQXJyYXlSZWNvcmQSOwoHbWV0cmlj' +
  'cxgDIAMoCzIqLnRpbmtlci5Gb3J3YXJkQmFja3dhcmRPdXRwdXQuTWV0cmljc0VudHJ5Gi4KDE1ldHJpY3NFbnRyeRILCgNrZXkYASABKAkSDQoFdmFsdWUY' +
  'AiABKAE6AjgBIqoBCgtBcnJheVJlY29yZBIQCgh0eXBlX3RhZxgBIAEoCRIvCgZmaWVsZHMYAiADKAsyHy50aW5rZXIuQXJyYXlSZWNvcmQuRmllbGRzRW50' +
  'cnkSEgoKbnVtX2RhdHVtcxgDIAEoAxpECgtGaWVsZHNFbnRyeRILCgNrZXkYASABKAkSJAoFdmFsdWUYAiABKAsyFS50aW5rZXIuQmF0Y2hlZFRlbnNvcjoC' +
  'OAEiPQoNQmF0Y2hlZFRlbnNvchIMCgRkYXRhGAEgASgMEg8KB29mZnNldHMYAiABKAwSDQoFZHR5cGUYAyABKAUiVQoOU2FtcGxlUmVzcG9uc2USKgoJc2Vx' +
  'dWVuY2VzGAEgAygLMhcudGlua2VyLlNhbXBsZWRTZXF1ZW5jZRIXCg9wcm9tcHRfbG9ncHJvYnMYAiABKAwiSAoPU2FtcGxlZFNlcXVlbmNlEhMKC3N0b3Bf' +
  'cmVhc29uGAEgASgFEg4KBnRva2VucxgCIAEoDBIQCghsb2dwcm9icxgDIAEoDGIGcHJvdG8z'

type Binary = Uint8Array<ArrayBuffer>

type ForwardBackwardRequest = ProtoMessage<'tinker.ForwardBackwardRequest'> & {
  modelId: string
  seqId: number
  data: Datum[]
  lossFn: string
  lossFnConfig: Record<string, number>
  forwardOnly: boolean
  lossFnConfigV2: Record<string, Value>
}
type Value = ProtoMessage<'tinker.Value'> & {
  value: { case: 'number'; value: number } | { case: 'text'; value: string } | { case: undefined; value?: undefined }
}
type Datum = ProtoMessage<'tinker.Datum'> & { modelInput: Chunk[]; lossFnInputs: Record<string, Tensor> }
type Chunk = ProtoMessage<'tinker.Chunk'> & { encodedText?: ProtoMessage<'tinker.EncodedText'> & { tokens: Uint8Array } }
type Tensor = ProtoMessage<'tinker.Tensor'> & { dense: Uint8Array; dtype: number; shape: bigint[] }

type ForwardBackwardOutput = ProtoMessage<'tinker.ForwardBackwardOutput'> & {
  lossFnOutputType: string
  lossFnOutputs: ArrayRecord[]
  metrics: Record<string, number>
}
type ArrayRecord = ProtoMessage<'tinker.ArrayRecord'> & {
  typeTag: string
  fields: Record<string, BatchedTensor>
  numDatums: bigint
}
type BatchedTensor = ProtoMessage<'tinker.BatchedTensor'> & { data: Uint8Array; offsets: Uint8Array; dtype: number }

type SampleResponse = ProtoMessage<'tinker.SampleResponse'> & { sequences: SampledSequence[]; promptLogprobs: Uint8Array }
type SampledSequence = ProtoMessage<'tinker.SampledSequence'> & {
  stopReason: number
  tokens: Uint8Array
  logprobs: Uint8Array
}

/** Messages that travel, and where each is in the file. */
interface Kinds {
  request: ForwardBackwardRequest
  output: ForwardBackwardOutput
  sample: SampleResponse
}
const indices: Readonly<Record<keyof Kinds, number>> = { request: 0, output: 6, sample: 9 }

/** Numbers of `dtype`. */
export const dtypes = { float32: 1, int64: 2, int32: 3, bfloat16: 4 } as const

/** Binary messages, written and read. */
export interface Messages {
  encode<K extends keyof Kinds>(kind: K, init: MessageInitShape<GenMessage<Kinds[K]>>): Binary
  /** @throws {EngineError} on bytes that are no such message. */
  decode<K extends keyof Kinds>(kind: K, bytes: Uint8Array): Kinds[K]
}

/** @throws {MissingPackageError} without @bufbuild/protobuf. */
export async function loadMessages(): Promise<Messages> {
  const { create, toBinary, fromBinary, fileDesc, messageDesc } = await load()
  const file = fileDesc(descriptor)
  // The types above say what the descriptor says; the test of this file compares it with tinker.proto.
  const schema = <K extends keyof Kinds>(kind: K) => messageDesc(file, indices[kind]) as GenMessage<Kinds[K]>
  return {
    // Fresh bytes: the package's type does not say that they are no shared memory.
    encode: (kind, init) => toBinary(schema(kind), create(schema(kind), init)) as Binary,
    decode(kind, bytes) {
      try {
        return fromBinary(schema(kind), bytes)
      } catch (cause) {
        throw new EngineError(`the server's answer of ${bytes.length} bytes is no ${kind} message`, { cause })
      }
    },
  }
}

async function load() {
  try {
    return { ...(await import('@bufbuild/protobuf')), ...(await import('@bufbuild/protobuf/codegenv2')) }
  } catch (cause) {
    throw new MissingPackageError('the tinker engine needs @bufbuild/protobuf: npm install @bufbuild/protobuf', { cause })
  }
}

/** Little-endian bytes, in place where they can be. Every platform of Node is little-endian. */
export function bytesOf(array: Int32Array | Float32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}

/** Little-endian numbers. */
export function int32s(bytes: Uint8Array): Int32Array<ArrayBuffer> {
  return new Int32Array(aligned(bytes, 4))
}

/** Little-endian numbers below 2^53. */
export function int64s(bytes: Uint8Array): readonly number[] {
  return Array.from(new BigInt64Array(aligned(bytes, 8)), Number)
}

/** Of a dtype that has fractions. @throws {EngineError} on another. */
export function float32s(bytes: Uint8Array, dtype: number = dtypes.float32): Float32Array<ArrayBuffer> {
  if (dtype === dtypes.float32) return new Float32Array(aligned(bytes, 4))
  if (dtype !== dtypes.bfloat16) throw new EngineError(`expected float32 or bfloat16 numbers from the server, got type ${dtype}`)
  const bits = Uint32Array.from(new Uint16Array(aligned(bytes, 2)), (half) => half << 16)
  return new Float32Array(bits.buffer)
}

/** A copy that begins where numbers may begin. */
function aligned(bytes: Uint8Array, size: number): ArrayBuffer {
  if (bytes.length % size !== 0) throw new EngineError(`the server sent ${bytes.length} bytes for numbers of ${size} bytes`)
  return Uint8Array.from(bytes).buffer
}
