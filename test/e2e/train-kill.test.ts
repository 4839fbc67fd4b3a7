// Real SIGKILL of the two steps that train a language model. The command line's process group is killed again and again, when the server of
// the action model or the one that trains hears a request at a seeded place; both servers are in this process, and their logs are the witness.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text as whole } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { rng } from '../../src/core/rng.ts'
import type { TrainLlmFact } from '../../src/recipes/train-llm.ts'
import { tinyEncode } from '../e2e-skyrl/tiny-tokenizer.ts'
import { type TinkerServer, tinkerServer } from '../tinker-server.ts'
import { characters, subjects } from '../tiny-recipe.ts'
import { bare } from './lamarck.ts'

const root = resolve(import.meta.dirname, '../..')
const work = mkdtempSync(join(tmpdir(), 'train-kill-'))
afterAll(() => rmSync(work, { recursive: true, force: true }))

const concurrency = 8

const data = subjects(work)
const tokenizer = characters(work)

interface Request {
  readonly life: number
  /** The context, where the request is a problem's. */
  readonly context: string
}

/** Whom a server tells of what it hears. */
let heard: (by: 'actor' | 'trainer') => void = () => {}
let life = 0
const log: Request[] = []

/** Answers problems, and writes edits: both follow from what is asked. */
const actor = createServer(async (request, response) => {
  const { messages, seed = 0 } = JSON.parse(await whole(request)) as {
    messages: { role: string; content: string }[]
    seed?: number
  } // as the client types it
  const mark = createHash('sha256')
    .update(JSON.stringify([messages, seed]))
    .digest()
  const isEdit = messages.length === 1
  if (!isEdit) log.push({ life, context: messages[0]!.content })
  heard('actor')
  await sleep(2)
  const content = isEdit
    ? `<prompt>Think of it ${mark.toString('hex', 0, 4)}.</prompt>`
    : `<answer>${'AB'[mark[0]! % 2]}</answer>`
  const choices = [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }]
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ id: 'x', choices, usage: { prompt_tokens: 1, completion_tokens: 1 } }))
})
await once(actor.listen(0, '127.0.0.1'), 'listening')
const url = `http://127.0.0.1:${(actor.address() as AddressInfo).port}/v1` // it listens on a port
/** Its model can't write an edit by chance: it is told what to say, and its probabilities move all the same. */
const trainer: TinkerServer = await tinkerServer({
  places: 100, // those of the dead are never left
  says: (seed) => [...tinyEncode(`<prompt>Do it as ${seed}.</prompt>`), 1],
  heard: () => heard('trainer'),
})
afterAll(async () => {
  await trainer[Symbol.asyncDispose]()
  actor.closeAllConnections()
  actor.close()
})

interface Kill {
  readonly by: 'actor' | 'trainer'
  /** At its n-th request of this life. */
  readonly at: number
}

interface Lived {
  readonly code: number | null
  readonly out: string
  /** Requests of this life. */
  readonly actor: number
  readonly trainer: number
}

/** One life of `lamarck train collect` or `run`, in a folder. */
async function live(
  what: 'collect' | 'run',
  folder: string,
  { lag, kill }: { lag: boolean; kill?: Kill | undefined },
): Promise<Lived> {
  const count = { actor: 0, trainer: 0 }
  const flags = {
    ...{ recipe: 'mmlu-qwen3-4b', data, out: folder, store: join(folder, 'runs.db') },
    ...{ model: 'openai-compatible:toy', 'base-url': url, runs: 2, rounds: 3, draws: 1, states: 2, rollouts: 2, passes: 3 },
    ...{ every: 3, 'edit-tokens': 48, concurrency, 'dev-tasks': 's15' },
    ...(what === 'run' && { url: trainer.url, tokenizer, rank: 8, context: 30_000 }),
  }
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`])
  const more = [...(what === 'run' ? ['--untrained'] : []), ...(lag && what === 'run' ? ['--one-step-off'] : []), '--quiet']
  const child = spawn(process.execPath, [join(root, 'src/cli/main.ts'), 'train', what, ...args, ...more], {
    cwd: work,
    detached: true, // a group of its own
    env: { ...bare, OPENAI_API_KEY: 'x' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = once(child, 'close') as Promise<[number | null]>
  heard = (by) => {
    if (++count[by] === kill?.at && by === kill.by && child.exitCode === null) process.kill(-child.pid!, 'SIGKILL')
  }
  life++
  let out = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (said: Buffer) => (out += said))
  const [code] = await ended
  return { code, out, ...count }
}

/** The facts without what a clock says and whose model a checkpoint was. */
function factsOf(folder: string): readonly unknown[] {
  const lines = readFileSync(join(folder, 'facts.jsonl'), 'utf8').trim().split('\n')
  const facts = lines.map((line) => JSON.parse(line) as TrainLlmFact) // the command wrote it
  return facts
    .filter(({ kind }) => kind !== 'timed')
    .map((fact) => JSON.parse(JSON.stringify(fact).replaceAll(/tinker:\/\/\w+\//g, 'tinker://MODEL/')) as unknown)
}

interface Paid {
  readonly step: number
  readonly edit: string
  readonly score: number
}

/** Rewards that are kept; a line that was cut off is none. */
function rewards(folder: string): readonly Paid[] {
  const file = join(folder, 'rewards.jsonl')
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1)
  return lines.map((line) => JSON.parse(line) as Paid) // the command wrote it
}

const byStep = (paid: readonly Paid[]): readonly Paid[] =>
  paid.toSorted((a, b) => a.step - b.step || a.edit.localeCompare(b.edit))

/** Names of a context's edit in `rewards.jsonl`, as an edit of either tree. */
const editsOf = (context: string): readonly string[] =>
  [0, 1].map((tree) =>
    createHash('sha256')
      .update(JSON.stringify([`mmlu-qwen3-4b-1-tree-${tree}`, { instructions: context }]))
      .digest('hex')
      .slice(0, 32),
  )

interface Chain {
  readonly what: 'collect' | 'run'
  readonly kills: number
  readonly lag: boolean
  /** How many requests one life in one piece makes. */
  readonly whole: Lived
}

/** Lives in a folder, each killed but the last; gives back how many requests the action model's server had of them. */
async function chained(folder: string, { what, kills, lag, whole }: Chain): Promise<number> {
  const draw = rng('train-kill', what, Number(lag))
  let asked = 0
  for (let n = 0; ; n++) {
    const paid = new Set(rewards(folder).map(({ edit }) => edit))
    const by = what === 'run' && n % 2 === 1 ? 'trainer' : 'actor'
    const kill: Kill | undefined = n < kills ? { by, at: 1 + Math.floor(draw() * (whole[by] / 3)) } : undefined
    const death = await live(what, folder, { lag, kill })
    asked += death.actor
    // What is kept is never asked for again.
    expect(log.filter((r) => r.life === life && editsOf(r.context).some((edit) => paid.has(edit)))).toEqual([])
    expect(death.code === null, death.out).toBe(n < kills)
    if (death.code === null) continue
    expect([0, 3], death.out).toContain(death.code)
    return asked
  }
}

const [reference, folder] = [join(work, 'whole'), join(work, 'chain')]
let grown: Lived | undefined

test('collect, killed again and again, ends with the trees of one that never was; only calls in flight are made again', async () => {
  grown = await live('collect', reference, { lag: false })
  expect(grown.code, grown.out).toBe(0)
  const kills = 2
  const asked = await chained(folder, { what: 'collect', kills, lag: false, whole: grown })
  expect(asked).toBeLessThanOrEqual(grown.actor + kills * concurrency)
  const states = (at: string): readonly string[] =>
    [...new Set(readFileSync(join(at, 'states.jsonl'), 'utf8').trim().split('\n'))].toSorted()
  expect(states(folder)).toEqual(states(reference))
})

test.each([false, true])(
  'run, killed again and again, ends with the facts and rewards of one that never was, and pays no reward twice; one step off: %s',
  async (lag) => {
    expect(grown, 'the trees were collected').toBeDefined()
    const [whole, chain] = [`${reference}-${lag}`, `${folder}-${lag}`]
    cpSync(reference, whole, { recursive: true })
    cpSync(folder, chain, { recursive: true })
    const trained = await live('run', whole, { lag })
    expect([0, 3], trained.out).toContain(trained.code)
    const due = byStep(rewards(whole))
    expect(due.length).toBeGreaterThan(20)
    const named = new Set(log.filter((r) => r.life === life).flatMap(({ context }) => editsOf(context)))
    expect(due.every(({ edit }) => named.has(edit))).toBe(true) // else the witness sees nothing
    await chained(chain, { what: 'run', kills: 3, lag, whole: trained })
    expect(factsOf(chain)).toEqual(factsOf(whole))
    expect(byStep(rewards(chain))).toEqual(due)
  },
)
