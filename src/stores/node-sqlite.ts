// A kysely dialect over node:sqlite. One connection a file; statements are prepared once.
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely'

const locked = 5 // SQLITE_BUSY, https://sqlite.org/rescode.html
const patience = 5_000 // ms

/** The dialect of one open file, which closes with it. */
export function nodeSqliteDialect(file: DatabaseSync): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => createDriver(file),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}

/**
 * Does `work`, again while another connection has the file locked. SQLite's own waiting would stop the event loop, and with it a
 * connection of this same process that is about to unlock the file.
 */
export async function unlocked<T>(work: () => T): Promise<T> {
  const start = performance.now()
  for (;;) {
    try {
      return work()
    } catch (error) {
      if (!isLocked(error) || performance.now() - start > patience) throw error
      await pause(1 + Math.random() * 4)
    }
  }
}

function isLocked(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' && (error.errcode & 0xff) === locked
}

function createDriver(file: DatabaseSync): Driver {
  const connection = connect(file)
  const execute = (text: string): Promise<unknown> => connection.executeQuery(CompiledQuery.raw(text))
  return {
    init: async () => undefined,
    acquireConnection: async () => connection,
    // Takes the write lock at once: a transaction that has read could not wait for the writes of another process.
    beginTransaction: async () => void (await execute('begin immediate')),
    commitTransaction: async () => void (await execute('commit')),
    // SQLite may have rolled back by itself (a full disk does that); a second time would hide why.
    rollbackTransaction: async () => void (file.isTransaction && (await execute('rollback'))),
    releaseConnection: async () => undefined,
    destroy: async () => file.close(),
  }
}

function connect(file: DatabaseSync): DatabaseConnection {
  const prepared = new Map<string, { readonly statement: StatementSync; readonly reads: boolean }>()
  const prepare = (text: string) => {
    const statement = file.prepare(text)
    const made = { statement, reads: statement.columns().length > 0 }
    prepared.set(text, made)
    return made
  }
  return {
    executeQuery: <R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> =>
      unlocked(() => {
        const { statement, reads } = prepared.get(sql) ?? prepare(sql)
        const values = parameters as readonly SQLInputValue[] // other values are refused by node:sqlite
        if (reads) return { rows: statement.all(...values) as R[] } // the query's type says what its rows are
        return { rows: [], numAffectedRows: BigInt(statement.run(...values).changes) }
      }),
    streamQuery() {
      throw new TypeError('a SQLite store reads its rows at once')
    },
  }
}
