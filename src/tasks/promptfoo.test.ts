import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { completion, echo, testTask } from '../../test/contracts/task.ts'
import { BadAnswer, ConfigError } from '../core/errors.ts'
import type { Message, Model } from '../core/model.ts'
import { promptfooTask, readSuite } from './promptfoo.ts'
import { assertIn, gradeAsserts, readAssert } from './promptfoo-assert.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamarck-suite-'))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
})
afterAll(() => rm(folder, { recursive: true }))

const files = {
  'promptfooconfig.yaml': `# yaml-language-server: $schema=https://promptfoo.dev/config-schema.json
description: Translation
prompts: ['Translate to {{ language }}: {{input}}']
providers: [openai:gpt-5-mini, { id: 'anthropic:claude-sonnet-4-5', config: { temperature: 0 } }]
defaultTest:
  vars: { language: French }
  assert: [{ type: not-icontains, value: sorry }]
tests:
  - vars: { input: [one, two, three, four, five, six] }
    assert:
      - { type: contains, value: '{{input}}' , weight: 3 }
  - vars: { input: seven, language: German }
    threshold: 0.4
    assert: [{ type: llm-rubric, value: 'It is {{language}}.' }]
  - file://more.csv
`,
  'more.csv':
    'input,__expected,__expected2,__description\neight,huit,,a\nnine,"icontains-any: neuf, ""n, e""",starts-with: n,b\n',
  'chat.yaml': `prompts: file://chat.json
tests: file://tests.jsonl
`,
  'chat.json':
    '[{"role": "system", "content": "You know {{topic.name}}."}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": "Ask."}, {"role": "user", "content": "{{q}}"}]',
  'tests.jsonl': [1, 2, 3, 4]
    .map((n) => JSON.stringify({ vars: { q: `q${n}`, topic: { name: 'sums' } }, assert: [{ type: 'equals', value: { n } }] }))
    .join('\n'),
  'several.yaml':
    'prompts: [file://two.txt, { raw: "C {{a}}", label: third }]\ntests: [{ vars: { a: [1, 2, 3, 4] }, assert: [{ type: is-json }] }]\n',
  'two.txt': 'A {{a}}\n---\nB {{a}}\n',
  'wrong.yaml': `prompts:
  - 'Say {{ input | upper }}'
  - file://prompt.js
providers: [file://app.py]
scenarios: []
tests:
  - vars: { input: x }
    assert:
      - type: javascript
        value: output.length < 5
      - { type: similar, value: x }
  - vars: { input: '{{y}}' }
    options: { transform: output.trim() }
  - huggingface://datasets/x
`,
  'broken.yaml': 'prompts: [a\ntests: {',
}

const config = (name = 'promptfooconfig.yaml'): string => join(folder, name)
const signal = new AbortController().signal

testTask('promptfoo', () => promptfooTask({ config: config() }), completion)
testTask('promptfoo chat', () => promptfooTask({ config: config('chat.yaml') }), completion)

test('a suite is read with its defaults, its files and the combinations of its variables', async () => {
  const { tests, providers } = await readSuite(config())
  expect(providers).toEqual(['openai:gpt-5-mini', 'anthropic:claude-sonnet-4-5'])
  expect(tests.length).toBe(9)
  const sorry = { type: 'icontains', not: true, value: 'sorry', weight: 1 }
  expect(tests[1]).toEqual({
    id: 't2',
    vars: { language: 'French', input: 'two' },
    assert: [sorry, { type: 'contains', not: false, value: 'two', weight: 3 }],
  })
  expect(tests[6]).toEqual({
    id: 't7',
    vars: { language: 'German', input: 'seven' },
    threshold: 0.4,
    assert: [sorry, { type: 'llm-rubric', not: false, value: 'It is German.', weight: 1 }],
  })
  expect(tests[7]?.assert[1]).toMatchObject({ type: 'equals', value: 'huit' })
  expect(tests[8]?.assert.slice(1)).toMatchObject([
    { type: 'icontains-any', value: 'neuf, "n, e"' },
    { type: 'starts-with', value: 'n' },
  ])
})

test('the prompt evolves as it is written, and its placeholders must stay', async () => {
  const task = await promptfooTask({ config: config() })
  expect(task.seed).toEqual({ prompt: 'Translate to {{ language }}: {{input}}' })
  expect(task.rules).toEqual({ prompt: { keep: ['{{ language }}', '{{input}}'] } })
})

test('a chat prompt has a part for each message, and keeps their roles', async () => {
  const task = await promptfooTask({ config: config('chat.yaml') })
  expect(Object.keys(task.seed)).toEqual(['system', 'user', 'assistant', 'user-2'])
  const asked: (readonly Message[])[] = []
  const model: Model = {
    name: 'spy',
    async sample(prompt) {
      asked.push(prompt)
      return [completion('{"n": 1}')]
    },
  }
  const example = {
    id: 't1',
    vars: { q: 'q1', topic: { name: 'sums' } },
    assert: [{ type: 'equals', not: false, value: { n: 1 }, weight: 1 }],
  }
  const output = await task.run({ context: task.seed, example, model, draw: 0, seed: 1, signal })
  expect(asked[0]).toEqual([
    { role: 'system', content: 'You know sums.' },
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: 'Ask.' },
    { role: 'user', content: 'q1' },
  ])
  expect(await task.score(output, example, { model, signal })).toEqual({ score: 1, metrics: { pass: 1 } })
})

test.each(['{{nosuch}} {{ language }}{{input}}', '{% if x %}', '{{input | upper}}'])(
  'an edit to %j is a bad answer',
  async (prompt) => {
    const task = await promptfooTask({ config: config() })
    const example = task.examples('train')[0]!
    await expect(task.run({ context: { prompt }, example, model: echo, draw: 0, seed: 1, signal })).rejects.toThrow(BadAnswer)
  },
)

test('of several prompts one is chosen by label or number', async () => {
  await expect(promptfooTask({ config: config('several.yaml') })).rejects.toThrow(
    /there are 3; choose with "prompt" \(have: 1 "file:\/\/two\.txt 1", .* 3 "third"\)/,
  )
  expect((await promptfooTask({ config: config('several.yaml'), prompt: 2 })).seed).toEqual({ prompt: 'B {{a}}' })
  expect((await promptfooTask({ config: config('several.yaml'), prompt: 'third' })).seed).toEqual({ prompt: 'C {{a}}' })
  await expect(promptfooTask({ config: config('several.yaml'), prompt: 'none' })).rejects.toThrow('no prompt "none"')
})

test('everything that is not supported is listed in one line with its place', async () => {
  const refused = await readSuite(config('wrong.yaml')).catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(ConfigError)
  const message = refused instanceof Error ? refused.message : ''
  expect(message).not.toContain('\n')
  for (const part of [
    '"scenarios" is not supported',
    'provider "file://app.py" is code or an address',
    'prompt "file://prompt.js" is not a text',
    'tests "huggingface://datasets/x" is not one .csv',
    'test 1 (line 7): assert type "javascript" is code, which is not run',
    'test 1 (line 7): assert type "similar" is not supported (have: equals,',
    'test 2 (line 12): "options.transform" is not supported',
    'test 2 (line 12): the variable "input" holds a template',
    'and 2 more',
  ]) {
    expect(message).toContain(part)
  }
})

test('a file that is not YAML or not there is refused', async () => {
  await expect(readSuite(config('broken.yaml'))).rejects.toThrow(/broken\.yaml:\d+: not YAML/)
  await expect(readSuite(config('none.yaml'))).rejects.toThrow('no such file')
})

async function scored(raw: object, answer: string): Promise<number> {
  const assert = readAssert(raw, (text) => text)
  if (typeof assert === 'string') throw new Error(assert)
  return (await gradeAsserts(answer, { asserts: [assert], question: 'q' }, { model: echo, signal })).score
}

test.each<[object, string, number]>([
  [{ type: 'equals', value: 'a' }, 'a', 1],
  [{ type: 'equals', value: 'a' }, 'a ', 0],
  [{ type: 'equals', value: 5 }, '5', 1],
  [{ type: 'equals', value: { a: [1] } }, '{"a": [1]}', 1],
  [{ type: 'not-equals', value: { a: 1 } }, 'no json', 1],
  [{ type: 'contains', value: 'B' }, 'abc', 0],
  [{ type: 'icontains', value: 'B' }, 'abc', 1],
  [{ type: 'contains-any', value: ['x', 'b'] }, 'abc', 1],
  [{ type: 'contains-any', value: 'x, "a,b"' }, 'a,b', 1],
  [{ type: 'contains-all', value: 'a,x' }, 'abc', 0],
  [{ type: 'icontains-all', value: ['A', 'C'] }, 'abc', 1],
  [{ type: 'not-contains-any', value: ['x'] }, 'abc', 1],
  [{ type: 'starts-with', value: 'ab' }, 'abc', 1],
  [{ type: 'regex', value: '^a.c$' }, 'abc', 1],
  [{ type: 'is-json' }, '[1]', 1],
  [{ type: 'is-json' }, 'so: [1]', 0],
  [{ type: 'contains-json' }, 'see {this} {"a": [1]}', 1],
  [{ type: 'contains-json' }, 'see {this}', 0],
  [{ type: 'llm-rubric', value: 'good' }, 'a', 0.5],
  [{ type: 'not-llm-rubric', value: 'bad' }, 'a', 0.5],
])('%j on %j', async (raw, answer, score) => {
  expect(await scored(raw, answer)).toBe(score)
})

test.each<[unknown, RegExp]>([
  ['contains: x', /must have a type, got "contains: x"/],
  [{ type: 'not-webhook' }, /"not-webhook" is code/],
  [{ type: 'assert-set', assert: [] }, /"assert-set" is not supported/],
  [{ type: 'contains' }, /"contains" needs a text, got undefined/],
  [{ type: 'contains', value: '' }, /needs a text, got ""/],
  [{ type: 'contains-all', value: [] }, /needs a list of texts, got \[\]/],
  [{ type: 'regex', value: '(' }, /needs a pattern/],
  [{ type: 'is-json', value: { type: 'object' } }, /takes no schema here/],
  [{ type: 'equals', value: 'file://gold.txt' }, /takes its value from a file/],
  [{ type: 'equals', value: 'a', transform: 'x' }, /has "transform", which is not supported/],
  [{ type: 'equals', value: 'a', weight: -1 }, /has the weight -1/],
])('the assert %j is refused', (raw, message) => {
  expect(readAssert(raw, (text) => text)).toMatch(message)
})

test('the score is the weighted mean, the verdict is by the threshold', async () => {
  const asserts = [
    { type: 'contains', not: false, value: 'a', weight: 3 },
    { type: 'contains', not: false, value: 'x', weight: 1 },
  ] as const
  const judge = { model: echo, signal }
  expect(await gradeAsserts('abc', { asserts, question: '' }, judge)).toEqual({
    score: 0.75,
    feedback: 'expected contains "x"',
    metrics: { pass: 0 },
  })
  expect(await gradeAsserts('abc', { asserts, threshold: 0.7, question: '' }, judge)).toMatchObject({
    score: 0.75,
    metrics: { pass: 1 },
  })
})

test.each([
  ['Paris', { type: 'equals', value: 'Paris' }],
  ['note: Paris', { type: 'equals', value: 'note: Paris' }],
  ['contains: Paris', { type: 'contains', value: 'Paris' }],
  ['not-contains:Paris', { type: 'not-contains', value: 'Paris' }],
  ['is-json', { type: 'is-json' }],
  ['similar(0.8): Paris', { type: 'similar', value: 'Paris', threshold: 0.8 }],
  ['fn:true', { type: 'javascript' }],
  ['grade: is nice', { type: 'llm-rubric', value: 'is nice' }],
])('the CSV cell %j is an assert', (cell, assert) => {
  expect(assertIn(cell)).toEqual(assert)
})
