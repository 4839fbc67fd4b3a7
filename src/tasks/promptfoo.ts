// An existing promptfoo suite as a task: its prompt evolves, its tests are the examples, its asserts the score. Facts are from the
// public documentation (promptfoo.dev/docs/configuration). Whatever in a suite would change a score and can't be done here is listed
// in one error with its place. The models are those of the run: the suite's `providers` are only handed back.
import { dirname, join } from 'node:path'
import type { Context, Rules } from '../core/context.ts'
import { BadAnswer, ConfigError } from '../core/errors.ts'
import type { Completion, Message, Model, Params } from '../core/model.ts'
import type { Example, Task } from '../core/task.ts'
import { chatTask } from './chat.ts'
import { type Assert, assertIn, describe, gradeAsserts, readAssert } from './promptfoo-assert.ts'
import { type Data, decoded, load, loadSplits, type Row, readRows, type SplitOptions, short } from './read.ts'
import { fill, marks, placeholders, textOf } from './template.ts'

export interface PromptfooOptions extends SplitOptions {
  /** Path of promptfooconfig.yaml (or .json). */
  readonly config: string
  /** Which of several prompts evolves: its label or its number from 1. */
  readonly prompt?: string | number
  readonly rules?: Rules
  readonly params?: Omit<Params, 'n' | 'seed'>
}

export interface Prompt {
  readonly label: string
  /** Texts with placeholders; a plain prompt is one message of the user. */
  readonly messages: readonly Message[]
}

export interface SuiteTest extends Row {
  readonly id: string
  readonly vars: Row
  readonly assert: readonly Assert[]
  readonly threshold?: number
}

export interface Suite {
  readonly prompts: readonly Prompt[]
  readonly tests: readonly SuiteTest[]
  /** Ids such as `openai:gpt-5-mini`, as the suite names them. */
  readonly providers: readonly string[]
}

/** The suite's task. @throws {ConfigError} listing what is not supported. */
export async function promptfooTask(options: PromptfooOptions): Promise<Task<Example, Completion, Model>> {
  const { config, rules, params } = options
  const suite = await readSuite(config)
  const { messages } = chosen(suite.prompts, options.prompt, config)
  const parts = messages.map((message, i) => ({ ...message, name: partName(messages, i) }))
  const known = new Set(suite.tests.flatMap((test) => Object.keys(test.vars)))
  const seed = Object.fromEntries(parts.map((part) => [part.name, part.content]))
  const data: Data = suite.tests
  return chatTask({
    name: 'promptfoo',
    context: seed,
    rules: Object.fromEntries(
      parts.map(({ name, content }) => [name, { ...rules?.[name], keep: [...marks(content), ...(rules?.[name]?.keep ?? [])] }]),
    ),
    splits: await loadSplits(data, { ...options, groupBy: options.groupBy ?? ((row) => JSON.stringify(row.vars)) }),
    prompt: (example) => varsText(asTest(example).vars),
    messages: (context, example) =>
      parts.map(({ name, role }) => ({ role, content: asked(context, name, known, asTest(example).vars) })),
    grade: (text, example, judge) => {
      const { assert, threshold, vars } = asTest(example)
      return gradeAsserts(text, { asserts: assert, threshold, question: varsText(vars) }, judge)
    },
    gold: (example) => asTest(example).assert.map(describe).join('\n'),
    ...(params && { params }),
  })
}

function chosen(prompts: readonly Prompt[], wanted: string | number | undefined, config: string): Prompt {
  const found =
    wanted === undefined ? prompts[0] : (prompts.find((prompt) => prompt.label === wanted) ?? prompts[Number(wanted) - 1])
  const have = prompts.map((prompt, i) => `${i + 1} ${short(prompt.label)}`).join(', ')
  if (!found) throw new ConfigError(`${config}: no prompt ${short(wanted)} (have: ${have})`)
  if (wanted === undefined && prompts.length > 1)
    throw new ConfigError(`${config}: one prompt evolves and there are ${prompts.length}; choose with "prompt" (have: ${have})`)
  return found
}

/** "prompt" for a plain one, else the role, numbered where it comes again. */
function partName(messages: readonly Message[], i: number): string {
  if (messages.length === 1) return 'prompt'
  const role = messages[i]?.role ?? 'user'
  const before = messages.slice(0, i).filter((message) => message.role === role).length
  return before ? `${role}-${before + 1}` : role
}

/** A part filled in for one test. @throws {BadAnswer} where an edit uses what promptfoo's template would not give it. */
function asked(context: Context, name: string, known: ReadonlySet<string>, vars: Row): string {
  const text = textOf(context[name])
  const wrong = templateProblem(text, known)
  if (wrong) throw new BadAnswer(`the prompt can't be filled in: ${wrong}`)
  return render(text, vars)
}

function templateProblem(text: string, known: ReadonlySet<string>): string | undefined {
  if (/\{[%#]/.test(text)) return 'it uses {% or {#, and only {{name}} is supported'
  const odd = placeholders(text).find((name) => !/^[A-Za-z_]\w*(\.\w+)*$/.test(name))
  if (odd !== undefined) return `{{${odd}}} is an expression, and only {{name}} is supported`
  const missing = placeholders(text).find((name) => !known.has(name.split('.')[0] ?? ''))
  return missing === undefined ? undefined : `no test has the variable "${missing}" (have: ${[...known].join(', ') || 'none'})`
}

/** As in promptfoo, a variable that this test leaves out is nothing. */
function render(text: string, vars: Row): string {
  return fill(text, Object.fromEntries(placeholders(text).map((name) => [name, name.split('.').reduce<unknown>(member, vars)])))
}

function member(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as Row)[key] : undefined // as: an object with this key
}

function varsText(vars: Row): string {
  const lines = Object.entries(vars).map(([name, value]) => `${name}: ${textOf(value)}`)
  return lines.join('\n') || '(no variables)'
}

function asTest(example: Example): SuiteTest {
  return example as SuiteTest // as: the examples were made from tests
}

const harmless = [
  '$schema',
  'description',
  'tags',
  'metadata',
  'evaluateOptions',
  'commandLineOptions',
  'outputPath',
  'sharing',
  'writeLatestResults',
  'env',
]
const codeProvider = /^(file:\/\/|exec:|python:|golang:|ruby:|webhook|https?:|wss?:|package:)|\.([cm]?[jt]s|py|rb|go)(:|$)/

/** Reads a suite with all the files it names. @throws {ConfigError} listing everything in it that is not supported. */
export async function readSuite(config: string): Promise<Suite> {
  const folder = dirname(config)
  const { value: raw, lineOf } = await readYaml(config)
  if (!isMap(raw)) throw new ConfigError(`${config}: must be a map with prompts and tests, got ${short(raw)}`)
  const problems: string[] = []
  for (const key of Object.keys(raw)) {
    if (![...harmless, 'prompts', 'providers', 'targets', 'tests', 'defaultTest'].includes(key))
      problems.push(`"${key}" is not supported`)
  }
  const providers = providerIds(raw.providers ?? raw.targets)
  for (const id of providers)
    if (codeProvider.test(id))
      problems.push(`provider "${id}" is code or an address, and only models can be asked: write a task file`)
  const prompts = await readPrompts(raw.prompts, folder, problems)
  const standard =
    typeof raw.defaultTest === 'string' ? (await readYaml(join(folder, pathOf(raw.defaultTest)))).value : (raw.defaultTest ?? {})
  const cases = await readCases(raw.tests, { folder, problems, lineOf })
  const tests = cases
    .flatMap(({ where, test }) => readTest(test, standard, where, problems))
    .map((test, i) => ({ ...test, id: `t${i + 1}` }))
  if (prompts.length === 0 && problems.length === 0) problems.push('there are no prompts')
  const known = new Set(tests.flatMap((test) => Object.keys(test.vars)))
  for (const { label, messages } of prompts) {
    for (const { content } of messages) {
      const wrong = templateProblem(content, known)
      if (wrong) problems.push(`prompt ${short(label)}: ${wrong}`)
    }
  }
  if (problems.length === 0) return { prompts, tests, providers }
  const more = problems.length > 8 ? `; and ${problems.length - 8} more` : ''
  throw new ConfigError(`${config}: can't be run as it is: ${problems.slice(0, 8).join('; ')}${more}`)
}

interface Yaml {
  readonly value: unknown
  /** Line of the value at a path, if the file has it. */
  readonly lineOf: (path: readonly (string | number)[]) => number | undefined
}

async function readYaml(file: string): Promise<Yaml> {
  const { isNode, LineCounter, parseDocument } = await import('yaml')
  const lines = new LineCounter()
  const document = parseDocument(decoded(file, await load(file)), { lineCounter: lines })
  const error = document.errors[0]
  if (error)
    throw new ConfigError(`${file}:${lines.linePos(error.pos[0]).line}: not YAML: ${error.message.split('\n')[0]}`, {
      cause: error,
    })
  const lineOf: Yaml['lineOf'] = (path) => {
    const node = document.getIn(path, true)
    return isNode(node) && node.range ? lines.linePos(node.range[0]).line : undefined
  }
  return { value: document.toJS(), lineOf }
}

function isMap(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function pathOf(reference: string): string {
  return reference.replace(/^file:\/\//, '')
}

function providerIds(raw: unknown): readonly string[] {
  const all = Array.isArray(raw) ? raw : raw === undefined ? [] : [raw]
  return all.flatMap((one) => (isMap(one) ? (typeof one.id === 'string' ? [one.id] : Object.keys(one)) : [textOf(one)]))
}

async function readPrompts(raw: unknown, folder: string, problems: string[]): Promise<readonly Prompt[]> {
  const all = Array.isArray(raw) ? raw : raw === undefined ? [] : [raw]
  const found = await Promise.all(
    all.map(async (one) => {
      const text = isMap(one) ? (one.raw ?? one.id) : one
      const label = isMap(one) && typeof one.label === 'string' ? one.label : undefined
      if (typeof text === 'string') return readPrompt(text, label, folder, problems)
      problems.push(`prompt ${short(one)} must be a text or a file`)
      return []
    }),
  )
  return found.flat()
}

async function readPrompt(
  text: string,
  label: string | undefined,
  folder: string,
  problems: string[],
): Promise<readonly Prompt[]> {
  const isFile = text.startsWith('file://') || /^\S+\.(txt|md|j2|json|ya?ml)$/.test(text)
  const refused = !isFile && /^(exec:|langfuse:|portkey:|helicone:|https?:)|^\S+\.([cm]?[jt]s|py|rb|sh|csv)(:\w+)?$/.test(text)
  if (refused || (isFile && (text.includes('*') || !/\.(txt|md|j2|json|ya?ml)$/.test(text)))) {
    problems.push(`prompt ${short(text)} is not a text, .txt, .md, .j2, .json or .yaml file: code is not run`)
    return []
  }
  if (!isFile) return [{ label: label ?? text, messages: await messagesIn(text, problems) }]
  const file = join(folder, pathOf(text))
  const content = decoded(file, await load(file))
  const pieces = /\.(txt|md|j2)$/.test(text)
    ? content
        .split(/^---[ \t]*\r?$/m)
        .map((piece) => piece.trim())
        .filter(Boolean)
    : [content]
  const named = (i: number): string => (pieces.length > 1 ? `${label ?? text} ${i + 1}` : (label ?? text))
  return Promise.all(pieces.map(async (piece, i) => ({ label: named(i), messages: await messagesIn(piece, problems) })))
}

/** A JSON or YAML list of messages as a chat, any other text as one message of the user. */
async function messagesIn(text: string, problems: string[]): Promise<readonly Message[]> {
  const plain: readonly Message[] = [{ role: 'user', content: text }]
  if (!/^\s*(\[\s*\{|-\s+role\s*:)/.test(text)) return plain
  const { parse } = await import('yaml') // JSON is YAML too
  let list: unknown
  try {
    list = parse(text)
  } catch {
    return plain // a text may begin like a list
  }
  if (!Array.isArray(list) || !list.every((one) => isMap(one) && 'role' in one)) return plain
  return list.flatMap((one): readonly Message[] => {
    const { role, content } = one
    if ((role === 'system' || role === 'user' || role === 'assistant') && typeof content === 'string') return [{ role, content }]
    problems.push(`chat message ${short(one)} must have the role system, user or assistant and a text`)
    return []
  })
}

interface Case {
  /** Place for messages. */
  readonly where: string
  readonly test: unknown
}

async function readCases(
  raw: unknown,
  { folder, problems, lineOf }: { folder: string; problems: string[]; lineOf: Yaml['lineOf'] },
): Promise<readonly Case[]> {
  if (raw === undefined) problems.push('there are no tests')
  const all = Array.isArray(raw) ? raw : raw === undefined ? [] : [raw]
  const found = await Promise.all(
    all.map(async (test, i): Promise<readonly Case[]> => {
      const line = lineOf(['tests', i])
      return typeof test === 'string'
        ? casesIn(test, folder, problems)
        : [{ where: `test ${i + 1}${line ? ` (line ${line})` : ''}`, test }]
    }),
  )
  return found.flat()
}

async function casesIn(reference: string, folder: string, problems: string[]): Promise<readonly Case[]> {
  const path = pathOf(reference)
  const file = join(folder, path)
  const kind = /^[^*:]+\.(csv|jsonl|json|ya?ml)$/.exec(path)?.[1]
  if (kind === undefined) {
    problems.push(`tests "${reference}" is not one .csv, .jsonl, .json or .yaml file`)
    return []
  }
  if (kind === 'csv') return (await readRows(file)).map((row, i) => ({ where: `${path} row ${i + 1}`, test: csvTest(row) }))
  if (kind === 'jsonl') return (await readRows(file)).map((test, i) => ({ where: `${path} row ${i + 1}`, test }))
  const { value } = await readYaml(file)
  return (Array.isArray(value) ? value : [value]).map((test, i) => ({ where: `${path} test ${i + 1}`, test }))
}

/** A row of a CSV as a test: `__expected…` columns are asserts, other `__` columns settings, the rest variables. */
function csvTest(row: Row): Row {
  const vars: Record<string, unknown> = {}
  const assert: Row[] = []
  const rest: Record<string, unknown> = {}
  for (const [name, cell] of Object.entries(row)) {
    const value = textOf(cell)
    if (/^__expected\d*$/.test(name)) {
      if (value.trim()) assert.push(assertIn(value))
    } else if (name === '__threshold') {
      if (value.trim()) rest.threshold = Number(value)
    } else if (!name.startsWith('__')) vars[name] = value
    else if (!/^__(description|metric|metadata:.*)$/.test(name)) rest[name] = value
  }
  return { vars, assert, ...rest }
}

const testKeys = ['description', 'vars', 'assert', 'threshold', 'metadata', 'options']
const optionKeys = ['provider', 'runSerially', 'repeat']

/** The tests that one case stands for: one for each combination of its list-valued variables. */
function readTest(test: unknown, standard: unknown, where: string, problems: string[]): readonly SuiteTest[] {
  const say = (problem: string): void => void problems.push(`${where}: ${problem}`)
  const found = problems.length
  const layers = [standard, test].map((one) => (isMap(one) ? one : {}))
  if (!isMap(test)) say(`must be a map with vars and assert, got ${short(test)}`)
  for (const layer of layers) {
    const odd = [
      ...Object.keys(layer).filter((key) => !testKeys.includes(key)),
      ...Object.keys(isMap(layer.options) ? layer.options : {}).flatMap((key) =>
        optionKeys.includes(key) ? [] : [`options.${key}`],
      ),
    ]
    for (const key of odd) say(`"${key}" is not supported`)
    if (layer.vars !== undefined && !isMap(layer.vars)) say(`vars must be a map, got ${short(layer.vars)}`)
    if (layer.assert !== undefined && !Array.isArray(layer.assert)) say(`assert must be a list, got ${short(layer.assert)}`)
  }
  const vars = Object.assign({}, ...layers.map((layer) => (isMap(layer.vars) ? layer.vars : {})))
  for (const [name, value] of Object.entries(vars)) {
    const texts = (Array.isArray(value) ? value : [value]).filter((one) => typeof one === 'string')
    if (texts.some((text) => text.startsWith('file://')))
      say(`the variable "${name}" is read from a file, which is not supported: write it in place`)
    if (texts.some((text) => /\{\{|\{%/.test(text)))
      say(`the variable "${name}" holds a template, which is not supported: write it out`)
  }
  const threshold = layers[1]?.threshold ?? layers[0]?.threshold
  if (threshold !== undefined && !(typeof threshold === 'number' && Number.isFinite(threshold)))
    say(`threshold must be a number, got ${short(threshold)}`)
  const raw = layers.flatMap((layer) => (Array.isArray(layer.assert) ? layer.assert : []))
  if (raw.length === 0) say('has no assert, so nothing can be scored')
  return combinations(vars).flatMap((one, i) => {
    const read = raw.map((assert) => readAssert(assert, (text) => render(text, one)))
    if (i === 0) for (const problem of read) if (typeof problem === 'string') say(problem)
    const assert = read.filter((good) => typeof good !== 'string')
    if (i === 0 && raw.length > 0 && assert.every((good) => good.weight === 0) && problems.length === found)
      say('all weights are 0, so nothing can be scored')
    return [{ id: '', vars: one, assert, ...(typeof threshold === 'number' && { threshold }) }]
  })
}

function combinations(vars: Row): readonly Row[] {
  return Object.entries(vars).reduce<readonly Row[]>(
    (all, [name, value]) =>
      all.flatMap((one) => (Array.isArray(value) ? value : [value]).map((single) => ({ ...one, [name]: single }))),
    [{}],
  )
}
