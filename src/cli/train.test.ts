import { expect, test } from 'vitest'
import { type TrainFinchFact, trainFinchDefaults } from '../recipes/train-finch.ts'
import { progress, trainCommand } from './train.ts'

test('a training is told in lines: settings, every tenth step with the time left, each look at dev, the end', () => {
  const settings = { ...trainFinchDefaults, steps: 20, states: 4, rollouts: 2, finch: 'abc', from: 'jax:1' }
  const step = (step: number): TrainFinchFact => ({
    kind: 'step',
    step,
    metrics: { reward: step > 10 ? 0.1 : -0.1, invalid: 0.25, copies: 0, tokensPerEdit: 20 },
    engine: { step, tokens: 160 },
  })
  const options = { ...settings, maxTokens: 48, passes: 1, adam: { learningRate: 1e-3 }, advantage: {}, curriculum: {} }
  const facts: TrainFinchFact[] = [
    { kind: 'set', settings },
    { kind: 'grown', step: 0, states: 64, before: 0.3214, invalid: 0.03 },
    { kind: 'began', options, steps: 20 },
    ...Array.from({ length: 20 }, (_, i) => step(i + 1)),
    { kind: 'looked', step: 20, dev: 0.5, checkpoint: 'x', isBest: true },
    { kind: 'ended', why: 'done', best: { step: 20, checkpoint: 'x' } },
  ]
  const lines = progress()
  expect(facts.flatMap((fact, i) => lines(fact, 6 * i))).toEqual([
    'training in Finch (simulated): leave-one-out of expected rewards, learning rate 0.001, seed 1, beginning with jax:1',
    '64 states to learn from, mean score 0.321; invalid edits 3.0 %',
    'step 10/20  reward −0.100  invalid 25.0 %  copies 0.0 %  20 tokens an edit  0:54 left',
    'step 20/20  reward +0.100  invalid 25.0 %  copies 0.0 %  20 tokens an edit  0:00 left',
    '  dev 50.0 % of the way in five rounds, after step 20 (best)',
    'the best checkpoint is of step 20',
  ])
})

test.each([
  [{ advantage: 'best' }, 'unknown advantage "best" (have: leave-one-out, delta, batch, whiten, logit-delta, grpo)'],
  [{ reward: 'hoped' }, 'unknown reward "hoped" (have: expected, sampled)'],
  [{ steps: 0 }, 'steps is 0: give a whole number from 1'],
  [{ workers: 1.5 }, 'workers is 1.5: give a whole number from 1'],
  [{ learningRate: 0 }, 'the learning rate is 0: give a number above 0'],
])('%o is refused before anything is made', async (flags, message) => {
  await expect(trainCommand(flags)).rejects.toThrow(message)
})
