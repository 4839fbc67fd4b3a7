import { afterAll, beforeAll, expect, test } from 'vitest'
import { ConfigError } from '../core/errors.ts'
import { chat } from '../core/task.ts'
import { finchHash } from '../tasks/finch/hash.ts'
import { type FinchServer, serveFinch } from './finch.ts'

let server: FinchServer
beforeAll(async () => {
  server = await serveFinch(0)
})
afterAll(() => server[Symbol.asyncDispose]())

const get = async <T>(path: string): Promise<T> => (await (await fetch(server.url + path)).json()) as T // checked by what follows
const send = (path: string, body: unknown): Promise<Response> =>
  fetch(server.url + path, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) })
const post = async <T>(path: string, body: unknown): Promise<T> => (await (await send(path, body)).json()) as T // checked by what follows

interface Companies {
  readonly finch: string
  readonly companies: readonly { readonly seed: number; readonly domain: string }[]
}
interface Described {
  readonly context: { readonly notes: string }
  readonly problems: readonly { readonly id: string; readonly split: string; readonly prompt: string; readonly gold: string }[]
}
interface Chat {
  readonly model: string
  readonly choices: readonly { readonly message: { readonly content: string } }[]
}
interface Graded {
  readonly score: number
}

test('a program in any language can read a company, ask an actor and have its answer graded', async () => {
  const { companies, finch } = await get<Companies>('/finch/companies?set=dev&count=2')
  expect(finch).toBe(finchHash())
  expect(companies).toHaveLength(2)
  const of = { set: 'dev', ...companies[1]! }
  const company = await get<Described>(`/finch/company?set=dev&seed=${of.seed}&domain=${of.domain}`)
  const problem = company.problems.find((p) => p.split === 'holdout')!
  const asked = { model: 'finch-actor-2', messages: chat(company.context, problem.prompt), n: 2, temperature: 0.7, seed: 3 }
  const { choices, model } = await post<Chat>('/v1/chat/completions', asked)
  expect(model).toBe('simulated:finch-actor-2')
  expect(choices).toHaveLength(2)
  expect(await post('/v1/chat/completions', asked)).toMatchObject({ choices })
  const answer = choices[0]!.message.content
  expect([0, 1]).toContain((await post<Graded>('/finch/grade', { ...of, id: problem.id, answer })).score)
  expect(await post('/finch/grade', { ...of, id: problem.id, answer: `<answer>${problem.gold}</answer>` })).toMatchObject({
    score: 1,
  })
  expect(await post('/finch/grade', { ...of, id: problem.id, answer: 'no idea' })).toMatchObject({ score: 0 })
})

test('it lists its models', async () => {
  expect(await get('/v1/models')).toMatchObject({ data: [{ id: 'finch-actor' }, { id: 'finch-actor-2' }] })
})

test.each([
  ['no JSON', '/v1/chat/completions', '{', /JSON/],
  [
    'an unknown model',
    '/v1/chat/completions',
    { model: 'gpt-5', messages: [{ role: 'user', content: 'x' }] },
    /no model "gpt-5" \(have: finch-actor/,
  ],
  ['no messages', '/v1/chat/completions', { model: 'finch-actor', messages: [] }, /messages/],
  [
    'a wish for streaming',
    '/v1/chat/completions',
    { model: 'finch-actor', messages: [{ role: 'user', content: 'x' }], stream: true },
    /streaming/,
  ],
  [
    'a domain of another set',
    '/finch/grade',
    { set: 'dev', seed: 1, domain: 'shop', id: 'x', answer: '' },
    /belongs to the set train/,
  ],
  ['an unknown problem', '/finch/grade', { set: 'dev', seed: 1, id: 'x', answer: '' }, /no problem "x"/],
  ['an unknown path', '/v2', {}, /nothing at POST/],
])('%s is answered in the shape of an OpenAI error', async (_, path, body, message) => {
  const response = await send(path, body)
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({
    error: { type: 'invalid_request_error', message: expect.stringMatching(message) },
  })
})

test('a port that is taken is named', async () => {
  const port = Number(new URL(server.url).port)
  await expect(serveFinch(port)).rejects.toThrow(ConfigError)
  await expect(serveFinch(port)).rejects.toThrow(`port ${port}`)
})

test.each([-1, 1.5, 70_000])('%s is no port', async (port) => {
  await expect(serveFinch(port)).rejects.toThrow(ConfigError)
})
