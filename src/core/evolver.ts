// What writes edits: any function of an observation, or a model with a writer's prompt and parser.
import type { Context } from './context.ts'
import type { Message, Model, Params } from './model.ts'
import type { Observation } from './observation.ts'

/** `memo` = what a method wants to find again in later rounds: a gradient, a reflection. */
export type Edit = (
  | { readonly kind: 'edit'; readonly context: Context; readonly completion: string; readonly copied?: readonly string[] }
  | { readonly kind: 'invalid'; readonly reason: string; readonly completion: string }
) & { readonly memo?: string }

/** Prompt and parser of an evolver. */
export interface Writer {
  readonly name: string
  write(observation: Observation): readonly Message[]
  read(completion: string, observation: Observation): Edit
}

export interface ProposeCall {
  /** Metered. */
  readonly model: Model
  /** Why a context may not follow the node, or undefined. */
  readonly check: (context: Context) => string | undefined
  readonly seed: number
  readonly signal: AbortSignal
}

export interface Evolver {
  readonly name: string
  /** Model calls that an edit takes from so many problems, where it is not one; for estimates. */
  readonly calls?: (problems: number) => number
  propose(observation: Observation, call: ProposeCall): Promise<Edit>
}

/** The paper's sampling for evolving. Training rollouts use temperature 1, top_p 1 and no penalty instead. */
export const evolveParams: Params = { maxTokens: 4096, temperature: 0.7, topP: 0.8, topK: 20, presencePenalty: 0.5 }

/** Asks a model with a writer's prompt; an invalid edit is asked again with its reason, `tries` times in all. */
export function evolver(writer: Writer, { params = evolveParams, tries = 3 }: { params?: Params; tries?: number } = {}): Evolver {
  return {
    name: writer.name,
    async propose(observation, { model, check, seed, signal }) {
      let messages = writer.write(observation)
      let edit: Edit = { kind: 'invalid', reason: 'never asked', completion: '' }
      for (let t = 0; t < tries; t++) {
        const [completion] = await model.sample(messages, { ...params, seed: seed + t }, signal)
        const text = completion?.text ?? ''
        edit = checked(writer.read(text, observation), check)
        if (edit.kind === 'edit') return edit
        const again = `That answer could not be used: ${edit.reason}. Answer again, in the same format.`
        messages = [...messages, { role: 'assistant', content: text || '(empty)' }, { role: 'user', content: again }]
      }
      return edit
    },
  }
}

/** The edit, or why it may not be made. */
export function checked(edit: Edit, check: (context: Context) => string | undefined): Edit {
  if (edit.kind === 'invalid') return edit
  const reason = check(edit.context)
  return reason ? { kind: 'invalid', reason, completion: edit.completion } : edit
}
