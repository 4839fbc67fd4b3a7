// A store in one SQLite file, shared by the processes of one machine. Write-ahead log, synchronous=NORMAL: what was kept survives any
// death of the process; a power cut may take the last moments, never the order.
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely, sql } from 'kysely'
import { StoreError } from '../core/errors.ts'
import type { Store } from '../core/store.ts'
import type { LeaseOptions } from './holder.ts'
import { nodeSqliteDialect, unlocked } from './node-sqlite.ts'
import { SqlStore } from './sql-store.ts'
import { migrate, type Tables, type Words } from './tables.ts'

const words: Words = { text: 'text', serial: ['integer', (c) => c.primaryKey()], now: sql<number>`(unixepoch('subsec') * 1000)` }

/**
 * Opens the store in a file, made with its folder if there is none; ':memory:' is gone when it closes.
 * @throws {StoreError} if the file can't be used: not a store, not writable, of a newer version, on a full disk.
 */
export async function sqliteStore(path: string, options: LeaseOptions = {}): Promise<Store> {
  const where = path === ':memory:' ? 'the store in memory' : path
  const fault = (error: unknown): unknown => sqliteFault(error, where)
  try {
    const file = await open(path)
    const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(file) })
    try {
      await db.transaction().execute((tx) => migrate(tx, words, where))
    } catch (error) {
      await db.destroy()
      throw error
    }
    return new SqlStore({ db, where, words, fault }, options)
  } catch (error) {
    throw fault(error)
  }
}

async function open(path: string): Promise<DatabaseSync> {
  if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true })
  const file = new DatabaseSync(path)
  try {
    // Before anything is written: a file of someone else stays as it is.
    const tables = await unlocked(() => file.prepare("select name from sqlite_master where type = 'table'").all())
    const names = tables.map((row) => String(row.name))
    if (names.length > 0 && !names.includes('lamarck')) {
      throw new StoreError(`${path} is a database of something else (its tables: ${names.join(', ')}): name another file`)
    }
    await unlocked(() => file.exec('pragma journal_mode = wal; pragma synchronous = normal'))
    return file
  } catch (error) {
    file.close()
    throw error
  }
}

// Primary result codes, https://sqlite.org/rescode.html
const remedies: Readonly<Record<number, string>> = {
  5: 'another process has kept it locked for 5 seconds: stop that process and resume',
  8: 'it may only be read: make the file and its folder writable, or name another',
  10: 'the disk failed to read or write: look at the disk, then resume',
  11: 'the file is damaged: restore it from a copy, or name another',
  13: 'the disk is full: free some space, then resume',
  14: 'it cannot be opened: check that the path is a file you may write, in a folder',
  26: 'it is no SQLite database: name another file',
}

/** The StoreError for an error of SQLite or of the file system; other errors come back as they are. */
export function sqliteFault(error: unknown, where: string): unknown {
  if (!(error instanceof Error)) return error
  if ('errcode' in error && typeof error.errcode === 'number') {
    const remedy = remedies[error.errcode & 0xff] ?? 'an unexpected fault'
    return new StoreError(`cannot use ${where}: ${remedy} (${error.message})`, { cause: error })
  }
  if ('syscall' in error)
    return new StoreError(`cannot use ${where}: its folder cannot be made (${error.message})`, { cause: error })
  return error
}
