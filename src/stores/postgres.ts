// A store in a Postgres schema, shared by the processes of many machines. Needs the optional package `pg`.
import { Kysely, PostgresDialect, sql } from 'kysely'
import { ConfigError, MissingPackageError, StoreError } from '../core/errors.ts'
import type { Store } from '../core/store.ts'
import type { LeaseOptions } from './holder.ts'
import { SqlStore } from './sql-store.ts'
import { migrate, type Tables, type Words } from './tables.ts'

export interface PostgresOptions extends LeaseOptions {
  /** Where the tables are; made if missing. */
  readonly schema?: string
  /** Most connections at a time. */
  readonly connections?: number
}

const words: Words = {
  text: sql`text collate "C"`,
  serial: ['bigserial', (c) => c.primaryKey()],
  now: sql<number>`(extract(epoch from clock_timestamp()) * 1000)::double precision`,
}

/**
 * Opens the store at `postgres://user:password@host:port/database`.
 * @throws {StoreError} if the database can't be reached or used, {MissingPackageError} without the package `pg`.
 */
export async function postgresStore(
  url: string,
  { schema = 'lamarck', connections = 4, ...lease }: PostgresOptions = {},
): Promise<Store> {
  const where = placeOf(url, schema)
  const fault = (error: unknown): unknown => postgresFault(error, where)
  const { Pool } = await loadPg()
  const pool = new Pool({ connectionString: url, max: connections, allowExitOnIdle: true })
  // A connection that breaks while idle is replaced by the pool; one that breaks in use fails its query.
  pool.on('error', () => undefined)
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }).withSchema(schema)
  try {
    await db.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtext(${`lamarck ${schema}`}))`.execute(tx)
      await tx.schema.createSchema(schema).ifNotExists().execute()
      await migrate(tx, words, where)
    })
  } catch (error) {
    await db.destroy()
    throw fault(error)
  }
  return new SqlStore({ db, where, words, fault }, lease)
}

/** What errors call the database: never with the password. */
function placeOf(url: string, schema: string): string {
  if (!/^postgres(ql)?:/.test(url) || !URL.canParse(url)) {
    throw new ConfigError('a postgres store needs a url like postgres://user:password@host:5432/database')
  }
  const { host, pathname } = new URL(url)
  return `postgres://${host}${pathname} (schema ${schema})`
}

async function loadPg(): Promise<typeof import('pg')> {
  try {
    return await import('pg')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND' && /'pg'/.test(error.message)))
      throw error
    throw new MissingPackageError('a postgres store needs the package "pg": npm install pg', { cause: error })
  }
}

// System errors of the connection, and https://www.postgresql.org/docs/current/errcodes-appendix.html
const remedies: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing answers there: start the server or correct the url',
  ENOTFOUND: 'there is no such host: correct the url',
  '28P01': 'the password is wrong: correct the url',
  '28000': "this user may not connect: correct the url or the server's pg_hba.conf",
  '3D000': 'there is no such database: create it or correct the url',
  '42501': 'this user may not do that: grant it create on the database, or name a schema of its own',
  '53100': 'its disk is full: free some space, then resume',
}

/** The StoreError for an error of Postgres or of the connection; other errors come back as they are. */
function postgresFault(error: unknown, where: string): unknown {
  if (!(error instanceof Error)) return error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  const cut = error.message.startsWith('Connection terminated')
  if (code === undefined && !cut) return error
  const remedy = cut ? 'the connection was cut: look at the server, then resume' : (remedies[code ?? ''] ?? 'an unexpected fault')
  return new StoreError(`cannot use ${where}: ${remedy} (${error.message || code})`, { cause: error })
}
