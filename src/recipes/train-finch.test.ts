import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { ConfigError } from '../core/errors.ts'
import { mean } from '../core/score.ts'
import { type JaxEngine, jaxEngine } from '../engines/jax/jax-engine.ts'
import { createCompany } from '../tasks/finch/company.ts'
import type { Format } from '../tasks/finch/editors.ts'
import { vocabulary } from '../tasks/finch/policy-prompt.ts'
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
  const o = { ...small, refresh: 2, entropy: 0.01 }
  await using engine = await warm(folder)
  await facts(engine, folder, o)
  const whole = files.map((file) => readFileSync(at(file)))
  rmSync(folder, { recursive: true })
  await engine.load(warmStartFile)
  for await (const fact of trainFinch(engine, folder, o)) if (fact.kind === 'step' && fact.step === 3) break
  appendFileSync(at('facts.jsonl'), '{"kind":"st') // cut off while it was written
  expect((await facts(engine, folder, o)).map((fact) => fact.kind)).toEqual(['grown', 'step', 'looked', 'ended'])
  for (const [i, file] of files.entries()) expect(readFileSync(at(file)).equals(whole[i]!), file).toBe(true)
  expect((await facts(engine, folder, o)).map((fact) => fact.kind)).toEqual(['ended'])
  await expect(facts(engine, folder, { ...o, learningRate: 0.5 })).rejects.toThrow('began with learningRate 0.001')
  truncateSync(at('step-3.safetensors'), 1000)
  await expect(facts(engine, folder, o)).rejects.toThrow(/step-3\.safetensors": .*; put it back, or give another folder$/)
  await expect(facts(engine, folder, o)).rejects.toBeInstanceOf(ConfigError)
  rmSync(at('step-2.safetensors'))
  await expect(facts(engine, folder, o)).rejects.toThrow('step-2.safetensors is gone: put it back, or give another folder')
}, 120_000)

test('weights that go to infinity end the training, with the checkpoint before as the policy', async () => {
  const folder = join(root, 'infinite')
  await using engine = await warm(folder)
  const ended = (await facts(engine, folder, { ...small, every: 1, learningRate: 1e40 })).at(-1)
  const detail = 'the weights give log-probabilities that are not finite'
  expect(ended).toMatchObject({ kind: 'ended', why: 'not finite', detail, best: { step: 0 } })
  const policy = readFileSync(join(folder, 'policy.safetensors'))
  await engine.load(warmStartFile)
  expect(policy.equals(readFileSync(await engine.save('again', { optimizer: false })))).toBe(true)
  expect(existsSync(join(folder, 'step-1.safetensors'))).toBe(false)
}, 60_000)

test('a policy that cannot spell Finch, or has no room for it, is refused with the reason', async () => {
  const tiny = { layers: 1, width: 16, heads: 2, workers: 1 }
  await using strange = await jaxEngine({ ...tiny, pieces: ['late', 'order'] })
  const said = /^this policy's vocabulary can't spell Finch: "notes\\n" is no token of it, 100 % would be single bytes; take/
  await expect(all(trainFinch(strange, join(root, 'strange')))).rejects.toThrow(said)
  await using short = await jaxEngine({ ...tiny, pieces: vocabulary, context: 64 })
  const long = "this policy's context of 64 tokens is too short for Finch, which needs 137"
  await expect(all(trainFinch(short, join(root, 'short')))).rejects.toThrow(long)
})

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

test('imitation makes demonstrations of either kind likelier, the same way each time', async () => {
  const folder = join(root, 'imitation')
  await using engine = await finchEngine({ folder, workers: 1, seed: 3 })
  const fresh = await engine.save('fresh')
  const losses = async (writer: Format): Promise<readonly number[]> => {
    await engine.load(fresh)
    return (await all(warmStart(engine, { writer, steps: 8, prompts: 4, each: 2, seed: 3 }))).map(({ loss }) => loss)
  }
  const [lines, rewrites] = [await losses('lines'), await losses('rewrite')]
  for (const of of [lines, rewrites]) expect(of.at(-1)).toBeLessThan(of[0]! - 0.3)
  expect(rewrites).not.toEqual(lines)
  expect(await losses('lines')).toEqual(lines)
}, 60_000)
