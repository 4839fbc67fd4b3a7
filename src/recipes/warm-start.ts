// Warm start: an engine's fresh weights learn to write as the scripted demonstrator does, mediocre as it is. Reinforcement comes after.
import type { Group } from '../core/engine.ts'
import type { JaxEngine } from '../engines/jax/jax-engine.ts'
import { end } from '../engines/jax/tokenizer.ts'
import type { Format } from '../tasks/finch/editors.ts'
import { companiesIn } from '../tasks/finch/sets.ts'
import { type Demonstration, demonstrations } from './finch.ts'

export interface WarmStartOptions {
  /** How the demonstrator writes; the policy will be able to write no other way. */
  readonly writer?: Format
  /** Of the companies and of what the demonstrator does. */
  readonly seed?: number
  readonly steps?: number
  /** Prompts a step, and demonstrations of each. */
  readonly prompts?: number
  readonly each?: number
  readonly learningRate?: number
}

export interface WarmStartStep {
  readonly step: number
  /** −log-probability a token. */
  readonly loss: number
}

/** Trains on demonstrations, each seen once; the learning rate rises over 20 steps and falls over the last 30 %. */
export async function* warmStart(engine: JaxEngine, options: WarmStartOptions = {}): AsyncGenerator<WarmStartStep> {
  const { writer: format = 'lines', seed = 0, steps = 500, prompts = 16, each = 4, learningRate = 2e-3 } = options
  const edits = 6 // as many prompts a company
  const companies = companiesIn('train', Math.ceil((steps * prompts) / edits), seed)
  const shown = demonstrations({ companies, format, seed, edits, each })
  for (let step = 1; step <= steps; step++) {
    const groups = Array.from({ length: prompts }, () => groupOf(engine, shown.next().value))
    const { nll = Number.NaN } = await engine.forwardBackward(groups, { kind: 'cross_entropy' })
    const rate = learningRate * Math.min(1, step / 20, Math.max(0.1, (steps - step) / (0.3 * steps)))
    await engine.optimStep({ learningRate: rate, maxNorm: 1 })
    yield { step, loss: nll }
  }
}

/** Each rollout's tokens count by the mean length of the group, so that the loss is about a mean over tokens. */
function groupOf({ tokenizer, encode }: JaxEngine, { prompt, completions }: Demonstration): Group {
  const answers = completions.map((text) => Int32Array.from([...tokenizer.encode(text), end]))
  const weight = answers.length / answers.reduce((sum, { length }) => sum + length, 0)
  const filled = (length: number, value: number): Float32Array => new Float32Array(length).fill(value)
  const rollouts = answers.map((tokens) => ({
    tokens,
    logprobs: filled(tokens.length, 0),
    advantages: filled(tokens.length, 0),
    weights: filled(tokens.length, weight),
  }))
  return { prompt: encode(prompt), rollouts }
}
