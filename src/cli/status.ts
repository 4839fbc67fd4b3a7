// lamarck status [run]
import { meanInterval } from '../core/statistics.ts'
import type { Store } from '../core/store.ts'
import { isSimulated, type Told } from '../report.ts'
import { findRun, holderOf, measuredOf, openRuns, type StoreFlags } from './runs-in.ts'
import { type CommonFlags, safe, terminal } from './terminal.ts'
import { treeLines } from './tree-text.ts'
import { costs, typed, within } from './words.ts'

export interface StatusFlags extends CommonFlags, StoreFlags {
  readonly json?: boolean
}

export async function statusCommand(id: string | undefined, flags: StatusFlags): Promise<number> {
  await using opened = await openRuns(flags)
  const { row, told } = await findRun(opened, id)
  const { state, names } = told
  const now = await standing(opened.store, row.id, { state, names })
  const { done, lost } = await opened.store.journal(row.id).spent()
  const measured = await measuredOf(opened.store, row.id)
  const { out, paint } = terminal(flags)
  if (flags.json) {
    const { best, budget, rounds, editsPlanned, paused } = state
    const nodes = state.nodes.map(({ id, parents, round, score }) => ({ id, parents, round, holdout: score.mean }))
    out(
      JSON.stringify({
        run: row.id,
        standing: now,
        names,
        rounds,
        made: editsPlanned,
        paused,
        best: best?.id,
        budget,
        spent: done,
        lost,
        measured,
        nodes,
      }),
    )
    return 0
  }
  const best = state.best
  const lines = [
    `${paint('bold', `run ${row.id}`)}  ${safe(now)}`,
    safe(`${names.method} on ${names.task}: ${names.model}, edits by ${names.evolver}`),
    `round ${state.editsPlanned} of ${state.rounds}${best ? `, best ${within(best.score.mean, meanInterval(Object.values(best.score.per)).interval)} node ${best.id}` : ''}`,
    `spent ${costs(done)}${lost.calls > 0 ? `; in flight or lost ${costs(lost)}` : ''}`,
    '',
    ...treeLines(state, { chosen: state.result?.chosen }),
  ]
  out(lines.join('\n'))
  return 0
}

/** One word or two for where a run stands. */
export async function standing(store: Store, id: string, { state, names }: Pick<Told, 'state' | 'names'>): Promise<string> {
  if (state.result && isSimulated(names)) return 'simulated: no claim'
  if (state.result) return state.result.gain.shown ? 'improved' : 'no improvement shown'
  const holder = await holderOf(store, id)
  if (holder === undefined) return `not finished: ${typed(`lamarck resume ${id}`)}`
  return state.paused ? `paused (${holder})` : state.stopped ? `looking at test (${holder})` : `running (${holder})`
}
