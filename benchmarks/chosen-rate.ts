// Which learning rate an arm is judged by, of those that it was trained with.
import { mean } from '../src/core/score.ts'

/** A training, as far as that is decided by it. */
interface Tried {
  readonly settings: { readonly seed: number; readonly learningRate: number }
  readonly best: { readonly dev: number }
}

/** The trainings of each rate with the seeds that all rates of the arm have. */
export function compared<T extends Tried>(arm: readonly T[]): ReadonlyMap<number, readonly T[]> {
  const byRate = Map.groupBy(arm, (t) => t.settings.learningRate)
  const hasSeed = (its: readonly T[], seed: number): boolean => its.some((t) => t.settings.seed === seed)
  const isShared = (t: T): boolean => [...byRate.values()].every((its) => hasSeed(its, t.settings.seed))
  return new Map([...byRate].map(([rate, its]) => [rate, its.filter(isShared)]))
}

/** The rate with the best looks at the development companies, a mean over the seeds that all rates have. */
export function chosenRate(arm: readonly Tried[]): number {
  const devs = [...compared(arm)].map(([rate, its]) => ({ rate, dev: mean(its.map((t) => t.best.dev)) }))
  return devs.reduce((a, b) => (b.dev > a.dev ? b : a)).rate
}
