// English questions of one small grammar, the SQL of one under given meanings of its words, and the way back from text to question.
import { cities } from './database.ts'
import { type Domain, domains, type Kind, kinds } from './domains.ts'
import { remembered } from './remembered.ts'
import { type Word, words } from './words.ts'

/** What is asked about the rows that the words pick out: text around them, what to select, and about which kinds it can be asked. */
const asks = [
  { before: 'How many', after: 'are there?', about: kinds, select: () => 'COUNT(*)' },
  { before: 'Give the ids of', after: 'as a list.', about: kinds, select: (table: string) => `${table}.id` },
  { before: 'What is the total amount of', after: 'so far?', about: ['events'], select: () => 'ROUND(SUM(amount), 2)' },
  { before: 'What is the average age of', after: 'today?', about: ['people'], select: () => 'ROUND(AVG(age), 3)' },
  { before: 'What do', after: 'cost together?', about: ['items'], select: () => 'ROUND(SUM(price), 2)' },
  { before: 'Which places do', after: 'belong to?', about: ['events'], select: () => 'DISTINCT place' },
] as const satisfies readonly {
  before: string
  after: string
  about: readonly Kind[]
  select: (table: string) => string
}[]

const years = ['2025', '2026'] as const

/** A question before it is put into words. */
export interface Asked {
  readonly domain: Domain
  /** Index into the kinds of questions. */
  readonly ask: number
  /** At most two a kind, in the order they are read: of events, of people, of items. */
  readonly words: readonly Word[]
  /** Only so many: events of a year, or people of a city. */
  readonly only?: string
}

/** Which kinds of questions can be asked about rows of a kind. */
export function asksAbout(domain: Domain, kind: Kind): readonly number[] {
  return asks.flatMap((ask, i) => {
    const fits = (ask.about as readonly Kind[]).includes(kind) // each names some of the kinds
    return fits && (ask.before !== 'Which places do' || domain.places !== undefined) ? [i] : []
  })
}

/** What the rows of a question are: events as soon as two kinds are concerned. */
export function baseOf(asked: Pick<Asked, 'words'>): Kind {
  const about = new Set(asked.words.map((word) => word.kind))
  return about.size === 1 ? asked.words[0]!.kind : 'events'
}

/** What a question can be narrowed to, by what its rows are. */
export function onlys(base: Kind): readonly string[] {
  return base === 'events' ? years : base === 'people' ? cities : []
}

/** "How many late orders by loyal customers in 2025 are there?" */
export function questionText({ domain, ask, words: its, only }: Asked): string {
  const base = baseOf({ words: its })
  const phrase = (kind: Kind): string =>
    [...its.filter((word) => word.kind === kind).map((word) => word.text), domain[kind]].join(' ')
  const has = (kind: Kind): boolean => its.some((word) => word.kind === kind)
  const { before, after } = asks[ask]!
  return [
    before,
    phrase(base),
    ...(base === 'events' && has('people') ? [`by ${phrase('people')}`] : []),
    ...(base === 'events' && has('items') ? [`for ${phrase('items')}`] : []),
    ...(only === undefined ? [] : [`${base === 'people' ? 'from' : 'in'} ${only}`]),
    after,
  ].join(' ')
}

/** The query, each word taken to mean the fragment at its place. */
export function questionSql({ domain, ask, words: its, only }: Asked, meanings: readonly string[]): string {
  const base = baseOf({ words: its })
  const from = domain[base]!
  const { select, before } = asks[ask]!
  const joins = [
    ...(base === 'events' ? its.map((word) => word.kind).filter((kind) => kind !== 'events') : []).map((kind) => domain[kind]!),
    ...(before === 'Which places do' ? [domain.places!] : []),
  ]
  const joined = [...new Set(joins)].map((table) => ` JOIN ${table} ON ${table}.id = ${table}_id`).join('')
  const narrowed = only === undefined ? [] : [base === 'people' ? `city = '${only}'` : `placed LIKE '${only}%'`]
  return `SELECT ${select(from)} FROM ${from}${joined} WHERE ${[...meanings, ...narrowed].join(' AND ')}`
}

/** The question behind a text, if it is one of Finch's. */
export const readQuestion: (text: string) => Asked | undefined = remembered((text) => {
  const ask = asks.findIndex(({ before, after }) => text.startsWith(`${before} `) && text.endsWith(` ${after}`))
  if (ask < 0) return undefined
  const inner = text.slice(asks[ask]!.before.length, -asks[ask]!.after.length).trim().split(' ')
  const its = inner.flatMap((token) => words.get(token) ?? [])
  const domain = domains.find((d) => inner.some((token) => kinds.some((kind) => d[kind] === token)))
  if (!domain || its.length === 0) return undefined
  const at = Math.max(inner.lastIndexOf('in'), inner.lastIndexOf('from'))
  const only = at < 0 ? undefined : inner[at + 1]
  const asked = { domain, ask, words: its, ...(only !== undefined && { only }) }
  return questionText(asked) === text ? asked : undefined
})
