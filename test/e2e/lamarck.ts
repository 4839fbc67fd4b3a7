// The real CLI as a child process, in folders of its own.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { onTestFinished } from 'vitest'
import { marksExamples } from '../fault-server.ts'

const entry = resolve(import.meta.dirname, '../../src/cli/main.ts')

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Where {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
}

export interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Resolves when stdout holds the text. */
  saw(text: string): Promise<void>
}

/** No key of the machine's owner is in the environment. */
export const bare: Readonly<Record<string, string>> = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '' }

/** Starts `lamarck …`; `wrap` = a command that runs it in turn. */
export function start(args: readonly string[], { cwd, env = {} }: Where, wrap: readonly string[] = []): Started {
  const [command = '', ...rest] = [...wrap, process.execPath, entry, ...args]
  const child = spawn(command, rest, { cwd, env: { ...bare, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const out = { stdout: '', stderr: '' }
  const watchers: (() => void)[] = []
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => {
      out[name] += chunk
      for (const watch of [...watchers]) watch()
    })
  }
  const ended = new Promise<Ended>((done) => child.once('close', (code) => done({ code, ...out })))
  const saw = (text: string): Promise<void> =>
    new Promise((seen, missed) => {
      const look = (): void => {
        if (out.stdout.includes(text)) seen()
      }
      watchers.push(look)
      look()
      void ended.then(() => missed(new Error(`"${text}" was never printed; ${out.stdout}${out.stderr}`)))
    })
  return { child, ended, saw }
}

/** Runs `lamarck …` to its end. */
export function lamarck(args: readonly string[], where: Where, wrap: readonly string[] = []): Promise<Ended> {
  return start(args, where, wrap).ended
}

/** A new folder with these files, gone when the test is over. */
export function folder(files: Readonly<Record<string, string | Uint8Array>> = {}): string {
  const path = mkdtempSync(join(tmpdir(), 'lamarck-cli-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), content)
  }
  return path
}

/** Problems of the marks world, as a data file. */
export function problems(n: number): string {
  return marksExamples(0, n)
    .map((e) => `${JSON.stringify(e)}\n`)
    .join('')
}

/** A config of the marks world; `more` = further options, as text. */
export function config(more = '', task = "data: './q.jsonl', scorer: 'label'"): string {
  return `import { defineConfig } from 'lamarck'
import { qaTask } from 'lamarck/tasks/qa'

export default defineConfig({
  task: qaTask({ name: 'marks', context: { instructions: 'Answer with the label. ++++' }, ${task} }),
  ${more}
})
`
}
