// The tables of a race as cells, for the terminal, for pages and for Markdown.
import { dollars, percent, points } from '../report.ts'
import { type BenchRecord, resultsIn } from './record.ts'
import { difference, type Figure, manyTracks, seedStanding, standings } from './standings.ts'

/** One table. */
export interface Cells {
  readonly title: string
  /** The first row is the head; the first column names the rows. */
  readonly rows: readonly (readonly string[])[]
}

/** Groups beyond which a table of them is too wide to read. */
const mostGroups = 12

/** The race, its groups, and the paired differences. */
export function benchTables(record: BenchRecord): readonly Cells[] {
  const results = resultsIn(record)
  const all = standings(results, record)
  const seed = seedStanding(results, record)
  const groups = Object.keys(all[0]?.byGroup ?? {})
  const isPriced = all.some((s) => s.usd > 0)
  const knowsWay = all.some((s) => s.share)
  const isTimed = record.settings.parallel === 1 // beside others a run takes longer
  const title = (text: string): string => (record.caption === undefined ? text : `${text}, ${record.caption}`)
  const main = [
    [
      record.caption ?? record.suite,
      ...['test, %', 'over the seed, points', ...(knowsWay ? ['of the way, %'] : []), 'optimism', 'edits', 'invalid'],
      ...['calls', 'tokens', ...(isPriced ? ['dollars'] : []), ...(isTimed ? ['seconds'] : [])],
    ],
    [
      'seed context',
      scored(seed.test),
      ...Array.from({ length: 6 + [knowsWay, isPriced, isTimed].filter(Boolean).length }, () => ''),
    ],
    ...all.map((s) => [
      s.entrant,
      scored(s.test),
      gained(s.gain),
      ...(knowsWay ? [s.share ? gained(s.share) : ''] : []),
      points(s.optimism),
      s.rounds.toFixed(1),
      percent(s.invalid),
      ...[
        Math.round(s.calls).toString(),
        Math.round(s.tokens).toString(),
        ...(isPriced ? [dollars(s.usd)] : []),
        ...(isTimed ? [s.seconds.toFixed(1)] : []),
      ],
    ]),
  ]
  const byGroup = [
    [record.caption ?? record.suite, ...groups],
    ['seed context', ...groups.map((group) => scored(seed.byGroup[group]!))],
    ...all.map((s) => [s.entrant, ...groups.map((group) => scored(s.byGroup[group]!))]),
  ]
  const pairs = record.pairs.flatMap(([one, other]) => {
    const found = difference(results, one, other)
    return found ? [[one, other, gained(found), verdict(found)]] : []
  })
  return [
    { title: title('Test score'), rows: main },
    ...(groups.length > 1 && groups.length <= mostGroups ? [{ title: title('Test score by task'), rows: byGroup }] : []),
    ...(pairs.length > 0
      ? [
          {
            title: title('Paired differences on test'),
            rows: [[record.caption ?? record.suite, 'against', 'points', ''], ...pairs],
          },
        ]
      : []),
  ]
}

/** How the numbers were made, a sentence each. */
export function benchNotes(record: BenchRecord): readonly string[] {
  const { seeds, tracks, budget, runs, settings } = record
  const limits = Object.entries(budget).map(([unit, most]) => `${most} ${unit}`)
  const most = limits.length > 0 ? limits.join(', ') : `as many calls as ${settings.rounds} rounds of LSE take`
  const many = tracks.length >= manyTracks
  return [
    `${runs.length} runs: ${record.entrants.length} rows × ${tracks.length} tasks × ${seeds.length} seeds; a run has at most ${most}, its look at test included.`,
    many
      ? '95 % intervals: t over tasks, seeds averaged within a task.'
      : '95 % intervals: about other seeds and other test problems of these same tasks, not about other tasks.',
    ...('policies' in settings ? ['Each policy is of one training: what another would have given is not in the intervals.'] : []),
    'Means over runs; test is opened once a run, after the choice on the holdout. Optimism: gain on the holdout minus gain on test, in points.',
  ]
}

function scored({ mean, interval: [low, high] }: Figure): string {
  return `${(100 * mean).toFixed(1)} [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`
}

function gained({ mean, interval: [low, high] }: Figure): string {
  return `${points(mean)} [${points(low)}, ${points(high)}]`
}

function verdict({ interval: [low, high] }: Figure): string {
  return low > 0 ? 'higher' : high < 0 ? 'lower' : 'not told apart'
}
