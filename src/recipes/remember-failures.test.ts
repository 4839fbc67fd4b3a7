// The evolver of the examples that needs no model.
import { expect, test } from 'vitest'
import { echoModel } from '../../test/contracts/model.ts'
import type { Context, Turn } from '../core/context.ts'
import type { Edit, ProposeCall } from '../core/evolver.ts'
import type { Observation } from '../core/observation.ts'
import type { Rollout } from '../core/score.ts'
import { rememberFailures } from './remember-failures.ts'

const rollout = (n: number, score: number, gold: string): Rollout => ({
  exampleId: `r${n}`,
  draw: 0,
  score,
  feedback: '',
  question: `q${n}`,
  answer: 'a',
  gold,
})

function observed(examples: readonly Turn[], rollouts: readonly Rollout[]): Observation {
  const context: Context = { instructions: 'Sort.', examples }
  const score = { per: {}, mean: 0, draws: 1, full: true }
  const node = { id: 0, parents: [], round: 0, context, score }
  return { node, seen: { ...score, rollouts }, history: [], earlier: [], rules: {} }
}

const edit = async (observation: Observation, seed = 1): Promise<Edit> => {
  const call: ProposeCall = { model: echoModel(), check: () => undefined, seed, signal: new AbortController().signal }
  return rememberFailures({ most: 3, say: (gold) => `<${gold}>` }).propose(observation, call)
}

test('a failure is added with the right answer, and a problem with another answer beside it', async () => {
  const made = await edit(observed([], [rollout(1, 1, 'a'), rollout(2, 0, 'b'), rollout(3, 1, 'b')]))
  expect(made.kind === 'edit' && made.context.instructions).toBe('Sort.')
  expect(made.kind === 'edit' && new Set(made.context.examples as readonly Turn[])).toEqual(
    new Set([
      { input: 'q2', output: '<b>' },
      { input: 'q1', output: '<a>' },
    ]),
  )
})

test('there are never more turns than allowed, and none twice', async () => {
  const had = [1, 2, 3].map((n) => ({ input: `q${n}`, output: 'x' }))
  for (let seed = 0; seed < 20; seed++) {
    const made = await edit(observed(had, [rollout(1, 0, 'a'), rollout(4, 0, 'a'), rollout(5, 1, 'b')]), seed)
    const inputs = made.kind === 'edit' ? (made.context.examples as readonly Turn[]).map((t) => t.input) : []
    expect(inputs).toHaveLength(3)
    expect(new Set(inputs).size).toBe(3)
  }
})

test('a batch that is all shown already brings no edit', async () => {
  expect(await edit(observed([{ input: 'q1', output: '<a>' }], [rollout(1, 0, 'a')]))).toMatchObject({ kind: 'invalid' })
})
