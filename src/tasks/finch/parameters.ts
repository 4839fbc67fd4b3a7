// Every number of Finch in one frozen object. Result files carry its hash; a change re-runs all tables (docs/finch.md).

/** How an actor reads its context and errs. Shares are probabilities a word. */
export interface Temper {
  /** A rule is followed, in a context of at most `span` lines. */
  readonly attend: number
  /** Lines it reads with full attention. */
  readonly span: number
  /** Attention left for each line over the span. */
  readonly fade: number
  /** Attention left where rules for one word say different things. */
  readonly contradicted: number
  /** A word without a rule takes the rule of the word next to it in meaning. */
  readonly confuse: number
  /** At temperature 1: another guess than the favourite one. */
  readonly stray: number
  /** At temperature 1: any of the plausible meanings, whatever the context says. */
  readonly slip: number
}

export const finch = Object.freeze({
  version: 1,
  /** Rows a table. */
  rows: { people: 60, events: 160, items: 40, places: 8 },
  /** Words of a company that have a meaning of its own. */
  conventions: 24,
  /** Meanings that one could think of, a word. */
  plausible: 3,
  /** The k-th word of a company is used in proportion to k ** -zipf. */
  zipf: 0.7,
  /** Shares of questions with one, two and three words. */
  words: [0.5, 0.4, 0.1],
  /** Share of questions about a year or a city only. */
  narrowed: 0.5,
  questions: { train: 200, holdout: 50, test: 100 },
  /** Share of train and holdout questions whose gold takes one word in another meaning; test golds are right. */
  wrongGold: 0.06,
  /** Lines of the seed context: left by somebody, each right with this share. */
  stale: { lines: 2, right: 0.3 },
  /** Most lines of the context. */
  lines: 14,
  /** Tokens (bytes / 3) of the context at most: `lines` of the longest kind fit. */
  maxTokens: 170,
  /** Of the action model, also where rewards are computed. Source: arXiv:2603.18620. */
  temperature: 0.7,
  actors: {
    'finch-actor': { attend: 0.96, span: 12, fade: 0.97, contradicted: 0.6, confuse: 0.5, stray: 0.2, slip: 0.06 },
    'finch-actor-2': { attend: 0.92, span: 10, fade: 0.98, contradicted: 0.5, confuse: 0.3, stray: 0.4, slip: 0.1 },
  } satisfies Readonly<Record<string, Temper>>,
  /** What the scripted editor that a policy is warm-started from does, a line or a word. */
  demonstrator: { drop: 0.12, rewrite: 0.5, add: 0.65, right: 0.55, invalid: 0.05 },
} as const)

export type ActorName = keyof typeof finch.actors
export const actorNames = Object.keys(finch.actors) as readonly ActorName[] // its own keys

/** The one part of a context in Finch: rules and remarks, one a line. */
export const part = 'notes'
