// The driver in the process: folds what the log has, plays what is open, settles in round order. A fresh run and a resumed one are the same
// call. Time, chance and the outside come in through `Ports`.
import { type Cost, type Ledger, noCost } from './budget.ts'
import { BudgetError } from './errors.ts'
import type { Perform } from './evaluate.ts'
import type { Fact, Options, Plan, Steer } from './facts.ts'
import type { Method } from './method.ts'
import { closingCost, decide, play } from './search.ts'
import { apply, objection, type State, start } from './state.ts'
import { below, type Journal } from './store.ts'

export interface Ports {
  readonly perform: Perform
  readonly ledger: Ledger
  readonly journal: Journal
  /** Facts so far, the first one `started`. */
  readonly facts: readonly Fact[]
  /** Keeps new facts; resolves when they are durable. */
  readonly append: (facts: readonly Fact[]) => Promise<void>
  /** Wishes left that are no facts yet; the next `append` makes them facts. */
  readonly inbox: () => Promise<readonly Steer[]>
  /** Resolves when it is worth looking into the inbox again. */
  readonly wait: () => Promise<void>
  /** Spend of reservations that brought no outcome. */
  readonly lost: () => Cost
  readonly signal: AbortSignal
}

/** Drives a run until its result is reported. @throws what stopped it; the run can be resumed. */
export async function drive(method: Method, o: Options, ports: Ports): Promise<State> {
  const s = start(o)
  for (const fact of ports.facts) apply(s, fact)
  const abort = new AbortController()
  const signal = AbortSignal.any([ports.signal, abort.signal])
  const live = new Map<number, Promise<readonly Fact[]>>()

  const record = async (facts: readonly Fact[]): Promise<void> => {
    if (facts.length === 0) return
    await ports.append(facts)
    for (const fact of facts) apply(s, fact)
    ports.ledger.limit(s.budget)
    ports.ledger.hold(s.stopped ? noCost : closingCost(s, o))
  }
  const go = (plan: Plan, resumed: boolean): void => {
    const round = playRound(s, { method, o, plan, ports, signal, resumed })
    round.catch((error: unknown) => error instanceof BudgetError || abort.abort(error))
    live.set(plan.round, round)
  }
  const settle = async (round: number): Promise<void> => {
    try {
      await record(await live.get(round)!)
    } catch (error) {
      if (!(error instanceof BudgetError)) throw error
      // No call of the search is admitted any more. What is in flight ends and stays in the journal; the rounds stay open.
      await Promise.allSettled(live.values())
      await record([{ kind: 'stopped', why: 'budget', detail: error.message }])
      live.clear()
      return
    }
    live.delete(round)
  }

  ports.ledger.limit(s.budget)
  ports.ledger.hold(s.stopped ? noCost : closingCost(s, o))
  try {
    for (;;) {
      signal.throwIfAborted()
      await record((await ports.inbox()).map((steer) => steered(s, steer)))
      if (s.result || (s.stopped && s.nodes.length === 0)) break
      for (const plan of s.open.values()) if (!live.has(plan.round) && (!s.stopped || plan.kind === 'close')) go(plan, true)
      for (let next = step(s, method, o, ports); next; next = step(s, method, o, ports)) {
        await record([next])
        if (next.kind === 'planned') go(next.plan, false)
      }
      if (live.size) await settle(Math.min(...live.keys()))
      else if (!s.stopped) await ports.wait()
    }
  } catch (error) {
    abort.abort(error)
    await Promise.allSettled(live.values())
    throw ports.signal.aborted ? ports.signal.reason : (abort.signal.reason ?? error)
  }
  return s
}

function steered(s: State, steer: Steer): Fact {
  const refused = objection(s, steer)
  return { kind: 'steered', ...steer, ...(refused !== undefined && { refused }) }
}

function step(s: State, method: Method, o: Options, ports: Ports): Fact | undefined {
  return decide(s, method, o, { lost: ports.lost(), expired: ports.ledger.expired })
}

interface Round {
  readonly method: Method
  readonly o: Options
  readonly plan: Plan
  readonly ports: Ports
  readonly signal: AbortSignal
  /** Whether the journal may know something of this round already. */
  readonly resumed: boolean
}

async function playRound(s: State, { method, o, plan, ports, signal, resumed }: Round): Promise<readonly Fact[]> {
  const entries = resumed ? await ports.journal.read(plan.round) : []
  const round = play(s, method, o, plan)
  // What breaks one command ends those beside it. The budget does not: what it still admits is kept.
  const broken = new AbortController()
  const either = AbortSignal.any([signal, broken.signal])
  let turn = round.next()
  for (let i = 0; !turn.done; i++) {
    const answers = turn.value.map((command, k) => {
      const key = `${plan.round}.${i}.${k}`
      const answer = ports.perform(command, { round: plan.round, key, recorded: below(entries, key), signal: either })
      answer.catch((error: unknown) => error instanceof BudgetError || broken.abort(error))
      return answer
    })
    turn = round.next(await allOrFirstError(answers))
  }
  return turn.value
}

/** Waits for all, then throws the first error if there was one: nothing of a round goes on after it has ended. */
export async function allOrFirstError<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(promises)
  const failed = settled.find((r) => r.status === 'rejected')
  if (failed) throw failed.reason
  return settled.map((r) => (r as PromiseFulfilledResult<T>).value) // none was rejected
}
