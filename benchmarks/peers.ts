// A published prompt optimizer beside a search of ours, 200 ms a call, on the same server, problems and seed context: gepa 0.1.4 with its
// own settings (minibatch 3, 25 iterations, validation 50, 10 workers as by default and 50), and LSE with the same batch and holdout,
// 25 rounds at P = 1 and 4, 64 calls at once. Calls are counted by the server; ours without the closing look at test, which gepa has not.
// Not shown: which of them ends with the better context; the server's model is a script. Contexts scored in full are what a search
// chooses from, and what each second of waiting buys.
// Run: node benchmarks/peers.ts [--python PYTHON]    PYTHON has gepa==0.1.4 and litellm; else a temporary venv gets them through pip.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { evolve } from '../src/index.ts'
import { chatTask } from '../src/tasks/chat.ts'
import { marksExamples, startFaultServer } from '../test/fault-server.ts'
import { cpuSince, head, load, row } from './table.ts'

const { values: options } = parseArgs({ options: { python: { type: 'string' } } })
const rounds = 25
const latency = 200 // ms
// Problems that up to 8 edits help: about one in four edits then helps a minibatch of 3, which is what gepa asks before it scores in full.
const problems = marksExamples(0, 300).filter((_, i) => i % 20 < 8)
const splits = { train: problems.slice(0, 50), holdout: problems.slice(50, 100), test: problems.slice(100, 110) }
const folder = mkdtempSync(join(tmpdir(), 'lamarck-bench-'))

interface Searched {
  readonly calls: number
  readonly seconds: number
  /** Seconds. */
  readonly cpu: number
  /** Contexts scored on the whole holdout. */
  readonly candidates: number
}

async function ours(inFlight: number): Promise<Searched> {
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
    rounds,
    batch: 3,
    draws: 1,
    inFlight,
    store: join(folder, `${inFlight}.db`),
  })
  const found = { calls: 0, seconds: 0, cpu: 0 }
  for await (const event of run.events) {
    if (event.kind !== 'stopped') continue
    found.seconds = (performance.now() - began) / 1000
    found.cpu = cpuSince(before) / 1000
    const spent = run.progress()!.state.spent
    found.calls = spent.act.calls + spent.evolve.calls
  }
  const { report } = await run.result
  await server.close()
  return { ...found, candidates: report.counts.nodes }
}

async function gepa(python: string, workers: number): Promise<Searched> {
  const server = await startFaultServer({ latency })
  const file = join(folder, 'splits.json')
  writeFileSync(file, JSON.stringify(splits))
  const script = join(import.meta.dirname, 'peers.py')
  const child = spawn(python, [script, server.url, file, `${rounds}`, `${workers}`], { stdio: ['ignore', 'pipe', 'pipe'] })
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
    ['gepa 0.1.4, 10 workers', await gepa(python, 10)],
    ['gepa 0.1.4, 50 workers', await gepa(python, 50)],
    ['LSE, P = 1', await ours(1)],
    ['LSE, P = 4', await ours(4)],
  ]
  const [, first] = rows[0]!
  const rate = ({ calls, seconds }: Searched): number => calls / seconds
  const cpu = (s: Searched): number => (1000 * s.cpu) / s.calls
  console.log(
    head('search', 'calls', 'wall', 'calls a second', 'ratio', 'CPU a call', 'ratio', 'scored in full', 'wall for each', 'load'),
  )
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
        `${(s.seconds / s.candidates).toFixed(2)} s`,
        load(),
      ),
    )
  }
  console.log(`\n${execFileSync(python, ['--version'], { encoding: 'utf8' }).trim()}`)
}
rmSync(folder, { recursive: true, force: true })
