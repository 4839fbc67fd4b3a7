// Every model call of a run, through one door: looked up in the journal, let in by the limiter and the budget, reserved durably,
// sent with a time limit, retried, recorded. `Ask` is that door; `meteredModel` puts a core Model in front of it, `ai-sdk.ts` an AI
// SDK model. What failed is billed as the provider may bill it: refusals cost nothing, all else counts as its whole bound.
import { hash as digest } from 'node:crypto'
import { setTimeout as after } from 'node:timers/promises'
import { addCost, type Cost, type Ledger, noCost } from '../core/budget.ts'
import { BudgetError, ModelError, StoreError } from '../core/errors.ts'
import type { Meter } from '../core/meter.ts'
import { type Completion, inputBound, type Model, noUsage, type Usage } from '../core/model.ts'
import { rng } from '../core/rng.ts'
import type { Entry, Journal } from '../core/store.ts'
import { type Price, unpriced } from './prices.ts'
import { type Spoken, spanned } from './spans.ts'

/** One model call, before it is made. `T` must survive JSON. */
export interface Asked<T> {
  /** Name of the model, `provider:model`. */
  readonly model: string
  /** Everything the answer depends on; equal texts may be given the same recorded answer. */
  readonly question: string
  /** What one attempt may cost at most. */
  readonly bound: Cost
  /** For traces. */
  readonly params: { readonly maxTokens: number; readonly temperature?: number | undefined; readonly topP?: number | undefined }
  /** Makes one attempt. @throws {ModelError} when the provider is broken. */
  send(signal: AbortSignal): Promise<Answered<T>>
}

export interface Answered<T> {
  readonly value: T
  readonly usage: Usage
  readonly cost: Cost
}

/** Makes a call of a scope, or gives its recorded answer. */
export type Ask = <T>(asked: Asked<T>, signal?: AbortSignal) => Promise<T>

/** What became of a call, for whoever watches a run; not canonical. */
export interface CallEvent {
  readonly kind: 'sent' | 'answered' | 'failed' | 'replayed'
  readonly model: string
  /** Key of the attempt in the journal. */
  readonly key: string
  /** Milliseconds since the attempt was sent; 0 when sent and when replayed. */
  readonly ms: number
  /** What the budget was charged; the bound when sent. */
  readonly cost: Cost
  readonly usage?: Usage
  /** One line, without secrets. */
  readonly error?: string
}

export interface RetryOptions {
  /** Attempts after the first. */
  readonly retries?: number
  /** Milliseconds before the second attempt; doubles each time. */
  readonly base?: number
  /** Milliseconds; a provider that asks for a longer wait is given up on. */
  readonly longest?: number
}

/** One per provider and model, shared by every scope of a run. */
export interface Gate {
  /**
   * Runs `work` when fewer than `concurrency` others run. Of the rounds that wait, the one with the fewest calls left is let in first:
   * a batch or an edit does not stand behind the whole holdout of other rounds, and rounds in flight don't fall into step.
   */
  enter<T>(work: () => Promise<T>, round?: number): Promise<T>
  /** Keeps every call to this provider back for so many milliseconds from now. */
  rest(ms: number): void
  /** Resolves when nobody is kept back. */
  open(signal: AbortSignal | undefined): Promise<void>
}

export interface DoorOptions {
  readonly journal: Pick<Journal, 'put'>
  /** One per run, shared by every meter of it. */
  readonly ledger: Ledger
  readonly gate: Gate
  /** Ends every call of the run. */
  readonly signal?: AbortSignal
  readonly retry?: RetryOptions
  /** Milliseconds an attempt may take. */
  readonly timeout?: number
  /** Milliseconds a call unknown to a half-used journal waits for the recorded ones to be asked for, before it is an error. */
  readonly grace?: number
  readonly hash?: (question: string) => string
  readonly onCall?: (event: CallEvent) => void
}

/** Lets `concurrency` calls through at a time. */
export function gate(concurrency = 64): Gate {
  const waiting = new Map<number, (() => void)[]>() // by round, never empty
  let running = 0
  let closedUntil = 0
  const handOn = (): void => {
    let shortest: readonly [number, (() => void)[]] | undefined
    for (const queued of waiting) if (!shortest || queued[1].length < shortest[1].length) shortest = queued
    if (!shortest) {
      running--
      return
    }
    const [round, queue] = shortest
    if (queue.length === 1) waiting.delete(round)
    queue.shift()?.()
  }
  return {
    async enter(work, round = 0) {
      if (running < concurrency) running++
      else {
        await new Promise<void>((go) => {
          const queue = waiting.get(round)
          if (queue) queue.push(go)
          else waiting.set(round, [go])
        })
      }
      try {
        return await work()
      } finally {
        handOn()
      }
    },
    rest(ms) {
      closedUntil = Math.max(closedUntil, Date.now() + ms)
    },
    async open(signal) {
      for (let ms = closedUntil - Date.now(); ms > 0; ms = closedUntil - Date.now()) await pause(ms, signal)
    },
  }
}

/** A meter whose scopes hand out what `wrap` makes of their door. */
export function meter<M>(wrap: (ask: Ask) => M, options: DoorOptions): Meter<M> {
  const { hash = sha256, onCall = () => {}, signal: run, grace = 2_000 } = options
  const either = joiner(run)
  return {
    open(round, key, recorded, stop) {
      // A run holds thousands of scopes at once: one without a past makes nothing for it.
      const past = recorded.length > 0 ? new Past(key, recorded, grace) : undefined
      const costs: Cost[] = []
      let asked = 0
      let broken: unknown
      const ask: Ask = async (call, own) => {
        const n = asked++
        const question = hash(call.question)
        const signal = either(own)
        const had = await past?.take(question, signal)
        if (had) {
          costs.push(had.cost)
          onCall({ kind: 'replayed', model: call.model, key: had.key, ms: 0, cost: had.cost })
          return had.value as never // written by this same call in an earlier life: the questions are equal
        }
        const place: Place = { round, key: `${key}/${n}~`, question, attempt: past?.attempts(n) ?? 0 }
        const answer = await orAbort(
          options.gate.enter(() => {
            stop?.throwIfAborted() // it waited while another call of the evaluation broke
            return made(call, place, signal, options)
          }, round),
          signal,
        ).catch((error: unknown) => {
          broken ??= error
          throw error
        })
        costs.push(answer.cost)
        return answer.value
      }
      const close = (): void => {
        if (broken !== undefined) throw broken // also if the task caught it
        past?.close()
      }
      const charge = async (cost: Cost): Promise<void> => {
        const send = async (): Promise<Answered<null>> => ({ value: null, usage: noUsage, cost })
        await ask({
          model: 'the task itself',
          question: canonical(['own cost', cost]),
          bound: cost,
          params: { maxTokens: 0 },
          send,
        })
      }
      return { model: wrap(ask), charge, cost: () => sum(costs), close }
    },
  }
}

export interface MeteredOptions extends DoorOptions {
  /** Left out = unknown: costs are recorded in calls and tokens alone. */
  readonly price?: Price | undefined
}

/** A model behind the door. Each of `n` completions is a call of its own, the i-th with `seed + i`. */
export function meteredModel(model: Model, options: MeteredOptions): Meter<Model> {
  const { price = unpriced } = options
  return meter(
    (ask) => ({
      name: model.name,
      sample(prompt, { n = 1, ...params }, signal) {
        const draw = (i: number): Promise<Completion> => {
          const one = params.seed === undefined ? params : { ...params, seed: params.seed + i }
          const input = inputBound(prompt)
          const bound = priced({ input, cached: 0, output: one.maxTokens, reasoning: 0 }, price)
          const question = canonical([model.name, prompt, one])
          const send = async (stop: AbortSignal): Promise<Answered<Completion>> => {
            const [completion] = await model.sample(prompt, one, stop)
            if (!completion) throw new ModelError(`${model.name}: the reply held no completion`, { retryable: true })
            return { value: plain(completion), usage: completion.usage, cost: priced(completion.usage, price) }
          }
          return ask({ model: model.name, question, bound, params: one, send }, signal)
        }
        return Promise.all(Array.from({ length: n }, (_, i) => draw(i)))
      },
    }),
    options,
  )
}

/** Cost of one call that used so many tokens. */
export function priced(usage: Parameters<Price>[0], price: Price): Cost {
  return { calls: 1, tokens: usage.input + usage.output, usd: price(usage) }
}

/** JSON with sorted keys; bytes as base64. Equal values give equal texts. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => {
    if (v instanceof Uint8Array) return `bytes:${Buffer.from(v).toString('base64')}`
    if (typeof v !== 'object' || v === null || Array.isArray(v)) return v
    return Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}

/** One line without anything that looks like a key. */
export function redact(text: string): string {
  return text
    .replace(/\b(bearer|basic)\s+\S+/gi, '$1 [key]')
    .replace(/((?:api[-_ ]?key|token|secret|password|authorization)(?: provided)?["']?\s*[:=]\s*["']?)[^\s"',]+/gi, '$1[key]')
    .replace(/\b(?:sk|pk|rk|gsk|xai|hf|ghp|AIza|key)[-_][-\w*.]{6,}|\bAIza[-\w]{20,}|\b\w{36,}\b/g, '[key]')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 500)
}

interface Place {
  readonly round: number
  /** Up to the attempt's number. */
  readonly key: string
  readonly question: string
  /** Number of the first attempt. */
  readonly attempt: number
}

/** Attempts until one succeeds. Holds its place in the limiter while it waits: nobody else gets through a provider at rest. */
async function made<T>(call: Asked<T>, place: Place, signal: AbortSignal | undefined, door: DoorOptions): Promise<Answered<T>> {
  const { retries = 4, base = 500, longest = 300_000 } = door.retry ?? {}
  for (let t = 0; ; t++) {
    signal?.throwIfAborted()
    await door.gate.open(signal)
    try {
      return await attempt(call, { ...place, key: place.key + (place.attempt + t) }, signal, door)
    } catch (error) {
      if (!(error instanceof ModelError) || signal?.aborted) throw error
      // Spread to between half and the whole, by key: calls that failed together come back apart.
      const backoff = base * 2 ** t * (0.5 + 0.5 * rng(place.key, t)())
      const wait = Math.max(backoff, error.retryAfter ?? 0)
      if (!error.retryable || t >= retries || wait > longest) throw final(error, call.model, t + 1, wait > longest ? wait : 0)
      if (error.status === 429 || error.retryAfter !== undefined) door.gate.rest(wait)
      await pause(wait, signal)
    }
  }
}

/** One attempt: admitted, reserved in the journal, sent, recorded. Without an outcome its bound counts as spent. */
async function attempt<T>(
  call: Asked<T>,
  at: Omit<Place, 'attempt'>,
  signal: AbortSignal | undefined,
  door: DoorOptions,
): Promise<Answered<T>> {
  const { timeout = 120_000, onCall = () => {} } = door
  const { round, key, question } = at
  const entry: Entry = { round, key, question, bound: call.bound }
  const settle = await admit(door.ledger, call.bound, signal)
  try {
    await door.journal.put(entry)
    signal?.throwIfAborted() // the journal took its time
  } catch (error) {
    settle(noCost) // never sent
    throw error
  }
  const sent = performance.now()
  const tell = (kind: CallEvent['kind'], cost: Cost, more: Partial<CallEvent> = {}): void =>
    onCall({ kind, model: call.model, key, ms: kind === 'sent' ? 0 : performance.now() - sent, cost, ...more })
  tell('sent', call.bound)
  let limit: ModelError | undefined // made when it is needed: a stack costs as much as all else that is done here
  const late = (): ModelError => {
    limit = new ModelError(`${call.model}: no answer within ${timeout / 1000} s`, { retryable: true })
    return limit
  }
  let answer: Answered<T>
  try {
    answer = await spanned(describe(call), () => limited(call.send, timeout, late, signal))
  } catch (error) {
    const lost = (limit !== undefined && error === limit) || signal?.aborted === true
    const cost = lost ? call.bound : refused(error) ? { calls: 1, tokens: 0, usd: 0 } : call.bound
    settle(cost)
    const message = redact(error instanceof Error ? error.message : String(error))
    tell('failed', cost, { error: message })
    if (!lost) await door.journal.put({ ...entry, outcome: JSON.stringify({ failed: message }), cost })
    throw error
  }
  settle(answer.cost)
  tell('answered', answer.cost, { usage: answer.usage })
  await door.journal.put({ ...entry, outcome: JSON.stringify({ ok: answer.value }), cost: answer.cost })
  return answer
}

/** Whether nothing is billed: the provider answered with an error, or was never reached. */
function refused(error: unknown): boolean {
  if (error instanceof ModelError && error.status !== undefined) return error.status >= 400
  const unreached = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'])
  for (let e = error; e instanceof Error; e = e.cause) if ('code' in e && unreached.has(String(e.code))) return true
  return false
}

function final(error: ModelError, model: string, tries: number, wait: number): ModelError {
  const text = redact(error.message)
  const named = text.startsWith(model) ? text : `${model}: ${text}`
  const asked = wait ? `; it asks to wait ${Math.ceil(wait / 1000)} s, which is too long` : ''
  const { status, retryable, retryAfter } = error
  return new ModelError(`${named} (${tries === 1 ? '1 try' : `${tries} tries`}${asked})`, {
    status,
    retryable,
    retryAfter,
    cause: error,
  })
}

function describe(call: Asked<unknown>): Spoken {
  return { model: call.model, ...call.params }
}

interface Desk {
  inFlight: number
  readonly waiting: (() => void)[]
}

/** Who waits for which ledger: meters that share a ledger wake each other's calls. */
const desks = new WeakMap<Ledger, Desk>()

/**
 * Reserves `bound`, waiting for calls in flight where they may turn out cheaper; the function it gives ends the reservation.
 * @throws {BudgetError} when the budget cannot cover the bound.
 */
export async function admit(ledger: Ledger, bound: Cost, signal?: AbortSignal): Promise<(actual: Cost) => void> {
  const desk = desks.get(ledger) ?? { inFlight: 0, waiting: [] }
  desks.set(ledger, desk)
  for (let answer = ledger.admits(bound); answer !== 'yes'; answer = ledger.admits(bound)) {
    if (answer === 'no' || desk.inFlight === 0) throw new BudgetError(shortage(ledger, bound))
    await orAbort(new Promise<void>((wake) => desk.waiting.push(wake)), signal)
  }
  ledger.reserve(bound)
  desk.inFlight++
  return (actual) => {
    ledger.settle(bound, actual)
    desk.inFlight--
    for (const wake of desk.waiting.splice(0)) wake()
  }
}

function shortage(ledger: Ledger, bound: Cost): string {
  if (ledger.expired) return 'the minutes of the budget are used up'
  const say = (c: Cost): string => `${c.calls} calls, ${c.tokens} tokens, $${c.usd.toFixed(4)}`
  return `the budget can't cover the next call: at most ${say(bound)} for it, ${say(ledger.spent)} spent`
}

/** The recorded calls of a scope. Answers are matched by question, not by number: calls made at once may be asked in another order. */
class Past {
  #key: string
  #grace: number
  #left = 0
  #answers = new Map<string, { key: string; value: unknown; cost: Cost }[]>()
  #unanswered = new Set<string>()
  #next = new Map<number, number>()
  #waiting: (() => void)[] = []

  constructor(key: string, recorded: readonly Entry[], grace: number) {
    this.#key = key
    this.#grace = grace
    for (const entry of recorded) this.#add(entry)
  }

  #add(entry: Entry): void {
    const [, n, a] = entry.key.startsWith(`${this.#key}/`)
      ? (/^(\d+)~(\d+)$/.exec(entry.key.slice(this.#key.length + 1)) ?? [])
      : []
    if (n === undefined || a === undefined) return
    this.#next.set(Number(n), Math.max(this.attempts(Number(n)), Number(a) + 1))
    // An outcome is what `attempt` wrote.
    const outcome = entry.outcome === undefined ? {} : (JSON.parse(entry.outcome) as { ok?: unknown })
    if (!('ok' in outcome)) {
      this.#unanswered.add(entry.question)
      return
    }
    const same = this.#answers.get(entry.question) ?? []
    same.push({ key: entry.key, value: outcome.ok, cost: entry.cost ?? entry.bound })
    this.#answers.set(entry.question, same)
    this.#left++
  }

  /** Number of the first attempt at the n-th call that was not made yet. */
  attempts(n: number): number {
    return this.#next.get(n) ?? 0
  }

  /** The recorded answer, each given once; undefined = a new call, which it may only be beside calls known to have been cut short. */
  async take(
    question: string,
    signal: AbortSignal | undefined,
  ): Promise<{ key: string; value: unknown; cost: Cost } | undefined> {
    const had = this.#answers.get(question)?.shift()
    if (had) {
      if (--this.#left === 0) for (const wake of this.#waiting.splice(0)) wake()
      return had
    }
    if (this.#left > 0 && !this.#unanswered.has(question)) {
      let timer: NodeJS.Timeout | undefined
      const usedUp = new Promise<void>((wake) => {
        this.#waiting.push(wake)
        timer = setTimeout(wake, this.#grace)
      })
      await orAbort(usedUp, signal).finally(() => clearTimeout(timer))
      if (this.#left > 0) throw this.#parted('a call was asked that is not in it')
    }
    return undefined
  }

  close(): void {
    if (this.#left > 0) throw this.#parted('the task ended')
  }

  #parted(how: string): StoreError {
    const keys = [...this.#answers.values()].flat().map((answer) => answer.key)
    return new StoreError(
      `journal and task part ways at ${keys[0]}: ${how}, while ${keys.length} recorded ${keys.length === 1 ? 'call was' : 'calls were'} not asked for again; a task must ask the same for the same (context, example, draw)`,
    )
  }
}

/** Rejects with what `late` makes after `ms`, or with the signal's reason, even if `work` does not listen. */
async function limited<T>(
  work: (signal: AbortSignal) => Promise<T>,
  ms: number,
  late: () => Error,
  signal: AbortSignal | undefined,
): Promise<T> {
  const stop = new AbortController()
  const pass = (): void => stop.abort(signal?.reason)
  signal?.addEventListener('abort', pass, { once: true })
  const timer = setTimeout(() => stop.abort(late()), ms)
  try {
    return await orAbort(work(stop.signal), stop.signal)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', pass)
  }
}

function orAbort<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await orAbort(after(ms, undefined, signal ? { signal } : {}), signal)
}

/** Joins the run's signal with a call's. All calls of an evaluation have one signal between them, and so one joined with it. */
function joiner(run: AbortSignal | undefined): (own: AbortSignal | undefined) => AbortSignal | undefined {
  const made = new WeakMap<AbortSignal, AbortSignal>()
  return (own) => {
    if (!run || !own || run === own) return run ?? own
    const both = made.get(own) ?? AbortSignal.any([run, own])
    made.set(own, both)
    return both
  }
}

/** In an order of their own: calls made at once end in any order, and sums of fractions depend on it. */
function sum(costs: readonly Cost[]): Cost {
  return [...costs].sort((a, b) => a.usd - b.usd).reduce(addCost, noCost)
}

/** What JSON keeps of a completion. */
function plain({ text, reasoning, finish, usage }: Completion): Completion {
  return { text, ...(reasoning === undefined ? {} : { reasoning }), finish, usage }
}

function sha256(text: string): string {
  return digest('sha256', text, 'base64url')
}
