import { describe, expect, test } from 'vitest'
import { ModelError } from './core/errors.ts'
import type { Options } from './core/facts.ts'
import type { Model } from './core/model.ts'
import { evolve } from './evolve.ts'
import { gepa } from './methods/gepa.ts'
import type { PartInput, TaskOptions } from './options.ts'
import { prepare } from './prepare.ts'
import { memoryStore } from './stores/memory.ts'
import { commandTask } from './tasks/command.ts'
import { qaTask } from './tasks/qa.ts'
import { transfer } from './transfer.ts'

const rows = Array.from({ length: 12 }, (_, i) => ({ id: `q${i}`, input: `question ${i}`, expected: 'yes' }))
const silent: Model = {
  name: 'toy:silent',
  sample: async () => [{ text: 'no', finish: 'stop', usage: { input: 1, cached: 0, output: 1, reasoning: 0 } }],
}
const keep = { store: 'memory', model: silent, rounds: 1 } as const
const edits = { evolver: () => ({ kind: 'invalid', reason: 'none', completion: '' }) as const }

function shell(cost?: { usd: number }): ReturnType<typeof commandTask> {
  const environment = { PATH: '/usr/bin:/bin' }
  return commandTask({ evolve: { text: 'echo 1' }, command: 'echo 0.5', data: rows, environment, ...(cost && { cost }) })
}

test('a dollar budget is refused for a task that may spend by itself and does not say how much', async () => {
  const run = evolve({ ...keep, ...edits, task: shell(), prices: { 'toy:silent': { input: 0, output: 0 } }, budget: { usd: 1 } })
  await expect(run.result).rejects.toThrow('task "command" may spend money by itself')
})

test('what a task spends by itself counts against the budget', async () => {
  const task = shell({ usd: 0.01 })
  const run = evolve({ ...keep, ...edits, task, prices: { 'toy:silent': { input: 0, output: 0 } }, budget: { usd: 20 } })
  const { report } = await run.result
  expect(report.spent.act.usd).toBeCloseTo(report.spent.rollouts * 0.01)
  expect(report.measured.spent.usd).toBeCloseTo(report.spent.act.usd)
})

test('a dollar budget is refused where a price is not known, with the remedy', async () => {
  const run = evolve({ ...keep, ...edits, task: qaTask({ data: rows, context: 'Answer.' }), budget: { usd: 1 } })
  await expect(run.result).rejects.toThrow(
    "the price of toy:silent is not known, so a budget of $1 can't be kept; give it in `prices`",
  )
})

test('two models of one name stay two', async () => {
  const asked: string[] = []
  const named = (who: string, text: string): Model => ({
    ...silent,
    async sample() {
      asked.push(who)
      return [{ text, finish: 'stop', usage: { input: 1, cached: 0, output: 1, reasoning: 0 } }]
    },
  })
  const task = qaTask({ data: rows, context: 'Answer.' })
  await evolve({ ...keep, task, model: named('answers', 'no'), evolver: named('edits', '<prompt>Answer yes or no.</prompt>') })
    .result
  expect(new Set(asked)).toEqual(new Set(['answers', 'edits']))
})

test('a dollar budget is refused for a model of the transfer table whose price is not known', async () => {
  const task = qaTask({ data: rows, context: 'Answer.' })
  const given = { ...keep, ...edits, task, prices: { 'toy:silent': { input: 0, output: 0 } }, budget: { usd: 1 } }
  const other: Model = { ...silent, name: 'toy:other' }
  await expect(transfer(given, { context: { instructions: 'Say.' }, models: [other] })).rejects.toThrow(
    'the price of toy:other is not known',
  )
})

test('a time that no timer holds is refused, not taken for none', async () => {
  const task = qaTask({ data: rows, context: 'Answer.' })
  await expect(evolve({ ...keep, ...edits, task, budget: { minutes: 40_000 } }).result).rejects.toThrow(
    '"budget.minutes" is 40000',
  )
  await expect(evolve({ ...keep, ...edits, task, timeout: 3_000_000 }).result).rejects.toThrow('"timeout" is 3000000')
})

test('a part that no object can hold is refused, and what is kept is looked for in the text', async () => {
  const task = qaTask({ data: rows, context: 'Answer.' })
  const withContext = (context: Record<string, unknown>): Promise<unknown> =>
    evolve({ ...keep, ...edits, task, context: context as Record<string, string> }).result // as: what a user without types may write
  await expect(withContext(JSON.parse('{ "__proto__": "Be brief." }'))).rejects.toThrow('part "__proto__" of context')
  await expect(withContext({ instructions: { text: 'Answer.', keep: ['{{x}}'] } })).rejects.toThrow('must keep "{{x}}"')
  await expect(
    withContext({ instructions: 'Answer.', shots: { turns: [{ input: 'a', output: 'b' }], keep: ['input: a'] } }),
  ).resolves.toBeDefined()
})

test("what a task made for a run holds is given back, also when the run is refused; a task handed over is its owner's", async () => {
  let given = 0
  const task = { ...(await qaTask({ data: rows, context: 'Answer.' })), [Symbol.asyncDispose]: async () => void given++ }
  const made = { ...keep, ...edits, task: Promise.resolve(task) }
  await expect(evolve({ ...made, budget: { usd: 1 } }).result).rejects.toThrow('the price of toy:silent')
  expect(given).toBe(1)
  await evolve(made).result
  expect(given).toBe(2)
  await evolve({ ...keep, ...edits, task }).result
  expect(given).toBe(2)
})

test('a task that is an object of a class may be given another context', async () => {
  class Own {
    #asked = 0
    name = 'own'
    seed = { rules: 'Old.' }
    given = 0
    examples(split: string): { id: string }[] {
      this.#asked++
      return split === 'ood' ? [] : [{ id: split }]
    }
    async run({ context }: { context: Record<string, unknown> }): Promise<unknown> {
      return context.rules
    }
    score(output: unknown): { score: number } {
      return { score: Number(output === 'New.' && this.#asked > 0) }
    }
    show(): { question: string; answer: string } {
      return { question: '', answer: '' }
    }
    async [Symbol.asyncDispose](): Promise<void> {
      this.given++
    }
  }
  const task = new Own()
  const { report } = await evolve({ ...keep, ...edits, task: Promise.resolve(task), context: { rules: 'New.' } }).result
  expect(report.test.seed.mean).toBe(1)
  expect(task.given).toBe(1)
})

test('an id that two splits of a task share is refused', async () => {
  const whole = await qaTask({ data: rows, context: 'Answer.' })
  const task = { ...whole, examples: () => whole.examples('train') }
  await expect(evolve({ ...keep, ...edits, task }).result).rejects.toThrow(/two examples of task "qa" have the id "q\d+"/)
})

test('a chain refuses more than one round in flight', async () => {
  const run = evolve({ ...keep, ...edits, task: qaTask({ data: rows, context: 'Answer.' }), method: 'chain', inFlight: 2 })
  await expect(run.result).rejects.toThrow('method "chain" is a chain')
})

test('200 holdout problems are halved into steering and confirming, fewer are not', async () => {
  const many = (n: number): Promise<Awaited<ReturnType<typeof evolve>['result']>> => {
    const data = Array.from({ length: n }, (_, i) => ({ id: `q${i}`, input: `question ${i}`, expected: 'yes' }))
    const fractions = { train: 0.1, holdout: 0.8, test: 0.1 }
    return evolve({ ...keep, ...edits, task: qaTask({ data, context: 'Answer.', fractions }) }).result
  }
  expect((await many(250)).report).toMatchObject({
    splits: { holdout: 100, confirm: 100 },
    choice: 'confirm',
    draws: { holdout: 1 },
  })
  expect((await many(150)).report).toMatchObject({ splits: { holdout: 120, confirm: 0 }, choice: 'mean', draws: { holdout: 1 } })
  expect((await many(50)).report).toMatchObject({ splits: { holdout: 40, confirm: 0 }, choice: 'shrink', draws: { holdout: 3 } })
})

test('how much is scored follows the size of the holdout; racing is on but for the paper, and looks as often as calls in flight let it', async () => {
  const of = async (n: number, more: object = {}): Promise<Options> => {
    const data = Array.from({ length: 2 * n }, (_, i) => ({ id: `q${i}`, input: `question ${i}`, expected: 'yes' }))
    const fractions = { train: 0.25, holdout: 0.5, test: 0.25 }
    await using prepared = await prepare({
      ...edits,
      task: qaTask({ data, context: 'Answer.', fractions }),
      model: silent,
      ...more,
    })
    return prepared.options
  }
  const race = { alpha: 0.2, block: 64 }
  const sizes = (o: Options): object => ({ ...o, holdout: o.splits.holdout.length, confirm: o.splits.confirm.length })
  expect(sizes(await of(20))).toMatchObject({ holdout: 20, draws: 5, choice: 'shrink', rounds: 30, racing: race })
  expect((await of(20)).probe).toBeUndefined()
  expect(sizes(await of(50))).toMatchObject({ holdout: 50, draws: 2, probe: 2, choice: 'shrink', rounds: 30 })
  expect(sizes(await of(150))).toMatchObject({ holdout: 150, confirm: 0, draws: 1, probe: 2, choice: 'mean', rounds: 25 })
  const many = await of(300)
  expect(sizes(many)).toMatchObject({ holdout: 100, confirm: 100, draws: 1, choice: 'confirm' })
  expect(new Set([...many.splits.holdout, ...many.splits.confirm]).size).toBe(200)
  expect((await of(300)).splits).toEqual(many.splits)
  expect((await of(300, { seed: 2 })).splits.holdout).not.toEqual(many.splits.holdout)
  expect(sizes(await of(300, { choice: 'mean' }))).toMatchObject({ holdout: 200, confirm: 0 })
  expect((await of(50, { concurrency: 8 })).racing).toEqual({ alpha: 0.2, block: 25 })
  expect((await of(50, { racing: false })).racing).toBeUndefined()
  expect((await of(50, { draws: 3 })).probe).toBeUndefined()
  const paper = await of(60, { protocol: 'paper' })
  expect(sizes(paper)).toMatchObject({ holdout: 50, draws: 8, choice: 'mean', rounds: 25 })
  expect([paper.racing, paper.probe]).toEqual([undefined, undefined])
})

test('a run that is resumed with other calls in flight keeps its blocks; with or without racing is another run', async () => {
  const store = memoryStore()
  const once = (more: object): Promise<unknown> =>
    evolve({ ...keep, ...edits, task: qaTask({ data: rows, context: 'Answer.' }), store, id: 'r', ...more }).result
  await once({ concurrency: 64 })
  await once({ concurrency: 100 })
  await expect(once({ racing: false })).rejects.toThrow('run "r" was started with another racing')
  const [first] = await store.facts('r')
  expect(first).toMatchObject({ options: { racing: { block: 64 } } })
})

test('a base URL reaches no hosted provider, and is refused where it fits no model', async () => {
  const task = qaTask({ data: rows, context: 'Answer.' })
  const env = { ANTHROPIC_API_KEY: 'k' }
  const run = evolve({ ...keep, ...edits, task, model: 'anthropic:some', env, baseUrl: 'http://127.0.0.1:1/v1' })
  await expect(run.result).rejects.toThrow('base URL "http://127.0.0.1:1/v1" fits no model of the run')
})

test('limits of a run can be raised and not lowered, and those it was started with change nothing', async () => {
  const store = memoryStore()
  const once = (budget: object, rounds = 1) =>
    evolve({ ...keep, ...edits, task: qaTask({ data: rows, context: 'Answer.' }), store, id: 'r', budget, rounds }).result
  expect((await once({ calls: 5000 })).report.openings).toBe(1)
  expect((await once({ calls: 9000 })).report.openings).toBe(2)
  const again = await once({ calls: 5000 })
  expect(again.report).toMatchObject({ openings: 2, budget: { calls: 9000 } })
  expect((await once({ calls: 5000 })).report.measured.lives).toBe(again.report.measured.lives)
  await expect(once({ calls: 6000 })).rejects.toThrow('run "r" has 9000 calls, which can be raised but not lowered to 6000')
  expect((await once({ calls: 5000 }, 2)).report.counts.rounds).toBe(2)
})

test('of a large test split only so many problems are looked at as asked, the same for a seed', async () => {
  const task = (): ReturnType<typeof qaTask> => qaTask({ data: rows, context: 'Answer.' })
  const looked = async (seed: number): Promise<string[]> =>
    Object.keys((await evolve({ ...keep, ...edits, task: task(), testSize: 2, seed }).result).report.per.seed).sort()
  expect(await looked(1)).toHaveLength(2)
  expect(await looked(1)).toEqual(await looked(1))
})

test('once a provider has refused for good, calls that still wait are not sent', async () => {
  let sent = 0
  const refusing: Model = {
    name: 'toy:refusing',
    async sample() {
      sent++
      await new Promise((soon) => setImmediate(soon))
      throw new ModelError('no such key', { status: 401, retryable: false })
    },
  }
  const many = Array.from({ length: 90 }, (_, i) => ({ id: `q${i}`, input: `question ${i}`, expected: 'yes' }))
  const run = evolve({ ...keep, ...edits, task: qaTask({ data: many, context: 'Answer.' }), model: refusing, concurrency: 3 })
  await expect(run.result).rejects.toThrow('no such key')
  expect(sent).toBeLessThanOrEqual(6)
})

describe('line edits as the way a model is asked', () => {
  const asked: string[] = []
  const editor: Model = {
    name: 'toy:editor',
    async sample([message]) {
      asked.push(message?.content ?? '')
      return [
        { text: '<prompt>\n+ Say yes.\n</prompt>', finish: 'stop', usage: { input: 1, cached: 0, output: 1, reasoning: 0 } },
      ]
    },
  }
  const given = { ...keep, evolver: editor, writer: 'lines' } as const
  const of = (context: Record<string, PartInput>) => ({ task: qaTask({ data: rows, context: 'Answer.' }), context })

  test('only the lines to change are asked for, and put into the context; the other way is another run', async () => {
    const one = {
      ...given,
      ...of({ head: { text: 'Be kind.', frozen: true }, notes: 'Answer.' }),
      store: memoryStore(),
      id: 'r',
    }
    const run = evolve(one)
    const { report } = await run.result
    expect(asked.at(-1)).toContain('name: drop')
    expect(run.progress()?.state.nodes.at(-1)?.context).toEqual({ head: 'Be kind.', notes: 'Answer.\nSay yes.' })
    expect(report.names.evolver).toBe('line-edits toy:editor')
    await expect(evolve({ ...one, writer: 'rewrite' }).result).rejects.toThrow('started with another evolver')
  })

  test('a method with its own way of asking takes neither a template nor whole rewrites, and its settings are of the run', async () => {
    const plain = { ...keep, evolver: editor, ...of({ notes: 'Answer.' }), store: memoryStore(), id: 'g' }
    const template = 'Mine. {{context}}{{results}}{{format}}'
    await expect(prepare({ ...plain, method: 'gepa', template })).rejects.toThrow("a template of your own can't be used")
    await expect(prepare({ ...plain, method: 'gepa', writer: 'rewrite' })).rejects.toThrow('writer "rewrite" can\'t be used')
    await evolve({ ...plain, method: gepa() }).result
    await expect(evolve({ ...plain, method: gepa({ merge: true }) }).result).rejects.toThrow(
      'started with another method settings',
    )
  })

  test('a template of your own says it too, where its format stands', async () => {
    const template = 'Mine. {{context}}{{results}}{{format}}'
    await evolve({ ...given, ...of({ notes: 'Answer.' }), template }).result
    expect(asked.at(-1)).toMatch(/^Mine\. [\s\S]*name: drop/)
  })

  const turns = [{ input: 'a', output: 'b' }]
  const two = { head: 'Be kind.', notes: 'Answer.' }
  test.each<[string, Partial<TaskOptions>, Record<string, PartInput>, string]>([
    [
      'of several parts',
      {},
      two,
      'it changes one text, and task "qa" has head, notes; freeze all parts but one, or leave writer out',
    ],
    ['of examples', {}, { head: { text: 'x', frozen: true }, shots: turns }, 'part "shots" of task "qa" is a list of examples'],
    ['of a text with regions', {}, { notes: 'a <!-- evolve -->b<!-- /evolve -->' }, 'between <!-- evolve --> marks only'],
    ['by a method with its own way', { method: 'gepa' }, { notes: 'x' }, 'method "gepa" asks for edits in its own way; take lse'],
    ['by a function', edits, { notes: 'x' }, 'the evolver is a function; leave writer out'],
    ['by a misspelt name', { writer: 'line' as 'lines' }, { notes: 'x' }, 'option "writer" is "line"'], // as: without types
  ])('edits %s are refused with the remedy', async (_, more, context, says) => {
    const before = asked.length
    await expect(prepare({ ...given, ...of(context), ...more })).rejects.toThrow(says)
    expect(asked.length).toBe(before)
  })
})
