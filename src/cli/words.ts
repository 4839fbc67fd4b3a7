// Numbers and times as people read and give them.
import type { Cost } from '../core/budget.ts'
import { ConfigError } from '../core/errors.ts'
import type { Interval } from '../core/statistics.ts'
import { dollars, percent } from '../report.ts'

/**
 * "lamarck report", as it can be typed where this program was started: after npx, or through the scripts of a clone. `npm` = what npm says of
 * itself to a program that it starts.
 */
export function typed(command: string, npm: NodeJS.ProcessEnv = process.env): string {
  const { npm_package_name: name, npm_lifecycle_event: script, npm_command: how } = npm
  const isClone = name === 'lamarck' && (script === 'start' || script === 'lamarck')
  if (isClone) return command.replace(/^lamarck/, 'npm run lamarck --')
  return how === 'exec' || script === 'npx' ? `npx ${command}` : command
}

export function count(n: number): string {
  return Math.round(n).toLocaleString('en-US')
}

/** "1 node", "3 nodes". */
export function many(n: number, what: string): string {
  return `${count(n)} ${what}${n === 1 ? '' : 's'}`
}

/** "3:07", "1:02:09". */
export function clock(seconds: number): string {
  const s = Math.max(0, Math.round(seconds))
  const [h, m, rest] = [Math.floor(s / 3600), Math.floor(s / 60) % 60, String(s % 60).padStart(2, '0')]
  return h > 0 ? `${h}:${String(m).padStart(2, '0')}:${rest}` : `${m}:${rest}`
}

/** "1,234 calls, 56,789 tokens, $0.1200"; dollars only where there are some. */
export function costs({ calls, tokens, usd }: Cost): string {
  return [many(calls, 'call'), many(tokens, 'token'), ...(usd > 0 ? [dollars(usd)] : [])].join(', ')
}

/** "70.0 % (58.9 to 81.1)". */
export function within(mean: number, [low, high]: Interval): string {
  return `${percent(mean)} (${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)})`
}

/** @throws {ConfigError} naming the flag, unless it is a whole number from `least` to `most`. */
export function wholeNumber(
  flag: string,
  value: number,
  { least = 1, most = Number.POSITIVE_INFINITY }: { readonly least?: number; readonly most?: number | undefined } = {},
): number {
  if (value > most) throw new ConfigError(`${flag} is ${value}: give ${most} at most`)
  if (Number.isInteger(value) && value >= least) return value
  throw new ConfigError(`${flag} is ${value}: give a whole number from ${least}`)
}
