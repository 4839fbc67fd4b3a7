// Groups of rollouts → padded arrays of few shapes. How they are divided depends on the groups alone, never on how many threads there
// are: so one thread and many add the same numbers in the same order.

import type { Group, Loss } from '../../core/engine.ts'
import { EngineError } from '../../core/errors.ts'
import { bucket, paddedLength } from './bucket.ts'
import type { Shape } from './shape.ts'

/** What one compiled call computes: N prompts of P tokens, each with G rollouts of T. */
export interface Batch {
  readonly n: number
  readonly g: number
  readonly p: number
  readonly t: number
  /** [N, P] */
  readonly prompts: Int32Array<ArrayBuffer>
  /** [N] */
  readonly promptLengths: Int32Array<ArrayBuffer>
  /** [N, G, T] */
  readonly tokens: Int32Array<ArrayBuffer>
  /** [N, G] */
  readonly lengths: Int32Array<ArrayBuffer>
  /** Of the whole call's loss: divided by its number of rollouts; 0 where there is no token. [N, G, T] */
  readonly weights: Float32Array<ArrayBuffer>
  /** [N, G, T] */
  readonly advantages: Float32Array<ArrayBuffer>
  /** [N, G, T] */
  readonly logprobs: Float32Array<ArrayBuffer>
}

/** Tokens of a batch, padding included, that are worth a thread of their own; more are divided. */
const largest = 4096
/** There are a multiple of so many batches: work for two cores. */
const even = 2

export function batchesOf(groups: readonly Group[], lengths: readonly number[], shape: Shape): readonly Batch[] {
  const rollouts = groups.reduce((sum, group) => sum + group.rollouts.length, 0)
  const g = bucket(Math.max(...groups.map((group) => group.rollouts.length)))
  const p = paddedLength(Math.max(...groups.map((group) => group.prompt.length)), lengths, shape.context)
  const longest = Math.max(...groups.flatMap((group) => group.rollouts.map(({ tokens }) => tokens.length)))
  const t = paddedLength(longest, lengths, shape.context)
  const parts = even * Math.ceil((groups.length * (p + g * t)) / (even * largest))
  const n = bucket(Math.ceil(groups.length / parts))
  const batches: Batch[] = []
  for (let at = 0; at < groups.length; at += n) batches.push(batchOf(groups.slice(at, at + n), { n, g, p, t }, 1 / rollouts))
  return batches
}

function batchOf(groups: readonly Group[], { n, g, p, t }: Pick<Batch, 'n' | 'g' | 'p' | 't'>, share: number): Batch {
  const floats = (): Float32Array<ArrayBuffer> => new Float32Array(n * g * t)
  const batch = {
    ...{ n, g, p, t },
    prompts: new Int32Array(n * p),
    promptLengths: new Int32Array(n),
    tokens: new Int32Array(n * g * t),
    lengths: new Int32Array(n * g),
    ...{ weights: floats(), advantages: floats(), logprobs: floats() },
  }
  groups.forEach(({ prompt, rollouts }, i) => {
    batch.prompts.set(prompt, i * p)
    batch.promptLengths[i] = prompt.length
    rollouts.forEach((rollout, j) => {
      const at = (i * g + j) * t
      batch.tokens.set(rollout.tokens, at)
      batch.lengths[i * g + j] = rollout.tokens.length
      batch.weights.set(
        rollout.weights.map((weight) => weight * share),
        at,
      )
      batch.advantages.set(rollout.advantages, at)
      batch.logprobs.set(rollout.logprobs, at)
    })
  })
  return batch
}

/** @throws {EngineError} on groups that can't be trained on, naming the first. */
export function checkGroups(groups: readonly Group[], loss: Loss, { context, vocabulary }: Shape): void {
  if (!groups.some(({ rollouts }) => rollouts.length > 0)) throw new EngineError('there are no rollouts to train on')
  if (loss.kind === 'cispo') throw new EngineError('the jax engine has no loss cispo: take ppo')
  if (loss.kind === 'ppo' && !(loss.low >= 0 && loss.high >= 0)) {
    throw new EngineError(`ppo: low ${loss.low} and high ${loss.high} must not be negative`)
  }
  if (loss.kind === 'ppo' && !((loss.entropy ?? 0) >= 0)) {
    throw new EngineError(`ppo: the weight of the entropy is ${loss.entropy}; it must not be negative`)
  }
  groups.forEach(({ prompt, rollouts }, i) => {
    const outside = (tokens: Int32Array): number | undefined => tokens.find((token) => token < 0 || token >= vocabulary)
    rollouts.forEach(({ tokens, logprobs, advantages, weights }, j) => {
      const where = `group ${i}, rollout ${j}`
      for (const [name, { length }] of Object.entries({ logprobs, advantages, weights })) {
        if (length !== tokens.length) throw new EngineError(`${where}: expected ${tokens.length} ${name}, got ${length}`)
      }
      const total = prompt.length + tokens.length
      if (total > context) {
        throw new EngineError(`${where}: ${prompt.length} + ${tokens.length} tokens are over the context of ${context}`)
      }
      const token = outside(prompt) ?? outside(tokens)
      if (token !== undefined) throw new EngineError(`${where}: token ${token} is not in the vocabulary of ${vocabulary}`)
    })
  })
}
