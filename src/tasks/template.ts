// Templates of one kind of placeholder, `{{name}}`. No logic and no escapes: what is filled in is never read again.

/** The names in a template, each once, in order. */
export function placeholders(template: string): readonly string[] {
  return [...new Set(Array.from(template.matchAll(pattern), (found) => found[1]!.trim()))]
}

/** The placeholders as they are written, braces and spaces included, each once. */
export function marks(template: string): readonly string[] {
  return [...new Set(template.match(pattern) ?? [])]
}

/** The template with its placeholders filled; a name without a value stays as it is. */
export function fill(template: string, values: Readonly<Record<string, unknown>>): string {
  return template.replace(pattern, (whole, name: string) =>
    Object.hasOwn(values, name.trim()) ? textOf(values[name.trim()]) : whole,
  )
}

/** A value as a model reads it: texts as they are, nothing for null, JSON for the rest. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  return value === undefined || value === null ? '' : JSON.stringify(value)
}

const pattern = /\{\{([^{}]*)\}\}/g
