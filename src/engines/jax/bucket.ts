// Sizes are rounded up to few values: each new shape costs 0.5 to 3 seconds of compiling.

/** The smallest of 1, 2, 3, 4, 6, 8, 12, 16, 24, … that is at least `n`. */
export function bucket(n: number): number {
  let size = 1
  while (size < n) size = size & (size - 1) ? (size / 3) * 4 : size === 1 ? 2 : (size / 2) * 3
  return size
}

/** A padded length for `n` tokens: one of `lengths` if it is in reach, else a bucket of at least 8. */
export function paddedLength(n: number, lengths: readonly number[], most: number): number {
  return Math.min(most, lengths.find((length) => length >= n) ?? bucket(Math.max(8, n)))
}
