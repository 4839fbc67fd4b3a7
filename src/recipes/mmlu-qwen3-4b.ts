// The paper's run on MMLU-Redux. Numbers without a source of their own: as in bird-qwen3-4b.ts, which has the same.
import { existsSync, readdirSync } from 'node:fs'
import { ConfigError } from '../core/errors.ts'
import { rng, shuffle } from '../core/rng.ts'
import { mmluTask } from '../tasks/mmlu.ts'
import { birdQwen3 } from './bird-qwen3-4b.ts'
import type { LlmRecipe } from './llm-recipe.ts'

/** Subjects of the paper's table; which ones is not told: ten are drawn by chance. */
const tested = 10
/** Subjects that checkpoints are picked by. Ours. */
const forDev = 5

export const mmluQwen3: LlmRecipe = {
  ...birdQwen3,
  name: 'mmlu-qwen3-4b',
  async tasks(data) {
    const files = existsSync(data) ? readdirSync(data).filter((file) => file.endsWith('.jsonl')) : []
    if (files.length <= tested + forDev)
      throw new ConfigError(
        `${data}: has ${files.length} subjects (one SUBJECT.jsonl each), and the recipe takes more than ${tested + forDev}`,
      )
    const names = files.map((file) => file.slice(0, -'.jsonl'.length)).sort()
    const order = shuffle(names, rng('mmlu-qwen3-4b', 'test'))
    return { test: order.slice(0, tested), dev: order.slice(tested, tested + forDev), train: order.slice(tested + forDev) }
  },
  open: (data, subject) =>
    mmluTask({
      data,
      subject,
      params: { maxTokens: 1024, temperature: 0.7 }, // as for BIRD
      // MMLU-Redux has 100 items a subject, some of them unsound: a holdout of 50 needs most of them.
      fractions: { train: 0.2, holdout: 0.75, test: 0.05 },
    }),
  assumed: { rollout: { input: 200, output: 350 }, edit: { input: 7000, output: 1200 } }, // ours: a question and its reasoning; ten answers
}
