import { expect, test } from 'vitest'
import { completion, testTask } from '../../../test/contracts/task.ts'
import { seedOf } from '../../core/rng.ts'
import { finchActor } from './actor.ts'
import { createCompany } from './company.ts'
import { finchHash } from './hash.ts'
import { finch } from './parameters.ts'
import { attempts } from './reward.ts'
import { finchTask } from './task.ts'

const of = { set: 'train', seed: 11 } as const

testTask('finch', async () => finchTask(of), completion)

test('the task and the rewards in the process judge the same answers alike', async () => {
  await using task = finchTask(of)
  using company = createCompany(of)
  const model = finchActor()
  const { signal } = new AbortController()
  const examples = task.examples('holdout').slice(0, 30)
  const quick = attempts(company, company.notes, { ids: examples.map((e) => e.id), seed: 7 })
  expect(new Set(quick.map((r) => r.score)).size).toBe(2)
  for (const [i, example] of examples.entries()) {
    const call = { context: task.seed, example, model, draw: 0, seed: seedOf(7, example.id, 0), signal }
    const output = await task.run(call)
    const grade = await task.score(output, example, { model, signal })
    expect(grade.score).toBe(quick[i]!.score)
    expect(task.show(example, output)).toMatchObject({
      question: quick[i]!.question,
      answer: quick[i]!.answer,
      gold: quick[i]!.gold,
    })
  }
})

test("anybody's SQL is judged by its rows, and what is not a query does no harm", async () => {
  await using task = finchTask(of)
  const { signal } = new AbortController()
  const example = task.examples('test')[0]!
  const grade = async (sql: string): Promise<number> =>
    (await task.score(completion(`<answer>${sql}</answer>`), example, { model: finchActor(), signal })).score
  expect(await grade(`SELECT * FROM (${example.gold})`)).toBe(1)
  expect(await grade("SELECT 'nothing'")).toBe(0)
  expect(await grade('DROP TABLE pupils')).toBe(0)
})

test('the seed context fits its cap with room for many rules', async () => {
  await using task = finchTask(of)
  expect(task.rules?.notes?.maxTokens).toBe(finch.maxTokens)
  expect(String(task.seed.notes).split('\n')).toHaveLength(finch.stale.lines)
})

test('Finch is what the tables were made with; if this changes, all of them are made again', () => {
  expect(finchHash()).toBe('38d115da78fa6383')
})
