import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { ConfigError } from '../core/errors.ts'
import { mean } from '../core/score.ts'
import type { JaxEngine } from '../engines/jax/jax-engine.ts'
import { createCompany } from '../tasks/finch/company.ts'
import { companiesIn } from '../tasks/finch/sets.ts'
import { finchEngine, warmStartFile } from './finch-policy.ts'
import { growAll, readFacts, type TrainFinchFact, type TrainFinchOptions, trainFinch } from './train-finch.ts'
import { warmStart } from './warm-start.ts'

const root = mkdtempSync(join(tmpdir(), 'lamarck-train-'))
afterAll(() => rmSync(root, { recursive: true }))

async function warm(folder: string): Promise<JaxEngine> {
  const engine = await finchEngine({ folder, workers: 1 })
  await engine.load(warmStartFile)
  return engine
}

const small = { steps: 4, states: 4, rollouts: 4, trees: 4, rounds: 4, dev: 2, every: 2 } satisfies TrainFinchOptions

async function trained(name: string, options: TrainFinchOptions, until = (_: TrainFinchFact): boolean => false): Promise<string> {
  const folder = join(root, name)
  await using engine = await warm(folder)
  for await (const fact of trainFinch(engine, folder, options)) if (until(fact)) break
  return folder
}

test('a training that is killed and started again ends bit by bit where one in one piece ends', async () => {
  const whole = await trained('whole', small)
  const killed = await trained('killed', small, (fact) => fact.kind === 'step' && fact.step === 3)
  appendFileSync(join(killed, 'facts.jsonl'), '{"kind":"st') // cut off while it was written
  await trained('killed', small)
  const facts = (folder: string): unknown =>
    JSON.parse(JSON.stringify(readFacts(join(folder, 'facts.jsonl'))).replaceAll(folder, ''))
  expect(facts(killed)).toEqual(facts(whole))
  for (const file of ['step-4.safetensors', 'policy.safetensors'])
    expect(readFileSync(join(killed, file)).equals(readFileSync(join(whole, file)))).toBe(true)
  await expect(trained('whole', { ...small, learningRate: 0.5 })).rejects.toThrow(ConfigError)
  await expect(trained('whole', { ...small, learningRate: 0.5 })).rejects.toThrow('began with learningRate 0.001')
}, 60_000)

test('the warm start is a policy that is valid, mediocre, and grows the same trees for a seed', async () => {
  await using engine = await warm(join(root, 'none'))
  const companies = companiesIn('dev', 16).map(createCompany)
  const grow = async (seed: number) => growAll(companies, await engine.policy(), { rounds: 3, seed })
  const trees = await grow(1)
  expect(await grow(1)).toEqual(trees)
  expect(await grow(2)).not.toEqual(trees)
  expect(mean(trees.map((t) => t.invalid / 3))).toBeLessThan(0.1)
  const gains = trees.map(({ nodes }) => Math.max(...nodes.map((n) => n.score.mean)) - nodes[0]!.score.mean)
  expect(mean(gains)).toBeGreaterThan(0.01)
  expect(mean(gains)).toBeLessThan(0.25) // half of the way to the perfect editor
  for (const company of companies) company[Symbol.dispose]()
}, 60_000)

test('imitation makes demonstrations likelier, the same way each time', async () => {
  const losses = async (): Promise<readonly number[]> => {
    await using engine = await finchEngine({ workers: 1, seed: 3 })
    const found: number[] = []
    for await (const { loss } of warmStart(engine, { steps: 12, prompts: 4, each: 2, seed: 3 })) found.push(loss)
    return found
  }
  const first = await losses()
  expect(first.at(-1)).toBeLessThan(first[0]! - 0.5)
  expect(await losses()).toEqual(first)
}, 60_000)
