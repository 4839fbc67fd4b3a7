import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { completion, testTask } from '../../test/contracts/task.ts'
import { BadAnswer } from '../core/errors.ts'
import { gradeLetter, type Item, mmluPrompt, mmluTask, soundItems } from './mmlu.ts'
import { readRows } from './read.ts'

const item: Item = { id: 'x', subject: 's', question: 'Which?', choices: ['one', 'two', 'two'], answer: 1 }
const raw = (fields: object): Record<string, unknown> => ({ ...item, choices: ['5', 'B', 'x', 'x'], answer: 0, ...fields })

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamarck-mmlu-'))
  const lines = Array.from({ length: 12 }, (_, i) => JSON.stringify({ ...item, id: `s-${i}`, question: `Which ${i}?` }))
  await writeFile(join(folder, 's.jsonl'), lines.join('\n'))
})
afterAll(() => rm(folder, { recursive: true }))

testTask('mmlu', () => mmluTask({ data: folder, subject: 's' }), completion)

test('the prompt letters the choices, repeated ones too', () => {
  expect(mmluPrompt(item)).toBe(
    'Which?\n\nA. one\nB. two\nC. two\n\nEnd with the letter of the right choice between <answer> and </answer>.',
  )
})

test.each([
  ['<answer>B</answer>', 1],
  ['first <answer>A</answer>, no: <answer> (b). </answer>', 1],
  ['<answer>**C**</answer>', 0],
])('%j is graded by its last letter', (text, score) => {
  expect(gradeLetter(text, item).score).toBe(score)
})

test.each([
  'B',
  '',
  '<answer></answer>',
  '<answer>D</answer>',
  '<answer>B or C</answer>',
  '<answer>two</answer>',
  '<answer>Б</answer>',
])('%j is a bad answer', (text) => {
  expect(() => gradeLetter(text, item)).toThrow(BadAnswer)
})

test.each([
  ['a sound item keeps its key', {}, 0],
  ['ok is sound', { error_type: 'ok' }, 0],
  ['a correction by index', { error_type: 'wrong_groundtruth', correct_answer: '2' }, 2],
  ['a correction by letter', { error_type: 'wrong_groundtruth', correct_answer: 'c' }, 2],
  ['a correction by text', { error_type: 'wrong_groundtruth', correct_answer: 'B' }, 1],
  ['a text that two choices have', { error_type: 'wrong_groundtruth', correct_answer: 'x' }, undefined],
  ['a correction to the wrong key itself', { error_type: 'wrong_groundtruth', correct_answer: 'A' }, undefined],
  ['a correction that is an essay', { error_type: 'wrong_groundtruth', correct_answer: 'it depends' }, undefined],
  ['no correction', { error_type: 'wrong_groundtruth' }, undefined],
  ['an unclear question, even with a key', { error_type: 'bad_question_clarity', correct_answer: '0' }, undefined],
  ['several right choices', { error_type: 'multiple_correct_answers', correct_answer: '1' }, undefined],
])('%s', (_, fields, key) => {
  expect(soundItems([raw(fields)]).map((sound) => sound.answer)).toEqual(key === undefined ? [] : [key])
})

test.each([
  [{ choices: ['a'] }, /m\.jsonl: item 1: choices: .*needs id, question, choices and answer/],
  [{ answer: 'A' }, /item 1: answer: /],
  [{ answer: 4 }, /answer 4 is no index of its 4 choices/],
  [{ question: '' }, /item 1: question: /],
])('a row with %j is refused', (fields, message) => {
  expect(() => soundItems([raw(fields)], 'm.jsonl')).toThrow(message)
})

test('a folder without a subject, and a subject that is not there, are refused', async () => {
  await expect(mmluTask({ data: folder })).rejects.toThrow('is a folder; name a subject')
  await expect(mmluTask({ data: folder, subject: 'art' })).rejects.toThrow(/no sound item of the subject "art" \(have: s\)/)
  await expect(mmluTask({ data: join(folder, 'none.jsonl') })).rejects.toThrow(/none\.jsonl: no such file/)
  await expect(mmluTask({ data: join(folder, 's.jsonl'), subject: 'art' })).rejects.toThrow(
    /no sound item of the subject "art" \(have: s\)/,
  )
})

const shared = new URL('../../../shared/data/', import.meta.url).pathname
const here = existsSync(shared)
if (!here && process.env.CI) throw new Error('../shared/data is absent: the real data must be there in CI')

describe.skipIf(!here)('on the real sets (skipped without ../shared/data)', () => {
  test('all 50 subjects of MMLU-Redux have the items that the audit left', async () => {
    const files = readdirSync(join(shared, 'mmlu-redux'))
    const items = (
      await Promise.all(files.map(async (file) => soundItems(await readRows(join(shared, 'mmlu-redux', file)), file)))
    ).flat()
    // 4,724 are marked ok; of 73 wrong keys 5 have no correction and 1 is corrected to itself.
    expect(items.filter((one) => new Set(one.choices).size < one.choices.length).length).toBeGreaterThan(0)
    expect([files.length, items.length]).toEqual([50, 4724 + 73 - 5 - 1])
  })

  test('all 5,222 items of MMLU-Pro-Redux are read, those with three choices too', async () => {
    const files = readdirSync(join(shared, 'mmlu-pro-redux'))
    const items = (
      await Promise.all(files.map(async (file) => soundItems(await readRows(join(shared, 'mmlu-pro-redux', file)), file)))
    ).flat()
    expect(items.length).toBe(5222)
    expect(items.filter((one) => one.choices.length === 3).length).toBe(2)
  })

  test('one subject is split three ways without a question in two of them', async () => {
    const task = await mmluTask({ data: join(shared, 'mmlu-redux'), subject: 'machine_learning' })
    expect(task.name).toBe('mmlu:machine_learning')
    const questions = (['train', 'holdout', 'test'] as const).map((split) =>
      task.examples(split).map((example) => example.question),
    )
    const all = new Set(questions.flat())
    expect(questions.map((split) => new Set(split).size).reduce((a, b) => a + b)).toBe(all.size)
  })
})
