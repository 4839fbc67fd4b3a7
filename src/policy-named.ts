// A trained policy as the evolver of a run, by its file: `policy:.lamarck/train/policy.safetensors`. Its engine and its writer are loaded
// when it is asked for, and what it can't work on is refused before.
import { existsSync } from 'node:fs'
import { ConfigError, EngineError } from './core/errors.ts'
import { type Evolver, evolver } from './core/evolver.ts'
import type { Model } from './core/model.ts'
import type { Example, Task } from './core/task.ts'
import type { Settings } from './settings.ts'

const prefix = 'policy:'

/** The file of `policy:FILE`; undefined for whatever else writes edits. */
export function policyFile(spec: unknown): string | undefined {
  return typeof spec === 'string' && spec.startsWith(prefix) ? spec.slice(prefix.length) : undefined
}

/** Who answers, and how it is asked; an engine runs until it is disposed of. */
export interface NamedPolicy extends AsyncDisposable {
  readonly model: Model
  readonly evolver: Evolver
}

/**
 * Opens the policy in a file for a task, with the writer it was trained with: line edits unless the settings say `rewrite`.
 * @throws {ConfigError} if the task is none of Finch, or the file no policy of Finch; {@link MissingPackageError} without @jax-js/jax.
 */
export async function policyNamed(
  file: string,
  task: Task<Example, unknown, unknown>,
  { template, writer = 'lines' }: Settings,
): Promise<NamedPolicy> {
  if (template !== undefined) throw new ConfigError(`${prefix}${file} has a prompt of its own; leave the template out`)
  if (!existsSync(file)) throw new ConfigError(`no policy file "${file}"; lamarck train makes one and says where`)
  const strange = await strangeIn(task)
  if (strange !== undefined) {
    throw new ConfigError(
      `${prefix}${file} was trained in Finch and can't read task "${task.name}": ${strange}; let a language model write the edits (such as --evolver openai:gpt-5-mini)`,
    )
  }
  const { finchEngine, finchGrammar, policyParams } = await import('./recipes/finch-policy.ts')
  const { finchWriter } = await import('./recipes/finch.ts')
  await using opened = new AsyncDisposableStack() // given back here if the file is refused
  const engine = opened.use(await finchEngine({ workers: 1 }))
  await engine.load(file).catch((cause: unknown) => {
    throw cause instanceof EngineError
      ? new ConfigError(`${cause.message}; give a file that lamarck train made`, { cause })
      : cause
  })
  const model = await engine.policy({ grammar: finchGrammar(writer) })
  const kept = opened.move()
  return {
    model,
    evolver: evolver(finchWriter(writer), { params: policyParams, tries: 1 }), // it never learned to read why an edit was refused
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

/** What of a task is not Finch's, if anything. */
async function strangeIn(task: Task<Example, unknown, unknown>): Promise<string | undefined> {
  const { part } = await import('./tasks/finch/parameters.ts')
  const parts = Object.keys(task.seed)
  if (parts.join() !== part) return `its context is ${parts.join(', ')}, not ${part} alone`
  const { readQuestion } = await import('./tasks/finch/questions.ts')
  const questions = task.examples('train').map((example) => task.show(example, undefined).question)
  const other = questions.find((question) => readQuestion(question) === undefined)
  return other === undefined ? undefined : `${JSON.stringify(other.slice(0, 80))} is no question of Finch`
}
