// What a method is: a plan (pure data, made from the state) and a round (a coroutine of commands), and the words rounds are written in.
import type { Cost } from './budget.ts'
import type { Context } from './context.ts'
import type { Edit, Evolver } from './evolver.ts'
import type { Options, Outcome, Plan } from './facts.ts'
import type { Node, Observation } from './observation.ts'
import { bounds, isBelow } from './racing.ts'
import { rng, shuffle } from './rng.ts'
import { mean, type Rollout, type Score, scoreOf } from './score.ts'
import type { State } from './state.ts'
import type { Split } from './task.ts'

/** What a score is for; `trial` = a candidate on the batch. Only `batch` brings its rollouts; the last three may be cut short by the budget. */
export type Role = 'batch' | 'reference' | 'trial' | 'holdout' | 'confirm' | 'test' | 'ood'

/** What a round asks of the world. Several may be asked at once; answers come in the same order. */
export type Command =
  | {
      readonly kind: 'evaluate'
      readonly role: Role
      readonly context: Context
      readonly ids: readonly string[]
      /** Generations per example: draws `from` (included) to `to` (excluded). */
      readonly draws: readonly [from: number, to: number]
    }
  | { readonly kind: 'propose'; readonly observation: Observation }
  /** How much of the examples of a split stands in a context word for word. */
  | { readonly kind: 'overlap'; readonly context: Context; readonly split: Split }

export type Answer = (
  | { readonly kind: 'score'; readonly score: Score; readonly rollouts: readonly Rollout[] }
  | { readonly kind: 'overlap'; readonly share: number; readonly copied: readonly string[] }
  | Edit
) & { readonly cost: Cost }

/** A coroutine of commands. */
export type Ask<T> = Generator<readonly Command[], T, readonly Answer[]>

/** A search strategy. */
export interface Method {
  readonly name: string
  /** What it was made with, as JSON: a run is resumed only with the same. */
  readonly settings?: string
  /** A chain needs the last round's result to start the next: more than one round in flight is refused. */
  readonly sequential?: boolean
  /** How a model is asked for edits, unless the user says otherwise; default: LSE's writer. */
  readonly evolver?: Evolver
  /** Problems a round, unless the user says otherwise. */
  readonly batch?: number
  /** Refuses what the method can't work with, before anything is spent. @throws {ConfigError} */
  check?(options: Options): void
  /** Why there is nothing left to do, if so; asked before each plan. */
  done?(state: State, options: Options): string | undefined
  /** Which node next, on which batch; called only when a round may be planned. */
  plan(state: State, options: Options): Pick<Plan, 'from' | 'batch' | 'part' | 'parts' | 'context'>
  round(view: View): Ask<readonly Outcome[]>
}

/** All that a round may look at. */
export interface View {
  readonly plan: Plan
  readonly options: Options
  /** The nodes of `plan.from`. */
  readonly from: readonly Node[]
  readonly best: Node | undefined
  /** How the first of `from` came about. */
  readonly history: Observation['history']
  /** How each of `from` came about. */
  readonly histories: readonly Observation['history'][]
  readonly earlier: Observation['earlier']
  /** All edits settled before this round was planned, by the node they were made of. */
  readonly edits: State['edits']
}

/** Scores a context on the holdout: an edit only until it has lost the race against the best of when the round was planned. */
export function* scoreHoldout(view: View, context: Context): Ask<Score> {
  const { plan, best, options } = view
  const { splits, draws, racing } = options
  if (racing && best && plan.kind === 'edit') return yield* race(view, context, { best, racing })
  const [answer] = yield [{ kind: 'evaluate', role: 'holdout', context, ids: splits.holdout, draws: [0, draws] }]
  return scoreIn(answer)
}

interface Race {
  /** Fully scored. */
  readonly best: Node
  readonly racing: NonNullable<Options['racing']>
}

/** Scores in random order, a block at a time; each rollout is compared with the best's measured mean on the same problem. */
function* race({ plan, options }: View, context: Context, { best, racing }: Race): Ask<Score> {
  const { seed, draws, splits } = options
  const cells = shuffle(cellsOf(splits.holdout, [0, draws]), rng(seed, plan.round, JSON.stringify(context), 'race'))
  const done: (Cell & Pick<Rollout, 'score'>)[] = []
  const inOrder = (): typeof done => done.toSorted((a, b) => a.at - b.at)
  for (;;) {
    done.push(...(yield* roll(context, cells.slice(done.length, done.length + racing.block))))
    if (done.length === cells.length) return scoreOf(inOrder(), draws)
    const differences = done.map((r) => r.score - best.score.per[r.exampleId]!)
    if (!isBelow(differences, cells.length, racing.alpha)) continue
    const absolute = (difference: number): number => Math.min(1, Math.max(0, best.score.mean + difference))
    const [low, high] = bounds(differences, cells.length, racing.alpha)
    return {
      ...scoreOf(inOrder(), draws, false),
      mean: absolute(mean(differences)),
      interval: [absolute(low), absolute(high)],
      n: done.length,
    }
  }
}

/** One generation of one problem; `at` = its place in the list. */
interface Cell {
  readonly exampleId: string
  readonly draw: number
  readonly at: number
}

/** The generations `from` (included) to `to` (excluded) of all problems. */
export function cellsOf(ids: readonly string[], [from, to]: readonly [from: number, to: number]): readonly Cell[] {
  const each = Array.from({ length: to - from }, (_, k) => from + k)
  return ids.flatMap((exampleId, i) => each.map((draw, k) => ({ exampleId, draw, at: i * each.length + k })))
}

/** Rollouts on the holdout, one a cell, made at the same time; asked for by generation. */
export function* roll(context: Context, cells: readonly Cell[]): Ask<readonly (Cell & Pick<Rollout, 'score'>)[]> {
  const generations = [...Map.groupBy(cells, (cell) => cell.draw)]
  const answers = yield generations.map(
    ([draw, some]): Command => ({
      kind: 'evaluate',
      role: 'holdout',
      context,
      ids: some.map((cell) => cell.exampleId),
      draws: [draw, draw + 1],
    }),
  )
  const scores = new Map(generations.map(([draw], i) => [draw, scoreIn(answers[i]).per]))
  return cells.map((cell) => ({ ...cell, score: scores.get(cell.draw)![cell.exampleId]! }))
}

/** How a context does on the batch of this round; with the reference context beside it if the run wants that. */
export function* observe(view: View, context: Context): Ask<Score & { readonly rollouts: readonly Rollout[] }> {
  const ask = (role: 'batch' | 'reference', c: Context): Command => ({
    kind: 'evaluate',
    role,
    context: c,
    ids: view.plan.batch,
    draws: [0, 1],
  })
  const commands = [ask('batch', context), ...(view.options.reference ? [ask('reference', view.options.context)] : [])]
  const [answer] = yield commands
  if (answer?.kind !== 'score') throw new TypeError(`expected a score, got ${answer?.kind}`)
  return { ...answer.score, rollouts: answer.rollouts }
}

/** Asks the evolver for an edit of the round's first node. */
export function* propose(
  view: View,
  seen: Score & { readonly rollouts: readonly Rollout[] },
  memos?: readonly string[],
): Ask<Edit> {
  const { plan, history, earlier, options } = view
  const observation: Observation = {
    node: view.from[0]!,
    seen,
    history,
    earlier,
    rules: options.rules,
    part: plan.part,
    hint: plan.hint,
    ...(memos && { memos }),
  }
  const [answer] = yield [{ kind: 'propose', observation }]
  if (answer?.kind !== 'edit' && answer?.kind !== 'invalid') throw new TypeError(`expected an edit, got ${answer?.kind}`)
  return answer
}

/** The score of an answer. */
export function scoreIn(answer: Answer | undefined): Score {
  if (answer?.kind !== 'score') throw new TypeError(`expected a score, got ${answer?.kind}`)
  return answer.score
}
