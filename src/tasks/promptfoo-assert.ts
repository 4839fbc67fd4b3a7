// The assertions of a promptfoo suite that are rules on text or a rubric, as its documentation describes them. What would run code,
// call another service or measure the call is refused when the suite is read, never skipped.
// Deviations: a regex that takes over a second doesn't match; a rubric passes at its threshold, else at 0.5, and its prompt is ours.
import { isDeepStrictEqual } from 'node:util'
import { ConfigError } from '../core/errors.ts'
import type { Grade } from '../core/task.ts'
import { type Judge, judged } from './judge.ts'
import { short } from './read.ts'
import { finder } from './scorers.ts'
import { textOf } from './template.ts'

export const assertTypes = [
  'equals',
  'contains',
  'icontains',
  'contains-any',
  'contains-all',
  'icontains-any',
  'icontains-all',
  'starts-with',
  'regex',
  'is-json',
  'contains-json',
  'llm-rubric',
] as const
/** Types that promptfoo has and this file has not: a text that begins with one of them is no value to equal. */
const otherTypes =
  'agent-rubric answer-relevance assert-set bleu classifier contains-html contains-sql contains-xml context-faithfulness context-recall ' +
  'context-relevance conversation-relevance cost ends-with factuality finish-reason g-eval gleu guardrails human is-html is-refusal is-sql ' +
  'is-valid-function-call is-valid-openai-function-call is-valid-openai-tools-call is-xml javascript latency levenshtein max-score meteor ' +
  'model-graded-closedqa model-graded-factuality moderation perplexity perplexity-score pi python rouge-l rouge-n rouge-s ruby search-rubric ' +
  'select-best similar skill-used tool-call-f1 trace-error-spans trace-span-count trace-span-duration webhook word-count'
export type AssertType = (typeof assertTypes)[number]

/** One check of an answer; plain JSON. */
export interface Assert {
  readonly type: AssertType
  /** Written with `not-` before its type. */
  readonly not: boolean
  readonly value: unknown
  readonly weight: number
  readonly threshold?: number
}

export interface Asserted {
  readonly asserts: readonly Assert[]
  /** The weighted score that passes the test; without it all its asserts must pass. */
  readonly threshold?: number | undefined
  /** What the model was asked, for the judge. */
  readonly question: string
}

const knownKeys = ['type', 'value', 'weight', 'threshold', 'metric', 'provider']

/** An assert as written in a suite, its value filled in by `render`; a text says why it can't be run. */
export function readAssert(raw: unknown, render: (text: string) => string): Assert | string {
  if (typeof raw !== 'object' || raw === null || !('type' in raw) || typeof raw.type !== 'string')
    return `an assert must have a type, got ${short(raw)}`
  const given: Readonly<Record<string, unknown>> = { ...raw }
  const not = raw.type.startsWith('not-')
  const name = not ? raw.type.slice('not-'.length) : raw.type
  const type = assertTypes.find((known) => known === name)
  if (!type) return `assert type "${raw.type}" ${refusal(raw.type)}`
  const other = Object.keys(given).find((key) => !knownKeys.includes(key))
  if (other !== undefined) return `assert "${raw.type}" has "${other}", which is not supported`
  const { weight = 1, threshold } = given
  if (typeof weight !== 'number' || !(weight >= 0) || !Number.isFinite(weight))
    return `assert "${raw.type}" has the weight ${short(weight)}; it must be 0 or more`
  if (threshold !== undefined && typeof threshold !== 'number')
    return `assert "${raw.type}" has the threshold ${short(threshold)}; it must be a number`
  if (typeof given.value === 'string' && given.value.startsWith('file://'))
    return `assert "${raw.type}" takes its value from a file, which is not supported: write it in place`
  const assert: Assert = {
    type,
    not,
    value: rendered(given.value, render),
    weight,
    ...(threshold !== undefined && { threshold }),
  }
  const wrong = wrongValue(assert)
  return wrong ? `assert "${raw.type}" ${wrong}, got ${short(given.value)}` : assert
}

function refusal(type: string): string {
  const code = /^(not-)?(javascript|python|ruby|webhook)$/.test(type)
  return code
    ? 'is code, which is not run: score with a task file of your own'
    : `is not supported (have: ${assertTypes.join(', ')}, and not- before them)`
}

function rendered(value: unknown, render: (text: string) => string): unknown {
  if (typeof value === 'string') return render(value)
  if (Array.isArray(value)) return value.map((item) => rendered(item, render))
  return value
}

function wrongValue({ type, value }: Assert): string | undefined {
  if (type === 'is-json' || type === 'contains-json') return value === undefined ? undefined : 'takes no schema here'
  if (type === 'equals') return value === undefined ? 'needs a value' : undefined
  if (type.endsWith('-any') || type.endsWith('-all')) return listOf(value).length > 0 ? undefined : 'needs a list of texts'
  if (type === 'regex') return wrongPattern(value)
  const text = typeof value === 'string' || (typeof value === 'number' && type.endsWith('contains'))
  return text && value !== '' ? undefined : 'needs a text'
}

function wrongPattern(value: unknown): string | undefined {
  if (typeof value !== 'string') return 'needs a pattern'
  try {
    finder(value)
    return undefined
  } catch (cause) {
    if (cause instanceof ConfigError) return `needs a pattern (${cause.message})`
    throw cause
  }
}

/** A list, or a text of values between commas, in double quotes where they hold commas themselves. */
function listOf(value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.map(textOf)
  if (typeof value !== 'string') return []
  const fields = value.match(/\s*(?:"(?:[^"\\]|\\.|"")*"|[^,]*)/g) ?? []
  return fields
    .map((field) =>
      field
        .trim()
        .replace(/^"(.*)"$/s, (_, inner: string) => inner.replace(/""|\\(["\\])/g, (all, one?: string) => one ?? all[0] ?? '')),
    )
    .filter(Boolean)
}

/** An assert in one text, as a CSV has it: `type: value`, `type(threshold): value`, or a text to equal. */
export function assertIn(text: string): Readonly<Record<string, unknown>> {
  if (/^(fn|eval):/.test(text)) return { type: 'javascript' }
  if (text.startsWith('grade:')) return { type: 'llm-rubric', value: text.slice('grade:'.length).trim() }
  const [, type = '', threshold, value] = /^([a-z0-9-]+)(?:\((\d+(?:\.\d+)?)\))?(?::([\s\S]*))?$/.exec(text) ?? []
  if (![...assertTypes, ...otherTypes.split(' ')].includes(type.replace(/^not-/, ''))) return { type: 'equals', value: text }
  return {
    type,
    ...(value !== undefined && { value: value.trim() }),
    ...(threshold !== undefined && { threshold: Number(threshold) }),
  }
}

/** The weighted mean of the asserts' scores; what failed is the feedback, and `pass` (0 or 1) is promptfoo's verdict. */
export async function gradeAsserts(answer: string, { asserts, threshold, question }: Asserted, judge: Judge): Promise<Grade> {
  let sum = 0
  let weights = 0
  let allPass = true
  const reasons: string[] = []
  for (const assert of asserts) {
    const { score, pass, reason } = await check(answer, assert, question, judge)
    sum += score * assert.weight
    weights += assert.weight
    allPass &&= pass
    if (reason) reasons.push(reason)
  }
  const score = sum / weights
  const pass = threshold === undefined ? allPass : score >= threshold
  return { score, ...(reasons.length > 0 && { feedback: reasons.join('\n') }), metrics: { pass: Number(pass) } }
}

interface Checked {
  readonly score: number
  readonly pass: boolean
  readonly reason?: string | undefined
}

async function check(answer: string, assert: Assert, question: string, judge: Judge): Promise<Checked> {
  if (assert.type === 'llm-rubric') {
    const grade = await judged({ rubric: textOf(assert.value), question, answer }, judge)
    const score = assert.not ? 1 - grade.score : grade.score
    return { score, pass: score >= (assert.threshold ?? 0.5), reason: score < 1 ? grade.feedback : undefined }
  }
  const pass = holds(answer, assert) !== assert.not
  return { score: Number(pass), pass, reason: pass ? undefined : `expected ${describe(assert)}` }
}

function holds(answer: string, { type, value }: Assert): boolean {
  const has = (text: string): boolean => answer.includes(text)
  const lower = answer.toLowerCase()
  const hasAnyCase = (text: string): boolean => lower.includes(text.toLowerCase())
  switch (type) {
    case 'equals':
      return typeof value === 'object' && value !== null
        ? isDeepStrictEqual(parsed(answer)?.value, value)
        : answer === textOf(value)
    case 'contains':
      return has(textOf(value))
    case 'icontains':
      return hasAnyCase(textOf(value))
    case 'contains-any':
      return listOf(value).some(has)
    case 'contains-all':
      return listOf(value).every(has)
    case 'icontains-any':
      return listOf(value).some(hasAnyCase)
    case 'icontains-all':
      return listOf(value).every(hasAnyCase)
    case 'starts-with':
      return answer.startsWith(textOf(value))
    case 'regex':
      return finder(textOf(value))(answer) === true
    case 'is-json':
      return parsed(answer) !== undefined
    case 'contains-json':
      return containsJson(answer)
    case 'llm-rubric':
      throw new TypeError('a rubric is not a rule on text')
  }
}

/** Whether some bracketed piece of the text is JSON; of a text that is all brackets only the first 1,000 pieces are looked at. */
function containsJson(text: string): boolean {
  const open: number[] = []
  let tries = 0
  for (let i = 0; i < text.length && tries < 1000; i++) {
    const c = text[i]
    if (c === '{' || c === '[') open.push(i)
    if (c !== '}' && c !== ']') continue
    const from = open.pop()
    if (from === undefined) continue
    tries++
    if (parsed(text.slice(from, i + 1))) return true
  }
  return false
}

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined // no JSON is an answer too
  }
}

/** An assert in words. */
export function describe({ type, not, value }: Assert): string {
  return `${not ? 'not ' : ''}${type}${value === undefined ? '' : ` ${JSON.stringify(value)}`}`
}
