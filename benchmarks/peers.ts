// A published optimizer beside ours, on the same server (200 ms a call), problems and seed context, until each has made the same number of
// calls: gepa 0.1.4 with its own settings (minibatch 3, validation 50), 10 workers as by default and 64, one proposal at a time and its
// PxN(1, 8); our GEPA and LSE with the same minibatch and holdout, 64 calls at once, at P = 1 and 8. Calls are counted by the server; ours
// without the closing look at test, which gepa has not. `test` = share of 100 unseen problems that the best context gets right, worked
// out without a call.
// Not shown: other seeds; what a real model would write. The server's model is a script, and each good edit helps one problem in twenty.
// Run: node benchmarks/peers.ts [--calls 1500] [--python PYTHON]    PYTHON has gepa==0.1.4 and litellm; else a temporary venv gets them.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { contextText } from '../src/core/context.ts'
import { evolver } from '../src/core/evolver.ts'
import type { Method } from '../src/core/method.ts'
import { evolve } from '../src/index.ts'
import { gepa, gepaWriter } from '../src/methods/gepa.ts'
import { lse } from '../src/methods/lse.ts'
import { chatTask } from '../src/tasks/chat.ts'
import { marksAnswer, marksExamples, startFaultServer } from '../test/fault-server.ts'
import { cpuSince, head, load, row } from './table.ts'

const { values: options } = parseArgs({ options: { python: { type: 'string' }, calls: { type: 'string', default: '1500' } } })
const calls = Number(options.calls)
const latency = 200 // ms
const splits = { train: marksExamples(0, 50), holdout: marksExamples(50, 100), test: marksExamples(100, 110) }
const unseen = marksExamples(200, 300)
const template = 'Improve this: <curr_param>\n\n<side_info>\n\nAnswer with <prompt>…</prompt>.'
const folder = mkdtempSync(join(tmpdir(), 'lamarck-bench-'))

interface Searched {
  readonly calls: number
  readonly seconds: number
  /** Seconds. */
  readonly cpu: number
  /** Contexts scored on the whole holdout. */
  readonly candidates: number
  /** The best of them. */
  readonly best: string
}

/** GEPA that speaks to the server's model: it takes every message with `<prompt>` in it for a request to edit, so no context may have it. */
function ourGepa(proposals: number): Method {
  const writer = gepaWriter({ template })
  const read: typeof writer.read = (text, o) => writer.read(text.replace(/<\/?prompt>/g, ''), o)
  return { ...gepa({ proposals }), evolver: evolver({ ...writer, read }) }
}

/** Share of unseen problems that a context gets right. */
function tested(context: string): number {
  const isRight = ({ input, expected }: (typeof unseen)[number]): boolean =>
    marksAnswer([{ content: context }, { content: input }]) === expected
  return unseen.filter(isRight).length / unseen.length
}

let stores = 0

async function ours(method: Method, inFlight: number): Promise<Searched> {
  const server = await startFaultServer({ latency })
  const task = chatTask({
    name: 'marks',
    context: { instructions: 'Answer with the label.' },
    splits,
    prompt: (example) => String(example.input),
    grade: (answer, example) => ({ score: answer === example.expected ? 0.9 : 0 }), // never perfect, which would end the search early
    params: { maxTokens: 100 },
  })
  const before = process.cpuUsage()
  const began = performance.now()
  const run = evolve({
    task,
    model: 'compatible:toy',
    env: {},
    baseUrl: server.url,
    method,
    rounds: 100_000,
    budget: { calls: calls + 2 * splits.test.length },
    batch: 3,
    draws: 1,
    testDraws: 1,
    choice: 'mean',
    folds: 0,
    racing: false,
    inFlight,
    store: join(folder, `${stores++}.db`),
  })
  const found = { calls: 0, seconds: 0, cpu: 0, best: '' }
  for await (const event of run.events) {
    if (event.kind !== 'stopped') continue
    found.seconds = (performance.now() - began) / 1000
    found.cpu = cpuSince(before) / 1000
    const { spent, best } = run.progress()!.state
    found.calls = spent.act.calls + spent.evolve.calls
    found.best = contextText(best!.context)
  }
  const { report } = await run.result
  await server.close()
  return { ...found, candidates: report.counts.nodes }
}

async function theirs(python: string, workers: number, proposals: number): Promise<Searched> {
  const server = await startFaultServer({ latency })
  const file = join(folder, 'splits.json')
  writeFileSync(file, JSON.stringify(splits))
  const script = join(import.meta.dirname, 'peers.py')
  const child = spawn(python, [script, server.url, file, `${calls}`, `${workers}`, `${proposals}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  if (child.exitCode !== 0) throw new Error(`gepa did not run: ${err.slice(-2000)}`)
  const { requests } = await server.stats()
  await server.close()
  return { ...JSON.parse(out.trim().split('\n').at(-1)!), calls: requests }
}

/** A Python that has gepa, or undefined with the reason said. */
function pythonWithGepa(): string | undefined {
  if (options.python) return options.python
  const bin = join(folder, 'venv/bin')
  const made = spawnSync('python3', ['-m', 'venv', join(folder, 'venv')])
  const installed = made.status === 0 && spawnSync(join(bin, 'pip'), ['install', '-q', 'gepa==0.1.4', 'litellm']).status === 0
  if (installed) return join(bin, 'python')
  console.log('skipped: no python3 with venv and pip here that could install gepa==0.1.4')
  return undefined
}

const python = pythonWithGepa()
if (python) {
  const rows: [string, Searched][] = [
    ['gepa 0.1.4, 10 workers', await theirs(python, 10, 1)],
    ['gepa 0.1.4, 64 workers', await theirs(python, 64, 1)],
    ['gepa 0.1.4, 64 workers, PxN(1, 8)', await theirs(python, 64, 8)],
    ['GEPA here, P = 1', await ours(ourGepa(1), 1)],
    ['GEPA here, P = 8', await ours(ourGepa(1), 8)],
    ['GEPA here, P = 1, N = 8', await ours(ourGepa(8), 1)],
    ['LSE, P = 1', await ours(lse(), 1)],
    ['LSE, P = 8', await ours(lse(), 8)],
  ]
  const [, first] = rows[0]!
  const rate = ({ calls, seconds }: Searched): number => calls / seconds
  const cpu = (s: Searched): number => (1000 * s.cpu) / s.calls
  console.log(head('search', 'calls', 'wall', 'calls a second', 'ratio', 'CPU a call', 'ratio', 'scored in full', 'test', 'load'))
  for (const [name, s] of rows) {
    console.log(
      row(
        name,
        `${s.calls}`,
        `${s.seconds.toFixed(1)} s`,
        rate(s).toFixed(0),
        `${(rate(s) / rate(first)).toFixed(1)} ×`,
        `${cpu(s).toFixed(2)} ms`,
        `1 / ${(cpu(first) / cpu(s)).toFixed(1)}`,
        `${s.candidates}`,
        tested(s.best).toFixed(2),
        load(),
      ),
    )
  }
  console.log(`\n${execFileSync(python, ['--version'], { encoding: 'utf8' }).trim()}`)
}
rmSync(folder, { recursive: true, force: true })
