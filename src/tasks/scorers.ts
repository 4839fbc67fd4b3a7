// Grades of one text against one expected value, without a model. Each is made in two steps: the expected value is checked and
// prepared once, when the data are loaded, so that a value which can't be scored is found before anything is spent.
// `same text` below means equal after Unicode NFC, trimming, and each run of white space read as one space; case counts.
import { isDeepStrictEqual } from 'node:util'
import { createContext, Script } from 'node:vm'
import { ConfigError } from '../core/errors.ts'
import type { Grade } from '../core/task.ts'
import { short } from './read.ts'
import { textOf } from './template.ts'

/** A scorer takes the expected value (@throws {ConfigError} if it can't score against it) and gives a function of the answer. */
export type Scorer = (expected: unknown) => (answer: string) => Grade

/** The same text as the expected value, or as one of a list of them. */
export function exact({ ignoreCase = false }: { readonly ignoreCase?: boolean } = {}): Scorer {
  return anyOf(ignoreCase, (answer, gold) => answer === gold)
}

/** The expected text, or one of a list of them, is somewhere in the answer. */
export function contains({ ignoreCase = false }: { readonly ignoreCase?: boolean } = {}): Scorer {
  return anyOf(ignoreCase, (answer, gold) => answer.includes(gold))
}

function anyOf(ignoreCase: boolean, fits: (answer: string, gold: string) => boolean): Scorer {
  const read = (text: string): string => (ignoreCase ? even(text).toLowerCase() : even(text))
  return (expected) => {
    const golds = (Array.isArray(expected) ? expected : [expected]).map((gold) => read(textOf(gold)))
    if (golds.length === 0 || golds.includes(''))
      throw new ConfigError(`can't score against the empty expected value ${short(expected)}; give a text`)
    return (answer) => {
      const got = read(answer)
      return verdict(
        golds.some((gold) => fits(got, gold)),
        expected,
        answer,
      )
    }
  }
}

function even(text: string): string {
  return text.normalize('NFC').trim().replace(/\s+/g, ' ')
}

/** The expected value is a JavaScript pattern found somewhere in the answer; on answers that take it over a second: not found. */
export function regex({ flags = 'u' }: { readonly flags?: string } = {}): Scorer {
  return (expected) => {
    const find = finder(textOf(expected), flags)
    return (answer) => {
      const found = find(answer)
      if (found === 'late')
        return { score: 0, feedback: `expected a match of /${textOf(expected)}/, which took over 1 s on this answer` }
      return found ? { score: 1 } : { score: 0, feedback: `expected a match of /${textOf(expected)}/, got ${clipped(answer)}` }
    }
  }
}

/** A pattern as a function that can't hang on a hostile answer. @throws {ConfigError} if it is no pattern. */
export function finder(pattern: string, flags = ''): (text: string) => boolean | 'late' {
  if (pattern === '') throw new ConfigError('the empty pattern matches everything; give a regular expression')
  try {
    new RegExp(pattern, flags)
  } catch (cause) {
    throw new ConfigError(`not a regular expression: /${pattern}/${flags}; fix the pattern`, { cause })
  }
  return (text) => {
    try {
      return testScript.runInContext(createContext({ pattern, flags, text }), { timeout: 1000 }) === true
    } catch (cause) {
      if (typeof cause === 'object' && cause !== null && 'code' in cause && cause.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT')
        return 'late'
      throw cause
    }
  }
}

// Only a script run by `vm` can be given a time limit; the pattern and the text go in as values, never as code.
const testScript = new Script('new RegExp(pattern, flags).test(text)')

/**
 * The last number in the answer equals the expected one within `tolerance` (absolute), or one part in 10⁹ of it. Thousands commas
 * are read; a percent or currency sign is not: "50 %" is 50.
 */
export function number({ tolerance = 0 }: { readonly tolerance?: number } = {}): Scorer {
  if (!(tolerance >= 0)) throw new ConfigError(`tolerance must be 0 or more, got ${tolerance}`)
  return (expected) => {
    const gold = typeof expected === 'number' ? expected : lastNumber(textOf(expected))
    if (gold === undefined || !Number.isFinite(gold))
      throw new ConfigError(`can't score against ${short(expected)}: not a number; use another scorer or fix the row`)
    return (answer) => {
      const got = lastNumber(answer)
      if (got === undefined) return { score: 0, feedback: `expected ${gold}, got no number: ${clipped(answer)}` }
      return verdict(Math.abs(got - gold) <= Math.max(tolerance, Math.abs(gold) * 1e-9), gold, String(got))
    }
  }
}

/** The last number in a text that a double can hold. A minus after a letter or digit is a dash. */
export function lastNumber(text: string): number | undefined {
  const found = text.match(/(?:(?<![\p{L}\d])[-−+])?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?/giu)
  const last = Number(found?.at(-1)?.replaceAll(',', '').replace('−', '-') ?? Number.NaN)
  return Number.isFinite(last) ? last : undefined
}

/**
 * The JSON of the answer deeply equals the expected value: key order is free, array order counts. The JSON is the whole answer, or
 * its last fenced block, or what lies from its first bracket to its last. An expected text that is JSON is read as JSON.
 */
export function json(): Scorer {
  return (expected) => {
    if (expected === undefined || expected === '')
      throw new ConfigError("can't score against a missing expected value; give JSON")
    const gold = typeof expected === 'string' ? (parsed(expected) ?? { value: expected }) : { value: expected }
    return (answer) => {
      const got = jsonIn(answer)
      if (!got) return { score: 0, feedback: `expected ${short(gold.value)}, got no JSON: ${clipped(answer)}` }
      return verdict(isDeepStrictEqual(got.value, gold.value), gold.value, answer)
    }
  }
}

function jsonIn(text: string): { readonly value: unknown } | undefined {
  const fence = text.lastIndexOf('```')
  const open = fence < 0 ? -1 : text.lastIndexOf('```', fence - 1)
  const block = open < 0 ? '' : text.slice(open + 3, fence).replace(/^\w*\n/, '')
  const first = text.search(/[[{]/)
  const last = Math.max(text.lastIndexOf(']'), text.lastIndexOf('}'))
  return parsed(text) ?? parsed(block) ?? (first < 0 ? undefined : parsed(text.slice(first, last + 1)))
}

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined // no JSON is an answer too: the caller says so in its feedback
  }
}

/**
 * The first of the labels named in the answer is the expected one. Case and punctuation don't count, only whole words do; of labels
 * that start at the same word the longest is taken.
 */
export function label({ labels }: { readonly labels: readonly string[] }): Scorer {
  const known = new Map<string, string>()
  for (const name of labels) {
    const key = words(name)
    if (key === '') throw new ConfigError(`the label ${short(name)} has no letter or digit; use the scorer "exact"`)
    if ((known.get(key) ?? name) !== name)
      throw new ConfigError(
        `the labels "${known.get(key)}" and "${name}" differ in case or punctuation only; use the scorer "exact"`,
      )
    known.set(key, name)
  }
  const keys = [...known.keys()].sort((a, b) => b.length - a.length)
  return (expected) => {
    const gold = words(textOf(expected))
    if (!known.has(gold)) throw new ConfigError(`${short(expected)} is not one of the labels ${[...known.values()].join(', ')}`)
    return (answer) => {
      const text = ` ${words(answer)} `
      const found = keys.map((key) => ({ key, at: text.indexOf(` ${key} `) })).filter((f) => f.at >= 0)
      if (found.length === 0)
        return {
          score: 0,
          feedback: `expected ${textOf(expected)}, got none of ${[...known.values()].join(', ')}: ${clipped(answer)}`,
        }
      const first = found.reduce((a, b) => (b.at < a.at ? b : a)).key
      return verdict(first === gold, expected, known.get(first) ?? first)
    }
  }
}

function words(text: string): string {
  return (
    text
      .normalize('NFC')
      .toLowerCase()
      .match(/[\p{L}\p{M}\p{N}]+/gu) ?? []
  ).join(' ')
}

function verdict(right: boolean, expected: unknown, got: string): Grade {
  const wanted = Array.isArray(expected) ? expected.map(textOf).join(' or ') : textOf(expected)
  return right ? { score: 1 } : { score: 0, feedback: `expected ${clip(wanted)}, got ${clipped(got)}` }
}

function clipped(answer: string): string {
  return answer.trim() === '' ? 'an empty answer' : clip(answer.trim())
}

function clip(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text
}
