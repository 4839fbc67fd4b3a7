// What every store must do, run on each of them by the tests in src/stores.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { addCost, type Cost, noCost } from '../../src/core/budget.ts'
import { StoreError } from '../../src/core/errors.ts'
import type { Fact } from '../../src/core/facts.ts'
import { rng } from '../../src/core/rng.ts'
import type { Entry, Store } from '../../src/core/store.ts'

/** A place that holds one store. */
export interface Place {
  /** A handle to it, as a process on the machine `host` would have. */
  open(options?: { readonly host?: string; readonly patience?: number; readonly beat?: number }): Promise<Store>
  /** What `store-writer.ts` is started with to write there; left out = gone with the handle. */
  readonly address?: string
}

const fact = (detail: string): Fact => ({ kind: 'stopped', why: 'asked', detail })
const cost = (calls: number, usd = calls / 4): Cost => ({ calls, tokens: calls * 100, usd })
const entry = (key: string, more: Partial<Entry> = {}): Entry => ({ round: 1, key, question: 'q', bound: cost(1), ...more })
const bytes = (facts: readonly Fact[]): string => JSON.stringify(facts)

/** The contract of `Store`. `fresh` = a new, empty place. */
export function testStore(name: string, fresh: () => Promise<Place>, { persistent }: { persistent: boolean }): void {
  describe(name, () => {
    testFacts(fresh)
    testJournal(fresh)
    testRest(fresh)
    if (persistent) testPersistence(fresh)
  })
}

function testFacts(fresh: () => Promise<Place>): void {
  test('facts come back in order, byte for byte', async () => {
    await using store = await (await fresh()).open()
    let runs = 0
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('\u0000', '\ud800', '\\u0000', '"'))
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(text), { maxLength: 4 }), async (groups) => {
        const run = `run ${runs++}`
        const all = groups.flat().map(fact)
        let expected = 0
        for (const group of groups) {
          await store.append(run, group.map(fact), expected)
          expected += group.length
        }
        expect(bytes(await store.facts(run))).toBe(bytes(all))
        expect(bytes(await store.facts(run, 2))).toBe(bytes(all.slice(2)))
      }),
      { seed: 1, numRuns: 20 },
    )
  })

  test('many facts are appended at once', async () => {
    await using store = await (await fresh()).open()
    const many = Array.from({ length: 500 }, (_, i) => fact(`${i}`))
    await store.append('a', many, 0)
    expect(bytes(await store.facts('a'))).toBe(bytes(many))
  })

  test.each([0, 1, 3, 4])('an append that expects %i facts where there are 2 is refused and writes nothing', async (expected) => {
    await using store = await (await fresh()).open()
    await store.append('a', [fact('0'), fact('1')], 0)
    const refused = store.append('a', [fact('x'), fact('y')], expected)
    await expect(refused).rejects.toThrow(new RegExp(`^run "a" has 2 facts, expected ${expected}: `))
    await expect(refused).rejects.toThrow(StoreError)
    expect(bytes(await store.facts('a'))).toBe(bytes([fact('0'), fact('1')]))
  })

  test('of two appends at the same place one is written, whole', async () => {
    const place = await fresh()
    await using one = await place.open()
    await using two = place.address === undefined ? one : await place.open()
    const results = await Promise.allSettled([
      one.append('a', [fact('1'), fact('1')], 0),
      two.append('a', [fact('2'), fact('2')], 0),
    ])
    expect(results.map((r) => r.status).sort()).toEqual(['fulfilled', 'rejected'])
    const winner = results[0].status === 'fulfilled' ? '1' : '2'
    expect(bytes(await one.facts('a'))).toBe(bytes([fact(winner), fact(winner)]))
  })

  test('runs do not see each other', async () => {
    await using store = await (await fresh()).open()
    await store.append('a', [fact('a')], 0)
    await store.journal('a').put(entry('1.0.0'))
    expect(await store.facts('b')).toEqual([])
    expect(await store.journal('b').read(1)).toEqual([])
    expect((await store.journal('b').spent()).lost).toEqual(noCost)
  })
}

function testJournal(fresh: () => Promise<Place>): void {
  test('an entry written again is replaced and keeps its place', async () => {
    await using store = await (await fresh()).open()
    const journal = store.journal('a')
    const done = { outcome: '"yes"', cost: cost(1, 0.1 + 0.2) }
    await journal.put(entry('1.0.0/b#0/0~0'))
    await journal.put(entry('1.0.0/a#0/0~0'))
    await journal.put(entry('2.0.0', { round: 2, outcome: '{}' }))
    await journal.put(entry('1.0.0/b#0/0~0', done))
    expect(await journal.read(1)).toEqual([entry('1.0.0/b#0/0~0', done), entry('1.0.0/a#0/0~0')])
    expect(await journal.read(2)).toEqual([entry('2.0.0', { round: 2, outcome: '{}' })])
  })

  test('a put that was not awaited is read', async () => {
    await using store = await (await fresh()).open()
    const journal = store.journal('a')
    const put = journal.put(entry('1.0.0'))
    expect(await journal.read(1)).toHaveLength(1)
    expect((await journal.spent()).lost).toEqual(cost(1))
    await put
  })

  test('the journal and its sums are those of a plain list, however the puts were grouped', async () => {
    await using store = await (await fresh()).open()
    // Multiples of 1/1024 add up without rounding, in any order.
    const anyCost = fc.record({ calls: fc.nat(3), tokens: fc.nat(1e6), usd: fc.nat(4096).map((n) => n / 1024) })
    const outcome = fc.oneof(
      fc.constant({}),
      fc.record({ outcome: fc.json() }),
      fc.record({ outcome: fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)), cost: anyCost }),
    )
    const anyEntry = fc
      .tuple(fc.nat(2), fc.nat(5), fc.string({ unit: 'grapheme' }), anyCost, outcome)
      .map(([round, n, question, bound, rest]): Entry => ({ round, key: `${round}.0.${n}`, question, bound, ...rest }))
    let runs = 0
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(anyEntry, { maxLength: 12 }), { maxLength: 5 }), async (turns) => {
        const journal = store.journal(`run ${runs++}`)
        for (const turn of turns) await Promise.all(turn.map((e) => journal.put(e)))
        const model = [...new Map(turns.flat().map((e) => [e.key, e])).values()]
        for (const round of [0, 1, 2]) expect(await journal.read(round)).toEqual(model.filter((e) => e.round === round))
        const done = model.filter((e) => e.outcome !== undefined).map((e) => e.cost ?? noCost)
        const lost = model.filter((e) => e.outcome === undefined).map((e) => e.bound)
        expect(await journal.spent()).toEqual({ done: done.reduce(addCost, noCost), lost: lost.reduce(addCost, noCost) })
      }),
      { seed: 2, numRuns: 40 },
    )
  })

  test('dollars add up to the same bits in whatever order they were spent', async () => {
    await using store = await (await fresh()).open()
    const entries = Array.from({ length: 200 }, (_, i) => entry(`1.0.${i}`, { outcome: '1', cost: cost(1, 1 / (i + 3)) }))
    for (const e of entries) await store.journal('a').put(e)
    await Promise.all(entries.toReversed().map((e) => store.journal('b').put(e)))
    const spent = await store.journal('a').spent()
    expect(await store.journal('b').spent()).toEqual(spent)
    expect(spent.done.calls).toBe(200)
    expect(spent.done.usd).toBeCloseTo(
      entries.reduce((sum, e) => sum + e.cost!.usd, 0),
      9,
    )
  })
}

function testRest(fresh: () => Promise<Place>): void {
  test('runs are listed newest first, and an id is given once', async () => {
    await using store = await (await fresh()).open()
    const row = (id: string, createdAt: number) => ({ id, createdAt, meta: `{"of":"${id}"}` })
    for (const made of [row('b', 2_000_000_000_000), row('c', 2_000_000_000_001), row('a', 1)]) await store.create(made)
    await expect(store.create(row('a', 3))).rejects.toThrow(/run "a" is already in /)
    expect(await store.runs()).toEqual([row('c', 2_000_000_000_001), row('b', 2_000_000_000_000), row('a', 1)])
  })

  test('a second owner is refused by name until the first is done', async () => {
    await using store = await (await fresh()).open()
    const lease = await store.lease('a', 'first')
    const refused = store.lease('a', 'second')
    await expect(refused).rejects.toThrow(/^run "a" is held by "first"/)
    await expect(refused).rejects.toThrow(StoreError)
    await using _other = await store.lease('b', 'second')
    await lease[Symbol.asyncDispose]()
    const again = await store.lease('a', 'second')
    await lease[Symbol.asyncDispose]()
    await expect(store.lease('a', 'third')).rejects.toThrow('held by "second"')
    await again[Symbol.asyncDispose]()
  })

  test('wishes are given oldest first, until the next append takes them out', async () => {
    await using store = await (await fresh()).open()
    expect(await store.inbox('a')).toEqual([])
    await store.steer('a', { wish: 'pause' })
    await store.steer('a', { wish: 'branch', node: 3, hint: 'shorter' })
    await store.steer('b', { wish: 'stop' })
    const first = [{ wish: 'pause' }, { wish: 'branch', node: 3, hint: 'shorter' }]
    expect(await store.inbox('a')).toEqual(first)
    expect(await store.inbox('a')).toEqual(first)
    await store.steer('a', { wish: 'continue' })
    await expect(store.append('a', [fact('0')], 7)).rejects.toThrow('has 0 facts, expected 7')
    await store.append('a', [fact('0')], 0)
    expect(await store.inbox('a')).toEqual([{ wish: 'continue' }])
    await store.append('a', [fact('1')], 1)
    expect(await store.inbox('a')).toEqual([])
    expect(await store.inbox('b')).toEqual([{ wish: 'stop' }])
  })

  test('what was measured is replaced', async () => {
    await using store = await (await fresh()).open()
    expect(await store.measured('a')).toBeUndefined()
    await store.measure('a', '{"ms":1}')
    await store.measure('a', '{"ms":2}')
    expect(await store.measured('a')).toBe('{"ms":2}')
  })
}

function testPersistence(fresh: () => Promise<Place>): void {
  test('everything is there when the store is opened again', async () => {
    const place = await fresh()
    const before = await place.open()
    const row = { id: 'a', createdAt: 1, meta: '{}' }
    await before.create(row)
    await before.append('a', [fact('0')], 0)
    const put = before.journal('a').put(entry('1.0.0'))
    await before.steer('a', { wish: 'stop' })
    await before.measure('a', '1')
    await before.lease('a', 'before')
    await before[Symbol.asyncDispose]()
    await put
    await using after = await place.open()
    await using _lease = await after.lease('a', 'after')
    expect(await after.runs()).toEqual([row])
    expect(bytes(await after.facts('a'))).toBe(bytes([fact('0')]))
    expect(await after.journal('a').read(1)).toEqual([entry('1.0.0')])
    expect(await after.inbox('a')).toEqual([{ wish: 'stop' }])
    expect(await after.measured('a')).toBe('1')
  })

  test('puts of one turn are one transaction: where one cannot be written, none is, and later ones are', async () => {
    const place = await fresh()
    await using store = await place.open()
    await using witness = await place.open()
    const journal = store.journal('a')
    const turn = Array.from({ length: 150 }, (_, i) => entry(`1.0.${i}`))
    turn[149] = entry('1.0.149', { question: null as unknown as string }) // nothing well-typed is refused by the columns
    const results = await Promise.allSettled(turn.map((e) => journal.put(e)))
    expect(new Set(results.map((r) => r.status))).toEqual(new Set(['rejected']))
    expect(await witness.journal('a').read(1)).toEqual([])
    await journal.put(entry('1.0.0'))
    expect(await witness.journal('a').read(1)).toHaveLength(1)
  })

  test('wishes come from another process, and outlive a taker that dies before it made them facts', async () => {
    const place = await fresh()
    await using one = await place.open()
    await using two = await place.open()
    const wishes = Array.from({ length: 20 }, (_, node) => ({ wish: 'prune', node }) as const)
    for (const wish of wishes) await two.steer('a', wish)
    expect(await one.inbox('a')).toEqual(wishes)
    await using next = await place.open()
    expect(await next.inbox('a')).toEqual(wishes)
    await two.steer('a', { wish: 'stop' })
    await next.append('a', [fact('0')], 0)
    expect(await two.inbox('a')).toEqual([{ wish: 'stop' }])
  })

  test('a second process is refused with the pid and the machine of the first', async () => {
    const place = await fresh()
    await using one = await place.open({ host: 'here' })
    await using two = await place.open({ host: 'there' })
    await using _lease = await one.lease('a', 'first')
    await expect(two.lease('a', 'second')).rejects.toThrow(
      `run "a" is held by "first" (pid ${process.pid} on here): stop that process first`,
    )
  })

  test('a holder on another machine that fell silent is taken over, and what it writes afterwards is refused', async () => {
    const place = await fresh()
    await using one = await place.open({ host: 'here', beat: 1 })
    await using two = await place.open({ host: 'there', patience: -1 })
    await using _old = await one.lease('a', 'first')
    await using _new = await two.lease('a', 'second')
    const lost = 'was taken over by another process'
    await vi.waitFor(() => expect(one.journal('a').put(entry('1.0.0'))).rejects.toThrow(lost))
    await expect(one.append('a', [fact('0')], 0)).rejects.toThrow(lost)
    await two.append('a', [fact('0')], 0)
    expect(await two.facts('a')).toHaveLength(1)
  })

  test('a killed writer leaves whole transactions only, all that it was promised, and a free lease', {
    timeout: 120_000,
  }, async () => {
    const place = await fresh()
    const moment = rng('kill', 1)
    let promised = { groups: 0, turns: 0 }
    for (let kill = 0; kill < 10; kill++) {
      promised = await writeUntilKilled(place, { lines: 1 + Math.floor(moment() * 60), extra: moment() * 4 })
      await using store = await place.open()
      await using _lease = await store.lease('a', 'next')
      const facts = await store.facts('a')
      // The writer appends groups of 3 facts and puts turns of 150 entries.
      expect(facts.length % 3).toBe(0)
      expect(facts.length / 3).toBeGreaterThanOrEqual(promised.groups)
      expect(bytes(facts)).toBe(bytes(facts.map((_, i) => fact(`${i}`))))
      const sizes = await Promise.all(
        Array.from({ length: promised.turns + 2 }, async (_, turn) => (await store.journal('a').read(turn)).length),
      )
      expect(sizes.slice(0, promised.turns)).toEqual(Array(promised.turns).fill(150))
      expect([0, 150]).toContain(sizes[promised.turns])
      expect(sizes.at(-1)).toBe(0)
    }
    expect(promised.groups).toBeGreaterThan(10)
  })
}

/** Runs the writer and kills it `extra` milliseconds after some lines; what it said was kept. */
async function writeUntilKilled(
  place: Place,
  { lines, extra }: { lines: number; extra: number },
): Promise<{ groups: number; turns: number }> {
  using writer = spawn(process.execPath, [fileURLToPath(new URL('store-writer.ts', import.meta.url)), place.address ?? ''], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = once(writer, 'close')
  let said = { groups: 0, turns: 0 }
  let seen = 0
  for await (const line of createInterface({ input: writer.stdout })) {
    said = JSON.parse(line)
    if (++seen === lines) setTimeout(() => writer.kill('SIGKILL'), extra)
  }
  const [, signal] = await closed
  expect(signal).toBe('SIGKILL')
  return said
}
