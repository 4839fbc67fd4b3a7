// What keeps `lamarck train` from beginning, as the user sees it: one line, exit code 2, nothing written.
import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { folder, lamarck } from './lamarck.ts'

const hidden = `data:text/javascript,${encodeURIComponent(`import { registerHooks } from 'node:module'
registerHooks({ resolve(name, context, next) {
  if (name !== '@jax-js/jax') return next(name, context)
  throw Object.assign(new Error("Cannot find package '@jax-js/jax'"), { code: 'ERR_MODULE_NOT_FOUND' })
} })`)}`

test.each([
  {
    what: 'a package that is not installed',
    args: [],
    env: { NODE_OPTIONS: `--import=${hidden}` },
    says: '@jax-js/jax is not installed: run npm install @jax-js/jax@0.1.25\n',
  },
  { what: 'an unknown engine', args: ['--engine', 'xyz'], env: {}, says: 'unknown engine "xyz" (have: jax)\n' },
  {
    what: 'a checkpoint that is not there',
    args: ['--from', 'none'],
    env: {},
    says: /^cannot load the checkpoint "none": ENOENT.*; give another file \(--from\)\n$/,
  },
])('$what is said in one line with exit code 2, and nothing is written', async ({ args, env, says }) => {
  const cwd = folder()
  const { code, stderr } = await lamarck(['train', ...args], { cwd, env })
  expect(stderr).toMatch(says)
  expect(code).toBe(2)
  expect(readdirSync(cwd)).toEqual([])
})
