// Finch's searches without its processes, many at once: the same selection, batches of ten and holdout as the real loop has, hundreds of
// times as fast. What comes out is what training and tables need.
import { checked, type Writer } from '../core/evolver.ts'
import type { Model } from '../core/model.ts'
import type { Node } from '../core/observation.ts'
import { seedOf } from '../core/rng.ts'
import { type Selection, Tree } from '../core/tree.ts'
import type { Company } from '../tasks/finch/company.ts'
import { type ActorName, part } from '../tasks/finch/parameters.ts'
import { expectedScore, observe, type RewardName, sampledScore } from '../tasks/finch/reward.ts'
import type { Grown } from '../train/curriculum.ts'
import { finchViolation } from './finch.ts'
import { answerOf } from './finch-policy.ts'

export interface GrowOptions {
  readonly rounds: number
  readonly seed: number
  /** Of a training: the trees of a later one see other batches, on the same holdout. */
  readonly step?: number
  /** Default: `expected`. */
  readonly reward?: RewardName
  /** Default: UCB with c = 0.1. */
  readonly selection?: Selection
  readonly actor?: ActorName
  readonly signal?: AbortSignal
}

/** A search of one company. */
export interface FinchTree extends Grown {
  readonly company: Company
  readonly actor: ActorName
}

/** Holdout score of notes: as each node of a tree gets it, so that differences are of the notes alone. */
export function holdoutScore(
  company: Company,
  notes: string,
  { reward = 'expected', seed, actor = 'finch-actor' }: Pick<GrowOptions, 'reward' | 'seed' | 'actor'>,
): number {
  return reward === 'expected' ? expectedScore(company, notes, { actor }) : sampledScore(company, notes, { actor, seed })
}

/** Grows one tree with a policy; calls of trees that grow side by side are drawn together. */
export async function growTree(company: Company, policy: Model, writer: Writer, options: GrowOptions): Promise<FinchTree> {
  const { rounds, seed, step = 0, selection = { kind: 'ucb', c: 0.1 }, actor = 'finch-actor', signal } = options
  const chance = step === 0 ? seed : seedOf(seed, step, 'grown')
  const tree = new Tree()
  const nodes: Node[] = []
  const asked: Grown['asked'][number][] = []
  const add = (notes: string, round: number, parents: readonly number[]): void => {
    const mean = holdoutScore(company, notes, options)
    const score = { per: { holdout: mean }, mean, draws: 1, full: true }
    nodes.push({ id: tree.insert(mean), parents, round, context: { [part]: notes }, score })
  }
  add(company.notes, 0, [])
  let invalid = 0
  for (let round = 1; round <= rounds; round++) {
    const id = tree.select(selection) ?? 0 // nothing is pruned
    tree.visit(id)
    const node = nodes[id]!
    const batch = { seed: seedOf(chance, company.name, round), actor }
    const observation = { ...observe(company, String(node.context[part]), batch), node }
    const prompt = writer.write(observation)
    asked.push({ observation, prompt })
    const answer = await answerOf(policy, prompt, seedOf(chance, company.name, round, 'edit'), signal)
    const edit = checked(writer.read(answer, observation), (next) => finchViolation(node.context, next))
    if (edit.kind === 'edit') add(String(edit.context[part]), round, [id])
    else invalid++
  }
  return { task: company.name, company, actor, nodes, asked, invalid }
}
