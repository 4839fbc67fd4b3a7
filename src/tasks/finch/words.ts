// The words of Finch's companies and the SQL that they may mean: one vocabulary for all domains. Which word may mean what is divided
// among the three sets, so that no pair of a word and a meaning occurs in two of them.
import { rng, shuffle } from '../../core/rng.ts'
import { type Domain, type Kind, kinds, type SetName } from './domains.ts'
import { finch } from './parameters.ts'

/** Adjectives; each and its neighbour are near in meaning, so that a careless reader takes one for the other. */
const pairs: Readonly<Record<Kind, string>> = {
  people:
    'active engaged,loyal regular,big major,local nearby,new recent,lapsed dormant,trusted reliable,young junior,risky doubtful,premium valued',
  events:
    'late overdue,open pending,large bulky,urgent rushed,cheap small,disputed contested,repeat routine,complete settled,odd unusual,early prompt',
  items:
    'popular favoured,scarce rare,heavy weighty,costly pricey,fresh current,obsolete dated,standard ordinary,fragile delicate',
}

/** Conditions on the columns that every company's tables of a kind have. */
export const fragmentsOf: Readonly<Record<Kind, readonly string[]>> = {
  people: [
    "joined < '2023-01-01'",
    "joined >= '2025-01-01'",
    "seen >= '2026-06-01'",
    "seen < '2026-01-01'",
    'visits >= 6',
    'visits < 3',
    'points > 400',
    'spent > 900',
    'spent < 300',
    'age < 35',
    'opted = 1',
    "tier = 'gold'",
  ],
  events: [
    "status = 'held'",
    "status <> 'done'",
    'amount > 250',
    'amount < 120',
    'units >= 6',
    'units <= 2',
    'days > 5',
    'days <= 2',
    'rating <= 2',
    'rating = 5',
    "channel = 'phone'",
    'discount > 0',
  ],
  items: [
    'price > 60',
    'price < 25',
    'stock < 10',
    'stock >= 30',
    'weight > 12',
    'weight < 5',
    "released >= '2025-01-01'",
    "released < '2022-01-01'",
    "grade = 'A'",
    "grade <> 'C'",
    'sold > 120',
    'sold < 40',
  ],
}

export interface Word {
  readonly text: string
  readonly kind: Kind
  /** The word next to it in meaning. */
  readonly near: string
}

export const words: ReadonlyMap<string, Word> = new Map(
  kinds.flatMap((kind) =>
    pairs[kind].split(',').flatMap((pair) => {
      const [a, b] = pair.split(' ') as [string, string] // written in pairs above
      return [[a, { text: a, kind, near: b }] as const, [b, { text: b, kind, near: a }] as const]
    }),
  ),
)

export const fragments: readonly string[] = kinds.flatMap((kind) => fragmentsOf[kind])

/** Half of a word's meanings are for training, a quarter each for dev and report. */
const share: Readonly<Record<SetName, readonly [from: number, to: number]>> = { train: [0, 6], dev: [6, 9], report: [9, 12] }

/** What a word may mean in a set. */
export function meaningsIn(set: SetName, word: Word): readonly string[] {
  return shuffle(fragmentsOf[word.kind], rng('finch', 'meanings', word.text)).slice(...share[set])
}

const plausibles = new Map<string, readonly string[]>()

/** What one could think that a word means in a domain. */
export function plausible(domain: Domain, word: Word): readonly string[] {
  const key = `${domain.name} ${word.text}`
  const known = plausibles.get(key)
  if (known) return known
  const few = shuffle(meaningsIn(domain.set, word), rng('finch', 'plausible', key)).slice(0, finch.plausible)
  plausibles.set(key, few)
  return few
}
