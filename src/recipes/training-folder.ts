// The folder of a training: held by one process at a time, its record read line by line and replaced whole.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ConfigError } from '../core/errors.ts'
import { type Holder, isAlive, thisProcess } from '../stores/holder.ts'

/**
 * Makes a folder and holds it until disposed; the hold of a process that has ended is none.
 * @throws {ConfigError} if it can't be written, or another process that lives holds it.
 */
export function hold(folder: string): Disposable {
  const file = join(folder, 'holder.json')
  const me = thisProcess()
  const other = holderIn(file)
  if (other && other.pid !== me.pid && isAlive(other, me.host, { silence: 0, patience: Number.POSITIVE_INFINITY })) {
    const who = `pid ${other.pid} on ${other.host}`
    throw new ConfigError(
      `${folder} is held by another training (${who}): wait for it, or give another folder; if it is gone, delete ${file}`,
    )
  }
  writing(folder, () => {
    mkdirSync(folder, { recursive: true })
    rmSync(file, { force: true })
    writeFileSync(file, JSON.stringify(me), { flag: 'wx' }) // of two that begin at once, one is refused
  })
  return { [Symbol.dispose]: () => rmSync(file, { force: true }) }
}

/** Replaces a file: after a kill or on a full disk it is the old one or the new one. @throws {ConfigError} if it can't be written. */
export function replaceWhole(file: string, text: string): void {
  writing(dirname(file), () => {
    writeFileSync(`${file}.part`, text)
    renameSync(`${file}.part`, file)
  })
}

/** The lines of a file, parsed; a last one that was cut off is none. @throws {ConfigError} naming the file and the line that is no JSON. */
export function parsedLines(file: string): readonly unknown[] {
  const text = reading(file)
  const lines = text.split('\n').slice(0, -1)
  return lines.map((line, i) => {
    try {
      return JSON.parse(line) as unknown
    } catch (cause) {
      throw new ConfigError(strange(file, i), { cause })
    }
  })
}

/** What is said of a line, from 0, that is none of a training. */
export function strange(file: string, line: number): string {
  return `line ${line + 1} of ${file} is damaged, or the file is not the record of a training: give another folder`
}

function reading(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ConfigError(`${file} can't be read: ${messageOf(cause)}; give another folder`, { cause })
  }
}

function writing(folder: string, write: () => void): void {
  try {
    write()
  } catch (cause) {
    throw new ConfigError(`${folder} can't be written: ${messageOf(cause)}; make room, or give another folder`, { cause })
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

/** Undefined where there is none, or one that was killed while it wrote its name. */
function holderIn(file: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Holder // written above
  } catch {
    return undefined
  }
}
