// The search as two pure pieces over the state. decide: what comes next, as data. play: one plan as a coroutine of commands.
// Nothing here waits, draws unseeded chance, or knows who drives it. Source: arXiv:2603.18620, §3.
//
// Deviations from the paper's code: a re-selected node gets a fresh batch (as the paper says; its code reuses the stored one), and every
// child is scored (the code never scores the last).
import { addCost, type Cost, exceeded, scaleCost } from './budget.ts'
import { close } from './close.ts'
import type { Context } from './context.ts'
import type { Fact, Options, Outcome, Plan, Spent } from './facts.ts'
import { type Answer, type Ask, type Command, cellsOf, type Method, roll, scoreHoldout, type View } from './method.ts'
import type { Node } from './observation.ts'
import { rng, shuffle } from './rng.ts'
import { type Score, scoreOf } from './score.ts'
import { addSpent, noSpent, type State } from './state.ts'
import { isNoisy, variances } from './statistics.ts'

/** What the world outside the facts says about the budget: spend of lost calls, and whether the minutes are used up. */
export interface Limits {
  readonly lost: Cost
  readonly expired: boolean
}

/** The next fact that follows from the state alone, or undefined: wait for the oldest open round. */
export function decide(s: State, m: Method, o: Options, limits: Limits): Fact | undefined {
  if (s.result) return undefined
  const round = s.planned + 1
  const base = { round, from: [], batch: [], upTo: s.edits.length }
  // Rounds that the end of the budget left open stay open beside the closing look: more budget takes them up again.
  if (s.stopped) return isClosing(s) || s.nodes.length === 0 ? undefined : { kind: 'planned', plan: { ...base, kind: 'close' } }
  if (s.open.size >= o.inFlight || (s.nodes.length === 0 && s.open.size > 0)) return undefined
  const stop = s.nodes.length === 0 ? outOfBudget(s, o, limits) : stopNow(s, m, o, limits)
  if (stop) return s.open.size ? undefined : stop
  if (s.nodes.length === 0) return { kind: 'planned', plan: { ...base, kind: 'seed' } }
  if (s.paused) return undefined
  const wish = s.wishes[0]
  const common = { ...base, ...(s.best && { best: s.best.id }) }
  if (wish?.wish === 'add') {
    return {
      kind: 'planned',
      plan: { ...common, kind: 'score', from: wish.parent === undefined ? [] : [wish.parent], context: wish.context },
    }
  }
  const planned = m.plan(s, o)
  const branch = wish && { from: [wish.node], ...(wish.hint !== undefined && { hint: wish.hint }) }
  return { kind: 'planned', plan: { ...common, kind: 'edit', ...planned, ...branch } }
}

function isClosing(s: State): boolean {
  return [...s.open.values()].some((plan) => plan.kind === 'close')
}

function stopNow(s: State, m: Method, o: Options, limits: Limits): Fact | undefined {
  if (s.asked) return { kind: 'stopped', why: 'asked' }
  if (s.wishes.length === 0) {
    if (s.tree.select({ kind: 'newest' }) === undefined) return { kind: 'stopped', why: 'asked', detail: 'every node is pruned' }
    if (s.best?.score.mean === 1) return { kind: 'stopped', why: 'perfect', detail: 'every holdout problem is right' }
    if (s.editsPlanned >= s.rounds) return { kind: 'stopped', why: 'rounds', detail: `${s.rounds} rounds` }
    if (o.patience > 0 && s.settledSinceGain >= o.patience) {
      return { kind: 'stopped', why: 'patience', detail: `${o.patience} rounds without gain` }
    }
    const done = m.done?.(s, o)
    if (done !== undefined) return { kind: 'stopped', why: 'done', detail: done }
  }
  return outOfBudget(s, o, limits)
}

/** Whether the budget still covers one more round beside those open and the closing look. */
function outOfBudget(s: State, o: Options, limits: Limits): Fact | undefined {
  if (limits.expired) return { kind: 'stopped', why: 'budget', detail: 'minutes' }
  const open = [...s.open.values()].map((plan) => expectedCost(s, o, plan.kind))
  const next = expectedCost(s, o, s.nodes.length ? 'edit' : 'seed')
  const total = [next, ...open, closingCost(s, o), limits.lost, s.spent.act, s.spent.evolve].reduce(addCost)
  const unit = exceeded(s.budget, total)
  return unit && { kind: 'stopped', why: 'budget', detail: unit }
}

/** Cost of a plan, from the means seen so far in this run. Scoring that is cut short costs less, a seed whose answers are noisy more. */
export function expectedCost(s: State, o: Options, kind: Plan['kind']): Cost {
  if (kind === 'close') return closingCost(s, o)
  const n = o.splits.holdout.length
  const holdout = n * (kind === 'seed' ? Math.max(o.probe ?? 0, o.draws) : s.draws)
  const batch = Math.min(o.batch, o.splits.train.length) * (o.reference ? 2 : 1)
  return kind === 'edit' ? costOf(s, o, holdout + batch, 1) : costOf(s, o, holdout, 0)
}

/** What is set aside for the look at test (and at fresh problems before it). */
export function closingCost(s: State, o: Options): Cost {
  const looks = 2 * (o.splits.test.length + o.splits.ood.length) * o.testDraws
  return costOf(s, o, looks + (o.choice === 'confirm' ? 4 * o.splits.confirm.length : 0), 0)
}

/** Whole rounds that the budget of a new run affords beside scoring the seed and the closing look; may be negative, or no limit at all. */
export function roundsAfforded(s: State, o: Options): number {
  const fixed = addCost(closingCost(s, o), expectedCost(s, o, 'seed'))
  const round = expectedCost(s, o, 'edit')
  const each = (['usd', 'calls', 'tokens'] as const).map((unit) => {
    const limit = o.budget[unit]
    return limit === undefined || round[unit] === 0 ? Number.POSITIVE_INFINITY : Math.floor((limit - fixed[unit]) / round[unit])
  })
  return Math.min(...each)
}

function costOf(s: State, o: Options, rollouts: number, proposals: number): Cost {
  const rollout = s.spent.rollouts ? scaleCost(s.spent.act, 1 / s.spent.rollouts) : o.assumed.rollout
  const proposal = s.spent.proposals ? scaleCost(s.spent.evolve, 1 / s.spent.proposals) : o.assumed.proposal
  return addCost(scaleCost(rollout, rollouts), scaleCost(proposal, proposals))
}

/** The ids of the next batch: seeded, without replacement until train is used up, never twice in one batch. */
export function nextBatch(s: State, o: Options): readonly string[] {
  const train = o.splits.train
  const size = Math.min(o.batch, train.length)
  if (o.batches === 'failures') return weightedBatch(s, o, size)
  const out = new Set<string>()
  const first = s.editsPlanned * size
  for (let epoch = Math.floor(first / train.length); out.size < size; epoch++) {
    const order = shuffle(train, rng(o.seed, epoch, 'batch'))
    for (const id of order.slice(Math.max(0, first - epoch * train.length))) if (out.size < size) out.add(id)
  }
  return [...out]
}

/** Weighted without replacement by the exponential trick of Efraimidis & Spirakis (2006): wrong 4, unseen 2, right 1. */
function weightedBatch(s: State, o: Options, size: number): readonly string[] {
  const draw = rng(o.seed, s.editsPlanned, 'failures')
  const weight = (id: string): number => {
    const last = s.lastSeen.get(id)
    return last === undefined ? 2 : 4 - 3 * last
  }
  const keyed = o.splits.train.map((id) => ({ id, key: -Math.log(1 - draw()) / weight(id) }))
  return keyed
    .sort((a, b) => a.key - b.key)
    .slice(0, size)
    .map((k) => k.id)
}

/** The same view whenever it is made: only facts from before the plan go in. */
export function viewOf(s: State, o: Options, plan: Plan): View {
  const from = plan.from.map((id) => s.nodes[id]!)
  const histories = from.map((node) => historyOf(s, node))
  const past = s.edits.slice(0, plan.upTo)
  const node = from[0]
  const earlier = node ? past.filter((e) => e.parent === node.id).map((e) => e.tried) : []
  const best = s.nodes[plan.best ?? -1]
  return { plan, options: { ...o, draws: s.draws }, from, best, history: histories[0] ?? [], histories, earlier, edits: past }
}

function historyOf(s: State, node: Node): View['history'] {
  const history: { context: Context; score: number }[] = []
  for (let n: Node | undefined = node; n; n = s.nodes[n.parents[0] ?? -1])
    history.unshift({ context: n.context, score: n.score.mean })
  return history
}

/** Plays one plan: yields commands, takes their answers, returns its facts; the last says what it cost. */
export function* play(s: State, m: Method, o: Options, plan: Plan): Ask<readonly Fact[]> {
  const view = viewOf(s, o, plan)
  const inner = plan.kind === 'close' ? close(s, o) : asFacts(plan, plan.kind === 'edit' ? m.round(view) : plant(view))
  let spent = noSpent
  let seen: Score | undefined
  let reference: number | undefined
  let step = inner.next()
  while (!step.done) {
    const answers = yield step.value
    step.value.forEach((command, i) => {
      const answer = answers[i]!
      spent = addSpent(spent, costIn(command, answer))
      if (command.kind !== 'evaluate' || answer.kind !== 'score') return
      if (command.role === 'batch') seen ??= answer.score
      if (command.role === 'reference') reference = answer.score.mean
    })
    step = inner.next(answers)
  }
  const settled: Fact = {
    kind: 'settled',
    round: plan.round,
    spent,
    ...(seen && { seen }),
    ...(reference !== undefined && { reference }),
  }
  return [...step.value, settled]
}

function* asFacts(plan: Plan, round: Ask<readonly Outcome[]>): Ask<readonly Fact[]> {
  return (yield* round).map((outcome) => ({ ...outcome, round: plan.round }))
}

function costIn(command: Command, answer: Answer): Spent {
  if (command.kind === 'overlap') return noSpent
  if (command.kind === 'propose') return { ...noSpent, proposals: 1, evolve: answer.cost }
  return { ...noSpent, rollouts: command.ids.length * (command.draws[1] - command.draws[0]), act: answer.cost }
}

/** Round 0, and contexts written by hand: only scored. */
function* plant(view: View): Ask<readonly Outcome[]> {
  const context = view.plan.context ?? view.options.context
  const { probe } = view.options
  if (view.plan.kind === 'seed' && probe !== undefined) return [yield* measured(view, probe)]
  return [{ kind: 'scored', parents: view.plan.from, context, score: yield* scoreHoldout(view, context) }]
}

/** The seed's score, and from it how noisy answers are; it has the generations that children will have, or more. */
function* measured({ plan, options }: View, probe: number): Ask<Outcome> {
  const { context, draws, splits } = options
  const first = Math.max(probe, draws)
  const rolled = [...(yield* roll(context, cellsOf(splits.holdout, [0, first])))]
  const generations = [...Map.groupBy(rolled, (r) => r.draw).values()]
  const found = variances(generations.map((some) => Object.fromEntries(some.map((r) => [r.exampleId, r.score]))))
  const noise = { ...found, draws: isNoisy(found) ? 2 * draws : draws }
  if (noise.draws > first) rolled.push(...(yield* roll(context, cellsOf(splits.holdout, [first, noise.draws]))))
  return { kind: 'scored', parents: plan.from, context, score: scoreOf(rolled, Math.max(first, noise.draws)), noise }
}
