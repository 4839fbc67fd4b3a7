// What a recipe for training an LLM's policy says, and what it will take before anything is spent.

import type { Completion, Model } from '../core/model.ts'
import type { Example, Task } from '../core/task.ts'

export type LlmTask = Task<Example, Completion, Model>

export interface LlmRecipe {
  readonly name: string
  /** Policy and action model, by its public name. */
  readonly base: string
  /** Names of the tasks in a folder: what is trained on, what checkpoints are picked by, what neither sees. */
  tasks(data: string): Promise<Readonly<Record<'train' | 'dev' | 'test', readonly string[]>>>
  open(data: string, task: string): Promise<LlmTask>
  readonly trees: {
    /** Searches by the untrained policy, and edits of each: their nodes are the states. */
    readonly runs: number
    readonly rounds: number
    /** Problems a round. */
    readonly batch: number
    /** Problems of a holdout, and generations of each. */
    readonly holdout: number
    readonly draws: number
  }
  readonly train: {
    /** States a step, edits of each, passes over the states. */
    readonly states: number
    readonly rollouts: number
    readonly passes: number
    /** Bound of an edit, in tokens. */
    readonly maxTokens: number
    readonly learningRate: number
    /** Steps between looks at the dev tasks, each with a checkpoint; edits of each dev task at a look. */
    readonly every: number
    readonly devRounds: number
  }
  /** Tokens that a call is assumed to have: of the action model at a problem, of the policy at an edit. */
  readonly assumed: Readonly<Record<'rollout' | 'edit', Tokens>>
}

export interface Tokens {
  readonly input: number
  readonly output: number
}

/** What is not known before: how fast a GPU is, and what a service asks. */
export interface Assumptions {
  /** Tokens a second of one GPU that serves the base model with many requests at once. */
  readonly prefill: number
  readonly decode: number
  /** US dollars per million tokens, of the hosted service. */
  readonly usd: Readonly<Record<'prefill' | 'sample' | 'train', number>>
}

/**
 * An H100 with a model of 4 billion weights: by rule of thumb, not measured here. Dollars: the list prices of hosted Tinker for
 * Qwen3-4B-Instruct-2507 as of January 2026.
 */
export const assumed: Assumptions = { prefill: 40_000, decode: 5_000, usd: { prefill: 0.07, sample: 0.22, train: 0.22 } }

/** Of one part of a training. */
export interface Part extends Tokens {
  readonly name: string
  readonly calls: number
  /** Tokens that a gradient is taken of. */
  readonly trained: number
  /** Of one GPU. */
  readonly gpuHours: number
  /** If all of it ran on the hosted service. */
  readonly usd: number
}

export interface LlmEstimate {
  readonly states: number
  readonly steps: number
  readonly parts: readonly Part[]
  readonly total: Part
}

/** Counts of calls are exact where no edit is invalid; tokens, hours and dollars are as good as what is assumed. `dev` = number of dev tasks. */
export function estimateLlm(
  recipe: LlmRecipe,
  { dev, use = assumed }: { readonly dev: number; readonly use?: Assumptions },
): LlmEstimate {
  const { trees, train } = recipe
  const states = trees.runs * trees.rounds
  const steps = Math.floor(states / train.states) * train.passes
  const rollouts = steps * train.states * train.rollouts
  const looks = 1 + Math.ceil(steps / train.every)
  const scored = trees.holdout * trees.draws
  const search = (rounds: number): number => scored + rounds * (trees.batch + scored)
  const part = (
    name: string,
    kind: 'rollout' | 'edit',
    { calls, trained = false }: { calls: number; trained?: boolean },
  ): Part => {
    const { input, output } = recipe.assumed[kind]
    const learned = trained ? calls * (input + output) : 0
    // A pass with its gradient takes about three times the arithmetic of reading the same tokens.
    const seconds = (calls * input + 3 * learned) / use.prefill + (calls * output) / use.decode
    const usd = (calls * (input * use.usd.prefill + output * use.usd.sample) + learned * use.usd.train) / 1e6
    return { name, calls, input: calls * input, output: calls * output, trained: learned, gpuHours: seconds / 3600, usd }
  }
  const parts = [
    part('trees: answers', 'rollout', { calls: trees.runs * search(trees.rounds) }),
    part('trees: edits', 'edit', { calls: states }),
    part('training: rewards', 'rollout', { calls: rollouts * scored }),
    part('training: edits', 'edit', { calls: rollouts, trained: true }),
    part('dev: answers', 'rollout', { calls: looks * dev * search(train.devRounds) }),
    part('dev: edits', 'edit', { calls: looks * dev * train.devRounds }),
  ]
  const sum = (of: (part: Part) => number): number => parts.reduce((all, one) => all + of(one), 0)
  const total: Part = {
    name: 'all',
    ...{ calls: sum((p) => p.calls), input: sum((p) => p.input), output: sum((p) => p.output) },
    ...{ trained: sum((p) => p.trained), gpuHours: sum((p) => p.gpuHours), usd: sum((p) => p.usd) },
  }
  return { states, steps, parts, total }
}
