// BIRD (arXiv:2305.03111), its files as they are published: `<set>.json` and `<set>_databases/<db>/<db>.sqlite`, with a folder
// `database_description` of one CSV a table beside each database. One fixed database per task; the evidence is never shown.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { ConfigError } from '../../core/errors.ts'
import { type Row, readRows } from '../read.ts'
import { schemaOf } from './schema.ts'
import { type SqlOptions, type SqlTask, sqlTask } from './sql.ts'

export interface BirdOptions extends Omit<SqlOptions, 'database' | 'questions' | 'schema'> {
  /** Folder that holds `dev.json` (or `.jsonl`) and `dev_databases`. */
  readonly folder: string
  /** The database, such as `card_games`. */
  readonly db: string
  /** Default `dev`. */
  readonly set?: 'dev' | 'train'
  /** Whether the schema text says what each column means, from `database_description`. Default false, as in the paper's prompt. */
  readonly descriptions?: boolean
}

/** BIRD's questions on one database. @throws {ConfigError} naming the file or folder that is missing. */
export async function birdTask(options: BirdOptions): Promise<SqlTask> {
  const { folder, db, set = 'dev', descriptions = false } = options
  const database = join(folder, `${set}_databases`, db, `${db}.sqlite`)
  if (!existsSync(database)) throw new ConfigError(`${database}: no such file; BIRD's databases come with its own download`)
  const columns = descriptions ? await describedColumns(join(folder, `${set}_databases`, db, 'database_description')) : []
  const schema = [schemaOf(database), ...columns].join('\n')
  const questions = await birdQuestions(folder, set)
  return sqlTask({ name: `bird:${db}`, ...options, database, questions, schema })
}

/** The rows of `<set>.json` or `<set>.jsonl`. */
export async function birdQuestions(folder: string, set: 'dev' | 'train' = 'dev'): Promise<readonly Row[]> {
  const file = [`${set}.json`, `${set}.jsonl`].map((name) => join(folder, name)).find((path) => existsSync(path))
  if (!file) throw new ConfigError(`${join(folder, `${set}.json`)}: no such file; give the folder that holds BIRD's questions`)
  return readRows(file)
}

/** One line a column that has a description. Some of BIRD's CSV files are Windows-1252, not UTF-8. */
async function describedColumns(folder: string): Promise<readonly string[]> {
  if (!existsSync(folder)) throw new ConfigError(`${folder}: no such folder; leave descriptions out`)
  const { parse } = await import('csv-parse/sync')
  return readdirSync(folder)
    .filter((file) => file.endsWith('.csv'))
    .sort()
    .flatMap((file) => {
      const rows = parse<Record<string, string>>(decoded(readFileSync(join(folder, file))), {
        columns: true,
        bom: true,
        relax_column_count: true,
        skip_empty_lines: true,
      })
      return rows.flatMap((row) => describedColumn(basename(file, '.csv'), row))
    })
}

function describedColumn(table: string, row: Record<string, string>): readonly string[] {
  const says = [row.column_description, row.value_description].map((text) => text?.trim().replace(/\s+/g, ' ')).filter(Boolean)
  return says.length ? [`-- ${table}.${row.original_column_name?.trim()}: ${says.join('; ')}`] : []
}

function decoded(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return new TextDecoder('windows-1252').decode(bytes)
  }
}
