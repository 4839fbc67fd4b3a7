// The policy as a model: messages in, completions with their tokens out. Calls of one turn of the event loop are drawn together, and so are
// those that come while every thread draws, up to a full batch, which takes far less than its calls one by one.
import { EngineError, ModelError } from '../../core/errors.ts'
import type { Message, Model, Params, TokenCompletion } from '../../core/model.ts'
import { noUsage } from '../../core/model.ts'
import { bucket, paddedLength } from './bucket.ts'
import type { Crew } from './crew.ts'
import type { Automaton } from './grammar.ts'
import type { Draw, DrawnRollout } from './network.ts'
import type { Shape } from './shape.ts'
import { end, type PolicyTokenizer } from './tokenizer.ts'
import type { Sizes } from './transformer.ts'

export interface PolicyOptions {
  readonly name: string
  readonly shape: Shape
  readonly tokenizer: PolicyTokenizer
  readonly crew: Crew
  readonly weights: Float32Array
  /** Threads; draws are divided among those that are free. */
  readonly workers: number
  /** Padded lengths, ascending. */
  readonly lengths: readonly number[]
  /** What every answer keeps to. */
  readonly grammar?: Automaton | undefined
  /** Whether the engine's weights are still these. */
  readonly isCurrent: () => boolean
}

/** One call, waiting for the end of the turn and for a thread. */
interface Ask {
  readonly prompt: Int32Array
  readonly draws: readonly Draw[]
  readonly settle: (rollouts: readonly DrawnRollout[]) => void
  readonly fail: (error: unknown) => void
}

/** Rows of one compiled call, at most; and at least: with fewer, numbers change in their last bit. */
const rows = { most: 64, fewest: 8 } as const
const largestGroup = 8

/**
 * A handle on these weights. Without `temperature` it is 1, without `seed` 0; the i-th completion has the seed `seed + i`, and is the same
 * whatever else is drawn. `logprobs` are those of the policy itself, at temperature 1 with nothing cut off. A completion that met its
 * limit or a stop text has no end token; with a grammar none meets its limit.
 */
export function policyOf(options: PolicyOptions): Model<TokenCompletion> {
  const { name, shape, tokenizer, workers, grammar, isCurrent } = options
  let asks: Ask[] = []
  let open = 0 // their draws
  let busy = 0 // threads that draw, and batches that wait for one
  let isDue = false
  const checkCurrent = (): void => {
    if (!isCurrent()) throw new EngineError(`${name}: the policy was trained on since; ask the engine for the policy again`)
  }
  /** Has them drawn at the end of this turn, if there is a thread for it or no more would fit. */
  const due = (): void => {
    if (isDue || open === 0 || (busy >= workers && open < rows.most)) return
    isDue = true
    setImmediate(flush)
  }
  const flush = (): void => {
    const all = asks
    asks = []
    open = 0
    isDue = false
    try {
      checkCurrent()
    } catch (error) {
      for (const ask of all) ask.fail(error)
      return
    }
    for (const call of callsOf(all, { ...options, workers: Math.max(1, workers - busy) })) void run(call)
  }
  const run = async ({ sizes, slots }: Call): Promise<void> => {
    const asked = slots.map(({ ask, draws }) => ({ prompt: ask.prompt, draws: draws.map((i) => ask.draws[i]!) }))
    busy++
    try {
      const { rollouts } = await options.crew.run({ kind: 'sample', draws: { sizes, slots: asked, grammar } }, options.weights)
      for (const [i, { take }] of slots.entries()) take(rollouts[i]!)
    } catch (error) {
      for (const { ask } of slots) ask.fail(error)
    } finally {
      busy--
      due()
    }
  }
  const drawn = (prompt: Int32Array, draws: readonly Draw[], signal?: AbortSignal): Promise<readonly DrawnRollout[]> =>
    new Promise((settle, fail) => {
      const abort = (): void => fail(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })
      const left =
        <T>(then: (value: T) => void) =>
        (value: T): void => {
          signal?.removeEventListener('abort', abort)
          then(value)
        }
      asks.push({ prompt, draws, settle: left(settle), fail: left(fail) })
      open += draws.length
      due()
    })

  return {
    name,
    async sample(messages: readonly Message[], params: Params, signal?: AbortSignal): Promise<readonly TokenCompletion[]> {
      signal?.throwIfAborted()
      checkCurrent()
      const prompt = tokenizer.prompt(messages)
      const room = shape.context - prompt.length
      if (room < 1) {
        throw new ModelError(`${name}: a prompt of ${prompt.length} tokens is over the context of ${shape.context}`, {
          retryable: false,
        })
      }
      const { n = 1, seed = 0, maxTokens, stop = [], ...sampling } = params
      if (!(n >= 1 && maxTokens >= 1)) {
        throw new ModelError(`${name}: n is ${n} and maxTokens ${maxTokens}; both must be at least 1`, { retryable: false })
      }
      const most = Math.min(maxTokens, room)
      if (grammar && most < grammar.left[0]!) {
        const shortest = `the shortest answer of its grammar has ${grammar.left[0]} tokens, and ${most} are allowed`
        throw new ModelError(`${name}: ${shortest}`, { retryable: false })
      }
      const draws = Array.from({ length: n }, (_, i) => ({ ...sampling, seed: seed + i, maxTokens: most }))
      const rollouts = await drawn(prompt, draws, signal)
      return rollouts.map((rollout) => completionOf(stopped(rollout, stop, tokenizer), prompt.length, tokenizer))
    },
  }
}

interface Call {
  readonly sizes: Sizes
  readonly slots: readonly Slot[]
}

interface Slot {
  readonly ask: Ask
  /** Which draws of the call. */
  readonly draws: readonly number[]
  readonly take: (rollouts: readonly DrawnRollout[]) => void
}

/** Divides calls among compiled shapes. A prompt's lengths are padded by its own size, so that nothing beside it changes its numbers. */
function callsOf(asks: readonly Ask[], { shape, lengths, workers }: PolicyOptions): readonly Call[] {
  const sized = asks.map((ask) => ({
    ask,
    p: paddedLength(ask.prompt.length, lengths, shape.context),
    t: paddedLength(ask.draws[0]?.maxTokens ?? 1, lengths, shape.context),
  }))
  return [...Map.groupBy(sized, ({ p, t }) => `${p} ${t}`).values()].flatMap((same) => {
    const { p, t } = same[0]!
    const g = Math.min(largestGroup, bucket(Math.max(...same.map(({ ask }) => ask.draws.length))))
    const slots = same.flatMap(({ ask }) => slotsOf(ask, g))
    const each = Math.min(Math.floor(rows.most / g), bucket(Math.ceil(slots.length / workers)))
    const n = Math.max(each, Math.ceil(rows.fewest / g))
    return Array.from({ length: Math.ceil(slots.length / n) }, (_, i) => ({
      sizes: { n, g, p, t },
      slots: slots.slice(i * n, (i + 1) * n),
    }))
  })
}

function slotsOf(ask: Ask, g: number): readonly Slot[] {
  const done: DrawnRollout[] = []
  let open = ask.draws.length
  const all = [...ask.draws.keys()]
  return Array.from({ length: Math.ceil(all.length / g) }, (_, i) => {
    const draws = all.slice(i * g, (i + 1) * g)
    const take = (rollouts: readonly DrawnRollout[]): void => {
      draws.forEach((draw, j) => {
        done[draw] = rollouts[j]!
      })
      open -= draws.length
      if (open === 0) ask.settle(done)
    }
    return { ask, draws, take }
  })
}

interface Stopped extends DrawnRollout {
  /** Where the text ends, if a stop text came. */
  readonly text?: string
}

/** The rollout up to the token that completes a stop text. */
function stopped(rollout: DrawnRollout, stop: readonly string[], tokenizer: PolicyTokenizer): Stopped {
  const found = (text: string): readonly number[] => stop.map((s) => text.indexOf(s)).filter((at) => at >= 0)
  if (found(tokenizer.decode(rollout.tokens)).length === 0) return rollout
  for (let length = 1; length <= rollout.tokens.length; length++) {
    const text = tokenizer.decode(rollout.tokens.subarray(0, length))
    const at = found(text)
    if (at.length > 0) {
      return {
        tokens: rollout.tokens.slice(0, length),
        logprobs: rollout.logprobs.slice(0, length),
        text: text.slice(0, Math.min(...at)),
      }
    }
  }
  return rollout
}

function completionOf({ tokens, logprobs, text }: Stopped, input: number, tokenizer: PolicyTokenizer): TokenCompletion {
  return {
    text: text ?? tokenizer.decode(tokens),
    finish: text !== undefined || tokens.at(-1) === end ? 'stop' : 'length',
    usage: { ...noUsage, input, output: tokens.length },
    tokens,
    logprobs,
  }
}
