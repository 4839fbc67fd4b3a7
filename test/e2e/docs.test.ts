// Every code block of the README and the guide is compiled and run; hosted models are replaced by the loopback server's.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FaultServer, marksExamples, startFaultServer } from '../fault-server.ts'

const root = resolve(import.meta.dirname, '../..')
const guide = (folder: string): string[] =>
  readdirSync(join(root, folder)).flatMap((name) => (name.endsWith('.md') ? [`${folder}/${name}`] : []))
// Pages of methods last: what the others do with a run wants one that found something.
const pages = ['README.md', ...guide('docs/guide'), ...guide('docs/guide/methods')]
const work = mkdtempSync(join(root, 'test/.docs-'))
let server: FaultServer

beforeAll(async () => {
  server = await startFaultServer({ world: 'marks' })
  writeFileSync(join(work, 'tickets.jsonl'), rows(60))
})
afterAll(async () => {
  await server.close()
  rmSync(work, { recursive: true, force: true })
})

const rows = (n: number): string =>
  marksExamples(0, n)
    .map((e) => JSON.stringify(e))
    .join('\n')

interface Block {
  readonly page: string
  readonly language: string
  readonly code: string
}

function blocks(page: string): readonly Block[] {
  const text = readFileSync(join(root, page), 'utf8')
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', code = '']) => ({ page, language, code }))
}

/** The block with the package's names led to its source, and hosted models to the loopback server. */
function local(code: string): string {
  const source = (path: string): string => relative(work, join(root, path))
  const paths = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports as Record<string, { default: string }>
  return code
    .replace(/'lamarck(\/[\w/-]+)?'/g, (_, sub = '') => {
      const file = paths[`.${sub}`]?.default.replace('./dist', 'src').replace(/\.js$/, '.ts')
      return `'${source(file ?? 'missing')}'`
    })
    .replace(/'@ai-sdk\/(openai|anthropic)'/g, `'${source('test/stand-ins.ts')}'`)
    .replace(/'(openai|vllm):([\w-]+)'/g, "'openai-compatible:$2'")
    .replace(/budget: \{ usd: \d+ \}/, 'budget: { calls: 5000 }')
}

interface Ran {
  readonly code: number | null
  readonly out: string
}

function run(command: string, args: readonly string[], cwd = work): Promise<Ran> {
  const env = { ...process.env, OPENAI_BASE_URL: server.url, NO_COLOR: '1' }
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  child.stdout.on('data', (chunk) => (out += chunk))
  child.stderr.on('data', (chunk) => (out += chunk))
  return new Promise((done) => child.on('close', (code) => done({ code, out })))
}

const all = pages.flatMap(blocks)
const code = all.filter((b) => b.language === 'ts')
const shell = all.filter((b) => b.language === 'sh').flatMap((b) => b.code.split('\n').map((line) => ({ page: b.page, line })))
const commands = shell.filter(({ line }) => line.startsWith('npx lamarck'))

test('every block has a language that is tested, or none', () => {
  expect([...new Set(all.map((b) => b.language))].sort()).toEqual(['', 'sh', 'ts'])
  expect(code.length).toBeGreaterThan(4)
})

describe('code blocks', () => {
  for (const [i, block] of code.entries()) {
    test(`${block.page} block ${i + 1} compiles and runs`, async () => {
      const file = join(work, `block-${i}.ts`)
      writeFileSync(file, local(block.code))
      const config = join(work, `tsconfig-${i}.json`)
      writeFileSync(config, JSON.stringify({ extends: '../../tsconfig.json', include: [file] }))
      expect(await run(join(root, 'node_modules/.bin/tsc'), ['-p', config])).toEqual({ code: 0, out: '' })
      const ran = await run(process.execPath, [file])
      expect(ran, ran.out).toMatchObject({ code: 0 })
    })
  }
})

describe('commands', () => {
  test('every line of a shell block is one of npm or of the CLI', () => {
    expect(shell.filter(({ line }) => line && !/^(npm install && npm (start|test)|npx lamarck)\b/.test(line))).toEqual([])
  })
  test('the commands of the README and the guide run one after the other', async () => {
    const project = join(work, 'project')
    mkdirSync(project)
    for (const { page, line } of commands) {
      const words = line
        .replace(/\s+#.*$/, '')
        .split(/\s+/)
        .slice(2)
      const args = words.map((w) => w.replace(/(openai|anthropic):/g, 'openai-compatible:').replace(/^--max-usd$/, '--max-calls'))
      const calls = args.indexOf('--max-calls')
      if (calls >= 0) args[calls + 1] = '9000'
      const rounds = args.indexOf('--rounds')
      if (rounds >= 0) args[rounds + 1] = '3'
      const ran = await run(process.execPath, [join(root, 'src/cli/main.ts'), ...args], project)
      const fine = [0, 3]
      expect(fine, `${page}: ${line}\n${ran.out}`).toContain(ran.code)
      // problems that the loopback server's edits do improve on
      if (args[0] === 'init') writeFileSync(join(project, 'tickets.jsonl'), rows(300))
    }
  })
})
