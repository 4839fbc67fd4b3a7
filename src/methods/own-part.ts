// The part of a context that a method keeps what it learned in.
import { editable } from '../core/context.ts'
import { ConfigError } from '../core/errors.ts'
import type { Options } from '../core/facts.ts'

/** @throws {ConfigError} if the context has no such text part that may change; `keeps` = who keeps what there. */
export function requirePart({ context, rules }: Pick<Options, 'context' | 'rules'>, part: string, keeps: string): void {
  if (typeof context[part] === 'string' && editable(context, rules).includes(part)) return
  const what = context[part] === undefined ? 'does not have' : rules[part]?.frozen ? 'has frozen' : 'has as examples'
  throw new ConfigError(
    `${keeps} in a text part "${part}", which the context ${what} (have: ${Object.keys(context).join(', ')}); begin with ${part}: '' and let the task give it to the model`,
  )
}
