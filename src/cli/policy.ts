// lamarck policy list | show: which policies were trained here, and how a training went.
import { existsSync, globSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ConfigError } from '../core/errors.ts'
import { readFacts } from '../recipes/train-finch.ts'
import { type CommonFlags, terminal } from './terminal.ts'
import { progress } from './train.ts'

/** Prints one line a training under `.lamarck`, or all of what one told. */
export async function policyCommand(what: 'list' | 'show', folder: string | undefined, flags: CommonFlags): Promise<number> {
  const { out } = terminal(flags)
  if (what === 'show') {
    const at = folder ?? join('.lamarck', 'train')
    if (!existsSync(join(at, 'facts.jsonl'))) throw new ConfigError(`no training in ${at}: see lamarck policy list`)
    const lines = progress()
    for (const fact of readFacts(join(at, 'facts.jsonl'))) for (const line of lines(fact)) out(line)
    return 0
  }
  const files = globSync(join(folder ?? '.lamarck', '**', 'facts.jsonl')).sort()
  for (const file of files) out(summary(file))
  if (files.length === 0) out('no policy was trained here yet: lamarck train')
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
