// Groups of rollouts → what a training pass takes, one row a rollout, and back from its log-probabilities to the value of the loss.
//
// A row is the sequence without its last token; targets are the same without its first; nothing counts on the prompt. The loss to be had is
// core's: the sum over tokens × weights, divided by the number of rollouts R. Servers scale theirs in one of two ways:
//   sum       Σ over all tokens, as the hosted service and SkyRL's backends on PyTorch report: advantages × weights ÷ R.
//   sequence  SkyRL on JAX: each row is divided by the sum of its weights, and the gradient by the number of rows N since the last step:
//             advantages × weights × n × N ÷ R, where n is how many weights are 1: those of the rollout's tokens.
// Both are exact, as every loss here is proportional to a non-negative factor of its advantage. Cross entropy has no advantage to carry the
// factor in the second case: it is sent as cispo with both bounds 1, whose gradient is the same.
import type { Group, Loss, Metrics, Sampled } from '../../core/engine.ts'
import { EngineError, NotFiniteError } from '../../core/errors.ts'

/** One row of a training pass. All arrays have the same length. */
export interface Datum {
  readonly tokens: Int32Array
  readonly targets: Int32Array
  /** By the server's names. */
  readonly inputs: Readonly<Record<string, Float32Array>>
}

/** How a server scales its losses: see above. */
export type Scale = 'sum' | 'sequence'

/** A loss by the server's names. */
export interface ServerLoss {
  readonly name: string
  readonly config: Readonly<Record<string, number>>
}

/** What one request may hold. */
export interface Limits {
  /** Of one request. */
  readonly datums: number
  readonly bytes: number
}

/** Smallest numbers known of any server; one may name others. */
export const defaultLimits: Limits = { datums: 1024, bytes: 5_000_000 }

/** The loss to ask for, so that its gradient is that of core's. */
export function serverLoss(loss: Loss, scale: Scale): ServerLoss {
  if (loss.kind === 'cross_entropy' && scale === 'sequence') return { name: 'cispo', config: bounds(1, 1) }
  return { name: loss.kind, config: 'low' in loss ? bounds(1 - loss.low, 1 + loss.high) : {} }
}

function bounds(low: number, high: number): Readonly<Record<string, number>> {
  return { clip_low_threshold: low, clip_high_threshold: high }
}

/** How rows are scaled and filled up. */
export interface RowOptions {
  readonly scale: Scale
  /** Number of rows is a multiple of this; left out: one of 1, 2, 3, 4, 6, 8, 12, …. Only a server that compiles for each number is given more rows. */
  readonly multiple?: number | undefined
  /** N, if rows went to the server since the last step: that of the first pass. */
  readonly rows?: number | undefined
}

/** Rollouts in their order, then rows that only fill up. Rollouts without a token have no row. */
export function datumsOf(groups: readonly Group[], loss: Loss, { scale, multiple, rows }: RowOptions): readonly Datum[] {
  const all = groups.flatMap(({ prompt, rollouts }) => rollouts.map((rollout) => ({ prompt, rollout })))
  const trained = all.filter(({ rollout }) => rollout.tokens.length > 0)
  if (scale === 'sum') return trained.map((one) => datumOf(one.prompt, one.rollout, { loss, scale, factor: 1 / all.length }))
  const count = multiple ? Math.ceil(trained.length / multiple) * multiple : bucket(trained.length)
  const share = (rows ?? count) / all.length
  const datums = trained.map(({ prompt, rollout }) =>
    datumOf(prompt, rollout, { loss, scale, factor: rollout.tokens.length * share }),
  )
  const shortest = datums.reduce((a, b) => (b.tokens.length < a.tokens.length ? b : a))
  const { advantages = new Float32Array(), ...inputs } = shortest.inputs
  const filler: Datum = { ...shortest, inputs: { ...inputs, advantages: new Float32Array(advantages.length) } }
  return [...datums, ...Array.from({ length: count - datums.length }, () => filler)]
}

function datumOf(
  prompt: Int32Array,
  { tokens, logprobs, advantages, weights }: Sampled,
  { loss, scale, factor }: { readonly loss: Loss; readonly scale: Scale; readonly factor: number },
): Datum {
  const length = prompt.length + tokens.length - 1
  const whole = new Int32Array(length + 1)
  whole.set(prompt)
  whole.set(tokens, prompt.length)
  /** Nothing on the prompt, then the rollout's. */
  const row = (of: (t: number) => number): Float32Array => {
    const values = new Float32Array(length)
    for (let t = 0; t < tokens.length; t++) values[prompt.length - 1 + t] = of(t)
    return values
  }
  const sent = { tokens: whole.subarray(0, length), targets: whole.subarray(1) }
  const isLikelihood = loss.kind === 'cross_entropy'
  if (isLikelihood && scale === 'sum') return { ...sent, inputs: { weights: row((t) => weights[t]! * factor) } }
  const inputs = {
    logprobs: row((t) => (isLikelihood ? 0 : logprobs[t]!)),
    advantages: row((t) => (isLikelihood ? 1 : advantages[t]!) * weights[t]! * factor),
  }
  return { ...sent, inputs: scale === 'sum' ? inputs : { ...inputs, weights: row(() => 1) } }
}

/** The smallest of 1, 2, 3, 4, 6, 8, 12, 16, 24, … that is at least `n`. */
function bucket(n: number): number {
  let size = 1
  while (size < n) size = size & (size - 1) ? (size / 3) * 4 : size === 1 ? 2 : (size / 2) * 3
  return size
}

/** Divides rows among requests, none empty, in order. @throws {EngineError} on a row that fits in none. */
export function chunksOf(datums: readonly Datum[], { datums: most, bytes }: Limits): readonly (readonly Datum[])[] {
  const chunks: Datum[][] = []
  let left = 0
  for (const datum of datums) {
    const size = sizeOf(datum)
    if (size > bytes)
      throw new EngineError(`a row of ${datum.tokens.length} tokens takes ${size} bytes, and the server takes ${bytes}`)
    const last = chunks.at(-1)
    if (last && last.length < most && size <= left) {
      last.push(datum)
      left -= size
    } else {
      chunks.push([datum])
      left = bytes - size
    }
  }
  return chunks
}

/** Bytes on the wire, at most. */
function sizeOf({ tokens, inputs }: Datum): number {
  return 100 + tokens.length * (4 + 8) + Object.keys(inputs).length * (50 + 4 * tokens.length)
}

/**
 * What the server would take and train on all the same, or never answer.
 * @throws {EngineError} naming the first rollout that can't be trained on.
 */
export function checkGroups(groups: readonly Group[], loss: Loss, context: number): void {
  if (!groups.some(({ rollouts }) => rollouts.some(({ tokens }) => tokens.length > 0))) {
    throw new EngineError('there are no rollouts to train on')
  }
  if (loss.kind === 'ppo' && loss.entropy)
    throw new EngineError('the tinker engine has no entropy in its ppo loss: leave entropy out')
  if ('low' in loss && !(loss.low >= 0 && loss.low <= 1 && loss.high >= 0)) {
    throw new EngineError(`${loss.kind}: low is ${loss.low} and high ${loss.high}; low lies in [0, 1], high is not negative`)
  }
  const read = loss.kind === 'cross_entropy' ? (['weights'] as const) : (['logprobs', 'advantages', 'weights'] as const)
  groups.forEach(({ prompt, rollouts }, i) => {
    rollouts.forEach((rollout, j) => {
      const where = `group ${i}, rollout ${j}`
      const { tokens, logprobs, advantages, weights } = rollout
      for (const [name, { length }] of Object.entries({ logprobs, advantages, weights })) {
        if (length !== tokens.length) throw new EngineError(`${where}: expected ${tokens.length} ${name}, got ${length}`)
      }
      for (const name of read) {
        const t = rollout[name].findIndex((value) => !Number.isFinite(value))
        if (t >= 0) throw new NotFiniteError(`${where}: ${name}[${t}] is ${rollout[name][t]}: nothing was sent`)
      }
      if (weights.some((weight) => weight < 0)) throw new EngineError(`${where}: a weight is negative`)
      if (prompt.length === 0) throw new EngineError(`${where}: the prompt is empty`)
      const total = prompt.length + tokens.length
      if (total > context) {
        throw new EngineError(`${where}: ${prompt.length} + ${tokens.length} tokens are over the context of ${context}`)
      }
      const token = [...prompt, ...tokens].find((id) => id < 0)
      if (token !== undefined) throw new EngineError(`${where}: ${token} is no token`)
    })
  })
}

/**
 * Value of the loss in core's scale, with means over tokens that count, from the server's log-probabilities: one row a rollout that has tokens.
 * @param nowR of each row's targets, [R][P + T − 1]
 */
export function metricsOf(groups: readonly Group[], loss: Loss, nowR: readonly Float32Array[]): Metrics {
  const rollouts = groups.flatMap(({ prompt, rollouts }) => rollouts.map((rollout) => ({ prompt, rollout })))
  const sums = { loss: 0, tokens: 0, nll: 0, kl: 0, ratio: 0, clipped: 0 }
  let r = 0
  for (const { prompt, rollout } of rollouts) {
    const { tokens, logprobs, advantages, weights } = rollout
    if (tokens.length === 0) continue
    const now = nowR[r++]!.subarray(prompt.length - 1)
    if (now.length !== tokens.length)
      throw new EngineError(`expected ${tokens.length} log-probabilities, the server gave ${now.length}`)
    for (let t = 0; t < tokens.length; t++) {
      if (weights[t] === 0) continue
      const at = { now: now[t]!, drawn: logprobs[t]!, advantage: advantages[t]! }
      sums.tokens++
      sums.loss += weights[t]! * tokenLoss(loss, at)
      sums.nll -= at.now
      sums.kl += at.drawn - at.now
      sums.ratio += Math.exp(at.now - at.drawn)
      if (isClipped(loss, at)) sums.clipped++
    }
  }
  const mean = (name: keyof typeof sums): number => sums[name] / Math.max(1, sums.tokens)
  const both = { loss: sums.loss / rollouts.length, tokens: sums.tokens, nll: mean('nll') }
  return loss.kind === 'cross_entropy' ? both : { ...both, kl: mean('kl'), ratio: mean('ratio'), clipped: mean('clipped') }
}

/** One token of a rollout. */
export interface At {
  /** Log-probability now. */
  readonly now: number
  /** When it was drawn. */
  readonly drawn: number
  readonly advantage: number
}

/** The loss at one token, as core defines it. */
export function tokenLoss(loss: Loss, { now, drawn, advantage }: At): number {
  if (loss.kind === 'cross_entropy') return -now
  const ratio = Math.exp(now - drawn)
  if (loss.kind === 'importance_sampling') return -ratio * advantage
  const clipped = Math.min(Math.max(ratio, 1 - loss.low), 1 + loss.high)
  return loss.kind === 'cispo' ? -clipped * now * advantage : -Math.min(ratio * advantage, clipped * advantage)
}

function isClipped(loss: Loss, { now, drawn, advantage }: At): boolean {
  if (!('low' in loss)) return false
  const ratio = Math.exp(now - drawn)
  return advantage > 0 ? ratio > 1 + loss.high : advantage < 0 && ratio < 1 - loss.low
}
