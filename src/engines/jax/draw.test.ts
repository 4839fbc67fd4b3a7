import { describe, expect, test } from 'vitest'
import { rng } from '../../core/rng.ts'
import { draw, type Sampling } from './draw.ts'

/** Probabilities ½, ¼, ⅛, ⅛. */
const logits = Float32Array.of(Math.log(8), Math.log(4), Math.log(2), Math.log(2))
const none = new Int32Array()

function shares(sampling: Sampling, sofar = none): readonly number[] {
  const chance = rng('draw test')
  const counts = [0, 0, 0, 0]
  for (let i = 0; i < 4000; i++) counts[draw(logits, sampling, { sofar, u: chance() }).token]!++
  return counts.map((count) => count / 4000)
}

describe('a draw', () => {
  test('has the probabilities of the logits', () => {
    const expected = [0.5, 0.25, 0.125, 0.125]
    for (const [token, share] of shares({}).entries()) expect(Math.abs(share - expected[token]!)).toBeLessThan(0.025)
  })

  test('at temperature 2 has their square roots', () => {
    const total = Math.SQRT1_2 + 0.5 + 2 * Math.sqrt(0.125)
    const expected = [Math.SQRT1_2, 0.5, Math.sqrt(0.125), Math.sqrt(0.125)].map((odds) => odds / total)
    for (const [token, share] of shares({ temperature: 2 }).entries())
      expect(Math.abs(share - expected[token]!)).toBeLessThan(0.025)
  })

  test('at temperature 0 is the likeliest, the first of equals', () => {
    expect(draw(logits, { temperature: 0 }, { sofar: none, u: 0.99 }).token).toBe(0)
    expect(draw(Float32Array.of(1, 2, 2), { temperature: 0 }, { sofar: none, u: 0.99 }).token).toBe(1)
  })

  test.each([
    [{ topK: 2 }, [true, true, false, false]],
    [{ topK: 3 }, [true, true, true, false]],
    [{ topP: 0.5 }, [true, false, false, false]],
    [{ topP: 0.51 }, [true, true, false, false]],
    [{ topP: 0.01 }, [true, false, false, false]],
    [{ topP: 0.99, topK: 1 }, [true, false, false, false]],
  ])('with %j leaves what it says', (sampling, isLeft) => {
    expect(shares(sampling).map((share) => share > 0)).toEqual(isLeft)
  })

  test('a penalty takes from the tokens that were there already', () => {
    expect(shares({ presencePenalty: 100 }, Int32Array.of(0, 0, 1)).map((share) => share > 0)).toEqual([false, false, true, true])
  })

  test('its log-probability is that of the logits, whatever was done to them', () => {
    for (const sampling of [{}, { temperature: 0.1 }, { topK: 1 }, { presencePenalty: 1 }]) {
      const { token, logprob } = draw(logits, sampling, { sofar: Int32Array.of(1), u: 0.4 })
      expect(token).toBe(0)
      expect(logprob).toBeCloseTo(Math.log(0.5), 6)
    }
  })

  test('is of what is allowed, with the log-probability of the whole', () => {
    const allowed = logits.map((logit, token) => (token === 0 || token === 3 ? Number.NEGATIVE_INFINITY : logit))
    for (const sampling of [{}, { temperature: 0 }, { topK: 1 }]) {
      const { token, logprob } = draw(logits, sampling, { sofar: none, u: 0, allowed })
      expect(token).toBe(1)
      expect(logprob).toBeCloseTo(Math.log(0.25), 6)
    }
  })

  test('takes the last token that is left when chance is as high as can be', () => {
    expect(draw(logits, { topK: 2 }, { sofar: none, u: 1 - 2 ** -32 }).token).toBe(1)
  })
})
