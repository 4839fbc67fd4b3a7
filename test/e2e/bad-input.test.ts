// Everything a user or a provider can get wrong, one row each: what is said, the exit code, and that nothing is lost. Hostile SQL has its
// table beside the sandbox; Ctrl-C is in cli.test.ts.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FaultKind, type FaultServer, startFaultServer } from '../fault-server.ts'
import { config, folder, lamarck, problems, start } from './lamarck.ts'

let server: FaultServer

/** Each model name breaks in its own way, once it has answered a few calls, once. */
const breaks: readonly FaultKind[] = ['429', '500', '401', 'broken-json', 'no-choice', 'empty-body', 'garbage', 'half', 'never']

beforeAll(async () => {
  const once = breaks.map((kind) => ({ kind, match: `"once-${kind}"`, after: 9, count: 1 }))
  const often = { kind: '500', match: '"often"', probability: 0.2 } as const
  const empty = { kind: 'empty', match: '"empty"' } as const
  server = await startFaultServer({ world: 'marks', faults: [...once, often, empty] })
})
afterAll(() => server.close())

const small = 'rounds: 1, draws: 1, testDraws: 1, concurrency: 1, retries: 0,'
const good = { 'q.jsonl': problems(24), 'lamarck.config.ts': config(small) }
const to = (model = 'm'): readonly string[] => ['--model', `openai-compatible:${model}`, '--base-url', server.url]

interface Row {
  readonly what: string
  readonly files: Readonly<Record<string, string | Uint8Array>>
  readonly args?: () => readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly says: RegExp
}

const withTask = (task: string): Row['files'] => ({ ...good, 'lamarck.config.ts': config(small, task) })
const withData = (data: string | Uint8Array): Row['files'] => ({ ...good, 'q.jsonl': data })
const withText = (text: string): Row['files'] => ({ ...good, 'lamarck.config.ts': text })
const withOption = (option: string): Row['files'] => withText(config(`${small} ${option}`))
const row = (id: string, input: string): string => `${JSON.stringify({ id, input, expected: 'bug' })}\n`

const hidden = `data:text/javascript,${encodeURIComponent(`import { registerHooks } from 'node:module'
registerHooks({ resolve(name, context, next) {
  if (name !== '@ai-sdk/openai-compatible') return next(name, context)
  throw Object.assign(new Error("Cannot find package '@ai-sdk/openai-compatible'"), { code: 'ERR_MODULE_NOT_FOUND' })
} })`)}`

const rows: readonly Row[] = [
  // config
  { what: 'no config', files: {}, says: /no lamarck\.config\.ts in .*; write one with lamarck init/ },
  {
    what: 'a config that is not there',
    files: good,
    args: () => ['evolve', 'x.ts'],
    says: /^x\.ts: no such config; write one with/,
  },
  {
    what: 'TypeScript that is none',
    files: withText('export default {\n  rounds: = 2\n}'),
    says: /^lamarck\.config\.ts:2: Expression expected; mend the config/,
  },
  {
    what: 'JavaScript that is none',
    files: { 'lamarck.config.mjs': 'export default {\n\n  rounds: = 2\n}' },
    says: /^lamarck\.config\.mjs:3: Unexpected token '='; mend the config/,
  },
  {
    what: 'a config that throws',
    files: withText('const x: string[] = []\nx[0].trim()'),
    says: /^lamarck\.config\.ts:2: Cannot read prop/,
  },
  {
    what: 'no default export',
    files: withText('export const a = 1'),
    says: /^lamarck\.config\.ts has no default export; end it with/,
  },
  {
    what: 'a default export of another kind',
    files: withText('export default 3'),
    says: /^lamarck\.config\.ts exports 3; export define/,
  },
  {
    what: 'an import that is not installed',
    files: withText("import 'not-there'\nexport default {}"),
    says: /^lamarck\.config\.ts imports the package "not-there", which is not installed: npm install not-there/,
  },
  {
    what: 'an import that is not there',
    files: withText("import './not.ts'"),
    says: /^lamarck\.config\.ts imports .*not\.ts, which is not/,
  },
  { what: 'an unknown option', files: withOption('round: 3'), says: /^unknown option "round" \(have: rounds, / },
  { what: 'an option out of range', files: withOption('batch: -1'), says: /^option "batch" is -1: / },
  { what: 'an option of another type', files: withOption("stop: { after: 'soon' }"), says: /^option "stop\.after" is "soon": / },
  { what: 'an unknown budget', files: withOption('budget: { euros: 3 }'), says: /^option "budget" is \{"euros":3\}: / },
  { what: 'an unknown method', files: withOption("method: 'magic'"), says: /^unknown method "magic" \(have: lse, chain, best/ },
  {
    what: 'a minibatch larger than train',
    files: good,
    args: () => ['evolve', ...to(), '--method', 'gepa', '--batch', '100000'],
    says: /^gepa: a minibatch of 100000 is more than train has; give \d+ at most \(batch\)/,
  },
  {
    what: 'a chain with rounds in flight',
    files: good,
    args: () => ['evolve', ...to(), '--method', 'chain', '--in-flight', '3'],
    says: /^method "chain" is a chain: .* inFlight must be 1, not 3/,
  },
  { what: 'a task that is none', files: withText('export default { task: 3 }'), says: /^task is neither a function nor a task/ },
  { what: 'a context that is none', files: withOption('context: []'), says: /^context is \[\]: give an object of named parts/ },
  {
    what: 'a task function without a score',
    files: withText("export default { context: { a: 'b' }, data: './q.jsonl', task: () => 1 }"),
    says: /^a task function needs a score function/,
  },
  // command line
  {
    what: 'a flag that is none',
    files: good,
    args: () => ['evolve', '--modle', 'x'],
    says: /^error: unknown option '--modle' .*--help$/m,
  },
  {
    what: 'a number that is none',
    files: good,
    args: () => ['evolve', '--rounds', 'x'],
    says: /argument 'x' is invalid\. give a number/,
  },
  {
    what: 'a command that is none',
    files: good,
    args: () => ['envolve'],
    says: /^error: unknown command 'envolve' .*see lamarck --help/,
  },
  {
    what: 'a run that is none',
    files: good,
    args: () => ['report', 'x'],
    says: /^there are no runs in \.lamarck\/lamarck\.db; start one/,
  },
  {
    what: 'a flag of recipes on a training in Finch',
    files: good,
    args: () => ['train', '--recipe', 'bird-qwen3-4b'],
    says: /^--recipe is for a recipe: lamarck train estimate, collect or run; lamarck train alone trains in Finch/,
  },
  {
    what: 'a flag of Finch on a recipe',
    files: good,
    args: () => ['train', 'run', '--recipe', 'bird-qwen3-4b', '--learning-rate', '1', '--advantage', 'delta'],
    says: /^--advantage is for training in Finch: leave it out of lamarck train run/,
  },
  {
    what: 'a quickstart with half a seed',
    files: good,
    args: () => ['quickstart', '--seed', '1.5'],
    says: /^seed is 1\.5: give a whole number/,
  },
  {
    what: 'a quickstart of more companies than memory holds',
    files: good,
    args: () => ['quickstart', '--companies', '1e9'],
    says: /^companies is 1000000000: give 1000 at most/,
  },
  {
    what: 'a race without a seed',
    files: good,
    args: () => ['bench', 'finch', '--seeds', '0'],
    says: /^seeds is 0: give a whole number from 1/,
  },
  {
    what: 'a race of a config on a task it has not',
    files: good,
    args: () => ['bench', 'lamarck.config.ts', '--tasks', 'x', ...to()],
    says: /^lamarck\.config\.ts has no task "x" \(have: lamarck\)/,
  },
  {
    what: 'a race of a config with a flag of Finch',
    files: good,
    args: () => ['bench', 'lamarck.config.ts', '--policy', 'x', ...to()],
    says: /^--policy is for suite finch: leave it out/,
  },
  {
    what: 'a race by a protocol that is none',
    files: good,
    args: () => ['bench', 'lamarck.config.ts', '--protocol', 'papre', ...to()],
    says: /^unknown protocol "papre" \(have: default, paper\)/,
  },
  {
    what: 'a race of nobody',
    files: good,
    args: () => ['bench', 'lamarck.config.ts', '--methods', '', ...to()],
    says: /^--methods names none: give one or more/,
  },
  {
    what: 'a race of a method against itself',
    files: good,
    args: () => ['bench', 'lamarck.config.ts', '--methods', 'lse,lse', ...to()],
    says: /^--methods names lse twice: name each once/,
  },
  {
    what: 'a race in no process',
    files: good,
    args: () => ['bench', 'finch', '--workers', '0'],
    says: /^workers is 0: give a whole number from 1/,
  },
  {
    what: 'a race by a policy that is not there',
    files: good,
    args: () => ['bench', 'finch', '--policy', 'x.safetensors'],
    says: /^no policy file "x\.safetensors"/,
  },
  {
    what: 'a race whose results have no place',
    files: good,
    args: () => ['bench', 'finch', '--out', 'q.jsonl/x.json'],
    says: /^q\.jsonl\/x\.json can't be written: E.*; give another file/,
  },
  {
    what: 'an export to nowhere',
    files: good,
    args: () => ['export', '--to', 'x'],
    says: /Allowed choices are text, json, ai-sdk/,
  },
  {
    what: 'an id with a slash',
    files: good,
    args: () => ['evolve', ...to(), '--id', 'a/b'],
    says: /^option "id" is "a\/b": letters, digits/,
  },
  {
    what: 'a tree that is none',
    files: { ...good, 't.json': '{"nodes": []}' },
    args: () => ['evolve', ...to(), '--start-from', 't.json'],
    says: /^tree\.json: "nodes" must be a list with at least one node/,
  },
  // models
  { what: 'no model', files: good, args: () => ['evolve'], says: /^no model is given; .*\(--model\)/ },
  {
    what: 'a model without a provider',
    files: good,
    args: () => ['evolve', '--model', 'gpt'],
    says: /^model "gpt" is not provider:model/,
  },
  {
    what: 'an unknown provider',
    files: good,
    args: () => ['evolve', '--model', 'acme:x'],
    says: /^unknown provider "acme" in model "acme:x"/,
  },
  {
    what: 'no key',
    files: good,
    args: () => ['evolve', '--model', 'openai:x'],
    says: /^openai:x needs a key: set OPENAI_API_KEY/,
  },
  {
    what: 'no base URL',
    files: good,
    args: () => ['evolve', '--model', 'openai-compatible:x'],
    says: /needs a base URL: give --base-url or/,
  },
  {
    what: 'a base URL that is none',
    files: good,
    args: () => ['evolve', '--model', 'openai-compatible:x', '--base-url', 'localhost'],
    says: /^base URL "localhost" is not a URL/,
  },
  {
    what: 'a provider package that is not installed',
    files: good,
    env: { NODE_OPTIONS: `--import=${hidden}` },
    says: /^@ai-sdk\/openai-compatible is not installed: run npm install @ai-sdk\/openai-compatible@3/,
  },
  {
    what: 'dollars without a price',
    files: good,
    args: () => ['evolve', ...to(), '--max-usd', '1'],
    says: /^the price of openai-compatible:m is not known, so a budget of \$1 can't be kept/,
  },
  // data
  {
    what: 'a data file that is not there',
    files: withTask("data: './x.jsonl', scorer: 'label'"),
    says: /^\.\/x\.jsonl: no such file/,
  },
  {
    what: 'a data file of another kind',
    files: withTask("data: './x.xml', scorer: 'label'"),
    says: /^\.\/x\.xml: not a kind of data file/,
  },
  { what: 'an empty data file', files: withData(''), says: /^\.\/q\.jsonl: the file is empty/ },
  {
    what: 'a line that is not JSON',
    files: withData(`${row('a', 'x')}{"id": \n`),
    says: /^\.\/q\.jsonl:2: not JSON: "\{\\"id\\":"/,
  },
  {
    what: 'a file that is not UTF-8',
    files: withData(new Uint8Array([0x7b, 0x0a, 0xff, 0xfe])),
    says: /^\.\/q\.jsonl:2: not UTF-8/,
  },
  {
    what: 'an id given twice',
    files: withData(row('a', 'x') + row('a', 'y')),
    says: /q\.jsonl: rows 1 and 2 both have the id "a"/,
  },
  { what: 'too few rows to split', files: withData(row('a', 'x')), says: /^the (train|holdout|test) split is empty/ },
  {
    what: 'a row without its question',
    files: withData(`${problems(9)}{"id":"z","expected":"bug"}\n`),
    says: /^example "z" has no "input"/,
  },
  {
    what: 'a split that was left out',
    files: withTask("data: { train: './q.jsonl', test: './q.jsonl' } as never, scorer: 'label'"),
    says: /^data has no "holdout" split/,
  },
  {
    what: 'the same problem in two splits',
    files: withTask("data: { train: './q.jsonl', holdout: './q.jsonl', test: './q.jsonl' }, scorer: 'label'"),
    says: /^the id "q0" is in train and holdout/,
  },
  {
    what: 'an unknown scorer',
    files: withTask("data: './q.jsonl', scorer: 'vibes' as never"),
    says: /^unknown scorer "vibes" \(have: exact/,
  },
  // stores
  {
    what: 'a store that is a text',
    files: good,
    args: () => ['evolve', ...to(), '--store', 'q.jsonl'],
    says: /q\.jsonl: it is no SQLite database/,
  },
  {
    what: 'a store in a file',
    files: good,
    args: () => ['evolve', ...to(), '--store', 'q.jsonl/x.db'],
    says: /^cannot use .*q\.jsonl\/x\.db: its folder cannot be made/,
  },
  {
    what: 'a store that is not there',
    files: good,
    args: () => ['runs', '--store', 'x.db'],
    says: /^there are no runs in x\.db/,
  },
]

function runsIn(cwd: string): number {
  const file = join(cwd, '.lamarck/lamarck.db')
  if (!existsSync(file)) return 0
  using db = new DatabaseSync(file)
  return Number(db.prepare('select count(*) as n from runs').get()?.n)
}

describe('the user’s to fix: one line on stderr, exit code 2, nothing begun', () => {
  test.each(rows)('$what', async ({ files, args = () => ['evolve', ...to()], env = {}, says }) => {
    const cwd = folder(files)
    const { code, stdout, stderr } = await lamarck(args(), { cwd, env })
    expect(stderr).toMatch(says)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(runsIn(cwd)).toBe(0)
  })

  test('a database of something else stays as it is', async () => {
    const cwd = folder(good)
    new DatabaseSync(join(cwd, 'other.db')).exec('create table mine (x)')
    const { code, stderr } = await lamarck(['evolve', ...to(), '--store', 'other.db'], { cwd })
    expect(code).toBe(2)
    expect(stderr).toMatch(/other\.db is a database of something else \(its tables: mine\): name another file\n$/)
    using db = new DatabaseSync(join(cwd, 'other.db'))
    expect(db.prepare('select name from sqlite_master').all()).toEqual([{ name: 'mine' }])
  })

  test('a run of the same name that was another', async () => {
    const cwd = folder(good)
    await lamarck(['evolve', ...to(), '--id', 'a'], { cwd })
    const { code, stderr } = await lamarck(['evolve', ...to('n'), '--id', 'a'], { cwd })
    expect(code).toBe(2)
    expect(stderr).toMatch(/^run "a" was started with another model/)
    expect((await lamarck(['report', 'a'], { cwd })).code).toBe(0)
  })
})

describe('a task that goes wrong: exit code 2 with the example, and the run goes on when it is mended', () => {
  const task = (
    score: string,
    run = "(await model.doGenerate({ prompt: [{ role: 'user', content: [{ type: 'text', text: example.input }] }] }), 'x')",
  ): string => `
export default {
  context: { instructions: 'x' }, data: './q.jsonl', ${small}
  task: async ({ example, model }) => ${run},
  score: () => (${score}),
}`
  test.each([
    { what: 'a score that is not a number', score: 'NaN', says: /^the score of example "q\d+" is NaN: return \{ score \}/ },
    { what: 'a score out of range', score: '1.5', says: /^the score of example "q\d+" is 1\.5: / },
    { what: 'a score that is a text', score: "{ score: '1' }", says: /^the score of example "q\d+" is "1": / },
    { what: 'no score', score: 'undefined', says: /^the score of example "q\d+" is undefined: / },
    {
      what: 'a task that throws',
      score: '1',
      run: "JSON.parse('{')",
      says: /^the task threw on example "q\d+": .*JSON.* \(throw BadAnswer/,
    },
  ])('$what', async ({ score, run, says }) => {
    const cwd = folder({ 'q.jsonl': problems(24), 'lamarck.config.ts': task(score, run) })
    const { code, stderr } = await lamarck(['evolve', ...to(), '--id', 'a'], { cwd })
    expect(code).toBe(2)
    const [said, saved] = stderr.split('\n')
    expect(said).toMatch(says)
    expect(saved).toBe('the run is saved; go on with: lamarck resume a')
    writeFileSync(join(cwd, 'lamarck.config.ts'), task('0.5'))
    expect((await lamarck(['resume'], { cwd })).code).toBe(3)
  })
})

test('a task whose promise never settles ends with exit code 5 and one line that says so', async () => {
  const task =
    "export default { context: { instructions: 'x' }, data: './q.jsonl', task: () => new Promise(() => {}), score: () => 1 }"
  const cwd = folder({ 'q.jsonl': problems(24), 'lamarck.config.ts': task })
  const { code, stderr } = await lamarck(['evolve', ...to()], { cwd })
  expect(code).toBe(5)
  expect(stderr).toMatch(/^failed: a promise in the config or the task never settles; [^\n]*\n$/)
})

describe('a provider that breaks: exit code 5 with the cause, and the run goes on later', () => {
  const causes: Readonly<Record<string, RegExp>> = {
    '429': /429/,
    '500': /injected 500/,
    '401': /401.*key|key.*401|Incorrect API key/,
    never: /1 s|1000 ms|time|answer/,
  }
  test.each(breaks)('%s', async (kind) => {
    const cwd = folder(good)
    const { code, stderr } = await lamarck(['evolve', ...to(`once-${kind}`), '--timeout', '1'], { cwd })
    expect(code).toBe(5)
    const [said, saved, ...rest] = stderr.trimEnd().split('\n')
    expect(said).toMatch(/^failed: /)
    expect(said).toMatch(causes[kind] ?? /openai-compatible:once/)
    expect(said).not.toContain('sk-toy')
    expect(saved).toMatch(/^the run is saved; go on with: lamarck resume \S+$/)
    expect(rest).toEqual([])
    const answered = (await server.log()).filter((l) => l.model === `once-${kind}` && l.answered).length
    const resumed = await lamarck(['resume'], { cwd })
    expect([0, 3]).toContain(resumed.code)
    // What was answered before is not asked again: with one failure, all calls but one are the calls of a whole run.
    const total = (await server.log()).filter((l) => l.model === `once-${kind}`)
    expect(answered).toBe(9)
    expect(new Set(total.filter((l) => l.answered).map((l) => l.hash)).size).toBe(total.filter((l) => l.answered).length)
  })

  test('faults now and then are tried again and are nothing to speak of', async () => {
    const cwd = folder({ ...good, 'lamarck.config.ts': config(small.replace('retries: 0', 'retries: 6')) })
    const { code, stderr, stdout } = await lamarck(['evolve', ...to('often'), '--concurrency', '16'], { cwd })
    expect([0, 3]).toContain(code)
    expect(stderr).toBe('')
    expect(stdout).toMatch(/time .* failed calls made again/)
  })

  test('an empty answer is an answer: it scores 0, and that all do is told of', async () => {
    const cwd = folder(good)
    const { code, stdout, stderr } = await lamarck(['evolve', ...to('empty')], { cwd })
    const told =
      'warning: every answer to the seed context scored 0: if that is a surprise, stop and look at the scorer and at the form of the answers\n'
    expect({ code, stderr }).toEqual({ code: 3, stderr: told })
    expect(stdout).toContain('no usable edit')
  })

  test('a server that is not there', async () => {
    const cwd = folder(good)
    const { code, stderr } = await lamarck(['evolve', '--model', 'openai-compatible:m', '--base-url', 'http://127.0.0.1:9/v1'], {
      cwd,
    })
    expect(code).toBe(5)
    expect(stderr).toMatch(/^failed: .*(127\.0\.0\.1:9|ECONNREFUSED|connect)/)
    expect((await lamarck(['resume', ...to().slice(2)], { cwd })).code).not.toBe(2)
  })
})

test('a disk that is full stops the run; with room again it goes on', async () => {
  const cwd = folder({ ...good, 'q.jsonl': problems(120) })
  // A file may grow to 300 KiB and no further.
  const full = ['bash', '-c', 'trap \'\' XFSZ; ulimit -f 300; exec "$@"', 'full']
  const { code, stderr } = await lamarck(['evolve', ...to(), '--rounds', '12'], { cwd }, full)
  expect(code).toBe(5)
  expect(stderr).toMatch(/^failed: cannot use .*lamarck\.db: the disk (is full|failed to read or write)/)
  expect(stderr).toMatch(/\nthe run is saved; go on with: lamarck resume \S+\n$/)
  const resumed = await lamarck(['resume'], { cwd })
  expect([0, 3]).toContain(resumed.code)
  expect(resumed.stdout).toContain('resumed run')
})

test('names and passwords of a base URL are not kept', async () => {
  const cwd = folder(good)
  const secret = server.url.replace('http://', 'http://me:hush@')
  await lamarck(['evolve', '--model', 'openai-compatible:m', '--base-url', `${secret}?key=hush`], { cwd })
  using db = new DatabaseSync(join(cwd, '.lamarck/lamarck.db'))
  const kept = String(db.prepare('select meta from runs').get()?.meta)
  expect(kept).toContain('127.0.0.1')
  expect(kept).not.toContain('hush')
})

test('what a model wrote can neither steer the terminal nor leave its place in the page', async () => {
  const evil = `\u001b]0;owned\u0007\u001b[2J</script><img src=x onerror=alert(1)>"'><!-- \u202e`
  const rowsOf = Array.from(
    { length: 24 },
    (_, i) => `${JSON.stringify({ id: `<b>${i}/#`, input: `Q${i}: ${evil}`, expected: 'x' })}\n`,
  ).join('')
  const cwd = folder({
    'q.jsonl': rowsOf,
    'lamarck.config.ts': `export default {
  name: ${JSON.stringify(evil)}, context: { instructions: 'x' }, data: './q.jsonl', ${small}
  task: ({ context, example }) => context.instructions + example.input,
  score: (answer) => Number(answer.startsWith('y')),
  evolver: ({ node }) => ({ kind: 'edit', context: { instructions: 'y' + ${JSON.stringify(evil)} }, completion: '' }),
}`,
  })
  const evolved = await lamarck(['evolve', ...to()], { cwd })
  expect(evolved.code).toBe(0)
  const outputs = [
    evolved,
    await lamarck(['status'], { cwd }),
    await lamarck(['diff'], { cwd }),
    await lamarck(['runs'], { cwd }),
  ]
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  for (const { stdout } of outputs) expect(stdout).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f\u202e]/)
  await lamarck(['report', '--html', 'r.html'], { cwd })
  const html = readFileSync(join(cwd, 'r.html'), 'utf8')
  expect(html).toContain('&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&gt;')
  expect(html).not.toMatch(/<img|<script|<b>|\u202e/)
  expect(html).toContain("default-src 'none'")
})

test('a second writer is refused, and the first is not disturbed', async () => {
  const slow = await startFaultServer({ world: 'marks', latency: 40 })
  const cwd = folder(good)
  const at = ['--model', 'openai-compatible:m', '--base-url', slow.url]
  const first = start(['evolve', ...at, '--id', 'a'], { cwd })
  await first.saw('lse on marks')
  const second = await lamarck(['evolve', ...at, '--id', 'a'], { cwd })
  expect(second.code).toBe(2)
  expect(second.stderr).toMatch(
    /^run "a" is held by "evolve" \(pid \d+ on .*\): stop that process first, or start another run\n$/,
  )
  expect([0, 3]).toContain((await first.ended).code)
  await slow.close()
})
