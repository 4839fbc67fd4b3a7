// What scoring less costs in quality: whole searches of the core (its tree, its racing, its last choice) in a simulated world of problems
// whose true difficulty is known, against 50 problems × 8 generations scored to the end. Quality is the true mean of the chosen context
// over all problems there could be; the same edits come in every arm, so differences are paired by run. Then how often intervals hold.
// It is a simulation: no model was asked. Ends with 1 if a bar is missed. Run: node benchmarks/scoring.ts [RUNS]    default: 3000
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { noCost } from '../src/core/budget.ts'
import type { Context } from '../src/core/context.ts'
import { bounds, isBelow } from '../src/core/racing.ts'
import { rng } from '../src/core/rng.ts'
import { mean } from '../src/core/score.ts'
import { meanInterval, pairedGain } from '../src/core/statistics.ts'
import {
  type Answerer,
  type Arm,
  arms,
  aside,
  type Outcome,
  optionsOf,
  outcomeOf,
  points,
  savings,
  share,
  type Table,
} from './searched.ts'
import { head, row } from './table.ts'

const runs = Number(process.argv[2] ?? 3000)

/** A context as the world knows it; only its outcomes are seen. */
interface Hidden {
  /** True mean over all problems there could be. */
  readonly mean: number
  /** Correlation of what is particular to it with what is particular to the seed. */
  readonly rho: number
  /** What is particular to it on each problem, and the chance of a right answer. */
  readonly own: Float64Array
  readonly right: Float64Array
}

interface World {
  /** Spread of the problems' log odds; the smaller, the noisier are answers for what problems differ. */
  readonly sigma: number
}
const usual: World = { sigma: 2.5 }
const noisy: World = { sigma: 1.2 }
const seedMean = 0.57
const ceiling = 0.72

function normals(draw: () => number): () => number {
  let spare: number | undefined
  return () => {
    if (spare !== undefined) {
      const had = spare
      spare = undefined
      return had
    }
    const r = Math.sqrt(-2 * Math.log(1 - draw()))
    const angle = 2 * Math.PI * draw()
    spare = r * Math.sin(angle)
    return r * Math.cos(angle)
  }
}

const logistic = (x: number): number => 1 / (1 + Math.exp(-x))

/** The log odds a whose mean of logistic(a + sigma z) over normal z is the mean asked for. */
function oddsFor({ sigma }: World): (mean: number) => number {
  const steps = Array.from({ length: 401 }, (_, i) => -6 + (12 * i) / 400)
  const weights = steps.map((z) => Math.exp((-z * z) / 2))
  const total = weights.reduce((a, b) => a + b, 0)
  const table = Array.from({ length: 1601 }, (_, i) =>
    steps.reduce((sum, z, k) => sum + (logistic(-16 + 0.02 * i + sigma * z) * weights[k]!) / total, 0),
  )
  return (m) => {
    const above = table.findIndex((value) => value >= m)
    const [a, b] = [table[above - 1]!, table[above]!]
    return -16 + 0.02 * (above - 1 + (m - a) / (b - a))
  }
}
const odds = new Map([usual, noisy].map((world) => [world, oddsFor(world)]))

/** True mean of an edit of a context: 7 % collapse, a quarter are better, the others a little worse; some repair a collapse. */
function editedMean(before: number, draw: () => number, normal: () => number): number {
  const [kind, size, repair] = [draw(), draw(), draw()]
  const t = Math.abs(normal()) / Math.sqrt((normal() ** 2 + normal() ** 2 + normal() ** 2) / 3) // Student's with 3 degrees of freedom
  const room = Math.max(0, (ceiling - before) / (ceiling - seedMean))
  let change = kind < 0.07 ? -(0.2 + 0.2 * size) : kind < 0.75 ? -0.015 * t : Math.min(0.025 * t, 0.12) * room
  if (before < seedMean - 0.1) change = repair < 0.35 ? seedMean - 0.01 - before : kind < 0.07 ? -0.03 : change
  return Math.min(ceiling, Math.max(0.03, before + change))
}

/** One run's problems and contexts, which answers commands. */
function worldOf(world: World, run: number, ids: readonly string[]): { answer: Answerer; hidden: ReadonlyMap<string, Hidden> } {
  const common = normals(rng('problems', run))
  const outcome = rng('outcomes', run)
  const fresh = normals(rng('own', run))
  const at = new Map(ids.map((id, i) => [id, i]))
  const z = Float64Array.from(ids, () => common())
  const make = (m: number, rho: number, own: Float64Array): Hidden => {
    const a = odds.get(world)!(m)
    return { mean: m, rho, own, right: own.map((u, i) => logistic(a + world.sigma * Math.SQRT1_2 * (z[i]! + u))) }
  }
  const hidden = new Map([
    [
      '0',
      make(
        seedMean,
        1,
        Float64Array.from(ids, () => fresh()),
      ),
    ],
  ])
  const edited = (parent: Hidden, round: number): Hidden => {
    const draw = rng('edit', run, round)
    const r = 0.1 + 0.75 * draw()
    const m = editedMean(parent.mean, draw, normals(draw))
    return make(
      m,
      parent.rho * r,
      parent.own.map((u) => r * u + Math.sqrt(1 - r * r) * fresh()),
    )
  }
  const answer: Answerer = (command, round) => {
    if (command.kind === 'overlap') return aside.overlap
    if (command.kind === 'propose') {
      hidden.set(`${round}`, edited(hidden.get(String(command.observation.node.context.id))!, round))
      return { kind: 'edit', context: { id: `${round}` }, completion: '', cost: noCost }
    }
    if (command.role !== 'holdout' && command.role !== 'confirm') return aside.score
    const { right } = hidden.get(String(command.context.id))!
    const draws = command.draws[1] - command.draws[0]
    const per = Object.fromEntries(
      command.ids.map((id) => {
        let sum = 0
        for (let k = 0; k < draws; k++) sum += Number(outcome() < right[at.get(id)!]!)
        return [id, sum / draws]
      }),
    )
    const cost = { calls: command.ids.length * draws, tokens: 0, usd: 0 }
    return { kind: 'score', score: { per, mean: mean(Object.values(per)), draws, full: true }, rollouts: [], cost }
  }
  return { answer, hidden }
}

interface Simulated extends Outcome {
  /** How like the seed the chosen context is. */
  readonly rho: number
}

function outcomes(arm: Arm, world = usual): readonly Simulated[] {
  const ids = (letter: string, n: number): string[] => Array.from({ length: n }, (_, i) => `${letter}${i}`)
  const splits = { train: ['t'], holdout: ids('h', arm.holdout), confirm: ids('c', arm.confirm ?? 0), test: ['x'], ood: [] }
  return Array.from({ length: runs }, (_, run) => {
    const o = optionsOf(arm, { seed: run, context: { id: '0' }, rules: {}, splits, batch: 1 })
    const { answer, hidden } = worldOf(world, run, [...splits.holdout, ...splits.confirm])
    const of = ({ id }: Context): Hidden => hidden.get(String(id))!
    const outcome = outcomeOf(arm, o, { answer, quality: (context) => of(context).mean })
    return { ...outcome, rho: of(outcome.chosen).rho }
  })
}

/** Each run has problems of its own. */
const apart = (found: readonly Outcome[]): readonly (readonly Outcome[])[] => found.map((o) => [o])

const listed: readonly Arm[] = Object.values(arms)
const noisyArms: readonly Arm[] = [
  arms.full,
  { ...arms.fresh, name: '100 × 1 raced, best 4 on 100 fresh, `draws: 1`', probe: 0 },
  { ...arms.fresh, name: '**the same, generations by the split on the seed** (default)' },
].map(({ bar: _, ...arm }: Arm) => arm)

const missed: string[] = []

/** How often the 95 % intervals of a report hold the truth: seed and chosen context of the runs of an arm, on new problems. */
function tests(chosen: readonly Simulated[]): Table {
  const toOdds = odds.get(usual)!
  const looks = 2
  const rows = [
    [50, 4],
    [100, 1],
    [100, 2],
    [200, 1],
  ].map(([n, g]) => {
    const draw = rng('test', n!, g!)
    const normal = normals(draw)
    const per = (p: number): number => {
      let sum = 0
      for (let k = 0; k < g!; k++) sum += Number(draw() < p)
      return sum / g!
    }
    const seen = chosen.flatMap(({ quality, rho }) =>
      Array.from({ length: looks }, () => {
        const [a, b] = [toOdds(seedMean), toOdds(quality)]
        const before: Record<string, number> = {}
        const after: Record<string, number> = {}
        for (let i = 0; i < n!; i++) {
          const [z, own, other] = [normal(), normal(), normal()]
          before[`x${i}`] = per(logistic(a + usual.sigma * Math.SQRT1_2 * (z + own)))
          after[`x${i}`] = per(logistic(b + usual.sigma * Math.SQRT1_2 * (z + rho * own + Math.sqrt(1 - rho * rho) * other)))
        }
        const gain = pairedGain(before, after)
        const score = meanInterval(Object.values(after))
        const half = (gain.interval[1] - gain.interval[0]) / 2
        return { gain: holds(gain.interval, quality - seedMean), score: holds(score.interval, quality), half }
      }),
    )
    const [gain, score] = [mean(seen.map((s) => s.gain)), mean(seen.map((s) => s.score))]
    const isMet = [gain, score].every((x) => x >= 0.94 && x <= 0.965)
    if (!isMet) missed.push(`coverage at ${n} × ${g}`)
    const width = `±${(100 * mean(seen.map((s) => s.half))).toFixed(1)}`
    return [`${n} × ${g}`, width, share(gain), share(score), `94–96.5 %: ${isMet ? 'met' : 'MISSED'}`]
  })
  const caption = `Nominal 95 % intervals of the report (t over problems), ${looks * runs} tests of the contexts that the default chose.`
  return { caption, columns: ['test', 'half-width of the gain, points', 'gain holds', 'score holds', 'bar'], rows }
}

/** Answers that hardly change: each problem is gained, lost or the same, whatever the generation. */
function fewChanges(): Table {
  const looks = 10_000
  const rows = [
    [50, 0.04, 0],
    [50, 0.06, 0.02],
    [100, 0.03, 0],
    [100, 0.05, 0.02],
    [200, 0.03, 0.01],
  ].map(([n, gained, lost]) => {
    const draw = rng('few', n!, gained!, lost!)
    const before = Object.fromEntries(Array.from({ length: n! }, (_, i) => [`x${i}`, 0.5]))
    let shipped = 0
    let plain = 0
    for (let k = 0; k < looks; k++) {
      const changes = Array.from({ length: n! }, () => {
        const u = draw()
        return u < gained! ? 0.5 : u < gained! + lost! ? -0.5 : 0
      })
      const after = Object.fromEntries(changes.map((change, i) => [`x${i}`, 0.5 + change]))
      const truth = (gained! - lost!) / 2
      shipped += holds(pairedGain(before, after).interval, truth)
      plain += holds(meanInterval(changes, { within: [-1, 1] }).interval, truth)
    }
    const isMet = shipped / looks >= 0.94
    if (!isMet) missed.push(`coverage with few changes, ${n}`)
    return [
      `${n}`,
      share(gained!),
      share(lost!),
      share(shipped / looks),
      share(plain / looks),
      `≥ 94 %: ${isMet ? 'met' : 'MISSED'}`,
    ]
  })
  const caption = `Where few answers change (Bonett and Price's rule below 10 changes), ${looks} tests each.`
  return { caption, columns: ['problems', 'gained', 'lost', 'gain holds', 'without the rule', 'bar'], rows }
}

/** What the intervals of a cut-short score hold: the mean of all, at every time at once. */
function sequences(): Table {
  const paths = 4000
  const n = 200
  const looks = [25, 50, 100, 150, 175]
  const rows = [0.05, 0.2, 0.5].map((alpha) => {
    const draw = rng('sequence', alpha)
    const half = looks.map(() => 0)
    let held = 0
    for (let k = 0; k < paths; k++) {
      const xs = differences({ draw, n, shift: -0.1 + 0.2 * draw() })
      looks.forEach((t, i) => {
        const [low, high] = bounds(xs.slice(0, t), n, alpha)
        half[i]! += (high - low) / 2 / paths
      })
      held += holds(bounds(xs.slice(0, n - 1), n, alpha), mean(xs)) // they only narrow: the last holds it only if all did
    }
    const isMet = held / paths >= 1 - alpha
    if (!isMet) missed.push(`coverage of the sequence, alpha ${alpha}`)
    return [
      `${alpha}`,
      ...half.map((h) => `±${(100 * h).toFixed(1)}`),
      share(held / paths),
      `≥ ${share(1 - alpha)}: ${isMet ? 'met' : 'MISSED'}`,
    ]
  })
  const columns = ['alpha', ...looks.map((t) => `after ${t}`), 'hold at every time', 'bar']
  return { caption: `The sequence that racing stops by, ${n} problems × 1, ${paths} paths: half-width in points.`, columns, rows }
}

/** Whether and when a child of a known difference loses the race. */
function races(): Table {
  const paths = 4000
  const n = 200
  const rows = [25, 64].flatMap((block) =>
    [undefined, -0.05, -0.1, -0.3].map((shift) => {
      const draw = rng('race', block, shift ?? 'equal')
      let lost = 0
      let used = 0
      for (let k = 0; k < paths; k++) {
        const xs = differences({ draw, n, ...(shift !== undefined && { shift }) })
        let t = block
        while (t < n && !isBelow(xs.slice(0, t), n, 0.2)) t += block
        lost += Number(t < n)
        used += Math.min(t, n) / n / paths
      }
      const isMet = shift !== undefined || lost / paths <= 0.2
      if (!isMet) missed.push(`wrong stops, blocks of ${block}`)
      const bar = shift === undefined ? `≤ 20 %: ${isMet ? 'met' : 'MISSED'}` : ''
      return [`${block}`, shift === undefined ? 'exactly equal' : points(shift), share(lost / paths), share(used), bar]
    }),
  )
  const columns = ['block', 'full score beside the best', 'cut short', 'rollouts used', 'bar']
  return { caption: `What racing stops, alpha .2, ${n} problems × 1, ${paths} paths.`, columns, rows }
}

/** A child's outcomes minus the best's measured ones, on the same problems in random order; without `shift`, their sum is 0 exactly. */
function differences({ draw, n, shift }: { draw: () => number; n: number; shift?: number }): readonly number[] {
  const normal = normals(draw)
  const [a, b] = [odds.get(usual)!(0.6), odds.get(usual)!(0.6 + (shift ?? 0))]
  const pairs = Array.from({ length: n }, () => {
    const [z, own, other] = [normal(), normal(), normal()]
    const p = (at: number, u: number): number => logistic(at + usual.sigma * Math.SQRT1_2 * (z + u))
    return [Number(draw() < p(a, own)), Number(draw() < p(b, 0.6 * own + 0.8 * other))] as const
  })
  const xs = pairs.map(([best, child]) => child - best)
  if (shift !== undefined) return xs
  for (let sum = xs.reduce((x, y) => x + y, 0); sum !== 0; ) {
    const i = Math.floor(draw() * n)
    const change = -Math.sign(sum)
    const [best, child] = [pairs[i]![0], xs[i]! + pairs[i]![0]]
    if (child + change < 0 || child + change > 1) continue
    xs[i] = child + change - best
    sum += change
  }
  return xs
}

function holds([low, high]: readonly [number, number], truth: number): number {
  return Number(low <= truth && truth <= high)
}

const found = listed.map((arm) => outcomes(arm))
const tables = [
  savings({
    caption: `${runs} runs an arm of 25 rounds (where not said otherwise), c = .1, simulated.`,
    ...{ arms: listed, outcomes: found.map(apart), missed },
  }),
  savings({
    caption: 'Where answers are noisy for what problems differ (sigma 1.2 in place of 2.5), simulated.',
    ...{ arms: noisyArms, outcomes: noisyArms.map((arm) => apart(outcomes(arm, noisy))), missed },
  }),
  tests(found[2]!),
  fewChanges(),
  sequences(),
  races(),
]
for (const { caption, columns, rows } of tables)
  console.log([caption, '', head(...columns), ...rows.map((r) => row(...r)), ''].join('\n'))
const result = { title: 'Cheaper scoring (simulated)', command: `node benchmarks/scoring.ts ${runs}`, tables }
writeFileSync(join(import.meta.dirname, 'results/scoring.json'), `${JSON.stringify(result, null, 1)}\n`)
if (missed.length > 0) {
  console.error(`missed: ${missed.join('; ')}`)
  process.exitCode = 1
}
