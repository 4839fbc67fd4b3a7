// lamarck quickstart
import type { Run } from '../evolve.ts'
import { follow } from './follow.ts'
import { type Meta, type Place, placeOf, type StoreFlags } from './runs-in.ts'
import { type CommonFlags, terminal } from './terminal.ts'

export interface QuickstartFlags extends CommonFlags, StoreFlags {
  readonly seed?: number
  readonly rounds?: number
  readonly id?: string
  readonly json?: boolean
}

export async function quickstartCommand(flags: QuickstartFlags): Promise<number> {
  const place = placeOf(flags)
  const screen = terminal(flags)
  const code = await follow({
    terminal: screen,
    json: flags.json ?? false,
    quiet: flags.quiet ?? false,
    verbose: flags.verbose ?? Boolean(process.env.LAMARCK_DEBUG),
    place,
    start: (signal) => quickRun(place, flags, signal),
  })
  if (flags.json !== true) screen.say('For a task of your own: lamarck init')
  return code
}

/** The quickstart's run, kept in a store. */
export async function quickRun(
  { store }: Place,
  { id, seed, rounds }: Pick<QuickstartFlags, 'id' | 'seed' | 'rounds'>,
  signal: AbortSignal,
): Promise<Run> {
  const { quickstart } = await import('../recipes/quickstart.ts')
  const said = { ...(seed !== undefined && { seed }), ...(rounds !== undefined && { rounds }) }
  const meta: Meta = { quickstart: said }
  return quickstart({ ...said, ...(id !== undefined && { id }), store, meta: JSON.stringify(meta), signal })
}
