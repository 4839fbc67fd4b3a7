// A pure function of a text that is asked for the same texts again and again.

/** Texts that are kept; one more, and all are forgotten. */
const most = 5_000

/** Characters of a text that is kept; a longer one is read anew. */
const longest = 4_000

/** The same function, which remembers what it gave. */
export function remembered<T>(read: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>()
  return (text) => {
    if (text.length > longest) return read(text)
    if (known.has(text)) return known.get(text) as T // kept below
    if (known.size >= most) known.clear()
    const made = read(text)
    known.set(copyOf(text), made)
    return made
  }
}

/** The same text by itself: a line that was cut out of a text keeps all of that text in memory. */
function copyOf(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le')
}
