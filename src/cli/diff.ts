// lamarck diff [run] [A] [B]
import { diffWordsWithSpace, structuredPatch } from 'diff'
import { type Context, partText } from '../core/context.ts'
import { ConfigError } from '../core/errors.ts'
import type { State } from '../core/state.ts'
import { findRun, openRuns, type StoreFlags } from './runs-in.ts'
import { type CommonFlags, safe, type Terminal, terminal } from './terminal.ts'

export async function diffCommand(args: readonly string[], flags: CommonFlags & StoreFlags): Promise<number> {
  await using opened = await openRuns(flags)
  const names = new Set((await opened.store.runs()).map((row) => row.id))
  const [first] = args
  const isRun = first !== undefined && (names.has(first) || !/^\d+$/.test(first))
  const { told } = await findRun(opened, isRun ? first : undefined)
  const [a, b] = nodesOf(told.state, isRun ? args.slice(1) : args)
  const screen = terminal(flags)
  const text = contextDiff(contextOf(told.state, a), contextOf(told.state, b), screen)
  screen.out(
    text === '' ? `node ${a} and node ${b} have the same context` : `${screen.paint('bold', `node ${a} → node ${b}`)}\n${text}`,
  )
  return 0
}

function nodesOf(state: State, given: readonly string[]): readonly [number, number] {
  const stray = given.find((text) => !/^\d+$/.test(text))
  if (stray !== undefined || given.length > 2) {
    throw new ConfigError(`"${stray ?? given[2]}" is no node: give lamarck diff [run] [node] [node], such as lamarck diff 0 3`)
  }
  const [a, b] = given.map(Number)
  const best = state.result?.chosen ?? state.best?.id ?? 0
  return b === undefined ? [0, a ?? best] : [a ?? 0, b]
}

function contextOf({ nodes }: State, id: number): Context {
  const node = nodes[id]
  if (node) return node.context
  throw new ConfigError(
    nodes.length === 0 ? 'the run has no nodes yet' : `there is no node ${id} (have: 0 to ${nodes.length - 1})`,
  )
}

/** What changed, part by part, as lines with - and +; on a colour screen the changed words stand out. Empty if nothing did. */
export function contextDiff(before: Context, after: Context, { paint }: Pick<Terminal, 'paint'>): string {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .flatMap((name) => {
      const [a, b] = [textOf(before, name), textOf(after, name)]
      return a === b ? [] : [paint('bold', `# ${name}`), ...partDiff(a, b, paint)]
    })
    .join('\n')
}

function textOf(context: Context, name: string): string {
  const part = context[name]
  return part === undefined ? '' : safe(partText(part))
}

function partDiff(before: string, after: string, paint: Terminal['paint']): readonly string[] {
  const { hunks } = structuredPatch('', '', `${before}\n`, `${after}\n`, undefined, undefined, { context: 3 })
  return hunks.flatMap((hunk, i) => [
    ...(i > 0 ? [paint('cyan', '…')] : []),
    ...paired(hunk.lines.filter((line) => !line.startsWith('\\'))).flatMap((pair) =>
      typeof pair === 'string' ? [pair] : changed(pair.gone, pair.come, paint),
    ),
  ])
}

interface Pair {
  readonly gone: readonly string[]
  readonly come: readonly string[]
}

/** Runs of removed and added lines, brought together; other lines as they are. */
function paired(lines: readonly string[]): readonly (string | Pair)[] {
  const out: (string | { gone: string[]; come: string[] })[] = []
  for (const line of lines) {
    if (line.startsWith(' ')) {
      out.push(line)
      continue
    }
    const last = out.at(-1)
    const pair = typeof last === 'object' && (line.startsWith('+') || last.come.length === 0) ? last : { gone: [], come: [] }
    if (pair !== last) out.push(pair)
    ;(line.startsWith('-') ? pair.gone : pair.come).push(line.slice(1))
  }
  return out
}

function changed(gone: readonly string[], come: readonly string[], paint: Terminal['paint']): readonly string[] {
  const words = diffWordsWithSpace(gone.join('\n'), come.join('\n'))
  const side = (sign: '-' | '+'): readonly string[] => {
    const color = sign === '-' ? 'red' : 'green'
    const lines = words
      .filter((w) => (sign === '-' ? !w.added : !w.removed))
      // Painted line by line: a colour does not reach over a line's end.
      .map((w) =>
        w.added || w.removed
          ? mapLines(w.value, (line) => paint('bold', paint(color, line)))
          : mapLines(w.value, (line) => paint(color, line)),
      )
      .join('')
      .split('\n')
    return lines.map((line) => `${paint(color, sign)}${line}`)
  }
  return [...(gone.length > 0 ? side('-') : []), ...(come.length > 0 ? side('+') : [])]
}

function mapLines(text: string, by: (line: string) => string): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '' : by(line)))
    .join('\n')
}
