// Needs a real model: LAMARCK_GGUF=<file.gguf>, with node-llama-cpp installed beside it (`npm run fetch-smollm2` does both).
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { modelContract } from '../../test/contracts/model.ts'
import { ConfigError, MissingPackageError, ModelError } from '../core/errors.ts'
import type { Message } from '../core/model.ts'
import { type LlamaModel, labelled, llama } from './llama.ts'

const file = process.env.LAMARCK_GGUF

test('a file that is not there is refused with its name', async () => {
  await expect(llama('no-such.gguf')).rejects.toThrow(
    new ConfigError('no model file "no-such.gguf": give the path of a .gguf file'),
  )
})

test('a missing package is named with the command that installs it', async () => {
  const call = llama(import.meta.filename, { packages: '/' })
  await expect(call).rejects.toThrow(MissingPackageError)
  await expect(call).rejects.toThrow(/npm install .*node-llama-cpp@/)
})

describe.skipIf(!file)(
  'a model of a GGUF file (skipped: set LAMARCK_GGUF; `npm run fetch-smollm2` prints it)',
  { timeout: 120_000 },
  () => {
    let model: LlamaModel
    const open = (options = {}): Promise<LlamaModel> => llama(file!, { packages: dirname(file!), contextSize: 512, ...options }) // skipped without
    beforeAll(async () => {
      model = await open()
    })
    afterAll(() => model[Symbol.asyncDispose]())

    modelContract('a GGUF file', async () => ({ model, echoes: false }))

    const system = 'Answer in one short sentence. Be friendly, be brief, and do not repeat the question that you were asked.'
    const ask = (content: string): readonly Message[] => [
      { role: 'system', content: system },
      { role: 'user', content },
    ]

    test('the same seed gives the same text, another seed another', async () => {
      const text = async (seed: number): Promise<string> =>
        (await model.sample(ask('Write a poem.'), { maxTokens: 24, temperature: 1, seed }))[0]!.text
      const first = await text(5)
      expect(await text(6)).not.toBe(first)
      expect(await text(5)).toBe(first)
    })

    test('what was asked before changes no answer', async () => {
      // Prompts long enough to be evaluated by other kernels than short ones, answers at temperature 1: a small change changes some token.
      const rules = Array.from({ length: 9 }, (_, i) => `Rule ${i}: no sentence has more than ${i + 5} words, and none is dull.`)
      const long = (q: string): readonly Message[] => [{ role: 'system', content: rules.join('\n') }, ...ask(q).slice(1)]
      const params = { maxTokens: 32, temperature: 1, seed: 1 }
      const text = async (of: LlamaModel, q: string): Promise<string> => (await of.sample(long(q), params))[0]!.text
      const questions = [
        'Tell me a long story about a fox.',
        'Where is the sea?',
        'Write a long poem.',
        'Describe a city at length.',
      ]
      await using fresh = await open({ sequences: 1 })
      const backward = new Map<string, string>()
      for (const q of questions.toReversed()) backward.set(q, await text(fresh, q))
      for (const q of questions) expect(await text(model, q)).toBe(backward.get(q))
    })

    test('a beginning that was seen before is counted as cached, in whole steps', async () => {
      await using fresh = await open()
      const cached = async (content: string): Promise<number> =>
        (await fresh.sample(ask(content), { maxTokens: 1 }))[0]!.usage.cached
      expect(await cached('one')).toBe(0)
      const again = await cached('two')
      expect(again).toBeGreaterThanOrEqual(16)
      expect(again % 16).toBe(0)
      const [other] = await fresh.sample([{ role: 'system', content: 'Be rude.' }], { maxTokens: 1 })
      expect(other?.usage.cached).toBe(0)
      expect(await cached('three')).toBe(again)
    })

    test('prompts that take turns keep their own beginnings, also when these begin alike', async () => {
      await using fresh = await open({ sequences: 2 })
      const rules = (kind: string): string => Array.from({ length: 6 }, (_, i) => `Rule ${i} of ${kind}: be ${kind}.`).join(' ')
      const cached = async (kind: string, q: string): Promise<number> =>
        (await fresh.sample([{ role: 'system', content: `${system} ${rules(kind)}` }, ...ask(q).slice(1)], { maxTokens: 1 }))[0]!
          .usage.cached
      for (const kind of ['kind', 'rude']) await cached(kind, 'one')
      const own = await cached('kind', 'two')
      expect(own).toBeGreaterThan(fresh.tokenizer.count(`${system} `) + 16)
      expect(await cached('rude', 'two')).toBeGreaterThanOrEqual(own - 16)
      expect(await cached('kind', 'three')).toBe(own)
    })

    test('labels answer with one of them, and one that begins another can be told apart', async () => {
      const picks = labelled(model, ['positive', 'negative'])
      const review = (content: string): readonly Message[] => [
        { role: 'system', content: 'Decide if the review is positive or negative.' },
        { role: 'user', content: 'Everything was lovely, I will come back.' },
        { role: 'assistant', content: 'positive' },
        { role: 'user', content: 'It broke after a day.' },
        { role: 'assistant', content: 'negative' },
        { role: 'user', content },
      ]
      const [good] = await picks.sample(review('A wonderful, beautiful film.'), { maxTokens: 4 })
      expect(good?.text).toBe('positive')
      expect(good?.usage.output).toBeLessThanOrEqual(2)
      const echo = (word: string): readonly Message[] =>
        ['cat', 'cat food', 'dog', 'dog food', word].flatMap((w, i): Message[] => [
          { role: 'user', content: `Say: ${w}` },
          ...(i < 4 ? [{ role: 'assistant', content: w } as const] : []),
        ])
      expect((await model.label(echo('cat'), ['cat', 'cat food'])).text).toBe('cat')
      expect((await model.label(echo('cat food'), ['cat', 'cat food'])).text).toBe('cat food')
    })

    test('an abort ends a call that is being answered, and the next one is not harmed', async () => {
      const params = { maxTokens: 12, temperature: 1, seed: 3 }
      const [before] = await model.sample(ask('Write a poem.'), params)
      const abort = new AbortController()
      const stop: readonly string[] = Object.defineProperty([''], 0, {
        get() {
          abort.abort(new Error('stop')) // it is read at the first token
          return '\n\n\n'
        },
      })
      await expect(model.sample(ask('Write a story.'), { maxTokens: 400, stop }, abort.signal)).rejects.toThrow('stop')
      expect((await model.sample(ask('Write a poem.'), params))[0]?.text).toBe(before?.text)
    })

    test('calls made together answer as calls made one after another', async () => {
      const questions = ['Who are you?', 'Where is the sea?', 'Why is the sky blue?']
      const text = async (q: string): Promise<string> => (await model.sample(ask(q), { maxTokens: 16 }))[0]!.text
      const together = await Promise.all(questions.map(text))
      for (const [i, q] of questions.entries()) expect(await text(q)).toBe(together[i])
    })

    test('an answer ends before a stop text, and at the limit says so', async () => {
      const prompt = [{ role: 'user', content: 'Write a long story about a dragon and a princess.' }] as const
      const [long] = await model.sample(prompt, { maxTokens: 12 })
      expect(long).toMatchObject({ finish: 'length', usage: { output: 12 } })
      const word = long!.text.split(' ')[1]!
      const [cut] = await model.sample(prompt, { maxTokens: 12, stop: [word] })
      expect(cut).toMatchObject({ finish: 'stop', text: long!.text.slice(0, long!.text.indexOf(word)) })
    })

    test('a presence penalty keeps a model from saying the same again', async () => {
      const words = async (presencePenalty: number): Promise<readonly string[]> => {
        const prompt: readonly Message[] = [{ role: 'user', content: 'Repeat: la la la la la la la la la la la la' }]
        const [completion] = await model.sample(prompt, { maxTokens: 24, presencePenalty })
        return completion!.text.toLowerCase().match(/\w+/g) ?? []
      }
      const [without, penalized] = [await words(0), await words(2)]
      expect(new Set(penalized).size / penalized.length).toBeGreaterThan(new Set(without).size / without.length)
    })

    test('text of a message never becomes a control token', async () => {
      const [plain] = await model.sample([{ role: 'user', content: 'a' }], { maxTokens: 1 })
      const [marked] = await model.sample([{ role: 'user', content: 'a<|im_end|>' }], { maxTokens: 1 })
      expect(marked!.usage.input - plain!.usage.input).toBeGreaterThan(1)
    })

    test('a prompt longer than the context is an error, not an answer', async () => {
      const call = model.sample(ask('word '.repeat(600)), { maxTokens: 4 })
      await expect(call).rejects.toThrow(ModelError)
      await expect(call).rejects.toThrow(/does not fit in 512; give a larger contextSize/)
    })

    test('the plain format continues "Output:" and stops at the next input', async () => {
      await using plain = await open({ format: 'plain' })
      const pairs = ['red', 'blue', 'green', 'black'].flatMap((w): Message[] => [
        { role: 'user', content: w },
        { role: 'assistant', content: `${w} car` },
      ])
      const [completion] = await plain.sample([...pairs, { role: 'user', content: 'white' }], { maxTokens: 16 })
      expect(completion).toMatchObject({ text: 'white car', finish: 'stop' })
    })

    test('its tokenizer counts the tokens of its vocabulary', () => {
      expect(model.tokenizer.count('')).toBe(0)
      expect(model.tokenizer.count('positive')).toBeLessThan(8)
      expect(model.tokenizer.count('positive positive positive')).toBeGreaterThan(model.tokenizer.count('positive'))
    })

    test('a file that is no model is refused with what is wrong', async () => {
      const bad = join(process.env.TMPDIR ?? '/tmp', `lamarck-${process.pid}.gguf`)
      await writeFile(bad, 'hello')
      await expect(llama(bad, { packages: dirname(file!) })).rejects.toThrow(/cannot load the model file .*GGUF/)
    })
  },
)
