// A thread with a network of its own: loads the library, then answers jobs in their order.
import { parentPort, workerData } from 'node:worker_threads'
import type { Loss } from '../../core/engine.ts'
import { MissingPackageError, NotFiniteError } from '../../core/errors.ts'
import type { Batch } from './batch.ts'
import { loadJax } from './load-jax.ts'
import { type DrawnRollout, type Draws, type Gradient, network } from './network.ts'
import type { Shape } from './shape.ts'

export interface Setup {
  readonly shape: Shape
  readonly packages: string | undefined
}

export type Job =
  | { readonly kind: 'gradient'; readonly batch: Batch; readonly loss: Loss }
  | { readonly kind: 'sample'; readonly draws: Draws }

export interface Question {
  readonly job: Job
  /** Sent when they are others than at the job before. */
  readonly weights?: Float32Array
}

export type Answer =
  | { readonly kind: 'ready' }
  | { readonly kind: 'gradient'; readonly gradient: Gradient }
  | { readonly kind: 'sample'; readonly rollouts: readonly (readonly DrawnRollout[])[] }
  | { readonly kind: 'failed'; readonly message: string; readonly why: 'missing package' | 'not finite' | 'broken' }

if (parentPort) await serve(parentPort, workerData as Setup) // set by crew.ts

async function serve(port: NonNullable<typeof parentPort>, { shape, packages }: Setup): Promise<void> {
  const say = (answer: Answer, transfer: readonly ArrayBuffer[] = []): void => port.postMessage(answer, transfer)
  const fail = (error: unknown): void => {
    const message = error instanceof Error ? error.message : String(error)
    const isMissing = error instanceof MissingPackageError
    say({
      kind: 'failed',
      message,
      why: isMissing ? 'missing package' : error instanceof NotFiniteError ? 'not finite' : 'broken',
    })
  }
  try {
    const net = await network(await loadJax(packages), shape)
    port.on('message', ({ job, weights }: Question) => {
      try {
        if (weights) net.use(weights)
        if (job.kind === 'sample') return say({ kind: 'sample', rollouts: net.sample(job.draws) })
        const gradient = net.gradient(job.batch, job.loss)
        say({ kind: 'gradient', gradient }, [gradient.gradient.buffer])
      } catch (error) {
        fail(error)
      }
    })
    say({ kind: 'ready' })
  } catch (error) {
    fail(error)
  }
}
