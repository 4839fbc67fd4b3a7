// A search without models: every command is answered by a pure function of it, in any order of arrival, by processes that may die.
import { type Budget, type Cost, Ledger, noCost } from '../src/core/budget.ts'
import type { Context } from '../src/core/context.ts'
import { BudgetError } from '../src/core/errors.ts'
import type { Place } from '../src/core/evaluate.ts'
import type { Fact, Options, Steer } from '../src/core/facts.ts'
import type { Answer, Command, Method } from '../src/core/method.ts'
import type { Node } from '../src/core/observation.ts'
import { rng } from '../src/core/rng.ts'
import { drive } from '../src/core/run.ts'
import { type Score, scoreOf } from '../src/core/score.ts'
import type { State } from '../src/core/state.ts'
import type { Entry } from '../src/core/store.ts'
import { admit } from '../src/models/metered.ts'

export const ids = (prefix: string, n: number): string[] => Array.from({ length: n }, (_, i) => prefix + i)
export const calls = (n: number): Cost => ({ calls: n, tokens: 0, usd: 0 })

/** Options of a toy run: the context's one part is a number, the share of problems it gets right. */
export function toyOptions(more: Partial<Options> = {}): Options {
  return {
    seed: 7,
    context: { share: '0.30' },
    rules: {},
    splits: { train: ids('t', 60), holdout: ids('h', 30), confirm: [], test: ids('x', 20), ood: [] },
    rounds: 12,
    inFlight: 1,
    batch: 4,
    batches: 'shuffled',
    draws: 1,
    testDraws: 1,
    patience: 0,
    budget: {},
    reference: false,
    folds: 0,
    choice: 'mean',
    assumed: { rollout: calls(1), proposal: calls(2) },
    ...more,
  }
}

/** A score by example, each of one draw. */
export function scored(per: Readonly<Record<string, number>>, full = true): Score {
  return scoreOf(
    Object.entries(per).map(([exampleId, score]) => ({ exampleId, score })),
    1,
    full,
  )
}

/** A score whose mean is what it is said to be. */
export function score(mean: number, full = true): Score {
  return { per: { h0: mean }, mean, draws: 1, full }
}

export function node(id: number, mean: number, more: Partial<Node> = {}): Node {
  return { id, parents: id ? [0] : [], round: id, context: { share: mean.toFixed(2) }, score: score(mean), ...more }
}

/** Whether a context of this share gets an example right: the higher the share, the more of the same examples. */
const isRight = (id: string, share: number): boolean => rng('right', id)() < share

const shareOf = (context: Context): number => Number(context.share)

/** The answer of one rollout. */
export const toyScore = (id: string, context: Context): number => (isRight(id, shareOf(context)) ? 1 : 0)

/** The answer to a command, and what it costs: a call a rollout, one call an edit or three. */
export function answered(command: Command): Answer {
  if (command.kind === 'overlap') return { kind: 'overlap', share: 0, copied: [], cost: noCost }
  if (command.kind === 'propose') {
    const { node, seen } = command.observation
    const draw = rng(JSON.stringify([node.context, seen.per]))
    const cost = calls(draw() < 0.9 ? 1 : 3)
    if (draw() < 0.1) return { kind: 'invalid', reason: 'no edit in it', completion: '', cost: calls(3) }
    const share = Math.min(0.85, Math.max(0.05, shareOf(node.context) + (draw() - 0.5) * 0.4)).toFixed(2)
    return { kind: 'edit', context: { ...node.context, share }, completion: '', cost }
  }
  const rollouts = command.ids.map((exampleId) => {
    const rollout = { exampleId, draw: 0, score: toyScore(exampleId, command.context), feedback: '', question: '', answer: '' }
    return rollout
  })
  return {
    kind: 'score',
    score: scoreOf(rollouts, 1),
    rollouts: command.role === 'batch' ? rollouts : [],
    cost: calls(rollouts.length),
  }
}

/** What survives the death of a toy process, and the witness of what was asked. */
export class ToyRun {
  facts: Fact[]
  readonly entries: Map<string, Entry> = new Map()
  /** How often each command was answered by the world and kept, by key. */
  readonly paid: Map<string, number> = new Map()
  /** Most calls spent and reserved at once while the search ran, and over all. */
  readonly high = { search: 0, all: 0 }
  actions = 0
  #options: Options

  constructor(options: Options) {
    this.#options = options
    this.facts = [{ kind: 'started', names: names(), options, hashes: {} }]
  }

  get bytes(): string {
    return JSON.stringify(this.facts)
  }

  /**
   * One life: runs to the end, or until `dieAt` actions (asked, answered, about to append, appended) were done; undefined = it died.
   * `timing` seeds the order of arrival; `inbox` is asked with the number of facts there are.
   */
  async live(
    method: Method,
    {
      timing = 0,
      dieAt = Number.POSITIVE_INFINITY,
      inbox = () => [],
    }: { timing?: number; dieAt?: number; inbox?: (facts: readonly Fact[]) => readonly Steer[] } = {},
  ): Promise<State | undefined> {
    const late = rng('timing', timing)
    const ledger = new Ledger(this.#options.budget, this.#spent())
    let left = dieAt
    let isDead = (): void => {}
    const death = new Promise<undefined>((resolve) => {
      isDead = () => resolve(undefined)
    })
    const act = async (): Promise<void> => {
      this.actions++
      if (--left <= 0) isDead()
      await alive()
    }
    // Once the process is gone, nothing of it ever goes on.
    const alive = (): Promise<void> => (left > 0 ? Promise.resolve() : new Promise(() => {}))
    const pause = async (): Promise<void> => {
      for (let k = Math.floor(late() * 12); k > 0; k--) await null
      if (late() < 0.1) await new Promise((resolve) => setImmediate(resolve))
    }
    const watch = (): void => {
      const now = ledger.spent.calls + ledger.reserved.calls
      this.high.all = Math.max(this.high.all, now)
      if (!this.facts.some((f) => f.kind === 'stopped')) this.high.search = Math.max(this.high.search, now)
    }
    const call = async (bound: number, actual: number): Promise<void> => {
      const settle = await admit(ledger, calls(bound))
      watch()
      await pause()
      settle(calls(actual))
    }
    const perform = async (command: Command, { round, key, recorded }: Place): Promise<Answer> => {
      const question = JSON.stringify(command)
      const had = recorded.find((e) => e.key === `${key}/toy`)
      if (had && had.question !== question) throw new Error(`${key} is asked something else after a resume`)
      if (had?.outcome !== undefined) return JSON.parse(had.outcome) as Answer // written below
      await act()
      const answer = await this.#answer(command, call)
      await pause()
      await alive()
      const cost = answer.cost
      this.entries.set(key, { round, key: `${key}/toy`, question, bound: cost, outcome: JSON.stringify(answer), cost })
      this.paid.set(key, (this.paid.get(key) ?? 0) + 1)
      await act()
      return answer
    }
    const run = drive(method, this.#options, {
      perform,
      ledger,
      journal: {
        read: async (round) => [...this.entries.values()].filter((e) => e.round === round),
        put: async () => {},
        spent: async () => ({ done: noCost, lost: noCost }),
      },
      facts: structuredClone(this.facts),
      append: async (more) => {
        await act()
        this.facts.push(...structuredClone(more))
        await act()
      },
      inbox: async () => inbox(this.facts),
      wait: async () => void (await new Promise((resolve) => setImmediate(resolve))),
      lost: () => noCost,
      signal: new AbortController().signal,
    })
    return Promise.race([run, death])
  }

  #spent(): Cost {
    return calls([...this.entries.values()].reduce((sum, e) => sum + (e.cost?.calls ?? 0), 0))
  }

  /** Rollout by rollout, as the budget lets it; what is asked after the search may be cut short. */
  async #answer(command: Command, call: (bound: number, actual: number) => Promise<void>): Promise<Answer> {
    const whole = answered(command)
    if (command.kind === 'overlap') return whole
    if (command.kind === 'propose') {
      await call(3, whole.cost.calls)
      return whole
    }
    const isLook = ['confirm', 'test', 'ood'].includes(command.role)
    const done = await Promise.allSettled(command.ids.map(() => call(1, 1)))
    const kept = command.ids.filter((_, i) => done[i]?.status === 'fulfilled')
    if (kept.length === command.ids.length) return whole
    const failed = done.find((r) => r.status === 'rejected')
    if (!isLook || !(failed?.reason instanceof BudgetError)) throw failed?.reason
    const short = answered({ ...command, ids: kept }) as Answer & { kind: 'score' } // the answer to an evaluation
    return { ...short, score: { ...short.score, full: false } }
  }
}

export function limited(budget: Budget, more: Partial<Options> = {}): Options {
  return toyOptions({ budget, ...more })
}

function names(): { task: string; method: string; model: string; evolver: string; judge: string; tokenizer: string } {
  return { task: 'toy', method: 'toy', model: 'toy', evolver: 'toy', judge: 'toy', tokenizer: 'toy' }
}
