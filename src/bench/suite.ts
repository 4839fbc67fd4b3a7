// What is raced: tasks, and who races on them. A suite says nothing of how often or for how much.
import type { Context } from '../core/context.ts'
import type { Method } from '../core/method.ts'
import type { EvolveOptions, RunSettings, TaskOptions } from '../options.ts'

/** One task of a suite, made when its turn has come. */
export interface Track {
  readonly name: string
  /** Tracks of one group share a column of the table. */
  readonly group: string
  /** Score on test from the seed context to the best that can be; where it is known. */
  readonly way?: number
  open(): Promise<Opened>
}

/** A task while it is raced on. */
export interface Opened extends AsyncDisposable {
  /** The task with what its owner says about runs of it. */
  readonly config: Partial<EvolveOptions>
  /** True score of a context on test, where it can be computed without a call. */
  truth?(context: Context): number
}

/** One row of the table: how contexts are searched, and who writes them. */
export interface Entrant {
  readonly name: string
  enter(track: Track): Promise<{ readonly method: Method } & Partial<Pick<TaskOptions, 'model' | 'evolver' | 'baseUrl'>>>
}

/** Tasks, who races on them, and what all of their runs share. */
export interface Suite extends AsyncDisposable {
  readonly name: string
  /** Stands with every number of it. */
  readonly caption?: string
  readonly tracks: readonly Track[]
  readonly entrants: readonly Entrant[]
  /** Entrants to compare, the second taken off the first; left out: each with the first. */
  readonly pairs?: readonly (readonly [string, string])[]
  /** Settings that all runs share. */
  readonly shared: Pick<RunSettings, 'draws' | 'testDraws' | 'choice' | 'folds' | 'protocol' | 'racing'>
  /** Calls a run may make, unless the user says otherwise. */
  readonly calls?: number
  /** Runs take a second: many go side by side, and one that is killed begins again. */
  readonly isShort: boolean
  /** What must be the same for the numbers to come again. */
  readonly settings: Readonly<Record<string, unknown>>
}
