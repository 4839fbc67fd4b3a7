import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { kill } from 'node:process'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, expect, test, vi } from 'vitest'
import { testStore } from '../../test/contracts/store.ts'
import { StoreError } from '../core/errors.ts'
import { birth, isAlive } from './holder.ts'
import { sqliteFault, sqliteStore } from './sqlite.ts'

const folder = mkdtempSync(join(tmpdir(), 'lamarck-stores-'))
let files = 0
const freshPath = (): string => join(folder, `${files++}`, 'runs.db')
afterAll(() => rmSync(folder, { recursive: true }))

testStore(
  'sqlite file',
  async () => {
    const path = freshPath()
    return { open: (options) => sqliteStore(path, options), address: path }
  },
  { persistent: true },
)

testStore(
  'sqlite in memory',
  async () => {
    const store = sqliteStore(':memory:')
    return { open: () => store }
  },
  { persistent: false },
)

test('a file that is no database is refused and stays as it is', async () => {
  const path = join(folder, 'notes.txt')
  const text = 'shopping list: milk, bread, paper\n'.repeat(40)
  writeFileSync(path, text)
  await expect(sqliteStore(path)).rejects.toThrow(`cannot use ${path}: it is no SQLite database: name another file`)
  await expect(sqliteStore(path)).rejects.toThrow(StoreError)
  expect(readFileSync(path, 'utf8')).toBe(text)
})

test('a database of something else is refused and stays as it is', async () => {
  const path = join(folder, 'shop.db')
  const shop = new DatabaseSync(path)
  shop.exec('create table orders (id integer)')
  shop.close()
  const before = readFileSync(path)
  await expect(sqliteStore(path)).rejects.toThrow(
    `${path} is a database of something else (its tables: orders): name another file`,
  )
  expect(readFileSync(path).equals(before)).toBe(true)
})

test('a store of a newer version is refused with both versions', async () => {
  const path = freshPath()
  await (await sqliteStore(path))[Symbol.asyncDispose]()
  const file = new DatabaseSync(path)
  file.exec('insert into lamarck values (99)')
  file.close()
  const why = 'its tables are version 99, this lamarck knows up to 1'
  await expect(sqliteStore(path)).rejects.toThrow(
    `${path} was written by a newer lamarck (${why}): update lamarck or name another store`,
  )
})

test('a folder in place of the file, and a file in place of the folder, are refused', async () => {
  await expect(sqliteStore(folder)).rejects.toThrow(`cannot use ${folder}: it cannot be opened`)
  writeFileSync(join(folder, 'file'), '')
  await expect(sqliteStore(join(folder, 'file', 'runs.db'))).rejects.toThrow(/its folder cannot be made \(.*file/)
})

test('a damaged file is refused', async () => {
  const path = freshPath()
  const store = await sqliteStore(path)
  await store.append('a', [{ kind: 'stopped', why: 'asked' }], 0)
  await store[Symbol.asyncDispose]()
  const bytes = readFileSync(path)
  writeFileSync(path, Buffer.concat([bytes.subarray(0, 100), Buffer.alloc(bytes.length - 100, 0xa5)]))
  await expect(sqliteStore(path)).rejects.toThrow(
    `cannot use ${path}: the file is damaged: restore it from a copy, or name another`,
  )
})

test('a full disk and a read-only file are told with the remedy', () => {
  const file = new DatabaseSync(':memory:')
  file.exec('create table t (x); pragma max_page_count = 3')
  const full = faultOf(() => file.exec('insert into t values (zeroblob(100000))'))
  expect(sqliteFault(full, 'runs.db')).toEqual(
    new StoreError('cannot use runs.db: the disk is full: free some space, then resume (database or disk is full)'),
  )
  file.exec('pragma query_only = true')
  const locked = sqliteFault(
    faultOf(() => file.exec('insert into t values (1)')),
    'runs.db',
  )
  expect(String(locked)).toContain('cannot use runs.db: it may only be read: make the file and its folder writable')
  file.close()
})

test('an error of the program stays what it is', () => {
  const mistake = new TypeError('x is not a function')
  expect(sqliteFault(mistake, 'runs.db')).toBe(mistake)
})

test('eight processes may make the same file at once', async () => {
  const path = freshPath()
  const program = `import { sqliteStore } from ${JSON.stringify(new URL('sqlite.ts', import.meta.url).href)}
    await using store = await sqliteStore(${JSON.stringify(path)})
    await store.create({ id: String(process.pid), createdAt: 1, meta: '' })`
  const processes = Array.from({ length: 8 }, () =>
    spawn(process.execPath, ['--input-type=module-typescript', '-e', program], { stdio: 'inherit' }),
  )
  expect(await Promise.all(processes.map((p) => once(p, 'close')))).toEqual(Array(8).fill([0, null]))
  await using store = await sqliteStore(path)
  expect(await store.runs()).toHaveLength(8)
})

test('a holder writes that it lives', async () => {
  const path = freshPath()
  await using store = await sqliteStore(path, { beat: 1 })
  await using _lease = await store.lease('a', 'first')
  const file = new DatabaseSync(path, { timeout: 5_000 })
  file.exec('update leases set beat = 0')
  const since = Date.now() - 10_000
  await vi.waitFor(() => expect(file.prepare('select beat from leases').get()?.beat).toBeGreaterThan(since))
  file.close()
})

test('a reused pid is not the holder, and a living one is however silent', () => {
  const here = { host: 'here', pid: process.pid, birth: birth(process.pid) ?? '' }
  const never = { silence: 1e12, patience: 30_000 }
  expect(isAlive(here, 'here', never)).toBe(here.birth !== 'unknown')
  expect(isAlive({ ...here, birth: 'earlier' }, 'here', never)).toBe(false)
  expect(isAlive({ ...here, birth: 'unknown' }, 'here', never)).toBe(false)
  expect(isAlive({ ...here, birth: 'unknown' }, 'here', { ...never, silence: 1 })).toBe(true)
  expect(birth(2 ** 22 + 1)).toBeUndefined() // above the largest pid of Linux
})

test.runIf(existsSync('/proc/self/stat'))('a dead process that nobody reaped counts as dead', async () => {
  // The shell becomes `tail`, which never waits for the shell's child, and says its pid.
  const program = 'exec 3<&0; cat <&3 & echo $! > "$0"; exec tail -f "$0" 3<&-'
  using parent = spawn('sh', ['-c', program, join(folder, 'pid')], { stdio: ['pipe', 'pipe', 'ignore'] })
  const pid = Number((await once(parent.stdout, 'data'))[0])
  expect(birth(pid)).toBeDefined()
  parent.stdin.end()
  await vi.waitFor(() => expect(birth(pid)).toBeUndefined())
  expect(kill(pid, 0)).toBe(true)
})

function faultOf(work: () => void): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}
