// What goes along with a trained policy: what it was made of and how it did, as a page; and the LoRA of an archive, as a folder that servers read.
import { gunzipSync } from 'node:zlib'
import { ConfigError } from '../core/errors.ts'
import type { TrainFinchFact } from '../recipes/train-finch.ts'
import type { TrainLlmFact } from '../recipes/train-llm.ts'

/** The card of a policy of Finch. */
export function finchCard(facts: readonly TrainFinchFact[]): string {
  const first = facts[0]
  const { from, finch, ...settings } = first?.kind === 'set' ? first.settings : { from: undefined, finch: undefined }
  return card('A policy of Finch (simulated)', facts, [
    ['base', from],
    ['data', finch && `training companies of Finch (simulated), world ${finch}`],
    [
      'reward',
      'reward' in settings && `${settings.advantage} of ${settings.reward} rewards: the score after an edit minus that before it`,
    ],
    ['settings', JSON.stringify(settings)],
    ['dev', 'share of the way on development companies, in Finch (simulated)'],
  ])
}

/** The card of a language model's policy; `base` as its adapter names it. */
export function llmCard(facts: readonly TrainLlmFact[], base: string): string {
  const first = facts[0]
  const settings = first?.kind === 'set' ? first.settings : undefined
  return card('A policy that writes contexts', facts, [
    ['base', base],
    ['data', settings && `trees of ${settings.recipe}, seed ${settings.seed}`],
    ['reward', settings && `holdout score after an edit minus that before it, −1 for an invalid one, by ${settings.action}`],
    ['settings', JSON.stringify(settings?.train)],
    ['dev', 'mean holdout score of what it chose on the dev tasks: biased upwards, as any best of many'],
  ])
}

type Row = readonly [name: string, value: string | false | undefined]

function card(title: string, facts: readonly (TrainFinchFact | TrainLlmFact)[], rows: readonly Row[]): string {
  const looks = facts.filter((fact) => fact.kind === 'looked')
  const best = looks.findLast((fact) => fact.isBest)
  const dev = looks.map((look) => `| ${look.step}${look === best ? ' *' : ''} | ${(100 * look.dev).toFixed(1)} % |`)
  const steps = facts.findLast((fact) => fact.kind === 'step')?.step ?? 0
  const said = rows.flatMap(([name, value]) => (value ? [`- ${name}: ${value}`] : []))
  const end = `Trained by LSE (arXiv:2603.18620) for ${steps} steps; * is this policy.`
  return `# ${title}\n\n${[...said, '', end, '', '| step | dev |', '| ---: | ---: |', ...dev].join('\n')}\n`
}

/** Files of an adapter, by name. No other file of an archive is looked at. */
const parts = ['adapter_config.json', 'adapter_model.safetensors'] as const

/** The two files of a PEFT adapter in a tar.gz. @throws {ConfigError} if it is none, or cut off. */
export function adapterIn(archive: Uint8Array): Readonly<Record<(typeof parts)[number], Buffer>> {
  const found = new Map<string, Buffer>()
  for (const [path, content] of filesOf(archive)) {
    const name = path.split('/').at(-1) ?? ''
    if (parts.some((part) => part === name)) found.set(name, content)
  }
  const [config, weights] = parts.map((name) => found.get(name))
  if (!config || !weights)
    throw new ConfigError(`the archive of the server holds no LoRA (needs ${parts.join(' and ')}): train again`)
  return { 'adapter_config.json': complete(config, weights), 'adapter_model.safetensors': weights }
}

/** The config with `target_modules`, which vLLM wants and SkyRL leaves out: the modules that the weights name. */
function complete(config: Buffer, weights: Buffer): Buffer {
  try {
    const fields = JSON.parse(config.toString('utf8')) as Readonly<Record<string, unknown>> | null
    if (fields?.target_modules) return config
    const names = Object.keys(JSON.parse(weights.toString('utf8', 8, 8 + Number(weights.readBigUInt64LE(0)))) as object)
    const modules = names.flatMap((name) => /\.(\w+)\.lora_A\b/.exec(name)?.[1] ?? [])
    return Buffer.from(JSON.stringify({ ...fields, target_modules: [...new Set(modules)].sort() }))
  } catch (cause) {
    throw new ConfigError("the adapter of the server can't be read, or is cut off: train again", { cause })
  }
}

/** The plain files of a tar.gz. Source: POSIX ustar; longer names and links are passed over. */
function* filesOf(archive: Uint8Array): Generator<readonly [path: string, content: Buffer]> {
  let bytes: Buffer
  try {
    bytes = gunzipSync(archive)
  } catch (cause) {
    throw new ConfigError('the archive of the server is no gzip, or cut off: train again', { cause })
  }
  const block = 512
  for (let at = 0; at + block <= bytes.length; ) {
    const text = (from: number, length: number): string =>
      bytes.toString('latin1', at + from, at + from + length).split('\0')[0] ?? ''
    const size = Number.parseInt(text(124, 12), 8) || 0
    const kind = text(156, 1)
    const start = at + block
    if (kind === '0' || kind === '') {
      if (start + size > bytes.length) throw new ConfigError('the archive of the server is cut off: train again')
      if (text(0, 100)) yield [text(0, 100), bytes.subarray(start, start + size)]
    }
    at = start + Math.ceil(size / block) * block
  }
}
