// Rows from data files, examples from rows, and the three splits. Nothing here guesses or skips: a row that can't be read, an id
// given twice or a problem that is in two splits is the user's to fix, in one line.
import { isUtf8 } from 'node:buffer'
import { readFile } from 'node:fs/promises'
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { ConfigError } from '../core/errors.ts'
import { seedOf } from '../core/rng.ts'
import { type Example, type Split, splits as splitNames } from '../core/task.ts'

export type Row = Readonly<Record<string, unknown>>

/** A data file, or the rows themselves. */
export type Rows = string | readonly Row[]

/** One set of rows to be split, or the splits as given. */
export type Data = Rows | { readonly train: Rows; readonly holdout: Rows; readonly test: Rows; readonly ood?: Rows }

/** Examples of each split; `ood` is a second test from elsewhere. */
export interface Splits {
  readonly train: readonly Example[]
  readonly holdout: readonly Example[]
  readonly test: readonly Example[]
  readonly ood?: readonly Example[]
}

export interface SplitOptions {
  readonly seed?: number
  /** Shares of the rows, which sum to 1; default 0.3, 0.3, 0.4. */
  readonly fractions?: { readonly train: number; readonly holdout: number; readonly test: number }
  /** A field, or any key of a row: rows with the same key land in the same split. Default: the input text. */
  readonly groupBy?: string | ((row: Row) => string)
}

/** Problems beyond this many in the holdout steer the search no better than they teach it: they go to train. */
const holdoutCap = 200
/** Where the problem's own text usually is. */
export const inputFields: readonly string[] = ['input', 'question', 'prompt', 'text']

/** All examples of a task, checked: read, named, and split three ways where that is left to us. */
export async function loadSplits(data: Data, options: SplitOptions = {}): Promise<Splits> {
  if (typeof data !== 'string' && (typeof data !== 'object' || data === null))
    throw new ConfigError(`data is ${String(data)}: name a file, or give rows or { train, holdout, test }`)
  if (typeof data === 'string' || isRows(data)) {
    const named = examples(await rowsOf(data), typeof data === 'string' ? data : 'data')
    return checkSplits(splitRows(named, options))
  }
  const given: Partial<Record<Split, readonly Example[]>> = {}
  for (const split of splitNames) {
    const rows = data[split]
    if (rows === undefined && split !== 'ood')
      throw new ConfigError(`data has no "${split}" split: give train, holdout and test, or one file to be split`)
    if (rows !== undefined) given[split] = examples(await rowsOf(rows), typeof rows === 'string' ? rows : split, `${split}-r`)
  }
  const { train = [], holdout = [], test = [], ood } = given
  return checkSplits({ train, holdout, test, ...(ood && { ood }) })
}

/** Whether data are rows, and not the splits by name. */
export function isRows(data: Data): data is readonly Row[] {
  return Array.isArray(data)
}

async function rowsOf(rows: Rows): Promise<readonly Row[]> {
  return typeof rows === 'string' ? readRows(rows) : rows
}

/**
 * The rows of a .jsonl, .json (an array of objects), .csv (first line = names) or .parquet file; all but parquet also as .gz.
 * @throws {ConfigError} with file, line and remedy.
 */
export async function readRows(file: string): Promise<readonly Row[]> {
  const [, kind, gz] = /\.(jsonl|json|csv|parquet)(\.gz)?$/i.exec(file) ?? []
  if (!kind)
    throw new ConfigError(
      `${file}: not a kind of data file that can be read (have: .jsonl, .json, .csv, .parquet, and .gz of them)`,
    )
  const bytes = gz ? unpacked(file, await load(file)) : await load(file)
  if (bytes.length === 0) throw new ConfigError(`${file}: the file is empty; give it one example a row`)
  const rows = await readers[kind.toLowerCase() as keyof typeof readers](file, bytes) // as: the pattern lists the same four
  if (rows.length === 0) throw new ConfigError(`${file}: no rows; give it one example a row`)
  return rows
}

/** The bytes of a user's file. @throws {ConfigError} where it can't be read. */
export async function load(file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : cause
    if (code === 'ENOENT') throw new ConfigError(`${file}: no such file; check the path`, { cause })
    throw new ConfigError(`${file}: can't be read (${code}); it must be a file this user may read`, { cause })
  }
}

/** UTF-8 text without its byte order mark. @throws {ConfigError} naming the line that is not UTF-8. */
export function decoded(file: string, bytes: Uint8Array): string {
  if (isUtf8(bytes)) return new TextDecoder().decode(bytes)
  for (let line = 1, from = 0; ; line++) {
    const end = bytes.indexOf(0x0a, from)
    if (end < 0 || !isUtf8(bytes.subarray(from, end))) throw new ConfigError(`${file}:${line}: not UTF-8; save the file as UTF-8`)
    from = end + 1
  }
}

function unpacked(file: string, bytes: Buffer): Buffer {
  try {
    return gunzipSync(bytes)
  } catch (cause) {
    throw new ConfigError(`${file}: not a whole gzip file (${said(cause)}); pack it again, or unpack it and leave .gz out`, {
      cause,
    })
  }
}

const readers = { jsonl: readJsonl, json: readJson, csv: readCsv, parquet: readParquet }

function readJsonl(file: string, bytes: Buffer): readonly Row[] {
  return decoded(file, bytes)
    .split('\n')
    .flatMap((line, i) => (line.trim() === '' ? [] : [asRow(parseLine(line, `${file}:${i + 1}`), `${file}:${i + 1}`)]))
}

function parseLine(line: string, where: string): unknown {
  try {
    return JSON.parse(line)
  } catch (cause) {
    throw new ConfigError(`${where}: not JSON: ${short(line.trim())}; each line must be one JSON object`, { cause })
  }
}

function readJson(file: string, bytes: Buffer): readonly Row[] {
  let rows: unknown
  try {
    rows = JSON.parse(decoded(file, bytes))
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    throw new ConfigError(`${file}: not JSON (${said(cause)}); it must be one array of objects`, { cause })
  }
  if (!Array.isArray(rows)) throw new ConfigError(`${file}: must be one array of objects, got ${short(rows)}`)
  return rows.map((row, i) => asRow(row, `${file}: item ${i + 1}`))
}

async function readCsv(file: string, bytes: Buffer): Promise<readonly Row[]> {
  const { parse } = await import('csv-parse/sync')
  const names = (header: string[]): string[] => {
    const wrong = header.find((name, i) => name.trim() === '' || header.indexOf(name) !== i)
    if (wrong === undefined) return header
    throw new ConfigError(
      `${file}:1: the column name ${short(wrong)} is ${wrong.trim() ? 'there twice' : 'empty'}; name each column once`,
    )
  }
  const text = decoded(file, bytes)
  try {
    return parse(text, { columns: names, skip_empty_lines: true })
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    const line = cause instanceof Error && 'lines' in cause ? cause.lines : '?'
    throw new ConfigError(`${file}:${line}: ${said(cause)}; every row needs as many values as the first line has names`, {
      cause,
    })
  }
}

async function readParquet(file: string, bytes: Buffer): Promise<readonly Row[]> {
  const { parquetReadObjects } = await import('hyparquet')
  const compressors = {
    GZIP: (packed: Uint8Array) => gunzipSync(packed),
    BROTLI: (packed: Uint8Array) => brotliDecompressSync(packed),
    ZSTD: (packed: Uint8Array) => zstdDecompressSync(packed),
  }
  try {
    const rows = await parquetReadObjects({ file: new Uint8Array(bytes).buffer, compressors })
    return rows.map((row, i) => asRow(plain(row), `${file}: row ${i + 1}`))
  } catch (cause) {
    throw new ConfigError(`${file}: unreadable parquet (${said(cause)}); write it again, or as .jsonl`, { cause })
  }
}

/** Parquet values as JSON has them: whole numbers beyond 2^53 and dates become texts. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  if (value instanceof Date) return value.toISOString()
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return Array.from(value as Uint8Array, plain) // as: all typed arrays iterate alike
  if (Array.isArray(value)) return value.map(plain)
  if (value !== null && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]))
  return value
}

function asRow(row: unknown, where: string): Row {
  if (row !== null && typeof row === 'object' && !Array.isArray(row)) return row as Row // as: checked here
  throw new ConfigError(`${where}: must be an object with named fields, got ${short(row)}`)
}

/**
 * Rows with an id each: the row's own, else its number, `r1` first. `from` names the rows in messages.
 * @throws {ConfigError} when two rows have the same id.
 */
export function examples(rows: readonly Row[], from = 'data', prefix = 'r'): readonly Example[] {
  const seen = new Map<string, number>()
  return rows.map((row, i) => {
    const given = row.id ?? ''
    if (typeof given !== 'string' && typeof given !== 'number')
      throw new ConfigError(`${from}: row ${i + 1} has the id ${short(given)}; an id is a text or a number`)
    const id = given === '' ? `${prefix}${i + 1}` : String(given)
    if (!id.isWellFormed())
      throw new ConfigError(`${from}: row ${i + 1} has the id ${short(id)}, which is no well-formed Unicode`)
    const before = seen.get(id)
    if (before !== undefined)
      throw new ConfigError(`${from}: rows ${before} and ${i + 1} both have the id "${id}"; give each row its own, or none`)
    seen.set(id, i + 1)
    return { ...row, id }
  })
}

/**
 * Three splits by chance that depends on the seed and on what is in the rows, never on their order. Rows of one group stay
 * together; each split is within one group of its fraction, but the holdout stops growing at 200 and train takes the rest.
 */
export function splitRows<R extends Row>(
  rows: readonly R[],
  { seed = 0, fractions, groupBy }: SplitOptions = {},
): Record<'train' | 'holdout' | 'test', readonly R[]> {
  const { train, holdout, test } = fractions ?? { train: 0.3, holdout: 0.3, test: 0.4 }
  if (![train, holdout, test].every((f) => f > 0) || Math.abs(train + holdout + test - 1) > 1e-6) {
    throw new ConfigError(`split fractions must be above 0 and sum to 1, got train ${train}, holdout ${holdout}, test ${test}`)
  }
  const out: Record<'train' | 'holdout' | 'test', R[]> = { train: [], holdout: [], test: [] }
  let placed = 0
  for (const group of shuffledGroups(rows, seed, groupBy ?? inputOf)) {
    const at = (placed + 1e-9) / rows.length
    const split = at < train ? 'train' : at < train + holdout ? 'holdout' : 'test'
    out[split === 'holdout' && out.holdout.length >= holdoutCap ? 'train' : split].push(...group)
    placed += group.length
  }
  return out
}

function shuffledGroups<R extends Row>(
  rows: readonly R[],
  seed: number,
  groupBy: string | ((row: Row) => string),
): readonly R[][] {
  const groups = new Map<string, R[]>()
  rows.forEach((row, i) => {
    const key = typeof groupBy === 'string' ? fieldOf(row, groupBy, i) : groupBy(row)
    const group = groups.get(key)
    if (group) group.push(row)
    else groups.set(key, [row])
  })
  const keyed = [...groups].map(([key, group]) => ({ key, group, order: seedOf(seed, 'split', key) }))
  return keyed.sort((a, b) => a.order - b.order || (a.key < b.key ? -1 : 1)).map((k) => k.group)
}

function fieldOf(row: Row, field: string, i: number): string {
  const value = row[field]
  if (value === undefined || value === null)
    throw new ConfigError(`row ${i + 1} has no field "${field}" to group by (has: ${Object.keys(row).join(', ')})`)
  return JSON.stringify(value)
}

/** The problem's own text, white space apart; all of a row but its id where no field is known to hold it. */
function inputOf(row: Row): string {
  const field = inputFields.find((name) => typeof row[name] === 'string')
  return field ? String(row[field]).trim().replace(/\s+/g, ' ') : contentOf(row)
}

function contentOf({ id: _, ...rest }: Row): string {
  return JSON.stringify(Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The splits, if they are fit for an honest result. @throws {ConfigError} on an empty split, or an id or a problem that is in two. */
export function checkSplits<S extends Splits>(splits: S): S {
  const ids = new Map<string, Split>()
  const contents = new Map<string, { split: Split; id: string }>()
  for (const split of splitNames) {
    const all = splits[split]
    if (all?.length === 0) throw new ConfigError(`the ${split} split is empty; give it examples, or more rows to split`)
    for (const example of all ?? []) {
      const other = ids.get(example.id)
      if (other)
        throw new ConfigError(
          `the id "${example.id}" is in ${other === split ? `${split} twice` : `${other} and ${split}`}; ids must be unique over all splits`,
        )
      ids.set(example.id, split)
      const content = contentOf(example)
      const same = contents.get(content)
      if (same && same.split !== split) {
        throw new ConfigError(
          `"${same.id}" of ${same.split} and "${example.id}" of ${split} are the same problem; take one out, or give one file and let it be split`,
        )
      }
      contents.set(content, { split, id: example.id })
    }
  }
  return splits
}

/** A value for a message: JSON, cut after 60 characters. */
export function short(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

function said(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).replace(/\s+/g, ' ').slice(0, 160)
}
