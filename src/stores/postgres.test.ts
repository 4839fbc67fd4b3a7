import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, globSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { testStore } from '../../test/contracts/store.ts'
import { postgresStore } from './postgres.ts'

const bin = findServer()
if (!bin && process.env.CI) throw new Error('no Postgres server found, and CI may not skip it: install postgresql')
if (!bin) console.log('postgres store: not tested, no Postgres server on this machine (install postgresql)')

describe.skipIf(!bin)('with a server of our own', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lamarck-postgres-'))
  const server = (program: string, ...args: readonly string[]): Buffer =>
    execFileSync(join(bin ?? '', program), args, { ...ordinaryUser(), cwd: folder, stdio: 'ignore' })
  let base = ''
  let schemas = 0

  beforeAll(async () => {
    const { uid, gid } = ordinaryUser()
    if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid)
    const port = await freePort()
    base = `postgres://lamarck@127.0.0.1:${port}`
    server('initdb', '-D', join(folder, 'files'), '-U', 'lamarck', '-A', 'trust', '-N', '-E', 'UTF8', '--locale=C')
    const settings = `-p ${port} -k ${folder} -c listen_addresses=127.0.0.1 -c fsync=off`
    server('pg_ctl', '-D', join(folder, 'files'), '-l', join(folder, 'log'), '-w', '-o', settings, 'start')
  }, 60_000)

  afterAll(() => {
    server('pg_ctl', '-D', join(folder, 'files'), '-m', 'immediate', 'stop')
    rmSync(folder, { recursive: true })
  })

  testStore(
    'postgres',
    async () => {
      const schema = `Runs ${schemas++}`
      const url = `${base}/postgres`
      return { open: (options) => postgresStore(url, { ...options, schema }), address: `${url}#${encodeURIComponent(schema)}` }
    },
    { persistent: true },
  )

  test('a database that is not there is named, with the remedy', async () => {
    const where = `${base.replace('lamarck@', '')}/nowhere (schema lamarck)`
    const secret = base.replace('lamarck@', 'lamarck:secret@')
    await expect(postgresStore(`${secret}/nowhere`)).rejects.toThrow(
      `cannot use ${where}: there is no such database: create it or correct the url`,
    )
  })

  test('a connection that is cut while idle is replaced', async () => {
    await using store = await postgresStore(`${base}/postgres`, { schema: 'cut' })
    const admin = new Client(`${base}/postgres`)
    await admin.connect()
    const cut = await admin.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and usename is not null',
    )
    await admin.end()
    expect(cut.rowCount).toBeGreaterThan(0)
    await vi.waitFor(async () => expect(await store.runs()).toEqual([]))
  })

  test('handles opened at once make the schema once', async () => {
    const stores = await Promise.all(Array.from({ length: 6 }, () => postgresStore(`${base}/postgres`, { schema: 'shared' })))
    for (const store of stores) await store[Symbol.asyncDispose]()
    expect(stores).toHaveLength(6)
  })
})

test('a server that is not there is named, with the remedy', async () => {
  const port = await freePort()
  const where = `postgres://127.0.0.1:${port}/db (schema lamarck)`
  await expect(postgresStore(`postgres://me:secret@127.0.0.1:${port}/db`)).rejects.toThrow(
    `cannot use ${where}: nothing answers there`,
  )
})

test('what is no postgres url is refused', async () => {
  await expect(postgresStore('runs.db')).rejects.toThrow(
    'a postgres store needs a url like postgres://user:password@host:5432/database',
  )
})

function findServer(): string | undefined {
  const paths = [...globSync('/usr/lib/postgresql/*/bin').sort().reverse(), ...(process.env.PATH ?? '').split(delimiter)]
  return paths.find((path) => existsSync(join(path, 'initdb')) && existsSync(join(path, 'pg_ctl')))
}

/** A user to run the server as: Postgres refuses root. */
function ordinaryUser(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {}
  const id = (what: string): number => Number(execFileSync('id', [what, 'nobody'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port')
  return address.port
}
