// How long starting takes: `lamarck --help` beside a bare `node -e 0`, and `import 'lamarck'` beside an empty module, on the package as
// built, each run taking turns with what stands beside it; best of 15 turns, wall clock of the whole process. Also which packages the
// import and the help load: no provider may be among them.
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
const turns = 15

const folder = mkdtempSync(join(tmpdir(), 'lamarck-bench-'))
const empty = join(folder, 'empty.mjs')
const importing = join(folder, 'importing.mjs')
writeFileSync(empty, '')
writeFileSync(importing, `import ${JSON.stringify(door)}\n`)

/** Milliseconds of a process, at best and in turn with the other. */
function beside(ours: readonly string[], theirs: readonly string[]): readonly [number, number] {
  const best = [Infinity, Infinity] as [number, number]
  for (let turn = 0; turn < turns; turn++) {
    for (const [i, args] of [ours, theirs].entries()) {
      const began = performance.now()
      const { status, stderr } = spawnSync(process.execPath, args)
      if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}: ${stderr}`)
      best[i] = Math.min(best[i]!, performance.now() - began)
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
console.log(head('start', 'ms', 'beside it', 'ratio or added', 'bar', 'load'))
console.log(
  row(
    '`lamarck --help`',
    help.toFixed(1),
    `\`node -e 0\` ${bare.toFixed(1)}`,
    `${(help / bare).toFixed(2)} ×`,
    bar(help / bare, 3, '×'),
    load(),
  ),
)
console.log(
  row(
    "`import 'lamarck'`",
    imported.toFixed(1),
    `an empty module ${nothing.toFixed(1)}`,
    `+ ${(imported - nothing).toFixed(1)} ms`,
    bar(imported - nothing, 60, 'ms'),
    load(),
  ),
)
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
