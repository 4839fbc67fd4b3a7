// The paper's run on BIRD. Numbers without a source of their own: arXiv:2603.18620 (LSE), its text or its code's scripts, as the comment says.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '../core/errors.ts'
import { rng, shuffle } from '../core/rng.ts'
import { birdTask } from '../tasks/sql/bird.ts'
import type { LlmRecipe } from './llm-recipe.ts'

/** Action model: the paper's temperature; where it was 0, rewards are measured at 0.7. */
const params = { maxTokens: 1024, temperature: 0.7 } as const // maxTokens is ours: enough for a query and its reasoning

/** Half of the questions are the holdout, so that databases of 100 questions and more have 50. Ours. */
const fractions = { train: 0.4, holdout: 0.5, test: 0.1 } as const

export const birdQwen3: LlmRecipe = {
  name: 'bird-qwen3-4b',
  base: 'Qwen/Qwen3-4B-Instruct-2507', // the paper's policy and action model
  // The paper's five test databases are of BIRD's dev set; training takes the databases of its train set. Which of these the paper took is
  // not told: here five, drawn by chance, are kept for dev, the rest is trained on.
  async tasks(data) {
    const folder = join(data, 'train_databases')
    if (!existsSync(folder))
      throw new ConfigError(`${folder}: no such folder; training takes BIRD's train set, from its own download`)
    const names = shuffle(
      readdirSync(folder)
        .filter((name) => !name.startsWith('.'))
        .sort(),
      rng('bird-qwen3-4b', 'dev'),
    )
    const test = join(data, 'dev_databases')
    return { train: names.slice(5), dev: names.slice(0, 5), test: existsSync(test) ? readdirSync(test).sort() : [] }
  },
  open: (folder, db) => birdTask({ folder, db, set: 'train', badGold: 'leave out', params, fractions }),
  trees: {
    runs: 200, // text: about 200 runs
    rounds: 20, // text: 20 rounds each, so about 4,000 states
    batch: 10, // text: new problems a round
    holdout: 50, // text: problems of a holdout
    draws: 8, // text: generations of each
  },
  train: {
    states: 32, // text: 32 nodes a step (its scripts' default: 16)
    rollouts: 4, // text: 4 edits of each (its scripts' default: 8)
    passes: 4, // text: 4 epochs over the nodes
    maxTokens: 4096, // code: max_tokens of the policy
    learningRate: 4e-5, // ours, for LoRA: the paper trains all weights
    every: 20, // code: a checkpoint each 20 steps, the best by dev tasks
    devRounds: 5, // ours
  },
  assumed: { rollout: { input: 1500, output: 300 }, edit: { input: 9000, output: 1500 } }, // ours: a schema and a question; ten answers
}
