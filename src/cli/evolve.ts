// lamarck evolve [config]
import { evolve } from '../evolve.ts'
import { loadConfig } from './config.ts'
import { follow } from './follow.ts'
import { contextFromTree, keepable, overridesOf, type RunFlags, withOverrides } from './overrides.ts'
import { configFrom, type Meta, placeOf, type StoreFlags } from './runs-in.ts'
import { type CommonFlags, terminal } from './terminal.ts'

export interface EvolveFlags extends CommonFlags, RunFlags, StoreFlags {
  readonly id?: string
  readonly json?: boolean
  readonly startFrom?: string
}

export async function evolveCommand(given: string | undefined, flags: EvolveFlags): Promise<number> {
  const config = await loadConfig(given)
  const context = flags.startFrom === undefined ? {} : { context: await contextFromTree(flags.startFrom, config) }
  const overrides = { ...overridesOf(flags), ...context }
  const id = flags.id === undefined ? {} : { id: flags.id }
  const place = placeOf(flags, config.options.store)
  const meta: Meta = { config: configFrom(config.file, place), overrides: keepable(overrides) }
  const options = { ...withOverrides(config, overrides), ...id, store: place.store, meta: JSON.stringify(meta) }
  return follow({
    terminal: terminal(flags),
    json: flags.json ?? false,
    quiet: flags.quiet ?? false,
    verbose: flags.verbose ?? Boolean(process.env.LAMARCK_DEBUG),
    place,
    start: (signal) => evolve({ ...options, signal }),
  })
}
