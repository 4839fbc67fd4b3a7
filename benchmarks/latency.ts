// How near a search comes to what its protocol allows when every call takes 200 ms: 25 rounds as published (batch 10, holdout 50 × 8),
// 64 calls at once, a server in another process. The floor is max(calls / 64, critical path) × latency: the seed's scoring, then each
// round's batch, edit (again if it was invalid) and ⌈400 / 64⌉ waves of holdout, round t planned once round t − P has settled. The
// closing look at test is not in it. A bare fetch loop beside it shows what the machine itself adds. Own CPU is this process's, in
// windows of 250 calls, beside a bare loop that does the same HTTP calls with fetch, and once more with a model in the process that
// answers at once.
// Not shown: real providers, whose latency varies; the server and this process share the machine's cores.
// Run: node benchmarks/latency.ts [--rounds 25] [--latency 200] [--in-flight 4,1]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Fact } from '../src/core/facts.ts'
import { type Message, type Model, noUsage } from '../src/core/model.ts'
import { evolve } from '../src/index.ts'
import { resolveModel } from '../src/models/resolve.ts'
import { sqliteStore } from '../src/stores/sqlite.ts'
import { chatTask } from '../src/tasks/chat.ts'
import { marksAnswer, marksExamples, startFaultServer } from '../test/fault-server.ts'
import { bar, cpuSince, head, load, median, row } from './table.ts'

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '25' },
    latency: { type: 'string', default: '200' },
    'in-flight': { type: 'string', default: '4,1' },
  },
})
const rounds = Number(options.rounds)
const latency = Number(options.latency) // ms
const width = 64
const batch = 10
const window = 250 // calls

const task = chatTask({
  name: 'marks',
  context: { instructions: 'Answer with the label.' },
  splits: { train: marksExamples(0, 100), holdout: marksExamples(100, 150), test: marksExamples(150, 160) },
  prompt: (example) => String(example.input),
  // Never perfect, which would end the search early.
  grade: (text, example) => ({ score: text === example.expected ? 0.9 : 0, feedback: `expected ${example.expected}` }),
  params: { maxTokens: 100, temperature: 0.7 },
})

interface Searched {
  readonly seconds: number
  readonly calls: number
  /** Steps of one latency each that rounds in flight, settled in order, cannot do without. */
  readonly path: number
  /** Median milliseconds of CPU a call. */
  readonly cpu: number
}

const folder = mkdtempSync(join(tmpdir(), 'lamarck-bench-'))
await using store = await sqliteStore(join(folder, 'store.db'))

async function searched(id: string, model: Model, inFlight: number): Promise<Searched> {
  const clock = cpuClock()
  const began = performance.now()
  const run = evolve({
    task,
    model: ticking(model, clock),
    protocol: 'paper',
    rounds,
    batch,
    inFlight,
    concurrency: width,
    store,
    id,
  })
  let seconds = 0
  for await (const event of run.events) if (event.kind === 'stopped') seconds = (performance.now() - began) / 1000
  await run.result
  const facts = await store.facts(id)
  const end = facts.findIndex((fact) => fact.kind === 'stopped')
  const settled = facts.slice(0, end).filter((fact): fact is Fact & { kind: 'settled' } => fact.kind === 'settled')
  if (settled.length !== rounds + 1) throw new Error(`${settled.length - 1} of ${rounds} rounds were made`)
  const calls = settled.reduce((sum, { spent }) => sum + spent.act.calls + spent.evolve.calls, 0)
  const steps = settled.map(({ spent, round }) => {
    const seen = round === 0 ? 0 : batch
    return Math.ceil(seen / width) + spent.evolve.calls + Math.ceil((spent.rollouts - seen) / width)
  })
  return { seconds, calls, path: criticalPath(steps, inFlight), cpu: median(clock.windows) }
}

/** When the last round ends, in steps; `steps` = what each round takes alone, the first being the seed's. */
function criticalPath(steps: readonly number[], inFlight: number): number {
  const ends: number[] = []
  steps.forEach((own, t) => {
    const start = t === 0 ? 0 : ends[Math.max(0, t - inFlight)]!
    ends.push(Math.max(ends.at(-1) ?? 0, start + own))
  })
  return ends.at(-1)!
}

interface CpuClock {
  readonly windows: number[]
  tick(): void
}

/** Milliseconds of CPU a call in each window of calls. */
function cpuClock(): CpuClock {
  const windows: number[] = []
  let calls = 0
  let from = process.cpuUsage()
  return {
    windows,
    tick() {
      if (++calls % window > 0) return
      windows.push(cpuSince(from) / window)
      from = process.cpuUsage()
    },
  }
}

function ticking(model: Model, clock: CpuClock): Model {
  return {
    name: model.name,
    async sample(prompt, params, signal) {
      const completions = await model.sample(prompt, params, signal)
      clock.tick()
      return completions
    },
  }
}

/** The same calls without us. */
async function bare(call: (i: number) => Promise<unknown>, calls: number): Promise<{ cpu: number; seconds: number }> {
  const clock = cpuClock()
  const began = performance.now()
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < calls) {
      await call(next++)
      clock.tick()
    }
  }
  await Promise.all(Array.from({ length: width }, worker))
  return { cpu: median(clock.windows), seconds: (performance.now() - began) / 1000 }
}

const messages = (i: number): readonly Message[] => [
  { role: 'system', content: 'Answer with the label. +++++' },
  { role: 'user', content: `Q${100 + (i % 50)}: which label?` },
]
const fetched = async (i: number): Promise<unknown> => {
  const body = JSON.stringify({ model: 'toy', max_tokens: 100, temperature: 0.7, seed: i, messages: messages(i) })
  const headers = { 'content-type': 'application/json' }
  return (await fetch(`${server.url}/chat/completions`, { method: 'POST', headers, body })).json()
}
const toy: Model = {
  name: 'toy:marks',
  sample: async (prompt) => [{ text: marksAnswer(prompt), finish: 'stop', usage: { ...noUsage, input: 30, output: 1 } }],
}

const server = await startFaultServer({ latency })
const model = await resolveModel('compatible:toy', { env: {}, baseUrl: server.url })
const bareCalls = 3008 // 47 waves
const { cpu: fetchCpu, seconds: bareSeconds } = await bare(fetched, bareCalls)
const { cpu: providerCpu } = await bare(
  (i) => model.sample(messages(i), { maxTokens: 100, temperature: 0.7, seed: i }).then((c) => c[0]),
  bareCalls,
)

console.log(head('search', 'calls', 'wall', 'floor', 'wall / floor', 'bar', 'load'))
const bareFloor = ((bareCalls / width) * latency) / 1000
const slowed = (bareSeconds / bareFloor).toFixed(2)
console.log(
  row(
    'bare fetch loop',
    `${bareCalls}`,
    `${bareSeconds.toFixed(1)} s`,
    `${bareFloor.toFixed(1)} s (${bareCalls} / ${width})`,
    slowed,
    'beside it',
    load(),
  ),
)
const cpus: [string, number][] = []
for (const inFlight of options['in-flight'].split(',').map(Number)) {
  const { seconds, calls, path, cpu } = await searched(`p${inFlight}`, model, inFlight)
  const floor = (Math.max(calls / width, path) * latency) / 1000
  const ratio = seconds / floor
  const verdict = inFlight > 1 ? bar(ratio, 1.15, '×') : 'its own path'
  const why = path > calls / width ? `path of ${path} steps` : `${calls} / ${width}`
  console.log(
    row(
      `P = ${inFlight}`,
      `${calls}`,
      `${seconds.toFixed(1)} s`,
      `${floor.toFixed(1)} s (${why})`,
      ratio.toFixed(2),
      verdict,
      load(),
    ),
  )
  cpus.push([`P = ${inFlight}`, cpu])
}
const { cpu: toyCpu } = await searched('toy', toy, 4)

console.log(`\n${head('CPU a call, median', 'ms', 'beside it', 'own', 'bar', 'load')}`)
const line = (name: string, cpu: number, beside: string, base: number): void =>
  console.log(row(name, cpu.toFixed(3), beside, `${(cpu - base).toFixed(3)} ms`, bar(cpu - base, 0.5, 'ms'), load()))
for (const [name, cpu] of cpus) {
  line(name, cpu, `bare fetch ${fetchCpu.toFixed(3)} ms`, fetchCpu)
  line(name, cpu, `bare AI SDK provider ${providerCpu.toFixed(3)} ms`, providerCpu)
}
line('model in the process, P = 4', toyCpu, 'nothing', 0)
await server.close()
rmSync(folder, { recursive: true, force: true })
