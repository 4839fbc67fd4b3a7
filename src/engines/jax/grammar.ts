// Which tokens may come next in an answer, so that one who draws can keep to what the reader of answers takes. A grammar is a machine of
// states; one that is followed always ends within the limit of tokens, since the last way out is taken in time.
import { ConfigError } from '../../core/errors.ts'
import { end, type PolicyTokenizer } from './tokenizer.ts'

/** States by name; answers begin in the first. A state's edges say which pieces of the vocabulary may come, and which state follows each. */
export type Grammar = Readonly<Record<string, readonly Edge[]>>

export interface Edge {
  readonly pieces: readonly string[]
  /** Without it the answer is whole: its end comes next. */
  readonly to?: string
}

/** A grammar in token ids, as plain arrays that go to a thread. */
export interface Automaton {
  readonly vocabulary: number
  /** The state after each token, [states, V]; −1 where it may not come. */
  readonly next: Int16Array
  /** Tokens of the shortest way from each state to after the end, [states]. */
  readonly left: Int16Array
}

/** @throws {ConfigError} on a state that is not there, leads to no end or to two for a piece, and on a piece that is not one token. */
export function automatonOf(grammar: Grammar, tokenizer: PolicyTokenizer): Automaton {
  const names = Object.keys(grammar)
  const [whole, over] = [names.length, names.length + 1]
  const next = new Int16Array((names.length + 2) * tokenizer.size).fill(-1)
  next[whole * tokenizer.size + end] = over
  Object.entries(grammar).forEach(([name, edges], state) => {
    for (const { pieces, to } of edges) {
      const follows = to === undefined ? whole : names.indexOf(to)
      if (follows < 0) throw new ConfigError(`the grammar's state "${name}" leads to "${to}", which is not there`)
      for (const piece of pieces) {
        const at = state * tokenizer.size + tokenOf(piece, tokenizer)
        if (next[at] !== -1) throw new ConfigError(`the grammar's state "${name}" takes ${JSON.stringify(piece)} to two places`)
        next[at] = follows
      }
    }
  })
  const left = waysOut(next, tokenizer.size)
  const stuck = names.find((_, state) => left[state] === never)
  if (stuck !== undefined) throw new ConfigError(`the grammar's state "${stuck}" leads to no end`)
  return { vocabulary: tokenizer.size, next, left }
}

/** Where an answer that can't end would be. */
const never = 0x7fff

/** Steps to the last state from each, by going backwards until nothing gets shorter. */
function waysOut(next: Int16Array, vocabulary: number): Int16Array {
  const left = new Int16Array(next.length / vocabulary).fill(never)
  left[left.length - 1] = 0
  for (let isShorter = true; isShorter; ) {
    isShorter = false
    next.forEach((after, i) => {
      const state = Math.floor(i / vocabulary)
      if (after < 0 || left[after]! + 1 >= left[state]!) return
      left[state] = left[after]! + 1
      isShorter = true
    })
  }
  return left
}

function tokenOf(piece: string, tokenizer: PolicyTokenizer): number {
  const [token, ...more] = tokenizer.encode(piece)
  if (token === undefined || more.length > 0)
    throw new ConfigError(`the grammar's piece ${JSON.stringify(piece)} is not one token of the vocabulary`)
  return token
}

/** The state after a token. */
export function after({ next, vocabulary }: Automaton, state: number, token: number): number {
  return next[state * vocabulary + token]!
}

/** Logits with those of tokens that may not come now at −∞; `room` = tokens the answer may still have. */
export function masked({ next, left, vocabulary }: Automaton, state: number, logits: Float32Array, room: number): Float32Array {
  return logits.map((logit, token) => {
    const to = next[state * vocabulary + token]!
    return to >= 0 && left[to]! < room ? logit : Number.NEGATIVE_INFINITY
  })
}
