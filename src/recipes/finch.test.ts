import { expect, test } from 'vitest'
import type { Evolver } from '../core/evolver.ts'
import { evolve, type Run } from '../evolve.ts'
import { finchActor } from '../tasks/finch/actor.ts'
import { createCompany } from '../tasks/finch/company.ts'
import { formats, perfectNotes } from '../tasks/finch/editors.ts'
import { expectedScore } from '../tasks/finch/reward.ts'
import { companiesIn } from '../tasks/finch/sets.ts'
import { finchTask } from '../tasks/finch/task.ts'
import { type Demonstration, demonstrations, demonstrator, perfectEditor } from './finch.ts'

const of = { set: 'dev', seed: 4 } as const

function search({ propose }: Evolver, rounds: number, seed = 1): Run {
  const given = { task: finchTask(of), model: finchActor(), evolver: propose, rounds, seed }
  return evolve({ ...given, choice: 'mean', folds: 0, store: 'memory' })
}

test.each(formats)('the perfect editor is at its ceiling after one edit, as %s', async (format) => {
  const run = search(perfectEditor(of, { format }), 1)
  const { report } = await run.result
  using company = createCompany(of)
  const notes = String(report.chosenContext.notes)
  expect(notes.split('\n').sort()).toEqual(perfectNotes(company).split('\n').sort())
  expect(expectedScore(company, notes)).toBeCloseTo(expectedScore(company, perfectNotes(company)), 12)
  expect(report.simulated).toBe(true)
})

test('the demonstrator improves a context, stays far below the perfect editor, and repeats itself for a seed', async () => {
  const [a, b] = [search(demonstrator(), 8), search(demonstrator(), 8)]
  const [first, second] = [(await a.result).report, (await b.result).report]
  expect(second.chosenContext).toEqual(first.chosenContext)
  using company = createCompany(of)
  const at = (notes: string): number => expectedScore(company, notes, { split: 'test' })
  const [low, got, high] = [at(company.notes), at(String(first.chosenContext.notes)), at(perfectNotes(company))]
  expect(got).toBeGreaterThan(low)
  expect(got).toBeLessThan(low + 0.8 * (high - low))
})

test.each(formats)('demonstrations repeat for a seed, differ between seeds, and nearly all can be read, as %s', (format) => {
  const companies = companiesIn('train', 6)
  const shown = (seed: number): Demonstration[] => [...demonstrations({ companies, format, seed })]
  const first = shown(1)
  expect(first).toHaveLength(36)
  expect(shown(1)).toEqual(first)
  expect(shown(2)).not.toEqual(first)
  const closed = first.filter((d) => d.completions[0]!.endsWith('</prompt>'))
  expect(closed.length).toBeGreaterThan(28)
  expect(first.every((d) => d.prompt[0]!.content.startsWith('notes\n'))).toBe(true)
})
