// What every Engine must do; run on each implementation. What changed is read from the loss of importance sampling: with advantage 1 it is
// minus the sum of the ratios of probabilities now and then.
import { describe, expect, test } from 'vitest'
import type { Engine, Group, Loss, Sampled } from '../../src/core/engine.ts'
import { EngineError } from '../../src/core/errors.ts'
import type { Message, TokenCompletion } from '../../src/core/model.ts'

export interface EngineUnderTest {
  /** A fresh engine that can write checkpoints; the suite disposes of it. */
  readonly engine: Engine
  /** Tokens of an answer, its end included. */
  answer(text: string): Int32Array
  /** A learning rate at which a few steps show. */
  readonly learningRate: number
}

const messages: readonly Message[] = [
  { role: 'system', content: 'You improve a context.' },
  { role: 'user', content: 'late order means ?' },
]
const importance: Loss = { kind: 'importance_sampling' }
const ppo = { kind: 'ppo', low: 0.1, high: 0.3 } as const satisfies Loss

export function engineContract(name: string, under: () => Promise<EngineUnderTest>): void {
  describe(`${name} is an Engine`, () => {
    test('its policy gives each token its log-probability, and the same draw for the same seed', async () => {
      const { engine } = await under()
      await using _ = engine
      const [a, b, c] = await drawn(engine, 3)
      for (const { tokens, logprobs, text, usage } of [a!, b!, c!]) {
        expect(tokens.length).toBeGreaterThan(0)
        expect(logprobs).toHaveLength(tokens.length)
        expect(usage.output).toBe(tokens.length)
        expect(logprobs.every((logprob) => logprob <= 0 && Number.isFinite(logprob))).toBe(true)
        expect(typeof text).toBe('string')
      }
      expect(a!.tokens).not.toEqual(b!.tokens)
      expect((await drawn(engine, 3))[2]?.tokens).toEqual(c!.tokens)
    })

    test.each([importance, ppo])('$kind: ratios are 1 before the first step', async (loss) => {
      const { engine } = await under()
      await using _ = engine
      const [it] = await drawn(engine, 1)
      const { loss: value, ratio, clipped } = await engine.forwardBackward([group(engine, rollout(it!, 1))], loss)
      expect(value).toBeCloseTo(-it!.tokens.length, 2)
      expect(ratio).toBeCloseTo(1, 2)
      expect(clipped).toBe(0)
    })

    test('what is drawn beside a pass is what is drawn alone, and the pass counts as it does alone', async () => {
      const { engine, learningRate } = await under()
      await using _ = engine
      const policy = await engine.policy()
      const draw = (): Promise<readonly TokenCompletion[]> => policy.sample(messages, { maxTokens: 8, n: 2, seed: 5 })
      const [it] = await draw()
      const learning = engine.forwardBackward([group(engine, rollout(it!, 1))], importance)
      const [beside] = await draw()
      await learning
      expect(beside!.tokens).toEqual(it!.tokens)
      await engine.optimStep({ learningRate })
      expect((await ratios(engine, it!)) - it!.tokens.length).toBeGreaterThan(1e-3)
    })

    test.each([
      [importance, 1],
      [importance, -1],
      [ppo, 1],
      [ppo, -1],
    ])('%j with advantage %d moves the probability of the rollout that way', async (loss, advantage) => {
      const { engine, learningRate } = await under()
      await using _ = engine
      const [it] = await drawn(engine, 1)
      const groups = [group(engine, rollout(it!, advantage))]
      await engine.forwardBackward(groups, loss)
      await engine.optimStep({ learningRate })
      const moved = (await ratios(engine, it!)) - it!.tokens.length
      expect(moved * advantage).toBeGreaterThan(1e-3)
    })

    test.each([
      [1, 1],
      [-1, -1],
    ])('ppo: a token that moved %d clip widths with advantage %d is trained no further', async (direction, advantage) => {
      const { engine, learningRate } = await under()
      await using _ = engine
      const [it] = await drawn(engine, 1)
      const before = it!.logprobs.map((logprob) => logprob - 0.5 * direction)
      const bound = direction > 0 ? 1.3 : 0.9
      const { loss } = await engine.forwardBackward([group(engine, { ...rollout(it!, advantage), logprobs: before })], ppo)
      expect(loss).toBeCloseTo(-advantage * bound * it!.tokens.length, 2)
      await engine.optimStep({ learningRate })
      expect(await ratios(engine, it!)).toBeCloseTo(it!.tokens.length, 2)
    })

    test('ppo: a token that moved the wrong way is trained, however far it went', async () => {
      const { engine, learningRate } = await under()
      await using _ = engine
      const [it] = await drawn(engine, 1)
      const before = it!.logprobs.map((logprob) => logprob + 0.5)
      await engine.forwardBackward([group(engine, { ...rollout(it!, 1), logprobs: before })], ppo)
      await engine.optimStep({ learningRate })
      expect(await ratios(engine, it!)).toBeGreaterThan(it!.tokens.length + 1e-3)
    })

    test('ppo: an entropy bonus makes the likeliest answer less likely, or is refused', async () => {
      const { engine, learningRate } = await under()
      await using _ = engine
      const [it] = await (await engine.policy()).sample(messages, { maxTokens: 8, temperature: 0 })
      const learning = engine.forwardBackward([group(engine, rollout(it!, 0))], { ...ppo, entropy: 1 })
      const refused = await learning.then(
        () => undefined,
        (error: unknown) => error,
      )
      if (refused) return expect(refused).toBeInstanceOf(EngineError)
      await engine.optimStep({ learningRate })
      expect(await ratios(engine, it!)).toBeLessThan(it!.tokens.length - 1e-3)
    })

    test('a token of weight 0 is not trained', async () => {
      const { engine } = await under()
      await using _ = engine
      const [it] = await drawn(engine, 1)
      const { loss } = await engine.forwardBackward(
        [group(engine, { ...rollout(it!, 1), weights: it!.logprobs.map(() => 0) })],
        importance,
      )
      expect(Math.abs(loss!)).toBe(0)
    })

    test('the loss is divided by the number of rollouts of the call, whatever group they are in', async () => {
      const { engine } = await under()
      await using _ = engine
      const [a, b, c] = (await drawn(engine, 3)).map((it) => rollout(it, 1))
      const { loss } = await engine.forwardBackward([group(engine, a!, b!), group(engine, c!)], importance)
      const tokens = [a!, b!, c!].reduce((sum, it) => sum + it.tokens.length, 0)
      expect(loss).toBeCloseTo(-tokens / 3, 2)
    })

    test('cross entropy learns a constant answer', async () => {
      const { engine, answer, learningRate } = await under()
      await using _ = engine
      const tokens = answer('status = late')
      const zeros = new Float32Array(tokens.length)
      const groups = [group(engine, { tokens, logprobs: zeros, advantages: zeros, weights: zeros.map(() => 1) })]
      for (let step = 0; step < 30; step++) {
        await engine.forwardBackward(groups, { kind: 'cross_entropy' })
        await engine.optimStep({ learningRate })
      }
      const policy = await engine.policy()
      const [said] = await policy.sample(messages, { maxTokens: tokens.length + 2, temperature: 0 })
      expect(said).toMatchObject({ text: 'status = late', finish: 'stop' })
    })

    test('a policy is refused after the step that changed it, and a new one is not', async () => {
      const { engine, learningRate } = await under()
      await using _ = engine
      const policy = await engine.policy()
      const [it] = await policy.sample(messages, { maxTokens: 8, seed: 1 })
      await engine.forwardBackward([group(engine, rollout(it!, 1))], importance)
      await policy.sample(messages, { maxTokens: 8, seed: 1 })
      await engine.optimStep({ learningRate })
      await expect(policy.sample(messages, { maxTokens: 8 })).rejects.toThrow(EngineError)
      await expect((await engine.policy()).sample(messages, { maxTokens: 8 })).resolves.toHaveLength(1)
    })

    test('a checkpoint brings back policy and optimizer', async () => {
      const { engine, learningRate } = await under()
      await using _ = engine
      const [it] = await drawn(engine, 1)
      const step = async (): Promise<void> => {
        await engine.forwardBackward([group(engine, rollout(it!, 1))], importance)
        await engine.optimStep({ learningRate })
      }
      await step()
      const saved = await engine.save('contract')
      await step()
      const [expected] = await drawn(engine, 1)
      await step()
      await engine.load(saved)
      await step()
      const [again] = await drawn(engine, 1)
      expect(again?.tokens).toEqual(expected?.tokens)
      expect(again?.logprobs).toEqual(expected?.logprobs)
    })

    test('a checkpoint that is not there is refused', async () => {
      const { engine } = await under()
      await using _ = engine
      await expect(engine.load('no such checkpoint')).rejects.toThrow(EngineError)
    })

    test.each(['logprobs', 'advantages', 'weights'] as const)(
      '%s of another length than the tokens are refused',
      async (field) => {
        const { engine } = await under()
        await using _ = engine
        const [it] = await drawn(engine, 1)
        const wrong = group(engine, { ...rollout(it!, 1), [field]: new Float32Array(it!.tokens.length + 1) })
        await expect(engine.forwardBackward([wrong], importance)).rejects.toThrow(EngineError)
      },
    )

    test('a loss that is not finite is an EngineError, and leaves no trace', async () => {
      const { engine, learningRate } = await under()
      await using _ = engine
      const [it] = await drawn(engine, 1)
      const broken = group(engine, { ...rollout(it!, 1), logprobs: it!.logprobs.map(() => Number.NaN) })
      await expect(engine.forwardBackward([broken], importance)).rejects.toThrow(EngineError)
      await engine.forwardBackward([group(engine, rollout(it!, 1))], importance)
      await engine.optimStep({ learningRate })
      expect(await ratios(engine, it!)).toBeGreaterThan(it!.tokens.length)
    })
  })
}

async function drawn(engine: Engine, n: number): Promise<readonly TokenCompletion[]> {
  return (await engine.policy()).sample(messages, { maxTokens: 8, temperature: 1, seed: 3, n })
}

function rollout({ tokens, logprobs }: TokenCompletion, advantage: number): Sampled {
  return { tokens, logprobs, advantages: logprobs.map(() => advantage), weights: logprobs.map(() => 1) }
}

function group(engine: Engine, ...rollouts: readonly Sampled[]): Group {
  return { prompt: engine.encode(messages), rollouts }
}

/** Sum over the rollout's tokens of their probability now through then. */
async function ratios(engine: Engine, it: TokenCompletion): Promise<number> {
  const { loss = Number.NaN } = await engine.forwardBackward([group(engine, rollout(it, 1))], importance)
  return -loss
}
