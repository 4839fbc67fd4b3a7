// A policy on disk: weights, where wanted the optimizer's state, and what it is, in one safetensors file.
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { EngineError } from '../../core/errors.ts'
import type { Moments } from './adam.ts'
import { noMoments } from './adam.ts'
import { decodeTensors, encodeTensors, type Tensors } from './safetensors.ts'
import { leavesOf, type Shape } from './shape.ts'

/** What a checkpoint says of itself. */
export interface PolicyCard {
  readonly shape: Shape
  /** Words and fragments of the tokenizer. */
  readonly pieces: readonly string[]
}

export interface PolicyState {
  readonly weights: Float32Array<ArrayBuffer>
  readonly moments: Moments
}

/** Changes when older files can't be read any more. */
const version = '1'
const format = 'lamarck policy'

/** Writes a file, whole or not at all (@throws {EngineError}). Without `moments`, a third of the size, for a policy that is only used or starts anew. */
export async function writeCheckpoint(
  path: string,
  card: PolicyCard,
  { weights, moments }: { weights: Float32Array<ArrayBuffer>; moments?: Moments },
): Promise<void> {
  const tensors: Tensors['tensors'] = new Map(
    Object.entries({ '': weights, ...(moments && { 'adam.first.': moments.first, 'adam.second.': moments.second }) }).flatMap(
      ([prefix, flat]) =>
        leavesOf(card.shape).map(({ name, shape, offset, size }) => [
          `${prefix}${name}`,
          { shape, values: flat.subarray(offset, offset + size) },
        ]),
    ),
  )
  const metadata = {
    ...{ format, version, shape: JSON.stringify(card.shape), pieces: JSON.stringify(card.pieces) },
    ...(moments && { step: String(moments.step) }),
  }
  const temporary = `${path}.part`
  try {
    await mkdir(dirname(path), { recursive: true })
    await using file = await open(temporary, 'w')
    await file.writeFile(encodeTensors({ metadata, tensors }))
    await file.sync()
    await rename(temporary, path)
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {}) // a part of a checkpoint fills the disk and is good for nothing
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new EngineError(`cannot write the checkpoint "${path}": ${why}; make room, or give another folder`, { cause })
  }
}

/** @throws {EngineError} unless the file is a whole checkpoint of this version, of this shape and vocabulary. */
export async function readCheckpoint(path: string, card: PolicyCard): Promise<PolicyState> {
  return refusing(path, async () => {
    const file = decodeTensors(await readFile(path))
    const found = cardOf(file)
    for (const [name, here] of Object.entries(card.shape)) {
      const there = Object.entries(found.shape).find(([key]) => key === name)?.[1]
      if (there !== here) throw new EngineError(`its ${name} is ${there}, this engine's is ${here}`)
    }
    const other = card.pieces.findIndex((piece, i) => piece !== found.pieces[i])
    if (other >= 0 || found.pieces.length !== card.pieces.length) {
      const at = other >= 0 ? other : card.pieces.length
      throw new EngineError(
        `its vocabulary is another: piece ${at} is ${JSON.stringify(found.pieces[at])}, here ${JSON.stringify(card.pieces[at])}`,
      )
    }
    const weights = flat(file, card.shape, '')
    if (file.metadata.step === undefined) return { weights, moments: noMoments(weights.length) }
    const [first, second] = [flat(file, card.shape, 'adam.first.'), flat(file, card.shape, 'adam.second.')]
    const step = Number(file.metadata.step)
    if (!Number.isSafeInteger(step) || step < 0) throw new EngineError(`its step is "${file.metadata.step}"`)
    return { weights, moments: { first, second, step } }
  })
}

/**
 * What the checkpoint at `path` is: to make an engine that fits it.
 * @throws {EngineError} if it is none.
 */
export function readPolicyCard(path: string): Promise<PolicyCard> {
  return refusing(path, async () => cardOf(decodeTensors(await readFile(path))))
}

/**
 * Bakes a temperature into a checkpoint: drawn from at temperature 1, its policy then does what it did at `temperature`. The optimizer's
 * state is left out: it belongs to other weights.
 * @throws {EngineError} if there is no checkpoint at `from`.
 */
export async function sharpen(from: string, to: string, temperature: number): Promise<void> {
  const card = await readPolicyCard(from)
  const { weights } = await readCheckpoint(from, card)
  const norm = leavesOf(card.shape).find(({ name }) => name === 'norm') // logits are proportional to its gain
  for (let i = 0; norm && i < norm.size; i++) weights[norm.offset + i]! /= temperature
  await writeCheckpoint(to, card, { weights })
}

function cardOf({ metadata }: Tensors): PolicyCard {
  if (metadata.format !== format) throw new EngineError('it holds no policy of lamarck')
  if (metadata.version !== version) throw new EngineError(`its version is ${metadata.version}, readable is ${version}`)
  const shape: unknown = JSON.parse(metadata.shape ?? 'null')
  const pieces: unknown = JSON.parse(metadata.pieces ?? 'null')
  if (typeof shape !== 'object' || shape === null || !Array.isArray(pieces)) throw new EngineError('it does not say its shape')
  return { shape: shape as Shape, pieces } // only compared, or checked by the engine made from it
}

function flat({ tensors }: Tensors, shape: Shape, prefix: string): Float32Array<ArrayBuffer> {
  const leaves = leavesOf(shape)
  const all = new Float32Array(leaves.reduce((sum, { size }) => sum + size, 0))
  for (const { name, shape, offset } of leaves) {
    const tensor = tensors.get(`${prefix}${name}`)
    if (String(tensor?.shape) !== String(shape)) {
      throw new EngineError(`its tensor "${prefix}${name}" is [${tensor?.shape ?? ''}], expected [${shape}]`)
    }
    all.set(tensor?.values ?? [], offset)
  }
  if (!all.every(Number.isFinite)) throw new EngineError('it has numbers that are not finite')
  return all
}

async function refusing<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new EngineError(`cannot load the checkpoint "${path}": ${why}`, { cause })
  }
}
