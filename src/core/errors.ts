// The few errors that cross rooms. A bad answer is data and is never one of these; a broken provider always is.

/** The user's to fix: a wrong option, file, split, model name or value. The CLI prints the message alone and exits with 2. */
export class ConfigError extends TypeError {
  override name = 'ConfigError'
}

/** An optional package that is not installed; the message names the command that installs it. */
export class MissingPackageError extends ConfigError {
  override name = 'MissingPackageError'
}

export interface ModelFault {
  /** HTTP status, where there was one. */
  readonly status?: number | undefined
  /** Whether asking again can help. */
  readonly retryable: boolean
  /** Milliseconds the provider asked us to wait. */
  readonly retryAfter?: number | undefined
  readonly cause?: unknown
}

/** A provider that broke: refused, timed out, or answered with something that is no answer. Never scored as 0. */
export class ModelError extends Error {
  override name = 'ModelError'
  readonly status: number | undefined
  readonly retryable: boolean
  readonly retryAfter: number | undefined
  constructor(message: string, fault: ModelFault) {
    super(message, { cause: fault.cause })
    this.status = fault.status
    this.retryable = fault.retryable
    this.retryAfter = fault.retryAfter
  }
}

/** A call that was not made because the budget cannot cover its bound. */
export class BudgetError extends Error {
  override name = 'BudgetError'
}

/** The store could not keep or find something: a second writer, a full disk, a journal that does not match its program. */
export class StoreError extends Error {
  override name = 'StoreError'
}

/** Training can't go on: a wrong shape, a loss that is not finite, a checkpoint that does not fit, a policy used after its step. */
export class EngineError extends Error {
  override name = 'EngineError'
}

/** A loss, gradient or log-probability that is not finite: training ends with its last good checkpoint. */
export class NotFiniteError extends EngineError {
  override name = 'NotFiniteError'
}

/** Thrown by a task or score function to say: this answer is bad. It scores 0 and the evolver reads `feedback`. */
export class BadAnswer extends Error {
  override name = 'BadAnswer'
  readonly answer: string
  constructor(feedback: string, answer = '') {
    super(feedback)
    this.answer = answer
  }
}
