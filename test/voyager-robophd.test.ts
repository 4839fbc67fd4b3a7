// Whole runs of best-of-n, voyager and robophd through the door: they find a better context, go on after an abort, and bear what models and
// users do.
import { expect, test } from 'vitest'
import type { Fact } from '../src/core/facts.ts'
import { type Model, noUsage } from '../src/core/model.ts'
import type { Store } from '../src/core/store.ts'
import { evolve } from '../src/evolve.ts'
import { robophd } from '../src/methods/robophd.ts'
import { voyager } from '../src/methods/voyager.ts'
import type { EvolveOptions } from '../src/options.ts'
import { memoryStore } from '../src/stores/memory.ts'

type Messages = readonly { readonly content: string }[]

/** The longest run of marks in a text. */
const marksIn = (text: string): string => (text.match(/\++/g) ?? []).reduce((a, b) => (b.length > a.length ? b : a), '')

/** Right if there are more marks than the problem wants; as evolver it writes the next more marks, as a skill or as a part. */
function says(messages: Messages): string {
  const all = messages.map((m) => m.content).join('\n')
  const marks = `${marksIn(all)}+`
  if (all.includes('<skill name=')) return `<skill name="marks"><when>marks are wanted</when>Always use marks: ${marks}</skill>`
  if (all.includes('<prompt>')) {
    const part = (name: string): string =>
      all.includes(`name="${name}"`) ? `<part name="${name}">Use marks: ${marks}</part>` : ''
    return `<prompt>${part('instructions') + part('skills') || `Use marks: ${marks}`}</prompt>`
  }
  const wanted = /wants (\d+)$/.exec(all)?.[1]
  return marksIn(all).length >= Number(wanted) ? 'yes' : 'no'
}

const toy = (answer: (messages: Messages) => string = says): Model => ({
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
  readonly context: { readonly instructions: string; readonly skills?: string }
  readonly example: { readonly input: string }
}

function small(more: object = {}): EvolveOptions {
  return {
    name: 'marks',
    context: { instructions: 'Use marks: +', skills: '' },
    data: { train: rows(12, 0), holdout: rows(12, 100), test: rows(60, 200) },
    task: async ({ context, example }: Call) =>
      says([{ content: `${context.instructions}\n${context.skills}\n${example.input}` }]),
    score: (answer: unknown, example: { expected: string }) => Number(answer === example.expected),
    model: toy(),
    rounds: 6,
    draws: 1,
    testDraws: 1,
    choice: 'mean',
    store: memoryStore(),
    id: 'r',
    ...more,
  } as unknown as EvolveOptions // typed by what a user writes, not by what a test leaves out
}

const factsOf = (options: EvolveOptions): Promise<readonly Fact[]> => (options.store as Store).facts('r')
const methods = ['best-of-n', 'voyager', 'robophd'] as const

test.each([
  ['voyager', 'voyager'],
  ['robophd', 'lse'],
])('%s finds a better context, which is shown on test', async (method, evolver) => {
  const options = small({ method })
  const { report, best } = await evolve(options).result
  expect(report.gain.shown).toBe(true)
  expect(marksIn(Object.values(best).join()).length).toBeGreaterThan(3)
  expect(report.names).toMatchObject({ method, evolver: `${evolver} toy:marks` })
})

test('best-of-n gets one step further than the seed, and not two', async () => {
  const { best } = await evolve(small({ method: 'best-of-n', inFlight: 3 })).result
  expect(marksIn(String(best.instructions)).length).toBe(2)
})

const factory = { 'best-of-n': 'best-of-n', voyager: voyager({ attempts: 2 }), robophd: robophd({ refinements: 1 }) }

test.each(methods)('%s, ended after any call of its evolver and resumed, comes to the same facts', async (method) => {
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
  const of = (more: object): EvolveOptions => small({ method: factory[method], rounds: 4, ...more })
  const whole = of(counting())
  await evolve(whole).result
  const calls = asked
  expect(calls).toBeGreaterThan(3)
  for (let stopAt = 1; stopAt < calls; stopAt++) {
    asked = 0
    const options = of(counting(stopAt))
    await expect(evolve(options).result).rejects.toThrow('Ctrl-C')
    await evolve(of({ ...counting(), store: options.store })).result
    expect(JSON.stringify(await factsOf(options))).toBe(JSON.stringify(await factsOf(whole)))
    expect(asked).toBeLessThanOrEqual(calls + 1)
  }
})

const outcomes = async (options: EvolveOptions): Promise<readonly string[]> =>
  (await factsOf(options)).flatMap((f) => (['scored', 'rejected', 'invalid'].includes(f.kind) ? [f.kind] : []))

const echo = (m: Messages): string => m.map((x) => x.content).join('\n')

test.each(
  methods.flatMap((method) => [
    { method, what: 'echoes its prompt', answer: echo },
    { method, what: 'returns nothing', answer: () => '' },
    { method, what: 'forgets the tag', answer: () => 'Use more marks: ++++++' },
  ]),
)(
  '$method: a model that $what for ten rounds makes ten invalid edits, and the run ends with its reason',
  async ({ method, answer }) => {
    const options = small({ method, rounds: 10, evolver: toy(answer) })
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
    'voyager without a library',
    { method: 'voyager', context: { instructions: 'x' } },
    /text part "skills", which the context does not have/,
  ],
  ['voyager with rounds in flight', { method: 'voyager', inFlight: 2 }, /is a chain: .*must be 1, not 2/],
  ['robophd with rounds in flight', { method: 'robophd', inFlight: 2 }, /is a chain: .*must be 1, not 2/],
  ['an empty minibatch', { method: 'voyager', batch: 0 }, /batch/],
  [
    'no training problems',
    { method: 'robophd', data: { train: [], holdout: rows(2, 0), test: rows(2, 5) } },
    /the train split is empty/,
  ],
])('%s is refused before anything is spent', async (_, more, message) => {
  let asked = 0
  const task = (): string => String(asked++)
  await expect(evolve(small({ ...more, task })).result).rejects.toThrow(message)
  expect(asked).toBe(0)
})

test.each(methods)('%s takes edits from a function, too', async (method) => {
  const options = small({
    method,
    evolver: ({ node, memos }: { node: { context: Record<string, string> }; memos?: readonly string[] }) => ({
      kind: 'edit',
      context: { ...node.context, skills: `## marks\nUse ${marksIn(Object.values(node.context).join() + memos?.join())}+` },
      completion: '',
    }),
  })
  await evolve(options).result
  expect((await outcomes(options)).filter((o) => o === 'scored').length).toBeGreaterThan(1)
})

test('an embedding of your own that breaks stops the run with its line', async () => {
  const data = small({
    method: voyager({ embed: async () => [] }),
    context: { instructions: 'Use marks: +', skills: '## a\nDo a.' },
  })
  await expect(evolve(data).result).rejects.toThrow(/embed returned 0 vectors/)
})

test('where the library has a limit, the skill of the task stays and others make room', async () => {
  const skills = { text: '## sums\nWhen: sums are asked\nAdd all of them up, one after the other.', maxTokens: 30 }
  const options = small({ method: 'voyager', context: { instructions: 'Use marks: +', skills } })
  const { best } = await evolve(options).result
  expect(best.skills).toContain('## marks')
  expect(best.skills).not.toContain('## sums')
})
