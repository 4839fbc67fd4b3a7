// Columns of text.

/** Rows as aligned columns; the last column is as wide as it is. Numbers (right: true) stand to the right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = (rows[0] ?? []).map((_, c) => Math.max(...rows.map((row) => width(row[c] ?? ''))))
  return rows
    .map((row) =>
      row
        .map((cell, c) => {
          const space = ' '.repeat(Math.max(0, widths[c]! - width(cell)))
          return right.includes(c) ? space + cell : c === row.length - 1 ? cell : cell + space
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function width(text: string): number {
  return [...text].length
}
