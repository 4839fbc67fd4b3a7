import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { mean } from '../core/score.ts'
import type { JaxEngine } from '../engines/jax/jax-engine.ts'
import { createCompany } from '../tasks/finch/company.ts'
import { companiesIn } from '../tasks/finch/sets.ts'
import { finchEngine, warmStartFile } from './finch-policy.ts'
import { growAll, type TrainFinchFact, type TrainFinchOptions, trainFinch } from './train-finch.ts'
import { warmStart } from './warm-start.ts'

const root = mkdtempSync(join(tmpdir(), 'lamarck-train-'))
afterAll(() => rmSync(root, { recursive: true }))

async function warm(folder: string): Promise<JaxEngine> {
  const engine = await finchEngine({ folder, workers: 1 })
  await engine.load(warmStartFile)
  return engine
}

const small = { steps: 3, states: 4, rollouts: 4, trees: 4, rounds: 4, dev: 2, every: 2 } satisfies TrainFinchOptions

async function all<T>(of: AsyncIterable<T>): Promise<readonly T[]> {
  const found: T[] = []
  for await (const one of of) found.push(one)
  return found
}

async function facts(engine: JaxEngine, folder: string, options: TrainFinchOptions = small): Promise<readonly TrainFinchFact[]> {
  await engine.load(warmStartFile)
  return all(trainFinch(engine, folder, options))
}

test('a training that is killed and started again ends bit by bit where one in one piece ends', async () => {
  const folder = join(root, 'run')
  const at = (file: string): string => join(folder, file)
  const files = ['facts.jsonl', 'step-3.safetensors', 'policy.safetensors']
  await using engine = await warm(folder)
  await facts(engine, folder)
  const whole = files.map((file) => readFileSync(at(file)))
  rmSync(folder, { recursive: true })
  await engine.load(warmStartFile)
  for await (const fact of trainFinch(engine, folder, small)) if (fact.kind === 'step' && fact.step === 3) break
  appendFileSync(at('facts.jsonl'), '{"kind":"st') // cut off while it was written
  expect((await facts(engine, folder)).map((fact) => fact.kind)).toEqual(['step', 'looked', 'ended'])
  for (const [i, file] of files.entries()) expect(readFileSync(at(file)).equals(whole[i]!), file).toBe(true)
  expect((await facts(engine, folder)).map((fact) => fact.kind)).toEqual(['ended'])
  await expect(facts(engine, folder, { ...small, learningRate: 0.5 })).rejects.toThrow('began with learningRate 0.001')
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
  const folder = join(root, 'imitation')
  await using engine = await finchEngine({ folder, workers: 1, seed: 3 })
  const fresh = await engine.save('fresh')
  const losses = async (): Promise<readonly number[]> =>
    (await all(warmStart(engine, { steps: 10, prompts: 4, each: 2, seed: 3 }))).map(({ loss }) => loss)
  const first = await losses()
  expect(first.at(-1)).toBeLessThan(first[0]! - 0.5)
  await engine.load(fresh)
  expect(await losses()).toEqual(first)
}, 60_000)
