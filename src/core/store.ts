// What a run keeps: facts in round order (canonical), a journal of outcomes in any order, a lease, an inbox. No method of it decides.
import type { Cost } from './budget.ts'
import type { Fact, Steer } from './facts.ts'

/**
 * One thing done for a run. Keys are paths: `<round>.<step>.<index>` is a command, `…/<example id>#<draw>` a rollout in it (id
 * URI-encoded), `…/<n>~<attempt>` an attempt at the n-th model call inside a rollout or a proposal. A model call is written twice: reserved (`bound`,
 * no outcome), then with its outcome and cost. Rollouts and proposals are written once, with an outcome and no cost of their own.
 */
export interface Entry {
  readonly round: number
  readonly key: string
  /** Hash of what was asked; an outcome whose question differs from the program's is an error, not a miss. */
  readonly question: string
  /** What was reserved before the call. */
  readonly bound: Cost
  /** JSON of the answer; undefined = reserved and never heard of again: counts as spent. */
  readonly outcome?: string
  /** What it cost; present with `outcome`. */
  readonly cost?: Cost
}

/** Entries whose path lies below a key. */
export function below(entries: readonly Entry[], key: string): readonly Entry[] {
  return entries.filter((e) => e.key.startsWith(`${key}/`))
}

export interface Journal {
  /** All entries of a round, in the order of their first writing. */
  read(round: number): Promise<readonly Entry[]>
  /** Durable once resolved; puts of one turn of the event loop are written together, in order. Writing a key again replaces its entry. */
  put(entry: Entry): Promise<void>
  /** Sum of the costs of all entries with an outcome, and of the bounds of all entries without one, over the whole run. */
  spent(): Promise<{ readonly done: Cost; readonly lost: Cost }>
}

export interface RunRow {
  readonly id: string
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** Free-form JSON the run was created with (config, splits' hashes, versions). */
  readonly meta: string
}

export interface Store extends AsyncDisposable {
  /** @throws {StoreError} if the id is taken. */
  create(row: RunRow): Promise<void>
  /** Newest first. */
  runs(): Promise<readonly RunRow[]>
  /** Appends facts as one transaction. @throws {StoreError} unless exactly `expected` facts are there. */
  append(run: string, facts: readonly Fact[], expected: number): Promise<void>
  facts(run: string, from?: number): Promise<readonly Fact[]>
  journal(run: string): Journal
  /** Sole right to write to a run. @throws {StoreError} naming the holder, if another living owner has it. */
  lease(run: string, owner: string): Promise<AsyncDisposable>
  /** Leaves a wish for whoever runs the run; may come from another process. */
  steer(run: string, steer: Steer): Promise<void>
  /** The wishes left so far, oldest first. The next `append` of this handle to the run takes out those it was given, in its transaction. */
  inbox(run: string): Promise<readonly Steer[]>
  /** What was measured and is not canonical: times, lost spend, retries. Replaces what was there. */
  measure(run: string, measured: string): Promise<void>
  measured(run: string): Promise<string | undefined>
}
