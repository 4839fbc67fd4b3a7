// The `tree.json` of the LSE reference code (arXiv:2603.18620), as a plain structure. Pure: whoever calls reads and writes the file.
// Floats that are whole (2.0) come back as 2; nothing else of a file is lost.
import { contextText } from './context.ts'
import { ConfigError } from './errors.ts'
import type { Node } from './observation.ts'
import type { Selection } from './tree.ts'

export interface ReferenceNode {
  readonly id: number
  readonly parent: number | undefined
  readonly depth: number
  readonly visits: number
  /** Mean score in [0, 1]; undefined = not scored. */
  readonly performance: number | undefined
  readonly round: number | undefined
  readonly instructions: string
  /** Logs of the round, as they were: JSON, null if there are none. */
  readonly conversation: unknown
  readonly summary: unknown
  readonly history: unknown
  /** The evolver's messages for this node: the state of a training example. */
  readonly evolvePrompt: unknown
}

export interface ReferenceTree {
  /** 'deepest', 'best' or 'ucb'. */
  readonly selection: string
  readonly c: number
  readonly nextId: number
  readonly picks: number
  readonly root: number
  readonly nodes: readonly ReferenceNode[]
}

/** The tree in a parsed `tree.json`; fields that its loader can do without get the loader's defaults. @throws {ConfigError} */
export function parseTree(json: unknown): ReferenceTree {
  const file = record(json, 'the file')
  if ((file.format_version ?? 1) !== 1) refuse('"format_version" must be 1', file.format_version)
  if (!Array.isArray(file.nodes) || file.nodes.length === 0) refuse('"nodes" must be a list with at least one node', file.nodes)
  const ids = new Set<number>()
  const nodes = file.nodes.map((value: unknown, i: number): ReferenceNode => {
    const n = record(value, `node ${i}`)
    const id = whole(n.id, `"id" of node ${i}`)
    if (ids.has(id)) refuse('ids must be unique', id)
    const parent = n.parent_id == null ? undefined : whole(n.parent_id, `"parent_id" of node ${id}`)
    if (parent !== undefined && !ids.has(parent)) refuse(`"parent_id" of node ${id} must be the id of a node before it`, parent)
    ids.add(id)
    if (typeof (n.instructions ?? '') !== 'string') refuse(`"instructions" of node ${id} must be text`, n.instructions)
    return {
      id,
      parent,
      depth: whole(n.depth ?? 0, `"depth" of node ${id}`),
      visits: whole(n.visits ?? 0, `"visits" of node ${id}`),
      performance: n.performance == null ? undefined : finite(n.performance, `"performance" of node ${id}`),
      round: n.round_idx == null ? undefined : whole(n.round_idx, `"round_idx" of node ${id}`),
      instructions: String(n.instructions ?? ''),
      conversation: n.conversation ?? null,
      summary: n.summary ?? null,
      history: n.history ?? null,
      evolvePrompt: n.self_evolve_prompt ?? null,
    }
  })
  const selection = file.selection ?? 'deepest'
  if (typeof selection !== 'string') refuse('"selection" must be text', selection)
  const root = whole(file.root_id ?? 0, '"root_id"')
  if (!ids.has(root)) refuse('"root_id" must be the id of a node', root)
  return {
    selection,
    c: finite(file.ucb_c ?? 2, '"ucb_c"'),
    nextId: whole(file.next_id ?? highest(ids) + 1, '"next_id"'),
    picks: whole(file.total_selections ?? 0, '"total_selections"'),
    root,
    nodes,
  }
}

/** What `JSON.stringify` turns into a `tree.json` that the reference code loads. */
export function renderTree(tree: ReferenceTree): Readonly<Record<string, unknown>> {
  return {
    format_version: 1,
    selection: tree.selection,
    ucb_c: tree.c,
    next_id: tree.nextId,
    total_selections: tree.picks,
    root_id: tree.root,
    nodes: tree.nodes.map((n) => ({
      id: n.id,
      parent_id: n.parent ?? null,
      depth: n.depth,
      visits: n.visits,
      performance: n.performance ?? null,
      round_idx: n.round ?? null,
      instructions: n.instructions,
      conversation: n.conversation,
      summary: n.summary,
      history: n.history,
      self_evolve_prompt: n.evolvePrompt,
    })),
  }
}

/**
 * A run's nodes as a reference tree: a context of several parts becomes one text, a merge keeps its first parent, 'newest' becomes
 * 'deepest', and the summary of a node whose scoring was cut short says so. Nodes in id order; `visits` by id.
 */
export function referenceTree(
  nodes: readonly Node[],
  { selection, picks, visits }: { selection: Selection; picks: number; visits: (id: number) => number },
): ReferenceTree {
  const depths = new Map<number, number>()
  const rendered = nodes.map((n): ReferenceNode => {
    const parent = n.parents[0]
    const depth = parent === undefined ? 0 : (depths.get(parent) ?? 0) + 1
    depths.set(n.id, depth)
    const { full, n: rollouts, interval } = n.score
    const summary = full ? null : { cut_short: true, ...(rollouts !== undefined && { rollouts }), ...(interval && { interval }) }
    const logs = { conversation: null, summary, history: null, evolvePrompt: null }
    const instructions = contextText(n.context)
    return { id: n.id, parent, depth, visits: visits(n.id), performance: n.score.mean, round: n.round, instructions, ...logs }
  })
  return {
    selection: selection.kind === 'newest' ? 'deepest' : selection.kind,
    c: selection.kind === 'ucb' ? selection.c : 2,
    nextId: highest(depths.keys()) + 1,
    picks,
    root: nodes[0]?.id ?? 0,
    nodes: rendered,
  }
}

function highest(ids: Iterable<number>): number {
  let high = -1
  for (const id of ids) high = Math.max(high, id)
  return high
}

function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(`${what} must be an object`, value)
  return value as Readonly<Record<string, unknown>> // an object that is no list has string keys
}

function whole(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) refuse(`${what} must be a whole number from 0`, value)
  return value
}

function finite(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) refuse(`${what} must be a number`, value)
  return value
}

function refuse(what: string, got: unknown): never {
  const shown = (JSON.stringify(got) ?? 'nothing').slice(0, 80)
  throw new ConfigError(`tree.json: ${what}, got ${shown}; it must be a file that the reference code wrote`)
}
