// Text ↔ tokens of a small vocabulary of whole words and fragments, with single bytes for everything else: any well-formed text comes
// back as it was (a lone surrogate becomes U+FFFD, as everywhere in UTF-8).
//
// Between two neighbouring pieces one space is understood, so that a word is the same token wherever it stands; a `join` token says that
// there is none. No space is understood beside white space or beside bytes.
//
// A prompt is, for each message, the token of its role and the tokens of its content (and `end` after one of the assistant); an answer
// follows the assistant's role token and ends with `end`.
import type { Tokenizer } from '../../core/context.ts'
import { ConfigError } from '../../core/errors.ts'
import type { Message } from '../../core/model.ts'

export interface PolicyTokenizer extends Tokenizer {
  /** The words and fragments it was made from. */
  readonly pieces: readonly string[]
  /** Token ids are below it; a multiple of 8. */
  readonly size: number
  encode(text: string): Int32Array<ArrayBuffer>
  /** Bytes that are no UTF-8 become U+FFFD, control tokens nothing. */
  decode(tokens: Iterable<number>): string
  /** A conversation up to where the assistant answers. */
  prompt(messages: readonly Message[]): Int32Array<ArrayBuffer>
  /** Share of the tokens of a text that are single bytes: high where the vocabulary does not know the words. */
  byteShare(text: string): number
}

export const pad = 0
export const end = 1
const roles = { system: 2, user: 3, assistant: 4 } as const
/** What a rollout follows. */
export const start = roles.assistant
const join = 5
const firstByte = 8
const firstPiece = firstByte + 256

/** @throws {ConfigError} if a piece is empty, repeated or no text. */
export function vocabularyTokenizer(pieces: readonly string[]): PolicyTokenizer {
  const ids = new Map(pieces.map((piece, i): [string, number] => [piece, firstPiece + i]))
  const wrong = pieces.find((piece, i) => piece === '' || !piece.isWellFormed() || ids.get(piece) !== firstPiece + i)
  if (wrong !== undefined) throw new ConfigError(`the vocabulary piece ${JSON.stringify(wrong)} is empty, repeated or no text`)
  const byFirst = Map.groupBy(
    pieces.toSorted((a, b) => b.length - a.length),
    (piece) => piece.charCodeAt(0),
  )
  const pieceAt = (text: string, at: number): string | undefined =>
    byFirst.get(text.charCodeAt(at))?.find((piece) => text.startsWith(piece, at))
  const pieceOf = (token: number): string | undefined => pieces[token - firstPiece]
  const encode = (text: string): Int32Array<ArrayBuffer> => {
    const tokens: number[] = []
    let last: string | undefined // the piece that ends where we are
    for (let at = 0; at < text.length; ) {
      const next = last !== undefined && text[at] === ' ' ? pieceAt(text, at + 1) : undefined
      const understood = last !== undefined && next !== undefined && spaced(last, next)
      const piece = understood ? next : pieceAt(text, at)
      if (piece === undefined) {
        const char = String.fromCodePoint(text.codePointAt(at) ?? 0)
        for (const byte of utf8.encode(char)) tokens.push(firstByte + byte)
        at += char.length
      } else {
        if (!understood && last !== undefined && spaced(last, piece)) tokens.push(join)
        tokens.push(ids.get(piece) ?? pad)
        at += piece.length + (understood ? 1 : 0)
      }
      last = piece
    }
    return Int32Array.from(tokens)
  }
  return {
    name: `vocabulary of ${pieces.length}`,
    pieces,
    size: Math.ceil((firstPiece + pieces.length) / 8) * 8,
    encode,
    decode(tokens) {
      let text = ''
      let bytes: number[] = []
      let last: string | undefined
      const flush = (): void => {
        text += decoder.decode(Uint8Array.from(bytes))
        bytes = []
      }
      for (const token of tokens) {
        const piece = pieceOf(token)
        if (token >= firstByte && token < firstPiece) bytes.push(token - firstByte)
        else {
          flush()
          if (piece !== undefined) text += (last !== undefined && spaced(last, piece) ? ' ' : '') + piece
        }
        last = piece
      }
      flush()
      return text
    },
    prompt: (messages) =>
      Int32Array.from(messages.flatMap(({ role, content }) => [roles[role], ...encode(content), ...ended(role)])),
    count: (text) => encode(text).length,
    byteShare(text) {
      const tokens = encode(text)
      return tokens.filter((token) => token >= firstByte && token < firstPiece).length / Math.max(1, tokens.length)
    },
  }
}

const utf8 = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

function ended(role: Message['role']): readonly number[] {
  return role === 'assistant' ? [end] : []
}

/** Whether a space is understood between two pieces. */
function spaced(left: string, right: string): boolean {
  return !/\s$/.test(left) && !/^\s/.test(right)
}
