// The tables of a store and how they came to be: one list of migrations for every SQL database.
import { type ColumnDataType, type ColumnDefinitionBuilder, type Generated, type Kysely, type RawBuilder, sql } from 'kysely'
import { StoreError } from '../core/errors.ts'

export interface Tables {
  /** Versions of this list of tables, the highest being the present one. */
  lamarck: { version: number }
  /** `created`: milliseconds since 1970. */
  runs: { id: string; created: number; meta: string }
  /** `fact`: JSON, never parsed by the database. */
  facts: { run: string; seq: number; fact: string }
  /** `id` is the order of first writing; null `calls` = no cost, null `outcome` = reserved. */
  journal: JournalRow & { id: Generated<number> }
  /** `beat`: milliseconds since 1970 by the clock of the database. */
  leases: { run: string; token: string; owner: string; host: string; pid: number; birth: string; beat: number }
  inbox: { id: Generated<number>; run: string; steer: string }
  measures: { run: string; measured: string }
}

export interface JournalRow {
  run: string
  round: number
  key: string
  question: string
  bound_calls: number
  bound_tokens: number
  bound_usd: number
  calls: number | null
  tokens: number | null
  usd: number | null
  /** Last, so that sums don't read it. */
  outcome: string | null
}

type Column = (column: ColumnDefinitionBuilder) => ColumnDefinitionBuilder

/** How one database says what another says otherwise. */
export interface Words {
  /** Text compared byte by byte. */
  readonly text: ColumnDataType | RawBuilder<unknown>
  /** A primary key that counts up. */
  readonly serial: readonly [ColumnDataType, Column]
  /** Milliseconds since 1970 by the clock of the database. */
  readonly now: RawBuilder<number>
}

const migrations: readonly ((db: Kysely<Tables>, words: Words) => Promise<void>)[] = [
  async ({ schema }, { text, serial }) => {
    const key: Column = (c) => c.primaryKey()
    const must: Column = (c) => c.notNull()
    const number = 'double precision'
    await schema
      .createTable('runs')
      .addColumn('id', text, key)
      .addColumn('created', number, must)
      .addColumn('meta', 'text', must)
      .execute()
    await schema
      .createTable('facts')
      .addColumn('run', text, must)
      .addColumn('seq', 'integer', must)
      .addColumn('fact', 'text', must)
      .addPrimaryKeyConstraint('facts_in_order', ['run', 'seq'])
      .execute()
    await schema
      .createTable('journal')
      .addColumn('id', ...serial)
      .addColumn('run', text, must)
      .addColumn('round', 'integer', must)
      .addColumn('key', text, must)
      .addColumn('question', 'text', must)
      .addColumn('bound_calls', number, must)
      .addColumn('bound_tokens', number, must)
      .addColumn('bound_usd', number, must)
      .addColumn('calls', number)
      .addColumn('tokens', number)
      .addColumn('usd', number)
      .addColumn('outcome', 'text')
      .addUniqueConstraint('journal_keys', ['run', 'round', 'key'])
      .execute()
    await schema
      .createTable('leases')
      .addColumn('run', text, key)
      .addColumn('token', 'text', must)
      .addColumn('owner', 'text', must)
      .addColumn('host', 'text', must)
      .addColumn('pid', 'integer', must)
      .addColumn('birth', 'text', must)
      .addColumn('beat', number, must)
      .execute()
    await schema
      .createTable('inbox')
      .addColumn('id', ...serial)
      .addColumn('run', text, must)
      .addColumn('steer', 'text', must)
      .execute()
    await schema.createTable('measures').addColumn('run', text, key).addColumn('measured', 'text', must).execute()
  },
]

/** Brings the tables up to date, inside a transaction that no other migration may share. @throws {StoreError} if they are newer than known. */
export async function migrate(db: Kysely<Tables>, words: Words, where: string): Promise<void> {
  await db.schema
    .createTable('lamarck')
    .ifNotExists()
    .addColumn('version', 'integer', (c) => c.primaryKey())
    .execute()
  const newest = await db.selectFrom('lamarck').select(sql<number | null>`max(version)`.as('version')).executeTakeFirst()
  const version = newest?.version ?? 0
  if (version > migrations.length) {
    const known = `its tables are version ${version}, this lamarck knows up to ${migrations.length}`
    throw new StoreError(`${where} was written by a newer lamarck (${known}): update lamarck or name another store`)
  }
  for (const [i, change] of migrations.slice(version).entries()) {
    await change(db, words)
    await db
      .insertInto('lamarck')
      .values({ version: version + i + 1 })
      .execute()
  }
}
