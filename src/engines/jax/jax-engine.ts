// The embedded engine: a small transformer trained in this process, on its CPU, with the optional package @jax-js/jax.
//
// The weights live here as one flat array that is replaced at each step, never written to; threads compute with copies of it. Gradients are
// summed in the order of their batches, so the number of threads changes no bit. On another type of CPU numbers may differ in their last bits.
import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import pLimit from 'p-limit'
import type { Adam, Engine, Group, Loss, Metrics } from '../../core/engine.ts'
import { ConfigError, EngineError, NotFiniteError } from '../../core/errors.ts'
import type { Model, TokenCompletion } from '../../core/model.ts'
import { adamStep, noMoments } from './adam.ts'
import { batchesOf, checkGroups } from './batch.ts'
import { type PolicyCard, type PolicyState, readCheckpoint, writeCheckpoint } from './checkpoint.ts'
import { crewOf } from './crew.ts'
import { automatonOf, type Grammar } from './grammar.ts'
import { initialWeights } from './initial.ts'
import { metricsOf, sumsOf } from './loss.ts'
import { policyOf } from './policy.ts'
import { checkShape, type Shape, weightCount } from './shape.ts'
import { type PolicyTokenizer, vocabularyTokenizer } from './tokenizer.ts'

export type { Edge, Grammar } from './grammar.ts'

/** A shape without the size of the vocabulary: the tokenizer knows it. */
export interface JaxOptions extends Partial<Omit<Shape, 'vocabulary'>> {
  /** Words and fragments that are one token each; everything else is spelled in bytes. */
  readonly pieces: readonly string[]
  /** Of the initial weights. Default 0. */
  readonly seed?: number
  /** Threads. Default: the machine's cores, at most 4. */
  readonly workers?: number
  /** Where checkpoints go. */
  readonly folder?: string
  /** Lengths to which prompts and rollouts are padded; a new one costs seconds of compiling. Default: 8, 12, 16, 24, 32, 48, …. */
  readonly lengths?: readonly number[]
  /** A folder whose `node_modules` has @jax-js/jax, if this program's has not. */
  readonly packages?: string
}

export interface HandleOptions {
  /** What every answer keeps to. The trainer's rollouts need none: the policy's own probabilities are what its loss is of. */
  readonly grammar?: Grammar
}

export interface JaxEngine extends Engine {
  readonly tokenizer: PolicyTokenizer
  readonly shape: Shape
  /** How many weights there are. */
  readonly size: number
  /** @throws {ConfigError} on a grammar that the vocabulary can't spell. */
  policy(options?: HandleOptions): Promise<Model<TokenCompletion>>
  /** `optimizer: false` leaves its state out: a third of the size, to ship a policy. */
  save(name: string, options?: { readonly optimizer?: boolean }): Promise<string>
  /**
   * The policy of a checkpoint, drawn by this engine's threads: the engine's own weights stay as they are, and whatever becomes of them the
   * policy is valid.
   * @throws {EngineError} unless the file is a whole checkpoint of this shape and vocabulary.
   */
  policyAt(checkpoint: string, options?: HandleOptions): Promise<Model<TokenCompletion>>
}

/**
 * Starts the engine with fresh weights; `load` puts others in their place.
 * @throws {ConfigError} on options that don't fit together; `MissingPackageError` without @jax-js/jax.
 */
export async function jaxEngine(options: JaxOptions): Promise<JaxEngine> {
  const { pieces, layers = 2, width = 96, heads = 4, context = 256, shifts = 3, seed = 0, folder, packages } = options
  const { workers = Math.min(4, availableParallelism()), lengths = [] } = options
  const tokenizer = vocabularyTokenizer(pieces)
  const shape: Shape = { layers, width, heads, context, vocabulary: tokenizer.size, shifts }
  checkShape(shape)
  checkCounts({ workers, ...Object.fromEntries(lengths.map((length, i) => [`lengths[${i}]`, length])) })
  const card: PolicyCard = { shape, pieces }
  const size = weightCount(shape)
  const crew = await crewOf(workers, { shape, packages })
  let state: PolicyState = { weights: initialWeights(shape, seed), moments: noMoments(size) }
  let gathered: Float32Array<ArrayBuffer> | undefined
  const inOrder = pLimit(1) // calls take effect in the order they were made
  const policyWith = (
    weights: Float32Array<ArrayBuffer>,
    { grammar, isCurrent }: HandleOptions & { readonly isCurrent: () => boolean },
  ): Model<TokenCompletion> => {
    const name = `jax:${createHash('sha256').update(weights).digest('hex').slice(0, 12)}${grammar ? '+grammar' : ''}`
    const kept = grammar && automatonOf(grammar, tokenizer)
    return policyOf({ name, shape, tokenizer, crew, weights, workers, lengths: ascending(lengths), grammar: kept, isCurrent })
  }

  return {
    name: 'jax',
    tokenizer,
    shape,
    size,
    forwardBackward: (groups: readonly Group[], loss: Loss): Promise<Metrics> =>
      inOrder(async () => {
        checkGroups(groups, loss, shape)
        const batches = batchesOf(groups, ascending(lengths), shape)
        const answers = await Promise.all(batches.map((batch) => crew.run({ kind: 'gradient', batch, loss }, state.weights)))
        const metrics = metricsOf(
          answers.map(({ gradient }, i) => sumsOf(batches[i]!, gradient, loss)),
          loss,
        )
        if (!Number.isFinite(metrics.loss))
          throw new NotFiniteError(`the ${loss.kind} loss is ${metrics.loss}: nothing was gathered`)
        gathered = sum([...(gathered ? [gathered] : []), ...answers.map(({ gradient }) => gradient.gradient)])
        return metrics
      }),
    optimStep: (adam: Adam): Promise<Metrics> =>
      inOrder(() => {
        if (!gathered) throw new EngineError('there is no gradient since the last step: call forwardBackward first')
        const gradient = gathered
        gathered = undefined
        const { weights, moments, norm } = adamStep(state.weights, gradient, state.moments, adam)
        state = { weights, moments }
        return { step: moments.step, norm, learningRate: adam.learningRate }
      }),
    encode: tokenizer.prompt,
    policy: (options) =>
      inOrder(() => {
        const { weights } = state
        return policyWith(weights, { ...options, isCurrent: () => state.weights === weights })
      }),
    policyAt: async (checkpoint, options) =>
      policyWith((await readCheckpoint(checkpoint, card)).weights, { ...options, isCurrent: () => true }),
    save: (name, { optimizer = true } = {}) =>
      inOrder(async () => {
        if (folder === undefined) throw new ConfigError('the jax engine has no folder for checkpoints: give the option folder')
        if (!/^[\w.-]+$/.test(name)) throw new ConfigError(`a checkpoint can't be called "${name}": use letters, digits, . _ -`)
        const path = join(folder, `${name}.safetensors`)
        await writeCheckpoint(path, card, optimizer ? state : { weights: state.weights })
        return path
      }),
    load: (checkpoint) =>
      inOrder(async () => {
        state = await readCheckpoint(checkpoint, card)
        gathered = undefined
      }),
    [Symbol.asyncDispose]: () => crew[Symbol.asyncDispose](),
  }
}

function sum(arrays: readonly Float32Array<ArrayBuffer>[]): Float32Array<ArrayBuffer> {
  const [first, ...rest] = arrays
  const total = new Float32Array(first ?? [])
  for (const array of rest) for (let i = 0; i < total.length; i++) total[i]! += array[i]!
  return total
}

function ascending(lengths: readonly number[]): readonly number[] {
  return lengths.toSorted((a, b) => a - b)
}

function checkCounts(counts: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(counts)) {
    if (!Number.isInteger(value) || value < 1)
      throw new ConfigError(`jax engine: ${name} is ${value}; give a whole number from 1`)
  }
}
