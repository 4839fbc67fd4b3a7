// Which states the policy learns from, and in which order. Source: arXiv:2603.18620, curriculum by improve potential.
import type { Message } from '../core/model.ts'
import type { Node, Observation } from '../core/observation.ts'
import { rng, shuffle } from '../core/rng.ts'

/** A state of the bandit: what an evolver saw when a node of a tree was to be edited, and what the node scored. */
export interface State {
  /** Which training task. */
  readonly task: string
  readonly observation: Observation
  readonly prompt: readonly Message[]
  /** Holdout score of the node. */
  readonly before: number
  /** Best holdout score in the node's tree minus its own. */
  readonly potential: number
}

/** What trees leave for training: the observations an evolver was given, each with the node it was about. */
export interface Grown {
  readonly task: string
  readonly nodes: readonly Node[]
  readonly asked: readonly { readonly observation: Observation; readonly prompt: readonly Message[] }[]
  /** How many of the edits asked for could not be used. */
  readonly invalid: number
}

/** The states of trees, each prompt once. @throws {RangeError} on a score that racing cut short: it is biased, and no reward's. */
export function statesOf(trees: readonly Grown[]): readonly State[] {
  const seen = new Set<string>()
  return trees.flatMap(({ task, nodes, asked }) => {
    const part = nodes.find((n) => !n.score.full)
    if (part) throw new RangeError(`node ${part.id} of ${task} was scored in part; grow trees without racing`)
    const best = nodes.reduce((top, n) => Math.max(top, n.score.mean), 0)
    return asked.flatMap(({ observation, prompt }) => {
      const key = JSON.stringify(prompt)
      if (seen.has(key)) return []
      seen.add(key)
      const before = observation.node.score.mean
      return [{ task, observation, prompt, before, potential: best - before }]
    })
  })
}

/** Orders of the states within a pass. */
export const orders = ['potential', 'random', 'reversed'] as const

/** Which states are learned from, and in which order. */
export interface CurriculumOptions {
  readonly order?: (typeof orders)[number]
  /** States with less potential are left out. */
  readonly minPotential?: number
  readonly seed: number
}

/** The states of one pass, in order; `random` has a new order each pass. Ties keep the order they were grown in. */
export function curriculum(states: readonly State[], pass: number, options: CurriculumOptions): readonly State[] {
  const { order = 'potential', minPotential = 0, seed } = options
  const kept = states.filter((s) => s.potential >= minPotential)
  if (order === 'random') return shuffle(kept, rng(seed, pass, 'curriculum'))
  const sorted = [...kept].sort((a, b) => b.potential - a.potential)
  return order === 'potential' ? sorted : sorted.reverse()
}
