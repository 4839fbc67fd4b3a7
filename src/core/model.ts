// A model as the search sees it: messages in, completions out. Who serves it, retries it and pays for it is decided elsewhere.

export interface Message {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

export interface Params {
  /** Upper bound of generated tokens; always sent, it bounds the cost. */
  readonly maxTokens: number
  /** How many completions; 1 if left out. */
  readonly n?: number
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly presencePenalty?: number
  readonly stop?: readonly string[]
  /** Which draw this is: the same prompt, parameters and seed give the same answer where the model can do that. */
  readonly seed?: number
}

/** Tokens of one call. `cached` is part of `input`, `reasoning` part of `output`. */
export interface Usage {
  readonly input: number
  readonly cached: number
  readonly output: number
  readonly reasoning: number
}

export interface Completion {
  readonly text: string
  /** The model's thinking, where the provider gives it. */
  readonly reasoning?: string
  readonly finish: 'stop' | 'length' | 'filter' | 'other'
  readonly usage: Usage
}

/** A completion with its token ids and their log-probabilities under the model that drew them; what training needs. */
export interface TokenCompletion extends Completion {
  readonly tokens: Int32Array
  readonly logprobs: Float32Array
}

export interface Model<C extends Completion = Completion> {
  readonly name: string
  /**
   * Draws `params.n` completions of one prompt.
   * @throws {ModelError} when the provider is broken. An answer that makes no sense is not an error.
   */
  sample(prompt: readonly Message[], params: Params, signal?: AbortSignal): Promise<readonly C[]>
}

export const noUsage: Usage = { input: 0, cached: 0, output: 0, reasoning: 0 }

export function addUsage(a: Usage, b: Usage): Usage {
  return {
    input: a.input + b.input,
    cached: a.cached + b.cached,
    output: a.output + b.output,
    reasoning: a.reasoning + b.reasoning,
  }
}

/** Upper bound of the tokens of a prompt: no tokenizer makes more tokens than bytes; 16 more a message for the template, and 64 for what it adds. */
export function inputBound(prompt: readonly Message[]): number {
  return prompt.reduce((sum, m) => sum + bytes(m.content) + 16, 64)
}

/** UTF-8 length. */
export function bytes(text: string): number {
  let n = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.codePointAt(i)!
    if (c > 0xffff) i++ // a pair of units
    n += c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4
  }
  return n
}
