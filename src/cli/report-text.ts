// The report in some 25 lines: the verdict first, then what it rests on.
import { addCost, scaleCost } from '../core/budget.ts'
import type { Noise, Overlap } from '../core/facts.ts'
import type { Interval } from '../core/statistics.ts'
import { dollars, gainLine, percent, points, type Report } from '../report.ts'
import { safe, type Terminal } from './terminal.ts'
import { clock, costs, count, many, within } from './words.ts'

/** Test problems whose score went up, down, or stayed. */
export interface Changed {
  readonly fixed: readonly string[]
  readonly broken: readonly string[]
  readonly same: number
}

export function changedOf({ per }: Pick<Report, 'per'>): Changed {
  const ids = Object.keys(per.seed)
  const change = (id: string): number => (per.chosen[id] ?? 0) - (per.seed[id] ?? 0)
  const fixed = ids.filter((id) => change(id) > 1e-12)
  const broken = ids.filter((id) => change(id) < -1e-12)
  return { fixed, broken, same: ids.length - fixed.length - broken.length }
}

/** A name and what is to be said of it. */
export type Line = readonly [name: string, text: string]

/** The verdict, in one line. */
export function verdictOf(report: Report): string {
  return gainLine(report, report.simulated)
}

/** Everything below the verdict. */
export function reportLines(report: Report): readonly Line[] {
  const { test, holdout, gain, splits, draws, counts, size, spent, measured, names } = report
  const { fixed, broken, same } = changedOf(report)
  // What the budget was charged; beside the two purposes that is calls that failed, were lost or ended outside of the facts.
  const total = measured.spent
  const rest = addCost(total, scaleCost(addCost(addCost(spent.act, spent.evolve), measured.lost), -1))
  const cut = gain.n < report.asked ? ` of ${report.asked}: the budget ended` : ''
  return [
    ['test', `${within(test.seed.mean, test.seed.interval)} → ${within(test.chosen.mean, test.chosen.interval)}`],
    ['', `${many(gain.n, 'problem')}${cut} × ${draws.test}, ${opened(report.openings)}`],
    ['problems', `${fixed.length} better, ${broken.length} worse, ${same} the same`],
    ['smallest gain', `${points(report.smallestGain).replace('+', '±')} points is what this test split can show`],
    ['holdout', `${percent(holdout.seed)} → ${percent(holdout.chosen)}  selected on: it flatters`],
    ['optimism', `${points(report.optimism)} points: gain on the holdout minus gain on test`],
    ...line('cross-validated', report.crossValidated, (x) => `${percent(x)} on the holdout`),
    ...line('confirmed', report.confirmed, (by) =>
      Object.entries(by)
        .map(([id, x]) => `node ${id} ${percent(x)}`)
        .join(', '),
    ),
    ...line(
      'ood',
      report.ood,
      (ood) => `${points(ood.gain.mean)} points (${interval(ood.gain.interval)}) on ${many(ood.gain.n, 'problem')}`,
    ),
    ['chosen', `node ${report.chosen} of ${counts.nodes}, by ${choices[report.choice]}`],
    ['rounds', roundsText(report)],
    [
      'splits',
      `train ${splits.train}, holdout ${splits.holdout} × ${draws.holdout}, ${splits.confirm ? `confirm ${splits.confirm}, ` : ''}test ${splits.test} × ${draws.test}${splits.ood ? `, ood ${splits.ood}` : ''}`,
    ],
    ...line('noise', report.noise, noiseText),
    ['method', `${names.method}, ${many(report.inFlight, 'round')} in flight`],
    ['model', `${names.model}; edits by ${names.evolver}${names.judge === names.model ? '' : `; judge ${names.judge}`}`],
    ['size', `${count(size.seed)} → ${count(size.chosen)} tokens (${size.tokenizer})`],
    ['overlap', (['train', 'holdout', 'test'] as const).map((name) => overlapText(name, report.overlap[name])).join(', ')],
    ['cost', `${costs(total)}${report.budget.usd === undefined ? '' : ` of ${dollars(report.budget.usd)}`}`],
    ['', `answers ${costs(spent.act)}`],
    ['', `edits ${costs(spent.evolve)}`],
    ...(rest.calls > 0 ? [['', `failed ${costs(rest)}`] as const] : []),
    ...(measured.lost.calls > 0 ? [['', `lost ${costs(measured.lost)}`] as const] : []),
    ['time', timeText(report)],
    ['stopped', `${stops[report.stop.why]}${report.stop.detail === undefined ? '' : ` (${report.stop.detail})`}`],
  ]
}

/** The report as text. */
export function reportText(report: Report, { paint }: Pick<Terminal, 'paint'>): string {
  const verdict = paint('bold', paint(report.simulated ? 'yellow' : report.gain.shown ? 'green' : 'yellow', verdictOf(report)))
  const lines = reportLines(report)
  const width = Math.max(...lines.map(([name]) => name.length))
  return [verdict, '', ...lines.map(([name, text]) => `${paint('dim', name.padEnd(width))}  ${safe(text)}`)].join('\n')
}

const choices = { mean: 'holdout mean', confirm: 'holdout and fresh problems', shrink: 'tree shrinkage on the holdout' } as const

const stops = {
  rounds: 'all rounds made',
  budget: 'the budget ended',
  patience: 'no gain for a while',
  perfect: 'nothing left to gain',
  done: 'nothing left to do',
  asked: 'as asked',
} as const

function line<T>(name: string, value: T | undefined, text: (value: T) => string): readonly Line[] {
  return value === undefined ? [] : [[name, text(value)]]
}

function interval([low, high]: Interval): string {
  return `${points(low)} to ${points(high)}`
}

function opened(times: number): string {
  return times === 1 ? 'opened once' : `opened ${times} times: no longer untouched`
}

function roundsText({ counts }: Report): string {
  const rest = [
    counts.cut && `${counts.cut} cut short`,
    counts.invalid && `${counts.invalid} without a usable edit`,
    counts.rejected && `${counts.rejected} not accepted`,
    counts.flagged && `${many(counts.flagged, 'node')} with copied examples`,
  ].filter((text) => text !== 0)
  return [`${counts.rounds}: ${many(counts.nodes, 'node')}`, ...rest].join(', ')
}

function overlapText(name: string, { share, copied }: Overlap): string {
  return `${name} ${percent(share)}${copied.length > 0 ? ` (${many(copied.length, 'example')} copied)` : ''}`
}

function noiseText({ within, between, draws }: Noise): string {
  const found = `variance ${within.toFixed(3)} of one answer, ${between.toFixed(3)} between problems, on the seed`
  return `${found}: ${many(draws, 'generation')} a holdout problem`
}

function timeText({ measured }: Report): string {
  const lives = measured.lives > 1 ? `, in ${measured.lives} lives` : ''
  const failed = measured.failed > 0 ? `, ${many(measured.failed, 'failed call')} made again` : ''
  return `${clock(measured.seconds)}${lives}${failed}`
}
