// What is evolved: named parts, each a text or a list of examples rendered as turns, and the rules no edit may break.

export interface Turn {
  readonly input: string
  readonly output: string
}

/** A part: text (instructions, memory, …) or examples shown to the model as turns of a conversation. */
export type Part = string | readonly Turn[]

/** Everything the action model is given besides the problem, by part name. Compared and shipped byte for byte. */
export type Context = Readonly<Record<string, Part>>

/** What an edit may do to one part. */
export interface Rule {
  /** The part never changes. */
  readonly frozen?: boolean
  /** Upper limit in tokens of the run's tokenizer. */
  readonly maxTokens?: number
  /** Texts that must survive every edit, such as placeholders. */
  readonly keep?: readonly string[]
}

export type Rules = Readonly<Record<string, Rule>>

/** Counts tokens; `name` says by which tokenizer, and is printed with every size. */
export interface Tokenizer {
  readonly name: string
  count(text: string): number
}

/** Only text between these marks may change in a part that has them; the marks stay in the text. */
export const regionStart = '<!-- evolve -->'
export const regionEnd = '<!-- /evolve -->'

/** One text of a part: turns as "input" and "output" lines. For sizes, overlap and people; models get real turns. */
export function partText(part: Part): string {
  return typeof part === 'string' ? part : part.map((t) => `input: ${t.input}\noutput: ${t.output}`).join('\n\n')
}

export function contextText(context: Context): string {
  const names = Object.keys(context)
  if (names.length === 1) return partText(context[names[0]!]!)
  return names.map((name) => `# ${name}\n${partText(context[name]!)}`).join('\n\n')
}

export function sizeOf(context: Context, tokenizer: Tokenizer): number {
  return Object.values(context).reduce((sum, part) => sum + tokenizer.count(partText(part)), 0)
}

export function sameContext(a: Context, b: Context): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** The parts an edit may touch. */
export function editable(context: Context, rules: Rules): readonly string[] {
  return Object.keys(context).filter((name) => !rules[name]?.frozen)
}

/**
 * Why `next` may not follow `before`, or undefined if it may: other parts, a changed frozen part or region, a lost
 * placeholder, a part over its token cap. One clear sentence, made to be shown to the evolver.
 */
export function violation(before: Context, next: Context, rules: Rules, tokenizer: Tokenizer): string | undefined {
  const names = Object.keys(before)
  if (Object.keys(next).join('\n') !== names.join('\n')) {
    return `the parts must stay ${names.join(', ')}; got ${Object.keys(next).join(', ') || 'none'}`
  }
  for (const name of names) {
    const why = partViolation(before[name]!, next[name]!, rules[name] ?? {}, tokenizer)
    if (why) return `part "${name}": ${why}`
  }
  return undefined
}

function partViolation(before: Part, next: Part, rule: Rule, tokenizer: Tokenizer): string | undefined {
  if ((typeof before === 'string') !== (typeof next === 'string')) return 'text must stay text and examples must stay examples'
  if (JSON.stringify(before) === JSON.stringify(next)) return undefined
  if (rule.frozen) return 'it is frozen and may not change'
  const text = partText(next)
  if (typeof before === 'string' && typeof next === 'string' && before.includes(regionStart)) {
    if (outside(before) !== outside(next)) return `only text between ${regionStart} and ${regionEnd} may change`
  }
  const lost = rule.keep?.find((piece) => partText(before).includes(piece) && !text.includes(piece))
  if (lost !== undefined) return `${JSON.stringify(lost)} must stay in it`
  if (rule.maxTokens !== undefined) {
    const size = tokenizer.count(text)
    if (size > rule.maxTokens) return `${size} tokens (${tokenizer.name}), at most ${rule.maxTokens} are allowed`
  }
  return undefined
}

/** The text with the inside of each region taken out. An unclosed region reaches to the end. */
export function outside(text: string): string {
  const [head = '', ...rest] = text.split(regionStart)
  return [head, ...rest.map((piece) => (piece.includes(regionEnd) ? piece.slice(piece.indexOf(regionEnd)) : ''))].join(
    regionStart,
  )
}
