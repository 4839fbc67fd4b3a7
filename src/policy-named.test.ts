// A policy by its file as the evolver of a run, through the door.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Model } from './core/model.ts'
import type { Task } from './core/task.ts'
import { evolve } from './evolve.ts'
import { methodNames } from './method-named.ts'
import type { TaskOptions } from './options.ts'
import { policyFile } from './policy-named.ts'
import { prepare } from './prepare.ts'
import { finchEngine, warmStartFile } from './recipes/finch-policy.ts'
import { memoryStore } from './stores/memory.ts'
import { finchActor } from './tasks/finch/actor.ts'
import { companiesIn } from './tasks/finch/sets.ts'
import { finchTask } from './tasks/finch/task.ts'
import { qaTask } from './tasks/qa.ts'

const [company] = companiesIn('dev', 1) as readonly [ReturnType<typeof companiesIn>[number]] // one was asked for
const evolver = `policy:${warmStartFile}`
const small = { rounds: 2, draws: 1, testDraws: 1, testSize: 10, folds: 0 } as const

/** A Finch company with the notes called otherwise, questions of its own, or as it is. */
function asFinch(change: Partial<Pick<Task<{ id: string }, unknown, Model>, 'seed' | 'show'>> = {}): TaskOptions['task'] {
  const task = finchTask(company)
  onTestFinished(() => task[Symbol.asyncDispose]())
  return { ...task, ...change } as typeof task // as: the change is of the task's own shape
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'lamarck-policy-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('only text that begins with policy: names a policy', () => {
  expect(policyFile('policy:a/b.safetensors')).toBe('a/b.safetensors')
  expect(['policy', 'openai:policy:x', undefined, () => 'policy:x'].map(policyFile)).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ])
})

test('a policy writes the edits of a run in its own way; another one, or another way, is another run', async () => {
  const given = { task: asFinch(), model: finchActor(), store: memoryStore(), id: 'r', ...small }
  const { report } = await evolve({ ...given, evolver }).result
  expect(report.names.evolver).toMatch(/^finch-lines jax:[0-9a-f]{12}\+grammar$/)
  expect(report.spent.evolve).toMatchObject({ calls: 2, usd: 0 })
  expect(report.counts.nodes + report.counts.invalid).toBe(3) // the seed and two edits
  const again = await evolve({ ...given, evolver }).result
  expect(again.report).toMatchObject({ names: report.names, spent: report.spent })

  await expect(evolve({ ...given, evolver, writer: 'rewrite' }).result).rejects.toThrow('started with another evolver')
  await using engine = await finchEngine({ folder: folder(), workers: 1, seed: 5 })
  const fresh = await engine.save('fresh', { optimizer: false })
  await expect(evolve({ ...given, evolver: `policy:${fresh}` }).result).rejects.toThrow('started with another evolver')
})

/** Methods that need a part which contexts of Finch do not have. */
const apart: Readonly<Record<string, RegExp>> = { reflexion: /text part "memory"/, voyager: /text part "skills"/ }

test.each(methodNames)('a policy writes the edits of %s, unless the method needs a part that Finch has not', async (method) => {
  const run = evolve({ ...small, task: asFinch(), model: finchActor(), store: 'memory', evolver, method, choice: 'mean' }).result
  const refusal = apart[method]
  if (refusal) return await expect(run).rejects.toThrow(refusal)
  const { report } = await run
  expect(report.names).toMatchObject({ method, evolver: expect.stringMatching(/^finch-lines jax:/) })
  expect(report.spent.evolve.calls).toBeGreaterThan(0)
  expect(report.counts.nodes + report.counts.rejected + report.counts.invalid).toBeGreaterThan(1)
})

test('a policy of Finch is refused for another task before anything is asked, with the reason and what to do', async () => {
  let asked = 0
  const model: Model = { name: 'toy', sample: async () => Promise.reject(new Error(`asked ${++asked}`)) }
  const data = Array.from({ length: 12 }, (_, i) => ({ id: `q${i}`, input: `question ${i}`, expected: 'yes' }))
  const remedy = 'let a language model write the edits (such as --evolver openai:gpt-5-mini)'
  const of = (task: TaskOptions['task']): Promise<unknown> => evolve({ task, model, evolver, store: 'memory' }).result
  await expect(of(qaTask({ name: 'tickets', data, context: 'Answer.' }))).rejects.toMatchObject({
    name: 'ConfigError',
    message: `policy:${warmStartFile} was trained in Finch and can't read task "tickets": its context is instructions, not notes alone; ${remedy}`,
  })
  await expect(of(qaTask({ name: 'tickets', data, context: { notes: 'Answer.' } }))).rejects.toThrow(
    /can't read task "tickets": "question \d+" is no question of Finch; let a language model/,
  )
  await expect(of(asFinch({ seed: { notes: '', more: '' } }))).rejects.toThrow('its context is notes, more, not notes alone')
  expect(asked).toBe(0)
})

test('a file that is missing, broken or no policy is one line with a remedy', async () => {
  const at = (file: string): Promise<unknown> =>
    prepare({ task: asFinch(), model: finchActor(), evolver: `policy:${file}`, store: 'memory' })
  await expect(at('none.safetensors')).rejects.toMatchObject({
    name: 'ConfigError',
    message: 'no policy file "none.safetensors"; lamarck train makes one and says where',
  })
  const broken = join(folder(), 'broken.safetensors')
  writeFileSync(broken, 'not tensors')
  await expect(at(broken)).rejects.toMatchObject({
    name: 'ConfigError',
    message: expect.stringMatching(
      /^cannot load the checkpoint ".*broken\.safetensors": .*; give a file that lamarck train made$/,
    ),
  })
})

test('a policy takes no template, and is nothing that answers', async () => {
  const given = { task: asFinch(), model: finchActor(), store: 'memory' }
  await expect(prepare({ ...given, evolver, template: '{{context}}{{results}}{{format}}' })).rejects.toThrow(
    'has a prompt of its own; leave the template out',
  )
  await expect(prepare({ ...given, model: 'policy:x' })).rejects.toThrow(
    'policy:x writes edits and answers nothing else; give it as the evolver (--evolver policy:x)',
  )
})
