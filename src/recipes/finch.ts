// Finch put together: its compact prompt with the parsers of the methods, and its scripted editors as evolvers.
import { checked, type Edit, type Evolver, type Writer } from '../core/evolver.ts'
import { rng } from '../core/rng.ts'
import { lineEdits } from '../methods/line-edits.ts'
import { lseWriter } from '../methods/lse.ts'
import { type CompanyOptions, createCompany } from '../tasks/finch/company.ts'
import { demonstrate, type Format, perfectNotes, perfectText } from '../tasks/finch/editors.ts'
import { type ActorName, finch } from '../tasks/finch/parameters.ts'
import { policyPrompt } from '../tasks/finch/policy-prompt.ts'

/** What a small policy is asked and how its answer is read; `rewrite` = whole texts, as published. */
export function finchWriter(format: Format = 'edits'): Writer {
  if (format === 'edits') return { ...lineEdits({ write: policyPrompt, maxLines: finch.lines }), name: 'finch-edits' }
  return { ...lseWriter(), name: 'finch-rewrite', write: policyPrompt }
}

/** The mediocre scripted editor that a policy is warm-started from. */
export function demonstrator({ seed = 0, format = 'edits' }: { seed?: number; format?: Format } = {}): Evolver {
  const writer = finchWriter(format)
  return {
    name: 'simulated:finch-demonstrator',
    async propose(observation, call): Promise<Edit> {
      const completion = demonstrate(observation, format, rng('finch', 'demonstrator', seed, call.seed))
      return checked(writer.read(completion, observation), call.check)
    },
  }
}

/** The editor that knows a company's conventions and its actor. */
export function perfectEditor(
  of: CompanyOptions,
  { actor, format = 'edits' }: { actor?: ActorName; format?: Format } = {},
): Evolver {
  const writer = finchWriter(format)
  using company = createCompany(of)
  const notes = perfectNotes(company, actor)
  return {
    name: 'simulated:finch-perfect',
    async propose(observation, call): Promise<Edit> {
      return checked(writer.read(perfectText(observation, format, notes), observation), call.check)
    },
  }
}
