// Where a run stands, as a few lines at the bottom of a terminal that are drawn anew; events go by above them.
import { meanInterval } from '../core/statistics.ts'
import type { Progress } from '../evolve.ts'
import { dollars, percent } from '../report.ts'
import { safe, type Terminal } from './terminal.ts'
import { clock, count, within } from './words.ts'

/** Times a second that the block is drawn. */
const rate = 5

export class Screen implements Disposable {
  #terminal: Terminal
  #progress: () => Progress | undefined
  #timer: NodeJS.Timeout
  #drawn = 0
  #began: { readonly at: number; readonly settled: number } | undefined

  constructor(terminal: Terminal, progress: () => Progress | undefined) {
    this.#terminal = terminal
    this.#progress = progress
    this.#timer = setInterval(() => this.#draw(), 1000 / rate)
    this.#timer.unref()
  }

  /** Takes the block away, prints, and draws it again below. */
  above(print: () => void): void {
    this.#clear()
    print()
    this.#draw()
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#clear()
  }

  #draw(): void {
    const progress = this.#progress()
    if (!progress) return
    this.#began ??= { at: progress.seconds, settled: settledIn(progress) }
    this.#clear()
    // One column stays free: a line as wide as the screen would be two.
    const lines = fold(progressParts(progress, this.#began), Math.max(10, (this.#terminal.columns ?? 80) - 1))
    this.#terminal.draw(lines.map((line) => `${this.#terminal.paint('cyan', line)}\n`).join(''))
    this.#drawn = lines.length
  }

  #clear(): void {
    if (this.#drawn > 0) this.#terminal.draw(`\r\u001b[${this.#drawn}A\u001b[0J`)
    this.#drawn = 0
  }
}

/** Rounds of edits that are over. */
function settledIn({ state }: Progress): number {
  return state.editsPlanned - [...state.open.values()].filter((plan) => plan.kind === 'edit').length
}

/** What the block says, piece by piece; `began` = when this life of the run was first seen. */
export function progressParts(progress: Progress, began: { readonly at: number; readonly settled: number }): readonly string[] {
  const { state, inFlight, spent, seconds } = progress
  const settled = settledIn(progress)
  const { best, budget } = state
  const step = state.stopped
    ? 'looking at test'
    : state.nodes.length === 0
      ? 'scoring the seed'
      : `round ${Math.min(settled + 1, state.rounds)} of ${state.rounds}`
  const left = timeLeft({ done: settled - began.settled, todo: state.rounds - settled, seconds: seconds - began.at })
  return [
    state.paused ? `paused, ${step}` : step,
    ...(best ? [`best ${within(best.score.mean, meanInterval(Object.values(best.score.per)).interval)} node ${best.id}`] : []),
    ...(best && best.id !== 0 && state.nodes[0] ? [`seed ${percent(state.nodes[0].score.mean)}`] : []),
    ...(spent.usd > 0 || budget.usd !== undefined ? [`${dollars(spent.usd)}${of(budget.usd, dollars)}`] : []),
    `${count(spent.calls)}${of(budget.calls, count)} calls`,
    ...(budget.tokens === undefined ? [] : [`${count(spent.tokens)}${of(budget.tokens, count)} tokens`]),
    `${inFlight} in flight`,
    `${clock(seconds)}${of(budget.minutes, (minutes) => clock(60 * minutes))}`,
    ...(left === undefined || state.stopped ? [] : [`about ${clock(left)} left`]),
  ]
}

function of(limit: number | undefined, say: (limit: number) => string): string {
  return limit === undefined ? '' : ` of ${say(limit)}`
}

function timeLeft({ done, todo, seconds }: { done: number; todo: number; seconds: number }): number | undefined {
  return done > 0 ? (seconds / done) * Math.max(0, todo) : undefined
}

/** Pieces in lines of at most so many columns; a piece that is wider is cut. */
export function fold(parts: readonly string[], columns: number): readonly string[] {
  const lines: string[] = []
  for (const part of parts.map((p) => safe(p).slice(0, columns))) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 3 + part.length <= columns) lines[lines.length - 1] = `${last} · ${part}`
    else lines.push(part)
  }
  return lines
}
