// lamarck transfer --models a,b
import { ConfigError } from '../core/errors.ts'
import { percent, points } from '../report.ts'
import { type Transfer, transfer } from '../transfer.ts'
import { overridesOf } from './overrides.ts'
import { optionsOf, type ResumeFlags } from './resume.ts'
import { findRun, metaOf, openRuns, reportIn } from './runs-in.ts'
import { table } from './table.ts'
import { safe, terminal } from './terminal.ts'

export interface TransferFlags extends ResumeFlags {
  readonly models: readonly string[]
  readonly run?: string
}

export async function transferCommand(flags: TransferFlags): Promise<number> {
  await using opened = await openRuns(flags)
  const found = await findRun(opened, flags.run)
  const report = await reportIn(opened, found)
  if (report.chosen === 0) throw new ConfigError(`run "${report.run}" chose its seed: there is no gain to transfer`)
  if (metaOf(found.row).quickstart)
    throw new ConfigError(`run "${report.run}" is the demo's, whose model is a script; evolve a task of yours`)
  // Limits of the finished run are used up: the table has those of its own flags.
  const options = { ...(await optionsOf(found, opened, flags)), budget: overridesOf(flags).budget ?? {} }
  const rows = await transfer(options, { context: report.chosenContext, models: flags.models })
  const { out } = terminal(flags)
  out(flags.json ? JSON.stringify(rows) : safe(transferText(rows)))
  return 0
}

/** A row a model: seed, chosen context, gain and its interval. */
export function transferText(rows: readonly Transfer[]): string {
  const cells = rows.map(({ model, seed, context, gain }) => [
    model,
    percent(seed.mean),
    percent(context.mean),
    points(gain.mean),
    `${points(gain.interval[0])} to ${points(gain.interval[1])}`,
    gain.shown ? 'improved' : 'not shown',
  ])
  return table([['model', 'seed', 'context', 'gain', '95 % interval', ''], ...cells], [1, 2, 3])
}
