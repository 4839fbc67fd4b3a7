// The laws of the house, held by reading every import and the words of every file under src.
import { globSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'

interface Import {
  /** As written. */
  readonly name: string
  /** A file of src, if it is one. */
  readonly file: string | undefined
  readonly isType: boolean
  readonly isLazy: boolean
}

interface File {
  readonly path: string
  readonly text: string
  /** The text without comments, strings and patterns. */
  readonly code: string
  readonly imports: readonly Import[]
}

const files = globSync('src/**/*.ts')
  .filter((path) => !path.endsWith('.test.ts'))
  .map((path) => path.replaceAll('\\', '/'))
  .sort()
  .map((path): File => {
    const text = readFileSync(path, 'utf8')
    return { path, text, code: codeOf(text), imports: importsOf(text, path) }
  })
const byPath = new Map(files.map((file) => [file.path, file]))

/** Static, re-exporting, lazy and type imports. */
function importsOf(text: string, path: string): Import[] {
  const found = [
    ...text.matchAll(/^(?<what>import|export)\s+(?<type>type\s)?(?<names>[^'"]*?)from\s+'(?<name>[^']+)'/gm),
    ...text.matchAll(/^(?<what>import)\s+'(?<name>[^']+)'/gm),
    ...text.matchAll(/\b(?<lazy>import)\(\s*['`](?<name>[^'`]+)['`]\s*\)/g),
    ...text.matchAll(/\b(?<lazy>require|createRequire|resolve)\(\s*'(?<name>[^'\s]+)'\s*\)/g),
  ]
  return found.map(({ groups = {} }) => {
    const name = groups.name ?? ''
    // `import { type A, type B }` loads the file but is erased as a whole only when every name is a type.
    const names = (groups.names ?? '')
      .replace(/[{}\s]+/g, ' ')
      .split(',')
      .map((n) => n.trim())
      .filter(Boolean)
    const isType = groups.type !== undefined || (names.length > 0 && names.every((n) => n.startsWith('type ')))
    const file = name.startsWith('.') ? normalize(join(dirname(path), name)).replaceAll('\\', '/') : undefined
    return { name, file, isType, isLazy: groups.lazy !== undefined }
  })
}

function codeOf(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, ' ')
    .replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''")
    .replace(/(^|\s)\/\/.*$/gm, '$1')
}

const roomOf = (path: string): string => /^src\/([^/]+)\//.exec(path)?.[1] ?? ''
const packageOf = (name: string): string | undefined =>
  name.startsWith('.') || name.startsWith('node:')
    ? undefined
    : name
        .split('/')
        .slice(0, name.startsWith('@') ? 2 : 1)
        .join('/')
const floor3 = new Set(['', 'cli', 'bench', 'recipes'])
const isRoom = (path: string): boolean => !floor3.has(roomOf(path)) && roomOf(path) !== 'core'

/** Programs of a process of their own: nobody imports them, and what they write is read by who started them. */
const isProgram = (path: string): boolean => path.endsWith('-worker.ts')

/** Words that reach outside: clocks, chance, consoles, the process, the network. */
const outside =
  /\b(?:Date\b|performance\s*\.|set(?:Timeout|Interval|Immediate)\b|queueMicrotask\b|Math\.random\b|console\b|process\b|globalThis\b|fetch\b|crypto\b|Buffer\b)/

const printing = /\bconsole\b|\bprocess\.(?:stdout|stderr)\b/

/** Optional or heavy packages and the one folder that may name them. */
const homes: Readonly<Record<string, string>> = {
  '@ai-sdk/openai': 'models',
  '@ai-sdk/anthropic': 'models',
  '@ai-sdk/google': 'models',
  '@ai-sdk/openai-compatible': 'models',
  '@pydantic/genai-prices': 'models',
  '@opentelemetry/api': 'models',
  '@bufbuild/protobuf': 'engines',
  '@huggingface/jinja': 'engines',
  '@huggingface/tokenizers': 'engines',
  'node-llama-cpp': 'models',
  pg: 'stores',
  kysely: 'stores',
  hyparquet: 'tasks',
  'csv-parse': 'tasks',
  commander: 'cli',
}

interface Law {
  readonly name: string
  /** Each breach as one line. */
  readonly breaches: () => readonly string[]
}

const each = (of: (file: File) => readonly string[]): readonly string[] => files.flatMap(of)
const lines = (file: File, word: RegExp): readonly string[] =>
  file.code.split('\n').flatMap((line, i) => (word.test(line) ? [`${file.path}:${i + 1}: ${line.trim()}`] : []))
const imports = (file: File, is: (i: Import) => boolean): readonly string[] =>
  file.imports.filter(is).map((i) => `${file.path} imports ${i.name}`)

const laws: readonly Law[] = [
  {
    name: 'every import of a file names a file that is there',
    breaches: () => each((f) => imports(f, (i) => i.file !== undefined && !byPath.has(i.file))),
  },
  {
    name: 'core imports only core: no package, nothing of node',
    breaches: () => each((f) => (roomOf(f.path) === 'core' ? imports(f, (i) => !i.file?.startsWith('src/core/')) : [])),
  },
  {
    name: 'core has no clock, no unseeded chance, no console, no process, no network',
    breaches: () => each((f) => (roomOf(f.path) === 'core' ? lines(f, outside) : [])),
  },
  {
    name: 'a room imports core and itself, never a sibling or a floor above',
    breaches: () =>
      each((f) =>
        isRoom(f.path) ? imports(f, ({ file }) => file !== undefined && ![roomOf(f.path), 'core'].includes(roomOf(file))) : [],
      ),
  },
  { name: 'there are no circles, type imports included', breaches: circles },
  {
    name: 'each heavy package is named in one folder',
    breaches: () =>
      each((f) =>
        imports(f, ({ name }) => {
          const home = homes[packageOf(name) ?? '']
          return home !== undefined && roomOf(f.path) !== home
        }),
      ),
  },
  {
    name: 'optional packages are loaded when needed, never by an import that always runs',
    breaches: () => {
      const optional = Object.keys(homes).filter((name) => isOptional(name))
      return each((f) => imports(f, (i) => optional.includes(packageOf(i.name) ?? '') && !i.isLazy && !i.isType))
    },
  },
  {
    name: 'every package that is imported is declared, and one that always runs is a dependency',
    breaches: () =>
      each((f) =>
        imports(f, (i) => {
          const name = packageOf(i.name)
          if (name === undefined || name === 'lamarck' || isBuiltin(name)) return false
          return i.isType || i.isLazy ? !(name in declared) : !(name in dependencies)
        }),
      ),
  },
  {
    name: 'modules of node are imported by their node: names',
    breaches: () => each((f) => imports(f, (i) => !i.name.startsWith('node:') && isBuiltin(i.name))),
  },
  {
    name: 'only cli prints',
    breaches: () => each((f) => (roomOf(f.path) === 'cli' || isProgram(f.path) ? [] : lines(f, printing))),
  },
  {
    name: 'only cli reads the process, but for the door, which reads the environment',
    breaches: () =>
      each((f) => {
        if (roomOf(f.path) === 'cli' || isProgram(f.path)) return []
        const found = lines(f, /(?<![.\w])process\s*[.[?]/)
        return f.path === 'src/prepare.ts' ? found.filter((line) => !/process\.env\b/.test(line)) : found
      }),
  },
  {
    name: 'nobody imports a program of a process of its own',
    breaches: () => each((f) => imports(f, ({ file, isType }) => file !== undefined && !isType && isProgram(file))),
  },
  {
    name: 'there is no types.ts, utils.ts or helper',
    breaches: () => files.map((f) => f.path).filter((path) => /(?:^|\/)(?:types?|utils?|helpers?|common|misc)\.ts$/.test(path)),
  },
  {
    name: 'files are named in kebab-case',
    breaches: () => files.map((f) => f.path).filter((path) => !/^src\/(?:[a-z0-9-]+\/)*[a-z0-9-]+\.ts$/.test(path)),
  },
  {
    name: "import 'lamarck' loads no provider and no heavy package",
    breaches: () => [...reached('src/index.ts')].filter(([name]) => isHeavy(name)).map(([name, from]) => `${from} loads ${name}`),
  },
  {
    name: 'nobody imports ai: it is left to those who need it',
    breaches: () => each((f) => imports(f, (i) => packageOf(i.name) === 'ai')),
  },
]

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Readonly<
  Record<'dependencies' | 'devDependencies' | 'peerDependencies', Readonly<Record<string, string>>>
> // npm wrote it
const dependencies = manifest.dependencies
const declared = { ...manifest.devDependencies, ...manifest.peerDependencies, ...dependencies }

function isOptional(name: string): boolean {
  return name === 'pg' || name === 'node-llama-cpp' || name === '@bufbuild/protobuf' || name.startsWith('@ai-sdk/')
}

function isHeavy(name: string): boolean {
  return (
    name === 'ai' ||
    isOptional(name) ||
    ['zod', 'kysely', 'commander', 'hyparquet', '@opentelemetry/sdk-trace-node'].includes(name)
  )
}

/** Packages that a file loads by imports that always run, and which file does it. */
function reached(entry: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  const seen = new Set<string>()
  const visit = (path: string): void => {
    if (seen.has(path)) return
    seen.add(path)
    for (const { name, file, isType, isLazy } of byPath.get(path)?.imports ?? []) {
      if (isType || isLazy) continue
      if (file) visit(file)
      else if (packageOf(name)) found.set(packageOf(name) ?? '', path)
    }
  }
  visit(entry)
  return found
}

function circles(): readonly string[] {
  const state = new Map<string, 'open' | 'done'>()
  const found: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === 'done') return
    if (state.get(path) === 'open') {
      found.push([...trail.slice(trail.indexOf(path)), path].join(' → '))
      return
    }
    state.set(path, 'open')
    for (const { file, isLazy } of byPath.get(path)?.imports ?? []) if (file && !isLazy) visit(file, [...trail, path])
    state.set(path, 'done')
  }
  for (const { path } of files) visit(path, [])
  return found
}

describe('the house', () => {
  test.each(laws.map((law) => [law.name, law] as const))('%s', (_, { breaches }) => {
    expect(breaches()).toEqual([])
  })

  test('all files were read, with the imports they have', () => {
    expect(files.length).toBeGreaterThan(40)
    const core = byPath.get('src/core/search.ts')
    expect(core?.imports.filter((i) => i.isType).map((i) => i.name)).toContain('./facts.ts')
    expect(core?.imports.filter((i) => !i.isType).map((i) => i.name)).toContain('./close.ts')
    expect(
      byPath
        .get('src/models/resolve.ts')
        ?.imports.filter((i) => i.isLazy)
        .map((i) => i.name),
    ).toContain('@ai-sdk/openai')
    expect(reached('src/settings.ts').has('zod')).toBe(true)
  })
})

describe('a law can be broken', () => {
  const read = (text: string): File => ({
    path: 'src/core/x.ts',
    text,
    code: codeOf(text),
    imports: importsOf(text, 'src/core/x.ts'),
  })

  test.each([
    ["import type { A } from '../tasks/chat.ts'", 'src/tasks/chat.ts'],
    ["import {\n  type A,\n  b,\n} from '../models/ai-sdk.ts'", 'src/models/ai-sdk.ts'],
    ["export { a } from '../stores/memory.ts'", 'src/stores/memory.ts'],
    ["const m = await import('../stores/sqlite.ts')", 'src/stores/sqlite.ts'],
  ])('the import in %j is seen', (text, file) => {
    expect(read(text).imports.map((i) => i.file)).toEqual([file])
  })

  test.each([
    'const t = Date.now()',
    'performance.now()',
    'setTimeout(f, 1)',
    'Math.random()',
    'console.log(1)',
    'process.env.A',
  ])('the words of %j are seen', (text) => {
    expect(lines(read(text), outside)).toHaveLength(1)
  })

  test('words in comments and texts are no breach', () => {
    expect(lines(read("// Date.now()\n/** console */\nconst a = 'process.env'"), outside)).toEqual([])
  })
})
