// lamarck runs
import { percent, points, tell } from '../report.ts'
import { openRuns, type StoreFlags } from './runs-in.ts'
import { standing } from './status.ts'
import { table } from './table.ts'
import { type CommonFlags, safe, terminal } from './terminal.ts'

export interface RunsFlags extends CommonFlags, StoreFlags {
  readonly json?: boolean
}

export async function runsCommand(flags: RunsFlags): Promise<number> {
  await using opened = await openRuns(flags)
  const rows: {
    id: string
    createdAt: number
    task: string
    model: string
    rounds: number
    best?: number
    gain?: number
    standing: string
  }[] = []
  for (const { id, createdAt } of await opened.store.runs()) {
    const told = tell(await opened.store.facts(id))
    if (!told) continue
    const { state, names } = told
    rows.push({
      id,
      createdAt,
      task: names.task,
      model: names.model,
      rounds: state.editsPlanned,
      ...(state.best && { best: state.best.score.mean }),
      ...(state.result && { gain: state.result.gain.mean }),
      standing: await standing(opened.store, id, told),
    })
  }
  const { out } = terminal(flags)
  if (flags.json) out(JSON.stringify(rows))
  else {
    const lines = rows.map((r) => [
      r.id,
      new Date(r.createdAt).toISOString().slice(0, 16).replace('T', ' '),
      r.task,
      r.model,
      String(r.rounds),
      r.best === undefined ? '' : percent(r.best),
      r.gain === undefined ? '' : points(r.gain),
      r.standing,
    ])
    out(
      safe(
        table(
          [['run', 'started (UTC)', 'task', 'model', 'rounds', 'holdout (selected on)', 'gain', 'standing'], ...lines],
          [4, 5, 6],
        ),
      ),
    )
  }
  return 0
}
