// The worker threads, and which of them does what: one job a thread at a time, in the order they were asked for.
import { Worker } from 'node:worker_threads'
import { EngineError, MissingPackageError, NotFiniteError } from '../../core/errors.ts'
import type { Answer, Job, Question, Setup } from './worker.ts'

export interface Crew extends AsyncDisposable {
  /**
   * Runs a job with these weights, which must not change any more.
   * @throws {EngineError} if the thread broke.
   */
  run<K extends Job['kind']>(job: Job & { readonly kind: K }, weights: Float32Array): Promise<Answer & { readonly kind: K }>
}

interface Task {
  readonly job: Job
  readonly weights: Float32Array
  readonly settle: (answer: Answer) => void
  readonly fail: (error: Error) => void
}

interface Hand {
  readonly thread: Worker
  /** What it computed with last. */
  weights?: Float32Array
  task?: Task | undefined
}

/**
 * Starts threads; they end when disposed, and keep the program alive only while they work.
 * @throws {MissingPackageError} without the library, {@link EngineError} if it can't start.
 */
export async function crewOf(size: number, setup: Setup): Promise<Crew> {
  const hands = Array.from({ length: size }, (): Hand => ({ thread: startThread(setup) }))
  const queue: Task[] = []
  let broken: Error | undefined

  const dismiss = async (why: Error): Promise<void> => {
    broken ??= why
    for (const task of [...queue.splice(0), ...hands.flatMap(({ task }) => task ?? [])]) task.fail(broken)
    await Promise.all(hands.map(({ thread }) => thread.terminate()))
  }
  const dispatch = (): void => {
    for (const hand of hands) {
      if (hand.task) continue
      const task = queue.shift()
      if (!task) return
      hand.task = task
      hand.thread.ref()
      const question: Question = hand.weights === task.weights ? { job: task.job } : { job: task.job, weights: task.weights }
      hand.weights = task.weights
      hand.thread.postMessage(question)
    }
  }
  const listen = (hand: Hand): void => {
    hand.thread.on('message', (answer: Answer) => {
      const { task } = hand
      hand.task = undefined
      hand.thread.unref()
      if (answer.kind === 'failed') task?.fail(errorOf(answer))
      else task?.settle(answer)
      dispatch()
    })
    hand.thread.on('error', (cause: Error) => dismiss(new EngineError(`jax engine: a thread broke: ${cause.message}`, { cause })))
    hand.thread.on('exit', () => dismiss(new EngineError('jax engine: a thread ended')))
  }

  try {
    await Promise.all(hands.map(({ thread }) => ready(thread)))
  } catch (error) {
    await Promise.all(hands.map(({ thread }) => thread.terminate()))
    throw error
  }
  for (const hand of hands) {
    listen(hand)
    hand.thread.unref() // listening made it keep the program alive
  }
  return {
    run: (job, weights) =>
      new Promise((settle, fail) => {
        if (broken) return fail(broken)
        // A thread answers a job with an answer of its kind.
        queue.push({ job, weights, settle: settle as Task['settle'], fail })
        dispatch()
      }),
    [Symbol.asyncDispose]: () => dismiss(new EngineError('jax engine: it was closed')),
  }
}

function startThread(setup: Setup): Worker {
  const program = new URL(`./worker.${import.meta.url.split('.').at(-1)}`, import.meta.url)
  return new Worker(program, { workerData: setup, execArgv: [] }) // those of this process, such as --input-type, are not for a file
}

function ready(thread: Worker): Promise<void> {
  return new Promise((settle, fail) => {
    thread.once('message', (answer: Answer) => {
      thread.off('error', fail)
      if (answer.kind !== 'failed') return settle()
      fail(errorOf(answer))
    })
    thread.once('error', fail)
  })
}

/** The error as it was before it crossed threads. */
function errorOf({ message, why }: Answer & { readonly kind: 'failed' }): Error {
  if (why === 'missing package') return new MissingPackageError(message)
  return why === 'not finite' ? new NotFiniteError(message) : new EngineError(`jax engine: ${message}`)
}
