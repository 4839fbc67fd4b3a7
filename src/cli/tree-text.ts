// The tree of contexts as lines of text. An only child stands right under its parent, so that a long chain stays narrow.
import type { Node } from '../core/observation.ts'
import type { State } from '../core/state.ts'
import { cutText, percent, points } from '../report.ts'

export interface TreeMarks {
  readonly chosen?: number | undefined
  /** Lines at most; beyond them only the way to the marked node is shown. */
  readonly limit?: number
}

/** One line a node: id, holdout score, change from its parent. */
export function treeLines(
  state: Pick<State, 'nodes' | 'best' | 'flagged'>,
  { chosen, limit = 60 }: TreeMarks = {},
): readonly string[] {
  const { nodes } = state
  const marked = chosen ?? state.best?.id ?? 0
  if (nodes.length > limit) {
    const way = wayTo(nodes, marked)
    const rest = nodes.length - way.length
    return [
      ...way.map((node) => line(node)),
      `… and ${rest} nodes beside the way to node ${marked}: lamarck report --html shows all`,
    ]
  }
  const children = Map.groupBy(
    nodes.filter((n) => n.parents.length > 0),
    (n) => n.parents[0]!,
  )
  const lines: string[] = []
  // A stack, not recursion: a chain may be thousands deep.
  const stack = nodes
    .filter((n) => n.parents.length === 0)
    .map((node) => ({ node, before: '', hook: '' }))
    .reverse()
  for (let top = stack.pop(); top; top = stack.pop()) {
    const { node, before, hook } = top
    lines.push(before + hook + line(node))
    const below = children.get(node.id) ?? []
    const inner = before + (hook === '├─ ' ? '│  ' : hook === '└─ ' ? '   ' : '')
    const hooked = below.map((child, i) => ({
      node: child,
      before: inner,
      hook: below.length === 1 ? '' : i < below.length - 1 ? '├─ ' : '└─ ',
    }))
    stack.push(...hooked.reverse())
  }
  return lines

  function line(node: Node): string {
    const parent = nodes[node.parents[0] ?? -1]
    const change = parent ? `  ${points(node.score.mean - parent.score.mean)} from ${parent.id}` : ''
    const marks = [
      ...(node.id === 0 ? ['seed'] : []),
      ...(node.id === chosen ? ['chosen'] : state.best?.id === node.id ? ['best on holdout'] : []),
      ...(node.score.full ? [] : [cutText(node.score)]),
      ...(state.flagged.has(node.id) ? ['copies examples'] : []),
    ]
    return `${node.id}  ${percent(node.score.mean)}${change}${marks.length > 0 ? `  ← ${marks.join(', ')}` : ''}`
  }
}

function wayTo(nodes: readonly Node[], id: number): readonly Node[] {
  const way: Node[] = []
  for (let node = nodes[id]; node; node = nodes[node.parents[0] ?? -1]) way.unshift(node)
  return way
}
