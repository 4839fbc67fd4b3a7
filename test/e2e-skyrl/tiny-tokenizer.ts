// The tokenizer of scripts/skyrl/tiny_model.py: one token a character.
import type { Message } from '../../src/core/model.ts'
import type { Tokenizer } from '../../src/engines/tinker/tokenizer.ts'

const end = 1
const begin = 2
/** Token of the character with code 32, and the last character there is. */
const space = 3
const lastCode = 124

/** Characters the model does not know are question marks. */
export function tinyEncode(text: string): number[] {
  return Array.from(text, (char) => {
    const code = char.codePointAt(0)!
    return (code >= 32 && code <= lastCode ? code : 63) - 32 + space
  })
}

/** Texts of the messages between bars. */
export const tinyTokenizer: Tokenizer = {
  encodeChat: (messages: readonly Message[]) =>
    Int32Array.from([begin, ...tinyEncode(messages.map(({ content }) => `${content}|`).join(''))]),
  decode: (tokens) => Array.from(tokens, (token) => (token < space ? '' : String.fromCharCode(token - space + 32))).join(''),
  stops: [end],
}

/** Tokens of an answer, its end included. */
export function tinyAnswer(text: string): Int32Array {
  return Int32Array.from([...tinyEncode(text), end])
}
