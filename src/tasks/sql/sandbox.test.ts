import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError } from '../../core/errors.ts'
import type { Result } from './result.ts'
import type { Sandbox } from './sandbox.ts'
import { sqlSandbox } from './sandbox.ts'

const endless = 'WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) SELECT count(*) FROM t'
const numbers = (n: number): string =>
  `WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t LIMIT ${n}) SELECT x FROM t`

let folder = ''
let database = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamarck-sandbox-'))
  database = join(folder, 'shop.sqlite')
  using db = new DatabaseSync(database)
  db.exec(`
    CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL, big INTEGER, raw BLOB);
    INSERT INTO item VALUES (1, 'pen', 1.0, 9007199254740993, x'00ff'), (2, 'ink', 2.5, 1, NULL), (3, 'ink', 2.5, 1, NULL);
    CREATE VIRTUAL TABLE note USING fts5(body);
    INSERT INTO note VALUES ('a red pen'), ('blue ink');
  `)
})
afterAll(() => rm(folder, { recursive: true }))

async function fileHash(): Promise<string> {
  return createHash('sha256')
    .update(await readFile(database))
    .digest('hex')
}

function rowsOf(result: Result): Result & { kind: 'rows' } {
  if (result.kind !== 'rows') throw new TypeError(`expected rows, got ${JSON.stringify(result)}`)
  return result
}

describe('hostile SQL', () => {
  let sandbox: Sandbox
  let before = ''
  beforeAll(async () => {
    sandbox = sqlSandbox({ workers: 1, maxRows: 200_000, maxMemory: 300 * 2 ** 20 })
    before = await fileHash()
  })
  afterAll(() => sandbox[Symbol.asyncDispose]())

  const refused = { kind: 'error', why: 'refused' }
  const wrong = { kind: 'error', why: 'sql' }
  const large = { kind: 'error', why: 'size' }
  const nested = (n: number): string => `SELECT ${'('.repeat(n)}1${')'.repeat(n)}`

  test.each<[string, string, object]>([
    ['DROP', 'DROP TABLE item', refused],
    ['DELETE', 'DELETE FROM item', refused],
    ['DELETE that gives rows', 'DELETE FROM item RETURNING *', refused],
    ['DELETE after WITH', 'WITH x AS (SELECT 1) DELETE FROM item', refused],
    ['UPDATE of the schema', "UPDATE sqlite_master SET sql = ''", wrong],
    ['a temporary table', 'CREATE TEMP TABLE t (x)', refused],
    ['ATTACH', "ATTACH 'other.sqlite' AS other", refused],
    ['VACUUM INTO', "VACUUM INTO 'copy.sqlite'", wrong],
    ['PRAGMA that writes', 'PRAGMA user_version = 7', refused],
    ['PRAGMA that unlocks', 'PRAGMA writable_schema = 1', refused],
    ['PRAGMA as a table', 'SELECT * FROM pragma_database_list', refused],
    ['BEGIN', 'BEGIN IMMEDIATE', refused],
    ['REINDEX', 'REINDEX', refused],
    ['a second statement', 'SELECT 1; DROP TABLE item', refused],
    ['a second statement with an error', 'SELECT 1; DROP TABLE nothing_here', refused],
    ['a second SELECT behind a comment', 'SELECT 1; -- done\nSELECT 2', refused],
    ['load_extension', "SELECT load_extension('evil.so')", refused],
    ['writefile', "SELECT writefile('evil.txt', 'x')", wrong],
    ['readfile', "SELECT readfile('/etc/hostname')", wrong],
    ['a shell command', '.read evil.sql', wrong],
    ['garbage', '\u202e%%% DROP {', wrong],
    ['nothing', '', wrong],
    ['a comment alone', '-- SELECT 1', wrong],
    ['a NUL character', 'SELECT 1\0; DROP TABLE item', wrong],
    ['a lone surrogate', 'SELECT \ud800', wrong],
    ['100,000 brackets', nested(100_000), wrong],
    ['2,000 nested selects', `${'SELECT * FROM ('.repeat(2000)}SELECT 1${')'.repeat(2000)}`, wrong],
    ['10,000 terms', `SELECT ${Array(10_000).fill('1').join('+')}`, wrong],
    ['3,000 columns', `SELECT ${Array(3000).fill('1').join(',')}`, wrong],
    ['a literal of 100 MB', `SELECT '${'x'.repeat(100_000_000)}'`, large],
    ['a hex bomb', 'SELECT hex(zeroblob(200000000))', large],
    ['zeroblob', 'SELECT zeroblob(1000000000)', large],
    ['randomblob', 'SELECT length(randomblob(2000000000))', large],
    ['printf', "SELECT printf('%1000000000d', 1)", large],
    ['replace', "SELECT replace(hex(zeroblob(10000)), '0', hex(zeroblob(10000)))", large],
    ['2 million rows', numbers(2_000_000), large],
    ['few rows of many bytes', `SELECT hex(randomblob(1000000)) FROM (${numbers(100)})`, large],
  ])('%s is a result like any other, and the file stays as it is', async (_, sql, expected) => {
    const result = await sandbox.query(database, sql)
    expect(result).toMatchObject(expected)
    expect(JSON.stringify(result).length).toBeLessThan(1000)
    expect(await fileHash()).toBe(before)
    expect(rowsOf(await sandbox.query(database, `SELECT name FROM item WHERE id = 1`)).preview).toEqual(["'pen'"])
  })

  test.each([
    ['recursion', endless],
    ['join', `SELECT count(*) FROM (${numbers(100_000)}) AS a, (${numbers(100_000)}) AS b`],
    ['single step', "SELECT instr(hex(zeroblob(15000000)), hex(zeroblob(1000000)) || '1')"],
  ])('an endless %s is stopped on the time limit, and the next query runs', async (_, sql) => {
    await using hurried = sqlSandbox({ workers: 1, timeLimit: 1500 })
    expect(await hurried.query(database, sql)).toMatchObject({ kind: 'error', why: 'time' })
    expect(await fileHash()).toBe(before)
    expect(rowsOf(await hurried.query(database, 'SELECT 1')).rows).toBe(1)
  })

  test('nothing was written beside the database', async () => {
    expect(await readdir(folder)).toEqual(['shop.sqlite'])
    for (const file of ['other.sqlite', 'copy.sqlite', 'evil.txt']) expect(existsSync(file)).toBe(false)
  })

  test.each([
    ['a semicolon and a comment', 'SELECT 1; -- done'],
    ['WITH', 'WITH a AS (SELECT 1 AS x) SELECT x FROM a'],
    ['VALUES', 'VALUES (1)'],
    ['a double-quoted text', 'SELECT count(*) FROM item WHERE name = "pen"'],
    ['a full-text search', "SELECT count(*) FROM note WHERE note MATCH 'red'"],
    ['a semicolon in a text', "SELECT 1 WHERE 'a;b' <> ''"],
  ])('%s is allowed', async (_, sql) => {
    expect(rowsOf(await sandbox.query(database, sql)).preview).toEqual(['1'])
  })

  test('a text that is not UTF-8 is shown with a mark', async () => {
    expect(rowsOf(await sandbox.query(database, "SELECT CAST(x'41ff42' AS TEXT)")).preview).toEqual(["'A\ufffdB'"])
  })
})

test('a query that needs more memory than allowed ends its process, and only that', async () => {
  await using sandbox = sqlSandbox({ workers: 1, maxMemory: 300 * 2 ** 20 })
  const bomb = sandbox.query(database, `SELECT randomblob(1000) AS r FROM (${numbers(5_000_000)}) ORDER BY r`)
  const next = sandbox.query(database, 'SELECT 1')
  expect(await bomb).toEqual({ kind: 'error', why: 'crash', message: 'the query ended its process (memory limit: 300 MiB)' })
  expect(rowsOf(await next).preview).toEqual(['1'])
})

test('rows without end are stopped at the limit of rows, after a process was lost to them', async () => {
  await using sandbox = sqlSandbox({ workers: 1, maxMemory: 300 * 2 ** 20, maxRows: 100_000 })
  const result = await sandbox.query(database, endless.replace('count(*)', "x, 'row ' || x"))
  expect(result).toEqual({ kind: 'error', why: 'size', message: 'more than 100000 rows' })
})

test('memory of the asking process stays small when results are large', async () => {
  await using sandbox = sqlSandbox({ workers: 1 })
  await sandbox.query(database, 'SELECT 1')
  const before = process.memoryUsage.rss()
  await Promise.all([1, 2, 3].map((i) => sandbox.query(database, `${numbers(400_000)} WHERE ${i}`)))
  expect(process.memoryUsage.rss() - before).toBeLessThan(50 * 2 ** 20)
})

test('a runaway pays its time once, and others go on beside it and after it', async () => {
  await using sandbox = sqlSandbox({ workers: 2, timeLimit: 1500 })
  const started = performance.now()
  const [bad, ...good] = await Promise.all([
    sandbox.query(database, endless),
    ...Array.from({ length: 200 }, (_, i) => sandbox.query(database, `SELECT ${i}`)),
  ])
  expect(bad).toMatchObject({ why: 'time', message: 'no result within the time limit of 1.5 s' })
  expect(good.map((result) => rowsOf(result).preview[0])).toEqual(Array.from({ length: 200 }, (_, i) => String(i)))
  const first = performance.now() - started
  expect(first).toBeGreaterThan(1400)
  expect(await sandbox.query(database, endless)).toEqual(bad)
  expect(performance.now() - started - first).toBeLessThan(200)
})

test('the slow query is blamed, not those answered before it in one go', async () => {
  await using sandbox = sqlSandbox({ workers: 1, timeLimit: 4000, cache: 0 })
  await sandbox.query(database, 'SELECT 1')
  const queries = [...Array.from({ length: 6 }, (_, i) => `SELECT ${i}`), endless, 'SELECT 7']
  const results = await Promise.all(queries.map((sql) => sandbox.query(database, sql)))
  expect(results.map((result) => result.kind)).toEqual(['rows', 'rows', 'rows', 'rows', 'rows', 'rows', 'error', 'rows'])
})

test('a killed process is replaced and its query asked again', async () => {
  await using sandbox = sqlSandbox({ workers: 1, timeLimit: 20_000 })
  await sandbox.query(database, 'SELECT 1')
  const [pid] = await childrenOf(process.pid)
  const answer = sandbox.query(database, numbers(400_000))
  process.kill(pid!, 'SIGKILL')
  expect(rowsOf(await answer).rows).toBe(400_000)
})

test('a result is remembered for this content of the file and these bytes of SQL', async () => {
  const file = join(folder, 'changing.sqlite')
  await copyFile(database, file)
  await using sandbox = sqlSandbox({ workers: 1 })
  const random = 'SELECT random()'
  const first = rowsOf(await sandbox.query(file, random))
  expect(await sandbox.query(file, random)).toEqual(first)
  expect(rowsOf(await sandbox.query(file, `${random} `)).digest).not.toBe(first.digest)
  expect(rowsOf(await sandbox.query(file, "SELECT 'a  b'")).digest).not.toBe(
    rowsOf(await sandbox.query(file, "SELECT 'a b'")).digest,
  )
  {
    using db = new DatabaseSync(file)
    db.exec(`INSERT INTO item SELECT id + 10, hex(zeroblob(10000)), 1, 1, NULL FROM item`)
  }
  expect(rowsOf(await sandbox.query(file, random)).digest).not.toBe(first.digest)
  expect(rowsOf(await sandbox.query(file, 'SELECT count(*) FROM item')).preview).toEqual(['6'])
  await rm(file)
})

test.each([
  ['nothing there', async () => {}],
  ['no database', (file: string) => writeFile(file, 'not a database, '.repeat(1000))],
])('a file that is %s is for the user to correct', async (_, make) => {
  const file = join(folder, 'bad.sqlite')
  await make(file)
  await using sandbox = sqlSandbox({ workers: 1 })
  await expect(sandbox.query(file, 'SELECT 1')).rejects.toThrow(ConfigError)
  await expect(sandbox.query(file, 'SELECT 1')).rejects.toThrow(`cannot read database "${file}"`)
  expect(rowsOf(await sandbox.query(database, 'SELECT 1')).rows).toBe(1)
  await rm(file, { force: true })
})

test('a limit that is no limit is refused', () => {
  expect(() => sqlSandbox({ timeLimit: Number.NaN })).toThrow('timeLimit is NaN')
  expect(() => sqlSandbox({ workers: 0 })).toThrow('workers is 0')
})

test('an aborted query rejects at once, and closing ends what still runs', async () => {
  const sandbox = sqlSandbox({ workers: 1 })
  await sandbox.query(database, 'SELECT 1')
  const stop = new AbortController()
  const aborted = sandbox.query(database, endless, stop.signal)
  stop.abort(new Error('enough'))
  await expect(aborted).rejects.toThrow('enough')
  await expect(sandbox.query(database, 'SELECT 2', stop.signal)).rejects.toThrow('enough')
  const waiting = sandbox.query(database, endless)
  const [pid] = await childrenOf(process.pid)
  await Promise.all([expect(waiting).rejects.toThrow('closed'), sandbox[Symbol.asyncDispose]()])
  expect(await childrenOf(process.pid)).not.toContain(pid)
  await expect(sandbox.query(database, 'SELECT 3')).rejects.toThrow('closed')
})

test('a program with an idle sandbox ends by itself, one with a query waits for it', async () => {
  const program = `
    import { sqlSandbox } from ${JSON.stringify(new URL('./sandbox.ts', import.meta.url).href)}
    const sandbox = sqlSandbox({ workers: 2 })
    const results = await Promise.all([1, 2, 3].map((i) => sandbox.query(${JSON.stringify(database)}, 'SELECT ' + i)))
    console.log(results.map((r) => r.preview[0]).join())`
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', '--input-type=module', '-e', program])
  expect(stdout).toBe('1,2,3\n')
})

test('a query does not outlive the program that asked it', async () => {
  const program = `
    import { sqlSandbox } from ${JSON.stringify(new URL('./sandbox.ts', import.meta.url).href)}
    const sandbox = sqlSandbox({ workers: 1 })
    await sandbox.query(${JSON.stringify(database)}, 'SELECT 1')
    console.log('asking')
    await sandbox.query(${JSON.stringify(database)}, ${JSON.stringify(endless)})`
  const asking = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(asking.stdout, 'data')
  const [worker] = await childrenOf(asking.pid!)
  asking.kill('SIGKILL')
  await expect.poll(() => isRunning(worker!), { timeout: 20_000 }).toBe(false)
})

describe('equality', () => {
  const cell = fc.constantFrom('NULL', '1', '1.0', '2', "'1'", "'a'", "x'61'", '9007199254740993', '9007199254740992')
  const table = fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 5 })
  const valuesOf = (rows: readonly (readonly string[])[]): string => `VALUES ${rows.map((r) => `(${r.join(',')})`).join(',')}`

  /** Compared by SQLite itself: rows of one that the other has not, counted where they count. */
  function sameIn(db: DatabaseSync, a: string, b: string): { set: boolean; bag: boolean } {
    const count = (sql: string): unknown => db.prepare(`SELECT count(*) AS n FROM (${sql})`).get()?.n
    const bag = (sql: string): string =>
      `SELECT column1, column2, count(*) FROM (${sql}) GROUP BY typeof(column1) IN ('integer', 'real'), column1, typeof(column2) IN ('integer', 'real'), column2`
    const minus = (x: string, y: string): boolean => count(`SELECT * FROM (${x}) EXCEPT SELECT * FROM (${y})`) === 0
    return { set: minus(a, b) && minus(b, a), bag: minus(bag(a), bag(b)) && minus(bag(b), bag(a)) }
  }

  test('digests are equal exactly where SQLite finds no row that only one has', async () => {
    await using sets = sqlSandbox({ workers: 1 })
    await using bags = sqlSandbox({ workers: 1, duplicates: 'count' })
    using db = new DatabaseSync(':memory:')
    const same = async (sandbox: Sandbox, a: string, b: string): Promise<boolean> =>
      rowsOf(await sandbox.query(database, a)).digest === rowsOf(await sandbox.query(database, b)).digest
    await fc.assert(
      fc.asyncProperty(table, fc.oneof(table, fc.constant(undefined)), fc.nat(), async (rows, others, turn) => {
        const rotated = [...rows.slice(turn % rows.length), ...rows.slice(0, turn % rows.length)]
        const [a, b] = [valuesOf(rows), valuesOf(others ?? [...rotated, ...(turn % 2 ? [rotated[0]!] : [])])]
        const expected = sameIn(db, a, b)
        expect([a, b, await same(sets, a, b)]).toEqual([a, b, expected.set])
        expect([a, b, await same(bags, a, b)]).toEqual([a, b, expected.bag])
      }),
      { seed: 7, numRuns: 400 },
    )
  })

  test.each<[Parameters<typeof sqlSandbox>[0], string, string, boolean]>([
    [{}, 'VALUES (1), (2), (2)', 'VALUES (2), (1)', true],
    [{ order: 'strict' }, 'VALUES (1), (2)', 'VALUES (2), (1)', false],
    [{ order: 'strict' }, 'VALUES (1), (2), (1)', 'VALUES (1), (2)', true],
    [{ duplicates: 'count' }, 'VALUES (1), (2), (2)', 'VALUES (2), (1), (2)', true],
    [{ duplicates: 'count' }, 'VALUES (1), (2), (2)', 'VALUES (2), (1), (1)', false],
    [{ order: 'strict', duplicates: 'count' }, 'VALUES (1), (2), (1)', 'VALUES (1), (2)', false],
    [{}, 'SELECT 1 AS a, 2 AS b', 'SELECT 1 AS b, 2 AS a', true],
    [{}, 'SELECT 1, 2', 'SELECT 2, 1', false],
    [{}, 'SELECT 1 WHERE 0', 'SELECT 2, 3 WHERE 0', true],
    [{}, 'SELECT 9007199254740993', 'SELECT 9007199254740992', false],
    [{}, 'SELECT 9007199254740992', 'SELECT 9007199254740992.0', true],
    [{}, 'SELECT 9e999', 'SELECT 1e400', true],
    [{}, "SELECT 'a' || char(0) || 'b'", "SELECT 'a'", false],
  ])('under %j, %s against %s: %s', async (options, a, b, equal) => {
    await using sandbox = sqlSandbox({ workers: 1, ...options })
    const [x, y] = await Promise.all([sandbox.query(database, a), sandbox.query(database, b)])
    expect(rowsOf(x).digest === rowsOf(y).digest).toBe(equal)
  })
})

async function childrenOf(pid: number): Promise<readonly number[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,command='])
  return stdout.split('\n').flatMap((line) => {
    const [, child, parent] = /^\s*(\d+)\s+(\d+).*sandbox-worker/.exec(line) ?? []
    return Number(parent) === pid ? [Number(child)] : []
  })
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
