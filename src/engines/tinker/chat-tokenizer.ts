// The tokenizer and chat template that lie in a model's own folder, as published: `tokenizer.json`, `tokenizer_config.json`, and where they are
// there `chat_template.jinja` and `generation_config.json`. By the optional packages @huggingface/tokenizers and @huggingface/jinja.
//
// Deviations from `apply_chat_template` of transformers: 1. Special tokens in the text of a message are plain text, so that no text can end its
// turn. 2. What an answer thought stays in it: templates that drop the thinking of earlier turns do not see its tags.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError, MissingPackageError } from '../../core/errors.ts'
import type { Message } from '../../core/model.ts'
import type { Tokenizer } from './tokenizer.ts'

/** What the template is given beside the messages. */
export interface ChatOptions {
  /** Further variables of the template, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>
}

type Fields = Readonly<Record<string, unknown>>

/** A token that the template writes and no text may. */
interface Special {
  readonly id: number
  readonly content: string
  /** Whether it swallows the white space before or after it. */
  readonly lstrip: boolean
  readonly rstrip: boolean
}

/** @throws {ConfigError} on a folder without these files or a template; {@link MissingPackageError} without the two packages. */
export async function chatTokenizer(folder: string, { variables = {} }: ChatOptions = {}): Promise<Tokenizer> {
  const { Tokenizer: Whole, Template } = await load()
  const file = readJson(join(folder, 'tokenizer.json'))
  const config = readJson(join(folder, 'tokenizer_config.json'))
  const added = list(file.added_tokens).map(addedToken)
  const specials = added.filter((token) => token.special)
  const isSpecial = new Set(specials.map((token) => token.id))
  const whole = readable(folder, () => new Whole(file, config))
  // Knows no special token: what looks like one is spelled.
  const plain = new Whole({ ...file, added_tokens: list(file.added_tokens).filter((t) => !addedToken(t).special) }, config)
  const text = templateOf(folder, config)
  const template = readable(folder, () => new Template(text))
  const names = { ...named(config, 'bos_token'), ...named(config, 'eos_token'), ...named(config, 'pad_token') }

  const spelled = (text: string): readonly number[] => {
    const ids: readonly number[] = plain.encode(text, { add_special_tokens: false }).ids
    const stray = ids.find((id) => isSpecial.has(id))
    if (stray !== undefined)
      throw new ConfigError(`${folder}: its tokenizer spells ${JSON.stringify(text)} with special token ${stray}`)
    return ids
  }
  return {
    encodeChat(messages) {
      const veil = veilOf(messages, [...specials.map((token) => token.content), '<think>', '</think>'])
      const hidden = messages.map(({ role, content }) => ({ role, content: veil.hide(content) }))
      const items = { ...variables, ...names, messages: hidden, add_generation_prompt: true }
      return Int32Array.from(
        pieces(
          rendered(folder, () => template.render(items)),
          specials,
        ).flatMap((piece) => (typeof piece === 'string' ? spelled(veil.show(piece)) : [piece.id])),
      )
    },
    decode: (tokens) =>
      tokens.length === 0 ? '' : whole.decode([...tokens], { skip_special_tokens: true, clean_up_tokenization_spaces: false }),
    stops: stopsOf(folder, names.eos_token, specials),
  }
}

async function load() {
  try {
    return { ...(await import('@huggingface/tokenizers')), ...(await import('@huggingface/jinja')) }
  } catch (cause) {
    const packages = '@huggingface/tokenizers @huggingface/jinja'
    throw new MissingPackageError(`a model's tokenizer needs ${packages}: npm install ${packages}`, { cause })
  }
}

function readJson(path: string): Fields {
  if (!existsSync(path)) throw new ConfigError(`${path}: no such file; give the model's own folder, with its tokenizer`)
  try {
    const read: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof read === 'object' && read !== null) return read as Fields // an object has fields
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause
  }
  throw new ConfigError(`${path}: is no JSON object; download it again`)
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function addedToken(value: unknown): Special & { readonly special: boolean } {
  const { id, content, special, lstrip, rstrip } = value as Fields // every field is looked at below
  if (typeof id !== 'number' || typeof content !== 'string')
    throw new ConfigError('tokenizer.json: an added token has no id or content')
  return { id, content, special: special === true, lstrip: lstrip === true, rstrip: rstrip === true }
}

/** A token of the config, which may be a text or an object with one. */
function named(config: Fields, name: string): Readonly<Record<string, string>> {
  const value = config[name]
  const content = typeof value === 'object' && value !== null ? (value as Fields).content : value // an object has fields
  return typeof content === 'string' ? { [name]: content } : {}
}

function templateOf(folder: string, config: Fields): string {
  const file = join(folder, 'chat_template.jinja')
  if (existsSync(file)) return readFileSync(file, 'utf8')
  const { chat_template: given } = config
  const several = list(given).map((one) => one as Fields) // every field is looked at
  const template = typeof given === 'string' ? given : several.find((one) => one.name === 'default')?.template
  if (typeof template === 'string') return template
  throw new ConfigError(
    `${folder}: has no chat template; take an instruct model, whose tokenizer_config.json or chat_template.jinja has one`,
  )
}

function readable<T>(folder: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new ConfigError(`the tokenizer in ${folder} can't be read: ${why}`, { cause })
  }
}

function rendered(folder: string, render: () => string): string {
  try {
    return render()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new ConfigError(`the chat template of ${folder} refuses the conversation: ${why}`, { cause })
  }
}

/** Tokens that end an answer: that of the config, and those the model's own generation ends with. */
function stopsOf(folder: string, end: string | undefined, specials: readonly Special[]): readonly number[] {
  const file = join(folder, 'generation_config.json')
  const { eos_token_id: more } = existsSync(file) ? readJson(file) : {}
  const ids = [specials.find((token) => token.content === end)?.id, ...(Array.isArray(more) ? more : [more])]
  const stops = [...new Set(ids.filter((id) => typeof id === 'number'))]
  if (stops.length === 0)
    throw new ConfigError(`${folder}: names no token that ends an answer (eos_token in tokenizer_config.json)`)
  return stops
}

/** First of the characters that Unicode leaves to private use, and how many there are in that plane. */
const privateUse = { from: 0xf0000, count: 0xfffe }

/** Stands characters that occur in no message for texts that the template must not see. */
function veilOf(
  messages: readonly Message[],
  texts: readonly string[],
): Readonly<Record<'hide' | 'show', (text: string) => string>> {
  const used = new Set(messages.flatMap(({ content }) => [...content]))
  const longestFirst = [...new Set(texts)].filter(Boolean).sort((a, b) => b.length - a.length)
  const stands = new Map<string, string>()
  for (let i = 0; i < privateUse.count && stands.size < longestFirst.length; i++) {
    const char = String.fromCodePoint(privateUse.from + i)
    if (!used.has(char)) stands.set(longestFirst[stands.size]!, char)
  }
  const replaced = (text: string, pairs: readonly (readonly [string, string])[]): string =>
    pairs.reduce((so, [from, to]) => so.replaceAll(from, () => to), text)
  const pairs = [...stands]
  return {
    hide: (text) => replaced(text, pairs),
    show: (text) =>
      replaced(
        text,
        pairs.map(([from, to]) => [to, from]),
      ),
  }
}

/** The text between special tokens, and these. Where one is the beginning of another, the longer is meant. */
function pieces(text: string, specials: readonly Special[]): readonly (string | Special)[] {
  const by = new Map(specials.map((token) => [token.content, token]))
  const longestFirst = [...by.keys()].filter(Boolean).sort((a, b) => b.length - a.length)
  if (longestFirst.length === 0) return [text]
  const any = new RegExp(`(${longestFirst.map((content) => content.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|')})`)
  const cut = text.split(any).map((piece) => by.get(piece) ?? piece)
  return cut.flatMap((piece, i): readonly (string | Special)[] => {
    if (typeof piece !== 'string') return [piece]
    const [before, after] = [cut[i - 1], cut[i + 1]]
    const start = typeof before === 'object' && before.rstrip ? piece.trimStart() : piece
    const both = typeof after === 'object' && after.lstrip ? start.trimEnd() : start
    return both ? [both] : []
  })
}
