// What the metered door adds to a model call, in CPU time of this process: the same calls through raw fetch, through the bare AI SDK
// provider, and through the door with the SQLite journal. The server is another process with no latency. Run: node benchmarks/metered.ts
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ledger } from '../src/core/budget.ts'
import { type Message, type Model, noUsage } from '../src/core/model.ts'
import { gate, meteredModel } from '../src/models/metered.ts'
import { priceOf } from '../src/models/prices.ts'
import { resolveModel } from '../src/models/resolve.ts'
import { sqliteStore } from '../src/stores/sqlite.ts'
import { startFaultServer } from '../test/fault-server.ts'

const calls = 3000
const folder = mkdtempSync(join(tmpdir(), 'lamarck-bench-'))
await using store = await sqliteStore(join(folder, 'store.db'))
const server = await startFaultServer()
const system = `Answer with the label. +++ ${'The text of an evolved instruction. '.repeat(40)}`
const prompt = (i: number): readonly Message[] => [
  { role: 'system', content: system },
  { role: 'user', content: `Q${i}: which label?` },
]
const params = { maxTokens: 100, temperature: 0.7, seed: 1 }
const price = await priceOf('openai:gpt-5-mini', { at: new Date() })

/** Wall milliseconds a call at the median, and CPU milliseconds a call. */
async function timed(width: number, call: (i: number) => Promise<unknown>): Promise<{ wall: number; cpu: number }> {
  for (let i = 0; i < 500; i++) await call(i)
  const walls: number[] = []
  const before = process.cpuUsage()
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < calls) {
      const began = performance.now()
      await call(500 + next++)
      walls.push(performance.now() - began)
    }
  }
  await Promise.all(Array.from({ length: width }, worker))
  const { user, system } = process.cpuUsage(before)
  return { wall: walls.sort((a, b) => a - b)[walls.length >> 1] ?? 0, cpu: (user + system) / 1000 / calls }
}

function door(model: Model, run: string): Model {
  const options = { journal: store.journal(run), ledger: new Ledger({ usd: 1e9 }), gate: gate(64), price }
  return meteredModel(model, options).open(0, '0.0.0/q#0', []).model
}

const toy: Model = {
  name: 'openai:gpt-5-mini',
  sample: async () => [{ text: 'bug', finish: 'stop', usage: { ...noUsage, input: 400, output: 1 } }],
}
const sdk = await resolveModel('compatible:toy', { env: {}, baseUrl: server.url })
const fetched = async (i: number): Promise<unknown> => {
  const body = JSON.stringify({ model: 'toy', max_tokens: 100, temperature: 0.7, seed: 1, messages: prompt(i) })
  return (
    await fetch(`${server.url}/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  ).json()
}

const metered = door(sdk, 'sdk')
const alone = door(toy, 'toy')
for (const width of [1, 64]) {
  const rows = {
    'raw fetch': await timed(width, fetched),
    'AI SDK provider': await timed(width, (i) => sdk.sample(prompt(i), params)),
    'AI SDK provider, metered': await timed(width, (i) => metered.sample(prompt(i), params)),
    'toy model, metered': await timed(width, (i) => alone.sample(prompt(i), params)),
  }
  for (const [name, { wall, cpu }] of Object.entries(rows)) {
    const ratio = (cpu / rows['raw fetch'].cpu).toFixed(2)
    console.log(
      `${width} at once · ${name}: ${wall.toFixed(3)} ms median, ${cpu.toFixed(3)} ms CPU a call · ${ratio} × raw fetch`,
    )
  }
}
await server.close()
rmSync(folder, { recursive: true, force: true })
