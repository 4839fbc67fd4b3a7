// A pure function of a text that is asked for the same texts again and again.

/** Texts that are kept; one more, and all are forgotten. */
const most = 5_000

/** The same function, which remembers what it gave. */
export function remembered<T>(read: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>()
  return (text) => {
    if (known.has(text)) return known.get(text) as T // kept below
    if (known.size >= most) known.clear()
    const made = read(text)
    known.set(text, made)
    return made
  }
}
