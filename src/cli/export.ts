// lamarck export [run] --to …: the context in the shape of where it goes.
import { type Context, contextText } from '../core/context.ts'
import { chat } from '../core/task.ts'
import { referenceTree, renderTree } from '../core/tree-json.ts'
import { gainLine, type Report, type Told } from '../report.ts'
import { chosenOf } from './apply.ts'
import { findRun, openRuns, reportIn, type StoreFlags } from './runs-in.ts'
import { type CommonFlags, safe, terminal } from './terminal.ts'

export const exportKinds = ['text', 'json', 'ai-sdk', 'agents-md', 'tree-json'] as const
export type ExportKind = (typeof exportKinds)[number]

export interface ExportFlags extends CommonFlags, StoreFlags {
  readonly to: ExportKind
  readonly force?: boolean
}

export async function exportCommand(id: string | undefined, flags: ExportFlags): Promise<number> {
  await using opened = await openRuns(flags)
  const found = await findRun(opened, id)
  const screen = terminal(flags)
  const text = flags.to === 'tree-json' ? treeJson(found.told) : exported(await reportIn(opened, found), found, flags)
  // Byte for byte into a file or a pipe; a screen is not to be steered by what a model wrote.
  screen.draw(screen.columns === undefined ? text : `${safe(text)}\n`)
  return 0
}

function exported(report: Report, { facts }: { readonly facts: readonly unknown[] }, { to, force = false }: ExportFlags): string {
  const { context, node } = chosenOf(report, force)
  if (to === 'text') return contextText(context)
  if (to === 'agents-md') return agentsMd(report, context)
  if (to === 'ai-sdk') return aiSdk(report, context)
  return `${JSON.stringify(provenance(report, { context, node, started: facts[0] }), undefined, 2)}\n`
}

function provenance(
  report: Report,
  { context, node, started }: { readonly context: Context; readonly node: number; readonly started: unknown },
): object {
  const { run, names, gain, test, holdout, optimism, size, splits, stop, simulated } = report
  const hashes = (started as { hashes?: unknown }).hashes // the first fact is `started`
  return { context, provenance: { run, node, names, hashes, gain, test, holdout, optimism, size, splits, stop, simulated } }
}

/** One comment line that says where a context is from; nothing a model wrote is in it. */
function origin(report: Report): string {
  return `lamarck run ${report.run}, node ${report.chosen}: ${gainLine(report, report.simulated)}`
}

function agentsMd(report: Report, context: Context): string {
  return `<!-- ${origin(report)} -->\n\n${contextText(context)}\n`
}

function aiSdk(report: Report, context: Context): string {
  const [system, ...rest] = chat(context, '')
  const messages = (system?.role === 'system' ? rest : [...(system ? [system] : []), ...rest]).slice(0, -1) // the last one is the question
  const instructions = system?.role === 'system' ? system.content : ''
  return [
    `// ${origin(report)}`,
    "// generateText({ model, instructions, messages: [...examples, { role: 'user', content: question }] })",
    `export const instructions = ${literal(instructions)}`,
    '',
    `export const examples: { role: 'user' | 'assistant'; content: string }[] = ${literal(messages)}`,
    '',
    '/** Each part by its name, byte for byte as it was scored. */',
    `export const context = ${literal(context)} as const`,
    '',
  ].join('\n')
}

function literal(value: unknown): string {
  return JSON.stringify(value, undefined, 2)
}

function treeJson({ state, names, hashes }: Told): string {
  const selection =
    names.method === 'chain'
      ? { kind: 'newest' as const }
      : names.method === 'best'
        ? { kind: 'best' as const }
        : { kind: 'ucb' as const, c: Number(hashes.explore ?? 0.1) }
  const tree = referenceTree(state.nodes, { selection, picks: state.tree.picks, visits: (id) => state.tree.visits(id) })
  return `${JSON.stringify(renderTree(tree), undefined, 2)}\n`
}
