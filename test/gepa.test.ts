// GEPA through the door: what users give it, and what goes wrong on the way.
import { expect, test } from 'vitest'
import { noUsage } from '../src/core/model.ts'
import { rng } from '../src/core/rng.ts'
import { ConfigError, evolve, type Fact, type Model, ModelError } from '../src/index.ts'
import { gepa } from '../src/methods/gepa.ts'
import type { EvolveOptions } from '../src/options.ts'
import { memoryStore } from '../src/stores/memory.ts'

const longestRun = (text: string): string => (text.match(/\++/g) ?? []).reduce((a, b) => (b.length > a.length ? b : a), '')

/** Answers right if the context has as many marks as the problem wants; asked to reflect, writes what `write` makes of the prompt. */
function marks(write = (prompt: string): string => `\`\`\`\nUse marks: ${longestRun(prompt)}+\n\`\`\``): Model {
  return {
    name: 'toy:marks',
    sample: async (prompt) => {
      const all = prompt.map((m) => m.content).join('\n')
      const wanted = Number(/wants (\d+)/.exec(prompt.at(-1)?.content ?? '')?.[1])
      const text = all.includes('It was tried on some problems') ? write(all) : longestRun(all).length >= wanted ? 'yes' : 'no'
      return [{ text, finish: 'stop', usage: noUsage }]
    },
  }
}

const rows = (n: number, from: number) =>
  Array.from({ length: n }, (_, i) => ({
    id: `q${from + i}`,
    input: `problem ${from + i} wants ${(from + i) % 12}`,
    expected: 'yes',
  }))

function options(model: Model, more: object = {}): EvolveOptions {
  return {
    name: 'marks',
    context: { instructions: 'Use marks: +' },
    data: { train: rows(20, 0), holdout: rows(15, 100), test: rows(20, 200) },
    task: async (call: { context: { instructions: string }; example: { input: string }; model: never }) => {
      const { text } = await import('ai').then(({ generateText }) =>
        generateText({ model: call.model, system: call.context.instructions, prompt: call.example.input, maxRetries: 0 }),
      )
      return text
    },
    score: (answer: unknown, example: { expected: string }) => Number(answer === example.expected),
    model,
    method: 'gepa',
    rounds: 10,
    draws: 1,
    testDraws: 1,
    choice: 'mean',
    store: memoryStore(),
    id: 'r',
    ...more,
  } as unknown as EvolveOptions // typed by what a user writes
}

async function facts(given: EvolveOptions): Promise<readonly Fact[]> {
  await evolve(given).result
  return (given.store as ReturnType<typeof memoryStore>).facts('r')
}

test('a context that helps is found, with the prompt of GEPA', async () => {
  const { best, report } = await evolve(options(marks(), { rounds: 60 })).result
  expect(longestRun(`${best.instructions}`).length).toBeGreaterThan(4)
  expect(report.names).toMatchObject({ method: 'gepa', evolver: expect.stringMatching(/^gepa /) })
  expect(report.gain.shown).toBe(true)
})

test.each([
  ['nothing', (): string => ''],
  ['fences without text', (): string => '``````'],
  ['its prompt', (prompt: string): string => /```\n([\s\S]*?)\n```/.exec(prompt)?.[1] ?? ''],
])('an evolver that answers %s for ten rounds makes ten invalid edits, and the run ends with its reason', async (_, write) => {
  const { report } = await evolve(options(marks(write))).result
  expect(report.stop).toMatchObject({ why: 'rounds', detail: '10 rounds' })
  expect(report.counts).toMatchObject({ invalid: 10, nodes: 1 })
})

test('a part that is not there is an invalid edit that says so', async () => {
  const evolver = () => ({ kind: 'edit', context: { other: 'x' }, completion: '' })
  const all = await facts(options(marks(), { evolver, rounds: 2 }))
  const invalid = all.flatMap((f) => (f.kind === 'invalid' ? [f.reason] : []))
  expect(invalid).toEqual(['the parts must stay instructions; got other', 'the parts must stay instructions; got other'])
})

test('a metric that returns a text or NaN ends the run with one line', async () => {
  const refused = (value: unknown) => evolve(options(marks(), { score: () => value })).result
  await expect(refused(Number.NaN)).rejects.toThrow(/the score of example "q\d+" is NaN: return/)
  await expect(refused('good')).rejects.toThrow(ConfigError)
})

test('an empty minibatch is refused, a train split smaller than it is not', async () => {
  await expect(evolve(options(marks(), { batch: 0 })).result).rejects.toThrow('option "batch" is 0')
  const data = { train: rows(2, 5), holdout: rows(15, 100), test: rows(20, 200) }
  const all = await facts(options(marks(), { data, rounds: 4 }))
  const batches = all.flatMap((f) => (f.kind === 'planned' && f.plan.kind === 'edit' ? [f.plan.batch] : []))
  expect(batches.map((b) => [b.length, new Set(b).size])).toEqual([1, 2, 3, 4].map(() => [3, 2]))
  expect(all.some((f) => f.kind === 'reported')).toBe(true)
})

test('ties on every front end as any other run', async () => {
  const given = options(marks(), { score: () => 0.5, method: gepa({ accept: 'improvement_or_equal' }), rounds: 4 })
  const { best, report } = await evolve(given).result
  expect([report.counts.nodes, best.instructions]).toEqual([5, 'Use marks: +'])
})

test('with one call in ten failing, the facts are the same', async () => {
  const data = { train: rows(9, 0), holdout: rows(8, 100), test: rows(8, 200) }
  const more = { method: gepa({ proposals: 2 }), inFlight: 3, rounds: 6, data }
  const calm = await facts(options(marks(), more))
  const asked = new Map<string, number>()
  let failed = 0
  const well = marks()
  const flaky: Model = {
    name: well.name,
    sample: async (prompt, params, signal) => {
      const key = JSON.stringify([prompt, params])
      const times = (asked.get(key) ?? 0) + 1
      asked.set(key, times)
      if (rng('fault', key, times)() < 0.1) {
        failed++
        throw new ModelError('broken', { status: 500, retryable: true })
      }
      return well.sample(prompt, params, signal)
    },
  }
  expect(await facts(options(flaky, { ...more, retries: 9 }))).toEqual(calm)
  expect(failed).toBeGreaterThan(5)
})
