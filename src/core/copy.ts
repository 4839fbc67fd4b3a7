// The copy guard: how much of an example's text has found its way into a context. Compares words, so case, punctuation and white
// space do not matter; a character of a script written without spaces is a word.

/** One example's n-grams found in the text make it copied from this share on. */
const copiedFrom = 0.5

const unspaced =
  '\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}'
const word = new RegExp(`[${unspaced}]|(?:(?![${unspaced}])[\\p{L}\\p{M}\\p{N}])+`, 'gu')

function words(text: string): readonly string[] {
  return text.normalize('NFKC').toLowerCase().match(word) ?? []
}

/**
 * How much of the examples is in `text`: the highest share of one example's word n-grams that occur in it, in [0, 1], and the ids
 * of which at least half do. An example of fewer than `n` words counts as 1 if it occurs as a whole, and an empty one as 0.
 */
export function overlap(
  text: string,
  examples: readonly { readonly id: string; readonly text: string }[],
  { n = 8 }: { n?: number } = {},
): { readonly share: number; readonly copied: readonly string[] } {
  const held = words(text)
  const known = new Set(held)
  const grams = new Set(held.slice(n - 1).map((_, i) => held.slice(i, i + n).join(' ')))
  const whole = ` ${held.join(' ')} `
  const shares = examples.map((example) => {
    const its = words(example.text)
    if (its.length < n) return Number(its.length > 0 && whole.includes(` ${its.join(' ')} `))
    let found = 0
    let run = 0 // known words in a row: only after n of them can an n-gram be in the text
    its.forEach((w, i) => {
      run = known.has(w) ? run + 1 : 0
      if (run >= n && grams.has(its.slice(i - n + 1, i + 1).join(' '))) found++
    })
    return found / (its.length - n + 1)
  })
  const copied = examples.filter((_, i) => shares[i]! >= copiedFrom).map(({ id }) => id)
  return { share: shares.reduce((a, b) => Math.max(a, b), 0), copied }
}
