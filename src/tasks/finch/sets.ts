// Companies by the number, for training, for development and for tables. What is in one set is unseen in the others: domains, seeds, and
// every pair of a word and what it means or may be thought to mean.
import { seedOf } from '../../core/rng.ts'
import type { CompanyOptions } from './company.ts'
import { domainsIn, type SetName } from './domains.ts'

/** `count` companies of a set, its domains in turn. */
export function companiesIn(set: SetName, count: number, seed = 0): readonly (CompanyOptions & { readonly domain: string })[] {
  const domains = domainsIn(set)
  return Array.from({ length: count }, (_, i) => ({
    set,
    seed: seedOf('finch', set, seed, i),
    domain: domains[i % domains.length]!.name,
  }))
}
