// Runs every benchmark, one after the other, and writes docs/benchmarks.md from what they print and the comment each begins with.
// Run: node benchmarks/all.ts [--reference CHECKOUT] [--python PYTHON] [name …]    Names given = only these are run again; the others'
// sections stay as they are. CHECKOUT is a clone of github.com/chenyn66/learning-to-self-evolve, for tree and sql-scoring.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { reference: { type: 'string' }, python: { type: 'string' } },
})
const titles: Readonly<Record<string, string>> = {
  latency: 'Fixed latency',
  peers: 'Beside a published optimizer',
  metered: 'The metered door',
  memory: 'Memory and disk',
  store: 'The store',
  tree: 'Selecting a node',
  'sql-scoring': 'Scoring SQL',
  engine: 'The embedded engine beside PyTorch',
  'one-step-off': 'One step off the policy',
  start: 'Starting',
}
const { reference, python } = options
const more: Readonly<Record<string, readonly string[]>> = {
  tree: reference ? [reference] : [],
  'sql-scoring': reference ? ['--reference', reference] : [],
  peers: python ? ['--python', python] : [],
  engine: python ? ['--python', python] : [],
}
const stray = positionals.find((name) => !(name in titles))
if (stray !== undefined) throw new TypeError(`unknown benchmark "${stray}" (have: ${Object.keys(titles).join(', ')})`)

const intro = `# Benchmarks

Written by \`node benchmarks/all.ts\`; nothing here is typed by hand. Every figure is measured together with what stands beside it, on the
same machine in the same minutes, so the ratios carry further than the milliseconds. "load" is the number of processes that wanted a
core: above the number of cores, other work slowed what was measured.
`
const page = join(import.meta.dirname, '../docs/benchmarks.md')
const kept = existsSync(page) ? readFileSync(page, 'utf8').split(/^(?=## )/m) : []

const sections = new Map(kept.slice(1).map((part) => [part.slice(3, part.indexOf('\n')), part.trimEnd()]))
for (const [name, title] of Object.entries(titles)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue
  sections.set(title, section(name).trimEnd())
  const ordered = Object.values(titles).flatMap((each) => sections.get(each) ?? [])
  writeFileSync(page, `${intro}\n${ordered.join('\n\n')}\n`)
}

function section(name: string): string {
  const file = join(import.meta.dirname, `${name}.ts`)
  const began = new Date()
  const load = loadavg()[0]!.toFixed(1)
  const { stdout, status } = spawnSync(process.execPath, [file, ...(more[name] ?? [])], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error(`${name} ended with ${status}`)
  console.log(stdout)
  const shown = /^(?:\/\/.*\n)+/.exec(readFileSync(file, 'utf8'))?.[0].replaceAll(/^\/\/ ?/gm, '') ?? ''
  const about = shown.replace(/(?:Run|Usage): [\s\S]*$/, '').trim()
  const machine = `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`
  const when = `${began.toISOString().slice(0, 10)}, Node ${process.version}, ${machine}, load average ${load} before`
  return `## ${titles[name]}\n\n${about}\n\n\`node benchmarks/${name}.ts\` · ${when}\n\n${printed(stdout)}`
}

/** Tables, and headings with tables below, as they are; other lines as they were printed. */
function printed(stdout: string): string {
  const isMarkdown = /^(?:\||### )/.test(stdout)
  return isMarkdown ? stdout.trim() : `\`\`\`\n${stdout.trim()}\n\`\`\``
}
