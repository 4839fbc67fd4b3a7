// Whole runs of textgrad and reflexion through the door: they find a better context, go on after an abort, and bear what models and users do.
import { expect, test } from 'vitest'
import type { Fact } from '../src/core/facts.ts'
import { type Model, noUsage } from '../src/core/model.ts'
import type { Store } from '../src/core/store.ts'
import { evolve } from '../src/evolve.ts'
import { textgrad } from '../src/methods/textgrad.ts'
import type { EvolveOptions } from '../src/options.ts'
import { memoryStore } from '../src/stores/memory.ts'

/** The longest run of marks in a text. */
const marksIn = (text: string): string => (text.match(/\++/g) ?? []).reduce((a, b) => (b.length > a.length ? b : a), '')

/** Right if there are more marks than the problem wants; as critic, rewriter and reflector it asks for more marks. */
function says(messages: readonly { readonly content: string }[]): string {
  const all = messages.map((m) => m.content).join('\n')
  if (all.includes('<IMPROVED_VARIABLE>')) return `<IMPROVED_VARIABLE>Use marks: ${marksIn(all)}+</IMPROVED_VARIABLE>`
  if (all.includes('<reflection>')) return `<reflection>I should use marks: ${marksIn(all)}+</reflection>`
  const wanted = /wants (\d+)$/.exec(all)?.[1]
  return wanted === undefined ? 'use more marks' : marksIn(all).length >= Number(wanted) ? 'yes' : 'no'
}

const toy = (answer: (messages: readonly { readonly content: string }[]) => string = says): Model => ({
  name: 'toy:marks',
  async sample(prompt, _, signal) {
    await new Promise((resolve) => setImmediate(resolve))
    signal?.throwIfAborted()
    return [{ text: answer(prompt), finish: 'stop', usage: noUsage }]
  },
})

const rows = (n: number, from: number) =>
  Array.from({ length: n }, (_, i) => ({
    id: `q${from + i}`,
    input: `problem ${from + i} wants ${1 + (i % 6)}`,
    expected: 'yes',
  }))

interface Call {
  readonly context: { readonly instructions: string; readonly memory?: string }
  readonly example: { readonly input: string }
}

function small(more: object = {}): EvolveOptions {
  return {
    name: 'marks',
    context: { instructions: 'Use marks: +', memory: '' },
    data: { train: rows(12, 0), holdout: rows(12, 100), test: rows(60, 200) },
    task: async ({ context, example }: Call) =>
      says([{ content: `${context.instructions}\n${context.memory}\n${example.input}` }]),
    score: (answer: unknown, example: { expected: string }) => Number(answer === example.expected),
    model: toy(),
    rounds: 5,
    draws: 1,
    testDraws: 1,
    choice: 'mean',
    store: memoryStore(),
    id: 'r',
    ...more,
  } as unknown as EvolveOptions // typed by what a user writes, not by what a test leaves out
}

const factsOf = (options: EvolveOptions): Promise<readonly Fact[]> => (options.store as Store).facts('r')
const methods = ['textgrad', 'reflexion'] as const

test.each(methods)('%s finds a better context, which is shown on test', async (method) => {
  const options = small({ method })
  const { report, best } = await evolve(options).result
  expect(report.gain.shown).toBe(true)
  expect(marksIn(best[method === 'textgrad' ? 'instructions' : 'memory'] as string).length).toBeGreaterThan(3)
  expect(report.names).toMatchObject({ method, evolver: `${method} toy:marks` })
  const [started] = await factsOf(options)
  expect(started).toMatchObject({ options: { assumed: { proposal: { calls: method === 'textgrad' ? 7 : 3 } } } })
  const [batch] = (await factsOf(options)).flatMap((f) => (f.kind === 'planned' && f.plan.kind === 'edit' ? [f.plan.batch] : []))
  expect(batch).toHaveLength(3)
})

test.each(methods)(
  '%s, ended after any call of its evolver and resumed, comes to the same facts and pays again at most what was in flight',
  async (method) => {
    let asked = 0
    const counting = (stopAt = Number.POSITIVE_INFINITY): { readonly model: Model; readonly signal: AbortSignal } => {
      const stop = new AbortController()
      let n = 0
      const { name, sample } = toy()
      return {
        signal: stop.signal,
        model: {
          name,
          async sample(prompt, params, signal) {
            const done = await sample(prompt, params, signal)
            asked++
            if (++n === stopAt) setImmediate(() => stop.abort(new Error('Ctrl-C')))
            return done
          },
        },
      }
    }
    const of = (more: object): EvolveOptions =>
      small({ method: method === 'textgrad' ? textgrad({ momentum: 2 }) : method, rounds: 3, ...more })
    const whole = of(counting())
    await evolve(whole).result
    const calls = asked
    expect(calls).toBeGreaterThan(5)
    for (let stopAt = 1; stopAt < calls; stopAt++) {
      asked = 0
      const options = of(counting(stopAt))
      await expect(evolve(options).result).rejects.toThrow('Ctrl-C')
      await evolve(of({ ...counting(), store: options.store })).result
      expect(JSON.stringify(await factsOf(options))).toBe(JSON.stringify(await factsOf(whole)))
      expect(asked).toBeLessThanOrEqual(calls + 3) // a batch of three asks three at a time
    }
  },
)

const outcomes = async (options: EvolveOptions): Promise<readonly string[]> =>
  (await factsOf(options)).flatMap((f) => (['scored', 'rejected', 'invalid'].includes(f.kind) ? [f.kind] : []))

const isWriting = (messages: readonly { readonly content: string }[]): boolean =>
  !/wants \d+$/.test(messages.at(-1)?.content ?? '')

test.each(
  methods.flatMap((method) => [
    {
      method,
      what: 'echoes its prompt',
      answer: (m: readonly { readonly content: string }[]) => m.map((x) => x.content).join('\n'),
    },
    { method, what: 'returns nothing', answer: () => '' },
    { method, what: 'forgets the tag', answer: () => 'Use more marks: ++++++' },
  ]),
)(
  '$method: a model that $what for ten rounds makes ten invalid edits, and the run ends with its reason',
  async ({ method, answer }) => {
    const options = small({ method, rounds: 10, evolver: toy((m) => (isWriting(m) ? answer(m) : says(m))) })
    const { report, best } = await evolve(options).result
    expect(await outcomes(options)).toEqual(['scored', ...Array(10).fill('invalid')])
    expect(report.stop).toMatchObject({ why: 'rounds' })
    expect(best.instructions).toBe('Use marks: +')
  },
)

test.each(methods)('%s: a score that is not a number stops the run with the example and the remedy', async (method) => {
  const refused = evolve(small({ method, score: () => Number.NaN })).result
  await expect(refused).rejects.toThrow(/the score of example "q\d+" is NaN: return \{ score \} with a number from 0 to 1/)
})

test.each(methods)('%s: a train split that is smaller than the batch is used whole', async (method) => {
  const data = { train: rows(2, 0), holdout: rows(12, 100), test: rows(60, 200) }
  const options = small({ method, data, batch: 50 })
  await evolve(options).result
  const batches = (await factsOf(options)).flatMap((f) =>
    f.kind === 'planned' && f.plan.kind === 'edit' ? [f.plan.batch.length] : [],
  )
  expect(batches.length).toBeGreaterThan(0)
  expect(Math.max(...batches)).toBeLessThanOrEqual(2)
})

test.each([
  [
    'textgrad with a part that is not there',
    { method: textgrad({ parts: ['rules'] }) },
    /can't improve part "rules" \(text parts that may change: instructions, memory\)/,
  ],
  [
    'reflexion without a memory',
    { method: 'reflexion', context: { instructions: 'x' } },
    /text part "memory", which the context does not have/,
  ],
  ['textgrad with rounds in flight', { method: 'textgrad', inFlight: 2 }, /is a chain: .*must be 1, not 2/],
  ['reflexion with rounds in flight', { method: 'reflexion', inFlight: 2 }, /is a chain: .*must be 1, not 2/],
  [
    'no training problems',
    { method: 'textgrad', data: { train: [], holdout: rows(2, 0), test: rows(2, 5) } },
    /the train split is empty/,
  ],
])('%s is refused before anything is spent', async (_, more, message) => {
  let asked = 0
  const task = (): string => String(asked++)
  await expect(evolve(small({ ...more, task })).result).rejects.toThrow(message)
  expect(asked).toBe(0)
})

test.each(methods)('%s takes edits from a function, too', async (method) => {
  const part = method === 'textgrad' ? 'instructions' : 'memory'
  const options = small({
    method,
    evolver: ({ node }: { node: { context: Record<string, string> } }) => ({
      kind: 'edit',
      context: { ...node.context, [part]: `${node.context[part]}${marksIn(Object.values(node.context).join())}+` },
      completion: '',
    }),
  })
  const { report } = await evolve(options).result
  expect(report.gain.shown).toBe(true)
})

test('reflexion ends when every training problem is solved, with that reason', async () => {
  const options = small({ method: 'reflexion', rounds: 60 })
  const { report } = await evolve({
    ...options,
    data: {
      train: rows(4, 0),
      holdout: [...rows(12, 100), { id: 'never', input: 'problem 9 wants 99', expected: 'yes' }],
      test: rows(60, 200),
    },
  } as EvolveOptions).result
  expect(report.stop).toMatchObject({ why: 'done', detail: 'all 4 training problems are solved' })
})
