// What every method bears, by the names users give them: whole runs through the door with evolvers, metrics and data that are no good.
// Each ends with one clear line, or with invalid edits that are counted and its reason. The methods' own tests go further.
import { expect, test } from 'vitest'
import { ConfigError } from '../src/core/errors.ts'
import type { Fact } from '../src/core/facts.ts'
import { type Model, noUsage } from '../src/core/model.ts'
import type { Store } from '../src/core/store.ts'
import { evolve } from '../src/evolve.ts'
import { methodNames } from '../src/method-named.ts'
import type { EvolveOptions } from '../src/options.ts'
import { memoryStore } from '../src/stores/memory.ts'

type Messages = readonly { readonly content: string }[]

const model = (answer: (messages: Messages) => string): Model => ({
  name: 'toy:bad',
  sample: async (prompt) => [{ text: answer(prompt), finish: 'stop', usage: noUsage }],
})

const rows = (n: number, from: number) =>
  Array.from({ length: n }, (_, i) => ({ id: `q${from + i}`, input: `problem ${from + i}`, expected: 'yes' }))

const rounds = 10

/** A task of parts for all methods; nothing is ever right, so that no method runs out of what it learns from. */
function hopeless(method: string, more: object = {}): EvolveOptions {
  return {
    name: 'hopeless',
    context: { instructions: 'Answer the question.', memory: '', skills: '' },
    data: { train: rows(40, 0), holdout: rows(6, 100), test: rows(20, 200) },
    task: async () => 'no',
    score: () => 0,
    model: model(() => ''),
    method,
    rounds,
    draws: 1,
    testDraws: 1,
    choice: 'mean',
    store: memoryStore(),
    id: 'r',
    ...more,
  } as unknown as EvolveOptions // typed by what a user writes, not by what a test leaves out
}

const factsOf = (options: EvolveOptions): Promise<readonly Fact[]> => (options.store as Store).facts('r')

/** What came of the edits. */
const kindsIn = (facts: readonly Fact[]): readonly string[] =>
  facts.flatMap((f) => (f.kind === 'rejected' || f.kind === 'invalid' || (f.kind === 'scored' && f.round > 0) ? [f.kind] : []))

/** GEPA takes what stands between the first and the last fence, as the package does: its own prompt is a text, which is no better. */
const echoed: Readonly<Record<string, string>> = { gepa: 'rejected' }

test.each(methodNames)(
  '%s: an evolver that echoes its whole prompt for ten rounds is counted, and the run ends',
  async (method) => {
    const options = hopeless(method, { evolver: model((m) => m.map((x) => x.content).join('\n')) })
    const { report, best } = await evolve(options).result
    expect(kindsIn(await factsOf(options))).toEqual(Array(rounds).fill(echoed[method] ?? 'invalid'))
    expect(report.counts.invalid + report.counts.rejected).toBe(rounds)
    expect(report.stop).toEqual({ kind: 'stopped', why: 'rounds', detail: '10 rounds' })
    expect(best.instructions).toBe('Answer the question.')
  },
)

test.each(methodNames)(
  '%s: an evolver that returns nothing for ten rounds makes ten invalid edits, and the run ends',
  async (method) => {
    const { report, best } = await evolve(hopeless(method)).result
    expect(report.counts).toMatchObject({ rounds, invalid: rounds, rejected: 0, nodes: 1 })
    expect(report.stop).toEqual({ kind: 'stopped', why: 'rounds', detail: '10 rounds' })
    expect(best.instructions).toBe('Answer the question.')
  },
)

test.each(methodNames)('%s: an edit of a part that is not there is invalid and says so', async (method) => {
  const evolver = () => ({ kind: 'edit', context: { other: 'x' }, completion: '' })
  const options = hopeless(method, { evolver, rounds: 2 })
  await evolve(options).result
  const reasons = (await factsOf(options)).flatMap((f) => (f.kind === 'invalid' ? [f.reason] : []))
  expect(reasons).toEqual(Array(2).fill('the parts must stay instructions, memory, skills; got other'))
})

test.each(
  methodNames.flatMap((method) => [
    { method, value: 'good', shown: '"good"' },
    { method, value: Number.NaN, shown: 'NaN' },
  ]),
)('$method: a metric that returns $shown stops the run with the example and the remedy', async ({ method, value, shown }) => {
  const refused = evolve(hopeless(method, { score: () => value })).result
  await expect(refused).rejects.toThrow(ConfigError)
  await expect(refused).rejects.toThrow(/^the score of example "q10\d" is /)
  await expect(refused).rejects.toThrow(`is ${shown}: return { score } with a number from 0 to 1`)
})

test.each(methodNames)(
  '%s: an empty minibatch and a train split of nothing are refused before anything is spent',
  async (method) => {
    let asked = 0
    const task = (): string => String(asked++)
    await expect(evolve(hopeless(method, { task, batch: 0 })).result).rejects.toThrow('option "batch" is 0: ')
    const data = { train: [], holdout: rows(6, 100), test: rows(20, 200) }
    await expect(evolve(hopeless(method, { task, data })).result).rejects.toThrow('the train split is empty')
    expect(asked).toBe(0)
  },
)

test.each(methodNames)('%s: a train split smaller than the batch is used whole, and the run ends', async (method) => {
  const data = { train: rows(2, 0), holdout: rows(6, 100), test: rows(20, 200) }
  const options = hopeless(method, { data, rounds: 3 })
  const { report } = await evolve(options).result
  const batches = (await factsOf(options)).flatMap((f) => (f.kind === 'planned' && f.plan.kind === 'edit' ? [f.plan.batch] : []))
  expect(batches.map((ids) => new Set(ids).size)).toEqual([2, 2, 2])
  expect(report.stop.why).toBe('rounds')
})

test.each(methodNames)('%s: where every context is as good on every problem, the seed comes back', async (method) => {
  let edits = 0
  const evolver = ({ node }: { node: { context: Record<string, string> } }) => ({
    kind: 'edit',
    context: { ...node.context, instructions: `Answer, please: ${edits++}.` },
    completion: '',
  })
  const options = hopeless(method, { evolver, score: () => 0.5 })
  const { report, best } = await evolve(options).result
  expect(report.counts.invalid).toBe(0)
  expect(kindsIn(await factsOf(options)).length).toBeGreaterThan(0)
  expect(report.gain).toMatchObject({ mean: 0, shown: false })
  expect([report.chosen, best.instructions]).toEqual([0, 'Answer the question.'])
})
