// lamarck stop, pause, continue, branch, prune: wishes left for whoever runs the run.
import { ConfigError } from '../core/errors.ts'
import type { Steer } from '../core/facts.ts'
import { objection } from '../core/state.ts'
import { findRun, holderOf, openRuns, type StoreFlags } from './runs-in.ts'
import { type CommonFlags, terminal } from './terminal.ts'
import { typed } from './words.ts'

/** Leaves a wish. @throws {ConfigError} when the run can't follow it. */
export async function steerCommand(id: string | undefined, steer: Steer, flags: CommonFlags & StoreFlags): Promise<number> {
  await using opened = await openRuns(flags)
  const { row, told } = await findRun(opened, id)
  const why = objection(told.state, steer)
  if (why !== undefined) throw new ConfigError(`run "${row.id}": ${why}; see lamarck status ${row.id}`)
  const isOver = told.state.result !== undefined
  if (isOver && (steer.wish === 'stop' || steer.wish === 'pause' || steer.wish === 'continue')) {
    throw new ConfigError(`run "${row.id}" is over, there is nothing to ${steer.wish}; see lamarck report ${row.id}`)
  }
  await opened.store.steer(row.id, steer)
  const holder = isOver ? undefined : await holderOf(opened.store, row.id)
  const more = isOver ? ` --rounds ${told.state.rounds + 1}` : ''
  const when =
    holder === undefined ? `when it goes on: ${typed(`lamarck resume ${row.id}${more}${opened.flag}`)}` : 'between two rounds'
  terminal(flags).say(`run ${row.id} will ${said[steer.wish](steer)} ${when}`)
  return 0
}

const said: Readonly<Record<Steer['wish'], (steer: Steer) => string>> = {
  stop: () => 'stop and look at test',
  pause: () => 'pause',
  continue: () => 'continue',
  branch: (s) => `branch from node ${'node' in s ? s.node : ''}`,
  prune: (s) => `no longer edit node ${'node' in s ? s.node : ''}`,
  add: () => 'score a context written by hand',
  extend: () => 'make more rounds',
}
