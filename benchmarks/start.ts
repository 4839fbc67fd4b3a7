// How long starting takes: `lamarck --help` beside a bare `node -e 0`, and `import 'lamarck'` beside an empty module, on the package as
// built, each run taking turns with what stands beside it; best of 30 turns. Wall clock is the whole process's, CPU what it counted
// itself. Also which packages the import and the help load: no provider may be among them.
// Not shown: a cold disk cache, and what opening a store or a model adds when a run starts.
// Run: node benchmarks/start.ts (builds dist/ first)
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { bar, head, load, row } from './table.ts'

const root = join(import.meta.dirname, '..')
const dist = join(root, 'dist')
execFileSync('npm', ['run', '-s', 'build'], { cwd: root, stdio: 'inherit' })
const door = pathToFileURL(join(dist, 'index.js')).href
const main = join(dist, 'cli/main.js')
const turns = 30

const folder = mkdtempSync(join(tmpdir(), 'lamarck-bench-'))
const empty = join(folder, 'empty.mjs')
const importing = join(folder, 'importing.mjs')
writeFileSync(empty, '')
writeFileSync(importing, `import ${JSON.stringify(door)}\n`)

const none: Start = { wall: Infinity, cpu: Infinity }
const spent = join(folder, 'cpu.txt')
const clock = `data:text/javascript,import{writeFileSync}from'node:fs';process.on('exit',()=>{const{user,system}=process.cpuUsage();\
writeFileSync(${JSON.stringify(spent)},String((user+system)/1000))})`

interface Start {
  /** Milliseconds. */
  readonly wall: number
  readonly cpu: number
}

/** Processes at their best, in turn with each other. */
function beside(ours: readonly string[], theirs: readonly string[]): readonly [Start, Start] {
  const best: [Start, Start] = [none, none]
  for (let turn = 0; turn < turns; turn++) {
    for (const [i, args] of [ours, theirs].entries()) {
      const began = performance.now()
      const { status, stderr } = spawnSync(process.execPath, ['--import', clock, ...args])
      if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}: ${stderr}`)
      const { wall, cpu } = best[i]!
      best[i] = { wall: Math.min(wall, performance.now() - began), cpu: Math.min(cpu, Number(readFileSync(spent, 'utf8'))) }
    }
  }
  return best
}

/** Names of the packages that a process loads, by what its loader resolves. */
function packages(...args: readonly string[]): readonly string[] {
  const list = join(folder, 'loaded.txt')
  const hook = join(folder, 'hook.mjs')
  writeFileSync(
    hook,
    `import { appendFileSync } from 'node:fs'; import { registerHooks } from 'node:module'
    registerHooks({ load(url, context, next) { appendFileSync(${JSON.stringify(list)}, url + '\\n'); return next(url, context) } })`,
  )
  writeFileSync(list, '')
  spawnSync(process.execPath, ['--import', pathToFileURL(hook).href, ...args])
  const urls = readFileSync(list, 'utf8').split('\n')
  if (!urls.some((url) => url.startsWith(pathToFileURL(dist).href)))
    throw new Error(`the hook saw nothing of ${relative(root, dist)}`)
  const names = urls.flatMap((url) => /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(url)?.[1] ?? [])
  return [...new Set(names)].sort()
}

const [help, bare] = beside([main, '--help'], ['-e', '0'])
const [imported, nothing] = beside([importing], [empty])
const both = ({ wall, cpu }: Start): string => `${wall.toFixed(1)}, ${cpu.toFixed(1)}`
const times = help.wall / bare.wall
const added = imported.wall - nothing.wall
console.log(head('start', 'ms wall, CPU', 'beside it', 'ratio or added, by wall', 'by CPU', 'bar', 'load'))
const line = (name: string, cells: readonly string[]): void => console.log(row(name, ...cells, load()))
line('`lamarck --help`', [
  both(help),
  `\`node -e 0\` ${both(bare)}`,
  `${times.toFixed(2)} ×`,
  `${(help.cpu / bare.cpu).toFixed(2)} ×`,
  bar(times, 3, '×'),
])
line("`import 'lamarck'`", [
  both(imported),
  `an empty module ${both(nothing)}`,
  `+ ${added.toFixed(1)} ms`,
  `+ ${(imported.cpu - nothing.cpu).toFixed(1)} ms`,
  bar(added, 60, 'ms'),
])
const providers = /^(@ai-sdk\/(?!provider$)|ai$|node-llama-cpp|pg$)/
console.log(`\n${head('loads', 'packages', 'providers among them')}`)
for (const [name, args] of [
  ["`import 'lamarck'`", [importing]],
  ['`lamarck --help`', [main, '--help']],
] as const) {
  const loaded = packages(...args)
  console.log(row(name, loaded.join(', ') || 'none', loaded.filter((p) => providers.test(p)).join(', ') || 'none'))
}
rmSync(folder, { recursive: true, force: true })
