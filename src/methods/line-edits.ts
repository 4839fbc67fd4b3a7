// Edits written as changes of lines and applied by code: what is not mentioned stays. A writer beside the whole rewrites of lse.ts.
// The answer ends with a block, one change a line:
//   <prompt>
//   late: shipped after 5 days     replaces what is named "late", or is added: a line's name is what stands before its first ": "
//   big: drop                      what is named "big" goes
//   + Answer in one query.         a line without a name is added
//   - Answer politely.             the line that reads so goes, with a name or without
//   </prompt>
// A line that is written moves to the end; where `maxLines` are allowed, the lines that were not written for longest fall out.
import { type Context, editable } from '../core/context.ts'
import type { Edit, Writer } from '../core/evolver.ts'
import type { Message } from '../core/model.ts'
import type { Observation } from '../core/observation.ts'
import { lseWriter, promptText } from './lse.ts'

export interface LineEditsOptions {
  /** Lines the part may have; more, and the oldest fall out. */
  readonly maxLines?: number
  /** In place of LSE's, with the same slots. */
  readonly template?: string
  /** Another prompt, such as a short one for a small policy. */
  readonly write?: (observation: Observation) => readonly Message[]
}

/** Prompt and parser of line edits of one text part: the round's own, or the only one that is not frozen. */
export function lineEdits({ maxLines, template, write = prompted(maxLines, template).write }: LineEditsOptions = {}): Writer {
  return { name: 'line-edits', write, read: (completion, o) => readLineEdits(completion, o, maxLines) }
}

function prompted(maxLines?: number, template?: string): Writer {
  const limit = maxLines === undefined ? '' : ` The context has at most ${maxLines} lines; beyond that the oldest fall out.`
  const format = (): string =>
    `only the lines to change, each once, between <prompt> and </prompt>; all other lines stay as they are.${limit}
name: text      the line that begins with "name: " becomes this one, or is added
name: drop      the line that begins with "name: " goes
+ text          a line without a name is added
- text          the line that reads so goes`
  return lseWriter({ format, ...(template !== undefined && { template }) })
}

/** One change of a text's lines. */
export type Change =
  | { readonly kind: 'put'; readonly line: string; readonly name?: string }
  | { readonly kind: 'drop'; readonly line: string }
  | { readonly kind: 'drop'; readonly name: string }

/** The edit in a completion. No change at all is invalid only for who asks for one; a line that is no change always is. */
export function readLineEdits(completion: string, o: Observation, maxLines?: number): Edit {
  const invalid = (reason: string): Edit => ({ kind: 'invalid', reason, completion })
  const names = o.part ? [o.part] : editable(o.node.context, o.rules)
  const [part] = names
  if (part === undefined) return invalid('every part is frozen')
  if (names.length > 1) return invalid(`line edits change one part, and ${names.join(', ')} may be changed`)
  const before = o.node.context[part]
  if (typeof before !== 'string') return invalid(`part "${part}" is no text`)
  const text = promptText(completion)
  if (text === undefined) return invalid('there is no <prompt>…</prompt> in it')
  const changes: Change[] = []
  for (const line of text.split('\n').map((l) => l.trim())) {
    if (line === '') continue
    const change = readChange(line)
    if (!change)
      return invalid(`${JSON.stringify(line.slice(0, 80))} is not a change of a line: begin it with "name: ", "+ " or "- "`)
    changes.push(change)
  }
  const after = applyChanges(before, changes, maxLines)
  if (after.trim() === '') return invalid('no line would be left')
  const context: Context = { ...o.node.context, [part]: after }
  return { kind: 'edit', context, completion }
}

/** One line of the block; undefined if it is none of the four forms. */
export function readChange(line: string): Change | undefined {
  if (/^[+-]$/.test(line)) return undefined
  const rest = line.slice(2).trim()
  if (line.startsWith('- ')) return { kind: 'drop', line: rest }
  if (line.startsWith('+ ')) return put(rest)
  const name = nameOf(line)
  if (name === undefined) return undefined
  return line.slice(line.indexOf(': ') + 2).trim() === 'drop' ? { kind: 'drop', name } : put(line)
}

function put(line: string): Change {
  const name = nameOf(line)
  return { kind: 'put', line, ...(name !== undefined && { name }) }
}

/** What a line is called: the text before its first ": ", in lower case; undefined if that is missing or long. */
function nameOf(line: string): string | undefined {
  const at = line.indexOf(': ')
  return at < 1 || at > 40 ? undefined : line.slice(0, at).trim().toLowerCase() || undefined
}

/** The text after the changes, made one after the other; a drop of what is not there changes nothing. */
export function applyChanges(text: string, changes: readonly Change[], maxLines = Number.POSITIVE_INFINITY): string {
  let lines = text === '' ? [] : text.split('\n')
  for (const change of changes) {
    lines = lines.filter((line) => !isMeant(change, line))
    if (change.kind === 'put') lines.push(change.line)
  }
  return lines.slice(Math.max(0, lines.length - maxLines)).join('\n')
}

function isMeant(change: Change, line: string): boolean {
  if ('name' in change && change.name !== undefined) return nameOf(line.trim()) === change.name
  return 'line' in change && line.trim() === change.line
}
