// The door through which every model call of a run goes: looked up in the journal, reserved, limited, made, retried, recorded.
// This file is the interface; `models/metered.ts` does it.
import type { Cost } from './budget.ts'
import type { Entry } from './store.ts'

export interface Scope<M> {
  /** A model whose calls belong to this scope. */
  readonly model: M
  /** Reserves and records what the task spends by itself, beside its model. */
  charge(cost: Cost): Promise<void>
  /** What the calls of this scope cost, replayed ones included; failed and lost attempts are not in it. */
  cost(): Cost
  /**
   * To be called when the scope's work is done, however it ended.
   * @throws what broke a call of the scope, also if the task caught it: a broken provider is never scored.
   * @throws {StoreError} if the journal holds a call that was not asked for again.
   */
  close(): void
}

export interface Meter<M> {
  /**
   * `key` = path of the rollout or proposal; `recorded` = the journal's entries below it, from before a kill. Once `stop` is aborted, calls
   * that still wait are not sent; those that were are heard out.
   */
  open(round: number, key: string, recorded: readonly Entry[], stop?: AbortSignal): Scope<M>
}
