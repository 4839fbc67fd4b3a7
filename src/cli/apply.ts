// lamarck apply RUN FILE: what was scored, byte for byte, into a file of the user's.
import { isUtf8 } from 'node:buffer'
import { existsSync } from 'node:fs'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { type Context, outside, partText, regionEnd, regionStart } from '../core/context.ts'
import { ConfigError } from '../core/errors.ts'
import type { Report } from '../report.ts'
import { here } from './config.ts'
import { findRun, openRuns, reportIn, type StoreFlags } from './runs-in.ts'
import { type CommonFlags, terminal } from './terminal.ts'

export interface ApplyFlags extends CommonFlags, StoreFlags {
  readonly part?: string
  readonly force?: boolean
}

export async function applyCommand(id: string, file: string, flags: ApplyFlags): Promise<number> {
  await using opened = await openRuns(flags)
  const found = await findRun(opened, id)
  const report = await reportIn(opened, found)
  const { context } = chosenOf(report, flags.force ?? false)
  const name = partNamed(context, flags.part)
  const path = resolve(here, file)
  const text = textFor(context, name, file)
  const bytes = existsSync(path) ? await readFile(path) : undefined
  if (bytes && !isUtf8(bytes)) throw new ConfigError(`${file} is no UTF-8 text: what lies outside the marks could not be kept`)
  const now = bytes?.toString('utf8')
  const contexts = found.told.state.nodes.map((node) => node.context)
  const next =
    now === undefined
      ? text
      : intoFile(now, text, { file, known: contexts.map((c) => textFor(c, name, file)), force: flags.force ?? false })
  await replaceFile(path, next)
  terminal(flags).say(now === next ? `${file} has it already` : `${file}: ${name} of run ${report.run}, node ${report.chosen}`)
  return 0
}

/** Whole or not at all: a full disk leaves the file as it was. */
async function replaceFile(path: string, text: string): Promise<void> {
  const half = `${path}.lamarck-${process.pid}`
  try {
    await writeFile(half, text)
    await rename(half, path)
  } catch (error) {
    await rm(half, { force: true })
    throw new ConfigError(`${path} can't be written: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

/** The context to ship and the node it is. @throws {ConfigError} if no improvement was shown, unless forced. */
export function chosenOf(report: Report, force: boolean): { readonly context: Context; readonly node: number } {
  if (report.gain.shown || force) return { context: report.chosenContext, node: report.chosen }
  throw new ConfigError(
    `run "${report.run}" showed no improvement, so its seed is still the context to use; --force takes node ${report.chosen} all the same`,
  )
}

function partNamed(context: Context, given: string | undefined): string {
  const names = Object.keys(context)
  const name = given ?? (names.length === 1 ? names[0] : undefined)
  if (name !== undefined && Object.hasOwn(context, name)) return name
  const which = given === undefined ? `has ${names.length} parts: choose one with --part` : `has no part "${given}"`
  throw new ConfigError(`the context ${which} (have: ${names.join(', ')})`)
}

function textFor(context: Context, name: string, file: string): string {
  const part = context[name] ?? ''
  if (typeof part === 'string') return part
  if (file.endsWith('.json')) return `${JSON.stringify(part, undefined, 2)}\n`
  if (file.endsWith('.jsonl')) return part.map((turn) => `${JSON.stringify(turn)}\n`).join('')
  throw new ConfigError(
    `part "${name}" is a list of examples: write it into a .json or .jsonl file, not ${file} (${partText(part).length} characters)`,
  )
}

export interface Into {
  /** For messages. */
  readonly file: string
  /** What the part was at any node: a file that holds one of these may be replaced. */
  readonly known: readonly string[]
  readonly force: boolean
}

/** The file with the text in it: inside its marks if it has some, else in place of an earlier text of the run. @throws {ConfigError} */
export function intoFile(now: string, text: string, { file, known, force }: Into): string {
  const regions = insides(now)
  if (regions.length === 0) {
    if (force || now.trim() === '' || known.some((k) => k.trim() === now.trim())) return text
    throw new ConfigError(
      `${file} holds something else than this run's contexts; put ${regionStart} and ${regionEnd} where the text belongs, or replace it all with --force`,
    )
  }
  const marked = insides(text)
  if (marked.length > 0 && (marked.length !== regions.length || outside(text) !== outside(now)) && !force) {
    throw new ConfigError(
      `${file}: the text outside its marks is not the one that was scored; take the change back, or replace all with --force`,
    )
  }
  if (marked.length > 0) return text
  if (regions.length > 1)
    throw new ConfigError(`${file} has ${regions.length} regions and the context is one text: leave the marks of one`)
  const [region = ''] = regions
  const [head = '', tail = ''] = [
    now.slice(0, now.indexOf(regionStart) + regionStart.length),
    now.slice(now.indexOf(regionStart) + regionStart.length + region.length),
  ]
  const framed = region.startsWith('\n') ? `\n${text}${text.endsWith('\n') ? '' : '\n'}` : text
  return `${head}${framed}${tail}`
}

/** What stands inside each pair of marks; an unclosed region reaches to the end. */
function insides(text: string): readonly string[] {
  return text
    .split(regionStart)
    .slice(1)
    .map((piece) => (piece.includes(regionEnd) ? piece.slice(0, piece.indexOf(regionEnd)) : piece))
}
