// Runs SQL of unknown intent: read-only, one SELECT, in processes that are killed on the time limit. What a query may do is decided
// in sandbox-worker.ts; this file owns the processes, the queue and the cache.
import type { ChildProcessByStdio } from 'node:child_process'
import { spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { statSync } from 'node:fs'
import type { Socket } from 'node:net'
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { execPath } from 'node:process'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { ConfigError } from '../../core/errors.ts'
import type { Equality, Result } from './result.ts'
import type { Query, Reply, Setup } from './sandbox-worker.ts'

export interface SandboxOptions extends Equality {
  /** Processes at most; they start when needed. Default: the machine's cores, at most 4. */
  readonly workers?: number
  /** Milliseconds one query may take. Default 30,000, as BIRD. */
  readonly timeLimit?: number
  /** Rows one query may give. Default 1,000,000. */
  readonly maxRows?: number
  /** Bytes of one value, and characters of all distinct rows together. Default 32 MiB. */
  readonly maxBytes?: number
  /** Bytes a process may hold resident; looked at every 50 ms. Default 1 GiB. */
  readonly maxMemory?: number
  /** Results remembered; 0 = none. Default 10,000. */
  readonly cache?: number
}

export interface Sandbox extends AsyncDisposable {
  /**
   * Runs one query on a SQLite file. Whatever the SQL does is a result; the same file (path, size, time of change) and the same
   * bytes of SQL give the remembered one, errors included.
   * @throws {ConfigError} if the database can't be read or no process can be started.
   */
  query(database: string, sql: string, signal?: AbortSignal): Promise<Result>
}

/** A longer statement is no answer to a question: it is refused unseen. */
const maxSql = 1_000_000 // characters
/** Queries sent to a process before it has answered: enough to keep it busy, few enough not to wait behind a slow one. */
const window = 32
const startLimit = 60_000 // ms

export function sqlSandbox(options: SandboxOptions = {}): Sandbox {
  return new Pool(options)
}

interface Job {
  query: Query
  readonly settle: (result: Result) => void
  readonly fail: (error: Error) => void
}

interface Worker {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>
  /** Sent and no answer received. Answers come in this order, some at a time. */
  readonly jobs: Job[]
  received: number
  /** How many it said it had answered, when a query was slow. */
  answered: number
  readonly ended: Promise<void>
  /** Whether it has said that it runs. */
  ready: boolean
  timer: NodeJS.Timeout
  /** The end of what it wrote to standard error. */
  complaint: string
}

class Pool implements Sandbox {
  readonly #setup: Setup
  readonly #size: number
  readonly #timeLimit: number
  readonly #cacheSize: number
  /** In order of last use, the oldest first. */
  readonly #cache = new Map<string, Promise<Result>>()
  readonly #workers = new Set<Worker>()
  #queue: Job[] = []
  #scheduled = false
  #closed = false

  constructor(options: SandboxOptions) {
    const { workers = Math.min(4, availableParallelism()), timeLimit = 30_000, cache = 10_000 } = options
    const { maxRows = 1_000_000, maxBytes = 32 * 2 ** 20, maxMemory = 2 ** 30, order = 'ignore', duplicates = 'ignore' } = options
    for (const [name, value] of Object.entries({ workers, timeLimit, maxRows, maxBytes, maxMemory })) {
      if (!(value >= 1 && value <= 2 ** 31 - 1))
        throw new ConfigError(`sql sandbox: ${name} is ${value}; give a number from 1 to 2^31 - 1`)
    }
    this.#setup = { equality: { order, duplicates }, maxRows, maxBytes, maxMemory }
    this.#size = workers
    this.#timeLimit = timeLimit
    this.#cacheSize = cache
  }

  async query(database: string, sql: string, signal?: AbortSignal): Promise<Result> {
    signal?.throwIfAborted()
    if (sql.length > maxSql) return { kind: 'error', why: 'size', message: `the SQL is longer than ${maxSql} characters` }
    // SQLite stops reading there: what follows would run unseen, or not at all.
    if (sql.includes('\0')) return { kind: 'error', why: 'sql', message: 'the SQL holds a NUL character' }
    const query = { path: resolve(database), version: versionOf(database), sql, careful: false }
    return abortable(this.#cacheSize ? this.#remembered(query) : this.#run(query), signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    const workers = [...this.#workers]
    for (const worker of workers) keepAlive(worker, true) // until it has ended
    const jobs = [...this.#queue.splice(0), ...workers.flatMap((worker) => this.#stop(worker))]
    for (const job of jobs) job.fail(new ConfigError('the sql sandbox was closed while a query was running'))
    await Promise.all(workers.map((worker) => worker.ended))
  }

  #remembered(query: Query): Promise<Result> {
    const sql = query.sql.length > 1000 ? hash('sha256', query.sql, 'hex') : `=${query.sql}`
    const key = `${query.version} ${query.path}\0${sql}`
    const known = this.#cache.get(key)
    if (known) {
      this.#cache.delete(key)
      this.#cache.set(key, known) // as the last one used
      return known
    }
    const result = this.#run(query)
    this.#cache.set(key, result)
    result.catch(() => this.#cache.delete(key))
    const [oldest] = this.#cache.keys()
    if (this.#cache.size > this.#cacheSize && oldest !== undefined) this.#cache.delete(oldest)
    return result
  }

  #run(query: Query): Promise<Result> {
    if (this.#closed) throw new ConfigError('the sql sandbox is closed')
    return new Promise((settle, fail) => {
      this.#queue.push({ query, settle, fail })
      if (this.#scheduled) return
      this.#scheduled = true
      queueMicrotask(() => this.#dispatch())
    })
  }

  /** Hands out the queue: a query to each worker first, then more to those with the fewest; one write a worker. */
  #dispatch(): void {
    this.#scheduled = false
    const sent = new Map<Worker, Query[]>()
    let at = 0
    for (; at < this.#queue.length; at++) {
      const worker = this.#free()
      if (!worker) break
      const job = this.#queue[at]!
      if (worker.jobs.push(job) === 1) this.#busy(worker)
      const had = sent.get(worker)
      if (had) had.push(job.query)
      else sent.set(worker, [job.query])
    }
    this.#queue = this.#queue.slice(at)
    for (const [worker, queries] of sent) worker.child.stdin.write(queries.map((q) => `${JSON.stringify(q)}\n`).join(''))
  }

  #free(): Worker | undefined {
    let least: Worker | undefined
    for (const worker of this.#workers) if (!least || worker.jobs.length < least.jobs.length) least = worker
    if (this.#workers.size < this.#size && (!least || least.jobs.length > 0)) return this.#start()
    return least && least.jobs.length < window ? least : undefined
  }

  #start(): Worker {
    const heap = Math.ceil(this.#setup.maxMemory / 2 ** 20) // MiB; the whole is looked at by the worker itself, and is less
    const program = fileURLToPath(new URL(`./sandbox-worker.${import.meta.url.split('.').at(-1)}`, import.meta.url))
    const child = spawn(execPath, ['--no-warnings', `--max-old-space-size=${heap}`, program], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {},
    })
    const ended = new Promise<void>((done) => child.once('close', () => done()))
    const timer = setTimeout(() => child.kill('SIGKILL'), startLimit)
    const worker: Worker = { child, jobs: [], received: 0, answered: 0, ended, ready: false, timer, complaint: '' }
    child.once('error', (cause) => {
      worker.complaint = cause.message
    })
    child.once('close', () => this.#died(worker))
    child.stdin.on('error', () => {}) // killed with queries unread; `close` follows and deals with them
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      worker.complaint = (worker.complaint + text).slice(-500)
      worker.answered = Number(/^@(\d+)$/m.exec(text)?.[1] ?? worker.answered)
    })
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.#receive(worker, line)
      if (worker.jobs.length <= window / 2) this.#dispatch() // several at once: fewer writes, fewer wake-ups
    })
    child.stdin.write(`${JSON.stringify(this.#setup)}\n`)
    this.#workers.add(worker)
    return worker
  }

  /** The first line says that it runs, each later one answers its first query. */
  #receive(worker: Worker, line: string): void {
    if (!this.#workers.has(worker)) return
    if (!worker.ready) {
      worker.ready = true
      clearTimeout(worker.timer)
      if (worker.jobs.length) this.#busy(worker)
      return
    }
    const job = worker.jobs.shift()
    worker.received++
    if (worker.jobs.length) worker.timer.refresh()
    else this.#idle(worker)
    const reply: Reply = JSON.parse(line)
    if (reply.kind === 'broken') job?.fail(new ConfigError(`cannot read database "${job.query.path}": ${reply.message}`))
    else job?.settle(reply)
  }

  #busy(worker: Worker): void {
    keepAlive(worker, true)
    if (worker.ready) worker.timer = setTimeout(() => this.#overdue(worker), this.#timeLimit)
  }

  #idle(worker: Worker): void {
    keepAlive(worker, false)
    clearTimeout(worker.timer)
  }

  #overdue(worker: Worker): void {
    const received = worker.received
    // If this process was the busy one, answers wait in the pipe and are read before this runs.
    setImmediate(() => {
      if (received !== worker.received || !this.#workers.has(worker)) return
      const job = this.#running(worker)
      this.#queue.unshift(...this.#stop(worker).filter((other) => other !== job))
      job?.settle({ kind: 'error', why: 'time', message: `no result within the time limit of ${this.#timeLimit / 1000} s` })
      this.#dispatch()
    })
  }

  #running({ jobs, answered, received }: Worker): Job | undefined {
    return jobs[Math.max(0, answered - received)]
  }

  /** Ended without being told to: its query is tried once more, carefully, in a new process; then it is the query's fault. */
  #died(worker: Worker): void {
    if (!this.#workers.has(worker)) return
    const job = this.#running(worker)
    const jobs = this.#stop(worker)
    if (!worker.ready) {
      const error = new ConfigError(`cannot start a process for SQL: ${worker.complaint.trim() || 'it ended at once'}`)
      for (const lost of jobs) lost.fail(error)
    } else if (job?.query.careful) {
      this.#queue.unshift(...jobs.filter((other) => other !== job))
      job.settle({
        kind: 'error',
        why: 'crash',
        message: `the query ended its process (memory limit: ${this.#setup.maxMemory / 2 ** 20} MiB)`,
      })
    } else {
      this.#queue.unshift(...jobs)
      if (job) job.query = { ...job.query, careful: true }
    }
    this.#dispatch()
  }

  /** Kills a worker and gives back what it had not answered. */
  #stop(worker: Worker): readonly Job[] {
    this.#workers.delete(worker)
    clearTimeout(worker.timer)
    worker.child.kill('SIGKILL')
    return worker.jobs
  }
}

/** A worker with work keeps the program running, an idle one does not. */
function keepAlive({ child }: Worker, on: boolean): void {
  // The pipes of a child process are sockets, which their types do not say.
  for (const handle of [child, child.stdin, child.stdout, child.stderr] as unknown as readonly Socket[]) {
    if (on) handle.ref()
    else handle.unref()
  }
}

/** Path, size and time of change: another content is another database. */
function versionOf(database: string): string {
  const stat = statSync(database, { throwIfNoEntry: false })
  if (!stat?.isFile()) throw new ConfigError(`cannot read database "${database}": no such file; check the path`)
  return `${stat.mtimeMs}-${stat.size}`
}

function abortable<T>(result: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return result
  return new Promise((settle, reject) => {
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    result.then(settle, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
