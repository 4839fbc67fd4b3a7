// `lamarck demo`: one whole run on the shop in seconds, with scripted stand-ins. It shows the machinery; no improvement is claimed.
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import type { Store } from '../core/store.ts'
import { evolve, type Run } from '../evolve.ts'
import { sqlTask } from '../tasks/sql/sql.ts'
import { buildShop, shopQuestions } from './shop.ts'
import { analyst, editor } from './stand-in.ts'

/** Where the run is kept, and how long it is. */
export interface ShopRunOptions {
  readonly store?: string | Store
  /** Free-form JSON, kept with a new run. */
  readonly meta?: string
  /** A run of that name is resumed. */
  readonly id?: string
  readonly signal?: AbortSignal
  readonly seed?: number
  readonly rounds?: number
  /** Where the shop's database is written. */
  readonly folder?: string
}

/** Evolves the shop's context. The run is in the store like any other. */
export async function shopRun(options: ShopRunOptions = {}): Promise<Run> {
  const { store, meta, id, signal, seed = 0, rounds = 15, folder = '.lamarck' } = options
  mkdirSync(folder, { recursive: true })
  const database = join(folder, 'shop.sqlite')
  if (!existsSync(database)) {
    const half = `${database}.${randomUUID()}`
    buildShop(half)
    renameSync(half, database) // whole or not at all: another run may read it
  }
  return evolve({
    task: sqlTask({ name: 'shop', database, questions: shopQuestions() }),
    model: analyst(),
    evolver: editor(),
    rounds,
    inFlight: 2,
    seed,
    ...(store !== undefined && { store }),
    ...(meta !== undefined && { meta }),
    ...(id !== undefined && { id }),
    ...(signal && { signal }),
  })
}
