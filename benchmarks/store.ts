// How many journal entries a second the SQLite store keeps, beside the same rows written by bare node:sqlite, for several numbers of
// puts a turn of the event loop. Run: node benchmarks/store.ts
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate as turn } from 'node:timers/promises'
import type { Entry } from '../src/core/store.ts'
import { sqliteStore } from '../src/stores/sqlite.ts'

const puts = 20_000
const folder = mkdtempSync(join(tmpdir(), 'lamarck-bench-'))
const bound = { calls: 1, tokens: 1200, usd: 0.00123 }
const outcome = JSON.stringify({ text: 'x'.repeat(600) })
const entry = (i: number): Entry => ({
  round: 0,
  key: `0.0.0/example ${i}#0/0~0`,
  question: 'abcdef0123456789',
  bound,
  outcome,
  cost: bound,
})

async function timed(
  size: number,
  write: (entries: readonly Entry[]) => Promise<unknown>,
): Promise<{ cpu: number; rate: number }> {
  const start = performance.now()
  const before = process.cpuUsage()
  for (let i = 0; i < puts; i += size) await write(Array.from({ length: size }, (_, k) => entry(i + k)))
  const { user, system } = process.cpuUsage(before)
  return { cpu: (user + system) / puts, rate: puts / ((performance.now() - start) / 1000) }
}

const bare = new DatabaseSync(join(folder, 'bare.db'))
bare.exec(`pragma journal_mode = wal; pragma synchronous = normal;
  create table journal (run, round, key, question, bc, bt, bu, c, t, u, outcome, unique (run, round, key))`)
const insert = bare.prepare('insert into journal values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
await using store = await sqliteStore(join(folder, 'store.db'))
await timed(8, (entries) => Promise.all(entries.map((e) => store.journal('warm up').put(e))))

for (const size of [1, 8, 64, 400]) {
  const kept = await timed(size, (entries) => Promise.all(entries.map((e) => store.journal(`${size}`).put(e))))
  const base = await timed(size, async (entries) => {
    await turn()
    bare.exec('begin')
    for (const e of entries) insert.run(`${size}`, e.round, e.key, e.question, 1, 1200, 0.00123, 1, 1200, 0.00123, outcome)
    bare.exec('commit')
  })
  const ratio = (kept.cpu / base.cpu).toFixed(2)
  console.log(
    `${size} puts a turn: ${Math.round(kept.rate)} puts/s, ${kept.cpu.toFixed(1)} µs CPU a put, ${ratio} × bare node:sqlite`,
  )
}
rmSync(folder, { recursive: true })
