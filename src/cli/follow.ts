// A run followed to its end: its progress on the screen, its report, the exit code. Ctrl-C stops it where it is; nothing is lost.
import { BudgetError, ConfigError, StoreError } from '../core/errors.ts'
import type { Evolved, Run } from '../evolve.ts'
import { exitCodeOf } from '../report.ts'
import { reportText } from './report-text.ts'
import type { Place } from './runs-in.ts'
import { Screen } from './screen.ts'
import { table } from './table.ts'
import { oneLine, safe, type Terminal } from './terminal.ts'
import { typed } from './words.ts'

export interface Follow {
  readonly terminal: Terminal
  readonly json: boolean
  readonly quiet: boolean
  readonly verbose: boolean
  readonly place: Pick<Place, 'store' | 'flag'>
  start(signal: AbortSignal): Run | Promise<Run>
}

/** Milliseconds that calls in flight get to end after Ctrl-C. What is not over by then is lost; the journal says so. */
const grace = 1_500

/** Follows a run. Resolves to the exit code. */
export async function follow({ terminal, json, quiet, verbose, place, start }: Follow): Promise<number> {
  const stop = new AbortController()
  let resume = ''
  using _signals = onSignal((again) => {
    if (again) process.exit(130)
    stop.abort(new Error('interrupted'))
    setTimeout(() => {
      terminal.warn(interrupted(resume))
      process.exit(130)
    }, grace).unref()
  })
  const run = await start(stop.signal)
  const isKept = place.store !== 'memory'
  let isUnderway = false
  const begin = (): void => {
    isUnderway = true
    if (isKept) resume = `lamarck resume ${run.id}${place.flag}`
  }
  try {
    const { report } = await shown(run, { terminal, json, quiet, onEvent: begin })
    if (json) terminal.out(JSON.stringify({ kind: 'report', ...report }))
    else {
      terminal.out(`\n${reportText(report, terminal)}`)
      if (isKept) terminal.say(`\n${nextSteps(run.id, report.gain.shown && !report.simulated, place.flag)}`)
    }
    return exitCodeOf(report)
  } catch (error) {
    if (stop.signal.aborted) {
      terminal.warn(interrupted(resume))
      return 130
    }
    const code = codeOf(error, isUnderway)
    terminal.warn(`${code === 5 ? 'failed: ' : ''}${failure(error, verbose)}`)
    if (resume !== '') terminal.warn(`the run is saved; go on with: ${typed(resume)}`)
    return code
  }
}

function interrupted(resume: string): string {
  return resume === '' ? 'interrupted' : `interrupted; the run is saved. Go on with: ${typed(resume)}`
}

interface Showing {
  readonly terminal: Terminal
  readonly json: boolean
  readonly quiet: boolean
  onEvent(): void
}

async function shown(run: Run, { terminal, json, quiet, onEvent }: Showing): Promise<Evolved> {
  using screen = terminal.columns === undefined || json || quiet ? undefined : new Screen(terminal, () => run.progress())
  const above = (print: () => void): void => (screen ? screen.above(print) : print())
  let isFirst = true
  for await (const event of run.events) {
    onEvent()
    if (isFirst && !json) above(() => terminal.say(`run ${run.id}`))
    isFirst = false
    if (json) terminal.out(JSON.stringify({ run: run.id, ...event }))
    else if (event.kind === 'warning') above(() => terminal.warn(terminal.paint('yellow', `warning: ${oneLine(event.line)}`)))
    else if (event.kind !== 'reported' && event.kind !== 'note') above(() => terminal.say(oneLine(event.line)))
  }
  return run.result
}

/** Calls back on the first and on each further signal to end. */
export function onSignal(then: (again: boolean) => void): Disposable {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  let times = 0
  const heard = (): void => then(times++ > 0)
  for (const signal of signals) process.on(signal, heard)
  return {
    [Symbol.dispose]() {
      for (const signal of signals) process.off(signal, heard)
    },
  }
}

/** What went wrong, in one line; with its stack where that was asked for. */
export function failure(error: unknown, verbose: boolean): string {
  if (!(error instanceof Error)) return oneLine(String(error))
  return verbose ? safe(error.stack ?? error.message) : oneLine(error.message, 1000)
}

/** 2 where it is the user's to fix, 4 for a budget that ended too early, else 5. A store that can't even be opened is the user's. */
export function codeOf(error: unknown, isUnderway: boolean): number {
  if (error instanceof ConfigError) return 2
  if (error instanceof BudgetError) return 4
  return error instanceof StoreError && !isUnderway ? 2 : 5
}

function nextSteps(id: string, improved: boolean, storeFlag: string): string {
  const steps = [
    [`lamarck report ${id} --html${storeFlag}`, 'every change on one page'],
    [`lamarck diff ${id}${storeFlag}`, 'seed and chosen context compared'],
    ...(improved ? [[`lamarck apply ${id} FILE${storeFlag}`, 'the context into a file of yours']] : []),
  ]
  return table(steps)
}
