// What `lamarck train` needs for a recipe of MMLU in miniature: sixteen subjects, and the tokenizer of scripts/skyrl/tiny_model.py as a folder.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Sixteen subjects of twenty items; gives back their folder. */
export function subjects(at: string): string {
  const item = (subject: string, i: number): string =>
    JSON.stringify({
      id: `${subject}-${i}`,
      subject,
      question: `${subject}, question ${i}: ?`,
      choices: ['yes', 'no'],
      answer: i % 2,
      error_type: 'ok',
    })
  mkdirSync(join(at, 'data'), { recursive: true })
  for (let s = 0; s < 16; s++) {
    const lines = Array.from({ length: 20 }, (_, i) => item(`s${s}`, i))
    writeFileSync(join(at, 'data', `s${s}.jsonl`), lines.join('\n'))
  }
  return join(at, 'data')
}

/** One token a character; gives back the folder of tokenizer and chat template. */
export function characters(at: string): string {
  const vocab = Object.fromEntries(Array.from({ length: 93 }, (_, i) => [String.fromCharCode(32 + i), 3 + i]))
  const special = ['<pad>', '<eos>', '<bos>'].map((content, id) => ({ id, content, special: true }))
  mkdirSync(join(at, 'tokenizer'), { recursive: true })
  const file = {
    ...{ normalizer: null, post_processor: null, decoder: { type: 'Fuse' }, added_tokens: special },
    pre_tokenizer: { type: 'Split', pattern: { String: '' }, behavior: 'Isolated', invert: false },
    model: { type: 'BPE', vocab: { '<pad>': 0, '<eos>': 1, '<bos>': 2, ...vocab }, merges: [], unk_token: '?', fuse_unk: false },
  }
  writeFileSync(join(at, 'tokenizer', 'tokenizer.json'), JSON.stringify(file))
  const template = '{{ bos_token }}{% for m in messages %}{{ m.content }}|{% endfor %}'
  const config = { bos_token: '<bos>', eos_token: '<eos>', chat_template: template }
  writeFileSync(join(at, 'tokenizer', 'tokenizer_config.json'), JSON.stringify(config))
  return join(at, 'tokenizer')
}
