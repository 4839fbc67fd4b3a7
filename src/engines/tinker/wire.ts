// HTTP as the Tinker API speaks it: a request is sent until it is taken, its result is asked for until it is there. What passes by itself is
// tried again; what does not becomes one line with the remedy.
import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { ConfigError, EngineError } from '../../core/errors.ts'

/** Where the server is, and how long it is waited for. */
export interface WireOptions {
  /** Of the server, without `/api/v1`. */
  readonly url: string
  readonly key?: string | undefined
  /** How long a server that is away, or overrun, is waited for, in milliseconds. Default 60,000. */
  readonly patience?: number
  /** Before the second try, in milliseconds; doubled up to 10 s. Default 250. */
  readonly pause?: number
  /** After which an answer that is not there yet is asked for anew, in milliseconds. Default 45,000. */
  readonly poll?: number
  /** Ends everything that is under way. */
  readonly signal?: AbortSignal | undefined
}

/** The server said no, for good. */
export class RefusedError extends EngineError {
  override name = 'RefusedError'
  readonly status: number
  /** In the server's words. */
  readonly detail: string
  constructor(message: string, { status, detail, cause }: { status: number; detail: string; cause?: unknown }) {
    super(message, { cause })
    this.status = status
    this.detail = detail
  }
}

/** A way to one server. */
export interface Wire {
  readonly url: string
  /** The JSON answer, or undefined if it has no body. @throws {RefusedError} */
  send(method: 'GET' | 'POST' | 'DELETE', path: string, options?: SendOptions): Promise<unknown>
  /** The bytes behind a path, one redirect followed; the key is for the server alone. */
  download(path: string, signal?: AbortSignal): Promise<Uint8Array>
  /**
   * Sends, waits for the result and reads it: JSON, or bytes by `read`.
   * `sent` is called when the server has taken the request: from then on it has its place in the order.
   */
  compute<T>(path: string, options: ComputeOptions<T>): Promise<T>
}

export interface SendOptions {
  /** JSON, or a binary message. */
  readonly body?: object | Uint8Array<ArrayBuffer>
  readonly signal?: AbortSignal | undefined
  /** No second try: an unreachable server is told at once. */
  readonly isOnce?: boolean
}

export interface ComputeOptions<T> {
  readonly body: object | Uint8Array<ArrayBuffer>
  readonly read: (answer: unknown) => T
  readonly sent?: (() => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** Sent once only; its result is waited for as ever. */
  readonly isOnce?: boolean
}

const json = 'application/json'
const binary = 'application/x-protobuf'
/** Of one request, in milliseconds. */
const sendTimeout = 60_000
const longestPause = 10_000
/** How often a result that can't be read is asked for again, and one that was lost is computed again. */
const tries = 3

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Uint8Array<ArrayBuffer>
}

interface Request extends SendOptions {
  readonly headers?: Readonly<Record<string, string>>
  /** Milliseconds. */
  readonly timeout?: number
}

/** The way to the server at an address; nothing is sent yet. `token` = what a request is signed with; default: the key. */
export function wireOf(
  { url, key, patience = 60_000, pause = 250, poll = 45_000, signal: always }: WireOptions,
  token: () => Promise<string | undefined> = async () => key,
): Wire {
  const base = url.replace(/\/+$/, '')

  const either = (signal?: AbortSignal): AbortSignal | undefined =>
    signal && always ? AbortSignal.any([signal, always]) : (signal ?? always)

  /** An answer, whatever it says, or why there was none. */
  const once = async (method: string, path: string, { body, headers, timeout = sendTimeout, signal }: Request) => {
    const isBinary = body instanceof Uint8Array
    const limit = AbortSignal.timeout(timeout)
    const signed = await token()
    try {
      const response = await fetch(`${base}/api/v1/${path}`, {
        method,
        headers: {
          ...(signed && { 'x-api-key': signed }),
          ...(body && { 'content-type': isBinary ? binary : json }),
          ...headers,
        },
        body: body ? (isBinary ? body : JSON.stringify(body)) : null,
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
        redirect: 'manual', // the key would follow
      })
      const bytes = new Uint8Array(await response.arrayBuffer())
      return { status: response.status, headers: response.headers, bytes }
    } catch (error) {
      signal?.throwIfAborted()
      return error instanceof Error ? error : new Error(String(error))
    }
  }

  const exchange = async (method: string, path: string, options: SendOptions): Promise<Answer> => {
    const request = { ...options, signal: either(options.signal) }
    // The same over all tries: the server takes a request once.
    const headers = { 'x-idempotency-key': randomUUID() }
    const until = performance.now() + (request.isOnce ? 0 : patience)
    for (let rest = pause; ; rest = Math.min(2 * rest, longestPause)) {
      const answer = await once(method, path, { ...request, headers })
      if (!(answer instanceof Error) && (answer.status < 300 || placeOf(answer))) return answer
      if (!passes(answer) || performance.now() >= until) throw faultOf(answer, base)
      await wait(pauseOf(answer) ?? rest, undefined, { signal: request.signal })
    }
  }

  const resultOf = async <T>(id: string, read: (answer: unknown) => T, until?: AbortSignal): Promise<T> => {
    const signal = either(until)
    const headers = { accept: `${binary}, ${json}` }
    let wantsSizeOnly = true
    let unreadable = 0
    let limit: number | undefined // when patience ends, while it goes wrong
    for (let rest = pause; ; ) {
      const body = { request_id: id, allow_metadata_only: wantsSizeOnly }
      const answer = await once('POST', 'retrieve_future', { body, headers, timeout: poll, signal })
      if (answer instanceof Error && answer.name === 'TimeoutError') continue
      if (answer instanceof Error || answer.status === 429 || answer.status >= 500) {
        limit ??= performance.now() + patience
        if (performance.now() >= limit) throw faultOf(answer, base)
        await wait(pauseOf(answer) ?? rest, undefined, { signal })
        rest = Math.min(2 * rest, longestPause)
        continue
      }
      rest = pause
      limit = undefined
      if (answer.status !== 408 && answer.status >= 300) throw faultOf(answer, base)
      const found = answer.status === 408 ? tryAgain : contentOf(answer)
      if (found === undefined && ++unreadable >= tries)
        throw new EngineError(`${base}: the result of request ${id} can't be read`)
      if (found === undefined || isRecord(found)) {
        const { type, status, error, category } = found ?? tryAgain
        if (type === 'try_again') {
          await wait(rest, undefined, { signal })
          continue
        }
        if (status === 'complete_metadata') {
          wantsSizeOnly = false
          continue
        }
        if (typeof error === 'string') throw refusal({ status: category === 'user' ? 400 : 500, detail: error }, base)
      }
      try {
        return read(found)
      } catch (cause) {
        if (++unreadable >= tries || !(cause instanceof EngineError)) throw cause
      }
    }
  }

  const send: Wire['send'] = async (method, path, options = {}) => {
    const answer = await exchange(method, path, options)
    const { bytes } = answer
    const place = placeOf(answer)
    if (place) throw new ConfigError(`${base} has moved to ${place}: give its new address`)
    if (bytes.length === 0) return undefined
    const found = parsed(bytes)
    if (found === undefined)
      throw new EngineError(`${base}/api/v1/${path} answered with something that is no JSON: is it a Tinker server?`)
    return found
  }

  return {
    url: base,
    send,
    async download(path, signal) {
      const answer = await exchange('GET', path, { signal })
      const place = placeOf(answer)
      if (!place) return answer.bytes
      const to = new URL(place, `${base}/api/v1/${path}`)
      const isHere = to.origin === new URL(base).origin
      const signed = isHere ? await token() : undefined
      const headers = signed ? { 'x-api-key': signed } : {}
      const ends = either(signal) ?? null
      try {
        const response = await fetch(to, { headers, signal: ends, redirect: 'error' }) // the key would follow
        if (!response.ok) throw new EngineError(`${to.origin} refuses the download (${response.status})`)
        return new Uint8Array(await response.arrayBuffer())
      } catch (cause) {
        ends?.throwIfAborted()
        if (cause instanceof EngineError) throw cause
        throw new EngineError(`the download from ${to.origin} broke off: ask for it again`, { cause })
      }
    },
    async compute(path, { read, sent, ...options }) {
      for (let attempt = 1; ; attempt++) {
        const { request_id: id } = record(await send('POST', path, options))
        if (typeof id !== 'string') throw new EngineError(`${base}/api/v1/${path} gave no request id: is it a Tinker server?`)
        sent?.()
        try {
          return await resultOf(id, read, options.signal)
        } catch (error) {
          if (!(error instanceof RefusedError && error.status === 410) || attempt >= tries) throw error
        }
      }
    },
  }
}

/** Where else it is, if the server says so. */
function placeOf({ status, headers }: Answer): string | undefined {
  return status >= 300 && status < 400 ? (headers.get('location') ?? undefined) : undefined
}

const tryAgain: Readonly<Record<string, unknown>> = { type: 'try_again' }

/** An object of a JSON answer. @throws {EngineError} on anything else. */
export function record(answer: unknown): Readonly<Record<string, unknown>> {
  if (isRecord(answer)) return answer
  throw new EngineError(`expected an object from the server, got ${JSON.stringify(answer)?.slice(0, 80) ?? 'nothing'}`)
}

function isRecord(answer: unknown): answer is Readonly<Record<string, unknown>> {
  return typeof answer === 'object' && answer !== null && !Array.isArray(answer) && !(answer instanceof Uint8Array)
}

/** JSON, or the bytes of a binary message; undefined if it is neither. */
function contentOf({ headers, bytes }: Answer): unknown {
  return headers.get('content-type')?.includes(binary) ? bytes : parsed(bytes)
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}

/** Whether asking again can help. */
function passes(answer: Answer | Error): boolean {
  if (answer instanceof Error) return true
  const said = answer.headers.get('x-should-retry')
  if (said === 'true' || said === 'false') return said === 'true'
  return [408, 425, 429].includes(answer.status) || (answer.status >= 500 && !/creation failed/i.test(detailOf(answer)))
}

/** What the server asks for, in milliseconds. */
function pauseOf(answer: Answer | Error): number | undefined {
  const seconds = answer instanceof Error ? Number.NaN : Number.parseFloat(answer.headers.get('retry-after') ?? '')
  return Number.isFinite(seconds) ? Math.min(seconds * 1000, 60_000) : undefined
}

function faultOf(answer: Answer | Error, url: string): Error {
  if (!(answer instanceof Error)) return refusal({ status: answer.status, detail: detailOf(answer) }, url)
  const { cause } = answer
  const why = cause instanceof Error && 'code' in cause ? String(cause.code) : answer.message
  return new EngineError(`no Tinker server answers at ${url} (${why}): start it or give its address`, {
    cause: answer,
  })
}

function detailOf({ bytes }: Answer): string {
  const body = parsed(bytes)
  const detail = isRecord(body) ? (body.detail ?? body.error ?? body.message) : undefined
  // 422 is a list of what is wrong with the body, which it repeats in full.
  const said = Array.isArray(detail)
    ? detail.map((d) => (isRecord(d) ? `${String(d.loc)}: ${String(d.msg)}` : '')).join('; ')
    : detail
  const text = typeof said === 'string' ? said : new TextDecoder().decode(bytes)
  return text.replace(/\s+/g, ' ').trim().slice(0, 300)
}

/** What is known to go wrong, and what helps. */
const remedies: readonly (readonly [RegExp, string])[] = [
  [/not loaded|stale request/i, 'the server was started anew, or heard nothing for minutes; load the last checkpoint'],
  [/no space left|errno 28|disk (?:is )?full|disk quota/i, 'make room on its disk, then go on from the last checkpoint'],
  [
    /still being created|creation failed|end of (?:data|file)|truncated|corrupt|unexpected end/i,
    'it was not written to its end; load the one before it (lamarck train run --from-step N)',
  ],
  [/maximum number of lora adapters/i, 'unload other models there, or start it with more max_lora_adapters'],
  [/lora rank/i, 'choose another rank, or start it with a greater max_lora_rank'],
  [/loss functions?\b.*not supported|loss_fn/i, 'this server has no such loss; importance_sampling and ppo are had by all'],
  [/out of memory|resource_exhausted/i, 'take fewer or shorter rollouts, or start it with a smaller train_micro_batch_size'],
]

function refusal({ status, detail }: { readonly status: number; readonly detail: string }, url: string): Error {
  if (status === 401 || status === 403) {
    return new ConfigError(`${url} refuses the key (${status}): set TINKER_API_KEY to one that is valid there`)
  }
  const said = `${url} refuses (${status}): ${detail || 'no reason given'}`
  const remedy = status === 402 ? 'its account is out of funds' : remedies.find(([what]) => what.test(detail))?.[1]
  return new RefusedError(remedy ? `${said}: ${remedy}` : said, { status, detail })
}
