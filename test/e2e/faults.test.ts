// Every method over HTTP with a provider that breaks: one call in ten is refused, hangs or comes back garbled, and the facts are those of
// a run on one that never breaks. The server's log of requests is the witness of what was asked and answered.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Fact } from '../../src/core/facts.ts'
import type { Entry } from '../../src/core/store.ts'
import { evolve } from '../../src/evolve.ts'
import { methodNamed, methodNames } from '../../src/method-named.ts'
import { parseSettings } from '../../src/settings.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { qaTask } from '../../src/tasks/qa.ts'
import { type FaultServer, type Logged, marksExamples, startFaultServer } from '../fault-server.ts'

const kinds = ['429', '500', 'never', 'broken-json', 'garbage', 'half'] as const
/** One call in ten: a request is hit by the first kind that is drawn for it. */
const probability = 1 - 0.9 ** (1 / kinds.length)
const faults = kinds.map((kind) => ({ kind, probability, ...(kind === '429' && { retryAfter: '0' }) }))

/** Parts that a method needs besides the instructions. */
const parts: Readonly<Record<string, Readonly<Record<string, string>>>> = { reflexion: { memory: '' }, voyager: { skills: '' } }

interface Arm {
  readonly method: string
  readonly inFlight: number
}

const arms: readonly Arm[] = (
  await Promise.all(
    methodNames.map(async (method) => {
      const { sequential } = await methodNamed(method, parseSettings({}))
      return (sequential ? [1] : [1, 2]).map((inFlight) => ({ method, inFlight }))
    }),
  )
).flat()

interface Run {
  readonly facts: readonly Fact[]
  /** Every attempt at a model call. */
  readonly calls: readonly Entry[]
}

/** A run whose requests carry its name as their model's. */
async function run(server: FaultServer, { method, inFlight }: Arm): Promise<Run> {
  const store = memoryStore()
  const context = { instructions: 'Answer with the label. +', ...parts[method] }
  const data = { train: marksExamples(0, 8), holdout: marksExamples(20, 28), test: marksExamples(40, 48) } // all need 1 to 8 marks
  await evolve({
    task: qaTask({ data, context }),
    model: `openai-compatible:${method}-${inFlight}`,
    baseUrl: server.url,
    env: {},
    ...{ method, inFlight, store, id: 'r', rounds: 4, batch: 4, draws: 1, testDraws: 1, choice: 'mean' },
    timeout: 1, // s
  }).result
  const facts = await store.facts('r')
  const rounds = facts.flatMap((fact) => (fact.kind === 'planned' ? [fact.plan.round] : []))
  const entries = await Promise.all(rounds.map((round) => store.journal('r').read(round)))
  return { facts, calls: entries.flat().filter(({ key }) => key.includes('~')) }
}

interface Arena {
  readonly server: FaultServer
  readonly runs: ReadonlyMap<Arm, Promise<Run>>
  readonly log: readonly Logged[]
}

/** All runs on one server, at once. */
async function race(server: FaultServer): Promise<Arena> {
  const runs = new Map(arms.map((arm) => [arm, run(server, arm)]))
  await Promise.allSettled(runs.values()) // each is awaited by its test
  while ((await server.stats()).inFlight > 0);
  return { server, runs, log: await server.log() }
}

let calm: Arena
let broken: Arena
beforeAll(async () => {
  calm = await race(await startFaultServer())
  broken = await race(await startFaultServer({ faults, seed: 2 }))
})
afterAll(() => Promise.all([calm, broken].map(({ server }) => server.close())))

const isDone = ({ outcome }: Entry): boolean => outcome?.startsWith('{"ok":') === true
/** Where a call was made and what was asked: calls that are made at once may be numbered in any order. */
const asking = ({ round, key, question }: Entry): string => `${round} ${key.replace(/\/\d+~\d+$/, '')} ${question}`

test.each(arms)('$method, $inFlight in flight: same facts, and no completed call is paid twice', async (arm) => {
  const whole = await calm.runs.get(arm)!
  const { facts, calls } = await broken.runs.get(arm)!
  const lines = (all: readonly Fact[]): readonly string[] => all.map((fact) => JSON.stringify(fact))
  expect(lines(facts)).toEqual(lines(whole.facts))
  expect(facts.filter((fact) => fact.kind === 'scored').length).toBeGreaterThan(1) // its edits could be read

  const due = whole.calls.filter(isDone).map(asking)
  expect(calls.filter(isDone).map(asking).sort()).toEqual(due.sort())
  const asked = broken.log.filter(({ model }) => model === `${arm.method}-${arm.inFlight}`)
  expect(asked.filter(({ fault }) => fault !== undefined).length).toBeGreaterThan(0)
  // An answer that took longer than the time limit, on a slow machine, is paid and not heard.
  const unheard =
    calls.filter(({ outcome }) => outcome === undefined).length - asked.filter(({ fault }) => fault === 'never').length
  expect(asked.filter(({ answered }) => answered).length).toBeLessThanOrEqual(due.length + unheard)
})

test('one call in ten failed, in every way there is', () => {
  const failed = broken.log.flatMap(({ fault }) => fault ?? [])
  expect(new Set(failed)).toEqual(new Set(kinds))
  expect(failed.length / broken.log.length).toBeCloseTo(0.1, 1)
  expect(calm.log.every(({ answered }) => answered)).toBe(true)
})
