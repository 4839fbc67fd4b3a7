// The schema of a database as a prompt shows it: its CREATE statements and the first values of each column.
import { DatabaseSync } from 'node:sqlite'
import { ConfigError } from '../../core/errors.ts'
import { cut } from './result.ts'

const exampleRows = 2

/** CREATE statements of all tables and views, tables with example values a column. @throws {ConfigError} if the file can't be read. */
export function schemaOf(database: string): string {
  try {
    using db = new DatabaseSync(database, { readOnly: true, timeout: 5000 })
    const tables = db.prepare(
      "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )
    return tables
      .all()
      .map((table) => `${table.sql};\n${table.type === 'table' ? examplesOf(db, String(table.name)) : ''}`)
      .join('\n')
  } catch (cause) {
    throw new ConfigError(`cannot read database "${database}": ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}

function examplesOf(db: DatabaseSync, table: string): string {
  const statement = db.prepare(`SELECT * FROM "${table.replaceAll('"', '""')}" LIMIT ${exampleRows}`)
  statement.setReadBigInts(true)
  const rows = statement.all()
  return statement
    .columns()
    .map(({ name }) => `--   ${name} example: [${rows.map((row) => shown(row[name])).join(', ')}]\n`)
    .join('')
}

function shown(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'string') return JSON.stringify(cut(value, 60))
  return value instanceof Uint8Array ? `${value.length} bytes` : String(value)
}
