// RoboPhD: contexts play matches on training problems and are rated by Elo; the best rated is returned, without a validation split.
// Source: arXiv:2604.04347 and its code (RoboPhD/researcher.py).
//
// Carried over, as a run here reports what the holdout chose, and an edit is one answer of a model: 1. A round is a match and then an edit;
// there, an edit and then a match: the same order, cut elsewhere. 2. A context that comes to lead the ratings is scored on the holdout, and of
// those that ever led the best there is returned. 3. The edit is made of the best rated that played, on what it answered; there, a coding
// session reads the files of all.
import { type Context, sameContext } from '../core/context.ts'
import { ConfigError } from '../core/errors.ts'
import type { Options, Outcome } from '../core/facts.ts'
import { type Ask, type Command, type Method, propose, scoreHoldout, scoreIn, type View } from '../core/method.ts'
import type { Node, Observation, Tried } from '../core/observation.ts'
import { rng, shuffle } from '../core/rng.ts'
import { nextBatch } from '../core/search.ts'
import type { State } from '../core/state.ts'

/** How matches are played, and how new contexts are prepared for them. */
export interface RobophdOptions {
  /** Contexts in a match; default 3. */
  readonly players?: number
  /** How often a new context is tried on the problems of the last match and edited again, before its first match; default 1. */
  readonly refinements?: number
}

/** The method: matches on training problems. @throws {ConfigError} */
export function robophd({ players = 3, refinements = 1 }: RobophdOptions = {}): Method {
  if (!Number.isInteger(players) || players < 2)
    throw new ConfigError(`robophd: players is ${players}; give a whole number from 2`)
  if (!Number.isInteger(refinements) || refinements < 0)
    throw new ConfigError(`robophd: refinements is ${refinements}; give a whole number from 0`)
  return {
    name: 'robophd',
    settings: JSON.stringify({ players, refinements }),
    sequential: true,
    batch: 20,
    plan: (s, o) => ({ from: [leadingNode(s, o)], batch: nextBatch(s, o) }),
    round: (view) => matchAndEdit(view, { players, refinements }),
  }
}

// The pool

/** A context and how it has done. */
export interface Entry {
  readonly context: Context
  rating: number
  /** Matches played. */
  matches: number
  /** Round of its last match, and of the last that it won. */
  played: number
  won: number
  /** Whether it was scored on the holdout. */
  isNode: boolean
  readonly copied?: readonly string[]
}

type Match = readonly (readonly [place: number, score: number])[]

/** What a round leaves for later ones. */
interface Memo {
  /** Who played, by place in the pool, and the mean score of each. */
  readonly match?: Match
  /** Place in the pool of the context that came to lead. */
  readonly leads?: number
  /** Of a context new in the pool: the examples it copies. */
  readonly copied?: readonly string[]
}

const initial = 1500

function newcomer(context: Context, more: Partial<Entry> = {}): Entry {
  return { context, rating: initial, matches: 0, played: -1, won: -1, isNode: false, ...more }
}

/** The pool as the past made it, the seed first. */
function poolOf(seed: Context, edits: State['edits']): readonly Entry[] {
  const pool = [newcomer(seed, { isNode: true })]
  for (const { round, tried } of edits) {
    const { match, leads, copied }: Memo = tried.memo === undefined ? {} : JSON.parse(tried.memo) // written by a round
    if (match) record(pool, match, round)
    if (leads !== undefined) pool[leads]!.isNode = true
    else if (tried.kind !== 'invalid')
      pool.push(newcomer(tried.context, { isNode: tried.kind === 'scored', ...(copied && { copied }) }))
  }
  return pool
}

function record(pool: readonly Entry[], match: Match, round: number): void {
  const scores = match.map(([, score]) => score)
  const ratings = rated(
    match.map(([place]) => pool[place]!.rating),
    scores,
  )
  for (const [n, [place, score]] of match.entries()) {
    const entry = pool[place]!
    entry.rating = ratings[n]!
    entry.matches++
    entry.played = round
    if (score === Math.max(...scores)) entry.won = round
  }
}

/** Points that a game moves at most. Source: the code. */
const stake = 32

/** Ratings after all play all, in the order of the code: draws first, best score first, then each against those below it. */
export function rated(ratings: readonly number[], scores: readonly number[]): readonly number[] {
  const now = [...ratings]
  const round = (score: number): number => Math.round(score * 1e6) // equal to six places is a draw
  const levels = [...Map.groupBy(now.keys(), (i) => round(scores[i]!)).entries()]
  const game = (a: number, b: number, result: number): void => {
    const points = stake * (result - 1 / (1 + 10 ** ((now[b]! - now[a]!) / 400)))
    now[a]! += points
    now[b]! -= points
  }
  for (const [, level] of levels) for (const [n, a] of level.entries()) for (const b of level.slice(n + 1)) game(a, b, 0.5)
  const sorted = levels.sort(([a], [b]) => b - a).map(([, level]) => level)
  for (const [n, level] of sorted.entries()) {
    for (const lower of sorted.slice(n + 1)) for (const a of level) for (const b of lower) game(a, b, 1)
  }
  return now
}

/** The highest rating; of equals, the first in the pool. */
function best(entries: readonly Entry[]): Entry {
  return entries.reduce((a, b) => (b.rating > a.rating ? b : a))
}

/** The node to edit: the best rated of those scored on the holdout that are not pruned. */
function leadingNode(s: State, o: Options): number {
  const entries = poolOf(o.context, s.edits).flatMap((entry) => {
    const id = s.nodes.findIndex((n) => sameContext(n.context, entry.context))
    return id < 0 || s.tree.isPruned(id) ? [] : [{ ...entry, id }]
  })
  if (entries.length === 0) return s.tree.select({ kind: 'newest' })! // asked only while a node is open
  return entries.reduce((a, b) => (b.rating > a.rating ? b : a)).id
}

/** Who plays: winners not played since, newest win first; who never played; then some of the best rated, drawn. Indices into the pool. */
export function drawPlayers(pool: readonly Entry[], players: number, draw: () => number): readonly number[] {
  const all = [...pool.keys()]
  const by = (value: (entry: Entry) => number) => (a: number, b: number) => value(pool[b]!) - value(pool[a]!)
  const winners = all
    .filter((i) => pool[i]!.won >= 0 && pool[i]!.won === pool[i]!.played)
    .sort(by((entry) => entry.rating))
    .sort(by((entry) => entry.won))
  const out = winners.slice(0, players)
  const newest = all.filter((i) => pool[i]!.matches === 0).reverse()
  if (newest.length > 0 && out.length === players) out.splice(Math.floor(draw() * players), 1)
  out.push(...newest.slice(0, players - out.length))
  const slots = players - out.length
  const rest = all.filter((i) => !out.includes(i) && pool[i]!.matches > 0).sort(by((entry) => entry.rating))
  return [...out, ...shuffle(rest.slice(0, 2 * slots), draw).slice(0, slots)]
}

// A round

type Seen = Observation['seen']

function* matchAndEdit(view: View, { players, refinements }: Required<RobophdOptions>): Ask<readonly Outcome[]> {
  const { plan, options } = view
  const [node] = view.from as [Node] // an edit plan has a node
  const pool = poolOf(options.context, view.edits)
  const led = best(pool)
  const places = drawPlayers(pool, players, rng(options.seed, plan.round, 'match'))
  const looks = yield* look(
    view,
    places.map((i) => pool[i]!.context),
  )
  const match = places.map((i, n) => [i, looks[n]!.mean] as const)
  record(pool, match, plan.round)

  const leader = best(pool)
  const leads = pool.indexOf(leader)
  const score = leader.isNode ? undefined : yield* scoreHoldout(view, leader.context)
  const { copied } = leader
  const risen: readonly Outcome[] = score
    ? [
        {
          kind: 'scored',
          parents: [node.id],
          context: leader.context,
          score,
          memo: JSON.stringify({ match, leads } satisfies Memo),
          ...(copied && { copied }),
        },
      ]
    : []
  const kept = risen.length ? {} : { match }

  // Someone's branch, or a leader that was pruned: then the node is edited, else the best rated that played.
  const isTold = !sameContext(node.context, led.context)
  const top = best(places.map((i) => pool[i]!))
  const seen = isTold ? (yield* look(view, [node.context]))[0]! : looks[places.indexOf(pool.indexOf(top))]!
  const isNode = isTold || sameContext(top.context, node.context)
  const base = isNode ? node : { ...node, context: top.context, score: (top === leader && score) || seen }
  const edit = yield* propose(seeing(view, base, pool), seen)
  if (edit.kind === 'invalid')
    return [...risen, { kind: 'invalid', parent: node.id, reason: edit.reason, memo: JSON.stringify(kept satisfies Memo) }]
  const last = yield* refined(view, { pool, base, edit, refinements })
  const memo: Memo = { ...kept, ...(last.copied && { copied: last.copied }) }
  const reason = 'waits for its first match; scored on the holdout once it leads'
  return [...risen, { kind: 'rejected', parent: node.id, context: last.context, reason, memo: JSON.stringify(memo) }]
}

interface Draft {
  readonly context: Context
  readonly copied?: readonly string[]
}

/** The edit after it was tried on the problems of the match and edited again. */
function* refined(
  view: View,
  {
    pool,
    base,
    edit,
    refinements,
  }: { readonly pool: readonly Entry[]; readonly base: Node; readonly edit: Draft; readonly refinements: number },
): Ask<Draft> {
  let last = edit
  for (let n = 0; n < refinements; n++) {
    const [seen] = yield* look({ ...view, options: { ...view.options, reference: false } }, [last.context])
    if (!seen || seen.mean === 1) return last
    const again = yield* propose(seeing(view, { ...base, context: last.context, score: seen }, pool), seen)
    if (again.kind === 'invalid') return last
    last = again
  }
  return last
}

/** What the evolver is shown besides: how the others of the pool are rated, the best last; none of them may be written again. */
function seeing(view: View, node: Node, pool: readonly Entry[]): View {
  const others = pool.filter((entry) => !sameContext(entry.context, node.context)).sort((a, b) => a.rating - b.rating)
  const own = pool.find((entry) => sameContext(entry.context, node.context))
  const rating = (entry: Entry): string => `rated ${Math.round(entry.rating)} after ${entry.matches} matches`
  const earlier = others.map(
    (entry): Tried => ({
      kind: 'rejected',
      context: entry.context,
      reason: `${rating(entry)}; this one ${own ? rating(own) : 'is new'}`,
    }),
  )
  return { ...view, from: [node], earlier, history: node === view.from[0] ? view.history : [] }
}

/** How contexts do on the problems of the round; the reference context beside them if the run wants that. */
function* look({ plan, options }: View, contexts: readonly Context[]): Ask<readonly Seen[]> {
  const ask = (role: 'batch' | 'reference', context: Context): Command => ({
    kind: 'evaluate',
    role,
    context,
    ids: plan.batch,
    draws: [0, 1],
  })
  const answers = yield [
    ...contexts.map((c) => ask('batch', c)),
    ...(options.reference ? [ask('reference', options.context)] : []),
  ]
  return contexts.map((_, n) => {
    const answer = answers[n]
    return { ...scoreIn(answer), rollouts: answer?.kind === 'score' ? answer.rollouts : [] }
  })
}
