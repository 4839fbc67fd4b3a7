// The config file: found, imported from its own folder, and every way it can be wrong said in one line.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { ConfigError } from '../core/errors.ts'
import type { EvolveOptions } from '../options.ts'
import { typed } from './words.ts'

export interface Config {
  /** Absolute path. */
  readonly file: string
  /** What its default export says; the model may come from the command line. */
  readonly options: Partial<EvolveOptions>
}

const names = ['lamarck.config.ts', 'lamarck.config.mts', 'lamarck.config.js', 'lamarck.config.mjs']

/** Folder that the command was given in; importing a config changes the process's own. */
export const here: string = process.cwd()

/** Path of the config: the one named, or the one in this folder. */
export function findConfig(given?: string): string | undefined {
  const place = resolve(here, given ?? '.')
  if (given !== undefined && existsSync(place) && !statSync(place).isDirectory()) return place
  return names.map((name) => join(place, name)).find((path) => existsSync(path))
}

/** The config at a path, or of this folder. @throws {ConfigError} naming the file, the line where there is one, and the remedy. */
export async function loadConfig(given?: string): Promise<Config> {
  const file = findConfig(given)
  if (file === undefined) {
    const missing = given === undefined ? `no ${names[0]} in ${here}` : `${given}: no such config`
    throw new ConfigError(
      `${missing}; write one with ${typed('lamarck init')}, or name yours: ${typed(`lamarck evolve path/to/${names[0]}`)}`,
    )
  }
  hookOnce()
  process.chdir(dirname(file)) // so that the paths in a config are those of its folder
  const exports = await imported(file)
  const options: unknown = await exports.default
  if (options === undefined) {
    throw new ConfigError(`${basename(file)} has no default export; end it with: export default defineConfig({ … })`)
  }
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new ConfigError(`${basename(file)} exports ${JSON.stringify(options) ?? typeof options}; export defineConfig({ … })`)
  }
  if ('task' in options && options.task instanceof Promise) options.task.catch(() => {}) // awaited, and thrown, when the run is prepared
  return { file, options: options as Partial<EvolveOptions> } // checked name by name when the run is prepared
}

async function imported(file: string): Promise<{ readonly default?: unknown }> {
  try {
    return await import(pathToFileURL(file).href)
  } catch (cause) {
    throw whatIsWrong(cause, file)
  }
}

function whatIsWrong(cause: unknown, file: string): unknown {
  if (!(cause instanceof Error) || cause instanceof ConfigError) return cause
  const code = 'code' in cause ? cause.code : undefined
  const wanted = /^Cannot find (?:package|module) '([^']+)'/.exec(cause.message)?.[1]
  if (code === 'ERR_MODULE_NOT_FOUND' && wanted !== undefined) {
    const isPackage = cause.message.includes('package')
    const what = isPackage
      ? `the package "${wanted}", which is not installed: npm install ${wanted}`
      : `${wanted}, which is not there`
    return new ConfigError(`${basename(file)} imports ${what}`, { cause })
  }
  const place = placeOf(cause, file)
  return new ConfigError(`${place}: ${cause.message.split('\n')[0]}; mend the config`, { cause })
}

/** `file:line` of an error, as its stack says; a syntax error of JavaScript has no line there, so Node is asked once more. */
function placeOf(error: Error, file: string): string {
  const name = basename(file)
  const lineIn = (text: string): string | undefined => /^\d+/.exec(text.split(`${name}:`)[1] ?? '')?.[0]
  const line = lineIn(error.stack ?? '')
  if (line !== undefined || !(error instanceof SyntaxError)) return line === undefined ? name : `${name}:${line}`
  const found = lineIn(spawnSync(process.execPath, ['--check', file], { encoding: 'utf8' }).stderr)
  return found === undefined ? name : `${name}:${found}`
}

let hooked = false

/**
 * Lets a config import `lamarck` from wherever it lies: it is always this one, installed beside it or not. TypeScript files of a folder
 * without a package.json, or with one of an older kind, are modules.
 */
function hookOnce(): void {
  if (hooked) return
  hooked = true
  const own = ownExports()
  registerHooks({
    resolve(specifier, context, next) {
      const url = own.get(specifier)
      if (url !== undefined) return { url, shortCircuit: true }
      const found = next(specifier, context)
      const isUntold = found.url.startsWith('file:') && /\.ts$/.test(found.url) && !found.url.includes('/node_modules/')
      return isUntold && !found.format?.startsWith('commonjs') ? { ...found, format: 'module-typescript' } : found
    },
  })
}

/** `lamarck`, `lamarck/tasks/qa`, … to the files behind them, built or source. */
function ownExports(): ReadonlyMap<string, string> {
  const root = new URL('../../', import.meta.url)
  const isSource = fileURLToPath(import.meta.url).endsWith('.ts')
  // as: our own package.json, whose shape a test of the package checks
  const { name, exports } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
    name: string
    exports: Record<string, string | { default: string }>
  }
  const files = Object.entries(exports).map(([path, to]): [string, string] => {
    const built = typeof to === 'string' ? to : to.default
    const file = isSource ? built.replace('./dist/', './src/').replace(/\.js$/, '.ts') : built
    return [path.replace('.', name), new URL(file, root).href]
  })
  return new Map(files)
}
