// lamarck demo: one run on a small shop, answered and edited by scripts; in seconds, offline, without any optional package.
import type { Run } from '../evolve.ts'
import { follow } from './follow.ts'
import { type Meta, type Place, placeOf, type StoreFlags } from './runs-in.ts'
import { type CommonFlags, terminal } from './terminal.ts'
import { typed } from './words.ts'

/** The flags of `lamarck demo`. */
export interface DemoFlags extends CommonFlags, StoreFlags {
  readonly seed?: number
  readonly rounds?: number
  readonly id?: string
  readonly json?: boolean
}

/** Runs the shop and prints its report. Resolves to the exit code. */
export async function demoCommand(flags: DemoFlags): Promise<number> {
  const place = placeOf(flags)
  const screen = terminal(flags)
  const code = await follow({
    terminal: screen,
    json: flags.json ?? false,
    quiet: flags.quiet ?? false,
    verbose: flags.verbose ?? Boolean(process.env.LAMARCK_DEBUG),
    place,
    start: (signal) => demoRun(place, flags, signal),
  })
  if (flags.json !== true) screen.say(`For a task of your own: ${typed('lamarck init')}`)
  return code
}

/** The shop's run, kept in a store. */
export async function demoRun(
  { store }: Place,
  { id, seed, rounds }: Pick<DemoFlags, 'id' | 'seed' | 'rounds'>,
  signal: AbortSignal,
): Promise<Run> {
  const { shopRun } = await import('../recipes/shop-run.ts')
  const said = { ...(seed !== undefined && { seed }), ...(rounds !== undefined && { rounds }) }
  const meta: Meta = { quickstart: said }
  return shopRun({ ...said, ...(id !== undefined && { id }), store, meta: JSON.stringify(meta), signal })
}
