// Which learning rate an arm is judged by, of those that one seed was trained with.

/** A training, as far as that is decided by it. */
interface Tried {
  readonly settings: { readonly seed: number; readonly learningRate: number }
  readonly best: { readonly dev: number }
}

/** The rate with the best look at the development companies, compared by the first seed, which all rates have. */
export function chosenRate(arm: readonly Tried[]): number {
  const first = Math.min(...arm.map((t) => t.settings.seed))
  const grid = arm.filter((t) => t.settings.seed === first)
  return grid.reduce((a, b) => (b.best.dev > a.best.dev ? b : a)).settings.learningRate
}
