// Runs the packages that our methods are compared with, and compares what they do with the goldens that the tests replay. A script of
// scripts/goldens that names packages on top (`# dependencies = ["gepa==0.1.4"]`, inline script metadata as Python defines it) gets an
// environment of its own, kept under node_modules/.cache. Needs python3 (or PYTHON), and for the first time a package index.
// Run: npm run parity [-- NAME…] [-- --write]    --write puts what was found in test/golden
import { execFileSync } from 'node:child_process'
import { hash } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const root = join(import.meta.dirname, '..')
const scripts = join(root, 'scripts/goldens')
const { values, positionals } = parseArgs({ options: { write: { type: 'boolean', default: false } }, allowPositionals: true })

/** The packages a script needs, as its head says; none = it is no script of parity. */
function packagesOf(script: string): readonly string[] {
  const head = /^# \/\/\/ script\n([\s\S]*?)^# \/\/\/$/m.exec(readFileSync(script, 'utf8'))?.[1] ?? ''
  const list = /^# dependencies = (\[.*\])$/m.exec(head)?.[1]
  return list === undefined ? [] : JSON.parse(list)
}

/** Python with the packages, and nothing else. */
function python(packages: readonly string[]): string {
  const base = process.env.PYTHON ?? 'python3'
  const key = hash('sha256', [base, ...packages].join('\n')).slice(0, 12)
  const folder = join(root, 'node_modules/.cache/parity', key)
  const inside = join(folder, 'bin/python')
  if (existsSync(join(folder, 'ready'))) return inside
  console.log(`  makes an environment with ${packages.join(', ')}`)
  rmSync(folder, { recursive: true, force: true })
  execFileSync(base, ['-m', 'venv', folder], { stdio: 'inherit' })
  execFileSync(inside, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages], { stdio: 'inherit' })
  writeFileSync(join(folder, 'ready'), '')
  return inside
}

/** The first line that differs, or undefined. */
function difference(golden: string, found: string): string | undefined {
  const [a, b] = [golden.split('\n'), found.split('\n')]
  const at = b.findIndex((line, i) => line !== a[i])
  if (at < 0) return a.length === b.length ? undefined : `it ends after line ${b.length}`
  const from = Math.max(0, [...b[at]!].findIndex((char, i) => char !== a[at]?.[i]) - 60)
  const cut = (line = ''): string => line.slice(from, from + 160)
  return `line ${at + 1}, character ${from + 1}:\n  golden  ${cut(a[at])}\n  package ${cut(b[at])}`
}

const all = readdirSync(scripts).filter((name) => name.endsWith('.py') && packagesOf(join(scripts, name)).length > 0)
const named = all
  .map((name) => name.replace(/\.py$/, ''))
  .filter((name) => positionals.length === 0 || positionals.includes(name))
const stray = positionals.find((name) => !named.includes(name))
if (stray !== undefined) throw new Error(`there is no ${stray} to compare (have: ${all.join(', ')})`)
const work = mkdtempSync(join(tmpdir(), 'lamarck-parity-'))
let differing = 0
for (const name of named) {
  const script = join(scripts, `${name}.py`)
  const golden = join(root, `test/golden/${name}.json`)
  const found = join(work, `${name}.json`)
  console.log(`${name}: ${packagesOf(script).join(', ')}`)
  // -P: a script may have the name of its package. The seed of hashes decides the order of sets.
  execFileSync(python(packagesOf(script)), ['-P', script, found], {
    cwd: root,
    env: { ...process.env, PYTHONHASHSEED: '0' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const what = existsSync(golden) ? difference(readFileSync(golden, 'utf8'), readFileSync(found, 'utf8')) : 'there is no golden'
  if (what === undefined) console.log('  the golden is what the package does')
  else if (values.write) {
    cpSync(found, golden)
    console.log('  the golden was written anew; run its test')
  } else {
    differing++
    console.log(`  differs, ${what}`)
  }
}
rmSync(work, { recursive: true, force: true })
if (differing) process.exitCode = 1
