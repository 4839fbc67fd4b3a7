// lamarck report [run]
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { changesOf } from './changes.ts'
import { here } from './config.ts'
import { reportText } from './report-text.ts'
import { findRun, openRuns, reportIn, type StoreFlags } from './runs-in.ts'
import { type CommonFlags, terminal } from './terminal.ts'
import { treeLines } from './tree-text.ts'

export interface ReportFlags extends CommonFlags, StoreFlags {
  readonly json?: boolean
  /** A file name, or true for the usual one. */
  readonly html?: string | boolean
}

export async function reportCommand(id: string | undefined, flags: ReportFlags): Promise<number> {
  await using opened = await openRuns(flags)
  const found = await findRun(opened, id)
  const report = await reportIn(opened, found)
  const screen = terminal(flags)
  const { html = false } = flags
  if (html !== false) {
    const { page } = await import('./page.ts')
    const file = typeof html === 'string' ? html : `lamarck-${report.run}.html`
    const changes = await changesOf(opened.store, report, found.facts)
    await writeFile(resolve(here, file), page({ report, state: found.told.state, createdAt: found.row.createdAt, changes }))
    screen.say(`written: ${file}`)
  } else if (flags.json) screen.out(JSON.stringify(report))
  else {
    const tree = treeLines(found.told.state, { chosen: report.chosen, limit: 30 })
    screen.out(
      [
        reportText(report, screen),
        '',
        `run ${report.run}: contexts by the holdout score that they were selected on`,
        ...tree,
      ].join('\n'),
    )
  }
  return 0
}
