// The embedded policy of Finch: a transformer of 0.4 million weights that reads the compact prompt and writes line edits, and the
// checkpoint it begins from (made by scripts/warm-start.ts, not trained by any reward).
import { fileURLToPath } from 'node:url'
import { ConfigError } from '../core/errors.ts'
import type { Message, Model, Params } from '../core/model.ts'
import type { Grammar } from '../engines/jax/grammar.ts'
import { type JaxEngine, jaxEngine } from '../engines/jax/jax-engine.ts'
import type { Format } from '../tasks/finch/editors.ts'
import { answerTokens, promptTokens, vocabulary } from '../tasks/finch/policy-prompt.ts'
import { fragments, words } from '../tasks/finch/words.ts'

/** Around a prompt stand the tokens of two roles; an answer has an end. */
const lengths = { prompt: promptTokens + 2, answer: answerTokens + 1 } as const

/** How the policy is drawn from: as in training, so that no probability is cut. */
export const policyParams: Params = { maxTokens: lengths.answer, temperature: 1, topP: 1 }

/** The answers that its writer can read: lines of a word and a condition, or "drop" among line edits; a whole text has at least one. */
export function finchGrammar(format: Format = 'lines'): Grammar {
  const word = { pieces: [...words.keys()].map((text) => `${text}: `), to: 'meaning' }
  return {
    start: [{ pieces: ['<prompt>\n'], to: format === 'lines' ? 'line' : 'first line' }],
    ...(format === 'rewrite' && { 'first line': [word] }),
    line: [word, { pieces: ['</prompt>'] }],
    meaning: [{ pieces: format === 'lines' ? [...fragments, 'drop'] : fragments, to: 'line end' }],
    'line end': [{ pieces: ['\n'], to: 'line' }],
  }
}

/** Weights that imitate the scripted demonstrator, without an optimizer's state. */
export const warmStartFile: string = fileURLToPath(new URL('./finch-policy.safetensors', import.meta.url))

export interface FinchEngineOptions {
  /** Where checkpoints go. */
  readonly folder?: string
  /** Threads; their number changes no result. */
  readonly workers?: number
  /** Of the initial weights, which `load` replaces. */
  readonly seed?: number
}

/** The embedded engine in the policy's size, with fresh weights. @throws {MissingPackageError} without @jax-js/jax. */
export function finchEngine(options: FinchEngineOptions = {}): Promise<JaxEngine> {
  return jaxEngine({
    ...options,
    ...{ pieces: vocabulary, layers: 2, width: 96, heads: 4, shifts: 3 },
    ...{ context: lengths.prompt + lengths.answer, lengths: Object.values(lengths) },
  })
}

/**
 * Whether an engine's policy can read and write Finch at all.
 * @throws {ConfigError} if its vocabulary spells Finch in single bytes, or its context is too short for a prompt and its answer.
 */
export function checkPolicy({ tokenizer, shape }: JaxEngine): void {
  const strange = vocabulary.find((piece) => tokenizer.encode(piece).length !== 1)
  if (strange !== undefined) {
    const byted = (100 * tokenizer.byteShare(vocabulary.join(''))).toFixed(0)
    throw new ConfigError(
      `this policy's vocabulary can't spell Finch: ${JSON.stringify(strange)} is no token of it, ${byted} % would be single bytes; take a policy of Finch`,
    )
  }
  const needed = lengths.prompt + lengths.answer
  if (shape.context < needed)
    throw new ConfigError(`this policy's context of ${shape.context} tokens is too short for Finch, which needs ${needed}`)
}

/** One answer of the policy to a prompt, as text. */
export async function answerOf(policy: Model, prompt: readonly Message[], seed: number, signal?: AbortSignal): Promise<string> {
  const [completion] = await policy.sample(prompt, { ...policyParams, seed }, signal)
  return completion?.text ?? ''
}
