// Search strategies by name, and the ablations of the paper as lists of them.
import type { Method } from '../core/method.ts'
import { rng, shuffle } from '../core/rng.ts'
import { methodNamed } from '../method-named.ts'
import { parseSettings } from '../settings.ts'

/** A search strategy of a race. */
export interface Arm {
  readonly name: string
  method(): Promise<Method>
}

/** @throws {ConfigError} when it is made, if no method has that name. */
export function armOf(name: string, { explore }: { readonly explore?: number } = {}): Arm {
  const label = explore === undefined ? name : `${name} c=${explore}`
  return { name: label, method: () => methodNamed(name, parseSettings(explore === undefined ? {} : { explore })) }
}

/** LSE that shows the evolver the same batch whenever it edits the same node, as the paper's code does; the paper draws a fresh one. */
const stored: Arm = {
  name: 'lse, stored batch',
  async method() {
    const lse = await armOf('lse').method()
    return {
      ...lse,
      plan(s, o) {
        const plan = lse.plan(s, o)
        const order = shuffle(o.splits.train, rng(o.seed, plan.from[0] ?? 0, 'stored batch'))
        return { ...plan, batch: order.slice(0, o.batch) }
      },
    }
  },
}

/** What a search does differently, one thing at a time. Source: arXiv:2603.18620, ablations. */
export const ablations = {
  tree: ['lse', 'chain', 'best'].map((name) => armOf(name)),
  ucb: [0, 0.1, 0.5, 1, 2].map((explore) => armOf('lse', { explore })),
  batch: [armOf('lse'), stored],
} as const satisfies Readonly<Record<string, readonly Arm[]>>
export const ablationNames = Object.keys(ablations) as readonly (keyof typeof ablations)[] // its own keys

/** What is raced where nobody says otherwise. */
export const defaultMethods = ['lse', 'chain', 'best-of-n', 'gepa', 'textgrad'] as const
