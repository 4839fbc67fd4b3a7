// The runs of a store, as the commands find them: which store, which run, what it was started with.
import { existsSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { ConfigError, StoreError } from '../core/errors.ts'
import type { Fact } from '../core/facts.ts'
import type { RunRow, Store } from '../core/store.ts'
import { defaultStore, openStore } from '../evolve.ts'
import { type Measured, type Report, reportOf, type Told, tell } from '../report.ts'
import { findConfig, here, loadConfig } from './config.ts'
import type { Overrides } from './overrides.ts'
import { typed } from './words.ts'

export interface StoreFlags {
  readonly store?: string
}

/** A store by name or itself, its file if it has one, and the words that name it on a command line (none for the usual one). */
export interface Place {
  readonly store: string | Store
  readonly file: string | undefined
  readonly flag: string
}

export interface Opened extends Place, AsyncDisposable {
  readonly store: Store
}

/** A run read back. */
export interface Found {
  readonly row: RunRow
  readonly facts: readonly Fact[]
  readonly told: Told
}

/** What a run was started with; `config` is relative to the folder of the store's file. */
export interface Meta {
  readonly config?: string
  readonly overrides?: Overrides
  /** The shop's run (lamarck demo), under the name it first had. */
  readonly quickstart?: { readonly seed?: number; readonly rounds?: number }
  /** The command whose run it is one of. */
  readonly partOf?: string
}

/** The store of a command: the one named, that of the config, or the usual one. Nothing is opened or made. */
export function placeOf({ store: flag }: StoreFlags, given?: string | Store): Place {
  if (flag === undefined && typeof given === 'object') return { store: given, file: undefined, flag: '' }
  const said = flag ?? (given as string | undefined) ?? defaultStore // not an object
  const isOfConfig = flag === undefined && given !== undefined
  const file = isFile(said) ? resolve(isOfConfig ? process.cwd() : here, said) : undefined
  // A database's address may hold a password. The store of a config elsewhere is found again by its name only.
  const name = isOfConfig && file !== undefined && process.cwd() !== here ? relative(here, file) : flag
  return { store: file ?? said, file, flag: name === undefined ? '' : ` --store ${name.includes('@') ? '…' : name}` }
}

/** Opens a store that must be there already. @throws {ConfigError} if there is none. */
export async function openRuns(flags: StoreFlags): Promise<Opened> {
  const config = flags.store === undefined && findConfig() !== undefined ? await loadConfig() : undefined
  const said = flags.store ?? config?.options.store ?? defaultStore
  const file = typeof said === 'string' && isFile(said) ? resolve(here, said) : undefined
  if (said === 'memory' || (file !== undefined && !existsSync(file))) {
    throw new ConfigError(`there are no runs in ${said}; start one with lamarck evolve, or name a store with --store`)
  }
  const place = placeOf(flags, config?.options.store)
  if (typeof place.store !== 'string') return { ...place, store: place.store, async [Symbol.asyncDispose]() {} }
  const store = await openStore(place.store)
  return { ...place, store, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
}

function isFile(name: string): boolean {
  return name !== 'memory' && !/^postgres(ql)?:/.test(name)
}

/** The run of that name, or the newest. @throws {ConfigError} if there is none. */
export async function findRun({ store }: Opened, id?: string): Promise<Found> {
  const rows = await store.runs()
  const [newest] = rows
  if (!newest) throw new ConfigError('there are no runs yet; start one with lamarck evolve')
  const row =
    id === undefined ? newest : (rows.find((r) => r.id === id) ?? (id === 'best' || id === 'newest' ? newest : undefined))
  if (!row)
    throw new ConfigError(
      `there is no run "${id}" (newest: ${rows
        .slice(0, 5)
        .map((r) => r.id)
        .join(', ')}); see lamarck runs`,
    )
  const facts = await store.facts(row.id)
  const told = tell(facts)
  if (!told) throw new ConfigError(`run "${row.id}" was never started; start it with lamarck evolve --id ${row.id}`)
  return { row, facts, told }
}

/** The report of a run. @throws {ConfigError} if it has not come to its end. */
export async function reportIn({ store }: Opened, { row, told }: Found): Promise<Report> {
  const report = reportOf(row.id, told, await measuredOf(store, row.id))
  if (report) return report
  throw new ConfigError(
    `run "${row.id}" has not come to its report; see ${typed(`lamarck status ${row.id}`)}, or go on with ${typed(`lamarck resume ${row.id}`)}`,
  )
}

/** What was measured of a run; nothing yet for one that was killed in its first life. */
export async function measuredOf(store: Store, id: string): Promise<Measured> {
  const kept = await store.measured(id)
  if (kept !== undefined) return JSON.parse(kept) as Measured // only `evolve` writes it
  const { done, lost } = await store.journal(id).spent()
  const usage = { input: 0, cached: 0, output: 0, reasoning: 0 }
  return { seconds: 0, lost, failed: 0, spent: done, usage, lives: 1 }
}

export function metaOf(row: RunRow): Meta {
  return JSON.parse(row.meta) as Meta // only the CLI writes it, or `{}` by code
}

/** How `meta` names a config: from the store's file, so that both may be moved together. */
export function configFrom(config: string, { file }: Place): string {
  return file === undefined ? config : relative(dirname(file), config)
}

export function configAt(config: string, { file }: Place): string {
  return file === undefined ? config : resolve(dirname(file), config)
}

/** Who runs the run now, as the store says it; undefined if nobody does. */
export async function holderOf(store: Store, id: string): Promise<string | undefined> {
  try {
    await (await store.lease(id, 'a look'))[Symbol.asyncDispose]()
    return undefined
  } catch (error) {
    const holder = error instanceof StoreError ? /is held by ("[^"]*"(?: \(.*?\))?)/.exec(error.message)?.[1] : undefined
    if (holder === undefined) throw error
    return holder
  }
}
