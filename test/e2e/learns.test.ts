// Forty steps of the real training: the policy's edits get better on companies it never saw a reward of. About 30 s of one core.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { mean } from '../../src/core/score.ts'
import { finchEngine, warmStartFile } from '../../src/recipes/finch-policy.ts'
import { trainFinch } from '../../src/recipes/train-finch.ts'

test('in forty steps the policy earns more with its edits, and they stay valid', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lamarck-learns-'))
  await using engine = await finchEngine({ folder })
  await engine.load(warmStartFile)
  const small = { steps: 40, states: 6, trees: 24, rounds: 4, dev: 2, every: 40 }
  const earned: number[] = []
  const invalid: number[] = []
  for await (const fact of trainFinch(engine, folder, small)) {
    if (fact.kind !== 'step') continue
    earned.push(fact.metrics.reward!)
    invalid.push(fact.metrics.invalid!)
  }
  rmSync(folder, { recursive: true })
  expect(earned).toHaveLength(40)
  // Measured: −0.009 → +0.024 a rollout. Another type of CPU may round otherwise, hence a third of that.
  expect(mean(earned.slice(-10)) - mean(earned.slice(0, 10))).toBeGreaterThan(0.011)
  expect(mean(invalid)).toBeLessThan(0.05)
})
