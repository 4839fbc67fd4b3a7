// The policy as a model: messages in, completions with their tokens out.
import { ConfigError, EngineError, ModelError } from '../../core/errors.ts'
import { type Message, type Model, noUsage, type Params, type TokenCompletion } from '../../core/model.ts'
import type { Sampler, Sequence } from './client.ts'
import type { Tokenizer } from './tokenizer.ts'

/** What a policy is made of. */
export interface PolicyOptions {
  readonly name: string
  readonly sampler: Sampler
  readonly tokenizer: Tokenizer
  /** Longest sequence. */
  readonly context: number
  /** Whether the model is still as the sampler knows it. */
  readonly isCurrent: () => boolean
  /** Is told of each call that is under way on the server, whoever still waits for it. */
  readonly watch: (drawing: Promise<unknown>) => void
}

/**
 * A handle on the weights of one step. Without `temperature` it is 1, without `seed` 0; the i-th completion has the seed `seed + i`. `logprobs`
 * are those of the model itself, at temperature 1 with nothing cut off. A completion that met its limit or a stop text has no stop token.
 */
export function policyOf({ name, sampler, tokenizer, context, isCurrent, watch }: PolicyOptions): Model<TokenCompletion> {
  return {
    name,
    async sample(messages: readonly Message[], params: Params, signal?: AbortSignal): Promise<readonly TokenCompletion[]> {
      signal?.throwIfAborted()
      if (!isCurrent()) throw new EngineError(`${name}: the policy was trained on since; ask the engine for the policy again`)
      const { maxTokens, n = 1, temperature = 1, topP = 1, topK = 0, presencePenalty = 0, stop = [], seed = 0 } = params
      if (presencePenalty !== 0) {
        throw new ConfigError(`the Tinker API has no presence penalty: leave presencePenalty out, it is ${presencePenalty}`)
      }
      const prompt = tokenizer.encodeChat(messages)
      if (!(n >= 1 && maxTokens >= 1)) {
        throw new ModelError(`${name}: n is ${n} and maxTokens ${maxTokens}; both must be at least 1`, { retryable: false })
      }
      if (prompt.length + maxTokens > context) {
        const sizes = `a prompt of ${prompt.length} tokens and an answer of ${maxTokens}`
        throw new ModelError(
          `${name}: ${sizes} are over the context of ${context}: take a smaller maxTokens or a shorter prompt`,
          {
            retryable: false,
          },
        )
      }
      const sampling = { n, maxTokens, seed, temperature, topP, topK: topK || -1, stops: tokenizer.stops }
      const drawing = sampler.sample({ prompt, ...sampling }, signal)
      watch(drawing)
      const sequences = await orAborted(drawing, signal)
      return sequences.map((sequence) => completionOf(sequence, { stop, input: prompt.length, tokenizer }))
    },
  }
}

async function orAborted<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return work
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

interface Reading {
  /** Texts that end an answer: looked for here, as the server takes either texts or tokens. */
  readonly stop: readonly string[]
  readonly input: number
  readonly tokenizer: Tokenizer
}

function completionOf({ tokens, logprobs, finish }: Sequence, { stop, input, tokenizer }: Reading): TokenCompletion {
  const hasEnd = tokenizer.stops.includes(tokens.at(-1) ?? -1)
  const text = tokenizer.decode(hasEnd ? tokens.subarray(0, -1) : tokens)
  const [length, at] = cutAt(text, tokens, { stop, tokenizer })
  const isCut = at !== undefined
  return {
    text: isCut ? text.slice(0, at) : text,
    finish: isCut || finish === 'stop' ? 'stop' : 'length',
    usage: { ...noUsage, input, output: length },
    tokens: isCut ? tokens.slice(0, length) : tokens,
    logprobs: isCut ? logprobs.slice(0, length) : logprobs,
  }
}

/** How many tokens there are up to the one that completes a stop text, and where the text ends. */
function cutAt(
  text: string,
  tokens: Int32Array,
  { stop, tokenizer }: Omit<Reading, 'input'>,
): readonly [length: number, at: number | undefined] {
  const found = (said: string): number => Math.min(...stop.map((s) => said.indexOf(s)).filter((at) => at >= 0))
  const at = found(text)
  if (!Number.isFinite(at)) return [tokens.length, undefined]
  let length = 1
  while (!Number.isFinite(found(tokenizer.decode(tokens.subarray(0, length))))) length++
  return [length, at]
}
