// The main road: from what the user said to a better context and an honest report. Opens the store, wires the meters, drives the search,
// keeps what was measured. A run of the same id that is there already is resumed.
import { randomInt } from 'node:crypto'
import { setTimeout as after } from 'node:timers/promises'
import { addCost, type Budget, type Cost, Ledger, noCost } from './core/budget.ts'
import type { Context } from './core/context.ts'
import { BudgetError, ConfigError } from './core/errors.ts'
import { performer } from './core/evaluate.ts'
import type { Fact, Options, Steer } from './core/facts.ts'
import { addUsage, noUsage, type Usage } from './core/model.ts'
import { drive } from './core/run.ts'
import { roundsAfforded } from './core/search.ts'
import { apply, type State, start } from './core/state.ts'
import type { Journal, Store } from './core/store.ts'
import type { CallEvent } from './models/metered.ts'
import type { EvolveOptions, FunctionOptions, PartInput, TaskOptions } from './options.ts'
import { type Prepared, prepare, sha } from './prepare.ts'
import { isSimulated, lineOf, type Measured, type Report, reportOf, sizesOf, tell } from './report.ts'

/** Something that happened; `line` says it to people. */
export interface RunEvent {
  readonly kind: Fact['kind'] | 'warning' | 'note' | 'resumed'
  readonly line: string
  readonly fact?: Fact
}

/** Where a run stands, at any moment. */
export interface Progress {
  readonly state: State
  readonly options: Options
  readonly inFlight: number
  readonly spent: Cost
  readonly seconds: number
}

export interface Evolved {
  /** The context to use: the chosen one if its gain was shown on test, else the seed. */
  readonly best: Context
  readonly report: Report
}

export interface Run {
  readonly id: string
  /** Everything since the start; may be iterated more than once, also after the end. */
  readonly events: AsyncIterable<RunEvent>
  /** @throws what stopped the run; it can be resumed by its id. */
  readonly result: Promise<Evolved>
  /** Plans no further round; what is in flight ends, then the test split is looked at. */
  stop(): void
  /** A wish for the run, as the CLI's branch, prune, pause. */
  steer(steer: Steer): void
  progress(): Progress | undefined
}

/** Improves a context. Starts at once; `result` brings the best context and the report. */
export function evolve<const C extends Readonly<Record<string, PartInput>>, O>(options: FunctionOptions<C, O>): Run
export function evolve(options: TaskOptions): Run
export function evolve(options: EvolveOptions): Run
export function evolve(given: EvolveOptions | FunctionOptions<never, never>): Run {
  const options = given as EvolveOptions // the overloads say what may be in it
  const id = options.id ?? newId(new Date())
  const log = new EventLog()
  const wishes: Steer[] = []
  const live: { progress?: () => Progress } = {}
  const result = runIt(id, options, { log, wishes, live }).catch((error: unknown) => {
    throw firstOf(error)
  })
  result.then(
    () => log.end(),
    () => log.end(),
  )
  return {
    id,
    events: log,
    result,
    stop: () => void wishes.push({ wish: 'stop' }),
    steer: (steer) => void wishes.push(steer),
    progress: () => live.progress?.(),
  }
}

/** What went wrong first: a disk that is full also fails what is then closed, and that says less. */
function firstOf(error: unknown): unknown {
  return error instanceof SuppressedError ? firstOf(error.suppressed) : error
}

interface Outside {
  readonly log: EventLog
  readonly wishes: Steer[]
  readonly live: { progress?: () => Progress }
}

async function runIt(id: string, given: EvolveOptions, outside: Outside): Promise<Evolved> {
  await using prepared = await prepare(given, (line) => outside.log.push({ kind: 'note', line }))
  const shared = typeof given.store === 'object' ? given.store : undefined
  const store = shared ?? (await openStore((given.store as string | undefined) ?? defaultStore)) // not an object
  try {
    await using _lease = await store.lease(id, 'evolve') // first: nobody else adds facts to those that are read
    const { facts, options } = await begin(store, id, prepared, { wishes: outside.wishes, meta: given.meta ?? '{}' })
    return await driven({ id, given, prepared, store, facts, options, ...outside })
  } finally {
    if (!shared) await store[Symbol.asyncDispose]()
  }
}

export const defaultStore = '.lamarck/lamarck.db'

/** A store by name: `memory`, a file, or the address of a Postgres database (`postgres://…`). */
export async function openStore(name: string): Promise<Store> {
  if (name === 'memory') return (await import('./stores/memory.ts')).memoryStore()
  if (/^postgres(ql)?:/.test(name)) return (await import('./stores/postgres.ts')).postgresStore(name)
  return (await import('./stores/sqlite.ts')).sqliteStore(name)
}

/** A new run is created; one that is there must have been the same. */
async function begin(
  store: Store,
  id: string,
  prepared: Prepared,
  { wishes, meta }: { readonly wishes: Steer[]; readonly meta: string },
): Promise<{ facts: readonly Fact[]; options: Options }> {
  const { names, hashes, options } = prepared
  const facts = await store.facts(id)
  const [first] = facts
  if (first === undefined) {
    const started: Fact = { kind: 'started', names, options, hashes }
    const isThere = (await store.runs()).some((run) => run.id === id)
    if (!isThere) await store.create({ id, createdAt: Date.now(), meta })
    await store.append(id, [started], 0)
    return { facts: [started], options }
  }
  if (first.kind !== 'started') throw new ConfigError(`run "${id}" does not begin with its start; the store is damaged`)
  const changed = difference(first, { kind: 'started', names, options, hashes })
  if (changed !== undefined) {
    throw new ConfigError(
      `run "${id}" was started with another ${changed}; give it the same, or start a new run under another id`,
    )
  }
  const more = extension(id, first.options, tell(facts)!.state, options)
  if (more) wishes.unshift(more)
  return { facts, options: first.options }
}

/** What differs between two starts. Rounds and budget may be raised; the blocks of racing stay those of the first start. */
function difference(a: Fact & { kind: 'started' }, b: Fact & { kind: 'started' }): string | undefined {
  const flat = (fact: Fact & { kind: 'started' }): Record<string, unknown> => {
    const { rounds: _, budget: __, assumed: ___, splits, racing, ...options } = fact.options
    return { ...fact.names, ...fact.hashes, ...options, racing: racing?.alpha, splits: sha(JSON.stringify(splits)) }
  }
  const [x, y] = [flat(a), flat(b)]
  return Object.keys(x).find((key) => JSON.stringify(x[key]) !== JSON.stringify(y[key]))
}

/** More rounds or higher limits than the run has now. What is as the run was started with, or left out, stays as it is. */
function extension(id: string, started: Options, state: State, options: Options): (Steer & { wish: 'extend' }) | undefined {
  const raised = (name: string, then: number | undefined, now: number | undefined, asked: number | undefined): boolean => {
    if (asked === undefined || asked === then || asked === now) return false
    if (now === undefined) return !state.result // a first limit does not reopen a finished run
    if (asked > now) return true
    throw new ConfigError(`run "${id}" has ${now} ${name}, which can be raised but not lowered to ${asked}`)
  }
  const rounds = raised('rounds', started.rounds, state.rounds, options.rounds) ? { rounds: options.rounds } : {}
  const units = (['usd', 'calls', 'tokens', 'minutes'] as const).filter((unit) =>
    raised(unit, started.budget[unit], state.budget[unit], options.budget[unit]),
  )
  const budget = units.length > 0 ? { budget: Object.fromEntries(units.map((unit) => [unit, options.budget[unit]])) } : {}
  return 'rounds' in rounds || 'budget' in budget ? { wish: 'extend', ...rounds, ...budget } : undefined
}

interface Driven extends Outside {
  readonly id: string
  readonly given: EvolveOptions
  readonly prepared: Prepared
  readonly store: Store
  readonly facts: readonly Fact[]
  readonly options: Options
}

async function driven({ id, given, prepared, store, facts, options, log, wishes, live }: Driven): Promise<Evolved> {
  const journal = store.journal(id)
  const before = await journal.spent()
  const ledger = new Ledger(options.budget, addCost(before.done, before.lost))
  const measure = new Measure(await store.measured(id), before.lost)
  const mirror = start(options)
  for (const fact of facts) apply(mirror, fact)
  let count = facts.length
  const say = (fact: Fact): void => {
    const line = lineOf(fact, mirror, isSimulated(prepared.names))
    if (line !== undefined) log.push({ kind: fact.kind, line, fact })
  }
  if (count > 1) log.push({ kind: 'resumed', line: `resumed run ${id} after ${mirror.editsPlanned} of ${mirror.rounds} rounds` })
  else for (const fact of facts) say(fact)

  const user = given.signal ?? new AbortController().signal
  const end = new AbortController()
  const signal = AbortSignal.any([user, end.signal])
  const clock = new Clock(ledger, end, measure.seconds)
  clock.set(mirror.budget, options)
  if (mirror.stopped) clock.close()
  const door = { journal, ledger, signal, onCall: (event: CallEvent) => measure.call(event) }
  const perform = performer({ ...prepared, ...prepared.meters(door), ...world(prepared, journal) })
  live.progress = () => ({ state: mirror, options, inFlight: measure.inFlight, spent: ledger.spent, seconds: measure.seconds })
  const keep = (): Promise<void> =>
    store.measure(id, JSON.stringify(measure.snapshot(ledger.spent, sizesOf(mirror, prepared.tokenizer))))
  const warning = tooSmall(mirror, options)
  if (warning !== undefined) log.push({ kind: 'warning', line: warning })
  try {
    await drive(prepared.method, options, {
      perform,
      ledger,
      journal,
      facts,
      signal: user,
      lost: () => addCost(before.lost, measure.failedCost),
      inbox: async () => [...wishes.splice(0), ...(await store.inbox(id))],
      wait: () => after(200, undefined, { signal: user }),
      async append(more) {
        await store.append(id, more, count)
        count += more.length
        for (const fact of more) {
          const isFirst = mirror.nodes.length === 0
          apply(mirror, fact)
          if (fact.kind === 'stopped') clock.close()
          if (fact.kind === 'steered' && fact.wish === 'extend') clock.set(mirror.budget, options)
          say(fact)
          const edge = isFirst ? edgeOf(mirror) : undefined
          if (edge !== undefined) log.push({ kind: 'warning', line: edge })
        }
        // A life that is killed has kept its time, but for its last round.
        if (more.some((fact) => fact.kind === 'settled')) await keep()
      },
    })
  } finally {
    clock[Symbol.dispose]()
    await keep()
  }
  const told = { names: prepared.names, options, state: mirror, hashes: prepared.hashes }
  const report = reportOf(id, told, measure.snapshot(ledger.spent, sizesOf(mirror, prepared.tokenizer)))
  if (!report) {
    const detail = mirror.stopped?.detail ?? 'budget'
    throw new BudgetError(`the budget (${detail}) ended before the seed context was scored; raise it and resume run ${id}`)
  }
  return { best: mirror.nodes[report.returned]!.context, report }
}

/** What the performer needs besides the meters. */
function world(
  prepared: Prepared,
  journal: Journal,
): Pick<Parameters<typeof performer>[0], 'journal' | 'rules' | 'seed' | 'copies' | 'hash'> {
  const { options, settings } = prepared
  return { journal, rules: options.rules, seed: options.seed, copies: settings.copies, hash: sha }
}

/** Rounds that a budget should afford for a search to be worth it. */
const fewRounds = 3

function tooSmall(state: State, o: Options): string | undefined {
  if (state.nodes.length > 0) return undefined
  const rounds = roundsAfforded(state, o)
  if (rounds >= Math.min(fewRounds, o.rounds)) return undefined
  return `the budget affords about ${Math.max(0, rounds)} of ${o.rounds} rounds beside scoring the seed and the closing look at test; see lamarck estimate`
}

/** What is odd about the score of the seed context, when that is all there is. */
function edgeOf({ nodes: [seed] }: State): string | undefined {
  if (seed?.score.mean === 0)
    return 'every answer to the seed context scored 0: if that is a surprise, stop and look at the scorer and at the form of the answers'
  return seed?.score.mean === 1
    ? 'every answer to the seed context is right: this holdout leaves nothing to gain; harder problems would'
    : undefined
}

/**
 * The minutes of a budget. The search gets them but for a share that the closing look needs; when all are used up, calls in flight are
 * ended and the look is reported on what it has.
 */
class Clock implements Disposable {
  #ledger: Ledger
  #end: AbortController
  #timers: NodeJS.Timeout[] = []
  #from: number
  #closing = false

  /** `seconds` = what earlier lives of the run took. */
  constructor(ledger: Ledger, end: AbortController, seconds: number) {
    this.#ledger = ledger
    this.#end = end
    this.#from = performance.now() - seconds * 1000
  }

  set({ minutes }: Budget, o: Options): void {
    this[Symbol.dispose]()
    this.#ledger.expire(false)
    this.#closing = false
    if (minutes === undefined) return
    const look = 2 * (o.splits.test.length + o.splits.ood.length) * o.testDraws + 4 * o.splits.confirm.length
    const round = o.splits.holdout.length * o.draws + o.batch
    const share = Math.min(0.5, Math.max(0.1, look / (look + round * (o.rounds + 1))))
    const left = minutes * 60_000 - (performance.now() - this.#from)
    const expire = (): void => void (this.#closing || this.#ledger.expire())
    const kill = (): void => {
      this.#ledger.expire()
      this.#end.abort(new BudgetError('the minutes of the budget are used up'))
    }
    this.#timers = [setTimeout(expire, Math.max(0, left * (1 - share))), setTimeout(kill, Math.max(0, left))]
  }

  /** The search is over: what is left of the time is for the closing look. */
  close(): void {
    this.#closing = true
    if (!this.#end.signal.aborted) this.#ledger.expire(false)
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearTimeout(timer)
  }
}

/** Counts what happens, over all lives of a run. */
class Measure {
  #past: Measured
  #lost: Cost
  #from = performance.now()
  #usage: Usage = noUsage
  #failed = 0
  #hasActed = false
  failedCost: Cost = noCost
  inFlight = 0

  constructor(past: string | undefined, lost: Cost) {
    const none: Measured = { seconds: 0, lost: noCost, failed: 0, spent: noCost, usage: noUsage, lives: 0 }
    this.#past = past === undefined ? none : (JSON.parse(past) as Measured) // our own JSON, written by `snapshot`
    this.#lost = lost
  }

  get seconds(): number {
    return this.#past.seconds + (performance.now() - this.#from) / 1000
  }

  call(event: CallEvent): void {
    if (event.kind === 'sent') {
      this.inFlight++
      this.#hasActed = true
    }
    if (event.kind === 'answered' || event.kind === 'failed') this.inFlight--
    if (event.usage) this.#usage = addUsage(this.#usage, event.usage)
    if (event.kind !== 'failed') return
    this.#failed++
    this.failedCost = addCost(this.failedCost, event.cost)
  }

  snapshot(spent: Cost, size: Measured['size']): Measured {
    return {
      ...(size && { size }),
      seconds: this.seconds,
      lost: this.#lost,
      failed: this.#past.failed + this.#failed,
      spent,
      usage: addUsage(this.#past.usage, this.#usage),
      lives: Math.max(1, this.#past.lives + Number(this.#hasActed)),
    }
  }
}

/** Keeps all events, and lets any number of readers wait for the next. */
class EventLog implements AsyncIterable<RunEvent> {
  #events: RunEvent[] = []
  #ended = false
  #wake: (() => void)[] = []

  push(event: RunEvent): void {
    this.#events.push(event)
    for (const wake of this.#wake.splice(0)) wake()
  }

  end(): void {
    this.#ended = true
    for (const wake of this.#wake.splice(0)) wake()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RunEvent> {
    for (let i = 0; ; i++) {
      while (i >= this.#events.length && !this.#ended) await new Promise<void>((wake) => this.#wake.push(wake))
      if (i >= this.#events.length) return
      yield this.#events[i]!
    }
  }
}

/** "20261121-k3f9": the day and four letters. */
export function newId(now: Date): string {
  const letters = Array.from({ length: 4 }, () => 'abcdefghijkmnpqrstuvwxyz23456789'[randomInt(32)])
  return `${now.toISOString().slice(0, 10).replaceAll('-', '')}-${letters.join('')}`
}
