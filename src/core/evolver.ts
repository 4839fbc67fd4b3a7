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
    async propose(observation, call) {
      const edit = await askAgain(writer.write(observation), asker(call, params), {
        read: (text) => checked(writer.read(text, observation), call.check),
        against: (read) => (read.kind === 'edit' ? undefined : unusable(read.reason)),
        tries,
      })
      return edit ?? neverAsked
    },
  }
}

/** Asks a model for one answer, as text; each time it is asked again the seed is the next one. */
export type Asker = (messages: readonly Message[], again?: number) => Promise<string>

export function asker({ model, seed, signal }: Pick<ProposeCall, 'model' | 'seed' | 'signal'>, params: Params): Asker {
  return async (messages, again = 0) => {
    const [completion] = await model.sample(messages, { ...params, seed: seed + again }, signal)
    return completion?.text ?? ''
  }
}

export interface Reading<T> {
  readonly read: (completion: string) => T
  /** What to say against an answer, or undefined if it can be used. */
  readonly against: (read: T) => string | undefined
  /** Answers in all. */
  readonly tries: number
}

/** Asks until nothing is to be said against an answer, saying it each time; gives the last one as it was read. */
export async function askAgain<T>(
  first: readonly Message[],
  ask: Asker,
  { read, against, tries }: Reading<T>,
): Promise<T | undefined> {
  let messages = first
  let last: T | undefined
  for (let t = 0; t < tries; t++) {
    const text = await ask(messages, t)
    last = read(text)
    const said = against(last)
    if (said === undefined) return last
    messages = [...messages, { role: 'assistant', content: text || '(empty)' }, { role: 'user', content: said }]
  }
  return last
}

export const neverAsked = { kind: 'invalid', reason: 'never asked', completion: '' } as const

export function unusable(reason: string): string {
  return `That answer could not be used: ${reason}. Answer again, in the same format.`
}

/** The edit, or why it may not be made. */
export function checked(edit: Edit, check: (context: Context) => string | undefined): Edit {
  if (edit.kind === 'invalid') return edit
  const reason = check(edit.context)
  return reason ? { kind: 'invalid', reason, completion: edit.completion } : edit
}
