import { expect, test } from 'vitest'
import type { Model } from './core/model.ts'
import { evolve } from './evolve.ts'
import { commandTask } from './tasks/command.ts'
import { qaTask } from './tasks/qa.ts'

const rows = Array.from({ length: 12 }, (_, i) => ({ id: `q${i}`, input: `question ${i}`, expected: 'yes' }))
const silent: Model = {
  name: 'toy:silent',
  sample: async () => [{ text: 'no', finish: 'stop', usage: { input: 1, cached: 0, output: 1, reasoning: 0 } }],
}
const keep = { store: 'memory', model: silent, rounds: 1 } as const
const edits = { evolver: () => ({ kind: 'invalid', reason: 'none', completion: '' }) as const }

function shell(cost?: { usd: number }): ReturnType<typeof commandTask> {
  const environment = { PATH: '/usr/bin:/bin' }
  return commandTask({ evolve: { text: 'echo 1' }, command: 'echo 0.5', data: rows, environment, ...(cost && { cost }) })
}

test('a dollar budget is refused for a task that may spend by itself and does not say how much', async () => {
  const run = evolve({ ...keep, ...edits, task: shell(), prices: { 'toy:silent': { input: 0, output: 0 } }, budget: { usd: 1 } })
  await expect(run.result).rejects.toThrow('task "command" may spend money by itself')
})

test('what a task spends by itself counts against the budget', async () => {
  const task = shell({ usd: 0.01 })
  const run = evolve({ ...keep, ...edits, task, prices: { 'toy:silent': { input: 0, output: 0 } }, budget: { usd: 20 } })
  const { report } = await run.result
  expect(report.spent.act.usd).toBeCloseTo(report.spent.rollouts * 0.01)
  expect(report.measured.spent.usd).toBeCloseTo(report.spent.act.usd)
})

test('a dollar budget is refused where a price is not known, with the remedy', async () => {
  const run = evolve({ ...keep, ...edits, task: qaTask({ data: rows, context: 'Answer.' }), budget: { usd: 1 } })
  await expect(run.result).rejects.toThrow(
    "the price of toy:silent is not known, so a budget of $1 can't be kept; give it in `prices`",
  )
})

test('a chain refuses more than one round in flight', async () => {
  const run = evolve({ ...keep, ...edits, task: qaTask({ data: rows, context: 'Answer.' }), method: 'chain', inFlight: 2 })
  await expect(run.result).rejects.toThrow('method "chain" is a chain')
})

test('200 holdout problems are halved into steering and confirming, fewer are not', async () => {
  const many = (n: number): Promise<Awaited<ReturnType<typeof evolve>['result']>> => {
    const data = Array.from({ length: n }, (_, i) => ({ id: `q${i}`, input: `question ${i}`, expected: 'yes' }))
    const fractions = { train: 0.1, holdout: 0.8, test: 0.1 }
    return evolve({ ...keep, ...edits, task: qaTask({ data, context: 'Answer.', fractions }) }).result
  }
  expect((await many(250)).report).toMatchObject({
    splits: { holdout: 100, confirm: 100 },
    choice: 'confirm',
    draws: { holdout: 1 },
  })
  expect((await many(150)).report).toMatchObject({ splits: { holdout: 120, confirm: 0 }, choice: 'mean', draws: { holdout: 1 } })
  expect((await many(50)).report).toMatchObject({ splits: { holdout: 40, confirm: 0 }, choice: 'shrink', draws: { holdout: 3 } })
})
