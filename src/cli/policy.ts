// lamarck policy list | show | export: which policies were trained here, how a training went, and its best policy as one file.
import { constants, copyFileSync, existsSync, globSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ConfigError } from '../core/errors.ts'
import { readFacts } from '../recipes/train-finch.ts'
import { type CommonFlags, terminal } from './terminal.ts'
import { progress, rewardCurve } from './train.ts'

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
    if (what === 'export') return exported(at, flags)
    const lines = progress()
    const facts = readFacts(join(at, 'facts.jsonl'))
    for (const line of [...facts.flatMap((fact) => lines(fact)), ...rewardCurve(facts)]) out(line)
    return 0
  }
  const files = globSync(join(folder ?? '.lamarck', '**', 'facts.jsonl')).sort()
  for (const file of files) out(summary(file))
  if (files.length === 0) out('no policy was trained here yet: lamarck train')
  return 0
}

function exported(folder: string, flags: PolicyFlags): number {
  const [from, to] = [join(folder, 'policy.safetensors'), flags.out]
  if (to === undefined) throw new ConfigError('where to? give a file: --out policy.safetensors')
  if (!existsSync(from))
    throw new ConfigError(`the training in ${folder} has not ended: go on with lamarck train --out ${folder}`)
  if (existsSync(to)) throw new ConfigError(`${to} is there already: give another file`)
  try {
    copyFileSync(from, to, constants.COPYFILE_EXCL)
  } catch (cause) {
    throw new ConfigError(`${to} can't be written: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
  terminal(flags).out(to)
  return 0
}

function summary(file: string): string {
  const facts = readFacts(file)
  const best = facts.findLast((fact) => fact.kind === 'looked' && fact.isBest)
  const steps = facts.findLast((fact) => fact.kind === 'step')?.step ?? 0
  const end = facts.at(-1)?.kind === 'ended' ? 'ended' : 'not ended: go on with lamarck train'
  const dev = best?.kind === 'looked' ? `dev ${(100 * best.dev).toFixed(1)} % at step ${best.step}` : 'no checkpoint'
  return `${dirname(file)}  ${steps} steps, ${dev}, ${end}`
}
