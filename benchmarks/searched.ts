// Whole searches of the core (its tree, its racing, its last choice) in worlds whose truth is known, and the table that sets cheaper ways
// to score beside 50 problems × 8 generations: what was saved, and what it cost in true quality. The worlds are scoring.ts and
// scoring-finch.ts; here is no chance but the runs' own, and no world.
import { noCost } from '../src/core/budget.ts'
import type { Context } from '../src/core/context.ts'
import type { Options } from '../src/core/facts.ts'
import type { Answer, Command } from '../src/core/method.ts'
import { mean } from '../src/core/score.ts'
import { decide, play } from '../src/core/search.ts'
import { apply, type State, start } from '../src/core/state.ts'
import { meanInterval } from '../src/core/statistics.ts'
import { lse } from '../src/methods/lse.ts'

/** A way to score, and how long to search with it. */
export interface Arm {
  readonly name: string
  readonly holdout: number
  readonly draws: number
  readonly confirm?: number
  readonly choice?: Options['choice']
  readonly block?: number
  readonly probe?: number
  readonly rounds?: number
  readonly c?: number
  /** Least saving at which the difference of quality must lie above −0.3 points. */
  readonly bar?: number
}

const steered = { holdout: 100, draws: 1, confirm: 100, choice: 'confirm' } as const

/** The first is what the others are compared with. */
export const arms = {
  full: { name: '50 × 8', holdout: 50, draws: 8 },
  paper: { name: '50 × 8, c = 2 (`--protocol paper`)', holdout: 50, draws: 8, c: 2 },
  fresh: { name: '**100 × 1 raced, best 4 on 100 fresh** (default)', ...steered, block: 25, probe: 2, bar: 3.5 },
  wide: { name: 'the same, 64 calls at once (default)', ...steered, block: 64, probe: 2 },
  unraced: { name: 'the same, `--no-racing`', ...steered, probe: 2 },
  once: { name: '**150 × 1 raced** (default)', holdout: 150, draws: 1, block: 25, probe: 2 },
  set: { name: '150 × 1 raced, `draws: 1`', holdout: 150, draws: 1, block: 25, bar: 3.5 },
  raced: { name: '50 × 8 raced', holdout: 50, draws: 8, block: 25, bar: 1.6 },
  shrunk: { name: '50 × 4, shrinkage, `--no-racing`', holdout: 50, draws: 4, choice: 'shrink', bar: 1.6 },
  few: { name: '50 × 2 raced, shrinkage', holdout: 50, draws: 2, choice: 'shrink', block: 25, probe: 2 },
  longer: {
    name: '**50 × 2 raced, shrinkage, 30 rounds** (default)',
    ...{ holdout: 50, draws: 2, choice: 'shrink', block: 25, probe: 2, rounds: 30 },
  },
} as const satisfies Readonly<Record<string, Arm>>

/** Settings of a run whose scoring an arm sets; what its world sets is given. */
export function optionsOf(
  { draws, choice = 'mean', block, probe, rounds = 25 }: Arm,
  world: Pick<Options, 'seed' | 'context' | 'rules' | 'splits' | 'batch'>,
): Options {
  return {
    ...world,
    rounds,
    inFlight: 1,
    batches: 'shuffled',
    draws,
    ...(probe && { probe }),
    ...(block && { racing: { alpha: 0.2, block } }),
    testDraws: 1,
    patience: 0,
    budget: {},
    reference: false,
    folds: 0,
    choice,
    assumed: { rollout: noCost, proposal: noCost },
  }
}

/** What a world answers to a command of a round. */
export type Answerer = (command: Command, round: number) => Answer

/** Answers to what costs a search nothing and decides nothing in it. */
export const aside = {
  score: { kind: 'score', score: { per: {}, mean: 0, draws: 1, full: true }, rollouts: [], cost: noCost },
  overlap: { kind: 'overlap', share: 0, copied: [], cost: noCost },
} as const satisfies Readonly<Record<string, Answer>>

const limits = { lost: noCost, expired: false }

/** A whole run, its commands answered at once. */
function searched(o: Options, answer: Answerer, c: number): State {
  const s = start(o)
  const method = lse({ c })
  for (let fact = decide(s, method, o, limits); fact; fact = decide(s, method, o, limits)) {
    apply(s, fact)
    if (fact.kind !== 'planned') continue
    const { plan } = fact
    const round = play(s, method, o, plan)
    let turn = round.next()
    while (!turn.done) turn = round.next(turn.value.map((command) => answer(command, plan.round)))
    for (const each of turn.value) apply(s, each)
  }
  return s
}

export interface Outcome {
  /** Scoring calls: the holdout's and, at the end, those of fresh problems. */
  readonly calls: number
  /** True mean of the chosen context, and what its holdout says. */
  readonly quality: number
  readonly holdout: number
  readonly chosen: Context
  readonly nodes: number
  readonly cut: number
  readonly doubled: boolean
  /** Whether a node that was cut short has one of the four highest values. */
  readonly near: boolean
}

/** A run of an arm in a world that knows how good a context truly is. @throws if it returns a node that was cut short. */
export function outcomeOf(
  arm: Arm,
  o: Options,
  world: { readonly answer: Answerer; readonly quality: (context: Context) => number },
): Outcome {
  const { nodes, spent, result, noise } = searched(o, world.answer, arm.c ?? 0.1)
  const chosen = nodes[result!.chosen]!
  if (!chosen.score.full) throw new Error(`${arm.name}: a node that was cut short was chosen`)
  const best = nodes.toSorted((a, b) => b.score.mean - a.score.mean).slice(0, 4)
  return {
    calls: spent.act.calls,
    quality: world.quality(chosen.context),
    holdout: result!.confirmed?.[chosen.id] ?? chosen.score.mean,
    chosen: chosen.context,
    nodes: nodes.length,
    cut: nodes.filter((n) => !n.score.full).length,
    doubled: noise !== undefined && noise.draws > arm.draws,
    near: best.some((n) => !n.score.full),
  }
}

export interface Table {
  readonly caption: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

export function points(x: number): string {
  return `${x < 0 ? '−' : '+'}${Math.abs(100 * x).toFixed(2)}`
}

export function share(x: number): string {
  return `${(100 * x).toFixed(1)} %`
}

export interface Compared {
  readonly caption: string
  /** Head of the first column. */
  readonly head?: string
  readonly arms: readonly Arm[]
  /** [arm][set of problems][run]; runs of a set count as one in intervals. An arm may have fewer than the first has. */
  readonly outcomes: readonly (readonly (readonly Outcome[])[])[]
  /** Is told which bars are missed. */
  readonly missed: string[]
}

/** Difference of quality that the whole interval must lie above. */
const least = -0.003

/** Arms beside the first of them. */
export function savings({ caption, head = 'arm', arms: listed, outcomes: all, missed }: Compared): Table {
  const reference = all[0]!
  const fullCalls = mean(reference.flat().map((o) => o.calls))
  const rows = listed.map((arm, i) => {
    const sets = all[i]!
    const found = sets.flat()
    const of = (value: (o: Outcome) => number): number => mean(found.map(value))
    const calls = found.map((o) => o.calls).toSorted((a, b) => a - b)
    const saving = fullCalls / mean(calls)
    const difference = meanInterval(
      sets.map((runs, k) => mean(runs.map((o, run) => o.quality - reference[k]![run]!.quality))),
      { within: [-1, 1] },
    )
    const [low, high] = difference.interval
    const isMet = arm.bar !== undefined && saving >= arm.bar && low > least
    const isOpen = arm.bar !== undefined && saving >= arm.bar && low <= least && high > least
    if (arm.bar !== undefined && !isMet) missed.push(arm.name)
    const verdict = isMet ? 'met' : isOpen ? 'NOT DECIDED' : 'MISSED'
    return [
      arm.name,
      `${arm.holdout + (arm.confirm ?? 0)}`,
      `${mean(calls).toFixed(0)} (${calls[Math.floor(0.05 * calls.length)]}–${calls[Math.floor(0.95 * calls.length)]})`,
      `${saving.toFixed(2)} ×`,
      i === 0 ? '' : `${points(difference.mean)} (${points(low)} to ${points(high)})`,
      points(of((o) => o.holdout - o.quality)),
      share(of((o) => o.cut / (o.nodes - 1))),
      share(of((o) => Number(o.near))),
      share(of((o) => Number(o.doubled))),
      arm.bar === undefined ? '' : `≥ ${arm.bar} ×, above −0.3: ${verdict}`,
    ]
  })
  const columns = [
    head,
    'selection problems',
    'scoring calls a run (5–95 %)',
    'saving',
    'quality, points beside 50 × 8 (95 %)',
    'holdout − truth',
    'edits cut short',
    'runs with one of them among the best 4',
    'runs with generations doubled',
    'bar',
  ]
  return { caption, columns, rows }
}
