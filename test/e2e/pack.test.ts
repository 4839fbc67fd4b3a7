// The package as published: packed, installed in an empty folder, its command run, every subpath imported with its types.
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const sh = promisify(execFile)
const root = resolve(import.meta.dirname, '../..')
const bin = join(root, 'node_modules/.bin')
const folder = mkdtempSync(join(tmpdir(), 'lamarck-pack-'))
const at = { cwd: folder, env: { ...process.env, PATH: `${bin}:${process.env.PATH}` } }

beforeAll(async () => {
  const { stdout } = await sh('npm', ['pack', '--json', '--pack-destination', folder], { ...at, cwd: root })
  const packed: unknown = JSON.parse(stdout.slice(stdout.search(/[[{]\s*["{]/)))
  const name = JSON.stringify(packed).match(/"filename":"([^"]+)"/)?.[1] ?? ''
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'empty', type: 'module', private: true }))
  await sh('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', `./${name}`], at)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('npx lamarck --help works', async () => {
  const { stdout } = await sh('npx', ['--no-install', 'lamarck', '--help'], at)
  expect(stdout).toContain('evolve')
  expect(stdout).toContain('transfer')
})

test('every subpath can be imported, and has types', async () => {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, unknown> }
  const paths = Object.keys(exports).filter((path) => path !== './package.json')
  const imports = paths.map((path, i) => `import * as m${i} from 'lamarck${path.slice(1)}'`)
  const use = `const all: object[] = [${paths.map((_, i) => `m${i}`).join(', ')}]\nif (all.some((m) => Object.keys(m).length === 0)) throw new Error('empty')`
  writeFileSync(
    join(folder, 'all.ts'),
    `${imports.join('\n')}\nimport { evolve } from 'lamarck'\n${use}\nconst f: (o: never) => { id: string } = evolve\nvoid f\n`,
  )
  const flags = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2024',
    '--skipLibCheck',
    '--lib',
    'es2024,esnext.disposable,dom',
  ]
  await sh(join(bin, 'tsc'), [...flags, 'all.ts'], at).catch((error: { stdout: string }) => expect(error.stdout).toBe(''))
  await sh(join(bin, 'node'), ['all.ts'], at)
})

test('the quickstart says in one line what it lacks, and leaves nothing behind', async () => {
  const ran = sh('npx', ['--no-install', 'lamarck', 'quickstart'], at)
  const line = /^@jax-js\/jax is not installed: run npm install @jax-js\/jax@0\.1\.25$/m
  await expect(ran).rejects.toMatchObject({ code: 2, stderr: expect.stringMatching(line) })
  expect(existsSync(join(folder, '.lamarck'))).toBe(false)
})

test('publint finds nothing', async () => {
  const { stdout } = await sh(join(bin, 'publint'), ['--strict', '.'], { ...at, cwd: root })
  expect(stdout).toMatch(/All good/)
})
