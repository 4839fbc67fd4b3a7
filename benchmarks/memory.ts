// What a long run holds in memory and on disk: rounds of 400 holdout calls with a model in the process that answers at once with 300
// characters under a context of about 2,000, kept in SQLite. Each length is a process of its own; a bare node stands beside them. The
// CPU a call at the run's start and end shows whether anything grows with what was done before.
// Not shown: answers with long thinking; the disk grows with their length.
// Run: node benchmarks/memory.ts [--rounds 100,1000]
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Message, type Model, noUsage } from '../src/core/model.ts'
import { evolve } from '../src/index.ts'
import { chatTask } from '../src/tasks/chat.ts'
import { marksAnswer, marksExamples } from '../test/fault-server.ts'
import { bar, cpuSince, head, load, median, row } from './table.ts'

interface Held {
  readonly calls: number
  readonly seconds: number
  /** Bytes. */
  readonly rss: number
  readonly disk: number
  /** Milliseconds of CPU a call, medians of the first and the last tenth. */
  readonly first: number
  readonly last: number
}

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '100,1000' }, child: { type: 'boolean', default: false } },
})
const megabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0)

async function held(rounds: number): Promise<Held> {
  const folder = mkdtempSync(join(tmpdir(), 'lamarck-bench-'))
  const window = 400 // calls
  const windows: number[] = []
  let calls = 0
  let from = process.cpuUsage()
  const model: Model = {
    name: 'toy:marks',
    async sample(prompt: readonly Message[]) {
      if (++calls % window === 0) {
        windows.push(cpuSince(from) / window)
        from = process.cpuUsage()
      }
      const said = marksAnswer(prompt)
      const text = said.startsWith('<prompt>') ? said : said.padEnd(300, ' .')
      return [{ text, finish: 'stop', usage: { ...noUsage, input: 500, output: 75 } }]
    },
  }
  const task = chatTask({
    name: 'marks',
    context: { instructions: `Answer with the label.\n${'A rule that says what the labels mean. '.repeat(50)}` },
    splits: { train: marksExamples(0, 100), holdout: marksExamples(100, 150), test: marksExamples(150, 160) },
    prompt: (example) => String(example.input),
    // Never perfect, which would end the search early.
    grade: (text, example) => ({ score: text.startsWith(String(example.expected)) ? 0.9 : 0, feedback: 'wrong' }),
  })
  const file = join(folder, 'store.db')
  const began = performance.now()
  const run = evolve({ task, model, protocol: 'paper', rounds, inFlight: 4, store: file })
  const { report } = await run.result
  if (report.counts.rounds !== rounds) throw new Error(`${report.counts.rounds} of ${rounds} rounds were made`)
  const seconds = (performance.now() - began) / 1000
  const disk = statSync(file).size
  rmSync(folder, { recursive: true })
  const tenth = Math.ceil(windows.length / 10)
  const rss = process.resourceUsage().maxRSS * 1024
  return { calls, seconds, rss, disk, first: median(windows.slice(0, tenth)), last: median(windows.slice(-tenth)) }
}

if (options.child) console.log(JSON.stringify(await held(Number(options.rounds))))
else {
  const node = (...args: readonly string[]): string => execFileSync(process.execPath, args, { encoding: 'utf8' })
  const bare = Number(node('-p', 'process.resourceUsage().maxRSS * 1024'))
  console.log(
    head(
      'rounds',
      'calls',
      'peak memory',
      'bare node',
      'ratio',
      'bar',
      'on disk',
      'ms a call',
      'CPU ms a call, first and last tenth',
      'load',
    ),
  )
  for (const rounds of options.rounds.split(',')) {
    const { calls, seconds, rss, disk, first, last }: Held = JSON.parse(node(import.meta.filename, '--child', '--rounds', rounds))
    console.log(
      row(
        rounds,
        `${calls}`,
        `${megabytes(rss)} MB`,
        `${megabytes(bare)} MB`,
        `${(rss / bare).toFixed(1)} ×`,
        bar(Number(megabytes(rss)), 500, 'MB'),
        `${megabytes(disk)} MB, ${Math.round(disk / calls)} bytes a call`,
        ((seconds * 1000) / calls).toFixed(3),
        `${first.toFixed(3)}, ${last.toFixed(3)}`,
        load(),
      ),
    )
  }
}
