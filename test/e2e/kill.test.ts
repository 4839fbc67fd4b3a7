// Real SIGKILL. The command line's process group is killed at seeded moments, over the whole run, inside transactions and during the
// closing look; a server in another process breaks now and then, and its log of requests is the witness of what was asked.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import type { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rng } from '../../src/core/rng.ts'
import type { Report } from '../../src/report.ts'
import { type Fault, type FaultServer, type Logged, marksExamples, startFaultServer } from '../fault-server.ts'
import type { Moment, Stopped } from './kill-switch.ts'

const root = resolve(import.meta.dirname, '../..')
const work = mkdtempSync(join(tmpdir(), 'kill-'))
const inFlights = [1, 4] as const
const faults: readonly Fault[] = [
  { kind: '500', probability: 0.004 },
  { kind: 'half', probability: 0.004 },
]

beforeAll(() => {
  writeFileSync(
    join(work, 'lamarck.config.ts'),
    `import { defineConfig } from 'lamarck'
import { qaTask } from 'lamarck/tasks/qa'
export default defineConfig({
  task: qaTask({ data: ${JSON.stringify(data())}, context: 'Answer with the label. +' }),
  model: 'openai-compatible:toy', rounds: 6, batch: 4, draws: 1, testDraws: 1, choice: 'mean',
})
`,
  )
})
afterAll(() => rmSync(work, { recursive: true, force: true }))

function data(): Readonly<Record<'train' | 'holdout' | 'test', readonly object[]>> {
  return { train: marksExamples(0, 40), holdout: marksExamples(40, 52), test: marksExamples(60, 80) }
}

interface Life {
  readonly inFlight: number
  readonly server: FaultServer
  readonly store: string
  readonly concurrency?: number
}

interface Death {
  /** The exit code of a life that came to its end. */
  readonly code: number | null
  readonly out: string
  readonly stopped: Stopped | undefined
}

/** One life of the command; killed with its whole group when it stops at `at`, or `after` milliseconds after its first call. */
async function live(
  { inFlight, server, store, concurrency = 8 }: Life,
  at?: Moment | { readonly after: number },
): Promise<Death> {
  const switched = ['--import', join(root, 'test/e2e/kill-switch.ts'), join(root, 'src/cli/main.ts')]
  const flags = [
    '--id',
    'r',
    '--json',
    '--quiet',
    '--store',
    store,
    '--in-flight',
    `${inFlight}`,
    '--concurrency',
    `${concurrency}`,
  ]
  const child = spawn(process.execPath, [...switched, 'evolve', join(work, 'lamarck.config.ts'), ...flags], {
    cwd: work,
    detached: true, // a group of its own
    env: {
      ...process.env,
      OPENAI_BASE_URL: server.url,
      LAMARCK_TEST_KILL: at && 'statements' in at ? JSON.stringify(at) : '',
    },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  const kill = (): void => {
    try {
      process.kill(-child.pid!, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // it had just ended by itself
    }
  }
  let out = ''
  let stopped: Stopped | undefined
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text: Buffer) => (out += text))
  const said = createInterface({ input: child.stdio[3] as Readable }) // piped, above
  said.on('line', (line) => {
    const word = JSON.parse(line) as Stopped // the switch wrote it
    if (word.kind === 'stopped') {
      stopped = word
      kill()
    } else if (at && 'after' in at) setTimeout(kill, at.after)
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out, stopped }
}

interface Call {
  readonly key: string
  readonly question: string
  readonly isAnswered: boolean
  /** Whether nothing more was heard of it. */
  readonly isOpen: boolean
}

interface Kept {
  readonly facts: string
  /** Every attempt at a model call, in the order of its reservation. */
  readonly calls: readonly Call[]
  /** Whether the search is over and its result is not yet reported. */
  readonly isClosing: boolean
}

/** What is in a store, read by other code than that which wrote it. */
function kept(store: string): Kept {
  if (!existsSync(store)) return { facts: '', calls: [], isClosing: false }
  using db = new DatabaseSync(store)
  const rows = (sql: string): Record<string, unknown>[] => {
    try {
      return db.prepare(sql).all()
    } catch {
      return [] // killed before its tables were made
    }
  }
  const facts = rows("select fact from facts where run = 'r' order by seq").map((row) => String(row.fact))
  const calls = rows("select key, question, outcome from journal where run = 'r' and key like '%~%' order by id").map((row) => ({
    key: String(row.key),
    question: String(row.question),
    isAnswered: String(row.outcome ?? '').startsWith('{"ok":'),
    isOpen: row.outcome === null,
  }))
  const isClosing = facts.some((f) => f.includes('"kind":"stopped"')) && !facts.some((f) => f.startsWith('{"kind":"reported"'))
  return { facts: facts.join('\n'), calls, isClosing }
}

/** The canonical part of the report that a life printed. */
function resultOf(out: string): string {
  const line = out.split('\n').findLast((text) => text.startsWith('{"kind":"report"')) ?? '{}'
  const { measured: _, ...result } = JSON.parse(line) as Report // the command wrote it
  return JSON.stringify(result)
}

function counts(values: readonly string[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>()
  for (const value of values) found.set(value, (found.get(value) ?? 0) + 1)
  return found
}

/** All requests so far; those of a killed process have ended. */
async function logged(server: FaultServer): Promise<readonly Logged[]> {
  while ((await server.stats()).inFlight > 0);
  return server.log()
}

/** The n-th seeded moment of a chain of kills. */
function moment(inFlight: number, n: number, { statements, isClosing }: { statements: number; isClosing: boolean }) {
  const draw = rng('kill', inFlight, n)
  const some = (most: number): number => Math.floor(draw() * most)
  if (isClosing) return { statements: 8 + some(30), inTransaction: n % 2 === 1 }
  if (n % 4 === 3) return { after: some(250) } // ms
  if (n % 6 === 2) return { statements: 1 + some(30), closing: true }
  return { statements: some(statements / 5), inTransaction: n % 4 === 1 }
}

describe.concurrent.each(inFlights)('killed again and again, %i in flight', (inFlight) => {
  let server: FaultServer
  beforeAll(async () => {
    server = await startFaultServer({ latency: 12, seed: inFlight })
  })
  afterAll(() => server.close())

  test('the facts and the result are those of a run that never was, and no completed call is paid twice', async () => {
    // One call at a time: the n-th request is the n-th reservation, so that each question's request is known.
    const whole = join(work, `whole-${inFlight}.db`)
    const first = await live({ inFlight, server, store: whole, concurrency: 1 })
    expect([0, 3], first.out).toContain(first.code)
    const reference = kept(whole)
    const requests = await logged(server)
    expect(requests).toHaveLength(reference.calls.length)
    const hashOf = new Map(reference.calls.map((call, i) => [call.question, requests[i]!.hash]))
    expect(reference.calls.map((call) => hashOf.get(call.question))).toEqual(requests.map((r) => r.hash))
    const due = counts(requests.map((r) => r.hash))

    await server.faults(faults)
    const kills = { all: 0, inTransaction: 0, closing: 0, timed: 0, inFlight: 0 }
    let lost = 0
    for (let chain = 0; kills.all < 25; chain++) {
      const store = join(work, `chain-${inFlight}-${chain}.db`)
      const sent = new Set<string>()
      let before = (await logged(server)).length
      for (;;) {
        const { isClosing, calls: had } = kept(store)
        const paid = counts(had.filter((call) => call.isAnswered).map((call) => hashOf.get(call.question) ?? call.question))
        const at = kills.all < 25 ? moment(inFlight, kills.all, { statements: reference.calls.length * 2, isClosing }) : undefined
        const death = await live({ inFlight, server, store }, at)
        const log = (await logged(server)).slice(before)
        before += log.length
        // What is in the journal is never asked again; the same question may stand in it for several calls.
        const open = (hash: string): number => (due.get(hash) ?? 0) - (paid.get(hash) ?? 0)
        expect(log.filter((r) => open(r.hash) === 0)).toEqual([])
        const answered = counts(log.filter((r) => r.answered).map((r) => r.hash))
        for (const [hash, n] of answered) expect(n).toBeLessThanOrEqual(open(hash))
        for (const { hash } of log) sent.add(hash)
        lost += log.filter((r) => r.answered).length
        if (death.code !== null) {
          expect([0, 3], death.out).toContain(death.code)
          const { facts, calls } = kept(store)
          expect(facts === reference.facts).toBe(true)
          expect(resultOf(death.out)).toBe(resultOf(first.out))
          const done = calls.filter((call) => call.isAnswered)
          const places = done.map((call) => call.key.replace(/~\d+$/, ''))
          expect(new Set(places)).toEqual(new Set(reference.calls.map((call) => call.key.replace(/~\d+$/, ''))))
          expect(places).toHaveLength(reference.calls.length)
          expect(sent).toEqual(new Set(hashOf.values()))
          // Every request was reserved first, and those beyond one a call were in flight at a kill, or failed.
          lost -= done.length
          expect(lost).toBeLessThanOrEqual(calls.length - done.length)
          lost = 0
          break
        }
        kills.all++
        const now = kept(store)
        if (death.stopped?.inTransaction) kills.inTransaction++
        if (isClosing || now.isClosing) kills.closing++
        if (!death.stopped) kills.timed++
        if (now.calls.filter((call) => call.isOpen).length > had.filter((call) => call.isOpen).length) kills.inFlight++
      }
    }
    expect(kills.all).toBe(25)
    expect(kills.inTransaction).toBeGreaterThanOrEqual(3)
    expect(kills.closing).toBeGreaterThanOrEqual(3)
    expect(kills.timed).toBeGreaterThanOrEqual(3)
    expect(kills.inFlight).toBeGreaterThanOrEqual(3)
  })
})
