// Cuts the loop in which a degenerate answer ends ("!!!!…", "abcabc…"). Source: the LSE code's truncate_repetitive_suffix, with the
// settings of its configuration. Deviations:
// 1. Cut again until nothing is left to cut; the code cuts once, so a second call of it may cut more.
// 2. A run is cut whole; the code looks back 4,096 characters and leaves the start of a longer run.
// 3. Lengths are UTF-16 units; the code counts code points.
// 4. A tail of any white space is kept; the code keeps spaces, tabs and line ends only.

/** A run must be this long to be cut, and a block of several characters must occur at least three times. */
const shortest = 100

/** Lengths of the repeated block, tried in this order. */
const blocks = [1, 2, 3, 4, 5, 8, 16, 32, 64]

/** The text up to the repetition it ends in, without trailing white space; a text that ends in none is untouched. */
export function truncateRepeats(text: string): string {
  for (let end = text.length; ; ) {
    const block = blocks.find((b) => end - runStart(text, end, b) >= Math.max(shortest, 3 * b))
    if (block === undefined) return end === text.length ? text : text.slice(0, end)
    end = text.slice(0, runStart(text, end, block)).trimEnd().length
  }
}

/** Where the repetition of the last `block` characters before `end` starts; `end` if they are white space only. */
function runStart(text: string, end: number, block: number): number {
  if (block > end || text.slice(end - block, end).trim() === '') return end
  let at = end - block
  while (at > 0 && text[at - 1] === text[at - 1 + block]) at--
  return end - Math.floor((end - at) / block) * block
}
