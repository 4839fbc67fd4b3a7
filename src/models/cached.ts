// A cache across runs, opt-in, keyed by content and draw. The journal of a run is another thing: it resumes, this one saves.
import { hash } from 'node:crypto'
import { ModelError } from '../core/errors.ts'
import { type Completion, type Model, noUsage } from '../core/model.ts'
import { canonical } from './metered.ts'

/** Where completions are kept: texts by key. */
export interface Cache {
  get(key: string): Promise<string | undefined>
  put(key: string, value: string): Promise<void>
}

/**
 * A model that gives the completions it gave before to the same model, prompt, parameters and seed. A kept completion used no
 * tokens. Calls without a seed are never kept: nothing tells their draws apart.
 */
export function cached(model: Model, cache: Cache): Model {
  return {
    name: model.name,
    async sample(prompt, params, signal) {
      const { n = 1, seed, ...rest } = params
      if (seed === undefined) return model.sample(prompt, params, signal)
      const draw = async (i: number): Promise<Completion> => {
        const one = { ...rest, seed: seed + i }
        const key = hash('sha256', canonical([model.name, prompt, one]), 'base64url')
        const kept = await cache.get(key)
        if (kept !== undefined) return { ...(JSON.parse(kept) as Completion), usage: noUsage } // written below
        const [completion] = await model.sample(prompt, one, signal)
        if (!completion) throw new ModelError(`${model.name}: the reply held no completion`, { retryable: true })
        await cache.put(key, JSON.stringify(completion))
        return completion
      }
      return Promise.all(Array.from({ length: n }, (_, i) => draw(i)))
    },
  }
}
