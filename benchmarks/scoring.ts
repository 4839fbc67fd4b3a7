// What scoring less costs in quality: whole searches of the core (its tree, its racing, its last choice) in a simulated world of problems
// whose true difficulty is known, against 50 problems × 8 generations scored to the end. Quality is the true mean of the chosen context
// over all problems there could be; the same edits come in every arm, so differences are paired by run. Then how often intervals hold.
// It is a simulation: no model was asked. Ends with 1 if a bar is missed. Run: node benchmarks/scoring.ts [RUNS]    default: 3000
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { noCost } from '../src/core/budget.ts'
import type { Options } from '../src/core/facts.ts'
import type { Answer, Command } from '../src/core/method.ts'
import { bounds, isBelow } from '../src/core/racing.ts'
import { rng } from '../src/core/rng.ts'
import { mean } from '../src/core/score.ts'
import { decide, play } from '../src/core/search.ts'
import { apply, type State, start } from '../src/core/state.ts'
import { meanInterval, pairedGain } from '../src/core/statistics.ts'
import { lse } from '../src/methods/lse.ts'
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
  const none = { per: {}, mean: 0, draws: 1, full: true }
  const answer: Answerer = (command, round) => {
    if (command.kind === 'overlap') return { kind: 'overlap', share: 0, copied: [], cost: noCost }
    if (command.kind === 'propose') {
      hidden.set(`${round}`, edited(hidden.get(String(command.observation.node.context.id))!, round))
      return { kind: 'edit', context: { id: `${round}` }, completion: '', cost: noCost }
    }
    if (command.role !== 'holdout' && command.role !== 'confirm')
      return { kind: 'score', score: none, rollouts: [], cost: noCost }
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

type Answerer = (command: Command, round: number) => Answer

interface Arm {
  readonly name: string
  readonly holdout: number
  readonly draws: number
  readonly confirm?: number
  readonly choice?: Options['choice']
  readonly block?: number
  readonly probe?: number
  readonly rounds?: number
  readonly c?: number
  readonly world?: World
  /** Least saving at which the difference of quality must lie above −0.3 points. */
  readonly bar?: number
}

function optionsOf({ holdout, draws, confirm = 0, choice = 'mean', block, probe, rounds = 25 }: Arm, seed: number): Options {
  const ids = (letter: string, n: number): string[] => Array.from({ length: n }, (_, i) => `${letter}${i}`)
  return {
    seed,
    context: { id: '0' },
    rules: {},
    splits: { train: ['t'], holdout: ids('h', holdout), confirm: ids('c', confirm), test: ['x'], ood: [] },
    rounds,
    inFlight: 1,
    batch: 1,
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
const limits = { lost: noCost, expired: false }

interface Outcome {
  readonly calls: number
  /** True mean of the chosen context, what its holdout says, and how like the seed it is. */
  readonly quality: number
  readonly holdout: number
  readonly rho: number
  readonly nodes: number
  readonly cut: number
  readonly doubled: boolean
  /** Whether a node that was cut short has one of the four highest values. */
  readonly near: boolean
}

function outcomes(arm: Arm): readonly Outcome[] {
  return Array.from({ length: runs }, (_, run) => {
    const o = optionsOf(arm, run)
    const { answer, hidden } = worldOf(arm.world ?? usual, run, [...o.splits.holdout, ...o.splits.confirm])
    const { nodes, spent, result, noise } = searched(o, answer, arm.c ?? 0.1)
    const chosen = nodes[result!.chosen]!
    if (!chosen.score.full) throw new Error(`${arm.name}: a node that was cut short was chosen`)
    const { mean: quality, rho } = hidden.get(String(chosen.context.id))!
    const best = nodes.toSorted((a, b) => b.score.mean - a.score.mean).slice(0, 4)
    const holdout = result!.confirmed?.[chosen.id] ?? chosen.score.mean
    const cut = nodes.filter((n) => !n.score.full).length
    const doubled = noise !== undefined && noise.draws > arm.draws
    return {
      calls: spent.act.calls,
      quality,
      rho,
      holdout,
      nodes: nodes.length,
      cut,
      doubled,
      near: best.some((n) => !n.score.full),
    }
  })
}

const steered = { holdout: 100, draws: 1, confirm: 100, choice: 'confirm' } as const
const arms: readonly Arm[] = [
  { name: '50 × 8', holdout: 50, draws: 8 },
  { name: '50 × 8, c = 2 (`--protocol paper`)', holdout: 50, draws: 8, c: 2 },
  { name: '**100 × 1 raced, best 4 on 100 fresh** (default)', ...steered, block: 25, probe: 2, bar: 3.5 },
  { name: 'the same, 64 calls at once (default)', ...steered, block: 64, probe: 2 },
  { name: 'the same, `--no-racing`', ...steered, probe: 2 },
  { name: '**150 × 1 raced** (default)', holdout: 150, draws: 1, block: 25, probe: 2 },
  { name: '150 × 1 raced, `draws: 1`', holdout: 150, draws: 1, block: 25, bar: 3.5 },
  { name: '50 × 8 raced', holdout: 50, draws: 8, block: 25, bar: 1.6 },
  { name: '50 × 4, shrinkage, `--no-racing`', holdout: 50, draws: 4, choice: 'shrink', bar: 1.6 },
  { name: '50 × 2 raced, shrinkage', holdout: 50, draws: 2, choice: 'shrink', block: 25, probe: 2 },
  {
    name: '**50 × 2 raced, shrinkage, 30 rounds** (default)',
    ...{ holdout: 50, draws: 2, choice: 'shrink', block: 25, probe: 2, rounds: 30 },
  },
]
const noisyArms: readonly Arm[] = [
  { name: '50 × 8', holdout: 50, draws: 8, world: noisy },
  { name: '100 × 1 raced, best 4 on 100 fresh, `draws: 1`', ...steered, block: 25, world: noisy },
  { name: '**the same, generations by the split on the seed** (default)', ...steered, block: 25, probe: 2, world: noisy },
]

interface Table {
  readonly caption: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

const missed: string[] = []
const points = (x: number): string => `${x < 0 ? '−' : '+'}${Math.abs(100 * x).toFixed(2)}`
const share = (x: number): string => `${(100 * x).toFixed(1)} %`

/** Arms beside the first of them. */
function savings(caption: string, listed: readonly Arm[], all: readonly (readonly Outcome[])[]): Table {
  const reference = all[0]!
  const rows = listed.map((arm, i) => {
    const found = all[i]!
    const of = (value: (o: Outcome) => number): number => mean(found.map(value))
    const calls = found.map((o) => o.calls).toSorted((a, b) => a - b)
    const saving = mean(reference.map((o) => o.calls)) / mean(calls)
    const difference = meanInterval(
      found.map((o, run) => o.quality - reference[run]!.quality),
      { within: [-1, 1] },
    )
    const [low, high] = difference.interval
    const isMet = arm.bar !== undefined && saving >= arm.bar && low > -0.003
    if (arm.bar !== undefined && !isMet) missed.push(arm.name)
    return [
      arm.name,
      `${arm.holdout + (arm.confirm ?? 0)}`,
      `${mean(calls).toFixed(0)} (${calls[Math.floor(0.05 * runs)]}–${calls[Math.floor(0.95 * runs)]})`,
      `${saving.toFixed(2)} ×`,
      i === 0 ? '' : `${points(difference.mean)} (${points(low)} to ${points(high)})`,
      points(of((o) => o.holdout - o.quality)),
      share(of((o) => o.cut / (o.nodes - 1))),
      share(of((o) => Number(o.near))),
      share(of((o) => Number(o.doubled))),
      arm.bar === undefined ? '' : `≥ ${arm.bar} ×, above −0.3: ${isMet ? 'met' : 'MISSED'}`,
    ]
  })
  const columns = [
    'arm',
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

/** How often the 95 % intervals of a report hold the truth: seed and chosen context of the runs of an arm, on new problems. */
function tests(chosen: readonly Outcome[]): Table {
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

const found = arms.map(outcomes)
const tables = [
  savings(`${runs} runs an arm of 25 rounds (where not said otherwise), c = .1, simulated.`, arms, found),
  savings(
    'Where answers are noisy for what problems differ (sigma 1.2 in place of 2.5), simulated.',
    noisyArms,
    noisyArms.map(outcomes),
  ),
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
