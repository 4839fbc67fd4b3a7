// What a query gave, made small enough to compare and to show: a digest of all rows and a preview of the first.
import { hash } from 'node:crypto'

/** How two results are compared. BIRD's own rule is the default: the sets of rows are equal. */
export interface Equality {
  /** `ignore`: rows may come in any order (default). Columns are always in order, their names never matter. */
  readonly order?: 'ignore' | 'strict'
  /** `ignore`: a row counts once, however often it comes (default). */
  readonly duplicates?: 'ignore' | 'count'
}

/** A value as `node:sqlite` reads it. Text that is not valid UTF-8 has U+FFFD in place of the bad bytes. */
export type Value = null | bigint | number | string | Uint8Array

export type Result =
  /** Two results are equal exactly if their digests are. `preview`: the first rows as text; `rows` counts all that came. */
  | { readonly kind: 'rows'; readonly rows: number; readonly digest: string; readonly preview: readonly string[] }
  /** One line on why there is no result. `why`: wrong SQL, not a single SELECT, time limit, too much output, process died. */
  | { readonly kind: 'error'; readonly why: 'sql' | 'refused' | 'time' | 'size' | 'crash'; readonly message: string }

/**
 * A row as text; two rows have the same text exactly if their values are equal as Python compares them: 1 = 1.0, integers
 * exact to 64 bits, 0.0 = -0.0, NULL = NULL, blobs by bytes, no text equal to a number.
 */
export function rowKey(row: readonly Value[]): string {
  let key = ''
  for (const value of row) key += valueKey(value)
  return key
}

/** Every form ends itself, so a row can't be read as another row with its cells cut elsewhere. */
function valueKey(value: Value): string {
  if (value === null) return 'n'
  if (typeof value === 'string') return `"${value.length}:${value}`
  if (typeof value === 'bigint') return `${value};`
  if (typeof value === 'number')
    return Number.isInteger(value) && !Number.isSafeInteger(value) ? `${BigInt(value)};` : `${value};`
  return `x${Buffer.from(value).toString('hex')};`
}

/**
 * Digest of rows' keys. Where order does not matter it is the sum of a 128-bit hash of each row, which needs no sorting: two
 * different results meet by chance once in 10^38.
 */
export function digest(keys: readonly string[], order: 'ignore' | 'strict' = 'ignore'): string {
  if (order === 'strict') return hash('sha256', keys.join('|'), 'base64url') // no value starts with a bar
  const sum = new Uint32Array(4)
  for (const key of keys) addHash(sum, key)
  return sum.join('.')
}

/** Adds the hash of a text to a sum, each lane modulo 2^32. Source: cyrb128, public domain. */
function addHash(sum: Uint32Array, text: string): void {
  let a = 1779033703
  let b = 3144134277 | 0
  let c = 1013904242
  let d = 2773480762 | 0
  for (let i = 0; i < text.length; i++) {
    const k = text.charCodeAt(i)
    a = b ^ Math.imul(a ^ k, 597399067)
    b = c ^ Math.imul(b ^ k, 2869860233)
    c = d ^ Math.imul(c ^ k, 951274213)
    d = a ^ Math.imul(d ^ k, 2716044179)
  }
  a = Math.imul(c ^ (a >>> 18), 597399067)
  b = Math.imul(d ^ (b >>> 22), 2869860233)
  c = Math.imul(a ^ (c >>> 17), 951274213)
  d = Math.imul(b ^ (d >>> 19), 2716044179)
  sum[0]! += a ^ b ^ c ^ d
  sum[1]! += b ^ a
  sum[2]! += c ^ a
  sum[3]! += d ^ a
}

/** A row for people and evolvers, each value and the row cut short. */
export function rowText(row: readonly Value[]): string {
  return cut(row.slice(0, 20).map(valueText).join(' | '), 200)
}

function valueText(value: Value): string {
  if (value === null) return 'NULL'
  if (typeof value === 'string') return `'${cut(value, 60)}'`
  if (value instanceof Uint8Array)
    return `x'${Buffer.from(value.subarray(0, 20)).toString('hex')}'${value.length > 20 ? '…' : ''}`
  return String(value)
}

/** At most `length` characters and a mark that there was more. */
export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text
}
