// A curve as a few lines of text, in dots of braille: two columns and four rows of them a character.

/** How large a curve is, and what stands at its scale. */
export interface CurveOptions {
  /** Characters wide, without the scale at the left. */
  readonly columns: number
  /** Lines high. */
  readonly rows: number
  /** How many values there will be: where the right end lies. */
  readonly of?: number
  /** A value on the scale. */
  readonly label?: (value: number) => string
}

/** The values from left to right, each dot column the mean of those that fall there; the scale names the lowest and highest such mean. */
export function curve(values: readonly number[], options: CurveOptions): readonly string[] {
  const { columns, rows, of = values.length, label = (value) => value.toFixed(2) } = options
  const dots = columns * 2
  const means = Array.from({ length: dots }, (_, x) => {
    const from = Math.floor((x * of) / dots)
    const some = values.slice(from, Math.max(from + 1, Math.floor(((x + 1) * of) / dots)))
    return some.length === 0 ? undefined : some.reduce((a, b) => a + b, 0) / some.length
  })
  const known = means.filter((m) => m !== undefined)
  const [low, high] = [Math.min(...known), Math.max(...known)]
  const cells = Array.from({ length: rows }, () => Array<number>(columns).fill(0))
  const heightOf = (value: number): number => (high > low ? Math.round(((value - low) / (high - low)) * (rows * 4 - 1)) : 0)
  let last: number | undefined
  for (const [x, value] of means.entries()) {
    if (value === undefined) continue
    const y = heightOf(value)
    // Without gaps: up or down from where the last dot stood.
    for (let at = last ?? y; ; at += Math.sign(y - at)) {
      const row = rows - 1 - Math.floor(at / 4)
      cells[row]![x >> 1]! |= bits[x & 1]![at % 4]!
      if (at === y) break
    }
    last = y
  }
  const names = known.length > 0 ? [label(high), label(low)] : ['', '']
  const width = Math.max(...names.map((name) => name.length))
  return cells.map((row, i) => {
    const name = i === 0 ? names[0]! : i === rows - 1 ? names[1]! : ''
    return `${name.padStart(width)} ${i === 0 ? '┤' : '│'}${row.map((cell) => String.fromCharCode(0x2800 + cell)).join('')}`.trimEnd()
  })
}

/** Of the left and the right column of a character, from its lowest dot up. */
const bits = [
  [0x40, 0x04, 0x02, 0x01],
  [0x80, 0x20, 0x10, 0x08],
] as const
