// A small shop of our own making: a database, and questions whose words have meanings that only this shop knows. Used by `lamarck
// demo`; nothing of it is anybody's data.
import { DatabaseSync } from 'node:sqlite'
import { rng } from '../core/rng.ts'

/** What one of the shop's words means, and what one would guess. Each is a condition on `customers c` or `orders o`. */
export interface Convention {
  readonly word: string
  readonly table: 'customers' | 'orders'
  /** The shop's meaning first. */
  readonly meanings: readonly [string, ...string[]]
}

export const conventions: readonly Convention[] = [
  {
    word: 'active customers',
    table: 'customers',
    meanings: ["c.last_seen >= '2026-06-01'", "c.joined >= '2026-01-01'", 'c.newsletter = 1'],
  },
  { word: 'big spenders', table: 'customers', meanings: ['c.spent > 900', 'c.spent > 1500', 'c.orders_count > 8'] },
  {
    word: 'loyal customers',
    table: 'customers',
    meanings: ['c.orders_count >= 6', "c.joined < '2024-01-01'", 'c.newsletter = 1'],
  },
  {
    word: 'local customers',
    table: 'customers',
    meanings: ["c.city IN ('Lyon', 'Vienne')", "c.city = 'Lyon'", "c.country = 'FR'"],
  },
  { word: 'late orders', table: 'orders', meanings: ['o.days_to_ship > 5', 'o.days_to_ship > 3', "o.status = 'late'"] },
  {
    word: 'open orders',
    table: 'orders',
    meanings: ["o.status IN ('new', 'packed')", "o.status = 'new'", "o.status <> 'returned'"],
  },
  { word: 'large orders', table: 'orders', meanings: ['o.items >= 4', 'o.total > 200', 'o.items > 10'] },
  {
    word: 'refunded orders',
    table: 'orders',
    meanings: ["o.status = 'returned' AND o.total > 0", "o.status = 'returned'", 'o.total = 0'],
  },
]

const cities = ['Lyon', 'Vienne', 'Geneva', 'Turin', 'Annecy', 'Basel']
const countries: Readonly<Record<string, string>> = {
  Lyon: 'FR',
  Vienne: 'FR',
  Annecy: 'FR',
  Geneva: 'CH',
  Basel: 'CH',
  Turin: 'IT',
}
const channels = ['web', 'phone', 'store']

/** Writes the shop's database to a new file. */
export function buildShop(file: string): void {
  using db = new DatabaseSync(file)
  db.exec(`CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, city TEXT, country TEXT, joined TEXT, last_seen TEXT,
    newsletter INTEGER, orders_count INTEGER, spent REAL);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers(id), channel TEXT, status TEXT,
    items INTEGER, total REAL, days_to_ship INTEGER);`)
  const draw = rng('shop', 1)
  const pick = <T>(values: readonly T[]): T => values[Math.floor(draw() * values.length)]!
  const day = (from: number, to: number): string => {
    const month = 1 + Math.floor(draw() * 12)
    return `${from + Math.floor(draw() * (to - from + 1))}-${String(month).padStart(2, '0')}-${String(1 + Math.floor(draw() * 28)).padStart(2, '0')}`
  }
  const customer = db.prepare('INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)')
  const order = db.prepare('INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)')
  db.exec('BEGIN')
  for (let id = 1; id <= 240; id++) {
    const city = pick(cities)
    const spent = Math.round(draw() * 200_000) / 100
    customer.run(
      id,
      `Customer ${id}`,
      city,
      countries[city]!,
      day(2021, 2026),
      day(2025, 2026),
      Number(draw() < 0.4),
      Math.floor(draw() * 14),
      spent,
    )
  }
  for (let id = 1; id <= 700; id++) {
    const total = draw() < 0.1 ? 0 : Math.round(draw() * 40_000) / 100
    const items = 1 + Math.floor(draw() * 12)
    order.run(
      id,
      1 + Math.floor(draw() * 240),
      pick(channels),
      pick(['new', 'packed', 'sent', 'late', 'returned']),
      items,
      total,
      Math.floor(draw() * 10),
    )
  }
  db.exec('COMMIT')
}

export interface Question extends Readonly<Record<string, unknown>> {
  readonly id: string
  readonly db_id: 'shop'
  readonly question: string
  readonly SQL: string
}

const customerAsks = [
  ...cities.map((city) => ({
    text: (w: string) => `How many ${w} are there in ${city}?`,
    select: 'SELECT COUNT(*)',
    where: `c.city = '${city}'`,
  })),
  { text: (w: string) => `How many ${w} do we have?`, select: 'SELECT COUNT(*)', where: '' },
  { text: (w: string) => `List the names of the ${w} from Switzerland.`, select: 'SELECT c.name', where: "c.country = 'CH'" },
  { text: (w: string) => `What have ${w} spent in total?`, select: 'SELECT ROUND(SUM(c.spent), 2)', where: '' },
  { text: (w: string) => `Which cities have ${w}?`, select: 'SELECT DISTINCT c.city', where: '' },
]
const orderAsks = [
  ...channels.map((ch) => ({
    text: (w: string) => `How many ${w} came in by ${ch}?`,
    select: 'SELECT COUNT(*)',
    where: `o.channel = '${ch}'`,
  })),
  { text: (w: string) => `How many ${w} are there?`, select: 'SELECT COUNT(*)', where: '' },
  { text: (w: string) => `What is the total value of ${w}?`, select: 'SELECT ROUND(SUM(o.total), 2)', where: '' },
  { text: (w: string) => `What is the average number of items in ${w}?`, select: 'SELECT ROUND(AVG(o.items), 3)', where: '' },
  { text: (w: string) => `Which customer ids have ${w}?`, select: 'SELECT DISTINCT o.customer_id', where: '' },
  { text: (w: string) => `What is the largest total among ${w}?`, select: 'SELECT MAX(o.total)', where: '' },
  { text: (w: string) => `How many ${w} have exactly one item?`, select: 'SELECT COUNT(*)', where: 'o.items = 1' },
]

/** SQL of a question under one meaning of its word. */
export function sqlOf(c: Convention, ask: { readonly select: string; readonly where: string }, meaning: string): string {
  const from = c.table === 'customers' ? 'customers c' : 'orders o'
  return `${ask.select} FROM ${from} WHERE ${[ask.where, meaning].filter(Boolean).join(' AND ')}`
}

/** The convention and the kind of question behind a text, if it is one of the shop's. */
export function understand(
  question: string,
): { readonly convention: Convention; readonly ask: { select: string; where: string } } | undefined {
  for (const convention of conventions) {
    const asks = convention.table === 'customers' ? customerAsks : orderAsks
    const ask = asks.find((a) => a.text(convention.word) === question)
    if (ask) return { convention, ask }
  }
  return undefined
}

/** Every question with its gold SQL. */
export function shopQuestions(): readonly Question[] {
  const all = conventions.flatMap((c) =>
    (c.table === 'customers' ? customerAsks : orderAsks).map((a) => ({
      question: a.text(c.word),
      SQL: sqlOf(c, a, c.meanings[0]),
    })),
  )
  return all.map((q, i) => ({ id: `shop-${i + 1}`, db_id: 'shop', ...q }))
}
