// lamarck bench <suite>: methods × tasks × seeds on equal budgets, and one table.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as after } from 'node:timers/promises'
import { type Arm, ablationNames, ablations, armOf, defaultMethods } from '../bench/arms.ts'
import { idOf, type RaceOptions, race, refuseUnfit } from '../bench/race.ts'
import { type BenchRecord, recordOf } from '../bench/record.ts'
import type { Suite } from '../bench/suite.ts'
import { type DataSuite, dataSuite, dataSuites, type SuiteOptions, suiteOf } from '../bench/suites.ts'
import { benchNotes, benchTables } from '../bench/tables.ts'
import { ConfigError } from '../core/errors.ts'
import { openStore } from '../evolve.ts'
import type { EvolveOptions } from '../options.ts'
import { benchPage } from './bench-page.ts'
import { loadConfig } from './config.ts'
import { onSignal } from './follow.ts'
import { overridesOf, type RunFlags } from './overrides.ts'
import type { StoreFlags } from './runs-in.ts'
import { table } from './table.ts'
import { type CommonFlags, safe, type Terminal, terminal } from './terminal.ts'
import { clock, count, wholeNumber } from './words.ts'

/** The flags of `lamarck bench`. */
export interface BenchFlags
  extends CommonFlags,
    StoreFlags,
    Pick<
      RunFlags,
      'model' | 'evolver' | 'baseUrl' | 'rounds' | 'protocol' | 'concurrency' | 'maxCalls' | 'maxUsd' | 'maxTokens'
    > {
  readonly methods?: readonly string[]
  readonly preset?: string
  readonly seeds?: number
  readonly data?: string
  readonly tasks?: readonly string[]
  readonly policy?: readonly string[]
  readonly companies?: number
  readonly parallel?: number
  readonly quick?: boolean
  /** Processes to divide the tasks of a short suite among. */
  readonly workers?: number
  /** "1/2": this process runs the first of two shares of the tasks, and prints nothing. */
  readonly share?: string
  readonly out?: string
  readonly html?: string | true
  readonly json?: boolean
}

/** All of them are in memory at once. */
const mostCompanies = 1000
/** Every run of a task is begun at once where runs are short. */
const mostSeeds = 1000

/** Races and prints the table. Resolves to the exit code. */
export async function benchCommand(name: string, flags: BenchFlags, version: string): Promise<number> {
  const screen = terminal(flags)
  const began = Date.now()
  for (const flag of ['rounds', 'parallel', 'concurrency', 'workers'] as const) wholeNumber(flag, flags[flag] ?? 1)
  wholeNumber('companies', flags.companies ?? 1, { most: mostCompanies })
  wholeNumber('seeds', flags.seeds ?? 1, { most: mostSeeds })
  for (const file of [flags.out, flags.html]) if (typeof file === 'string') refuseUnwritable(file) // before hours have gone by
  const stop = new AbortController()
  using _ = onSignal((again) => (again ? process.exit(130) : stop.abort(new Error('interrupted'))))
  try {
    await using suite = await suiteNamed(name, flags, { screen, signal: stop.signal })
    const command = commandOf(name, flags)
    const record = await raced(suite, flags, { screen, signal: stop.signal, version, command })
    if (!record) return 0
    const file = flags.out ?? join('.lamarck', `bench-${suite.name}.json`)
    write(file, `${recordText(record)}\n`)
    if (flags.html !== undefined) {
      const page = flags.html === true ? `lamarck-bench-${suite.name}.html` : flags.html
      write(page, benchPage(record))
      screen.say(`page: ${page}`)
    }
    if (flags.json) screen.out(JSON.stringify(record))
    else {
      screen.out(safe(benchText(record)))
      screen.say(`\nall runs are in ${file}; ${clock((Date.now() - began) / 1000)} by the clock`)
    }
    return 0
  } catch (error) {
    if (!stop.signal.aborted) throw error
    screen.warn('interrupted; the same command goes on')
    return 130
  }
}

/** The tables of a race and what they rest on. */
export function benchText(record: BenchRecord): string {
  const right = (rows: readonly (readonly string[])[]): readonly number[] =>
    (rows[0] ?? []).flatMap((head, i) => (i > 0 && head !== 'against' && head !== '' ? [i] : []))
  const tables = benchTables(record).map(({ title, rows }) => `${title}\n\n${table(rows, right(rows))}`)
  return [...tables, benchNotes(record).join('\n')].join('\n\n')
}

/** One run a line: two races of the same settings can be compared by any program. */
export function recordText(record: BenchRecord): string {
  const lists = ['runs', 'problems', 'curves', 'tracks', 'entrants', 'pairs'] as const
  const lines = Object.entries(record).map(([key, value]) => {
    const isList = lists.some((list) => list === key) && Array.isArray(value)
    const text = isList ? `[\n${value.map((one) => JSON.stringify(one)).join(',\n')}\n]` : JSON.stringify(value)
    return `${JSON.stringify(key)}: ${text}`
  })
  return `{\n${lines.join(',\n')}\n}`
}

function write(file: string, text: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  } catch (cause) {
    throw unwritable(file, cause)
  }
}

/** Touches what will be written at the end, which stays as it is. @throws {ConfigError} if that can't be. */
function refuseUnwritable(file: string): void {
  const isThere = existsSync(file)
  try {
    mkdirSync(dirname(file), { recursive: true })
    closeSync(openSync(file, 'a'))
  } catch (cause) {
    throw unwritable(file, cause)
  }
  if (!isThere) rmSync(file)
}

function unwritable(file: string, cause: unknown): ConfigError {
  const why = cause instanceof Error ? cause.message : cause
  return new ConfigError(`${file} can't be written: ${why}; give another file, the race goes on where it was`, { cause })
}

interface Around {
  readonly screen: Terminal
  readonly signal: AbortSignal
}

async function raced(
  suite: Suite,
  flags: BenchFlags,
  { screen, signal, version, command }: Around & { readonly version: string; readonly command: string },
): Promise<BenchRecord | undefined> {
  const { quick = false, rounds = 25, concurrency, protocol } = flags
  const seeds = Array.from({ length: wholeNumber('seeds', flags.seeds ?? (quick ? 3 : 5)) }, (_, i) => i + 1)
  const { budget: asked = {} } = overridesOf(flags)
  const budget =
    Object.keys(asked).length > 0 || flags.rounds !== undefined || suite.calls === undefined ? asked : { calls: suite.calls }
  const parallel = wholeNumber('parallel', flags.parallel ?? (suite.isShort ? 1000 : 1))
  const storeName = flags.store ?? join('.lamarck', 'bench.db')
  await using store = await openStore(storeName)
  const options = {
    ...{ seeds, budget, store, parallel, signal, rounds },
    ...(concurrency !== undefined && { concurrency }),
  }
  if (flags.share !== undefined) {
    await race({ ...suite, tracks: shareOf(suite.tracks, flags.share) }, options)
    return undefined
  }
  await refuseUnfit(suite, budget)
  screen.say(`${suite.name}: ${suite.entrants.length} rows × ${suite.tracks.length} tasks × ${seeds.length} seeds`)
  const onRan = progress(screen, flags.json ?? false)
  const workers =
    suite.isShort && storeName !== 'memory' ? Math.min(flags.workers ?? availableParallelism(), suite.tracks.length) : 1
  if (workers > 1) await divided(suite, { workers, seeds, store, onRan, signal, budget, rounds })
  const rans = await race(suite, { ...options, ...(workers === 1 && { onRan: (_, done, total) => onRan(done, total) }) })
  const settings = { rounds, parallel, concurrency: concurrency ?? 64, protocol: protocol ?? 'default' }
  const made = { lamarck: version, node: process.version, machine: `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores` }
  return recordOf(suite, { rans, settings, budget, seeds, made, command })
}

/** The command as anyone would give it; folders are left out, which are of one machine. */
function commandOf(suite: string, flags: BenchFlags): string {
  const { methods, preset, seeds, rounds, maxCalls, maxUsd, maxTokens, model, evolver, companies, quick, protocol, tasks } = flags
  const given = { methods, preset, seeds, rounds, maxCalls, maxUsd, maxTokens, model, evolver, companies, quick, protocol, tasks }
  const words = Object.entries(given).flatMap(([name, value]) => {
    if (value === undefined) return []
    const flag = `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`
    return value === true ? [flag] : [flag, String(value)]
  })
  return ['npx lamarck bench', basename(suite), ...words].join(' ')
}

/** Runs all of a suite into the store by processes of this same command, a share of the tasks each. */
async function divided(
  suite: Suite,
  {
    workers,
    seeds,
    store,
    onRan,
    signal,
    budget,
    rounds,
  }: Pick<RaceOptions, 'seeds' | 'store' | 'budget' | 'rounds'> & {
    readonly workers: number
    readonly onRan: Progress
    readonly signal: AbortSignal
  },
): Promise<void> {
  const names = suite.tracks.flatMap(({ name: track }) =>
    seeds.flatMap((seed) => suite.entrants.map(({ name: entrant }) => idOf(suite, { entrant, track, seed }, { budget, rounds }))),
  )
  const ids = new Set(names)
  const ended = async (): Promise<number> => (await store.runs()).filter((run) => ids.has(run.id)).length
  if ((await ended()) === ids.size) return
  const children = Array.from({ length: workers }, (_, i) => {
    const args = [...process.execArgv, ...process.argv.slice(1), '--share', `${i + 1}/${workers}`]
    return spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  })
  const end = (): void => {
    for (const child of children) child.kill('SIGINT')
  }
  signal.addEventListener('abort', end, { once: true })
  const codes = Promise.all(
    children.map(async (child) => {
      let said = ''
      child.stderr.on('data', (chunk) => (said += chunk))
      const [code] = (await once(child, 'close')) as [number | null] // as Node says of this event
      if (code !== 0) end()
      return { code, said: said.trim() }
    }),
  )
  let going = true
  const over = codes.then(() => (going = false))
  while (going) {
    await Promise.race([over, after(2_000, undefined, { ref: false })])
    onRan(await ended(), ids.size)
  }
  signal.throwIfAborted()
  // The one that failed, before those that were ended for it.
  const failed = (await codes).filter(({ code }) => code !== 0).sort((a, b) => Number(a.code === 130) - Number(b.code === 130))[0]
  if (failed?.code === 2) throw new ConfigError(failed.said)
  if (failed) throw new Error(`a share of the race failed: ${failed.said}`)
}

/** Every so many tasks, beginning with one's own. */
function shareOf<T>(tracks: readonly T[], share: string): readonly T[] {
  const [own = 1, all = 1] = share.split('/').map(Number)
  return tracks.filter((_, i) => i % all === own - 1)
}

type Progress = (done: number, total: number) => void

function progress({ say }: Terminal, isQuiet: boolean): Progress {
  const from = Date.now()
  let told = from
  let before: number | undefined
  return (done, total) => {
    const now = Date.now()
    before ??= done
    if (isQuiet || done === before || (now - told < 20_000 && done < total)) return
    told = now
    const left = ((now - from) / (done - before)) * (total - done)
    say(`${count(done)} of ${count(total)} runs, about ${clock(left / 1000)} left`)
  }
}

/** @throws {ConfigError} for a suite, method or preset that is not there. */
async function suiteNamed(name: string, flags: BenchFlags, around: Around): Promise<Suite> {
  if (name === 'finch') return finchNamed(flags, around)
  for (const flag of ['policy', 'companies'] as const)
    if (flags[flag] !== undefined) throw new ConfigError(`--${flag} is for suite finch: leave it out`)
  if (flags.protocol !== undefined && flags.protocol !== 'default' && flags.protocol !== 'paper')
    throw new ConfigError(`unknown protocol "${flags.protocol}" (have: default, paper)`)
  const arms = armsOf(flags)
  const options: SuiteOptions = {
    arms,
    ...(flags.model !== undefined && { model: flags.model }),
    ...(flags.evolver !== undefined && { evolver: flags.evolver }),
    ...(flags.baseUrl !== undefined && { baseUrl: flags.baseUrl }),
    ...(flags.tasks && { only: flags.tasks }),
    ...(flags.protocol === 'paper' && { protocol: flags.protocol }),
  }
  const known = dataSuites.find((suite) => suite === name)
  if (known) return dataNamed(known, flags, options)
  if (!/\.m?[jt]s$/.test(name)) {
    throw new ConfigError(
      `unknown suite "${name}" (have: finch, ${dataSuites.join(', ')}, or a config of yours: lamarck bench my.bench.ts)`,
    )
  }
  if (flags.data !== undefined) throw new ConfigError(`${name} says itself where its data is: leave --data out`)
  const { options: found } = await loadConfig(name)
  const tasks =
    'tasks' in found && typeof found.tasks === 'object' && found.tasks !== null
      ? Object.entries(found.tasks)
      : [[basename(name).split('.')[0]!, found] as const]
  // as: configs, checked name by name when their run is prepared
  const all = new Map(tasks.map(([task, config]) => [task, async () => (await config) as Partial<EvolveOptions>] as const))
  const missing = flags.tasks?.find((task) => !all.has(task))
  if (missing !== undefined) throw new ConfigError(`${name} has no task "${missing}" (have: ${[...all.keys()].join(', ')})`)
  const own = new Map([...all].filter(([task]) => flags.tasks?.includes(task) ?? true))
  return suiteOf(basename(name).split('.')[0]!, own, options)
}

function dataNamed(name: DataSuite, { data }: BenchFlags, options: SuiteOptions): Promise<Suite> {
  if (data === undefined) throw new ConfigError(`suite "${name}" needs its files: say with --data where they are`)
  if (options.model === undefined) throw new ConfigError(`suite "${name}" needs a model that answers: --model openai:gpt-5-mini`)
  return dataSuite(name, data, options)
}

async function finchNamed(flags: BenchFlags, { screen, signal }: Around): Promise<Suite> {
  const { finchSuite, trainedPolicies } = await import('../bench/finch-suite.ts')
  const { quick = false, preset, evolver, policy = [] } = flags
  if (flags.model !== undefined) throw new ConfigError('in Finch the model that answers is the simulated one: leave --model out')
  if (preset !== undefined && ![...ablationNames, 'reward', 'transfer'].includes(preset)) {
    throw new ConfigError(`unknown preset "${preset}" (have: ${[...ablationNames, 'reward', 'transfer'].join(', ')})`)
  }
  const isOneArm = preset === 'reward' || preset === 'transfer'
  const rewards = preset === 'reward' ? (['grpo', 'delta', 'gain'] as const) : (['grpo', 'delta'] as const)
  refuseIdle(flags, { isOneArm, most: rewards.length })
  const arms = isOneArm ? [armOf('lse')] : armsOf(flags)
  if (flags.policy?.length === 0) throw new ConfigError('--policy names no file: give one, or leave it out and it is trained')
  const gone = policy.find((file) => !existsSync(file))
  if (gone !== undefined) throw new ConfigError(`no policy file "${gone}"; lamarck train makes one and says where`)
  if (policy.length === 0 && evolver === undefined && flags.share === undefined) {
    await using suite = await finchSuite({ arms, policies: [], companies: 1 })
    await refuseUnfit(suite) // before minutes of training
  }
  const missing = evolver === undefined ? rewards.slice(policy.length) : []
  const trained = await trainedPolicies(missing, {
    ...{ folder: join('.lamarck', 'bench'), signal },
    ...(quick && { steps: quickSteps }),
    onFact: (advantage, fact) => {
      if (fact.kind === 'looked' && !flags.json)
        screen.say(
          `training (${advantage}): step ${fact.step}, dev ${(100 * fact.dev).toFixed(1)} % of the way, in Finch (simulated)`,
        )
    },
  })
  const [lse, ...others] = [...policy, ...trained].map((checkpoint, i) => ({ name: policyNames[rewards[i]!], checkpoint }))
  const companies = wholeNumber('companies', flags.companies ?? (quick ? 8 : 32))
  return finchSuite({
    arms,
    policies: lse ? [lse] : [],
    beside: others,
    companies,
    ...(evolver !== undefined && { evolver }),
    ...(flags.baseUrl !== undefined && { baseUrl: flags.baseUrl }),
    ...(preset === 'transfer' && { actor: 'finch-actor-2' }),
    ...(preset !== undefined && { variant: preset }),
  })
}

/** @throws {ConfigError} for a flag that would change nothing in Finch. */
function refuseIdle(
  { data, tasks, protocol, methods, evolver, policy = [] }: BenchFlags,
  { isOneArm, most }: { readonly isOneArm: boolean; readonly most: number },
): void {
  const stray = Object.entries({ data, tasks, protocol }).find(([, value]) => value !== undefined)
  if (stray) throw new ConfigError(`Finch has its own data, tasks and protocol: leave --${stray[0]} out`)
  if (isOneArm && methods) throw new ConfigError('--preset says which methods race: leave --methods out')
  if (evolver !== undefined && policy.length > 0)
    throw new ConfigError('--evolver takes the place of policies: leave --policy out')
  if (policy.length > most) throw new ConfigError(`--policy names ${policy.length} checkpoints: give ${most} at most`)
}

const policyNames = { grpo: 'trained', delta: 'trained with delta', gain: 'trained with gain' } as const

/** Steps of a training for `--quick`. */
const quickSteps = 30

function armsOf({ methods, preset }: BenchFlags): readonly Arm[] {
  if (methods?.length === 0) throw new ConfigError('--methods names none: give one or more, with commas between')
  const twice = methods?.find((method, i) => methods.indexOf(method) < i)
  if (twice !== undefined) throw new ConfigError(`--methods names ${twice} twice: name each once`)
  if (preset === undefined) return (methods ?? defaultMethods).map((method) => armOf(method))
  if (methods) throw new ConfigError('--preset says which methods race: leave --methods out')
  const found = ablationNames.find((name) => name === preset)
  if (!found)
    throw new ConfigError(`unknown preset "${preset}" (have: ${ablationNames.join(', ')}; in Finch also reward, transfer)`)
  return ablations[found]
}
