// A process that writes to a store until it is killed, and says after each write that was promised how much is kept.
import type { Store } from '../../src/core/store.ts'

const address = process.argv[2] ?? ''

async function open(): Promise<Store> {
  if (!address.startsWith('postgres:')) return (await import('../../src/stores/sqlite.ts')).sqliteStore(address)
  const url = new URL(address)
  return (await import('../../src/stores/postgres.ts')).postgresStore(address, { schema: decodeURIComponent(url.hash.slice(1)) })
}

await using store = await open()
await using _lease = await store.lease('a', 'writer')
const journal = store.journal('a')
let groups = (await store.facts('a')).length / 3
let turns = 0
while ((await journal.read(turns)).length > 0) turns++

const bound = { calls: 1, tokens: 1, usd: 1 }
for (;;) {
  const first = groups * 3
  const facts = [0, 1, 2].map((i) => ({ kind: 'stopped', why: 'asked', detail: `${first + i}` }) as const)
  await store.append('a', facts, first)
  groups++
  say()
  await Promise.all(
    Array.from({ length: 150 }, (_, i) => journal.put({ round: turns, key: `${turns}.0.${i}`, question: 'q', bound })),
  )
  turns++
  say()
}

function say(): void {
  process.stdout.write(`${JSON.stringify({ groups, turns })}\n`) // synchronous for a pipe on POSIX
}
