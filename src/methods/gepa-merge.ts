// Two contexts that came of one ancestor are joined part by part. Source: gepa 0.1.4.
import type { Context, Part } from '../core/context.ts'
import type { Options, Outcome, Plan } from '../core/facts.ts'
import { type Ask, scoreHoldout, scoreIn, type View } from '../core/method.ts'
import type { Node, Tried } from '../core/observation.ts'
import type { State } from '../core/state.ts'
import type { Chance } from './gepa-chance.ts'
import { paretoFronts } from './gepa-pareto.ts'

/** Merges that are accepted before no more are looked for. */
const enough = 5
/** Problems a merge is tried on, and must have in common with both its parents. */
const subsample = 5
/** Tries to find a pair, and tries for an ancestor within each. */
const tries = 10

/** Whether an edit of the past joined two contexts: its memo says so, and which. */
export function isMerge(tried: Tried): boolean {
  return tried.memo?.startsWith('merge ') ?? false
}

/** A merge, if one is due and there is one not made before: its parents and their ancestor, the problems to try it on, the context. */
export function planMerge(s: State, o: Options, chance: Chance): Pick<Plan, 'from' | 'batch' | 'context'> | undefined {
  if (!isDue(s)) return undefined
  const ids = [...new Set(paretoFronts(s, o.splits.holdout, chance).flat())].sort((a, b) => a - b)
  if (ids.length < 2 || s.nodes.length < 3) return undefined
  const made = mergesOf(s)
  for (let t = 0; t < tries; t++) {
    const found = findPair(s, { ids, made, chance })
    if (!found) continue
    const [i, j, ancestor] = found
    const context = joined([s.nodes[i]!, s.nodes[j]!, s.nodes[ancestor]!], chance)
    if (made.some((m) => m.from[0] === i && m.from[1] === j && same(m.context, context))) continue
    if (o.splits.holdout.length < subsample) continue
    return { from: found, context, batch: problemsFor(s.nodes[i]!, s.nodes[j]!, { problems: o.splits.holdout, chance }) }
  }
  return undefined
}

/** Tries the merge on a few problems; as good as the better parent there, it is scored. */
export function* mergeRound(view: View, context: Context): Ask<readonly Outcome[]> {
  const [i, j, ancestor] = view.from as [Node, Node, Node] // what planMerge put there
  const { batch } = view.plan
  const [answer] = yield [{ kind: 'evaluate', role: 'holdout', context, ids: batch, draws: [0, view.options.draws] }]
  const sum = (per: Readonly<Record<string, number>>): number => batch.reduce((total, id) => total + per[id]!, 0)
  const [after, before] = [sum(scoreIn(answer).per), Math.max(sum(i.score.per), sum(j.score.per))]
  const memo = `merge ${i.id} ${j.id} ${ancestor.id}`
  if (after < before) {
    const reason = `joined with another context it scored ${after.toFixed(2)} on ${batch.length} problems, the better of both ${before.toFixed(2)}`
    return [{ kind: 'rejected', parent: i.id, reason, context, memo }]
  }
  return [{ kind: 'scored', parents: [i.id, j.id], context, score: yield* scoreHoldout(view, context), memo }]
}

/** Each accepted edit makes a merge due until enough were accepted; one is tried right after a round that accepted an edit. */
function isDue(s: State): boolean {
  const last = s.open.size ? Math.min(...s.open.keys()) - 1 : s.planned
  let [due, accepted, isFresh] = [0, 0, false]
  for (const { tried, round } of s.edits) {
    if (tried.kind !== 'scored') continue
    if (isMerge(tried)) {
      due--
      accepted++
    } else {
      if (accepted < enough) due++
      if (round === last) isFresh = true
    }
  }
  return due > 0 && isFresh
}

interface Made {
  readonly from: readonly number[]
  readonly context: Context
}

/** Merges settled and in flight. */
function mergesOf(s: State): readonly Made[] {
  const settled = s.edits.flatMap(({ tried }) =>
    tried.kind !== 'invalid' && isMerge(tried)
      ? [{ from: tried.memo!.split(' ').slice(1).map(Number), context: tried.context }]
      : [],
  )
  const open = [...s.open.values()].flatMap(({ kind, from, context }) => (kind === 'edit' && context ? [{ from, context }] : []))
  return [...settled, ...open]
}

interface Search {
  readonly ids: readonly number[]
  readonly made: readonly Made[]
  readonly chance: Chance
}

function findPair(s: State, { ids, made, chance }: Search): readonly [i: number, j: number, ancestor: number] | undefined {
  for (let t = 0; t < tries; t++) {
    const [i, j] = chance.sample(ids, 2).toSorted((a, b) => a - b) as [number, number] // two of two or more
    const [ofI, ofJ] = [ancestorsOf(s, i), ancestorsOf(s, j)]
    if (ofI.has(j) || ofJ.has(i)) continue
    const [one, other] = [s.nodes[i]!, s.nodes[j]!]
    const common = [...ofI].filter((a) => {
      const { score, context } = s.nodes[a]!
      const isTried = made.some(({ from }) => from[0] === i && from[1] === j && from[2] === a)
      const isWorse = score.full && score.mean <= one.score.mean && score.mean <= other.score.mean
      return ofJ.has(a) && !isTried && isWorse && hasOneSided(context, one.context, other.context)
    })
    if (common.length === 0) continue
    common.sort((a, b) => a - b)
    return [
      i,
      j,
      chance.weighted(
        common,
        common.map((a) => s.nodes[a]!.score.mean),
      ),
    ]
  }
  return undefined
}

function ancestorsOf(s: State, id: number, found: Set<number> = new Set()): ReadonlySet<number> {
  for (const parent of s.nodes[id]!.parents) {
    if (found.has(parent)) continue
    found.add(parent)
    ancestorsOf(s, parent, found)
  }
  return found
}

const same = (a: Part | Context, b: Part | Context): boolean => JSON.stringify(a) === JSON.stringify(b)

/** Whether some part was changed by one child alone. */
function hasOneSided(before: Context, a: Context, b: Context): boolean {
  return Object.keys(before).some((n) => !same(a[n]!, b[n]!) && (same(before[n]!, a[n]!) || same(before[n]!, b[n]!)))
}

/** Of each part the text of the child that changed it; where both did, of the better one. */
function joined([one, other, { context }]: readonly [Node, Node, Node], chance: Chance): Context {
  const better = (): Node =>
    one.score.mean > other.score.mean ? one : one.score.mean < other.score.mean ? other : chance.pick([one, other])
  const parts = new Map<string, Part>()
  for (const name of chance.order(Object.keys(context))) {
    const [before, a, b] = [context[name]!, one.context[name]!, other.context[name]!]
    parts.set(name, same(before, a) ? b : same(before, b) ? a : better().context[name]!)
  }
  return Object.fromEntries(Object.keys(context).map((name) => [name, parts.get(name)!]))
}

/** Up to two problems that one does better, two that the other does better, then ties; filled up by chance. */
function problemsFor(
  { score: { per: a } }: Node,
  { score: { per: b } }: Node,
  { problems, chance }: { readonly problems: readonly string[]; readonly chance: Chance },
): readonly string[] {
  const kinds = [
    problems.filter((id) => a[id]! > b[id]!),
    problems.filter((id) => a[id]! < b[id]!),
    problems.filter((id) => a[id] === b[id]),
  ]
  const chosen: string[] = []
  for (const kind of kinds) {
    const take = Math.min(kind.length, Math.ceil(subsample / 3), subsample - chosen.length)
    if (take > 0) chosen.push(...chance.sample(kind, take))
  }
  const rest = problems.filter((id) => !chosen.includes(id))
  if (chosen.length < subsample) chosen.push(...chance.sample(rest, subsample - chosen.length))
  return chosen
}
