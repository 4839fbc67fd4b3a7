// Which learning rate an arm is judged by, of those that one seed was trained with.
import type { Training } from './finch-results.ts'

/** How far below the highest look at the development companies a rate still counts as as good. */
export const asGood = 0.01

/**
 * The smallest rate whose best look at the development companies lies within `asGood` of the highest: of rates that are as good, the
 * smaller one leaves fewer invalid edits. Compared by the seed that all rates have.
 */
export function chosenRate(arm: readonly Training[]): number {
  const first = Math.min(...arm.map((t) => t.settings.seed))
  const grid = arm.filter((t) => t.settings.seed === first)
  const top = Math.max(...grid.map((t) => t.best.dev))
  return Math.min(...grid.filter((t) => t.best.dev >= top - asGood).map((t) => t.settings.learningRate))
}
