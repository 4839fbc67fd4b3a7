import { expect, test } from 'vitest'
import { ids, node, score, ToyRun, toyOptions, toyScore } from '../../test/toys.ts'
import type { Context } from '../core/context.ts'
import { ConfigError } from '../core/errors.ts'
import type { Fact, Options } from '../core/facts.ts'
import type { Answer, Command } from '../core/method.ts'
import { type Model, noUsage } from '../core/model.ts'
import type { Observation } from '../core/observation.ts'
import { scoreOf } from '../core/score.ts'
import { decide, play } from '../core/search.ts'
import { apply, type State, start } from '../core/state.ts'
import { type ReflexionOptions, readReflection, reflexion, reflexionEvolver } from './reflexion.ts'

const free = { calls: 0, tokens: 0, usd: 0 }

function observed(context: Context, more: Partial<Observation> = {}, scores: readonly number[] = [0]): Observation {
  const rollouts = scores.map((s, i) => ({
    exampleId: `t${i}`,
    draw: 0,
    score: s,
    feedback: 'it was wrong',
    question: `question ${i}`,
    answer: `answer ${i}`,
    gold: 'the right one',
  }))
  return { node: node(0, 0.5, { context }), seen: { ...score(0), rollouts }, history: [], earlier: [], rules: {}, ...more }
}

/** A model that says one thing after the other. */
function saying(...texts: readonly string[]): { readonly model: Model; readonly prompts: string[] } {
  const prompts: string[] = []
  const model: Model = {
    name: 'saying',
    async sample(messages) {
      prompts.push(messages.map((m) => m.content).join('\n'))
      return [{ text: texts[(prompts.length - 1) % texts.length] ?? '', finish: 'stop', usage: noUsage }]
    },
  }
  return { model, prompts }
}

const reflection = (text: string): string => `Hm. <reflection>${text}</reflection>`
const call = (model: Model, check: (context: Context) => string | undefined = () => undefined) => ({
  model,
  check,
  seed: 1,
  signal: new AbortController().signal,
})

// The memory

test('a reflection joins the memory, and the last three stay, numbered by their place', async () => {
  const had = 'Trial 0: first look at units\nTrial 1: second look at signs\nTrial 2: third look at dates'
  const { model } = saying(reflection('fourth look\n at names'))
  const edit = await reflexionEvolver().propose(observed({ instructions: 'Answer.', memory: had }), call(model))
  expect(edit).toMatchObject({
    kind: 'edit',
    context: {
      instructions: 'Answer.',
      memory: 'Trial 0: second look at signs\nTrial 1: third look at dates\nTrial 2: fourth look at names',
    },
  })
})

test('each failure brings one reflection, a right answer none, and no more are asked for than the memory holds', async () => {
  const { model, prompts } = saying(reflection('look at the units'))
  const edit = await reflexionEvolver().propose(observed({ memory: '' }, {}, [0, 1, 0]), call(model))
  expect(prompts).toHaveLength(2)
  expect(prompts.join()).not.toContain('question 1')
  expect(edit).toMatchObject({ context: { memory: 'Trial 0: look at the units\nTrial 1: look at the units' } })
  const many = saying(reflection('look at the units'))
  await reflexionEvolver({ window: 2 }).propose(observed({ memory: '' }, {}, [0, 0, 0, 0]), call(many.model))
  expect(many.prompts).toHaveLength(2)
})

test('the model sees the trial and its reflections so far, but not the right answer', async () => {
  const { model, prompts } = saying(reflection('look at the units'))
  const context = { instructions: 'Answer.', memory: 'Trial 0: look at the signs' }
  await reflexionEvolver().propose(observed(context, { hint: 'mind the gap' }), call(model))
  for (const text of ['question 0', 'answer 0', 'it was wrong', 'look at the signs', 'Answer.', 'mind the gap']) {
    expect(prompts[0]).toContain(text)
  }
  expect(prompts[0]).not.toContain('the right one')
})

test('the oldest go first where the part has a limit', async () => {
  const { model } = saying(reflection('look at the names'))
  const check = ({ memory }: Context): string | undefined => (String(memory).split('\n').length > 1 ? 'too long' : undefined)
  const edit = await reflexionEvolver().propose(observed({ memory: 'look at the units' }), call(model, check))
  expect(edit).toMatchObject({ context: { memory: 'Trial 0: look at the names' } })
  const never = await reflexionEvolver().propose(
    observed({ memory: '' }),
    call(model, () => 'too long'),
  )
  expect(never).toMatchObject({ kind: 'invalid', reason: 'too long' })
})

test.each([
  ['nothing', () => ''],
  ['no tag', () => 'look at the units next time'],
  ['an echo', (prompt: string) => prompt],
])('a model that says %s is asked three times, then the edit is invalid', async (_, says) => {
  const prompts: string[] = []
  const model: Model = {
    name: 'bad',
    async sample(messages) {
      prompts.push(messages[0]?.content ?? '')
      return [{ text: says(messages.map((m) => m.content).join('\n')), finish: 'stop', usage: noUsage }]
    },
  }
  const edit = await reflexionEvolver().propose(observed({ memory: '' }), call(model))
  expect(edit).toMatchObject({ kind: 'invalid', reason: expect.stringContaining('there is no <reflection>') })
  expect(prompts).toHaveLength(3)
})

test('of several reflections the last counts, as one line', () => {
  expect(readReflection(`${reflection('a first thought')} no: ${reflection('a second\n\n  thought')}`)).toBe('a second thought')
  expect(readReflection('</reflection> look at the units <reflection>')).toBeUndefined()
})

// What is refused

test.each([
  [{ instructions: 'Answer.' }, {}, /"memory", which the context does not have \(have: instructions\); begin with memory: ''/],
  [{ memory: [] }, {}, /has as examples/],
  [{ memory: '' }, { memory: { frozen: true } }, /has frozen/],
])('a context without a memory is refused: %j', (context, rules, message) => {
  const refused = (): void => reflexion().check?.(toyOptions({ context, rules }))
  expect(refused).toThrow(ConfigError)
  expect(refused).toThrow(message)
})

test('a context with a memory is taken, and a window or trials of none are refused', () => {
  reflexion().check?.(toyOptions({ context: { memory: '' } }))
  reflexion({ part: 'notes' }).check?.(toyOptions({ context: { notes: '' } }))
  expect(() => reflexion({ window: 0 })).toThrow('window is 0')
  expect(() => reflexion({ trials: Number.NaN })).toThrow('trials is NaN')
})

// Trials

const memory = { memory: '' }

/** Runs the search by hand: `isRight` says which problem is solved at which try; an edit writes the ids it failed on into the memory. */
function searched(o: Options, isRight: (id: string, nth: number) => boolean, options: ReflexionOptions = {}): Searched {
  const method = reflexion(options)
  const s: State = start(o)
  const facts: Fact[] = []
  const tries = new Map<string, number>()
  const commands: Command[] = []
  const answer = (command: Command): Answer => {
    commands.push(command)
    if (command.kind === 'propose') {
      const wrong = command.observation.seen.rollouts.filter((r) => r.score < 1).map((r) => r.exampleId)
      return { kind: 'edit', context: { memory: `${wrong} ${commands.length}` }, completion: '', cost: free }
    }
    if (command.kind === 'overlap') return { kind: 'overlap', share: 0, copied: [], cost: free }
    const rollouts = command.ids.map((exampleId) => {
      const nth = (tries.get(exampleId) ?? 0) + 1
      if (command.role === 'batch') tries.set(exampleId, nth)
      const value = command.role === 'batch' ? Number(isRight(exampleId, nth)) : 0.5
      return { exampleId, draw: 0, score: value, feedback: '', question: '', answer: '' }
    })
    return { kind: 'score', score: scoreOf(rollouts, 1), rollouts: command.role === 'batch' ? rollouts : [], cost: free }
  }
  for (let fact = next(); fact; fact = next()) {
    keep(fact)
    if (fact.kind !== 'planned') continue
    const round = play(s, method, o, fact.plan)
    let turn = round.next()
    while (!turn.done) turn = round.next(turn.value.map(answer))
    for (const f of turn.value) keep(f)
  }
  return { facts, commands, tries }

  function next(): Fact | undefined {
    return decide(s, method, o, { lost: free, expired: false })
  }
  function keep(fact: Fact): void {
    apply(s, fact)
    facts.push(fact)
  }
}

interface Searched {
  readonly facts: readonly Fact[]
  readonly commands: readonly Command[]
  readonly tries: ReadonlyMap<string, number>
}

const batches = (facts: readonly Fact[]): readonly (readonly string[])[] =>
  facts.flatMap((f) => (f.kind === 'planned' && f.plan.kind === 'edit' ? [f.plan.batch] : []))

const six = (more: Partial<Options> = {}): Options =>
  toyOptions({ context: memory, splits: { ...toyOptions().splits, train: ids('t', 6) }, batch: 2, rounds: 100, ...more })

test('a trial passes over all that is not solved before any is tried again; what is solved never is', () => {
  const solvedAt = (id: string): number => Number(id.slice(1)) % 3 // t0, t3: never wrong; t1, t4: solved at once; t2, t5: at the second try
  const { facts, tries } = searched(six(), (id, nth) => nth >= solvedAt(id))
  const order = batches(facts).flat()
  expect(new Set(order.slice(0, 6)).size).toBe(6)
  expect(Object.fromEntries([...tries].sort())).toEqual({ t0: 1, t1: 1, t2: 2, t3: 1, t4: 1, t5: 2 })
  expect(order).toHaveLength(8)
  expect(facts.find((f) => f.kind === 'stopped')).toMatchObject({
    why: 'done',
    detail: 'all 6 training problems are solved',
  })
})

test('a problem that is never solved gets as many trials as it may have, then the run ends with its reason', () => {
  const { facts, tries } = searched(six(), (id) => id !== 't4', { trials: 3 })
  expect(Object.fromEntries(tries)).toMatchObject({ t4: 3, t0: 1 })
  expect(facts.find((f) => f.kind === 'stopped')).toMatchObject({
    why: 'done',
    detail: expect.stringMatching(/^5 of 6 training problems are solved, the others were tried 3 times$/),
  })
  expect(facts.at(-2)?.kind).toBe('reported')
})

test('a round in which all is right brings no edit and costs no score', () => {
  const { facts, commands } = searched(six(), () => true)
  expect(facts.filter((f) => f.kind === 'scored')).toHaveLength(1)
  expect(commands.filter((c) => c.kind === 'propose')).toHaveLength(0)
  expect(commands.filter((c) => c.kind === 'evaluate' && c.role === 'holdout')).toHaveLength(1)
})

test('problems whose reflections are in the memory never score', () => {
  const { commands } = searched(six(), () => false, { trials: 2 })
  const scoring = commands.flatMap((c) => (c.kind === 'evaluate' && c.role !== 'batch' ? [c] : []))
  expect(scoring.length).toBeGreaterThan(4)
  for (const { context, ids: scored } of scoring) {
    const inMemory: readonly string[] = String(context.memory).match(/t\d+/g) ?? []
    expect(scored.filter((id) => inMemory.includes(id))).toEqual([])
  }
  expect(scoring.some((c) => /t\d/.test(String(c.context.memory)))).toBe(true)
})

test('a batch may be larger than what is left to try', () => {
  const { facts } = searched(six({ batch: 50 }), (_, nth) => nth > 1)
  expect(batches(facts).map((b) => b.length)).toEqual([6, 6])
})

test('each round goes on from the memory before, better or not', async () => {
  const run = new ToyRun(toyOptions({ rounds: 10 }))
  await run.live(reflexion())
  const froms = run.facts.flatMap((f) => (f.kind === 'planned' && f.plan.kind === 'edit' ? [f.plan.from[0]] : []))
  let nodes = 0
  const newest: number[] = []
  for (const f of run.facts) {
    if (f.kind === 'planned' && f.plan.kind === 'edit') newest.push(nodes - 1)
    if (f.kind === 'scored') nodes++
  }
  expect(froms).toEqual(newest)
  expect(nodes).toBeGreaterThan(3)
})

test('killed at any moment and resumed, the log is the same and nothing is paid twice', async () => {
  const options = toyOptions({ rounds: 5 })
  const whole = new ToyRun(options)
  await whole.live(reflexion())
  expect(whole.actions).toBeGreaterThan(40)
  for (let dieAt = 1; dieAt <= whole.actions; dieAt++) {
    const run = new ToyRun(options)
    await run.live(reflexion(), { dieAt })
    await run.live(reflexion(), { timing: dieAt })
    expect(run.bytes).toBe(whole.bytes)
    expect([...run.paid.values()].every((n) => n === 1)).toBe(true)
  }
})

test('problems that the seed solves are tried at most once in a toy run too', async () => {
  const options = toyOptions({ rounds: 30 })
  const run = new ToyRun(options)
  await run.live(reflexion())
  const tried = batches(run.facts).flat()
  const easy = options.splits.train.filter((id) => toyScore(id, { share: '0.05' }) === 1) // right under any context of the toy
  for (const id of easy) expect(tried.filter((t) => t === id).length).toBeLessThanOrEqual(1)
  expect(easy.length).toBeGreaterThan(0)
})
