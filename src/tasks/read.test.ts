import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ConfigError } from '../core/errors.ts'
import { checkSplits, examples, loadSplits, type Row, readRows, type Splits, splitRows } from './read.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamarck-read-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function file(name: string, content: string | Uint8Array): Promise<string> {
  await writeFile(join(folder, name), content)
  return join(folder, name)
}

// Two rows (id int64, input text, tags list, n double) written by pyarrow 26.0.1 with zstd.
const parquet =
  'UEFSMRUEFSAVJEwVBBUAEgAAKLUv/SAQTQAAGAEAEAEAB8ACFQAVEhUkLBUEFRAVBhUGHAAAACi1L/0gCUkAAAIAAAAEAQEDAhUEFRQVJkwVBBUAEgAAKLUv/SAKUQAAAQAAAGEBAAAAYhUAFRIVJCwVBBUQFQYVBhwAAAAotS/9IAlJAAACAAAABAEBAwIVBBUKFRxMFQIVABIAACi1L/0gBSkAAAEAAAB4FQAVIBUyLBUEFRAVBhUGHAAAACi1L/0gEIEAAAIAAAAEAAMAAAADBwABAgAVBBUQFSJMFQIVABIAACi1L/0gCEEAAAAAAAAAAOA/FQAVEhUkLBUEFRAVBhUGHAAAACi1L/0gCUkAAAIAAAADAQECABUEGXw1ABgGc2NoZW1hFQgAFQQlAhgCaWQAFQwlAhgFaW5wdXQlAEwcAAAANQIYBHRhZ3MVAhUGTDwAAAA1BBgEbGlzdBUCABUMJQIYB2VsZW1lbnQlAEwcAAAAFQolAhgBbgAWBBkcGUwmABwVBBk1AAYQGRgCaWQVDBYEFnQWigEmSCYIKSwVBBUAFQIAFQAVEBUCADwpBhkmAAQAAAAmABwVDBk1AAYQGRgFaW5wdXQVDBYEFmgWjAEm1AEmkgEpLBUEFQAVAgAVABUQFQIAPBYEGQYZJgAEAAAAJgAcFQwZNQAGEBk4BHRhZ3MEbGlzdAdlbGVtZW50FQwWBBZsFpABJtYCJp4CKSwVBBUAFQIAFQAVEBUCADwWAhkmBAAZRgACAAIAAAAmABwVChk1AAYQGRgBbhUMFgQWZBaIASbsAyauAyksFQQVABUCABUAFRAVAgA8KQYZJgICAAAAFqwDFgQmCBauBAAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGUwcAAAcAAAcAAAcAAAAnQEAAFBBUjE='

test('jsonl, json, csv, gz and parquet give the same kind of rows', async () => {
  const rows = [{ input: 'é, "a"' }, { input: 'b' }]
  const jsonl = rows.map((row) => JSON.stringify(row)).join('\r\n')
  expect(await readRows(await file('a.jsonl', `\ufeff${jsonl}\n\n`))).toEqual(rows)
  expect(await readRows(await file('a.jsonl.gz', gzipSync(jsonl)))).toEqual(rows)
  expect(await readRows(await file('a.json', JSON.stringify(rows)))).toEqual(rows)
  expect(await readRows(await file('a.csv', '\ufeffinput\n"é, ""a"""\nb\n'))).toEqual(rows)
  expect(await readRows(await file('a.parquet', Buffer.from(parquet, 'base64')))).toEqual([
    { id: 1, input: 'a', tags: ['x'], n: 0.5 },
    { id: '1152921504606846976', input: 'b', tags: [], n: null },
  ])
})

test.each([
  ['missing.jsonl', undefined, /missing\.jsonl: no such file; check the path$/],
  ['rows.xlsx', 'x', /rows\.xlsx: not a kind of data file that can be read \(have: \.jsonl/],
  ['empty.jsonl', '', /empty\.jsonl: the file is empty/],
  ['blank.jsonl', '\n \n', /blank\.jsonl: no rows; give it one example a row/],
  ['cut.jsonl', '{"a":1}\n{"a":', /cut\.jsonl:2: not JSON: "\{\\"a\\":"; each line must be one JSON object$/],
  ['list.jsonl', '{"a":1}\n\n[1]', /list\.jsonl:3: must be an object with named fields, got \[1\]$/],
  ['latin.jsonl', Buffer.from('{"a":1}\n{"a":"caf\xe9"}', 'latin1'), /latin\.jsonl:2: not UTF-8; save the file as UTF-8/],
  ['object.json', '{"rows":[]}', /object\.json: must be one array of objects, got \{"rows":\[\]\}/],
  ['broken.json', '[{"a":1},', /broken\.json: not JSON \(.*\); it must be one array of objects/],
  ['none.json', '[]', /none\.json: no rows/],
  ['items.json', '[{"a":1},null]', /items\.json: item 2: must be an object with named fields, got null/],
  ['ragged.csv', 'a,b\n1,2\n3\n', /ragged\.csv:3: .*; every row needs as many values/],
  ['quote.csv', 'a,b\n"1,2\n', /quote\.csv:\d+: .*[Qq]uote/],
  ['twice.csv', 'a,a\n1,2\n', /twice\.csv:1: the column name "a" is there twice/],
  ['unnamed.csv', 'a,\n1,2\n', /unnamed\.csv:1: the column name "" is empty/],
  ['header.csv', 'a,b\n', /header\.csv: no rows/],
  ['text.parquet', 'not parquet at all', /text\.parquet: unreadable parquet/],
  ['cut.parquet', Buffer.from(parquet, 'base64').subarray(0, 300), /cut\.parquet: unreadable parquet/],
  ['plain.jsonl.gz', '{"a":1}', /plain\.jsonl\.gz: not a whole gzip file/],
])('%s is refused in one line with the remedy', async (name, content, message) => {
  const path = content === undefined ? join(folder, name) : await file(name, content)
  const refused = await readRows(path).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(refused).toBeInstanceOf(ConfigError)
  expect(refused instanceof Error && refused.message).toMatch(message)
  expect(refused instanceof Error && refused.message).not.toContain('\n')
})

test('a folder is refused by name', async () => {
  await expect(readRows(`${folder}/../${folder.split('/').at(-1)}/.jsonl`)).rejects.toThrow(ConfigError)
})

test('an example keeps its id as text, or is named by its row', () => {
  expect(examples([{ id: 7 }, { a: 1 }, { id: '' }]).map((e) => e.id)).toEqual(['7', 'r2', 'r3'])
})

test.each<[string, readonly Row[], RegExp]>([
  ['the same id twice', [{ id: 'a' }, { b: 1 }, { id: 'a' }], /x\.jsonl: rows 1 and 3 both have the id "a"/],
  ['a number and its text', [{ id: 1 }, { id: '1' }], /rows 1 and 2 both have the id "1"/],
  ['an id that is the name of another row', [{ id: 'r2' }, {}], /rows 1 and 2 both have the id "r2"/],
  ['an id that is a list', [{ id: [1] }], /row 1 has the id \[1\]; an id is a text or a number/],
])('%s is refused', (_, rows, message) => {
  expect(() => examples(rows, 'x.jsonl')).toThrow(message)
})

const rowsOfText = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 6 }), { minLength: 12, maxLength: 60 })

test('splits are a partition that depends on the seed and not on the order of the rows', () => {
  fc.assert(
    fc.property(rowsOfText, fc.integer({ min: 0, max: 99 }), (texts, seed) => {
      const rows = texts.map((text, i) => ({ id: `x${i}`, input: text }))
      const one = splitRows(rows, { seed })
      const ids = (split: readonly Row[]): readonly unknown[] => split.map((row) => row.id).sort()
      expect(ids([...one.train, ...one.holdout, ...one.test])).toEqual(ids(rows))
      const two = splitRows(rows.toReversed(), { seed })
      for (const split of ['train', 'holdout', 'test'] as const) expect(ids(two[split])).toEqual(ids(one[split]))
    }),
    { seed: 1 },
  )
  const rows = Array.from({ length: 50 }, (_, i) => ({ input: `${i}` }))
  expect(splitRows(rows, { seed: 1 }).train).not.toEqual(splitRows(rows, { seed: 2 }).train)
})

test('rows of one group land in one split, and each split is within one group of its fraction', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 30, maxLength: 200 }), fc.integer(), (groups, seed) => {
      const rows = groups.map((group, i) => ({ id: `${i}`, group, input: `${i}` }))
      const splits = splitRows(rows, { seed, groupBy: 'group' })
      const largest = Math.max(...groups.map((g) => groups.filter((other) => other === g).length))
      const seen = new Map<number, string>()
      for (const [name, fraction] of [
        ['train', 0.3],
        ['holdout', 0.3],
        ['test', 0.4],
      ] as const) {
        expect(Math.abs(splits[name].length - fraction * rows.length)).toBeLessThanOrEqual(largest)
        for (const row of splits[name]) {
          expect(seen.get(row.group) ?? name).toBe(name)
          seen.set(row.group, name)
        }
      }
    }),
    { seed: 2 },
  )
})

test('the same question with other white space is never in two splits', () => {
  const rows = Array.from({ length: 60 }, (_, i) => ({ id: `${i}`, question: i % 2 ? ` which  ${i >> 1}?` : `which ${i >> 1}?` }))
  const splits = splitRows(rows)
  const where = new Map(Object.entries(splits).flatMap(([name, split]) => split.map((row) => [row.id, name])))
  for (let i = 0; i < 60; i += 2) expect(where.get(`${i}`)).toBe(where.get(`${i + 1}`))
})

test('the holdout stops at 200 problems and train takes the rest', () => {
  const { train, holdout, test } = splitRows(Array.from({ length: 2000 }, (_, i) => ({ input: `${i}` })))
  expect([train.length, holdout.length, test.length]).toEqual([1000, 200, 800])
})

test.each([
  [{ fractions: { train: 0.5, holdout: 0.5, test: 0.5 } }, /sum to 1, got train 0\.5/],
  [{ fractions: { train: 1, holdout: 0, test: 0 } }, /above 0/],
  [{ fractions: { train: Number.NaN, holdout: 0.5, test: 0.5 } }, /above 0/],
  [{ groupBy: 'topic' }, /row 1 has no field "topic" to group by \(has: input\)/],
])('split options %j are refused', (options, message) => {
  expect(() => splitRows([{ input: 'a' }], options)).toThrow(message)
})

const one = (id: string, input = id): Splits['train'] => [{ id, input }]

test.each<[string, Splits, RegExp]>([
  ['an empty split', { train: one('a'), holdout: [], test: one('c') }, /the holdout split is empty/],
  ['an empty ood split', { train: one('a'), holdout: one('b'), test: one('c'), ood: [] }, /the ood split is empty/],
  ['an id in two splits', { train: one('a'), holdout: one('b'), test: one('a', 'z') }, /the id "a" is in train and test/],
  [
    'a problem in two splits',
    { train: one('a', 'x'), holdout: one('b'), test: one('c', 'x') },
    /"a" of train and "c" of test are the same problem/,
  ],
])('%s is refused', (_, splits, message) => {
  expect(() => checkSplits(splits)).toThrow(message)
})

test('given splits are taken as they are, files and rows alike', async () => {
  const train = await file('train.jsonl', '{"input":"a"}\n{"input":"b"}')
  const splits = await loadSplits({ train, holdout: [{ input: 'c' }], test: [{ input: 'd' }], ood: [{ input: 'e' }] })
  expect(Object.values(splits).flatMap((split: Splits['train']) => split.map((e) => e.id))).toEqual([
    'train-r1',
    'train-r2',
    'holdout-r1',
    'test-r1',
    'ood-r1',
  ])
})

test('two rows can not make three splits', async () => {
  await expect(loadSplits([{ input: 'a' }, { input: 'b' }])).rejects.toThrow(
    'the test split is empty; give it examples, or more rows to split',
  )
})
