import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { birdQwen3 } from './bird-qwen3-4b.ts'
import { estimateLlm } from './llm-recipe.ts'
import { mmluQwen3 } from './mmlu-qwen3-4b.ts'

const mmlu = '../shared/data/mmlu-redux'

test("the paper's run is 500 steps on 4,000 states, and nearly all of it is rewards", () => {
  const use = { prefill: 1e6, decode: 1e5, usd: { prefill: 1, sample: 10, train: 100 } }
  const found = estimateLlm(birdQwen3, { dev: 2, use })
  expect([found.states, found.steps]).toEqual([4000, 500])
  const calls = Object.fromEntries(found.parts.map((part) => [part.name, part.calls]))
  expect(calls).toEqual({
    'trees: answers': 200 * (400 + 20 * (10 + 400)),
    'trees: edits': 4000,
    'training: rewards': 500 * 32 * 4 * 50 * 8,
    'training: edits': 500 * 32 * 4,
    'dev: answers': 26 * 2 * (400 + 5 * (10 + 400)),
    'dev: edits': 26 * 2 * 5,
  })
  const edits = found.parts[3]!
  const { input, output } = birdQwen3.assumed.edit
  expect(edits.usd).toBeCloseTo((64_000 * (input + 10 * output + 100 * (input + output))) / 1e6, 6)
  expect(edits.gpuHours).toBeCloseTo((64_000 * ((input + 3 * (input + output)) / 1e6 + output / 1e5)) / 3600, 6)
  expect(found.total.calls).toBe(Object.values(calls).reduce((a, b) => a + b))
})

test("BIRD's databases are shared out once, and none of them is tested on", async () => {
  const data = mkdtempSync(join(tmpdir(), 'lamarck-bird-'))
  onTestFinished(() => rmSync(data, { recursive: true }))
  await expect(birdQwen3.tasks(data)).rejects.toThrow("train_databases: no such folder; training takes BIRD's train set")
  for (let i = 0; i < 12; i++) mkdirSync(join(data, 'train_databases', `db${i}`), { recursive: true })
  const { train, dev, test } = await birdQwen3.tasks(data)
  expect([train.length, dev.length, test.length]).toEqual([7, 5, 0])
  expect(new Set([...train, ...dev]).size).toBe(12)
  expect(await birdQwen3.tasks(data)).toEqual({ train, dev, test })
})

const hasMmlu = existsSync(mmlu) || Boolean(process.env.CI)
describe.skipIf(!hasMmlu)('MMLU-Redux (../shared/data)', () => {
  test('its subjects are shared out once, and each that is trained on has a holdout of 50 and a batch of 10', async () => {
    const { train, dev, test } = await mmluQwen3.tasks(mmlu)
    expect([train.length, dev.length, test.length]).toEqual([35, 5, 10])
    expect(new Set([...train, ...dev, ...test]).size).toBe(50)
    const sizes = await Promise.all(
      [...train, ...dev].map(async (name) => {
        const task = await mmluQwen3.open(mmlu, name)
        return [
          name,
          task.examples('holdout').length >= 50,
          task.examples('train').length >= 10,
          task.examples('test').length > 0,
        ]
      }),
    )
    expect(sizes.filter((size) => size.includes(false))).toEqual([])
  })
  test('a folder without enough subjects is refused', async () => {
    await expect(mmluQwen3.tasks('nowhere')).rejects.toThrow(
      'nowhere: has 0 subjects (one SUBJECT.jsonl each), and the recipe takes',
    )
  })
})
