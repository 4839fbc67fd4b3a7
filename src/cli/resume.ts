// lamarck resume [run]

import { ConfigError } from '../core/errors.ts'
import { evolve } from '../evolve.ts'
import type { EvolveOptions } from '../options.ts'
import { loadConfig } from './config.ts'
import { demoRun } from './demo.ts'
import type { EvolveFlags } from './evolve.ts'
import { follow } from './follow.ts'
import { overridesOf, together, withOverrides } from './overrides.ts'
import { configAt, type Found, findRun, metaOf, type Opened, openRuns } from './runs-in.ts'
import { terminal } from './terminal.ts'
import { typed } from './words.ts'

export interface ResumeFlags extends EvolveFlags {
  readonly config?: string
}

export async function resumeCommand(id: string | undefined, flags: ResumeFlags): Promise<number> {
  await using opened = await openRuns(flags)
  const found = await findRun(opened, id)
  const { quickstart } = metaOf(found.row)
  const options = quickstart ? undefined : await optionsOf(found, opened, flags)
  return await follow({
    terminal: terminal(flags),
    json: flags.json ?? false,
    quiet: flags.quiet ?? false,
    verbose: flags.verbose ?? Boolean(process.env.LAMARCK_DEBUG),
    place: opened,
    start: (signal) =>
      options
        ? evolve({ ...options, id: found.row.id, store: opened.store, signal })
        : demoRun(opened, { ...quickstart, ...flags, id: found.row.id }, signal),
  })
}

/** What a run was started with, and what the flags now say over it; its own limits stay unless the flags raise them. */
export async function optionsOf(found: Found, opened: Opened, flags: ResumeFlags): Promise<EvolveOptions> {
  const { config, overrides = {}, partOf } = metaOf(found.row)
  if (partOf !== undefined) throw new ConfigError(`run "${found.row.id}" is one of several: go on with ${typed(partOf)}`)
  if (config === undefined && flags.config === undefined) {
    throw new ConfigError(
      `run "${found.row.id}" was not started by lamarck evolve: name its config with --config, or resume it in code`,
    )
  }
  const loaded = await loadConfig(flags.config ?? configAt(config ?? '', opened))
  const { state } = found.told
  return withOverrides(loaded, together(overrides, { budget: state.budget }, overridesOf(flags)))
}
