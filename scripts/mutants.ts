// npm run mutants: breaks one law or invariant at a time, in a copy of the source, and requires that the test named for it fails.
// A mutant survives if that test passes, or if anything but a test of that name is what fails. Options: words that a mutant's name holds.
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Mutant, mutants } from './mutations.ts'

const root = resolve(import.meta.dirname, '..')
const atOnce = 2
const limit = 90_000 // ms

type Verdict = 'caught' | 'survived' | 'does not apply' | 'no such test' | 'fails unbroken' | 'broke otherwise'

interface Outcome {
  readonly title: string
  readonly status: string
}

/** A copy of what the tests need, with the packages beside it. */
function copy(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mutants-'))
  for (const name of ['src', 'test', 'examples', 'scripts', 'package.json', 'tsconfig.json', 'vitest.config.ts']) {
    cpSync(join(root, name), join(folder, name), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** The tests of a file that have one of these names, and how they ended; undefined if the file could not be run. */
async function outcomes(folder: string, file: string, names: readonly string[]): Promise<readonly Outcome[] | undefined> {
  const report = join(folder, 'outcomes.json')
  rmSync(report, { force: true })
  const pattern = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const child = spawn(process.execPath, [vitest, 'run', file, '-t', pattern, '--reporter=json', `--outputFile=${report}`], {
    cwd: folder,
    stdio: 'ignore',
    env: { ...process.env, NO_COLOR: '1' },
    detached: true,
  })
  const timer = setTimeout(() => child.pid && process.kill(-child.pid, 'SIGKILL'), limit)
  await new Promise((done) => child.once('close', done))
  clearTimeout(timer)
  try {
    const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
      testResults: { assertionResults: Outcome[] }[]
    } // vitest wrote it
    const all = testResults.flatMap((r) => r.assertionResults).filter((a) => names.includes(a.title))
    return all.length > 0 ? all : undefined
  } catch {
    return undefined // killed on the time limit, or it never started
  }
}

/** Breaks the copy, runs the test, mends the copy. */
async function tried(mutant: Mutant, folder: string): Promise<Verdict> {
  const path = join(folder, mutant.file)
  const text = readFileSync(path, 'utf8')
  if (text.split(mutant.find).length !== 2) return 'does not apply'
  writeFileSync(
    path,
    text.replace(mutant.find, () => mutant.replace),
  )
  try {
    const found = await outcomes(folder, mutant.test, [mutant.name])
    if (!found) return 'broke otherwise'
    return found.some((o) => o.status === 'failed') ? 'caught' : 'survived'
  } finally {
    writeFileSync(path, text)
  }
}

/** What the named tests do unbroken: each must be there and pass, or its failing would prove nothing. */
async function unbroken(chosen: readonly Mutant[], folder: string): Promise<ReadonlyMap<Mutant, Verdict>> {
  const wrong = new Map<Mutant, Verdict>()
  for (const [file, of] of Map.groupBy(chosen, (m) => m.test)) {
    const found = (await outcomes(folder, file, [...new Set(of.map((m) => m.name))])) ?? []
    for (const mutant of of) {
      const own = found.filter((o) => o.title === mutant.name)
      if (own.length === 0) wrong.set(mutant, 'no such test')
      else if (own.some((o) => o.status !== 'passed')) wrong.set(mutant, 'fails unbroken')
    }
  }
  return wrong
}

async function main(): Promise<void> {
  const words = process.argv.slice(2)
  const chosen = mutants.filter((m) => words.every((word) => m.breaks.includes(word) || m.file.includes(word)))
  const started = performance.now()
  const folders = Array.from({ length: atOnce }, copy)
  const verdicts = new Map<Mutant, Verdict>()
  try {
    const queue = [...Map.groupBy(chosen, (m) => m.test).values()]
    const checks = folders.map(async (folder) => {
      for (let of = queue.shift(); of; of = queue.shift()) for (const [m, v] of await unbroken(of, folder)) verdicts.set(m, v)
    })
    await Promise.all(checks)
    const rest = chosen.filter((m) => !verdicts.has(m))
    const tries = folders.map(async (folder) => {
      for (let m = rest.shift(); m; m = rest.shift()) verdicts.set(m, await tried(m, folder))
    })
    await Promise.all(tries)
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  }
  for (const m of chosen) {
    const verdict = verdicts.get(m) ?? 'survived'
    const where = `${m.test}: ${m.name}`
    console.log(`${verdict === 'caught' ? 'caught  ' : verdict.toUpperCase()}  ${m.breaks}\n            ${m.file} · ${where}`)
  }
  const caught = chosen.filter((m) => verdicts.get(m) === 'caught').length
  console.log(`\n${caught} caught, ${chosen.length - caught} survived, ${Math.round((performance.now() - started) / 1000)} s`)
  if (caught < chosen.length) process.exitCode = 1
}

await main()
