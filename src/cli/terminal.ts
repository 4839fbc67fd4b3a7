// Everything the CLI prints goes through here: what a model or a data file wrote can't steer the terminal, a reader that has gone away
// does not end a run, colours are used only where they are wanted.
import { stripVTControlCharacters, styleText } from 'node:util'

export type Paint = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

export interface Terminal {
  /** A line for people, on stdout; left out by `--quiet`. */
  say(text: string): void
  /** What was asked for, on stdout: never left out. */
  out(text: string): void
  /** A warning or an error, on stderr. */
  warn(text: string): void
  paint(how: Paint, text: string): string
  /** Columns of the screen; undefined when stdout is no terminal. */
  readonly columns: number | undefined
  /** Writes to the screen as it is: for a block that updates itself. */
  draw(text: string): void
}

/** Flags that every command has. */
export interface CommonFlags {
  readonly quiet?: boolean
  readonly color?: boolean
  readonly verbose?: boolean
}

/** The process's own terminal. */
export function terminal({ quiet = false, color = true }: CommonFlags = {}): Terminal {
  const { stdout } = process
  const colored = color && stdout.isTTY && stdout.hasColors()
  return {
    say: (text) => void (quiet || stdout.write(`${text}\n`)),
    out: (text) => void stdout.write(`${text}\n`),
    warn: (text) => void process.stderr.write(`${text}\n`),
    paint: (how, text) => (colored ? styleText(how, text, { validateStream: false }) : text),
    get columns() {
      return stdout.isTTY && process.env.TERM !== 'dumb' ? stdout.columns || 80 : undefined
    },
    draw: (text) => void stdout.write(text),
  }
}

/** A reader that went away (`| head`) is no fault of the run: what it would have read is dropped. */
export function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
}

/** Text that someone else wrote, safe to print: without escape sequences and control characters, but for line ends and tabs. */
export function safe(text: string): string {
  return stripVTControlCharacters(text).replace(/(?![\n\t])\p{Cc}|\p{Bidi_Control}/gu, '')
}

/** The same, in one line of at most `length` characters. */
export function oneLine(text: string, length = 300): string {
  const line = safe(text)
    .replace(/\s*[\n\t]\s*/g, ' ')
    .trim()
  const chars = [...line]
  return chars.length > length ? `${chars.slice(0, length - 1).join('')}…` : line
}
