// One process of the SQL sandbox (it is started by sandbox.ts, never imported). Reads one line of setup, then one line a query
// from standard input, answers each with one line on standard output, in order. Queries and writing block, so a query that never
// ends can only be killed. A second thread ends the process when it holds too much memory or its parent is gone.
import { writeSync } from 'node:fs'
import process from 'node:process'
import { constants, DatabaseSync } from 'node:sqlite'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import type { Equality, Result, Value } from './result.ts'
import { cut, digest, rowKey, rowText } from './result.ts'

/** The first line. */
export interface Setup {
  readonly equality: Equality
  readonly maxRows: number
  readonly maxBytes: number
  readonly maxMemory: number
}

/** Each later line. `version` changes when the file does. */
export interface Query {
  readonly path: string
  readonly version: string
  readonly sql: string
  /** Whether to take the rows one by one and stop at a limit; else all at once, which is faster and may end the process. */
  readonly careful: boolean
}

/** What one line answers; `broken` = the database file's fault, not the query's. */
export type Reply = Result | { readonly kind: 'broken'; readonly message: string }

const { SQLITE_OK, SQLITE_DENY, SQLITE_FUNCTION, SQLITE_PRAGMA, SQLITE_READ, SQLITE_RECURSIVE, SQLITE_SELECT } = constants
const previewRows = 5
const openDatabases = 16
/** Primary result codes that speak of the file: BUSY, LOCKED, IOERR, CORRUPT, CANTOPEN, NOTADB. */
const fileCodes = [5, 6, 10, 11, 14, 26]

/** Answers are written together, at the latest after this time: each write wakes the parent. */
const writeEvery = 1 // ms
const watchEvery = 50 // ms

if (isMainThread) serve()
else watch(workerData)

function serve(): void {
  let setup: Setup | undefined
  let rest = ''
  const open = new Map<string, Connection>()
  const answered = new Int32Array(new SharedArrayBuffer(4))
  process.stdin.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    let out = ''
    let written = performance.now()
    for (const line of lines) {
      if (setup) {
        out += `${JSON.stringify(answer(JSON.parse(line), setup, open))}\n`
        answered[0]!++
      } else {
        setup = JSON.parse(line) as Setup // the first line, by sandbox.ts
        new Worker(new URL(import.meta.url), { workerData: { maxMemory: setup.maxMemory, answered } })
        out += '\n'
      }
      if (performance.now() - written < writeEvery) continue
      process.stdout.write(out)
      out = ''
      written = performance.now()
    }
    for (const connection of open.values()) endReading(connection)
    if (out) process.stdout.write(out)
  })
  process.stdin.on('end', () => process.exit())
}

/** Looks at memory and parent while the other thread is inside SQLite, and says on standard error how far that one is if it is slow. */
function watch({ maxMemory, answered }: { maxMemory: number; answered: Int32Array }): void {
  const parent = process.ppid
  const end = (): boolean => process.kill(process.pid, 'SIGKILL')
  process.on('uncaughtException', end) // standard error is closed: the parent is gone
  let before = 0
  let told = 0
  setInterval(() => {
    if (process.ppid !== parent) end()
    const isOver = process.memoryUsage.rss() > maxMemory
    const now = Atomics.load(answered, 0)
    if ((now === before || isOver) && now !== told) {
      told = now
      writeSync(2, `@${now}\n`)
    }
    if (isOver) end()
    before = now
  }, watchEvery)
}

interface Connection {
  readonly db: DatabaseSync
  /** Whether the statement is our own: no authorizer then. */
  trusted: boolean
  /** Whether the authorizer said no since this was last set to false. */
  refused: boolean
}

/** Queries that arrive together share a transaction: the file is locked and looked at once. */
function beginReading(connection: Connection): void {
  if (!connection.db.isTransaction) trustedly(connection, 'BEGIN')
}

function endReading(connection: Connection): void {
  if (connection.db.isTransaction) trustedly(connection, 'COMMIT')
}

function trustedly(connection: Connection, sql: string): void {
  connection.trusted = true
  connection.db.exec(sql)
  connection.trusted = false
}

function answer(query: Query, setup: Setup, open: Map<string, Connection>): Reply {
  let connection: Connection
  try {
    connection = connect(query, setup, open)
    beginReading(connection)
  } catch (cause) {
    return { kind: 'broken', message: cause instanceof Error ? cause.message : String(cause) }
  }
  connection.refused = false
  try {
    return run(connection, query, setup)
  } catch (cause) {
    // The errors of node:sqlite carry SQLite's extended result code; others have none.
    const { errcode = 0, message = '' } = cause as { errcode?: number; message?: string }
    if (connection.refused) return refusal
    if (fileCodes.includes(errcode & 0xff)) return { kind: 'broken', message }
    if ((errcode & 0xff) === 18) return { kind: 'error', why: 'size', message: `a text or blob is over ${setup.maxBytes} bytes` }
    return { kind: 'error', why: 'sql', message: cut(message, 300) }
  }
}

const refusal: Result = { kind: 'error', why: 'refused', message: 'only one SELECT (or WITH … SELECT) statement may run' }

/** The connection to this version of this file, opened if need be; the one unused for longest is closed when there are many. */
function connect({ path, version }: Query, setup: Setup, open: Map<string, Connection>): Connection {
  const key = `${version} ${path}`
  const known = open.get(key)
  if (known) {
    open.delete(key)
    open.set(key, known)
    return known
  }
  const db = new DatabaseSync(path, {
    readOnly: true,
    returnArrays: true,
    enableDoubleQuotedStringLiterals: true,
    timeout: 5000, // ms to wait for a writer
    limits: { attach: 0, length: setup.maxBytes },
  })
  // Sorting in memory, where the watching thread sees it, and never in files that could fill the disk.
  db.exec('PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000; SELECT count(*) FROM sqlite_schema')
  const connection: Connection = { db, trusted: false, refused: false }
  db.setAuthorizer((action, name, value) => {
    if (connection.trusted || isReading(action, name, value)) return SQLITE_OK
    connection.refused = true
    return SQLITE_DENY
  })
  open.set(key, connection)
  const oldest = open.entries().next().value
  if (oldest && open.size > openDatabases) {
    open.delete(oldest[0])
    oldest[1].db.close()
  }
  return connection
}

/** What a SELECT needs. The two pragmas only tell; full-text tables ask them when they are read. */
function isReading(action: number, name: string | null, value: string | null): boolean {
  if (action === SQLITE_FUNCTION) return value !== 'load_extension'
  if (action === SQLITE_PRAGMA) return value === null && (name === 'data_version' || name === 'page_size')
  return action === SQLITE_SELECT || action === SQLITE_READ || action === SQLITE_RECURSIVE
}

function run({ db }: Connection, { sql, careful }: Query, setup: Setup): Result {
  const statement = db.prepare(sql)
  if (!isBlank(db, sql.slice(statement.sourceSQL.length))) return refusal
  try {
    return collect(careful ? statement.iterate() : statement.all(), setup)
  } catch (cause) {
    // An integer that no number holds: node:sqlite's own code. Rare, and bigints are slow, so only then.
    if ((cause as { code?: string }).code !== 'ERR_OUT_OF_RANGE') throw cause
    statement.setReadBigInts(true)
    return collect(careful ? statement.iterate() : statement.all(), setup)
  }
}

function collect(found: Iterable<unknown>, { equality, maxRows, maxBytes }: Setup): Result {
  const keys: string[] = []
  const seen = new Set<string>()
  const preview: string[] = []
  let rows = 0
  let bytes = 0
  // With `returnArrays` each row is an array, which the types do not know.
  for (const row of found as Iterable<Value[]>) {
    if (rows++ === maxRows) return { kind: 'error', why: 'size', message: `more than ${maxRows} rows` }
    if (preview.length < previewRows) preview.push(rowText(row))
    const key = rowKey(row)
    if (equality.duplicates !== 'count') {
      if (seen.has(key)) continue
      seen.add(key)
    }
    keys.push(key)
    bytes += key.length
    if (bytes > maxBytes) return { kind: 'error', why: 'size', message: `the rows hold more than ${maxBytes} characters` }
  }
  return { kind: 'rows', rows, digest: digest(keys, equality.order), preview }
}

/** Whether nothing but space and comments follows the first statement: SQLite itself decides. */
function isBlank(db: DatabaseSync, rest: string): boolean {
  if (/^[\s;]*$/.test(rest)) return true
  try {
    db.prepare(rest)
    return false
  } catch (cause) {
    // node:sqlite's own code for a text without any statement; what SQLite refuses has another.
    return (cause as { code?: string }).code === 'ERR_INVALID_ARG_VALUE'
  }
}
