// What Finch is, as one number: parameters, words, domains and, through a sample, the programs that make companies of them.
import { hash } from 'node:crypto'
import { createCompany } from './company.ts'
import { domains, setNames } from './domains.ts'
import { actorNames, finch } from './parameters.ts'
import { expectedScore } from './reward.ts'
import { meaningsIn, words } from './words.ts'

let known: string | undefined

/** 16 hex digits that change with anything that could change a number of Finch: parameters, words, domains, questions, rewards. */
export function finchHash(): string {
  known ??= hash('sha256', JSON.stringify(everything())).slice(0, 16)
  return known
}

function everything(): unknown {
  using company = createCompany({ set: 'dev', seed: 1 })
  const { notes, conventions } = company
  return [
    finch,
    domains,
    setNames.map((set) => [...words.values()].map((word) => meaningsIn(set, word))),
    conventions,
    (['train', 'holdout', 'test'] as const).map((split) => company.problems(split).map((p) => [p.question, p.gold])),
    actorNames.map((actor) => expectedScore(company, notes, { actor }).toFixed(9)),
  ]
}
