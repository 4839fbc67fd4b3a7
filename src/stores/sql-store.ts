// The store over any SQL database. It knows tables and order; opening, words and faults of a database are its caller's.
import { randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { type CompiledQuery, type Kysely, type RawBuilder, type Selectable, sql } from 'kysely'
import { StoreError } from '../core/errors.ts'
import type { Fact, Steer } from '../core/facts.ts'
import type { Entry, Journal, RunRow, Store } from '../core/store.ts'
import { type Holder, isAlive, type LeaseOptions, thisProcess } from './holder.ts'
import type { JournalRow, Tables, Words } from './tables.ts'

export interface Database {
  readonly db: Kysely<Tables>
  /** What errors call the database. */
  readonly where: string
  readonly words: Words
  /** The StoreError that says what happened and the remedy; anything that is not the database's fault comes back as it is. */
  fault(error: unknown): unknown
}

/** Rows written by one statement: far below the parameters that either database allows. */
const chunk = 64

export class SqlStore implements Store {
  #database: Database
  #self: Holder
  #patience: number
  #beat: number
  #held: Map<string, AsyncDisposable> = new Map()
  #lost: Map<string, StoreError> = new Map()
  /** Ids of the wishes that were given and are not yet facts. */
  #given: Map<string, readonly number[]> = new Map()
  #rows: JournalRow[] = []
  #written: Promise<void> = Promise.resolve()
  #upserts: Map<number, CompiledQuery> = new Map()

  constructor(database: Database, { host, patience = 30_000, beat = 5_000 }: LeaseOptions = {}) {
    this.#database = database
    this.#self = thisProcess(host)
    this.#patience = patience
    this.#beat = beat
  }

  create(row: RunRow): Promise<void> {
    return this.#do(async (db) => {
      const made = await db
        .insertInto('runs')
        .values({ id: row.id, created: row.createdAt, meta: row.meta })
        .onConflict((c) => c.doNothing())
        .executeTakeFirst()
      if (made.numInsertedOrUpdatedRows === 0n)
        throw new StoreError(`run "${row.id}" is already in ${this.#database.where}: resume it or take another id`)
    })
  }

  runs(): Promise<readonly RunRow[]> {
    return this.#do((db) =>
      db
        .selectFrom('runs')
        .select(['id', 'created as createdAt', 'meta'])
        .orderBy('created', 'desc')
        .orderBy('id', 'desc')
        .execute(),
    )
  }

  append(run: string, facts: readonly Fact[], expected: number): Promise<void> {
    return this.#do((db) =>
      db.transaction().execute(async (tx) => {
        this.#check(run)
        const rows = facts.map((fact, i) => ({ run, seq: expected + i, fact: JSON.stringify(fact) }))
        let written = 0n
        for (const part of chunks(rows)) {
          const { numInsertedOrUpdatedRows } = await tx
            .insertInto('facts')
            .values(part)
            .onConflict((c) => c.doNothing())
            .executeTakeFirstOrThrow()
          written += numInsertedOrUpdatedRows ?? 0n
        }
        const { count } = await tx
          .selectFrom('facts')
          .where('run', '=', run)
          .select((e) => e.fn.countAll().as('count'))
          .executeTakeFirstOrThrow()
        const found = Number(count) - Number(written)
        if (found !== expected) throw new StoreError(unexpected(run, expected, found))
        const given = this.#given.get(run)
        if (given) await tx.deleteFrom('inbox').where('run', '=', run).where('id', 'in', given).execute()
        this.#given.delete(run)
      }),
    )
  }

  facts(run: string, from = 0): Promise<readonly Fact[]> {
    return this.#do(async (db) => {
      const rows = await db
        .selectFrom('facts')
        .select('fact')
        .where('run', '=', run)
        .where('seq', '>=', from)
        .orderBy('seq')
        .execute()
      return rows.map((row) => JSON.parse(row.fact) as Fact) // only `append` writes facts
    })
  }

  journal(run: string): Journal {
    return {
      read: (round) => this.#read(run, round),
      put: (entry) => this.#put(rowOf(run, entry)),
      spent: () => this.#spent(run),
    }
  }

  lease(run: string, owner: string): Promise<AsyncDisposable> {
    const token = randomUUID()
    return this.#do(async () => {
      while (!(await this.#claim(run, owner, token)));
      this.#lost.delete(run)
      const timer = setInterval(() => this.#live(run, token), this.#beat).unref()
      const lease = {
        [Symbol.asyncDispose]: async () => {
          clearInterval(timer)
          if (this.#held.get(run) === lease) this.#held.delete(run)
          await this.#settled()
          await this.#do((db) => db.deleteFrom('leases').where('run', '=', run).where('token', '=', token).execute())
        },
      }
      this.#held.set(run, lease)
      return lease
    })
  }

  steer(run: string, steer: Steer): Promise<void> {
    return this.#do(
      async (db) =>
        void (await db
          .insertInto('inbox')
          .values({ run, steer: JSON.stringify(steer) })
          .execute()),
    )
  }

  inbox(run: string): Promise<readonly Steer[]> {
    return this.#do(async (db) => {
      const left = await db.selectFrom('inbox').where('run', '=', run).select(['id', 'steer']).orderBy('id').execute()
      if (left.length > 0)
        this.#given.set(
          run,
          left.map((row) => row.id),
        )
      return left.map((row) => JSON.parse(row.steer) as Steer) // only `steer` writes here
    })
  }

  measure(run: string, measured: string): Promise<void> {
    return this.#do(async (db) => {
      await db
        .insertInto('measures')
        .values({ run, measured })
        .onConflict((c) => c.column('run').doUpdateSet({ measured }))
        .execute()
    })
  }

  measured(run: string): Promise<string | undefined> {
    return this.#do(async (db) => {
      const row = await db.selectFrom('measures').select('measured').where('run', '=', run).executeTakeFirst()
      return row?.measured
    })
  }

  /** Writes what was put, gives back the leases, closes the database. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#settled()
    for (const lease of [...this.#held.values()]) await lease[Symbol.asyncDispose]()
    await this.#database.db.destroy()
  }

  async #do<T>(work: (db: Kysely<Tables>) => Promise<T>): Promise<T> {
    try {
      return await work(this.#database.db)
    } catch (error) {
      throw this.#database.fault(error)
    }
  }

  #check(run: string): void {
    const lost = this.#lost.get(run)
    if (lost) throw lost
  }

  /** Joins the rows that wait for the end of this turn and of the write before; all of them share one promise. */
  #put(row: JournalRow): Promise<void> {
    const lost = this.#lost.get(row.run)
    if (lost) return Promise.reject(lost)
    if (this.#rows.push(row) === 1) {
      this.#written = this.#settled()
        .then(() => turn())
        .then(() => this.#do((db) => this.#flush(db)))
    }
    return this.#written
  }

  async #flush(db: Kysely<Tables>): Promise<void> {
    // One statement may not write a key twice: the last one counts, in the place of the first.
    const rows = [...new Map(this.#rows.map((row) => [`${row.run}\n${row.round}\n${row.key}`, row])).values()]
    this.#rows = []
    if (rows.length <= chunk) await this.#upsert(db, rows)
    else {
      await db.transaction().execute(async (tx) => {
        for (const part of chunks(rows)) await this.#upsert(tx, part)
      })
    }
  }

  /** Compiled once for each number of rows: building a query costs more than running it. */
  async #upsert(db: Kysely<Tables>, rows: readonly JournalRow[]): Promise<void> {
    const query = this.#upserts.get(rows.length) ?? compileUpsert(db, rows)
    this.#upserts.set(rows.length, query)
    await db.executeQuery({ ...query, parameters: rows.flatMap((row) => Object.values(row)) })
  }

  /** When the last write is over; whether it failed was told to those who put. */
  #settled(): Promise<void> {
    return this.#written.catch(() => undefined)
  }

  async #read(run: string, round: number): Promise<readonly Entry[]> {
    await this.#settled()
    return this.#do(async (db) => {
      const rows = await db
        .selectFrom('journal')
        .selectAll()
        .where('run', '=', run)
        .where('round', '=', round)
        .orderBy('id')
        .execute()
      return rows.map(entryOf)
    })
  }

  async #spent(run: string): ReturnType<Journal['spent']> {
    await this.#settled()
    return this.#do(async (db) => {
      const sums = await db
        .selectFrom('journal')
        .where('run', '=', run)
        .select([sum('calls', 'not null').as('calls'), sum('tokens', 'not null').as('tokens'), sum('usd', 'not null').as('usd')])
        .select([
          sum('bound_calls', 'null').as('lostCalls'),
          sum('bound_tokens', 'null').as('lostTokens'),
          sum('bound_usd', 'null').as('lostUsd'),
        ])
        .executeTakeFirstOrThrow()
      const { calls, tokens, usd, lostCalls, lostTokens, lostUsd } = sums
      return { done: { calls, tokens, usd }, lost: { calls: lostCalls, tokens: lostTokens, usd: lostUsd } }
    })
  }

  /** Whether the lease is now ours; false = it changed hands meanwhile, ask again. @throws {StoreError} if its holder lives. */
  async #claim(run: string, owner: string, token: string): Promise<boolean> {
    const { db, words } = this.#database
    const mine = { run, token, owner, ...this.#self, beat: words.now }
    const made = await db
      .insertInto('leases')
      .values(mine)
      .onConflict((c) => c.doNothing())
      .executeTakeFirst()
    if (made.numInsertedOrUpdatedRows === 1n) return true
    const silence = sql<number>`${words.now} - beat`.as('silence')
    const holder = await db.selectFrom('leases').selectAll().select(silence).where('run', '=', run).executeTakeFirst()
    if (!holder) return false
    if (isAlive(holder, this.#self.host, { silence: holder.silence, patience: this.#patience })) {
      const who = `"${holder.owner}" (pid ${holder.pid} on ${holder.host})`
      throw new StoreError(`run "${run}" is held by ${who}: stop that process first, or start another run`)
    }
    const taken = await db
      .updateTable('leases')
      .set(mine)
      .where('run', '=', run)
      .where('token', '=', holder.token)
      .executeTakeFirst()
    return taken.numUpdatedRows === 1n
  }

  /** One heartbeat. */
  #live(run: string, token: string): void {
    const { db, words, where } = this.#database
    const beat = db
      .updateTable('leases')
      .set({ beat: words.now })
      .where('run', '=', run)
      .where('token', '=', token)
      .executeTakeFirst()
    beat.then(
      ({ numUpdatedRows }) => {
        if (numUpdatedRows === 1n) return
        this.#lost.set(
          run,
          new StoreError(`the lease of run "${run}" in ${where} was taken over by another process: this one must stop`),
        )
      },
      (error) =>
        this.#lost.set(
          run,
          new StoreError(`the lease of run "${run}" can't be kept: ${message(this.#database.fault(error))}`, { cause: error }),
        ),
    )
  }
}

function compileUpsert(db: Kysely<Tables>, rows: readonly JournalRow[]): CompiledQuery {
  const replaced = ['question', 'bound_calls', 'bound_tokens', 'bound_usd', 'calls', 'tokens', 'usd', 'outcome'] as const
  return db
    .insertInto('journal')
    .values([...rows])
    .onConflict((c) =>
      c
        .columns(['run', 'round', 'key'])
        .doUpdateSet((e) => Object.fromEntries(replaced.map((name) => [name, e.ref(`excluded.${name}`)]))),
    )
    .compile()
}

/** Sum of a column over entries without (`null`) or with an outcome, added up in the order of keys: one order, whatever the timing was. */
function sum(column: keyof JournalRow, outcome: 'null' | 'not null'): RawBuilder<number> {
  return sql`coalesce(sum(${sql.ref(column)} order by round, key) filter (where outcome is ${sql.raw(outcome)}), 0)`
}

// Every row has its columns in this order: the compiled queries count on it.
function rowOf(run: string, { round, key, question, bound, outcome, cost }: Entry): JournalRow {
  return {
    run,
    round,
    key,
    question,
    bound_calls: bound.calls,
    bound_tokens: bound.tokens,
    bound_usd: bound.usd,
    calls: cost?.calls ?? null,
    tokens: cost?.tokens ?? null,
    usd: cost?.usd ?? null,
    outcome: outcome ?? null,
  }
}

function entryOf(row: Selectable<JournalRow>): Entry {
  const { round, key, question, calls, tokens, usd, outcome } = row
  return {
    round,
    key,
    question,
    bound: { calls: row.bound_calls, tokens: row.bound_tokens, usd: row.bound_usd },
    ...(outcome !== null && { outcome }),
    ...(calls !== null && tokens !== null && usd !== null && { cost: { calls, tokens, usd } }),
  }
}

function unexpected(run: string, expected: number, found: number): string {
  return `run "${run}" has ${found} facts, expected ${expected}: another process wrote to it; resume the run to go on from there`
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function chunks<T>(rows: readonly T[]): readonly T[][] {
  return Array.from({ length: Math.ceil(rows.length / chunk) }, (_, i) => rows.slice(i * chunk, (i + 1) * chunk))
}
