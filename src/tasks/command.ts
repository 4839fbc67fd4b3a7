// Any file evolves, any shell command scores it, in any language. For each attempt the file and the example are written to a fresh
// folder, the command runs there in a process group of its own, and the last line it prints is the score: a number from 0 to 1, or
// JSON `{ "score": …, "feedback": "…" }`. The exit code doesn't matter where there is a score.
// No score: on the text that the run started from, or when the command can't be started, it is the user's to fix; on an edited text
// the edit broke it, which is a bad answer. A number outside [0, 1] is the user's to fix always: it would be misread as a score.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { kill } from 'node:process'
import pLimit from 'p-limit'
import type { Cost } from '../core/budget.ts'
import { partText, type Rules, sameContext } from '../core/context.ts'
import { ConfigError } from '../core/errors.ts'
import type { Model } from '../core/model.ts'
import type { Example, Grade, Task } from '../core/task.ts'
import { type Data, decoded, load, loadSplits, type SplitOptions, short } from './read.ts'

export interface CommandOptions extends SplitOptions {
  readonly name?: string
  /** The file to start from, or its text. */
  readonly evolve: { readonly file: string } | { readonly text: string }
  readonly rules?: Rules
  /** A line for `sh`, or a program with its arguments. `{file}` and `{example}` become paths; LAMARCK_FILE and LAMARCK_EXAMPLE hold them too. */
  readonly command: string | readonly string[]
  readonly data: Data
  /** Milliseconds an attempt may take; then its process group is killed and it scores 0. */
  readonly timeout?: number
  /** How many attempts run at once. */
  readonly concurrency?: number
  /** Where the command runs; default: the current folder. */
  readonly cwd?: string
  /** The variables there are, such as `process.env`; of them only PATH, HOME, LANG, TMPDIR and those of `env` reach the command. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Names of further variables that the command gets. */
  readonly env?: readonly string[]
  /** What the command spends by itself at most, an attempt: needed for a dollar budget. */
  readonly cost?: Partial<Cost>
}

/** What one run of the command came to. */
export interface Ran {
  /** Exit code; null if it was killed. */
  readonly code: number | null
  readonly late: boolean
  /** The last 64 KiB of what it printed. */
  readonly out: string
  /** The last line on standard error. */
  readonly complaint: string
  readonly edited: boolean
}

const alwaysPassed = ['PATH', 'HOME', 'LANG', 'TMPDIR']
const keptBytes = 65_536

/** A task whose one part is a file's text and whose score is what a command prints. It makes no model calls. */
export async function commandTask(options: CommandOptions): Promise<Task<Example, Ran, Model>> {
  const {
    name = 'command',
    evolve,
    rules,
    command,
    data,
    timeout = 60_000,
    concurrency = availableParallelism(),
    cwd,
    environment,
    env = [],
    cost,
  } = options
  if (command.length === 0) throw new ConfigError('the command is empty; give a line for the shell or a list of words')
  if (!(timeout > 0)) throw new ConfigError(`timeout must be above 0 ms, got ${timeout}`)
  const part = 'file' in evolve ? basename(evolve.file) : 'text'
  const seed = { [part]: 'file' in evolve ? decoded(evolve.file, await load(evolve.file)) : evolve.text }
  const splits = await loadSplits(data, options)
  const limit = pLimit(concurrency)
  const passed = Object.fromEntries([...alwaysPassed, ...env].map((key) => [key, environment[key]]))
  return {
    name,
    seed,
    ...(rules && { rules }),
    ownCost: cost === undefined ? 'undeclared' : () => ({ calls: 0, tokens: 0, usd: 0, ...cost }),
    examples: (split) => splits[split] ?? [],
    run: ({ context, example, seed: drawn, signal }) =>
      limit(async () => {
        signal.throwIfAborted()
        const folder = await mkdtemp(join(tmpdir(), 'lamarck-'))
        try {
          const paths = { file: join(folder, part), example: join(folder, 'example.json') }
          await writeFile(paths.file, partText(context[part] ?? ''))
          await writeFile(paths.example, JSON.stringify(example))
          const variables = { ...passed, LAMARCK_FILE: paths.file, LAMARCK_EXAMPLE: paths.example, LAMARCK_SEED: String(drawn) }
          signal.throwIfAborted() // writing took its time
          const ran = await runCommand(wordsOf(command, paths), { cwd, env: variables, timeout, signal })
          return { ...ran, edited: !sameContext(context, seed) }
        } finally {
          await rm(folder, { recursive: true, force: true })
        }
      }),
    score: (ran) => scoreOf(ran, { command, timeout }),
    show: (example, ran) => ({
      question: JSON.stringify(example),
      answer: ran?.out ?? '',
      ...(ran?.complaint && { error: ran.complaint }),
    }),
  }
}

/** The program and its arguments. Paths are ours and are quoted for the shell. */
function wordsOf(
  command: string | readonly string[],
  paths: { readonly file: string; readonly example: string },
): readonly string[] {
  const put = (word: string, quote: (path: string) => string): string =>
    word.replace(/\{(file|example)\}/g, (_, which: 'file' | 'example') => quote(paths[which]))
  if (typeof command !== 'string') return command.map((word) => put(word, (path) => path))
  return ['sh', '-c', put(command, (path) => `'${path.replaceAll("'", "'\\''")}'`)]
}

interface Running {
  readonly cwd: string | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  readonly timeout: number
  readonly signal: AbortSignal
}

/** Runs a program to its end, its time limit or the signal, and leaves no process of its group behind. */
function runCommand(
  [program = '', ...args]: readonly string[],
  { cwd, env, timeout, signal }: Running,
): Promise<Omit<Ran, 'edited'>> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    const out = tail(child.stdout)
    const err = tail(child.stderr)
    let late = false
    const end = (): void => killGroup(child)
    const timer = setTimeout(() => {
      late = true
      end()
    }, timeout)
    signal.addEventListener('abort', end)
    const settle = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
    }
    child.once('error', (cause) => {
      settle()
      reject(
        new ConfigError(`the command "${program}" can't be started (${cause.message}); check its name, PATH and cwd`, { cause }),
      )
    })
    // What the command left running in the background would hold its pipes open for ever.
    child.once('exit', end)
    child.once('close', (code) => {
      settle()
      if (signal.aborted) reject(signal.reason)
      else resolve({ code, late, out: out(), complaint: lastLine(err()) })
    })
  })
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    kill(-child.pid, 'SIGKILL')
  } catch (cause) {
    // ESRCH: the whole group has ended; EPERM on some systems: only a zombie is left of it.
    if (!(cause instanceof Error && 'code' in cause && (cause.code === 'ESRCH' || cause.code === 'EPERM'))) throw cause
  }
}

/** Collects the last bytes of a stream. */
function tail(stream: NodeJS.ReadableStream): () => string {
  let kept = Buffer.alloc(0)
  stream.on('data', (chunk: Buffer) => {
    kept = Buffer.concat([kept, chunk]).subarray(-keptBytes)
  })
  return () => kept.toString('utf8')
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1)?.trim().slice(0, 500) ?? ''
}

/** The grade in the last line printed. @throws {ConfigError} where the command, and not an edit, is at fault. */
export function scoreOf(
  ran: Ran,
  { command, timeout }: { readonly command: string | readonly string[]; readonly timeout: number },
): Grade {
  if (ran.late) return { score: 0, feedback: `it took longer than the limit of ${timeout / 1000} s` }
  const said = `the command ${short(typeof command === 'string' ? command : command.join(' '))}`
  const grade = gradeIn(lastLine(ran.out))
  if (grade && grade.score >= 0 && grade.score <= 1) return grade
  if (grade) throw new ConfigError(`${said} printed the score ${grade.score}; scores are from 0 to 1: scale it`)
  const why = `${ran.code === null ? 'was killed' : `ended with exit code ${ran.code}`} and printed no score${ran.complaint && `: ${ran.complaint}`}`
  if (ran.edited) return { score: 0, feedback: `it ${why}` }
  throw new ConfigError(`${said} ${why}; its last line must be a number from 0 to 1 or {"score": …, "feedback": "…"}`)
}

function gradeIn(line: string): Grade | undefined {
  const value = parsed(line)
  if (typeof value === 'number') return { score: value }
  if (typeof value !== 'object' || value === null || !('score' in value) || typeof value.score !== 'number') return undefined
  return {
    score: value.score,
    ...('feedback' in value && typeof value.feedback === 'string' && { feedback: value.feedback.slice(0, 4000) }),
  }
}

function parsed(line: string): unknown {
  if (/^[-+]?(\.\d+|\d+\.)$/.test(line)) return Number(line) // as many languages print them
  if (/^[-+]?(nan|inf(inity)?)$/i.test(line)) return Number.NaN
  try {
    return JSON.parse(line)
  } catch {
    return undefined // no score is an outcome, told apart by the caller
  }
}
