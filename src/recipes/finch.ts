// Finch put together: its compact prompt with the parsers of the methods, and its scripted editors as evolvers.
import { type Context, violation } from '../core/context.ts'
import { checked, type Edit, type Evolver, type Writer } from '../core/evolver.ts'
import type { Message } from '../core/model.ts'
import { rng, seedOf } from '../core/rng.ts'
import { lineEdits } from '../methods/line-edits.ts'
import { lseWriter } from '../methods/lse.ts'
import { roughTokenizer } from '../options.ts'
import { type CompanyOptions, createCompany } from '../tasks/finch/company.ts'
import { demonstrate, type Format, perfectNotes, perfectText } from '../tasks/finch/editors.ts'
import { type ActorName, finch, part } from '../tasks/finch/parameters.ts'
import { policyPrompt } from '../tasks/finch/policy-prompt.ts'
import { observe } from '../tasks/finch/reward.ts'

/** What a small policy is asked and how its answer is read; `rewrite` = whole texts, as published. */
export function finchWriter(format: Format = 'lines'): Writer {
  if (format === 'lines') return { ...lineEdits({ write: policyPrompt, maxLines: finch.lines }), name: 'finch-lines' }
  return { ...lseWriter(), name: 'finch-rewrite', write: policyPrompt }
}

/** Why notes may not follow others, or undefined: what a search of the real task refuses too. */
export function finchViolation(before: Context, next: Context): string | undefined {
  return violation(before, next, { [part]: { maxTokens: finch.maxTokens } }, roughTokenizer)
}

/** The mediocre scripted editor that a policy is warm-started from. */
export function demonstrator({ seed = 0, format = 'lines' }: { seed?: number; format?: Format } = {}): Evolver {
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
  { actor, format = 'lines' }: { actor?: ActorName; format?: Format } = {},
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

/** What a policy is warm-started with. */
export interface Demonstration {
  readonly prompt: readonly Message[]
  readonly completions: readonly string[]
}

export interface DemonstrationOptions {
  readonly companies: readonly CompanyOptions[]
  readonly format?: Format
  readonly seed?: number
  /** Edits a company, each of the context that the one before left. */
  readonly edits?: number
  /** Completions a prompt; the first is followed. */
  readonly each?: number
}

/** The demonstrator at work on companies: prompts and what it wrote, valid or not. */
export function* demonstrations(options: DemonstrationOptions): Generator<Demonstration> {
  const { companies, format = 'lines', seed = 0, edits = 6, each = 1 } = options
  const writer = finchWriter(format)
  for (const of of companies) {
    using company = createCompany(of)
    let notes = company.notes
    for (let k = 0; k < edits; k++) {
      const observation = observe(company, notes, { seed: seedOf(seed, k) })
      const draw = rng('finch', 'demonstrations', company.name, seed, k)
      const completions = Array.from({ length: each }, () => demonstrate(observation, format, draw))
      yield { prompt: writer.write(observation), completions }
      const edit = writer.read(completions[0] ?? '', observation)
      if (edit.kind === 'edit') notes = String(edit.context[part])
    }
  }
}
