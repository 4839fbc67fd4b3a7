// lamarck finch serve: Finch for programs in any language. The actors answer as an OpenAI-compatible API does; companies and grades are
// JSON. On loopback only, without a key.
//   POST /v1/chat/completions    model finch-actor or finch-actor-2; messages, n, temperature, seed
//   GET  /v1/models
//   GET  /finch/companies?set=dev&count=8&seed=0      which companies there are: set, seed and domain of each
//   GET  /finch/company?set=dev&seed=…&domain=…       context, its cap, and prompt and gold of every problem
//   POST /finch/grade            { set, seed, domain, id, answer } → { score, feedback }
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { z } from 'zod'
import { BadAnswer, ConfigError } from '../core/errors.ts'
import { type Completion, noUsage } from '../core/model.ts'
import { splits } from '../core/task.ts'
import { finchActor } from '../tasks/finch/actor.ts'
import { setNames } from '../tasks/finch/domains.ts'
import { finchHash } from '../tasks/finch/hash.ts'
import { type ActorName, actorNames } from '../tasks/finch/parameters.ts'
import { companiesIn } from '../tasks/finch/sets.ts'
import { type FinchTask, finchTask } from '../tasks/finch/task.ts'
import { type CommonFlags, terminal } from './terminal.ts'

export interface FinchFlags extends CommonFlags {
  readonly port?: number
}

/** Serves until it is interrupted. */
export async function finchCommand(flags: FinchFlags): Promise<number> {
  await using server = await serveFinch(flags.port ?? 8087)
  terminal(flags).out(`Finch ${finchHash()} (simulated) on ${server.url}; models ${actorNames.join(', ')}; stop with Ctrl-C`)
  await new Promise<void>((stop) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop())
  })
  return 0
}

export interface FinchServer extends AsyncDisposable {
  /** "http://127.0.0.1:8087". */
  readonly url: string
}

/** Port 0 = any that is free. @throws {ConfigError} if the port is taken, or is none. */
export async function serveFinch(port: number): Promise<FinchServer> {
  if (!(Number.isInteger(port) && port >= 0 && port <= 65_535))
    throw new ConfigError(`port ${port}: give a number from 0 to 65535`)
  const tasks = new Map<string, FinchTask>()
  const server = createServer((request, response) => void respond(request, response, tasks))
  await new Promise<void>((ready, fail) => {
    server.once('error', (cause) =>
      fail(new ConfigError(`can't serve on port ${port}: ${cause.message}; give another (--port)`, { cause })),
    )
    server.listen(port, '127.0.0.1', ready)
  })
  const { port: given } = server.address() as AddressInfo // listens on a port
  return {
    url: `http://127.0.0.1:${given}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
      for (const task of tasks.values()) await task[Symbol.asyncDispose]()
    },
  }
}

const company = z.object({
  set: z.enum(setNames),
  seed: z.coerce.number().int().min(0),
  domain: z.string().optional(),
})
const companies = z.object({
  set: z.enum(setNames).default('dev'),
  count: z.coerce.number().int().min(1).max(10_000).default(8),
  seed: z.coerce.number().int().default(0),
})
const grade = company.extend({ id: z.string(), answer: z.string() })
const chatRequest = z.object({
  model: z.string(),
  messages: z.array(z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() })).min(1),
  n: z.int().min(1).max(128).default(1),
  temperature: z.number().min(0).max(2).default(1),
  seed: z.int().default(0),
  stream: z.literal(false, 'streaming is not offered; leave it out').optional(),
})

type Tasks = Map<string, FinchTask>

/** What is wrong with a request is said in the shape of OpenAI's errors. */
async function respond(request: IncomingMessage, response: ServerResponse, tasks: Tasks): Promise<void> {
  const send = (status: number, body: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
  try {
    send(200, await answered(request, tasks))
  } catch (error) {
    const message = error instanceof z.ZodError ? z.prettifyError(error).replaceAll('\n', ' ') : String(error)
    const isTheirs = error instanceof z.ZodError || error instanceof ConfigError || error instanceof SyntaxError
    send(isTheirs ? 400 : 500, { error: { message, type: isTheirs ? 'invalid_request_error' : 'server_error' } })
  }
}

async function answered(request: IncomingMessage, tasks: Tasks): Promise<unknown> {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1')
  const query = Object.fromEntries(url.searchParams)
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /v1/models':
      return { object: 'list', data: actorNames.map((id) => ({ id, object: 'model', created: 0, owned_by: 'simulated' })) }
    case 'POST /v1/chat/completions':
      return completions(chatRequest.parse(await body(request)))
    case 'GET /finch/companies': {
      const { set, count, seed } = companies.parse(query)
      return { finch: finchHash(), companies: companiesIn(set, count, seed) }
    }
    case 'GET /finch/company':
      return described(taskOf(company.parse(query), tasks))
    case 'POST /finch/grade': {
      const { id, answer, ...of } = grade.parse(await body(request))
      return graded(taskOf(of, tasks), id, answer)
    }
    default:
      throw new ConfigError(`nothing at ${request.method} ${url.pathname}; see docs/finch.md`)
  }
}

async function completions({ model, messages, ...params }: z.infer<typeof chatRequest>): Promise<unknown> {
  const actor = actorNames.find((name): name is ActorName => name === model || `simulated:${name}` === model)
  if (!actor) throw new ConfigError(`no model "${model}" (have: ${actorNames.join(', ')})`)
  const all = await finchActor(actor).sample(messages, { maxTokens: 1000, ...params })
  const [input, output] = [all[0]!.usage.input, all.reduce((sum, c) => sum + c.usage.output, 0)]
  return {
    id: 'finch',
    object: 'chat.completion',
    created: 0,
    model: `simulated:${actor}`,
    choices: all.map(({ text }, index) => ({ index, message: { role: 'assistant', content: text }, finish_reason: 'stop' })),
    usage: { prompt_tokens: input, completion_tokens: output, total_tokens: input + output },
  }
}

function taskOf(of: z.infer<typeof company>, tasks: Tasks): FinchTask {
  const key = `${of.set} ${of.seed} ${of.domain}`
  const task = tasks.get(key) ?? finchTask(of)
  tasks.set(key, task)
  return task
}

function described(task: FinchTask): unknown {
  const problems = splits.flatMap((split) => task.examples(split).map((e) => ({ split, ...e, prompt: task.ask(e) })))
  return { finch: finchHash(), name: task.name, context: task.seed, rules: task.rules, problems }
}

async function graded(task: FinchTask, id: string, text: string): Promise<unknown> {
  const example = splits.flatMap((split) => task.examples(split)).find((e) => e.id === id)
  if (!example) throw new ConfigError(`no problem "${id}" in ${task.name}`)
  const output: Completion = { text, finish: 'stop', usage: noUsage }
  try {
    return await task.score(output, example, { model: finchActor(), signal: AbortSignal.timeout(60_000) })
  } catch (error) {
    if (error instanceof BadAnswer) return { score: 0, feedback: error.message }
    throw error
  }
}

/** @throws {SyntaxError | ConfigError} for what is no JSON, or too long. */
async function body(request: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk
    if (text.length > 4_000_000) throw new ConfigError('the request is longer than 4,000,000 characters')
  }
  return JSON.parse(text)
}
