import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { expect, onTestFinished, test } from 'vitest'
import type { TrainLlmFact } from '../recipes/train-llm.ts'
import { policyCommand } from './policy.ts'
import { adapterIn, finchCard } from './policy-card.ts'
import { adapterFile } from './train-llm.ts'

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'lamarck-card-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

/** An archive as the program tar writes it. */
function packed(files: Readonly<Record<string, string>>): Buffer {
  const at = folder()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(at, name, '..'), { recursive: true })
    writeFileSync(join(at, name), text)
  }
  return execFileSync('tar', ['-czf', '-', '-C', at, '.'])
}

const config = '{"peft_type":"LORA","base_model_name_or_path":"Qwen/Qwen3-4B-Instruct-2507","r":32}'
const header = JSON.stringify({
  'model.layers.0.q_proj.lora_A.weight': {},
  'model.layers.1.q_proj.lora_A.weight': {},
  'x.o_proj.lora_A.weight': {},
})
const weights = `${String.fromCharCode(header.length)}${'\0'.repeat(7)}${header}${'w'.repeat(700)}`
const train = { states: 32, rollouts: 4, passes: 4, maxTokens: 4096, learningRate: 4e-5, every: 20, devRounds: 5 }
const facts: readonly TrainLlmFact[] = [
  { kind: 'set', settings: { recipe: 'bird-qwen3-4b', seed: 1, train, action: 'vllm:qwen', engine: 'tinker' } },
  { kind: 'looked', step: 0, dev: 0.6, checkpoint: 'tinker://m/weights/step-0', isBest: true },
  { kind: 'step', step: 20, metrics: {}, engine: {} },
  { kind: 'looked', step: 20, dev: 0.625, checkpoint: 'tinker://m/weights/step-20', isBest: true },
]

function trained(archive: Uint8Array | undefined): string {
  const at = folder()
  writeFileSync(join(at, 'facts.jsonl'), facts.map((fact) => `${JSON.stringify(fact)}\n`).join(''))
  if (archive) writeFileSync(join(at, adapterFile), archive)
  return at
}

test('a trained LoRA is exported as the folder that servers read, with a card of base, data, reward and dev', async () => {
  const at = trained(packed({ 'x/adapter_config.json': config, 'x/adapter_model.safetensors': weights, 'x/../evil': '!' }))
  const out = join(at, 'policy')
  expect(await policyCommand('export', at, { out, quiet: true })).toBe(0)
  expect(readdirSync(out).sort()).toEqual(['README.md', 'adapter_config.json', 'adapter_model.safetensors'])
  expect(readFileSync(join(out, 'adapter_model.safetensors'), 'utf8')).toBe(weights)
  const written: unknown = JSON.parse(readFileSync(join(out, 'adapter_config.json'), 'utf8'))
  expect(written).toEqual({ ...JSON.parse(config), target_modules: ['o_proj', 'q_proj'] })
  const card = readFileSync(join(out, 'README.md'), 'utf8')
  for (const line of [
    '- base: Qwen/Qwen3-4B-Instruct-2507',
    '- data: trees of bird-qwen3-4b, seed 1',
    '- reward: holdout score after an edit minus that before it, −1 for an invalid one, by vllm:qwen',
    'for 20 steps; * is this policy.',
    '| 0 | 60.0 % |',
    '| 20 * | 62.5 % |',
  ])
    expect(card).toContain(line)
  await expect(policyCommand('export', at, { out })).rejects.toThrow('policy is there already: give another folder')
})

test('a training that has not ended is shown, and not exported', async () => {
  const at = trained(undefined)
  expect(await policyCommand('show', at, {})).toBe(0)
  await expect(policyCommand('export', at, { out: join(at, 'x') })).rejects.toThrow('has not ended: go on with lamarck train run')
  await expect(policyCommand('export', at, {})).rejects.toThrow('where to? give a folder: --out my-policy')
  expect(existsSync(join(at, 'x'))).toBe(false)
})

const pair = { 'adapter_config.json': config, 'adapter_model.safetensors': weights }
test.each([
  ['is no gzip', () => Buffer.from('hello'), /no gzip, or cut off: train again/],
  ['is cut off', () => packed(pair).subarray(0, 60), /no gzip, or cut off: train again/],
  ['was packed in half', () => gzipSync(gunzipSync(packed(pair)).subarray(0, 1600)), /train again/],
  [
    'has weights that are none',
    () => packed({ 'adapter_config.json': config, 'adapter_model.safetensors': 'hello' }),
    /can't be read, or is cut off: train again/,
  ],
  [
    'holds something else',
    () => packed({ 'adapter_config.json': config }),
    /holds no LoRA \(needs adapter_config\.json and adapter_model/,
  ],
])('an archive that %s is refused', (_, archive, line) => {
  const bytes = archive()
  expect(() => adapterIn(bytes)).toThrow(line)
})

test('the card of a policy of Finch says that it is simulated', () => {
  const card = finchCard([{ kind: 'looked', step: 0, dev: 0.5, checkpoint: 'x', isBest: true }])
  expect(card).toContain('- dev: share of the way on development companies, in Finch (simulated)')
  expect(card).toContain('| 0 * | 50.0 % |')
})
