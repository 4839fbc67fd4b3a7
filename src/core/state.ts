// The state of a search and the fold that makes it from facts; `apply` is its only writer.
import { addCost, type Budget, noCost } from './budget.ts'
import type { Fact, Noise, Options, Outcome, Plan, Result, Spent, Steer, StopReason } from './facts.ts'
import type { Node, Tried } from './observation.ts'
import { Tree } from './tree.ts'

export interface State {
  readonly nodes: Node[]
  readonly tree: Tree
  /** All edits, in the order they settled. */
  readonly edits: { readonly parent: number; readonly round: number; readonly tried: Tried }[]
  readonly open: Map<number, Plan>
  /** Last mean score of each train example under any context. */
  readonly lastSeen: Map<string, number>
  /** Nodes whose context copies an example. */
  readonly flagged: Set<number>
  /** Wishes not yet planned. */
  readonly wishes: (Steer & { wish: 'branch' | 'add' })[]
  best: Node | undefined
  /** What the seed's score showed, if it was measured. */
  noise: Noise | undefined
  /** Generations per holdout problem. */
  draws: number
  planned: number
  editsPlanned: number
  settledSinceGain: number
  spent: Spent
  rounds: number
  budget: Budget
  paused: boolean
  asked: boolean
  stopped: { readonly why: StopReason; readonly detail?: string } | undefined
  result: Result | undefined
  /** How often the test split was opened. */
  openings: number
}

export const noSpent: Spent = { rollouts: 0, proposals: 0, act: noCost, evolve: noCost }

export function addSpent(a: Spent, b: Spent): Spent {
  return {
    rollouts: a.rollouts + b.rollouts,
    proposals: a.proposals + b.proposals,
    act: addCost(a.act, b.act),
    evolve: addCost(a.evolve, b.evolve),
  }
}

export function start(o: Options): State {
  return {
    nodes: [],
    tree: new Tree(),
    edits: [],
    open: new Map(),
    lastSeen: new Map(),
    flagged: new Set(),
    wishes: [],
    best: undefined,
    noise: undefined,
    draws: o.draws,
    planned: -1,
    editsPlanned: 0,
    settledSinceGain: 0,
    spent: noSpent,
    rounds: o.rounds,
    budget: o.budget,
    paused: false,
    asked: false,
    stopped: undefined,
    result: undefined,
    openings: 0,
  }
}

/** Folds one fact into the state. */
export function apply(s: State, fact: Fact): void {
  switch (fact.kind) {
    case 'started':
      return
    case 'planned':
      applyPlan(s, fact.plan)
      return
    case 'scored':
      applyNode(s, fact)
      return
    case 'rejected':
      s.edits.push({
        parent: fact.parent,
        round: fact.round,
        tried: { kind: 'rejected', context: fact.context, reason: fact.reason, ...memoOf(fact) },
      })
      return
    case 'invalid':
      s.edits.push({ parent: fact.parent, round: fact.round, tried: { kind: 'invalid', reason: fact.reason, ...memoOf(fact) } })
      return
    case 'settled':
      s.open.delete(fact.round)
      s.spent = addSpent(s.spent, fact.spent)
      s.settledSinceGain++
      for (const [id, score] of Object.entries(fact.seen?.per ?? {})) s.lastSeen.set(id, score)
      return
    case 'steered':
      if (fact.refused === undefined) applySteer(s, fact)
      return
    case 'stopped':
      s.stopped = fact
      return
    case 'reported':
      s.result = fact.result
      s.openings++
  }
}

function memoOf({ memo }: Outcome): Pick<Outcome, 'memo'> {
  return memo === undefined ? {} : { memo }
}

/** Visits count when a round is planned (a virtual loss), so rounds in flight spread out. */
function applyPlan(s: State, plan: Plan): void {
  s.planned = plan.round
  s.open.set(plan.round, plan)
  if (plan.kind === 'edit') {
    s.editsPlanned++
    s.tree.visit(plan.from[0]!)
  }
  const wish = s.wishes[0]
  if ((wish?.wish === 'branch' && plan.kind === 'edit') || (wish?.wish === 'add' && plan.kind === 'score')) s.wishes.shift()
}

function applyNode(s: State, fact: Outcome & { kind: 'scored' } & { round: number }): void {
  const node: Node = { id: s.nodes.length, parents: fact.parents, round: fact.round, context: fact.context, score: fact.score }
  s.nodes.push(node)
  s.tree.insert(node.score.mean)
  if (fact.copied) s.flagged.add(node.id)
  if (fact.noise) {
    s.noise = fact.noise
    s.draws = fact.noise.draws
  }
  const parent = s.nodes[fact.parents[0] ?? -1]
  if (parent) {
    const [before, after] = [parent.score.mean, node.score.mean]
    const tried: Tried = { kind: 'scored', context: node.context, before, after, ...memoOf(fact) }
    s.edits.push({ parent: parent.id, round: node.round, tried })
  }
  if (node.score.full && (!s.best || node.score.mean > s.best.score.mean)) {
    s.best = node
    s.settledSinceGain = -1
  }
}

function applySteer(s: State, steer: Steer): void {
  if (steer.wish === 'pause') s.paused = true
  else if (steer.wish === 'continue') s.paused = false
  else if (steer.wish === 'stop') s.asked = true
  else if (steer.wish === 'prune') s.tree.prune(steer.node)
  else if (steer.wish === 'extend') extend(s, steer)
  else if (steer.wish === 'branch' || steer.wish === 'add') s.wishes.push(steer)
}

/** Why a wish can't be followed, or undefined if it can. */
export function objection(s: State, steer: Steer): string | undefined {
  const id = steer.wish === 'add' ? steer.parent : steer.wish === 'branch' || steer.wish === 'prune' ? steer.node : undefined
  if (id !== undefined && !s.nodes[id]) return `there is no node ${id} (have: ${s.nodes.length})`
  const seed = s.nodes[0]
  if (steer.wish !== 'add' || !seed) return undefined
  const [have, got] = [seed.context, steer.context].map((context) => Object.keys(context).join(', '))
  return have === got ? undefined : `the parts must be ${have}; got ${got || 'none'}`
}

/** More rounds or budget reopen a run that had stopped. */
function extend(s: State, steer: { readonly rounds?: number; readonly budget?: Budget }): void {
  s.rounds = steer.rounds ?? s.rounds
  s.budget = { ...s.budget, ...steer.budget }
  s.stopped = undefined
  s.result = undefined
  s.asked = false
  s.paused = false
  s.settledSinceGain = 0
  for (const plan of [...s.open.values()]) if (plan.kind === 'close') s.open.delete(plan.round)
}
