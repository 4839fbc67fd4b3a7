// The table of a race: means with intervals, differences paired by track, seed and problem.
//
// Intervals, 95 %. Eight tracks or more are taken as a sample of tasks: seeds are averaged within each track, then a t interval over tracks;
// chance of seeds, test problems and answers is inside the spread between tracks, so nothing needs resampling. Fewer tracks are taken
// as they are, and the interval is about other seeds and other test problems of the same tasks: the variance of seed means plus that of
// problem means, which counts their interaction twice (a bit wide, as the two-level bootstrap); degrees of freedom by Satterthwaite.
// Source: docs/guide/read-a-report.md, and scoring simulations: the unit is the problem, never the single answer.

import { mean } from '../core/score.ts'
import { deviation, type Interval, meanInterval, studentQuantile } from '../core/statistics.ts'
import type { Ran } from './race.ts'

/** Tracks from which on they count as a sample. */
export const manyTracks = 8

/** A mean and its 95 % interval. */
export interface Figure {
  readonly mean: number
  readonly interval: Interval
}

/** A run as standings need it. */
export type Result = Pick<
  Ran,
  'entrant' | 'track' | 'seed' | 'before' | 'after' | 'optimism' | 'cost' | 'seconds' | 'rounds' | 'nodes' | 'invalid' | 'stop'
> & { readonly per?: Ran['per'] }

/** One row of the table. */
export interface Standing {
  readonly entrant: string
  readonly test: Figure
  readonly byGroup: Readonly<Record<string, Figure>>
  /** Chosen minus seed context. */
  readonly gain: Figure
  /** Gain as a share of the way, where every track knows its own. */
  readonly share?: Figure
  readonly optimism: number
  /** Means a run. */
  readonly calls: number
  readonly tokens: number
  readonly usd: number
  readonly seconds: number
  readonly rounds: number
  /** Share of edits that could not be used. */
  readonly invalid: number
}

/** What was raced on. */
export interface Raced {
  readonly tracks: readonly { readonly name: string; readonly group: string; readonly way?: number }[]
}

/** One row an entrant, in the order they first ran. */
export function standings(results: readonly Result[], { tracks }: Raced): readonly Standing[] {
  const groups = [...new Set(tracks.map((track) => track.group))]
  const ways = tracks.flatMap((track) => track.way ?? [])
  return [...Map.groupBy(results, (r) => r.entrant)].map(([entrant, its]) => {
    const test = samplesOf(its, after)
    const inGroup = (group: string): readonly Sample[] =>
      test.filter((s) => tracks.some((track) => track.name === s.track && track.group === group))
    const gains = samplesOf(its, gain)
    const gained = figure(gains)
    const of = (value: (r: Result) => number): number => mean(its.map(value))
    return {
      entrant,
      test: figure(test, [0, 1]),
      byGroup: Object.fromEntries(groups.map((group) => [group, figure(inGroup(group), [0, 1])])),
      gain: gained,
      ...(ways.length === tracks.length && { share: scaled(gained, mean(ways)) }),
      optimism: of((r) => r.optimism),
      calls: of((r) => r.cost.calls),
      tokens: of((r) => r.cost.tokens),
      usd: of((r) => r.cost.usd),
      seconds: of((r) => r.seconds),
      rounds: of((r) => r.rounds),
      invalid:
        of((r) => r.invalid) /
        Math.max(
          1,
          of((r) => r.rounds),
        ),
    }
  })
}

/** The seed context on test: all entrants began with it, and met the same draws. */
export function seedStanding(results: readonly Result[], { tracks }: Raced): Pick<Standing, 'test' | 'byGroup'> {
  const samples = samplesOf(
    results.filter((r) => r.entrant === results[0]?.entrant),
    before,
  )
  const byGroup = [...Map.groupBy(tracks, (track) => track.group)].map(([group, its]) => {
    const inside = samples.filter((s) => its.some((track) => track.name === s.track))
    return [group, figure(inside, [0, 1])] as const
  })
  return { test: figure(samples, [0, 1]), byGroup: Object.fromEntries(byGroup) }
}

/** Test score of one entrant minus that of another at the same tracks, seeds and problems; undefined where they share none. */
export function difference(results: readonly Result[], one: string, other: string): Figure | undefined {
  const key = (r: Result): string => JSON.stringify([r.track, r.seed])
  const beside = new Map(results.filter((r) => r.entrant === other).map((r) => [key(r), r]))
  const pairs = results.flatMap((r) => {
    const its = r.entrant === one ? beside.get(key(r)) : undefined
    return its ? [{ ...r, before: its.after, ...paired(r, its) }] : []
  })
  return pairs.length === 0 ? undefined : figure(samplesOf(pairs, gain))
}

function paired(r: Result, other: Result): Pick<Result, 'per'> {
  return r.per && other.per ? { per: { seed: other.per.chosen, chosen: r.per.chosen } } : {}
}

/** What a run says of its own, and of each of its problems. */
interface Value {
  run(r: Result): number
  problem(before: number, after: number): number
}
const before: Value = { run: (r) => r.before, problem: (then) => then }
const after: Value = { run: (r) => r.after, problem: (_, now) => now }
const gain: Value = { run: (r) => r.after - r.before, problem: (then, now) => now - then }

/** One track: a value a seed, and the mean over seeds a problem. */
interface Sample {
  readonly track: string
  readonly seeds: readonly number[]
  readonly problems: readonly number[]
}

function samplesOf(results: readonly Result[], value: Value): readonly Sample[] {
  return [...Map.groupBy(results, (r) => r.track)].map(([track, its]) => {
    const by = new Map<string, number[]>()
    for (const { per } of its) {
      for (const [id, now] of Object.entries(per?.chosen ?? {})) {
        by.set(id, [...(by.get(id) ?? []), value.problem(per?.seed[id] ?? Number.NaN, now)])
      }
    }
    return { track, seeds: its.map((r) => value.run(r)), problems: [...by.values()].map(mean) }
  })
}

/** The mean over tracks and its interval. */
export function figure(samples: readonly Sample[], within: Interval = [-1, 1]): Figure {
  const means = samples.map((s) => mean(s.seeds))
  if (samples.length >= manyTracks) return meanInterval(means, { within })
  const terms = samples.flatMap(({ seeds, problems }) =>
    [seeds, problems].filter((v) => v.length > 1).map((v) => ({ variance: deviation(v) ** 2 / v.length, df: v.length - 1 })),
  )
  const variance = terms.reduce((sum, t) => sum + t.variance, 0)
  const df = variance ** 2 / terms.reduce((sum, t) => sum + t.variance ** 2 / t.df, 0)
  const at = mean(means)
  if (!(samples.some((s) => s.problems.length > 1) && df >= 1)) return { mean: at, interval: within }
  const half = (studentQuantile(0.975, Math.floor(df)) * Math.sqrt(variance)) / samples.length
  return { mean: at, interval: [Math.max(within[0], at - half), Math.min(within[1], at + half)] }
}

function scaled({ mean: at, interval: [low, high] }: Figure, by: number): Figure {
  return { mean: at / by, interval: [low / by, high / by] }
}
