import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { BadAnswer } from '../core/errors.ts'
import type { Completion, Model } from '../core/model.ts'
import { rng } from '../core/rng.ts'
import type { Store } from '../core/store.ts'
import { chat } from '../core/task.ts'
import { sharpen } from '../engines/jax/checkpoint.ts'
import { warmStartFile } from '../recipes/finch-policy.ts'
import { memoryStore } from '../stores/memory.ts'
import { chatTask } from '../tasks/chat.ts'
import { ablations, armOf } from './arms.ts'
import { finchSuite } from './finch-suite.ts'
import { idOf, type RaceOptions, race, refuseUnfit } from './race.ts'
import { recordOf, resultsIn } from './record.ts'
import { standings } from './standings.ts'
import type { Suite } from './suite.ts'
import { suiteOf } from './suites.ts'
import { benchNotes, benchTables } from './tables.ts'

/** Right for the share of problems that the context's number says; as an evolver it writes the next number. */
function toyModel(): Model & { calls: number } {
  const model = {
    name: 'toy',
    calls: 0,
    async sample(messages: Parameters<Model['sample']>[0], { n = 1 }: { n?: number }): Promise<Completion[]> {
      model.calls++
      const text = messages.map((m) => m.content).join('\n')
      const share = Number(/share (0\.\d+)/.exec(text)?.[1])
      const next = Math.min(0.9, share + 0.1).toFixed(2)
      const isEdit = text.includes('# Current context')
      const answer = isEdit ? `<prompt>say share ${next}</prompt>` : rng(messages.at(-1)!.content)() < share ? 'yes' : 'no'
      const usage = { input: 5, cached: 0, output: 1, reasoning: 0 }
      return Array.from({ length: n }, () => ({ text: answer, finish: 'stop', usage }))
    },
  }
  return model
}

const rows = (prefix: string, n: number) =>
  Array.from({ length: n }, (_, i) => ({ id: `${prefix}${i}`, q: `question ${prefix}${i}` }))

function toyTask(name: string) {
  return chatTask({
    name,
    context: { instructions: 'say share 0.20' },
    splits: { train: rows('t', 20), holdout: rows('h', 20), test: rows('x', 20) },
    prompt: (e) => String(e.q),
    messages: (context, e) => chat(context, String(e.q)),
    grade: (text) => {
      if (text === 'yes') return { score: 1 }
      throw new BadAnswer('no', text)
    },
  })
}

function toySuite(model: Model, more: Partial<Suite> = {}): Suite {
  const tasks = new Map(['left', 'right'].map((name) => [name, async () => ({ task: toyTask(name) })]))
  return { ...suiteOf('toy', tasks, { arms: [armOf('lse'), armOf('chain')], model }), ...more }
}

function options(more: Partial<RaceOptions> = {}): RaceOptions {
  return { seeds: [1, 2], budget: { calls: 450 }, rounds: 25, store: memoryStore(), parallel: 2, ...more }
}

test('a race is rows × tracks × seeds, in order; no run spends more than its budget, and each opens test once', async () => {
  const given = options()
  const rans = await race(toySuite(toyModel()), given)
  expect(rans.map((r) => [r.track, r.seed, r.entrant])).toEqual(
    ['left', 'right'].flatMap((track) => [1, 2].flatMap((seed) => ['lse', 'chain'].map((entrant) => [track, seed, entrant]))),
  )
  for (const ran of rans) {
    expect(ran.cost.calls).toBeLessThanOrEqual(450)
    expect(ran.cost.calls).toBeGreaterThan(200)
    const facts = await given.store.facts(ran.run)
    expect(facts.findLast((f) => f.kind === 'reported')).toMatchObject({ result: { openings: 1 } })
  }
})

test('what was raced is not raced again: the same store gives the same runs without a call, and more seeds only the new ones', async () => {
  const store = memoryStore()
  const first = await race(toySuite(toyModel()), options({ store }))
  const model = toyModel()
  const again = await race(toySuite(model), options({ store }))
  expect(again.map(({ seconds: _, ...ran }) => ran)).toEqual(first.map(({ seconds: _, ...ran }) => ran))
  expect(model.calls).toBe(0)
  await race(toySuite(model), options({ store, seeds: [1, 2, 3] }))
  expect(model.calls).toBeGreaterThan(0)
  expect(await store.runs()).toHaveLength(12)
})

test('short runs are the same runs, kept without their journal', async () => {
  const [long, short] = [memoryStore(), memoryStore()]
  const some = await race(toySuite(toyModel()), options({ store: long }))
  const model = toyModel()
  const others = await race(toySuite(model, { isShort: true }), options({ store: short }))
  expect(others.map(({ seconds: _, ...ran }) => ran)).toEqual(some.map(({ seconds: _, ...ran }) => ran))
  const [{ run = '' } = {}] = others
  expect(await short.facts(run)).toEqual(await long.facts(run))
  expect(await short.journal(run).read(0)).toEqual([])
  const calls = model.calls
  const again = await race(toySuite(model, { isShort: true }), options({ store: short }))
  expect(model.calls).toBe(calls)
  expect(again.map((r) => r.cost)).toEqual(others.map((r) => r.cost))
})

test('killed at any moment while a short run is copied into its store, the same race goes on and ends with the same runs', async () => {
  const suite = (): Suite => toySuite(toyModel(), { isShort: true })
  const whole = memoryStore()
  const due = await race(suite(), options({ store: whole, seeds: [1] }))
  for (const dies of ['create', 'measure', 'append'] as const) {
    const store = memoryStore()
    const dead = new Error('killed')
    let lives = true
    const killed: Store = {
      ...store,
      async create(row) {
        if (!lives) throw dead
        await store.create(row)
        if (dies === 'create') lives = false
      },
      async measure(run, measured) {
        if (!lives) throw dead
        await store.measure(run, measured)
        if (dies === 'measure') lives = false
      },
      async append(run, facts, expected) {
        if (!lives) throw dead
        await store.append(run, facts, expected)
        if (dies === 'append') lives = false
      },
    }
    await expect(race(suite(), options({ store: killed, seeds: [1], parallel: 1 }))).rejects.toThrow('killed')
    const rans = await race(suite(), options({ store, seeds: [1] }))
    expect(rans.map(({ seconds: _, ...ran }) => ran)).toEqual(due.map(({ seconds: _, ...ran }) => ran))
    for (const { run } of rans) {
      expect(await store.facts(run)).toEqual(await whole.facts(run))
      expect(await store.measured(run)).toBeDefined()
    }
  }
})

test('without a limit all get the calls that so many rounds of LSE take', async () => {
  const rans = await race(toySuite(toyModel()), options({ budget: {}, rounds: 3, seeds: [1] }))
  // 20 problems × 5 draws; seed, 3 × (10 + 1 + 100), and the look at test twice
  const most = 100 + 3 * 111 + 2 * 100
  for (const ran of rans) expect(ran.cost.calls).toBeLessThanOrEqual(most)
  expect(Math.max(...rans.map((r) => r.rounds))).toBe(3)
})

test('another setting or another budget makes other runs', () => {
  const suite = toySuite(toyModel())
  const who = { entrant: 'lse, trained (search)', track: 'finch:dev:a', seed: 1 }
  const of = (s: Suite, calls: number): string => idOf(s, who, { budget: { calls }, rounds: 25 })
  expect(of(suite, 1)).toMatch(/^[\w.-]{1,100}$/)
  expect(of(suite, 1)).toBe(of(toySuite(toyModel()), 1))
  const all = [of(suite, 1), of(suite, 2), of({ ...suite, settings: { model: 'other' } }, 1)]
  expect(new Set(all).size).toBe(3)
})

test('a budget for no round, and a model without a price for dollars, are refused before anything is spent', async () => {
  const model = toyModel()
  await expect(refuseUnfit(toySuite(model), { calls: 250 })).rejects.toThrow(
    'affords no round on left: the seed takes about 100 calls',
  )
  await expect(refuseUnfit(toySuite(model), { usd: 1 })).rejects.toThrow('the price of toy is not known')
  await refuseUnfit(toySuite(model), { calls: 450 })
  expect(model.calls).toBe(0)
})

test('a run that fails ends the race, and the same race goes on', async () => {
  const store = memoryStore()
  const model = toyModel()
  let broken = 0
  const failing: Model = {
    name: 'toy',
    sample(messages, params) {
      if (model.calls > 900 && broken++ === 0) throw new TypeError('the cable was pulled')
      return model.sample(messages, params)
    },
  }
  await expect(race(toySuite(failing), options({ store }))).rejects.toThrow('the cable was pulled')
  const rans = await race(toySuite(failing), options({ store }))
  const whole = await race(toySuite(toyModel()), options())
  expect(rans.map((r) => [r.chosen, r.after])).toEqual(whole.map((r) => [r.chosen, r.after]))
})

test('a record holds what its tables are made of', async () => {
  const suite = toySuite(toyModel(), { caption: 'in a toy' })
  const rans = await race(suite, options())
  const made = { budget: { calls: 450 }, seeds: [1, 2], settings: { parallel: 1 }, command: 'lamarck bench toy', made: {} }
  const record = recordOf(suite, { ...made, rans })
  const read = JSON.parse(JSON.stringify(record)) as typeof record // as a file keeps it
  expect(record.runs).toHaveLength(8)
  expect(benchTables(read)).toEqual(benchTables(record))
  const [exact, kept] = [standings(rans, record), standings(resultsIn(read), read)]
  expect(kept.map((s) => s.test.mean)).toEqual(exact.map((s) => expect.closeTo(s.test.mean, 4)))
  expect(kept[0]!.test.interval[0]).toBeCloseTo(exact[0]!.test.interval[0], 3)
  for (const { title, rows: lines } of benchTables(record)) {
    expect(title).toContain('in a toy')
    expect(new Set(lines.map((cells) => cells.length)).size).toBe(1)
  }
  expect(benchNotes(record)[0]).toContain('8 runs: 2 rows × 2 tasks × 2 seeds')
})

test('a stored batch is the same whenever a node is edited, another for another node', async () => {
  const method = await ablations.batch[1].method()
  const splits = { train: rows('t', 40).map((r) => r.id), holdout: [], confirm: [], test: [], ood: [] }
  const planned = (id: number, seed: number) => {
    const state = { tree: { select: () => id }, editsPlanned: id + seed, lastSeen: new Map() }
    return method.plan(state as never, { seed: 1, batch: 10, batches: 'shuffled', splits } as never).batch // as: all that a plan reads
  }
  expect(planned(3, 0)).toEqual(planned(3, 5))
  expect(planned(3, 0)).not.toEqual(planned(4, 0))
  expect(planned(3, 0)).toHaveLength(10)
})

test('in Finch all rows share one evolver a policy, the landmarks are there, and every table says what it is', async () => {
  const arms = [armOf('lse'), { ...armOf('chain'), name: 'gepa' }]
  await using suite = await finchSuite({ arms, policies: [], companies: 1 })
  const rans = await race(suite, options({ seeds: [1], budget: { calls: 330 } }))
  const names = rans.map((r) => r.entrant)
  expect(names).toEqual(['lse, untrained', 'gepa (search), untrained', 'lse, demonstrator', 'lse, perfect editor'])
  expect(rans[0]!.evolver).toBe(rans[1]!.evolver)
  const best = rans.at(-1)!
  expect(best.after).toBe(Math.max(...rans.map((r) => r.after)))
  const made = { budget: { calls: 330 }, seeds: [1], settings: { parallel: 1 }, command: '', made: {} }
  const record = recordOf(suite, { ...made, rans })
  for (const { title, rows: lines } of benchTables(record)) {
    expect(title).toContain('in Finch (simulated)')
    expect(lines[0]?.[0]).toBe('in Finch (simulated)')
  }
  expect(record.settings.finch).toMatch(/^[0-9a-f]{16}$/)
})

test('in Finch two checkpoints with one name are two policies: what was raced with the first stays, and the second races', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lamarck-race-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const checkpoint = join(folder, 'train', 'policy.safetensors')
  const store = memoryStore()
  const raced = async (): Promise<readonly string[]> => {
    const policies = [{ name: 'trained', checkpoint }]
    await using suite = await finchSuite({ arms: [armOf('lse')], policies, companies: 1 })
    const entrants = suite.entrants.filter(({ name }) => name === 'lse, trained')
    return (await race({ ...suite, entrants }, options({ store, seeds: [1], budget: { calls: 330 } }))).map((r) => r.evolver)
  }
  await sharpen(warmStartFile, checkpoint, 0.5)
  const first = await raced()
  await sharpen(warmStartFile, checkpoint, 2)
  const second = await raced()
  expect(second).not.toEqual(first)
  expect(await raced()).toEqual(second)
  expect(await store.runs()).toHaveLength(2)
})
