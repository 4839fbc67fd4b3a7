// An OpenAI-compatible chat server that breaks on demand, in a process of its own, on loopback. Its answers are a pure function of
// the request, and its log of requests is the witness of what was asked. Run it: node test/fault-server.ts --help
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { rng } from '../src/core/rng.ts'

export const faultKinds = [
  '429',
  '500',
  '401',
  'broken-json',
  'no-choice',
  'empty-body',
  'garbage',
  'empty',
  'half',
  'never',
] as const
export type FaultKind = (typeof faultKinds)[number]

/** When a request is answered with a fault. Conditions left out hold always; the first fault whose conditions hold is made. */
export interface Fault {
  readonly kind: FaultKind
  /** Requests that go by first. */
  readonly after?: number
  /** How many requests are hit. */
  readonly count?: number
  /** Share of requests, drawn by (seed, request, how often it came). */
  readonly probability?: number
  /** Text the request's body must hold. */
  readonly match?: string
  /** Value of a `retry-after` header: seconds, or a date. */
  readonly retryAfter?: string
}

/** What a request is answered with. `marks`: see `marksAnswer`. `echo`: JSON of the messages, max_tokens and seed. */
export const worlds = ['marks', 'echo'] as const
export type World = (typeof worlds)[number]

export interface FaultServerOptions {
  readonly world?: World
  /** Milliseconds before an answer. */
  readonly latency?: number
  readonly faults?: readonly Fault[]
  /** Of the faults' probability. */
  readonly seed?: number
  /** File the log is appended to; a temporary one if left out. */
  readonly log?: string
}

/** One request, written when it ended. Times are milliseconds since the server's start. */
export interface Logged {
  /** Hash of the request's body. */
  readonly hash: string
  readonly model: string
  readonly start: number
  readonly end: number
  readonly status: number
  readonly fault?: FaultKind
  /** Whether the whole of a right answer was handed to the socket. */
  readonly answered: boolean
}

export interface Stats {
  readonly requests: number
  readonly inFlight: number
  readonly peak: number
}

export interface FaultServer {
  /** Base URL for an OpenAI-compatible client. */
  readonly url: string
  /** Every request that ended so far. */
  log(): Promise<readonly Logged[]>
  stats(): Promise<Stats>
  /** Replaces the faults, and counts requests anew for them. */
  faults(faults: readonly Fault[]): Promise<void>
  close(): Promise<void>
}

const labels = ['billing', 'bug', 'other'] as const

/** The marks world's right label of question i. */
export function marksLabel(i: number): string {
  return labels[Math.floor(rng('label', i)() * labels.length)]!
}

/** Problems of the marks world: `Q<i>: …`. */
export function marksExamples(from: number, to: number): { id: string; input: string; expected: string }[] {
  return Array.from({ length: to - from }, (_, k) => from + k).map((i) => ({
    id: `q${i}`,
    input: `Q${i}: which label?`,
    expected: marksLabel(i),
  }))
}

/** How the methods ask for an edit: what such a request holds, and an answer in that form. A reflection names the problem it is on. */
const forms: readonly (readonly [asked: string, form: (edit: string, request: string) => string])[] = [
  ['<prompt>', (edit) => `<prompt>${edit}</prompt>`],
  ['<IMPROVED_VARIABLE>', (edit) => `<IMPROVED_VARIABLE>${edit}</IMPROVED_VARIABLE>`],
  ['<reflection>', (edit, request) => `<reflection>${edit} ${request.match(/Q\d+/g)?.at(-1)}</reflection>`],
  ['<skill name="', (edit) => `<skill name="labels">\n<when>A label is wanted.</when>\n${edit}\n</skill>`],
  ['between two lines of ```', (edit) => `\`\`\`\n${edit}\n\`\`\``],
]

/**
 * The marks world. A question `Q<i>:` as the last message is answered right if the messages hold a run of more marks `+` than
 * i mod 20. A message that holds one of the `forms` asks for an edit: the line with the longest run of marks, and one mark more; one in
 * eight such answers forgets its tags, and one in eight loses all its marks. Both by the hash of the messages.
 */
export function marksAnswer(messages: readonly { readonly content: string }[]): string {
  const text = messages.map((m) => m.content).join('\n')
  const runs = text.match(/\++/g) ?? []
  const longest = runs.reduce((a, b) => (b.length > a.length ? b : a), '')
  const [, form] = forms.find(([asked]) => text.includes(asked)) ?? []
  if (form) {
    const line = text.split('\n').find((l) => longest !== '' && l.includes(longest)) ?? 'Answer with the label.'
    const old = line.replace(/<\/?\w+>/g, '').trim()
    const draw = rng('edit', text)()
    if (draw < 1 / 8) return `${old} +`
    const edited = longest === '' ? `${old} +` : old.replace(longest, draw < 2 / 8 ? '+' : `${longest}+`)
    return form(edited, text)
  }
  const question = /Q(\d+):/.exec(messages.at(-1)?.content ?? '')?.[1]
  if (question === undefined) return 'no question'
  const i = Number(question)
  return longest.length > i % 20 ? marksLabel(i) : 'unsure'
}

/** Starts the server in a process of its own, which ends with this one. */
export async function startFaultServer(options: FaultServerOptions = {}): Promise<FaultServer> {
  const { world = 'marks', latency = 0, faults = [], seed = 0 } = options
  const own = options.log === undefined ? mkdtempSync(join(tmpdir(), 'fault-server-')) : undefined
  const log = options.log ?? join(own ?? '', 'log.jsonl')
  const args = [
    '--world',
    world,
    '--latency',
    `${latency}`,
    '--faults',
    JSON.stringify(faults),
    '--seed',
    `${seed}`,
    '--log',
    log,
  ]
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...args, '--attached'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const origin = await firstLine(child)
  const get = async (path: string, body?: string): Promise<string> => {
    const response = await fetch(`${origin}${path}`, body === undefined ? {} : { method: 'POST', body })
    if (!response.ok) throw new Error(`fault server: ${path} answered ${response.status} ${await response.text()}`)
    return response.text()
  }
  return {
    url: `${origin}/v1`,
    async log() {
      await get('/flush')
      // Written by the server below.
      return readFileSync(log, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Logged)
    },
    stats: async () => JSON.parse(await get('/stats')) as Stats, // written by the server below
    faults: async (next) => void (await get('/faults', JSON.stringify(next))),
    async close() {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.stdin?.end()
      await ended
      if (own !== undefined) rmSync(own, { recursive: true, force: true })
    },
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('fault server: no output to read its address from')
  for await (const line of createInterface(child.stdout)) return line
  throw new Error('fault server: ended before it said its address')
}

interface Chat {
  readonly model: string
  readonly messages: readonly { readonly role: string; readonly content: unknown }[]
  readonly max_tokens?: number
  readonly max_completion_tokens?: number
  readonly seed?: number
  readonly stream?: boolean
}

function serve({
  world = 'marks',
  latency = 0,
  seed = 0,
  log,
  ...options
}: FaultServerOptions & { readonly port: number }): void {
  const began = performance.now()
  const came = new Map<string, number>()
  let faults = armed(options.faults ?? [])
  let requests = 0
  let inFlight = 0
  let peak = 0
  let lines: string[] = []

  const flush = (): void => {
    if (log !== undefined && lines.length > 0) appendFileSync(log, lines.join(''))
    lines = []
  }

  const chosen = (body: string, hash: string): Fault | undefined => {
    const times = came.get(hash) ?? 0
    came.set(hash, times + 1)
    for (const [k, fault] of faults.entries()) {
      if (fault.match !== undefined && !body.includes(fault.match)) continue
      if (fault.seen++ < (fault.after ?? 0) || fault.hits >= (fault.count ?? Number.POSITIVE_INFINITY)) continue
      if (rng(seed, k, hash, times)() >= (fault.probability ?? 1)) continue
      fault.hits++
      return fault
    }
    return undefined
  }

  const chat = (body: string, res: ServerResponse): void => {
    const start = performance.now() - began
    const request = JSON.parse(body) as Chat // the client under test wrote it
    const hash = createHash('sha256').update(body).digest('hex').slice(0, 16)
    const fault = chosen(body, hash)
    requests++
    peak = Math.max(peak, ++inFlight)
    res.once('close', () => {
      inFlight--
      const good = fault === undefined || fault.kind === 'empty'
      const end = performance.now() - began
      const line: Logged = {
        hash,
        model: request.model,
        start: Math.round(start),
        end: Math.round(end),
        status: res.headersSent ? res.statusCode : 0,
        ...(fault ? { fault: fault.kind } : {}),
        answered: good && res.writableFinished,
      }
      lines.push(`${JSON.stringify(line)}\n`)
    })
    const reply = (): void => (fault ? fail(res, fault, request, world) : answer(res, request, said(request, world)))
    if (latency > 0) setTimeout(reply, latency)
    else reply()
  }

  const routes: Record<string, (body: string, res: ServerResponse) => void> = {
    '/v1/chat/completions': chat,
    '/v1/models': (_, res) => json(res, 200, { object: 'list', data: [{ id: 'toy', object: 'model' }] }),
    '/stats': (_, res) => json(res, 200, { requests, inFlight, peak } satisfies Stats),
    '/flush': (_, res) => {
      flush()
      json(res, 200, {})
    },
    '/faults': (body, res) => {
      faults = armed(JSON.parse(body) as Fault[]) // from this file's other half
      json(res, 200, {})
    },
  }
  const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 }, (req, res) => {
    const route = routes[req.url ?? '']
    res.on('error', () => {}) // a client that went away; the log says so
    if (route) text(req, (body) => attempt(body, res, route))
    else json(res, 404, { error: { message: `no such path: ${req.url}` } })
  })
  setInterval(flush, 50)
  process.on('exit', flush)
  server.listen(options.port, '127.0.0.1', 4096, () => {
    console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`) // listens on TCP
  })
}

function armed(faults: readonly Fault[]): (Fault & { seen: number; hits: number })[] {
  return faults.map((fault) => ({ ...fault, seen: 0, hits: 0 }))
}

/** A body that makes no sense is the client's fault, and does not end the server. */
function attempt(body: string, res: ServerResponse, route: (body: string, res: ServerResponse) => void): void {
  try {
    route(body, res)
  } catch (error) {
    json(res, 400, { error: { message: `bad request: ${error}` } })
  }
}

function text(req: IncomingMessage, then: (body: string) => void): void {
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => then(Buffer.concat(chunks).toString()))
  req.on('error', () => {}) // never came whole, so it was never asked
}

function said(request: Chat, world: World): string {
  if (world === 'marks') {
    // Messages of several parts come as lists.
    return marksAnswer(
      request.messages.map(({ content }) => ({ content: typeof content === 'string' ? content : JSON.stringify(content) })),
    )
  }
  const maxTokens = request.max_completion_tokens ?? request.max_tokens
  return JSON.stringify({ messages: request.messages, maxTokens, seed: request.seed })
}

function answer(res: ServerResponse, request: Chat, full: string): void {
  // Four bytes a token; the last one may be short.
  const limit = 4 * (request.max_completion_tokens ?? request.max_tokens ?? 4096)
  const content = full.slice(0, limit)
  const finish = content.length < full.length ? 'length' : 'stop'
  const used = usageOf(request, content)
  if (!request.stream) {
    json(res, 200, completion(request, content, finish))
    return
  }
  const pieces = content.match(/[\s\S]{1,8}/g) ?? []
  const events = [
    ...pieces.map((piece) => chunk(request, { content: piece })),
    chunk(request, {}, finish),
    { ...chunk(request, {}), choices: [], usage: used },
  ]
  res.writeHead(200, { 'content-type': 'text/event-stream' })
  res.end(`${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')}data: [DONE]\n\n`)
}

function fail(res: ServerResponse, fault: Fault, request: Chat, world: World): void {
  const full = said(request, world)
  const headers = fault.retryAfter === undefined ? {} : { 'retry-after': fault.retryAfter }
  const raw = (body: string): void => void res.writeHead(200, { 'content-type': 'application/json', ...headers }).end(body)
  switch (fault.kind) {
    case '429':
    case '500':
      json(res, Number(fault.kind), { error: { message: `injected ${fault.kind}` } }, headers)
      break
    case '401':
      json(res, 401, { error: { message: 'Incorrect API key provided: sk-toy-1234567890abcdef' } })
      break
    case 'broken-json':
      raw('{"id": "x", "choices": [ {"mess')
      break
    case 'no-choice':
      json(res, 200, { ...completion(request, full, 'stop'), choices: [] })
      break
    case 'empty-body':
      raw('')
      break
    case 'garbage':
      raw('<html>bad gateway</html>')
      break
    case 'empty':
      answer(res, request, '')
      break
    case 'half':
      half(res, request, full)
      break
    case 'never':
      break
  }
}

/** Half a body or half a stream, then the socket closes. */
function half(res: ServerResponse, request: Chat, full: string): void {
  const body = JSON.stringify(completion(request, full, 'stop'))
  const piece = `data: ${JSON.stringify(chunk(request, { content: full.slice(0, 4) }))}\n\ndata: {"id": "x", "cho`
  if (request.stream) res.writeHead(200, { 'content-type': 'text/event-stream' })
  else res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
  res.write(request.stream ? piece : body.slice(0, body.length / 2), () => res.destroy())
}

function completion(request: Chat, content: string, finish: string): object {
  return {
    id: 'chatcmpl-toy',
    object: 'chat.completion',
    created: 1,
    model: request.model,
    choices: [{ index: 0, finish_reason: finish, message: { role: 'assistant', content } }],
    usage: usageOf(request, content),
  }
}

function chunk(request: Chat, delta: object, finish: string | null = null): object {
  const choices = [{ index: 0, delta, finish_reason: finish }]
  return { id: 'chatcmpl-toy', object: 'chat.completion.chunk', created: 1, model: request.model, choices }
}

/** Four bytes a token. */
function usageOf(request: Chat, content: string): object {
  const prompt = request.messages.reduce((sum, m) => sum + 4 + Math.ceil(String(m.content).length / 4), 0)
  const output = Math.ceil(content.length / 4)
  return { prompt_tokens: prompt, completion_tokens: output, total_tokens: prompt + output }
}

function json(res: ServerResponse, status: number, value: object, headers: Record<string, string> = {}): void {
  const body = JSON.stringify(value)
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers })
  res.end(body)
}

const help = `node test/fault-server.ts [--port 0] [--world ${worlds.join('|')}] [--latency MS] [--seed N] [--log FILE] [--faults JSON]
Prints its address. Faults, such as '[{"kind":"429","after":10,"count":2,"retryAfter":"1"}]': kind = ${faultKinds.join(' ')};
after, count, probability, match say when. GET /stats, GET /flush (writes the log), POST /faults (replaces them).`

function main(): void {
  const text = (value: string): { type: 'string'; default: string } => ({ type: 'string', default: value })
  const { values } = parseArgs({
    options: {
      port: text('0'),
      world: text('marks'),
      latency: text('0'),
      seed: text('0'),
      faults: text('[]'),
      log: { type: 'string' },
      attached: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) {
    console.log(help)
    return
  }
  const world = worlds.find((name) => name === values.world)
  if (!world) throw new TypeError(`unknown world "${values.world}" (have: ${worlds.join(', ')})`)
  // Ends with the process that started it, however that ends.
  if (values.attached) process.stdin.resume().on('end', () => process.exit(0))
  const faults = JSON.parse(values.faults) as Fault[] // a test wrote it
  const log = values.log === undefined ? {} : { log: values.log }
  serve({ world, faults, latency: Number(values.latency), seed: Number(values.seed), port: Number(values.port), ...log })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
