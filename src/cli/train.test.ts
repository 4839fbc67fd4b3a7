import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ConfigError } from '../core/errors.ts'
import { warmStartFile } from '../recipes/finch-policy.ts'
import { type TrainFinchFact, trainFinchDefaults } from '../recipes/train-finch.ts'
import { progress, rewardCurve, trainCommand } from './train.ts'

test('a training is told in lines: settings, every tenth step with the time left, each look at dev, the end', () => {
  const settings = { ...trainFinchDefaults, steps: 20, states: 4, rollouts: 2, finch: 'abc', from: 'jax:1' }
  const step = (step: number): TrainFinchFact => ({
    kind: 'step',
    step,
    metrics: { reward: step > 10 ? 0.1 : -0.1, invalid: 0.25, copies: 0, ...(step > 10 && { kept: 0.875 }), tokensPerEdit: 20 },
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
    'training in Finch (simulated): grpo of expected rewards, learning rate 0.001, seed 1, beginning with jax:1',
    '64 states to learn from, mean score 0.321; invalid edits 3.0 %',
    'step 10/20  reward −0.100  invalid 25.0 %  copies 0.0 %  kept –  20 tokens an edit  0:54 left',
    'step 20/20  reward +0.100  invalid 25.0 %  copies 0.0 %  kept 87.5 %  20 tokens an edit  0:00 left',
    '  dev 50.0 % of the way in five rounds, after step 20 (best)',
    'the best checkpoint is of step 20',
  ])
  const [title, top = '', ...rest] = rewardCurve(facts)
  expect(title).toBe('reward of an edit over 20 steps, in Finch (simulated)')
  expect(top).toMatch(/^\+0\.100 ┤/)
  expect(rest.at(-1)).toMatch(/^−0\.100 │/)
  expect(rewardCurve(facts.slice(0, 4))).toEqual([])
})

test.each([
  ['hopeless', 'every edit of 10 steps was invalid'],
  ['not finite', 'the ppo loss is NaN: nothing was gathered'],
] as const)('a training that ended early (%s) says why, what to do and what is left', (why, detail) => {
  expect(progress()({ kind: 'ended', why, detail, best: { step: 25, checkpoint: 'x' } })).toEqual([
    `ended early: ${detail}; train into another folder with a lower --learning-rate; the best checkpoint is of step 25`,
  ])
})

test.each([
  [{ advantage: 'best' }, 'unknown advantage "best" (have: leave-one-out, delta, batch, whiten, logit-delta, gain, grpo)'],
  [{ reward: 'hoped' }, 'unknown reward "hoped" (have: expected, sampled)'],
  [{ steps: 0 }, 'steps is 0: give a whole number from 1'],
  [{ seed: 1.5 }, 'seed is 1.5: give a whole number'],
  [{ workers: 1_000_000 }, 'workers is 1000000: give 256 at most'],
  [{ states: 0 }, 'states is 0: give a whole number from 1'],
  [{ rollouts: 0.5 }, 'rollouts is 0.5: give a whole number from 1'],
  [{ rollouts: 1e9 }, 'rollouts is 1000000000: give 1000 at most'],
  [{ refresh: -1 }, 'refresh is -1: give a whole number from 1'],
  [{ entropy: -0.1 }, 'entropy is -0.1: give a number from 0'],
  [{ order: 'best' }, 'unknown order "best" (have: potential, random, reversed)'],
  [{ writer: 'poems' }, 'unknown writer "poems" (have: lines, rewrite)'],
  [{ writer: 'rewrite' }, 'the shipped warm start writes changes of lines, no whole notes'],
  [{ engine: 'xyz' }, 'unknown engine "xyz" (have: jax)'],
  [{ workers: 1.5 }, 'workers is 1.5: give a whole number from 1'],
  [{ learningRate: 0 }, 'the learning rate is 0: give a number above 0'],
])('%o is refused before anything is made', async (flags, message) => {
  const refused = trainCommand(flags)
  await expect(refused).rejects.toThrow(ConfigError)
  await expect(refused).rejects.toThrow(message)
})

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'lamarck-train-cli-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

test.each([
  ['that is cut off', (good: Buffer) => good.subarray(0, 5000), /^cannot load the checkpoint ".*": .*cut off/],
  [
    'of another version',
    edited('"version":"1"', '"version":"9"'),
    /its version is 9, readable is 1; give another file \(--from\)$/,
  ],
  ['of another shape', edited('\\"width\\":96', '\\"width\\":95'), /its width is 95, this engine's is 96/],
  ['that is none', () => Buffer.from('hello'), /no safetensors file/],
])('a checkpoint %s is refused in one line', async (_, spoil, line) => {
  const out = folder()
  const from = join(out, 'from.safetensors')
  writeFileSync(from, spoil(readFileSync(warmStartFile)))
  const refused = trainCommand({ from, out, workers: 1 })
  await expect(refused).rejects.toThrow(ConfigError)
  await expect(refused).rejects.toThrow(line)
})

function edited(from: string, to: string): (good: Buffer) => Buffer {
  return (good) =>
    Buffer.from(
      good.toString('latin1').replace(from, () => to),
      'latin1',
    )
}

test.each(['{"kind":"step"}\n', 'words\n'])('a folder with a record of something else is left as it is: %j', async (text) => {
  const out = folder()
  writeFileSync(join(out, 'facts.jsonl'), text)
  await expect(trainCommand({ out })).rejects.toThrow('is not the record of a training: give another folder')
  expect(readFileSync(join(out, 'facts.jsonl'), 'utf8')).toBe(text)
})

test('grpo with nothing to compare is refused before the trees are grown', async () => {
  const said = 'grpo compares the rollouts of a state: with 1 nothing is learned; give 2 or more, or another advantage'
  await expect(trainCommand({ out: folder(), advantage: 'grpo', rollouts: 1, workers: 1 })).rejects.toThrow(said)
})

test('more states a step than the trees can leave are refused before they are grown', async () => {
  const out = folder()
  const said = '64 trees of 12 edits leave 768 states at most, and a step takes 769'
  await expect(trainCommand({ out, states: 769, workers: 1 })).rejects.toThrow(said)
})
