// Which learning rate an arm is judged by, of those that it was trained with.
import { mean } from '../src/core/score.ts'

/** A training, as far as that is decided by it. */
interface Tried {
  readonly settings: { readonly learningRate: number }
  readonly best: { readonly dev: number }
}

/** The rate with the best looks at the development companies, a mean over its trainings. */
export function chosenRate(arm: readonly Tried[]): number {
  const byRate = [...Map.groupBy(arm, (t) => t.settings.learningRate)]
  const devs = byRate.map(([rate, its]) => ({ rate, dev: mean(its.map((t) => t.best.dev)) }))
  return devs.reduce((a, b) => (b.dev > a.dev ? b : a)).rate
}
