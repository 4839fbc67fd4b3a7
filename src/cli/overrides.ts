// What the command line says over a config, as plain JSON: it is kept with the run, so that `resume` needs no flag again.
import { readFile } from 'node:fs/promises'
import { relative, resolve } from 'node:path'
import type { Budget } from '../core/budget.ts'
import type { Context } from '../core/context.ts'
import { ConfigError } from '../core/errors.ts'
import { parseTree } from '../core/tree-json.ts'
import type { EvolveOptions } from '../options.ts'
import { policyFile } from '../policy-named.ts'
import { type Config, here } from './config.ts'

/** Flags of the commands that work on a task. */
export interface RunFlags {
  readonly model?: string
  readonly evolver?: string
  readonly judge?: string
  readonly writer?: string
  readonly method?: string
  readonly rounds?: number
  readonly inFlight?: number
  readonly batch?: number
  readonly seed?: number
  readonly protocol?: string
  readonly concurrency?: number
  readonly timeout?: number
  readonly retries?: number
  readonly baseUrl?: string
  /** False with --no-racing; the command line gives true without it. */
  readonly racing?: boolean
  readonly stopAfter?: number
  readonly maxUsd?: number
  readonly maxCalls?: number
  readonly maxTokens?: number
  readonly maxMinutes?: number
}

const same = ['model', 'evolver', 'judge', 'method', 'rounds', 'inFlight', 'batch', 'seed', 'protocol', 'concurrency'] as const
const more = ['writer', 'timeout', 'retries'] as const

/** Options as they go over those of the config. */
export interface Overrides extends Pick<RunFlags, (typeof same)[number] | (typeof more)[number] | 'baseUrl'> {
  readonly budget?: Budget
  readonly racing?: false
  readonly stop?: { readonly after: number }
  readonly context?: Context
}

/** The options that flags say; to be asked once the config is loaded. */
export function overridesOf(flags: RunFlags): Overrides {
  const policy = policyFile(flags.evolver)
  const { stopAfter, maxUsd, maxCalls, maxTokens, maxMinutes, baseUrl } = flags
  const budget = Object.entries({ usd: maxUsd, calls: maxCalls, tokens: maxTokens, minutes: maxMinutes })
  const limits = Object.fromEntries(budget.filter(([, limit]) => limit !== undefined))
  return {
    ...Object.fromEntries([...same, ...more].filter((name) => flags[name] !== undefined).map((name) => [name, flags[name]])),
    // Given from where the command was given, kept as the config would say it.
    ...(policy && { evolver: `policy:${relative(process.cwd(), resolve(here, policy))}` }),
    ...(baseUrl !== undefined && { baseUrl }),
    ...(flags.racing === false && { racing: false as const }),
    ...(Object.keys(limits).length > 0 && { budget: limits }),
    ...(stopAfter !== undefined && { stop: { after: stopAfter } }),
  }
}

/** The same without what must not be kept: a name and password inside the base URL. */
export function keepable({ baseUrl, ...rest }: Overrides): Overrides {
  if (baseUrl === undefined || !/^https?:/.test(baseUrl) || !URL.canParse(baseUrl)) return rest
  const url = new URL(baseUrl)
  url.username = ''
  url.password = ''
  url.search = ''
  return { ...rest, baseUrl: url.href }
}

/** Later ones win; limits are taken one by one. */
export function together(...all: readonly Overrides[]): Overrides {
  const budget = Object.assign({}, ...all.map((one) => one.budget)) as Budget // limits over limits
  return Object.assign({}, ...all, Object.keys(budget).length > 0 ? { budget } : {}) as Overrides // overrides over overrides
}

/** The config with the overrides over it. */
export function withOverrides({ options }: Config, overrides: Overrides): EvolveOptions {
  const { budget, stop, ...rest } = overrides
  const merged = {
    ...options,
    ...rest,
    ...((budget ?? options.budget) && { budget: { ...options.budget, ...budget } }),
    ...((stop ?? options.stop) && { stop: { ...options.stop, ...stop } }),
  }
  return merged as EvolveOptions // checked name by name when the run is prepared
}

/** The config's context, its one text replaced by the best of a `tree.json` of the reference code. @throws {ConfigError} */
export async function contextFromTree(file: string, { options }: Config): Promise<Context> {
  const best = parseTree(await parsed(file)).nodes.reduce((a, b) => ((b.performance ?? -1) > (a.performance ?? -1) ? b : a))
  const task = typeof options.task === 'function' ? undefined : await options.task
  const context: Readonly<Record<string, unknown>> = options.context ?? task?.seed ?? {}
  const parts = Object.entries(context)
  const texts = parts.filter(
    ([, part]) => typeof part === 'string' || (typeof part === 'object' && part !== null && 'text' in part),
  )
  const [found] = texts
  if (texts.length !== 1 || !found) {
    throw new ConfigError(
      `--start-from replaces the one text of a context, and this one has ${texts.length}: ${Object.keys(context).join(', ')}`,
    )
  }
  const [name, part] = found
  const replaced = typeof part === 'string' ? best.instructions : { ...(part as object), text: best.instructions } // has a text: seen above
  return { ...context, [name]: replaced } as Context // a context as the config writes it, parsed with the rest
}

async function parsed(file: string): Promise<unknown> {
  const path = resolve(here, file)
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ConfigError(`${file}: can't be read; name a tree.json that the reference code wrote`, { cause })
  })
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new ConfigError(`${file}: not JSON; name a tree.json that the reference code wrote`, { cause })
  }
}
