// What keeps a training, and a run that a policy is to edit, from beginning: one line, exit code 2, nothing written.
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { config, folder, lamarck, problems } from './lamarck.ts'

const hidden = `data:text/javascript,${encodeURIComponent(`import { registerHooks } from 'node:module'
registerHooks({ resolve(name, context, next) {
  if (name !== '@jax-js/jax') return next(name, context)
  throw Object.assign(new Error("Cannot find package '@jax-js/jax'"), { code: 'ERR_MODULE_NOT_FOUND' })
} })`)}`

const without = { NODE_OPTIONS: `--import=${hidden}` }
const lacks = '@jax-js/jax is not installed: run npm install @jax-js/jax@0.1.25\n'
const warmStart = resolve(import.meta.dirname, '../../src/recipes/finch-policy.safetensors')
const inFinch = {
  'lamarck.config.ts': `import { defineConfig } from 'lamarck'
import { companiesIn, finchActor, finchTask } from 'lamarck/tasks/finch'
export default defineConfig({ task: finchTask(companiesIn('dev', 1)[0]), model: finchActor(), rounds: 1, testSize: 5 })
`,
}
const broken = { ...inFinch, 'broken.safetensors': 'not tensors' }
const marks = { 'q.jsonl': problems(24), 'lamarck.config.ts': config('rounds: 1, baseUrl: "http://127.0.0.1:9/v1",') }

interface Row {
  readonly what: string
  readonly args: readonly string[]
  readonly files?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  readonly says: string | RegExp
}

test.each<Row>([
  { what: 'a package that training lacks', args: ['train'], env: without, says: lacks },
  { what: 'a package that the quickstart lacks', args: ['quickstart', '--quick'], env: without, says: lacks },
  {
    what: 'a package that a policy lacks',
    args: ['evolve', '--evolver', `policy:${warmStart}`],
    files: inFinch,
    env: without,
    says: lacks,
  },
  { what: 'an unknown engine', args: ['train', '--engine', 'xyz'], says: 'unknown engine "xyz" (have: jax)\n' },
  {
    what: 'a checkpoint that is not there',
    args: ['train', '--from', 'none'],
    says: /^cannot load the checkpoint "none": ENOENT.*; give another file \(--from\)\n$/,
  },
  {
    what: 'a policy that is not there',
    args: ['evolve', '--evolver', 'policy:none'],
    files: inFinch,
    says: 'no policy file "none"; lamarck train makes one and says where\n',
  },
  {
    what: 'a policy that is broken',
    args: ['evolve', '--evolver', 'policy:broken.safetensors'],
    files: broken,
    says: /^cannot load the checkpoint "broken.safetensors": .*; give a file that lamarck train made\n$/,
  },
  {
    what: 'a task that a policy can not read',
    args: ['evolve', '--model', 'openai-compatible:m', '--evolver', `policy:${warmStart}`],
    files: marks,
    says: /^policy:\S+ was trained in Finch and can't read task "marks": its context is instructions, not notes alone; let .*\n$/,
  },
])('$what is said in one line with exit code 2, and nothing is written', async ({ args, env = {}, files = {}, says }) => {
  const cwd = folder(files)
  const { code, stderr } = await lamarck(args, { cwd, env })
  expect(stderr).toMatch(says)
  expect(stderr.trimEnd()).not.toContain('\n')
  expect(code).toBe(2)
  expect(readdirSync(cwd).sort()).toEqual(Object.keys(files).sort())
})

test('the file of a policy is found from where the command is given, and again by resume from elsewhere', async () => {
  const cwd = folder({
    'sub/policy.safetensors': readFileSync(warmStart),
    'task/lamarck.config.ts': inFinch['lamarck.config.ts'],
  })
  const given = ['evolve', 'task/lamarck.config.ts', '--store', 'runs.db', '--id', 'r', '--evolver']
  const first = await lamarck([...given, 'policy:sub/policy.safetensors', '--quiet'], { cwd })
  expect([0, 3], first.stderr).toContain(first.code)
  const more = await lamarck(['resume', 'r', '--rounds', '2', '--quiet', '--store', '../runs.db'], { cwd: join(cwd, 'sub') })
  expect([0, 3], more.stderr).toContain(more.code)
  const [run] = JSON.parse((await lamarck(['runs', '--json', '--store', 'runs.db'], { cwd })).stdout) as { rounds: number }[]
  expect(run?.rounds).toBe(2)
})
