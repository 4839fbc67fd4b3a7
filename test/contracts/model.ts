// What every Model must do; run on each implementation.
import { describe, expect, test } from 'vitest'
import { ModelError } from '../../src/core/errors.ts'
import { inputBound, type Message, type Model, noUsage } from '../../src/core/model.ts'

/** What an echoing model says, as JSON. */
export interface Echo {
  readonly messages: readonly Message[]
  readonly maxTokens: number
  readonly seed?: number
}

export interface ModelUnderTest {
  readonly model: Model
  /** Whether each answer is JSON of an `Echo`. */
  readonly echoes: boolean
  /** The same model while its provider refuses it with status 401. */
  readonly refused?: Model
  /** The same model while its provider never answers. */
  readonly silent?: Model
}

/** A toy that says what it was given. */
export function echoModel(name = 'toy:echo'): Model {
  return {
    name,
    async sample(prompt, { n = 1, maxTokens, seed }, signal) {
      signal?.throwIfAborted()
      return Array.from({ length: n }, (_, i) => {
        const echo: Echo = { messages: prompt, maxTokens, ...(seed === undefined ? {} : { seed: seed + i }) }
        const text = JSON.stringify(echo)
        return {
          text,
          finish: 'stop',
          usage: { ...noUsage, input: inputBound(prompt) / 2, output: Math.min(maxTokens, text.length / 4) },
        }
      })
    },
  }
}

const prompt: readonly Message[] = [
  { role: 'system', content: 'Sort the ticket.' },
  { role: 'user', content: 'the page is white' },
  { role: 'assistant', content: 'bug' },
  { role: 'user', content: 'Q1: I paid twice — 二回' },
]

export function modelContract(name: string, under: () => Promise<ModelUnderTest>): void {
  describe(`${name} is a Model`, () => {
    test('it gives one completion with text, finish and usage', async () => {
      const { model } = await under()
      const completions = await model.sample(prompt, { maxTokens: 64, temperature: 0, seed: 1 })
      expect(completions).toHaveLength(1)
      expect(typeof completions[0]?.text).toBe('string')
      expect(['stop', 'length', 'filter', 'other']).toContain(completions[0]?.finish)
    })

    test('its usage lies within the bounds of the call', async () => {
      const { model } = await under()
      const [completion] = await model.sample(prompt, { maxTokens: 16, temperature: 0, seed: 1 })
      const usage = completion?.usage ?? noUsage
      expect(usage.input).toBeGreaterThan(0)
      expect(usage.input).toBeLessThanOrEqual(inputBound(prompt))
      expect(usage.output).toBeGreaterThan(0)
      expect(usage.output).toBeLessThanOrEqual(16)
      expect(usage.cached).toBeLessThanOrEqual(usage.input)
      expect(usage.reasoning).toBeLessThanOrEqual(usage.output)
    })

    test('n completions come for n, the i-th as drawn with seed + i', async () => {
      const { model } = await under()
      const three = await model.sample(prompt, { maxTokens: 512, temperature: 0, seed: 5, n: 3 })
      expect(three).toHaveLength(3)
      const [last] = await model.sample(prompt, { maxTokens: 512, temperature: 0, seed: 7 })
      expect(three[2]?.text).toBe(last?.text)
    })

    test('messages and the limit arrive as given, in order', async ({ skip }) => {
      const { model, echoes } = await under()
      if (!echoes) skip('its answers do not repeat what it was given')
      const [completion] = await model.sample(prompt, { maxTokens: 321, seed: 9 })
      expect(JSON.parse(completion?.text ?? '')).toEqual({ messages: prompt, maxTokens: 321, seed: 9 })
    })

    test('an aborted signal rejects with its reason', async () => {
      const { model } = await under()
      const reason = new Error('stop')
      await expect(model.sample(prompt, { maxTokens: 8 }, AbortSignal.abort(reason))).rejects.toBe(reason)
    })

    test('an abort ends a call that is never answered', async ({ skip }) => {
      const { silent } = await under()
      if (!silent) return skip('it has no provider to fall silent')
      const stop = new AbortController()
      const call = silent.sample(prompt, { maxTokens: 8 }, stop.signal)
      const reason = new Error('stop')
      setImmediate(() => stop.abort(reason))
      await expect(call).rejects.toBe(reason)
    })

    test('a refusal by the provider is a ModelError with its status, and no key in it', async ({ skip }) => {
      const { refused } = await under()
      if (!refused) return skip('it has no provider to be refused by')
      const error = await refused.sample(prompt, { maxTokens: 8 }).catch((e: unknown) => e)
      expect(error).toBeInstanceOf(ModelError)
      expect(error).toMatchObject({ status: 401, retryable: false })
      expect(String(error)).not.toMatch(/sk-toy/)
    })
  })
}
