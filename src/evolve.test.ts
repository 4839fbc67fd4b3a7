import { expect, test } from 'vitest'
import { ConfigError, StoreError } from './core/errors.ts'
import type { Edit, ProposeCall } from './core/evolver.ts'
import type { Fact } from './core/facts.ts'
import { type Model, noUsage } from './core/model.ts'
import type { Observation } from './core/observation.ts'
import type { Store } from './core/store.ts'
import { evolve, type RunEvent } from './evolve.ts'
import type { EvolveOptions } from './options.ts'
import { memoryStore } from './stores/memory.ts'

/** Answers right if the context has more marks than the problem wants; writes contexts with one mark more. */
const marks: Model = {
  name: 'toy:marks',
  sample: async (prompt) => {
    const all = prompt.map((m) => m.content).join('\n')
    const longest = (all.match(/\++/g) ?? []).reduce((a, b) => (b.length > a.length ? b : a), '')
    const wanted = Number(/wants (\d+)/.exec(prompt.at(-1)?.content ?? '')?.[1])
    const edit = `<prompt>Use marks: ${longest}+</prompt>`
    const text = all.includes('<prompt>') ? edit : longest.length >= wanted ? 'yes' : 'no'
    return [{ text, finish: 'stop', usage: noUsage }]
  },
}

const rows = (n: number, from = 0) =>
  Array.from({ length: n }, (_, i) => ({
    id: `q${from + i}`,
    input: `problem ${from + i} wants ${(from + i) % 5}`,
    expected: 'yes',
  }))

type Asked = { context: { instructions: string }; example: { input: string }; model: { doGenerate: unknown } }

/** The smallest run: a function of our own, three splits, a store in memory. */
function small(more: Partial<EvolveOptions> = {}): EvolveOptions {
  return {
    name: 'marks',
    context: { instructions: 'Use marks: +' },
    data: { train: rows(20), holdout: rows(15, 100), test: rows(40, 200) },
    // A core model answers inside the task too, so that no provider is needed.
    task: async ({ context, example }: Asked) =>
      (await marks.sample([{ role: 'user', content: `${context.instructions}\n${example.input}` }], { maxTokens: 8 }))[0]?.text,
    score: (answer: unknown, example: { expected: string }) => Number(answer === example.expected),
    model: marks,
    rounds: 5,
    batch: 3,
    draws: 1,
    testDraws: 1,
    choice: 'mean',
    store: memoryStore(),
    id: 'r',
    ...more,
  } as unknown as EvolveOptions // typed by what a user writes, not by what a test leaves out
}

async function all(events: AsyncIterable<RunEvent>): Promise<readonly RunEvent[]> {
  const found: RunEvent[] = []
  for await (const event of events) found.push(event)
  return found
}

const factsOf = (options: EvolveOptions): Promise<readonly Fact[]> => (options.store as Store).facts('r')

test('a context that helps is found, shown on test and returned', async () => {
  const run = evolve(small())
  const events = await all(run.events)
  const { best, report } = await run.result
  expect(run.id).toBe('r')
  expect(report.stop.why).toMatch(/rounds|perfect/)
  expect(report.gain.shown).toBe(true)
  expect(report.gain.n).toBe(40)
  expect(best).toEqual(report.chosenContext)
  expect(best.instructions).toMatch(/\+{3,}/)
  expect(events.map((e) => e.kind)).toContain('reported')
  expect(events.every((e) => e.line.length > 0)).toBe(true)
})

test.each([
  ['no answer right', () => 0, /^every answer to the seed context scored 0/],
  ['every answer right', () => 1, /^every answer to the seed context is right/],
  ['some right', undefined, undefined],
])('a seed context with %s is told of once', async (_, score, line) => {
  const events = await all(evolve(small({ rounds: 1, ...(score && { score }) })).events)
  const warnings = events.filter((e) => e.kind === 'warning').map((e) => e.line)
  expect(warnings).toEqual(line ? [expect.stringMatching(line)] : [])
})

test('events may be read by several, also after the end', async () => {
  const run = evolve(small({ rounds: 1 }))
  await run.result
  const read = async (): Promise<number> => (await all(run.events)).length
  expect(await read()).toBe(await read())
  expect(await read()).toBeGreaterThan(3)
})

test('an evolver that is a function needs no model, and its edits keep the rules', async () => {
  const tried: string[] = ['Use marks: ++', 'too long, far too long for the cap']
  const options = small({
    context: { instructions: { text: 'Use marks: +', maxTokens: 8 } },
    evolver: () => ({ kind: 'edit', context: { instructions: tried.shift() ?? 'Use marks: +++++' }, completion: '' }),
    rounds: 2,
  })
  await evolve(options).result
  const facts = await factsOf(options)
  expect(facts.find((f) => f.kind === 'invalid')).toMatchObject({ reason: expect.stringContaining('at most 8 are allowed') })
  expect(facts.filter((f) => f.kind === 'scored')).toHaveLength(2)
})

test('a run of the same id is resumed: finished, it does nothing and says the same', async () => {
  const options = small()
  const first = await evolve(options).result
  const before = JSON.stringify(await factsOf(options))
  const again = await evolve(options).result
  expect(JSON.stringify(await factsOf(options))).toBe(before)
  expect({ ...again.report, measured: 0 }).toEqual({ ...first.report, measured: 0 })
})

test('a run that was aborted goes on where it was, to the same facts', async () => {
  const stop = new AbortController()
  let asked = 0
  const more = ({ node }: Observation, call: ProposeCall): Edit => {
    if (++asked === 3) stop.abort(new Error('Ctrl-C'))
    call.signal.throwIfAborted()
    return { kind: 'edit', context: { instructions: `${node.context.instructions}+` }, completion: '' }
  }
  const options = small({ signal: stop.signal, evolver: more })
  await expect(evolve(options).result).rejects.toThrow('Ctrl-C')
  const half = (await factsOf(options)).length
  const rest = { evolver: more, store: options.store ?? '' }
  await evolve(small(rest)).result
  const whole = small({ evolver: more })
  await evolve(whole).result
  const facts = await factsOf(options)
  expect(facts.length).toBeGreaterThan(half)
  expect(JSON.stringify(facts)).toBe(JSON.stringify(await factsOf(whole)))
})

test('more rounds go on with a finished run; a limit left out stays and reopens nothing', async () => {
  const options = small({ rounds: 2, budget: { calls: 5000 } })
  await evolve(options).result
  const before = (await factsOf(options)).length
  const { budget: _, ...without } = options
  await evolve(without as EvolveOptions).result
  expect(await factsOf(options)).toHaveLength(before)
  const { report } = await evolve({ ...options, rounds: 3 }).result
  expect(report.openings).toBe(2)
  expect((await factsOf(options)).filter((f) => f.kind === 'steered')).toEqual([{ kind: 'steered', wish: 'extend', rounds: 3 }])
})

test.each([
  ['seed', { seed: 4 }],
  ['inFlight', { inFlight: 2 }],
  ['train', { data: { train: rows(10), holdout: rows(15, 100), test: rows(40, 200) } }],
  ['context', { context: { instructions: 'Another' } }],
])('a run is not resumed with another %s', async (name, change) => {
  const options = small({ rounds: 1 })
  await evolve(options).result
  const refused = evolve({ ...options, ...change } as EvolveOptions).result
  await expect(refused).rejects.toThrow(ConfigError)
  await expect(refused).rejects.toThrow(new RegExp(`run "r" was started with another (${name}|splits)`))
})

test('a second writer of the same run is refused while the first lives', async () => {
  const options = small()
  const first = evolve(options)
  const second = evolve(options).result
  await expect(second).rejects.toThrow(StoreError)
  await first.result
})

test('stop ends the search after what is in flight, and test is still looked at', async () => {
  let edits = 0
  const worse = (): Edit => ({ kind: 'edit', context: { instructions: `no marks ${edits++}` }, completion: '' })
  const run = evolve(small({ rounds: 50, evolver: worse }))
  for await (const event of run.events) if (event.line.startsWith('round 2')) run.stop()
  const { report } = await run.result
  expect(report.stop.why).toBe('asked')
  expect(report.counts.rounds).toBeLessThan(50)
  expect(report.gain.n).toBe(40)
})

test('a wish for a run is a fact of it; one that can’t be followed says why', async () => {
  const options = small({ rounds: 3 })
  const run = evolve(options)
  run.steer({ wish: 'branch', node: 0, hint: 'longer' })
  run.steer({ wish: 'prune', node: 9 })
  const lines = (await all(run.events)).map((e) => e.line)
  expect(lines).toContain('not done: branch from node 0, hint: longer: there is no node 0 (have: 0)')
  expect(lines).toContain('not done: prune node 9: there is no node 9 (have: 0)')
})

test('no model, an unknown option and an empty split are refused in one line each', async () => {
  const refused = (more: object): Promise<unknown> => evolve(small(more)).result
  await expect(refused({ model: undefined })).rejects.toThrow('no model is given')
  await expect(refused({ roundz: 3 })).rejects.toThrow('unknown option "roundz"')
  await expect(refused({ data: { train: [], holdout: rows(2), test: rows(2, 5) } })).rejects.toThrow('train split is empty')
})
