import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { calls, node, score } from '../../test/toys.ts'
import { memoryStore } from '../stores/memory.ts'
import { addCost, type Cost, noCost } from './budget.ts'
import type { Context } from './context.ts'
import { BadAnswer, BudgetError, ConfigError, ModelError, StoreError } from './errors.ts'
import { type Perform, performer, type World } from './evaluate.ts'
import type { Edit, Evolver } from './evolver.ts'
import type { Meter } from './meter.ts'
import type { Answer, Command, Role } from './method.ts'
import { type Model, noUsage } from './model.ts'
import type { Observation } from './observation.ts'
import type { Entry } from './store.ts'
import type { Example, Task } from './task.ts'

const toyModel: Model = {
  name: 'toy',
  sample: async (prompt) => [{ text: prompt.at(-1)?.content ?? '', finish: 'stop', usage: noUsage }],
}

/** A meter that only counts; a call that throws is rethrown when the scope closes, as the real one does. */
function toyMeter(model: Model = toyModel): Meter<Model> & { readonly opened: string[] } {
  const opened: string[] = []
  return {
    opened,
    open(_, key) {
      opened.push(key)
      let spent: Cost = noCost
      let broken: unknown
      const sample: Model['sample'] = async (...ask) => {
        spent = calls(spent.calls + 1)
        try {
          return await model.sample(...ask)
        } catch (error) {
          broken = error
          throw error
        }
      }
      const close = (): void => {
        if (broken) throw broken
      }
      const charge = async (cost: Cost): Promise<void> => {
        spent = addCost(spent, cost)
      }
      return { model: { name: model.name, sample }, charge, cost: () => spent, close }
    },
  }
}

const examples: Record<string, Example[]> = {
  train: ['t0', 't1'].map((id) => ({ id, text: id })),
  holdout: ['h0', 'h1', 'h2'].map((id) => ({ id, text: `the long text of holdout problem number ${id}` })),
  test: ['x0', 'x1'].map((id) => ({ id, text: id })),
}

const echo: Task<Example, string, Model> = {
  name: 'echo',
  seed: { p: 'seed' },
  examples: (split) => examples[split] ?? [],
  run: async ({ example, model, signal }) => {
    const [completion] = await model.sample([{ role: 'user', content: example.id }], { maxTokens: 1 }, signal)
    return completion?.text ?? ''
  },
  score: (output, example) => ({ score: Number(output === example.id), feedback: `said ${output}` }),
  show: (example, output) => ({ question: `q ${example.id}`, answer: output ?? '(none)' }),
}

interface Toy {
  readonly perform: Perform
  readonly entries: () => Promise<readonly Entry[]>
  readonly act: ReturnType<typeof toyMeter>
}

type Changes = Partial<Omit<World<Example, string, Model>, 'act'>> & { readonly act?: ReturnType<typeof toyMeter> }

function toy(more: Changes = {}): Toy {
  const journal = memoryStore().journal('r')
  const act = more.act ?? toyMeter()
  const evolver: Evolver = { name: 'toy', propose: async () => ({ kind: 'edit', context: { p: 'next' }, completion: '' }) }
  const perform = performer<Example, string, Model>({
    task: echo,
    evolver,
    act,
    judge: toyMeter(),
    evolve: toyMeter(),
    journal,
    tokenizer: { name: 'length', count: (text) => text.length },
    rules: {},
    seed: 1,
    copies: 'ignore',
    hash: (text) => createHash('sha256').update(text).digest('hex'),
    ...more,
  })
  return { perform, act, entries: () => journal.read(1) }
}

const at = (recorded: readonly Entry[] = [], signal = new AbortController().signal) => ({
  round: 1,
  key: '1.0.0',
  recorded,
  signal,
})

const evaluate = (
  ids: readonly string[],
  more: { role?: Role; draws?: readonly [number, number]; context?: Context } = {},
): Command => ({
  kind: 'evaluate',
  role: more.role ?? 'holdout',
  context: more.context ?? { p: 'seed' },
  ids,
  draws: more.draws ?? [0, 1],
})

/** A task that does this for one of its examples. */
const with1 = (run: () => unknown, id = 'h1'): Task<Example, string, Model> => ({
  ...echo,
  score: (output, example) =>
    example.id === id ? (run() as { score: number }) : echo.score(output, example, undefined as never),
})

test('a rollout costs what its calls cost, and is kept with a question and an outcome', async () => {
  const { perform, entries } = toy()
  const answer = await perform(evaluate(['h0', 'h1']), at())
  expect(answer).toMatchObject({
    kind: 'score',
    score: { per: { h0: 1, h1: 1 }, mean: 1, full: true },
    cost: calls(2),
    rollouts: [],
  })
  const kept = await entries()
  expect(kept.map((e) => e.key)).toEqual(['1.0.0/h0#0', '1.0.0/h1#0'])
  expect(kept.every((e) => e.outcome !== undefined && e.cost?.calls === 0)).toBe(true)
})

test('only a batch brings its rollouts, with what the task shows of them', async () => {
  const { perform } = toy()
  const answer = (await perform(evaluate(['t1'], { role: 'batch' }), at())) as Answer & { kind: 'score' }
  expect(answer.rollouts).toEqual([{ exampleId: 't1', draw: 0, score: 1, feedback: 'said t1', question: 'q t1', answer: 't1' }])
})

test('each draw is a rollout of its own, with a seed that no context changes', async () => {
  const seeds: string[] = []
  const task = {
    ...echo,
    run: async ({ context, seed, draw }: Parameters<typeof echo.run>[0]) => {
      seeds.push(`${JSON.stringify(context)} ${draw} ${seed}`)
      return ''
    },
  }
  const { perform } = toy({ task })
  const answer = (await perform(evaluate(['h0'], { draws: [2, 4] }), at())) as Answer & { kind: 'score' }
  expect(answer.score.draws).toBe(2)
  await perform(evaluate(['h0'], { draws: [2, 4], context: { p: 'other' } }), at())
  const [a, b, c, d] = seeds.map((s) => s.split(' ').slice(1).join(' '))
  expect([a, b]).toEqual([c, d])
  expect(a).not.toBe(b)
})

test.each([
  [Number.NaN, 'NaN'],
  [1.01, '1.01'],
  [-0.5, '-0.5'],
  [Number.POSITIVE_INFINITY, 'Infinity'],
  ['1', '"1"'],
  [undefined, 'undefined'],
  [null, 'null'],
  [true, 'true'],
])('a score of %s is refused with the example and the remedy', async (bad, shown) => {
  const { perform, entries } = toy({ task: with1(() => ({ score: bad })) })
  const refused = perform(evaluate(['h0', 'h1']), at())
  await expect(refused).rejects.toThrow(`the score of example "h1" is ${shown}: return { score } with a number from 0 to 1`)
  await expect(refused).rejects.toThrow(ConfigError)
  expect((await entries()).map((e) => e.key)).not.toContain('1.0.0/h1#0')
})

test('a score function that returns nothing is refused the same way', async () => {
  const { perform } = toy({ task: with1(() => undefined) })
  await expect(perform(evaluate(['h1']), at())).rejects.toThrow('the score of example "h1" is undefined')
})

test('a task that throws stops the run with the example and the way to score 0 instead', async () => {
  const fault = new RangeError('no such column')
  const { perform } = toy({
    task: with1(() => {
      throw fault
    }),
  })
  const error = await perform(evaluate(['h1']), at()).catch((e: unknown) => e)
  expect(error).toBeInstanceOf(ConfigError)
  expect(error).toMatchObject({
    message: 'the task threw on example "h1": no such column (throw BadAnswer to score an answer 0 instead)',
    cause: fault,
  })
})

test('a bad answer is data: it scores 0 with its feedback, and the rest goes on', async () => {
  const { perform } = toy({
    task: with1(() => {
      throw new BadAnswer('no number in it')
    }, 't1'),
  })
  const answer = (await perform(evaluate(['t0', 't1'], { role: 'batch' }), at())) as Answer & { kind: 'score' }
  expect(answer.score.per).toEqual({ t0: 1, t1: 0 })
  expect(answer.rollouts[1]).toMatchObject({ score: 0, feedback: 'no number in it', answer: 't1' })
})

test('a bad answer inside another error is still a bad answer', async () => {
  const { perform } = toy({
    task: with1(() => {
      throw new Error('wrapped', { cause: new BadAnswer('inner') })
    }, 't1'),
  })
  const answer = (await perform(evaluate(['t1'], { role: 'batch' }), at())) as Answer & { kind: 'score' }
  expect(answer.rollouts[0]).toMatchObject({ score: 0, feedback: 'inner' })
})

test('a broken provider stops the run, also when the task swallows the error', async () => {
  const broken: Model = { name: 'toy', sample: () => Promise.reject(new ModelError('down', { retryable: false })) }
  const task = { ...echo, run: (call: Parameters<typeof echo.run>[0]) => echo.run(call).catch(() => 'h0') }
  const { perform, entries } = toy({ task, act: toyMeter(broken) })
  await expect(perform(evaluate(['h0']), at())).rejects.toThrow(ModelError)
  expect(await entries()).toEqual([])
})

test('an error of the provider is found inside what a library wrapped it in', async () => {
  const wrap = new Error('retries failed')
  Object.assign(wrap, { lastError: new ModelError('down', { retryable: true }) })
  const { perform } = toy({
    task: with1(() => {
      throw wrap
    }),
  })
  await expect(perform(evaluate(['h1']), at())).rejects.toThrow('down')
})

test('what is recorded is not run again, and gives the same answer and cost', async () => {
  const first = toy()
  const answer = await first.perform(evaluate(['h0', 'h1'], { draws: [0, 2] }), at())
  const second = toy()
  expect(await second.perform(evaluate(['h0', 'h1'], { draws: [0, 2] }), at(await first.entries()))).toEqual(answer)
  expect(second.act.opened).toEqual([])
  const half = toy()
  expect(await half.perform(evaluate(['h0', 'h1'], { draws: [0, 2] }), at((await first.entries()).slice(1)))).toEqual(answer)
  expect(half.act.opened).toEqual(['1.0.0/h0#0'])
})

test.each([
  ['context', evaluate(['h0'], { context: { p: 'another' } }), {}],
  ['example', evaluate(['h0']), { task: { ...echo, examples: () => [{ id: 'h0', text: 'changed' }] } }],
  ['task', evaluate(['h0']), { task: { ...echo, name: 'another' } }],
] as const)('a recorded outcome of another %s is an error, not a miss', async (_, command, world) => {
  const first = toy()
  await first.perform(evaluate(['h0']), at())
  const refused = toy(world).perform(command, at(await first.entries()))
  await expect(refused).rejects.toThrow('journal and program part ways at 1.0.0/h0#0')
  await expect(refused).rejects.toThrow(StoreError)
})

test('a recorded edit of another observation is an error too', async () => {
  const first = toy()
  await first.perform({ kind: 'propose', observation: observed() }, at())
  const changed = { ...observed(), hint: 'shorter' }
  await expect(toy().perform({ kind: 'propose', observation: changed }, at(await first.entries()))).rejects.toThrow(StoreError)
  const same = toy({ evolver: { name: 'toy', propose: () => Promise.reject(new Error('asked again')) } })
  expect(await same.perform({ kind: 'propose', observation: observed() }, at(await first.entries()))).toMatchObject({
    kind: 'edit',
  })
})

test('an unknown example is named', async () => {
  await expect(toy().perform(evaluate(['nobody']), at())).rejects.toThrow('example "nobody" is in no split of task "echo"')
})

/** A model whose second call the budget refuses, while the third is in flight. */
function shortOfBudget(): { readonly model: Model; readonly ended: string[] } {
  const ended: string[] = []
  let asked = 0
  const sample: Model['sample'] = async (prompt, _, signal) => {
    const n = asked++
    if (n === 1) throw new BudgetError("the budget can't cover the next call")
    await new Promise((resolve) => setImmediate(resolve))
    signal?.throwIfAborted()
    ended.push(prompt[0]?.content ?? '')
    return [{ text: prompt[0]?.content ?? '', finish: 'stop', usage: noUsage }]
  }
  return { model: { name: 'toy', sample }, ended }
}

test('when the budget ends, calls in flight end and are kept, and the search stops', async () => {
  const { model, ended } = shortOfBudget()
  const { perform, entries } = toy({ act: toyMeter(model) })
  await expect(perform(evaluate(['h0', 'h1', 'h2']), at())).rejects.toThrow(BudgetError)
  expect(ended).toEqual(['h0', 'h2'])
  expect((await entries()).map((e) => e.key)).toEqual(['1.0.0/h0#0', '1.0.0/h2#0'])
})

test.each(['test', 'ood', 'confirm'] as const)('when the budget ends in %s, the score is of what was answered', async (role) => {
  const { perform } = toy({ act: toyMeter(shortOfBudget().model) })
  const answer = await perform(evaluate(['h0', 'h1', 'h2'], { role }), at())
  expect(answer).toMatchObject({ score: { per: { h0: 1, h2: 1 }, full: false } })
})

test('an example counts only with all of its draws', async () => {
  const { perform } = toy({ act: toyMeter(shortOfBudget().model) })
  const answer = (await perform(evaluate(['h0', 'h1'], { role: 'test', draws: [0, 2] }), at())) as Answer & { kind: 'score' }
  expect(answer.score.per).toEqual({ h1: 1 })
})

test('an error ends the other rollouts at once', async () => {
  let isAborted = false
  const task: Task<Example, string, Model> = {
    ...echo,
    run: ({ example, signal }) =>
      example.id === 'h0'
        ? Promise.reject(new ModelError('down', { retryable: false }))
        : new Promise((_, reject) => {
            signal.addEventListener('abort', () => {
              isAborted = true
              reject(signal.reason)
            })
          }),
  }
  await expect(toy({ task }).perform(evaluate(['h0', 'h1']), at())).rejects.toThrow('down')
  expect(isAborted).toBe(true)
})

test('an aborted run throws the reason of the abort', async () => {
  const stop = new AbortController()
  stop.abort(new Error('Ctrl-C'))
  await expect(toy().perform(evaluate(['h0']), at([], stop.signal))).rejects.toThrow('Ctrl-C')
})

function observed(more: Partial<Observation> = {}): Observation {
  const rollout = { exampleId: 't0', draw: 0, score: 0, feedback: '', question: '', answer: '' }
  return {
    node: node(0, 0.5, { context: { p: 'seed' } }),
    seen: { ...score(0.5), rollouts: [rollout] },
    history: [],
    earlier: [],
    rules: {},
    ...more,
  }
}

/** What becomes of an edit to this text. */
async function proposed(
  text: string,
  { world = {}, observation = {} }: { world?: Changes; observation?: Partial<Observation> } = {},
): Promise<Edit> {
  const evolver: Evolver = { name: 'scripted', propose: async () => ({ kind: 'edit', context: { p: text }, completion: text }) }
  return (await toy({ evolver, ...world }).perform({ kind: 'propose', observation: observed(observation) }, at())) as Edit &
    Answer
}

test('an edit that changes nothing, or was tried before, is invalid', async () => {
  expect(await proposed('seed')).toMatchObject({ kind: 'invalid', reason: 'nothing was changed' })
  const tried = [{ kind: 'scored', context: { p: 'again' }, before: 0, after: 0 }] as const
  expect(await proposed('again', { observation: { earlier: tried } })).toMatchObject({
    kind: 'invalid',
    reason: 'this same edit was tried before',
  })
  expect(await proposed('other', { observation: { earlier: tried } })).toMatchObject({ kind: 'edit' })
})

test('the rules hold for an evolver that does not keep them', async () => {
  const world = { rules: { p: { maxTokens: 6 } } }
  expect(await proposed('too long', { world })).toMatchObject({
    kind: 'invalid',
    reason: 'part "p": 8 tokens (length), at most 6 are allowed',
  })
  expect(await proposed('short', { world })).toMatchObject({ kind: 'edit' })
})

test('an edit that copies a problem is ignored, flagged or rejected, as wanted', async () => {
  const copy = `Remember: ${examples.holdout?.[0]?.text}`
  expect(await proposed(copy, { world: { copies: 'ignore' } })).not.toHaveProperty('copied')
  expect(await proposed(copy, { world: { copies: 'flag' } })).toMatchObject({ kind: 'edit', copied: ['h0'] })
  expect(await proposed(copy, { world: { copies: 'reject' } })).toMatchObject({
    kind: 'invalid',
    reason: 'it copies 1 of the examples word for word; describe what they have in common instead',
  })
})

test('the copy guard knows batch and holdout, and never looks at test', async () => {
  const asked: string[] = []
  const task = {
    ...echo,
    examples: (split: string) => {
      asked.push(split)
      return examples[split] ?? []
    },
  }
  const { perform } = toy({ task, copies: 'reject' })
  asked.length = 0
  await perform({ kind: 'propose', observation: observed() }, at())
  expect(asked).toEqual(['holdout'])
  await perform({ kind: 'overlap', context: { p: 'x0' }, split: 'test' }, at())
  expect(asked).toEqual(['holdout', 'test'])
})

test('an evolver whose model broke stops the run, even if it returns an edit', async () => {
  const broken: Model = { name: 'toy', sample: () => Promise.reject(new ModelError('down', { retryable: false })) }
  const evolver: Evolver = {
    name: 'swallows',
    propose: async (_, { model, signal }) => {
      await model.sample([], { maxTokens: 1 }, signal).catch(() => undefined)
      return { kind: 'edit', context: { p: 'next' }, completion: '' }
    },
  }
  const { perform } = toy({ evolver, evolve: toyMeter(broken) })
  await expect(perform({ kind: 'propose', observation: observed() }, at())).rejects.toThrow('down')
})
