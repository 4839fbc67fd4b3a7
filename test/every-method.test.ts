// What holds for every method, by the names users give them: contexts of several parts, budgets, going on, rounds in flight.
import { expect, test } from 'vitest'
import type { Edit } from '../src/core/evolver.ts'
import type { Fact } from '../src/core/facts.ts'
import { type Model, noUsage } from '../src/core/model.ts'
import type { Observation } from '../src/core/observation.ts'
import type { Store } from '../src/core/store.ts'
import { evolve } from '../src/evolve.ts'
import { methodNamed, methodNames } from '../src/method-named.ts'
import type { EvolveOptions } from '../src/options.ts'
import { parseSettings } from '../src/settings.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { chatTask } from '../src/tasks/chat.ts'

const examples = (n: number, from: number) =>
  Array.from({ length: n }, (_, i) => ({ id: `q${from + i}`, wants: ['apples', 'bread', 'cheese', 'dates', 'never'][i % 5] }))

/** A model that is right where its context names what is wanted, except for "never", and counts. */
function counting(): { readonly model: Model; readonly calls: () => number } {
  let calls = 0
  const sample: Model['sample'] = async (messages) => {
    calls++
    const said = messages.slice(0, -1).map((m) => m.content)
    const wanted = messages.at(-1)!.content
    const isRight = wanted !== 'never' && said.join('\n').includes(wanted)
    return [{ text: isRight ? 'yes' : 'no', finish: 'stop', usage: noUsage }]
  }
  return { model: { name: 'toy:counting', sample }, calls: () => calls }
}

/** Names what the wrong answers of the batch had missed, in the part that the method asks for. */
function evolver({ node, seen, part = 'instructions', earlier, memos = [] }: Observation): Edit {
  const wrong = new Set(seen.rollouts.filter((r) => r.score < 1).map((r) => r.question))
  const text = `${node.context[part]} ${[...wrong].join(' ')} ${earlier.length}${memos.length}.`
  return { kind: 'edit', context: { ...node.context, [part]: text }, completion: text }
}

function small(method: string, model: Model, more: object = {}): EvolveOptions {
  const [train, holdout, test] = [examples(30, 0), examples(10, 100), examples(12, 200)]
  const task = chatTask({
    name: 'wants',
    context: { instructions: 'Answer.', memory: '', skills: '', rules: 'none' },
    splits: { train, holdout, test },
    prompt: (e) => (e as unknown as { wants: string }).wants, // made above
    grade: (text, e) => ({
      score: Number(text === 'yes'),
      feedback: `${text}, it wants ${(e as unknown as { wants: string }).wants}`,
    }),
    params: { maxTokens: 9 },
  })
  const given = { task, model, method, evolver, rounds: 6, draws: 1, testDraws: 1, choice: 'mean', store: memoryStore(), id: 'r' }
  return { ...given, ...more } as unknown as EvolveOptions // typed by what a user writes, not by what a test leaves out
}

const factsOf = (options: EvolveOptions): Promise<readonly Fact[]> => (options.store as Store).facts('r')

test.each(methodNames)('%s edits contexts of several parts, and leaves all parts there', async (method) => {
  const { model } = counting()
  const options = small(method, model)
  await evolve(options).result
  const made = (await factsOf(options)).flatMap((f) => (f.kind === 'scored' ? [f.context] : []))
  expect(made.length).toBeGreaterThan(1)
  for (const context of made) expect(Object.keys(context)).toEqual(['instructions', 'memory', 'skills', 'rules'])
})

test.each(methodNames)('%s passes no budget of calls, ends with that reason, and goes on when there is more', async (method) => {
  const limit = 75
  const whole = counting()
  const options = small(method, whole.model)
  await evolve(options).result
  expect(whole.calls()).toBeGreaterThan(limit)
  const { model, calls } = counting()
  const short = small(method, model, { budget: { calls: limit } })
  const { report } = await evolve(short).result
  expect(report.stop.why).toBe('budget')
  expect(calls()).toBeLessThanOrEqual(limit)
  expect(report.gain.n).toBe(12) // what the look at test needs was set aside
  const { report: more } = await evolve({ ...short, budget: { calls: 1000 } } as EvolveOptions).result
  expect(more.stop.why).toBe('rounds')
  const edited = (facts: readonly Fact[]): number => facts.filter((f) => f.kind === 'planned' && f.plan.kind === 'edit').length
  expect(edited(await factsOf(short))).toBe(edited(await factsOf(options)))
})

test.each(methodNames)('%s runs with three rounds in flight, or is a chain and refuses them', async (method) => {
  const { sequential = false } = await methodNamed(method, parseSettings({}))
  expect(sequential).toBe(['chain', 'textgrad', 'reflexion', 'voyager', 'robophd'].includes(method))
  const run = evolve(small(method, counting().model, { inFlight: 3 })).result
  if (sequential) await expect(run).rejects.toThrow(/is a chain: each round needs the last, so inFlight must be 1, not 3/)
  else expect((await run).report.inFlight).toBe(3)
})
