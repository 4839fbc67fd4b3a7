// What a score or a gain is worth: intervals, the smallest gain a test can show, the figures that correct the choice of the best.
// Bounds: scores lie in [0, 1], gains in [−1, 1]; intervals are cut to that.
import { rng, shuffle } from './rng.ts'
import { mean } from './score.ts'

export type Interval = readonly [low: number, high: number]

type Per = Readonly<Record<string, number>>

export interface Gain {
  /** Mean over problems of after − before. */
  readonly mean: number
  /** 95 %. */
  readonly interval: Interval
  /** Problems. */
  readonly n: number
  /** Problems whose mean score differs. */
  readonly changed: number
  /** Standard deviation of the differences over problems; 0 for fewer than two. */
  readonly sd: number
  /** Whether the interval lies above 0. If not: "no improvement shown". */
  readonly shown: boolean
  readonly rule: 't' | 'bonett-price'
}

/**
 * Gain of one context over another on the same problems, each problem counted once: t interval over problems.
 * When fewer than 10 problems differ, one +1 and one −1 are added, so that few changes never look certain.
 * Source: Miller, arXiv:2411.00640 (problems as the unit); Bonett & Price, J. Educ. Behav. Stat. 37:479 (2012), with t for z.
 * @throws {RangeError} unless both have the same problems.
 */
export function pairedGain(before: Per, after: Per): Gain {
  const ids = Object.keys(before)
  checkSame(ids, after)
  const differences = ids.map((id) => after[id]! - before[id]!)
  const changed = differences.filter((d) => Math.abs(d) > 1e-12).length
  const rule = changed < 10 ? 'bonett-price' : 't'
  const { interval } = meanInterval(rule === 't' ? differences : [...differences, 1, -1], { within: [-1, 1] })
  const shown = interval[0] > 0
  return { mean: ids.length ? mean(differences) : 0, interval, n: ids.length, changed, sd: deviation(differences), shown, rule }
}

/** Mean and its t interval; all of `within` for fewer than two values, whose mean is 0 if there are none. */
export function meanInterval(
  values: readonly number[],
  { level = 0.95, within = [0, 1] }: { level?: number; within?: Interval } = {},
): { readonly mean: number; readonly interval: Interval } {
  const n = values.length
  if (n < 2) return { mean: n ? values[0]! : 0, interval: within }
  const m = mean(values)
  const half = (studentQuantile((1 + level) / 2, n - 1) * deviation(values)) / Math.sqrt(n)
  return { mean: m, interval: [Math.max(within[0], m - half), Math.min(within[1], m + half)] }
}

/**
 * Variances of a problem's difference between a chosen context and the seed: between problems, and of one generation of both.
 * Fitted to the half-widths of simulated runs (±12.1 at 100 × 1, ±9.8 at 100 × 2, ±5.9 at 200 × 4 points).
 */
const assumed = { between: 0.115, within: 0.257 }

/**
 * The smallest gain that `n` test problems can show: the half-width of the 95 % interval. `sd` = that of the differences, once
 * measured; before a run the variance of simulated runs with `draws` generations a problem is assumed.
 */
export function smallestGain({ n, draws, sd }: { n: number; draws: number; sd?: number }): number {
  if (n < 2) return 1
  const s = sd ?? Math.sqrt(assumed.between + assumed.within / draws)
  return Math.min(1, (studentQuantile(0.975, n - 1) * s) / Math.sqrt(n))
}

/** Variance of one answer's score about its problem's mean, and of the problems' means. */
export interface Variances {
  readonly within: number
  readonly between: number
}

/** One-way analysis of variance. `generations` = the same problems' scores, once a generation; two of each or more. @throws {RangeError} */
export function variances(generations: readonly Per[]): Variances {
  const g = generations.length
  const ids = Object.keys(generations[0] ?? {})
  if (g < 2 || ids.length < 2) throw new RangeError(`expected 2 generations of 2 problems or more, got ${g} of ${ids.length}`)
  for (const per of generations) checkSame(ids, per)
  const scores = ids.map((id) => generations.map((per) => per[id]!)) // [problem][generation]
  const within = mean(scores.map((s) => deviation(s) ** 2))
  return { within, between: Math.max(0, deviation(scores.map(mean)) ** 2 - within / g) }
}

/** Whether answers vary so much more than problems do that two generations a problem are worth their calls. */
export function isNoisy({ within, between }: Variances): boolean {
  return within > 2 * between
}

/**
 * Score of the choice, nearly honest: choose the best of the nodes on k − 1 folds of the problems, score it on the other, mean over
 * folds. Undefined with fewer than two folds or problems. All nodes must be fully scored. @throws {RangeError} if their problems differ.
 */
export function crossValidated(nodes: readonly Per[], folds: number, seed: number): number | undefined {
  const ids = shuffle(Object.keys(nodes[0] ?? {}), rng(seed, 'folds'))
  for (const per of nodes) checkSame(ids, per)
  const k = Math.min(folds, ids.length)
  if (k < 2) return undefined
  const scores = Array.from({ length: k }, (_, fold) => {
    const inside = ids.filter((_, i) => i % k === fold)
    const outside = ids.filter((_, i) => i % k !== fold)
    const means = nodes.map((per) => mean(outside.map((id) => per[id]!)))
    const chosen = nodes[means.indexOf(Math.max(...means))]!
    return mean(inside.map((id) => chosen[id]!))
  })
  return mean(scores)
}

/** Prior of the tree: variance of the root and of one edit, mean change of an edit, and the share of V that is pooled. */
const prior = { root: 0.1 ** 2, edit: 0.06 ** 2, drift: -0.015, pooled: 0.9 }

/**
 * Shrunken mean of each node, in the order given: m̂ = μ + S (S + V)⁻¹ (ȳ − μ). Halves the optimism of the best node.
 * μ = the first node's mean − .015 · depth; S = covariance of a random walk down the tree; V = covariance over problems of the
 * per-problem means / n, nine tenths pooled to equal variance and equal correlation (best linear unbiased prediction).
 * Parents come before children. A node without `per` (not fully scored) is predicted from its relatives; the first must have one.
 * @throws {RangeError} if a parent is unknown or problems differ.
 */
export function shrunk(
  nodes: readonly { readonly id: number; readonly parent: number | undefined; readonly per?: Per | undefined }[],
): number[] {
  const place = new Map<number, number>()
  const S = nodes.map(() => new Float64Array(nodes.length)) // [node][node]
  const mu = nodes.map(() => 0)
  nodes.forEach(({ id, parent }, c) => {
    const p = parent === undefined ? undefined : place.get(parent)
    if (parent !== undefined && p === undefined) throw new RangeError(`parent ${parent} of node ${id} does not come before it`)
    place.set(id, c)
    if (p !== undefined) for (let i = 0; i < c; i++) S[c]![i] = S[i]![c] = S[p]![i]!
    S[c]![c] = p === undefined ? prior.root : S[p]![p]! + prior.edit
    mu[c] = p === undefined ? 0 : mu[p]! + prior.drift
  })
  const scored = nodes.flatMap(({ per }, c) => (per ? [{ c, per }] : []))
  const ids = Object.keys(nodes[0]?.per ?? {})
  for (const { per } of scored) checkSame(ids, per)
  const y = scored.map(({ per }) => mean(ids.map((id) => per[id]!)))
  const V = covariance(scored.map(({ per }, i) => Float64Array.from(ids, (id) => per[id]! - y[i]!)))
  const weights = solve(
    V.map((row, i) => row.map((v, j) => v + S[scored[i]!.c]![scored[j]!.c]!)),
    y.map((value, i) => value - y[0]! - mu[scored[i]!.c]!),
  )
  return nodes.map((_, c) => y[0]! + mu[c]! + scored.reduce((sum, s, i) => sum + S[c]![s.c]! * weights[i]!, 0))
}

/** Covariance of means over problems, pooled. `centred`: [node][problem]. */
function covariance(centred: readonly Float64Array[]): Float64Array[] {
  const k = centred.length
  const n = centred[0]?.length ?? 0
  const raw = centred.map((a) => Float64Array.from(centred, (b) => (n < 2 ? 0 : dot(a, b, n) / (n - 1) / n)))
  const trace = raw.reduce((sum, row, i) => sum + row[i]!, 0)
  const total = raw.reduce((sum, row) => sum + row.reduce((a, b) => a + b, 0), 0)
  const variance = trace / k
  const between = (total - trace) / Math.max(1, k * (k - 1))
  return raw.map((row, i) => row.map((v, j) => (1 - prior.pooled) * v + prior.pooled * (i === j ? variance : between)))
}

/** x of A x = b for a symmetric positive definite A, by Cholesky's A = L Lᵀ. */
function solve(A: readonly Float64Array[], b: readonly number[]): number[] {
  const L = A.map(() => new Float64Array(b.length))
  const z: number[] = [] // L z = b
  for (let i = 0; i < b.length; i++) {
    for (let j = 0; j < i; j++) L[i]![j] = (A[i]![j]! - dot(L[i]!, L[j]!, j)) / L[j]![j]!
    L[i]![i] = Math.sqrt(A[i]![i]! - dot(L[i]!, L[i]!, i))
    z.push((b[i]! - dot(L[i]!, z, i)) / L[i]![i]!)
  }
  for (let i = b.length - 1; i >= 0; i--) {
    z[i]! /= L[i]![i]!
    for (let j = 0; j < i; j++) z[j]! -= L[i]![j]! * z[i]!
  }
  return z
}

/** Sum of the first n products. */
function dot(a: ArrayLike<number>, b: ArrayLike<number>, n: number): number {
  let sum = 0
  for (let i = 0; i < n; i++) sum += a[i]! * b[i]!
  return sum
}

/** Standard deviation of a sample, n − 1 in the denominator; 0 for fewer than two values. */
export function deviation(values: readonly number[]): number {
  const m = mean(values)
  return values.length < 2 ? 0 : Math.sqrt(values.reduce((sum, v) => sum + (v - m) ** 2, 0) / (values.length - 1))
}

function checkSame(ids: readonly string[], per: Per): void {
  const missing = ids.find((id) => !Object.hasOwn(per, id))
  if (missing !== undefined) throw new RangeError(`no score for problem ${JSON.stringify(missing)}`)
  const n = Object.keys(per).length
  if (n !== ids.length) throw new RangeError(`expected scores for the same ${ids.length} problems, got ${n}`)
}

/**
 * The t below which a share `p` of Student's distribution with `df` degrees of freedom lies. By bisection of the finite series for
 * whole df, Abramowitz & Stegun 26.7.3–4. @throws {RangeError} unless 0 < p < 1 and df is 1, 2, 3, …
 */
export function studentQuantile(p: number, df: number): number {
  if (!(p > 0 && p < 1)) throw new RangeError(`expected a share in (0, 1), got ${p}`)
  if (!Number.isInteger(df) || df < 1) throw new RangeError(`expected whole degrees of freedom from 1, got ${df}`)
  if (p < 0.5) return -studentQuantile(1 - p, df)
  let low = 0
  let high = 1
  while (central(high, df) < 2 * p - 1) high *= 2
  for (let mid = high / 2; mid > low && mid < high; mid = (low + high) / 2) {
    if (central(mid, df) < 2 * p - 1) low = mid
    else high = mid
  }
  return high
}

/** P(|T| ≤ t). */
function central(t: number, df: number): number {
  const theta = Math.atan2(t, Math.sqrt(df))
  const cos2 = Math.cos(theta) ** 2
  const odd = df % 2
  let term = odd ? Math.cos(theta) : 1
  let sum = df === 1 ? 0 : term
  for (let k = odd ? 3 : 2; k < df; k += 2) {
    term *= (cos2 * (k - 1)) / k
    sum += term
  }
  return odd ? (2 / Math.PI) * (theta + Math.sin(theta) * sum) : Math.sin(theta) * sum
}
