// lamarck policy list | show | export: which policies were trained here, how a training went, and its best policy with its card: one file, or
// the folder of a LoRA.
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ConfigError } from '../core/errors.ts'
import { readFacts } from '../recipes/train-finch.ts'
import { readLlmFacts, type TrainLlmFact } from '../recipes/train-llm.ts'
import { adapterIn, finchCard, llmCard } from './policy-card.ts'
import { type CommonFlags, safe, terminal } from './terminal.ts'
import { progress, rewardCurve } from './train.ts'
import { adapterFile, factLines } from './train-llm.ts'

export interface PolicyFlags extends CommonFlags {
  /** Where `export` writes. */
  readonly out?: string
}

/** Prints one line a training under `.lamarck`, or all of what one told; or writes its best policy to a file that is not there yet. */
export async function policyCommand(
  what: 'list' | 'show' | 'export',
  folder: string | undefined,
  flags: PolicyFlags,
): Promise<number> {
  const { out } = terminal(flags)
  if (what !== 'list') {
    const at = folder ?? join('.lamarck', 'train')
    if (!existsSync(join(at, 'facts.jsonl'))) throw new ConfigError(`no training in ${at}: see lamarck policy list`)
    const llm = llmFacts(join(at, 'facts.jsonl'))
    if (what === 'export') return llm ? exportedLora(at, llm, flags) : exported(at, flags)
    for (const line of llm?.flatMap(factLines) ?? []) out(safe(line))
    if (llm) return 0
    const lines = progress()
    const facts = readFacts(join(at, 'facts.jsonl'))
    for (const line of [...facts.flatMap((fact) => lines(fact)), ...rewardCurve(facts)]) out(safe(line))
    return 0
  }
  const files = globSync(join(folder ?? '.lamarck', '**', 'facts.jsonl')).sort()
  for (const file of files) out(safe(summary(file)))
  if (files.length === 0) out('no policy was trained here yet: lamarck train')
  return 0
}

function exported(folder: string, flags: PolicyFlags): number {
  const [from, to] = [join(folder, 'policy.safetensors'), flags.out]
  if (to === undefined) throw new ConfigError('where to? give a file: --out policy.safetensors')
  const facts = readFacts(join(folder, 'facts.jsonl'))
  if (!existsSync(from) || facts.at(-1)?.kind !== 'ended')
    throw new ConfigError(`the training in ${folder} has not ended: go on with lamarck train --out ${folder}`)
  if (existsSync(to)) throw new ConfigError(`${to} is there already: give another file`)
  try {
    copyFileSync(from, `${to}.part`)
    writeFileSync(`${to}.md`, finchCard(facts))
    renameSync(`${to}.part`, to) // whole or not at all
  } catch (cause) {
    rmSync(`${to}.part`, { force: true })
    throw new ConfigError(`${to} can't be written: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
  terminal(flags).out(to)
  return 0
}

/** The facts of a language model's training; undefined for one of Finch. */
function llmFacts(file: string): readonly TrainLlmFact[] | undefined {
  const [first] = readFacts(file)
  return first?.kind === 'set' && 'recipe' in first.settings ? readLlmFacts(file) : undefined
}

/** A folder as servers of LoRAs read it, with the card as its README. */
function exportedLora(folder: string, facts: readonly TrainLlmFact[], flags: PolicyFlags): number {
  const [from, to] = [join(folder, adapterFile), flags.out]
  if (to === undefined) throw new ConfigError('where to? give a folder: --out my-policy')
  if (!existsSync(from)) throw new ConfigError(`the training in ${folder} has not ended: go on with lamarck train run`)
  if (existsSync(to)) throw new ConfigError(`${to} is there already: give another folder`)
  const adapter = adapterIn(readFileSync(from))
  const files = { ...adapter, 'README.md': llmCard(facts, baseOf(adapter['adapter_config.json'])) }
  try {
    mkdirSync(to, { recursive: true })
    for (const [name, content] of Object.entries(files)) writeFileSync(join(to, name), content)
  } catch (cause) {
    throw new ConfigError(`${to} can't be written: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
  const { out, say } = terminal(flags)
  out(to)
  say(
    `serve it with vllm serve BASE --enable-lora --lora-modules policy=${to}; then lamarck evolve --evolver openai-compatible:policy`,
  )
  return 0
}

function baseOf(config: Buffer): string {
  try {
    const { base_model_name_or_path: base } = JSON.parse(config.toString('utf8')) as { base_model_name_or_path?: unknown } // looked at below
    if (typeof base === 'string') return base
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause
  }
  return 'not named by its adapter_config.json'
}

function summary(file: string): string {
  const facts = readFacts(file)
  const best = facts.findLast((fact) => fact.kind === 'looked' && fact.isBest)
  const steps = facts.findLast((fact) => fact.kind === 'step')?.step ?? 0
  const end = facts.at(-1)?.kind === 'ended' ? 'ended' : 'not ended: go on with lamarck train'
  const dev =
    best?.kind === 'looked'
      ? `dev ${(100 * best.dev).toFixed(1)} % of the way at step ${best.step}, in Finch (simulated)`
      : 'no checkpoint'
  return `${dirname(file)}  ${steps} steps, ${dev}, ${end}`
}
