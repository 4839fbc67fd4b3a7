import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { kill } from 'node:process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { echo, testTask } from '../../test/contracts/task.ts'
import { ConfigError } from '../core/errors.ts'
import type { Grade } from '../core/task.ts'
import { type CommandOptions, commandTask, scoreOf } from './command.ts'

const data = Array.from({ length: 9 }, (_, i) => ({ input: `q${i}`, want: 'yes' }))
const environment = { PATH: process.env.PATH, SECRET: 'hush', WANTED: 'here' }
const base: CommandOptions = { evolve: { text: 'yes' }, command: 'cat {file} > /dev/null; echo 0.5', data, environment }

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamarck-test-'))
})
afterAll(() => rm(folder, { recursive: true }))

testTask(
  'command',
  () => commandTask(base),
  (out) => ({ code: 0, late: false, out, complaint: '', edited: true }),
)

async function attempt(options: Partial<CommandOptions>, text?: string, signal = new AbortController().signal): Promise<Grade> {
  const task = await commandTask({ ...base, ...options })
  const example = task.examples('train')[0]!
  const context = text === undefined ? task.seed : Object.fromEntries(Object.keys(task.seed).map((name) => [name, text]))
  return task.score(await task.run({ context, example, model: echo, draw: 0, seed: 7, signal }), example, { model: echo, signal })
}

test.each<[string, string, Grade]>([
  ['a number on the last line', 'echo working; echo 0.25', { score: 0.25 }],
  ['blank lines after it', 'printf "1\\n\\n"', { score: 1 }],
  ['JSON with feedback', `echo '{"score": 0, "feedback": "too long"}'`, { score: 0, feedback: 'too long' }],
  ['a score and a failing exit code', 'echo .5; exit 3', { score: 0.5 }],
  ['the file by its variable', 'grep -c yes "$LAMARCK_FILE"', { score: 1 }],
  ['the example by its placeholder', 'grep -c want {example}', { score: 1 }],
  ['the seed of the attempt', '[ "$LAMARCK_SEED" = 7 ] && echo 1', { score: 1 }],
])('%s is read', async (_, command, grade) => {
  expect(await attempt({ command })).toEqual(grade)
})

test('a program with its arguments runs without a shell', async () => {
  expect(
    await attempt(
      {
        command: ['node', '-e', 'console.log(require("fs").readFileSync(process.argv[1], "utf8") === "$(no)" ? 1 : 0)', '{file}'],
      },
      '$(no)',
    ),
  ).toEqual({ score: 1 })
})

test('the file keeps its name and its bytes', async () => {
  const file = join(folder, 'prompt é.txt')
  await writeFile(file, 'line\r\n\n')
  const copy = join(folder, 'copy')
  expect(await attempt({ evolve: { file }, command: `cp {file} ${copy}; basename {file} >> ${copy}; echo 1` })).toEqual({
    score: 1,
  })
  expect(await readFile(copy, 'utf8')).toBe('line\r\n\nprompt é.txt\n')
})

test('only the variables named reach the command', async () => {
  const env = ['WANTED']
  expect(await attempt({ env, command: 'echo "{\\"score\\": 1, \\"feedback\\": \\"$WANTED/$SECRET\\"}"' })).toEqual({
    score: 1,
    feedback: 'here/',
  })
})

test.each<[string, Partial<CommandOptions>, RegExp]>([
  [
    'a program that is not there',
    { command: ['no-such-program'] },
    /the command "no-such-program" can't be started \(.*ENOENT\); check its name/,
  ],
  [
    'a shell line that is not there',
    { command: 'no-such-program' },
    /"no-such-program" ended with exit code 127 and printed no score: .*not found; its last line must be/,
  ],
  ['a crash', { command: 'echo boom >&2; exit 2' }, /ended with exit code 2 and printed no score: boom; its last line/],
  ['no output', { command: 'true' }, /ended with exit code 0 and printed no score; its last line/],
  ['a score above 1', { command: 'echo 1.5' }, /printed the score 1\.5; scores are from 0 to 1: scale it/],
  ['a score that is no number', { command: 'echo nan' }, /printed the score NaN/],
  ['a folder that is not there', { cwd: join(tmpdir(), 'no', 'such') }, /can't be started/],
])("%s is the user's to fix", async (_, options, message) => {
  const failed = attempt(options)
  await expect(failed).rejects.toThrow(ConfigError)
  await expect(failed).rejects.toThrow(message)
})

test.each<[Partial<CommandOptions>, RegExp]>([
  [{ command: '' }, /the command is empty/],
  [{ timeout: 0 }, /timeout must be above 0 ms, got 0/],
  [{ evolve: { file: '/no/such.txt' } }, /\/no\/such\.txt: no such file/],
])('%j is refused', async (options, message) => {
  await expect(commandTask({ ...base, ...options })).rejects.toThrow(message)
})

test('an edit that breaks the command is a bad answer, and says why', async () => {
  expect(await attempt({ command: 'sh {file}', evolve: { text: 'echo 1' } }, 'echo broken >&2; exit 9')).toEqual({
    score: 0,
    feedback: 'it ended with exit code 9 and printed no score: broken',
  })
  expect(await attempt({ command: 'exec sh {file}', evolve: { text: 'echo 1' } }, 'kill -9 $$')).toEqual({
    score: 0,
    feedback: 'it was killed and printed no score',
  })
})

test('on the time limit the whole process group is killed and the attempt scores 0', async () => {
  const pid = join(folder, 'pid')
  const grade = await attempt({
    command: `sh -c 'trap "" TERM; echo $$ > ${pid}; while :; do sleep 1; done' & wait`,
    timeout: 500,
  })
  expect(grade).toEqual({ score: 0, feedback: 'it took longer than the limit of 0.5 s' })
  await expectGone(Number(await readFile(pid, 'utf8')))
})

test('what a command leaves running is killed when it ends', async () => {
  const pid = join(folder, 'left')
  expect(await attempt({ command: `sleep 1000 & echo $! > ${pid}; echo 1` })).toEqual({ score: 1 })
  await expectGone(Number(await readFile(pid, 'utf8')))
})

test('an aborted attempt ends with the reason of the abort', async () => {
  await expect(attempt({ command: 'sleep 1000' }, undefined, AbortSignal.timeout(200))).rejects.toThrow(/abort|timeout/i)
})

test('only the end of a flood of output is kept', async () => {
  expect(await attempt({ command: 'head -c 3000000 /dev/zero | tr "\\0" x; echo; echo 1' })).toEqual({ score: 1 })
})

test('no more attempts run at once than allowed', async () => {
  const task = await commandTask({ ...base, concurrency: 1, command: `mkdir ${folder}/lock && echo 1 && rmdir ${folder}/lock` })
  const example = task.examples('train')[0]!
  const signal = new AbortController().signal
  const runs = await Promise.all(
    [1, 2, 3, 4].map((seed) => task.run({ context: task.seed, example, model: echo, draw: 0, seed, signal })),
  )
  expect(runs.map((ran) => scoreOf(ran, { command: '', timeout: 1 }).score)).toEqual([1, 1, 1, 1])
})

/** Gone, or a zombie where the first process of a container collects no children. */
async function expectGone(pid: number): Promise<void> {
  expect(pid).toBeGreaterThan(1)
  const gone = async (): Promise<boolean> => {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
    if (stat !== undefined) return /\) [ZX] /.test(stat)
    try {
      return !kill(pid, 0)
    } catch {
      return true
    }
  }
  await expect.poll(gone, { timeout: 5000 }).toBe(true)
}
