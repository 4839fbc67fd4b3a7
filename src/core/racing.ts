// When to stop scoring a child: bounds for the mean of a finite list, read in random order without replacement, that hold at all
// times at once. They speak of the list (this holdout, these generations), not of the population behind it.
//
// A bettor stakes a share of its wealth on each draw lying below μ = (n m − sum so far) / (n − draws so far), which is what the rest must
// average if the mean of all n is m. Is it m, the wealth is a martingale from 1 and ever reaches 1 / α with probability α at most
// (Ville). Source: Waudby-Smith & Ramdas, arXiv:2010.09686 (hedged capital) and arXiv:2006.04347 (without replacement). Deviation: the
// wealth is the mean over fixed stakes, in place of one predicted stake: nothing to tune, no cold start.

/** Shares of the wealth staked, each by a bettor of its own. */
const stakes = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]

/** Share of its wealth that a bettor loses at most in one draw. */
const most = 0.99

/** Bounds are whole numbers of these in 1, rounded outwards. */
const grid = 10_000

/**
 * Log of the bettors' mean wealth after the draws `xs`, each in [−1, 1], staked on the mean of all `n` lying below `m`. Infinity if m can't
 * be reached any more, or once it was `enough`.
 */
export function wealth(xs: readonly number[], n: number, m: number, enough = Infinity): number {
  const held = new Float64Array(stakes.length).fill(1) // times e^scale
  let scale = 0
  let limit = Math.exp(enough) * held.length
  let total = stakes.length
  let sum = 0
  for (let t = 0; t < xs.length; t++) {
    const mu = (n * m - sum) / (n - t)
    if (mu > 1 + 1e-9) return Infinity
    const expected = Math.min(1, Math.max(-1, mu))
    sum += xs[t]!
    total = 0
    for (let i = 0; i < held.length; i++) total += held[i]! *= factor(xs[t]!, expected, stakes[i]!)
    if (total < 1e-100 || total > 1e100) {
      for (let i = 0; i < held.length; i++) held[i]! /= total
      scale += Math.log(total)
      limit = Math.exp(enough - scale) * held.length
      total = 1
    }
    if (total >= limit) return Infinity
  }
  return scale + Math.log(total / held.length)
}

/** What a stake makes of a wealth when `x` is drawn and `expected` was to be expected: positive, and 1 on average if x averages that. */
export function factor(x: number, expected: number, stake: number): number {
  return 1 - Math.min(stake, most / (1 - expected)) * (x - expected)
}

/** Whether the draws so far show that the mean of all `n` is below 0; wrong with probability `alpha` at most over all looks together. */
export function isBelow(xs: readonly number[], n: number, alpha: number): boolean {
  const canReach = xs.reduce((a, b) => a + b, 0) + (n - xs.length) >= 0
  return !canReach || wealth(xs, n, 0) >= Math.log(1 / alpha)
}

/** Bounds for the mean of all `n`, in [−1, 1]: over all times together they fail with probability `alpha` at most, and only narrow. */
export function bounds(xs: readonly number[], n: number, alpha: number): readonly [low: number, high: number] {
  const high = upper(xs, n, alpha)
  const mirrored = xs.map((x) => -x)
  const low = 0 - upper(mirrored, n, alpha) // never −0
  return low <= high ? [low, high] : bounds(xs.slice(0, -1), n, alpha) // contradicted: what was last without contradiction
}

/** The lowest mean, on the grid, that bettors have ruled out or that can't be reached. The wealth grows with m, so halving finds it. */
function upper(xs: readonly number[], n: number, alpha: number): number {
  const reach = (xs.reduce((a, b) => a + b, 0) + n - xs.length) / n
  let low = -grid - 1
  let high = Math.min(grid, Math.ceil(reach * grid - 1e-6))
  const isOut = (at: number): boolean => wealth(xs, n, at / grid, Math.log(2 / alpha)) === Infinity
  if (!isOut(high)) return high / grid
  while (high - low > 1) {
    const mid = Math.floor((low + high) / 2)
    if (isOut(mid)) high = mid
    else low = mid
  }
  return high / grid
}
