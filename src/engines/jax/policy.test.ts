import { expect, test } from 'vitest'
import type { Message, Model } from '../../core/model.ts'
import { bucket } from './bucket.ts'
import type { Crew } from './crew.ts'
import type { DrawnRollout } from './network.ts'
import { policyOf } from './policy.ts'
import { end, vocabularyTokenizer } from './tokenizer.ts'
import type { Answer, Job } from './worker.ts'

const tokenizer = vocabularyTokenizer(['late', 'order'])
const shape = { layers: 1, width: 8, heads: 1, context: 64, vocabulary: tokenizer.size, shifts: 1 }
const late: readonly Message[] = [{ role: 'user', content: 'late' }]

/** Threads that end a batch when they are told to; `batches` = how many prompts each one holds. */
function toyCrew(): Crew & { readonly batches: number[]; end(): Promise<void> } {
  const open: (() => void)[] = []
  const batches: number[] = []
  const drawn = (): DrawnRollout => ({ tokens: Int32Array.of(end), logprobs: Float32Array.of(0) })
  return {
    batches,
    run: <K extends Job['kind']>(job: Job & { readonly kind: K }) => {
      const asked: Job = job
      const slots = asked.kind === 'sample' ? asked.draws.slots : []
      batches.push(slots.length)
      const answer: Answer = { kind: 'sample', rollouts: slots.map(({ draws }) => draws.map(drawn)) }
      return new Promise<Answer & { readonly kind: K }>((settle) => open.push(() => settle(answer as Answer & { kind: K }))) // of its kind
    },
    async end() {
      open.shift()?.()
      await turn()
    },
    async [Symbol.asyncDispose]() {},
  }
}

function policy(crew: Crew, workers: number): Model {
  const weights = new Float32Array()
  return policyOf({ name: 'toy', shape, tokenizer, crew, weights, workers, lengths: [], isCurrent: () => true })
}

/** Until the calls of this turn were handed to threads. */
function turn(): Promise<void> {
  return new Promise((go) => setImmediate(() => setImmediate(go)))
}

const ask = (model: Model, times: number): Promise<unknown>[] =>
  Array.from({ length: times }, (_, seed) => model.sample(late, { maxTokens: 4, seed }))

test('calls that come while the thread draws wait, and are drawn together', async () => {
  const crew = toyCrew()
  const model = policy(crew, 1)
  const first = ask(model, 1)
  await turn()
  const others = ask(model, 2)
  await turn()
  others.push(...ask(model, 3))
  await turn()
  expect(crew.batches).toEqual([1])
  await crew.end()
  await Promise.all(first)
  expect(crew.batches).toEqual([1, 5])
  await crew.end()
  await Promise.all(others)
})

test('a full batch waits for no thread, so that one is ready when a thread is', async () => {
  const crew = toyCrew()
  const model = policy(crew, 1)
  ask(model, 1)
  await turn()
  ask(model, 63)
  await turn()
  expect(crew.batches).toEqual([1])
  ask(model, 1)
  await turn()
  expect(crew.batches).toEqual([1, 64])
})

test('draws are divided among the threads that are free', async () => {
  const crew = toyCrew()
  const model = policy(crew, 2)
  ask(model, 32)
  await turn()
  expect(crew.batches).toEqual([16, 16])
  await crew.end()
  ask(model, 24)
  await turn()
  expect(crew.batches).toEqual([16, 16, bucket(24)])
})
