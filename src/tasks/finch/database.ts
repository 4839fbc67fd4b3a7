// A company's database: two to four tables, filled by chance from a seed.
import { DatabaseSync } from 'node:sqlite'
import { rng } from '../../core/rng.ts'
import { digest, type Result, rowKey, rowText, type Value } from '../sql/result.ts'
import type { Domain } from './domains.ts'
import { finch } from './parameters.ts'

export const cities = ['Lyon', 'Turin', 'Basel', 'Ghent', 'Porto'] as const

/** CREATE statements of a domain. */
export function schemaSql({ people, events, items, places }: Domain): string {
  const links = [
    `${people}_id INTEGER REFERENCES ${people}(id)`,
    ...(items === undefined ? [] : [`${items}_id INTEGER REFERENCES ${items}(id)`]),
    ...(places === undefined ? [] : [`${places}_id INTEGER REFERENCES ${places}(id)`]),
  ].join(', ')
  return [
    `CREATE TABLE ${people} (id INTEGER PRIMARY KEY, name TEXT, city TEXT, joined TEXT, seen TEXT, visits INTEGER, points INTEGER, spent REAL, age INTEGER, opted INTEGER, tier TEXT);`,
    ...(items === undefined
      ? []
      : [
          `CREATE TABLE ${items} (id INTEGER PRIMARY KEY, title TEXT, price REAL, stock INTEGER, weight INTEGER, released TEXT, grade TEXT, sold INTEGER);`,
        ]),
    ...(places === undefined ? [] : [`CREATE TABLE ${places} (id INTEGER PRIMARY KEY, place TEXT);`]),
    `CREATE TABLE ${events} (id INTEGER PRIMARY KEY, ${links}, placed TEXT, status TEXT, amount REAL, units INTEGER, days INTEGER, rating INTEGER, channel TEXT, discount INTEGER);`,
  ].join('\n')
}

/** Makes tables and rows in an open, empty database. */
export function fill(db: DatabaseSync, domain: Domain, seed: number): void {
  const draw = rng('finch', 'rows', domain.name, seed)
  const whole = (below: number): number => Math.floor(draw() * below)
  const pick = <T>(values: readonly T[]): T => values[whole(values.length)]!
  const two = (n: number): string => String(n).padStart(2, '0')
  const day = (from: number, to: number): string => `${from + whole(to - from + 1)}-${two(1 + whole(12))}-${two(1 + whole(28))}`
  const money = (below: number): number => whole(below * 100) / 100
  const insert = (table: string, count: number, row: (id: number) => readonly (string | number)[]): void => {
    const rows = Array.from({ length: count }, (_, i) => [i + 1, ...row(i + 1)])
    const statement = db.prepare(`INSERT INTO ${table} VALUES (${rows[0]!.map(() => '?').join(', ')})`)
    for (const values of rows) statement.run(...values)
  }
  const { people, events, items, places } = domain
  db.exec(schemaSql(domain))
  db.exec('BEGIN')
  insert(people, finch.rows.people, (id) => [
    ...[`Person ${id}`, pick(cities), day(2021, 2026), day(2025, 2026), whole(12), whole(800), money(1600)],
    ...[18 + whole(50), Number(draw() < 0.4), pick(['gold', 'silver', 'basic'])],
  ])
  if (items !== undefined) {
    insert(items, finch.rows.items, (id) => [
      ...[`Title ${id}`, money(100), whole(50), 1 + whole(20), day(2019, 2026), pick(['A', 'B', 'C']), whole(200)],
    ])
  }
  if (places !== undefined) insert(places, finch.rows.places, (id) => [`Place ${id}`])
  insert(events, finch.rows.events, () => [
    1 + whole(finch.rows.people),
    ...(items === undefined ? [] : [1 + whole(finch.rows.items)]),
    ...(places === undefined ? [] : [1 + whole(finch.rows.places)]),
    ...[day(2025, 2026), pick(['new', 'held', 'done', 'done', 'void']), money(400), 1 + whole(9), whole(10), 1 + whole(5)],
    ...[pick(['web', 'phone', 'desk']), draw() < 0.4 ? 5 * (1 + whole(4)) : 0],
  ])
  db.exec('COMMIT')
}

/** Writes a company's database to a new file. */
export function writeDatabase(file: string, domain: Domain, seed: number): void {
  using db = new DatabaseSync(file)
  fill(db, domain, seed)
}

/** A company's database in memory. */
export function openDatabase(domain: Domain, seed: number): DatabaseSync {
  const db = new DatabaseSync(':memory:', { returnArrays: true })
  fill(db, domain, seed)
  return db
}

/** Runs SQL of our own making in this process: the same result as the sandbox gives. */
export function execute(db: DatabaseSync, sql: string): Result {
  try {
    const rows = db.prepare(sql).all() as unknown as readonly Value[][] // with `returnArrays` each row is an array
    const keys = [...new Set(rows.map(rowKey))]
    return { kind: 'rows', rows: rows.length, digest: digest(keys), preview: rows.slice(0, 5).map(rowText) }
  } catch (cause) {
    return { kind: 'error', why: 'sql', message: cause instanceof Error ? cause.message : String(cause) }
  }
}
