// Which context is edited next: one that does best on some problem, drawn by how many problems it does best on. Source: gepa 0.1.4.
import type { Node } from '../core/observation.ts'
import type { State } from '../core/state.ts'
import type { Chance } from './gepa-chance.ts'

/** What may stand on a front: scored on every holdout problem, and not taken out by hand. */
export function poolOf(s: State): readonly Node[] {
  return s.nodes.filter((node) => node.score.full && !s.tree.isPruned(node.id))
}

/** For each problem, the ids of the nodes that do best on it. */
export function frontsOf(pool: readonly Node[], problems: readonly string[]): readonly (readonly number[])[] {
  return problems.map((problem) => {
    const high = Math.max(...pool.map((node) => node.score.per[problem]!))
    return pool.filter((node) => node.score.per[problem] === high).map((node) => node.id)
  })
}

/**
 * The fronts without dominated nodes: from the lowest mean up, a node goes if each of its fronts holds another that is still there. Going
 * only takes rivals from those that stay, so one pass is enough.
 */
export function withoutDominated(
  fronts: readonly (readonly number[])[],
  meanOf: (id: number) => number,
  order: (ids: readonly number[]) => readonly number[],
): readonly (readonly number[])[] {
  const left = new Set(fronts.flat())
  for (const id of order([...left]).toSorted((a, b) => meanOf(a) - meanOf(b))) {
    const hasRival = (front: readonly number[]): boolean => front.some((other) => other !== id && left.has(other))
    if (fronts.every((front) => !front.includes(id) || hasRival(front))) left.delete(id)
  }
  return fronts.map((front) => front.filter((id) => left.has(id)))
}

/** The fronts of a state, dominated nodes left out. */
export function paretoFronts(s: State, problems: readonly string[], chance: Chance): readonly (readonly number[])[] {
  return withoutDominated(frontsOf(poolOf(s), problems), (id) => s.nodes[id]!.score.mean, chance.order)
}
