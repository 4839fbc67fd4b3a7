// The suites by name. Whoever has data of their own names a folder, or a module that exports a suite's tasks.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '../core/errors.ts'
import type { EvolveOptions, ModelSpec, TaskOptions } from '../options.ts'
import type { Arm } from './arms.ts'
import type { Opened, Suite, Track } from './suite.ts'

/** Suites for which a model must be named. */
export const dataSuites = ['sql', 'mmlu-redux', 'bird'] as const
export type DataSuite = (typeof dataSuites)[number]

/** Who races, and with which models. */
export interface SuiteOptions {
  readonly arms: readonly Arm[]
  /** In place of what a config says. */
  readonly model?: ModelSpec
  readonly evolver?: ModelSpec
  readonly baseUrl?: string
  /** Tasks of the suite by name; left out: as its page says. */
  readonly only?: readonly string[]
  readonly protocol?: 'default' | 'paper'
}

type Made = () => Promise<Partial<EvolveOptions>>

/** A suite of data files in `folder`. @throws {ConfigError} for a folder without them, or a task that is not there. */
export async function dataSuite(name: DataSuite, folder: string, options: SuiteOptions): Promise<Suite> {
  const tasks = await { sql: sqlTasks, 'mmlu-redux': mmluTasks, bird: birdTasks }[name](folder, options.only)
  return suiteOf(name, tasks, options)
}

/** A suite of tasks, each made when its turn has come. */
export function suiteOf(name: string, tasks: ReadonlyMap<string, Made>, options: SuiteOptions): Suite {
  const { arms, model, evolver, baseUrl, protocol = 'default' } = options
  if (tasks.size === 0) throw new ConfigError(`suite "${name}" has no tasks`)
  const tracks = [...tasks].map(([task, make]): Track => {
    return { name: task, group: task, open: async () => opened(await make()) }
  })
  return {
    name,
    tracks,
    entrants: arms.map((arm) => ({
      name: arm.name,
      enter: async () => ({
        method: await arm.method(),
        ...(model !== undefined && { model }),
        ...(evolver !== undefined && { evolver }),
        ...(baseUrl !== undefined && { baseUrl }),
      }),
    })),
    shared: { protocol, racing: false }, // every candidate of every method gets the same draws
    isShort: false,
    settings: { protocol, tasks: [...tasks.keys()], model: nameOf(model), evolver: nameOf(evolver) },
    async [Symbol.asyncDispose]() {},
  }
}

/** A model's name; undefined: as the config says. */
export function nameOf(spec: ModelSpec | undefined): string | undefined {
  return typeof spec === 'string' || spec === undefined ? spec : 'modelId' in spec ? spec.modelId : spec.name
}

async function opened(config: Partial<EvolveOptions>): Promise<Opened> {
  const held: unknown = await config.task
  return {
    config,
    async [Symbol.asyncDispose]() {
      // as: looked at before
      if (typeof held === 'object' && held !== null && Symbol.asyncDispose in held)
        await (held as AsyncDisposable)[Symbol.asyncDispose]()
    },
  }
}

/** Folder with `databases/<db>/<db>.sqlite` and `questions/*.jsonl`: GeoQuery, Spider's world_1, KaggleDBQA's three databases. */
const sqlFiles: Readonly<Record<string, string>> = {
  geography: 'geography',
  world_1: 'spider-dev',
  GeoNuclearData: 'kaggledbqa',
  GreaterManchesterCrime: 'kaggledbqa',
  StudentMathScore: 'kaggledbqa',
}

async function sqlTasks(folder: string, only: readonly string[] = Object.keys(sqlFiles)): Promise<ReadonlyMap<string, Made>> {
  const { sqlTask } = await import('../tasks/sql/sql.ts')
  return chosen(only, Object.keys(sqlFiles), (db) => () => {
    const questions = join(folder, 'questions', `${sqlFiles[db]}.jsonl`)
    const group = db === 'geography' ? { groupBy: 'query_group' } : {} // questions of one pattern stay together
    return task(sqlTask({ name: `sql:${db}`, database: join(folder, 'databases'), questions, db, ...group }))
  })
}

async function mmluTasks(folder: string, only?: readonly string[]): Promise<ReadonlyMap<string, Made>> {
  const have = named(folder, '.jsonl')
  const { mmluTask } = await import('../tasks/mmlu.ts')
  return chosen(only ?? have, have, (subject) => () => task(mmluTask({ data: folder, subject })))
}

async function birdTasks(folder: string, only?: readonly string[]): Promise<ReadonlyMap<string, Made>> {
  const have = named(join(folder, 'dev_databases'), '')
  const { birdTask } = await import('../tasks/sql/bird.ts')
  return chosen(only ?? have, have, (db) => () => task(birdTask({ folder, db })))
}

async function task(made: Promise<NonNullable<TaskOptions['task']>>): Promise<Partial<EvolveOptions>> {
  return { task: await made }
}

function chosen(only: readonly string[], have: readonly string[], make: (name: string) => Made): ReadonlyMap<string, Made> {
  const stray = only.find((name) => !have.includes(name))
  if (stray !== undefined) throw new ConfigError(`no task "${stray}" (have: ${have.join(', ')})`)
  return new Map(only.map((name) => [name, make(name)]))
}

function named(folder: string, ending: string): readonly string[] {
  try {
    const files = readdirSync(folder).filter((file) => file.endsWith(ending) && !file.startsWith('.'))
    return files.map((file) => file.slice(0, file.length - ending.length)).sort()
  } catch (cause) {
    throw new ConfigError(`${folder}: no such folder; say with --data where the suite's files are`, { cause })
  }
}
