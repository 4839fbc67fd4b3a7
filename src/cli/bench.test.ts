import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { armOf } from '../bench/arms.ts'
import type { BenchRecord } from '../bench/record.ts'
import { dataSuite } from '../bench/suites.ts'
import { ConfigError } from '../core/errors.ts'
import { benchCommand, benchText, recordText } from './bench.ts'
import { benchPage } from './bench-page.ts'

const work = mkdtempSync(join(tmpdir(), 'lamarck-bench-'))
afterAll(() => rmSync(work, { recursive: true }))

const record: BenchRecord = {
  ...{ kind: 'bench', suite: 'toy', caption: 'in a toy', command: 'lamarck bench toy', made: {}, budget: { calls: 100 } },
  ...{ settings: { parallel: 1, note: '</pre><script>' }, seeds: [1, 2], pairs: [['<b>other', 'lse']] },
  tracks: [{ name: 't', group: 't', way: 0.5 }],
  entrants: [
    { name: 'lse', evolver: 'e' },
    { name: '<b>other', evolver: 'e' },
  ],
  columns: [
    'entrant',
    'track',
    'seed',
    'before',
    'after',
    'optimism',
    'calls',
    'tokens',
    'usd',
    'seconds',
    'rounds',
    'nodes',
    'invalid',
    'stop',
  ],
  runs: [
    [0, 0, 1, 0.2, 0.5, 0.1, 90, 900, 0, 2, 4, 5, 0, 'budget'],
    [0, 0, 2, 0.2, 0.6, 0.1, 90, 900, 0, 2, 4, 5, 0, 'budget'],
    [1, 0, 1, 0.2, 0.3, 0.1, 90, 900, 0, 2, 4, 5, 1, 'budget'],
    [1, 0, 2, 0.2, 0.4, 0.1, 90, 900, 0, 2, 4, 5, 1, 'budget'],
  ],
  curves: [
    [
      [10, 0.2],
      [90, 0.55],
    ],
    [
      [10, 0.2],
      [90, 0.35],
    ],
  ],
  curve: 'best score on the holdout so far',
}

test('the text has the rows, what they rest on, and the differences', () => {
  const text = benchText(record)
  expect(text).toMatch(/^Test score, in a toy/)
  expect(text).toMatch(/seed context +20\.0 \[/)
  expect(text).toMatch(/lse +55\.0 \[/)
  expect(text).toMatch(/<b>other +lse +−20\.0 \[/)
  expect(text).toContain('4 runs: 2 rows × 1 tasks × 2 seeds; a run has at most 100 calls')
})

test('the file of a race is JSON with a run a line', () => {
  const text = recordText(record)
  expect(JSON.parse(text)).toEqual(record)
  expect(text.split('\n').filter((line) => line.startsWith('[0,0,') || line.startsWith('[1,0,'))).toHaveLength(4)
})

test('the page runs nothing, shows a curve a row, and what others named is text', () => {
  const html = benchPage(record)
  expect(html).not.toMatch(/<script|<b>other/)
  expect(html).toContain('&lt;b&gt;other')
  expect(
    html.match(/<path class="race r\d" stroke-dasharray="[\d ]+|<path class="race r\d" stroke-dasharray="none/g),
  ).toHaveLength(4) // a line and its key
  expect(html.match(/in a toy/g)!.length).toBeGreaterThan(3)
})

test.each([
  ['nope', {}, 'unknown suite "nope" (have: finch, sql, mmlu-redux, bird'],
  ['sql', { model: 'openai:x' }, 'needs its files: say with --data'],
  ['bird', { data: 'x' }, 'needs a model that answers'],
  ['mmlu-redux', { data: join(work, 'none'), model: 'openai:x' }, 'no such folder'],
  ['finch', { model: 'openai:x' }, 'leave --model out'],
  ['finch', { companies: 1001 }, 'companies is 1001: give 1000 at most'],
  ['finch', { seeds: 1e9 }, 'seeds is 1000000000: give 1000 at most'],
  ['finch', { seeds: 0 }, 'seeds is 0: give a whole number from 1'],
  ['finch', { preset: 'nope' }, 'unknown preset "nope"'],
  ['finch', { protocol: 'paper' }, 'leave --protocol out'],
  ['finch', { tasks: ['a'] }, 'leave --tasks out'],
  ['finch', { preset: 'reward', methods: ['lse'] }, 'leave --methods out'],
  ['finch', { evolver: 'openai:x', policy: ['a'] }, 'leave --policy out'],
  ['finch', { policy: ['a', 'b', 'c'] }, 'give 2 at most'],
  ['finch', { methods: ['nope'] }, 'unknown method "nope"'],
  ['sql', { preset: 'tree', methods: ['lse'] }, 'leave --methods out'],
] as const)('%s with %j is refused in a line', async (name, flags, line) => {
  const refused = benchCommand(name, { quiet: true, ...flags } as Parameters<typeof benchCommand>[1], '0') // lists are not changed
  await expect(refused).rejects.toThrow(line)
  await expect(refused).rejects.toBeInstanceOf(ConfigError)
})

test('a config of one’s own is raced: every task in it, and the table is for programs too', async () => {
  writeFileSync(
    join(work, 'own.bench.ts'),
    `import { defineConfig } from 'lamarck'
const rows = (name, n) => Array.from({ length: n }, (_, i) => ({ id: name + i, input: name + i, expected: i % 3 ? 'a' : 'b' }))
const model = {
  name: 'toy',
  async sample(messages, { n = 1 }) {
    const edit = messages.some((m) => m.content.includes('# Current context'))
    const usage = { input: 1, cached: 0, output: 1, reasoning: 0 }
    return Array.from({ length: n }, () => ({ text: edit ? '<prompt>answer with a, please</prompt>' : 'yes', finish: 'stop', usage }))
  },
}
const task = (name) => defineConfig({
  name,
  model,
  context: { instructions: 'answer with b, please' },
  data: rows(name, 90),
  task: async ({ context, model }) => {
    await model.doGenerate({ prompt: [{ role: 'user', content: [{ type: 'text', text: 'anything' }] }] })
    return context.instructions.slice(12, 13)
  },
  score: (answer, example) => Number(answer === example.expected),
})
export default { tasks: { first: task('first'), second: task('second') } }
`,
  )
  const main = resolve(import.meta.dirname, 'main.ts')
  const args = [main, 'bench', 'own.bench.ts', '--methods', 'lse,chain', '--seeds', '2', '--rounds', '2', '--json']
  const child = spawn(process.execPath, args, { cwd: work, stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  child.stdout.on('data', (chunk) => (out += chunk))
  child.stderr.on('data', (chunk) => (out += chunk))
  const code = await new Promise((done) => child.on('close', done))
  expect(code, out).toBe(0)
  const found = JSON.parse(out.slice(out.indexOf('{"kind"'))) as BenchRecord
  expect(found.command).toBe('npx lamarck bench own.bench.ts --methods lse,chain --seeds 2 --rounds 2')
  expect(found.tracks.map((t) => t.name)).toEqual(['first', 'second'])
  expect(found.runs).toHaveLength(8)
  expect(found.runs.filter((run) => Number(run[4]) > Number(run[3])).length).toBeGreaterThan(3)
  expect(existsSync(join(work, '.lamarck/bench-own.json'))).toBe(true)
})

const data = resolve(import.meta.dirname, '../../../shared/data')
const isThere = existsSync(data) || Boolean(process.env.CI)
describe.skipIf(!isThere)('suites of files (skipped: no shared data beside the repository)', () => {
  const options = { arms: [armOf('lse')], model: 'openai-compatible:none' }
  test('sql has five databases; each becomes a task with its own questions', async () => {
    const suite = await dataSuite('sql', data, options)
    expect(suite.tracks.map((t) => t.name)).toEqual([
      'geography',
      'world_1',
      'GeoNuclearData',
      'GreaterManchesterCrime',
      'StudentMathScore',
    ])
    await using opened = await suite.tracks[1]!.open()
    const { task } = opened.config
    expect((task as { name: string }).name).toBe('sql:world_1') // made by the suite
    await expect(dataSuite('sql', data, { ...options, only: ['nope'] })).rejects.toThrow('no task "nope"')
  })

  test('mmlu-redux has a task a subject', async () => {
    const suite = await dataSuite('mmlu-redux', join(data, 'mmlu-redux'), options)
    expect(suite.tracks.length).toBe(50)
    await using opened = await suite.tracks[0]!.open()
    const { task } = opened.config
    expect((task as { name: string }).name).toBe(`mmlu:${suite.tracks[0]!.name}`) // made by the suite
  })
})
