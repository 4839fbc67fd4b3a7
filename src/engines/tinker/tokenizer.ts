// What the engine needs of the model's own tokenizer and chat template; who reads them from the model's files is passed in.
import type { Message } from '../../core/model.ts'

/** Between messages and tokens. */
export interface Tokenizer {
  /** A conversation up to where the answer begins. */
  encodeChat(messages: readonly Message[]): Int32Array
  /** Text of an answer, without its stop token. */
  decode(tokens: Int32Array): string
  /** Tokens that end an answer; the server knows none by itself. */
  readonly stops: readonly number[]
}
