// The file that a race leaves: every run, and every setting and hash that is needed to race again. The tables are made from it alone.
import type { Budget } from '../core/budget.ts'
import { mean } from '../core/score.ts'
import type { Ran } from './race.ts'
import { manyTracks, type Result } from './standings.ts'
import type { Suite } from './suite.ts'

const columns = [
  ...['entrant', 'track', 'seed', 'before', 'after', 'optimism', 'calls', 'tokens', 'usd', 'seconds', 'rounds', 'nodes'],
  ...['invalid', 'stop', 'chosen'],
] as const

/** A race as JSON. */
export interface BenchRecord {
  readonly kind: 'bench'
  readonly suite: string
  readonly caption?: string
  readonly command: string
  /** Version of the package, of Node, and the machine. */
  readonly made: Readonly<Record<string, string>>
  readonly settings: Readonly<Record<string, unknown>>
  readonly budget: Budget
  readonly seeds: readonly number[]
  readonly tracks: readonly { readonly name: string; readonly group: string; readonly way?: number }[]
  readonly entrants: readonly { readonly name: string; readonly evolver: string }[]
  readonly pairs: readonly (readonly [string, string])[]
  readonly columns: readonly string[]
  /** Entrants and tracks by their place in the lists above; no run is left out. */
  readonly runs: readonly (readonly (number | string)[])[]
  /** Scores of each run's test problems, where tracks are too few to be a sample. */
  readonly problems?: readonly Ran['per'][]
  /** Mean score so far by calls. */
  readonly curves: readonly (readonly (readonly [calls: number, score: number])[])[]
  /** What the curves show. */
  readonly curve: string
}

/** The runs of a race, and how it was asked for. */
export interface Made extends Pick<BenchRecord, 'command' | 'made' | 'budget' | 'seeds' | 'settings'> {
  readonly rans: readonly Ran[]
}

/** The record of a race that is over. */
export function recordOf(suite: Suite, { rans, settings, ...made }: Made): BenchRecord {
  const { name, caption, entrants, tracks, pairs } = suite
  const names = entrants.map((entrant) => entrant.name)
  const groups = [...Map.groupBy(tracks, (track) => track.group).values()]
  const round = (x: number): number => Number(x.toFixed(5))
  const evolvers = names.map((n) => [...new Set(rans.filter((r) => r.entrant === n).map((r) => r.evolver))].join(' · '))
  return {
    kind: 'bench',
    suite: name,
    ...(caption !== undefined && { caption }),
    ...made,
    settings: { ...suite.shared, ...suite.settings, ...settings },
    tracks: tracks.map(({ name: track, group, way }) => ({ name: track, group, ...(way !== undefined && { way: round(way) }) })),
    entrants: names.map((n, i) => ({ name: n, evolver: evolvers[i]! })),
    pairs: pairs ?? names.slice(1).map((n) => [n, names[0]!] as const),
    columns,
    runs: rans.map((r) => [
      ...[names.indexOf(r.entrant), tracks.findIndex((t) => t.name === r.track), r.seed],
      ...[round(r.before), round(r.after), round(r.optimism)],
      ...[
        r.cost.calls,
        r.cost.tokens,
        round(r.cost.usd),
        Number(r.seconds.toFixed(2)),
        r.rounds,
        r.nodes,
        r.invalid,
        r.stop,
        r.chosen,
      ],
    ]),
    ...(groups.some((its) => its.length < manyTracks) && { problems: rans.map((r) => r.per) }),
    curves: names.map((n) => meanCurve(rans.filter((r) => r.entrant === n))),
    curve: tracks.every((track) => track.way !== undefined)
      ? 'true score on test of the best by the holdout'
      : 'best score on the holdout so far',
  }
}

/** The runs of a record as standings need them. */
export function resultsIn(record: BenchRecord): readonly Result[] {
  const at = new Map(record.columns.map((name, i) => [name, i]))
  return record.runs.map((run, i) => {
    const number = (name: (typeof columns)[number]): number => Number(run[at.get(name)!])
    const per = record.problems?.[i]
    return {
      entrant: record.entrants[number('entrant')]!.name,
      track: record.tracks[number('track')]!.name,
      ...{ seed: number('seed'), before: number('before'), after: number('after'), optimism: number('optimism') },
      cost: { calls: number('calls'), tokens: number('tokens'), usd: number('usd') },
      ...{ seconds: number('seconds'), rounds: number('rounds'), nodes: number('nodes'), invalid: number('invalid') },
      stop: String(run[at.get('stop')!]),
      ...(per && { per }),
    }
  })
}

/** Points of a mean curve. */
const points = 25

function meanCurve(rans: readonly Ran[]): BenchRecord['curves'][number] {
  const last = Math.max(0, ...rans.map((r) => r.curve.at(-1)?.[0] ?? 0))
  const first = Math.max(0, ...rans.map((r) => r.curve[0]?.[0] ?? 0))
  if (last <= first) return rans.length === 0 ? [] : [[first, mean(rans.map((r) => r.curve[0]?.[1] ?? 0))]]
  return Array.from({ length: points }, (_, i) => {
    const calls = first + ((last - first) * i) / (points - 1)
    const reached = rans.map((r) => (r.curve.findLast(([at]) => at <= calls + 1e-6) ?? r.curve[0])?.[1] ?? 0)
    return [Math.round(calls), Number(mean(reached).toFixed(4))] as const
  })
}
