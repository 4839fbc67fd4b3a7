// Answers the commands of a round: runs the task, scores, asks the evolver. Each rollout and proposal is looked up in the journal first and
// recorded after. What the calls inside them do is the meter's.
import { addCost, type Cost, noCost } from './budget.ts'
import { type Context, contextText, type Rules, sameContext, type Tokenizer, violation } from './context.ts'
import { overlap } from './copy.ts'
import { BadAnswer, BudgetError, ConfigError, ModelError, StoreError } from './errors.ts'
import { checked, type Edit, type Evolver } from './evolver.ts'
import type { Meter } from './meter.ts'
import type { Answer, Command } from './method.ts'
import type { Model } from './model.ts'
import type { Observation } from './observation.ts'
import { seedOf } from './rng.ts'
import { type Rollout, scoreOf } from './score.ts'
import { below, type Entry, type Journal } from './store.ts'
import { type Example, type Grade, splits, type Task } from './task.ts'

/** What a command is answered with. `O` = the task's output, `M` = the kind of model the task is handed. */
export interface World<E extends Example, O, M> {
  readonly task: Task<E, O, M>
  readonly evolver: Evolver
  /** Meters of the action model, the judge and the evolver's model. */
  readonly act: Meter<M>
  readonly judge: Meter<M>
  readonly evolve: Meter<Model>
  readonly journal: Journal
  readonly tokenizer: Tokenizer
  readonly rules: Rules
  readonly seed: number
  /** What happens to an edit that copies half of an example or more: nothing, a flag on the node, or an invalid edit. */
  readonly copies: 'ignore' | 'flag' | 'reject'
  /** Hash of a text, for questions: at least 64 bits, as text. */
  readonly hash: (text: string) => string
}

/** Where a command stands in the run, and what the journal knew below it when the run was resumed. */
export interface Place {
  readonly round: number
  /** `<round>.<step>.<index>`. */
  readonly key: string
  readonly recorded: readonly Entry[]
  readonly signal: AbortSignal
}

/** Answers a command. @throws {ModelError | BudgetError | ConfigError | StoreError} what stops the run. */
export type Perform = (command: Command, place: Place) => Promise<Answer>

export function performer<E extends Example, O, M>(world: World<E, O, M>): Perform {
  const byId = new Map(splits.flatMap((split) => world.task.examples(split).map((e) => [e.id, e] as const)))
  return async (command, place) => {
    if (command.kind === 'overlap') return overlapWith(command.context, world.task.examples(command.split))
    if (command.kind === 'propose') return propose(world, command.observation, place, byId)
    return evaluate(world, command, place, byId)
  }
}

async function evaluate<E extends Example, O, M>(
  world: World<E, O, M>,
  command: Command & { kind: 'evaluate' },
  place: Place,
  byId: ReadonlyMap<string, E>,
): Promise<Answer> {
  const contextHash = world.hash(JSON.stringify(command.context))
  const recorded = byRollout(place.recorded)
  const [from, to] = command.draws
  const pairs = command.ids.flatMap((id) => Array.from({ length: to - from }, (_, k) => ({ id, draw: from + k })))
  const mayBeCut = command.role === 'confirm' || command.role === 'test' || command.role === 'ood'
  const stop = new AbortController()
  const signal = AbortSignal.any([place.signal, stop.signal])
  const one = async ({ id, draw }: { id: string; draw: number }): Promise<Done | undefined> => {
    const example = byId.get(id)
    if (!example) throw new ConfigError(`example "${id}" is in no split of task "${world.task.name}"`)
    const key = `${place.key}/${encodeURIComponent(id)}#${draw}`
    const attempt: Attempt<E> = {
      example,
      draw,
      key,
      context: command.context,
      contextHash,
      entries: recorded.get(key) ?? [],
      signal,
    }
    try {
      return await rollout(world, attempt, { ...place, shown: command.role === 'batch' || command.role === 'test' })
    } catch (error) {
      if (!(error instanceof BudgetError)) stop.abort(error)
      else if (mayBeCut) return undefined
      throw error
    }
  }
  const settled = await Promise.allSettled(pairs.map(one))
  if (stop.signal.aborted) throw stop.signal.reason
  place.signal.throwIfAborted()
  const short = settled.find((r) => r.status === 'rejected')
  if (short) throw short.reason // the budget: calls in flight beside the one it refused have ended and are kept
  const done = settled.flatMap((r) => (r.status === 'fulfilled' && r.value ? [r.value] : []))
  const cost = done.reduce((sum, d) => addCost(sum, d.cost), noCost)
  const complete = onlyComplete(done, to - from)
  const score = scoreOf(complete, to - from, complete.length === pairs.length)
  return { kind: 'score', score, rollouts: command.role === 'batch' ? done.map((d) => d.rollout) : [], cost }
}

/** The rollouts of examples that have all their draws: a budget may have ended in between. */
function onlyComplete(done: readonly Done[], draws: number): readonly Rollout[] {
  const counts = new Map<string, number>()
  for (const { rollout } of done) counts.set(rollout.exampleId, (counts.get(rollout.exampleId) ?? 0) + 1)
  return done.map((d) => d.rollout).filter((r) => counts.get(r.exampleId) === draws)
}

/** Journal entries by the rollout they belong to: `…/<id>#<draw>`, and what stands below it or beside it. */
function byRollout(entries: readonly Entry[]): ReadonlyMap<string, readonly Entry[]> {
  const map = new Map<string, Entry[]>()
  for (const entry of entries) {
    const key = /^[^/]*\/[^/#]*#\d+/.exec(entry.key)?.[0] ?? entry.key
    const had = map.get(key)
    if (had) had.push(entry)
    else map.set(key, [entry])
  }
  return map
}

interface Attempt<E> {
  readonly example: E
  readonly draw: number
  readonly key: string
  readonly context: Context
  readonly contextHash: string
  readonly entries: readonly Entry[]
  readonly signal: AbortSignal
}

interface Done {
  readonly rollout: Rollout
  readonly cost: Cost
}

async function rollout<E extends Example, O, M>(
  world: World<E, O, M>,
  attempt: Attempt<E>,
  { round, shown }: { round: number; shown: boolean },
): Promise<Done> {
  const { example, draw, key, entries, signal } = attempt
  const question = world.hash(`${world.task.name}\n${attempt.contextHash}\n${JSON.stringify(example)}\n${draw}`)
  const had = recordedAt(entries, key, question)
  if (had) return JSON.parse(had) as Done // our own JSON, written below
  signal.throwIfAborted()
  const act = world.act.open(round, key, below(entries, key), signal)
  const judgeKey = `${key}:judge`
  const judge = world.judge.open(round, judgeKey, below(entries, judgeKey), signal)
  const seed = seedOf(world.seed, example.id, draw)
  let output: O | undefined
  let grade: Grade | undefined
  let thrown: { readonly error: unknown } | undefined
  const { ownCost } = world.task
  if (typeof ownCost === 'function') await act.charge(ownCost(example))
  try {
    output = await world.task.run({ context: attempt.context, example, model: act.model, draw, seed, signal })
    grade = await world.task.score(output, example, { model: judge.model, signal })
  } catch (error) {
    signal.throwIfAborted()
    thrown = { error }
  }
  act.close()
  judge.close()
  const { score, feedback = '' } = thrown
    ? { score: 0, feedback: badAnswer(thrown.error, example.id).message }
    : validGrade(grade, example.id)
  const kept: Rollout = shown
    ? { ...world.task.show(example, output), exampleId: example.id, draw, score, feedback }
    : { exampleId: example.id, draw, score, feedback: '', question: '', answer: '' }
  const done: Done = { rollout: kept, cost: addCost(act.cost(), judge.cost()) }
  await world.journal.put({ round, key, question, bound: noCost, outcome: JSON.stringify(done), cost: noCost })
  return done
}

/** The recorded outcome of a key. @throws {StoreError} if it answers another question. */
function recordedAt(entries: readonly Entry[], key: string, question: string): string | undefined {
  const entry = entries.find((e) => e.key === key)
  if (entry && entry.question !== question) {
    throw new StoreError(
      `journal and program part ways at ${key}: the task, its data or its context changed since; start a new run`,
    )
  }
  return entry?.outcome
}

/** What stops the run is thrown on, out of any wrapping; what makes one answer bad is returned. */
function badAnswer(error: unknown, exampleId: string): Error {
  for (let [e, depth] = [error, 0]; e instanceof Error && depth < 10; [e, depth] = [causeOf(e), depth + 1]) {
    if (e instanceof ModelError || e instanceof BudgetError || e instanceof StoreError || e instanceof ConfigError) throw e
    if (e instanceof BadAnswer || e.name === 'AI_NoObjectGeneratedError' || e.name === 'AI_NoOutputGeneratedError') return e
  }
  const message = error instanceof Error ? error.message : String(error)
  throw new ConfigError(`the task threw on example "${exampleId}": ${message} (throw BadAnswer to score an answer 0 instead)`, {
    cause: error,
  })
}

/** What is behind an error; `lastError` is how the AI SDK wraps what its own retries gave up on. */
function causeOf(error: Error): unknown {
  return error.cause ?? ('lastError' in error ? error.lastError : undefined)
}

function validGrade(grade: Grade | undefined, exampleId: string): Grade {
  const score: unknown = grade?.score
  if (grade && typeof score === 'number' && score >= 0 && score <= 1) return grade
  const got = typeof score === 'string' ? JSON.stringify(score) : String(score)
  throw new ConfigError(`the score of example "${exampleId}" is ${got}: return { score } with a number from 0 to 1`)
}

async function propose<E extends Example, O, M>(
  world: World<E, O, M>,
  observation: Observation,
  place: Place,
  byId: ReadonlyMap<string, E>,
): Promise<Answer> {
  const question = world.hash(JSON.stringify([world.evolver.name, observation]))
  const key = `${place.key}/edit`
  const had = recordedAt(place.recorded, key, question)
  if (had) return JSON.parse(had) as Answer // our own JSON, written below
  place.signal.throwIfAborted()
  const scope = world.evolve.open(place.round, key, below(place.recorded, key))
  const shown = observation.seen.rollouts.flatMap((r) => byId.get(r.exampleId) ?? [])
  const examples = [...new Set([...shown, ...world.task.examples('holdout')])]
  const check = (context: Context): string | undefined => objection(world, observation, context, examples)
  const edit = checked(
    await world.evolver.propose(observation, {
      model: scope.model,
      check,
      seed: seedOf(world.seed, place.round, 'edit'),
      signal: place.signal,
    }),
    check,
  )
  scope.close()
  const answer: Answer = { ...flagged(world, edit, examples), cost: scope.cost() }
  await world.journal.put({ round: place.round, key, question, bound: noCost, outcome: JSON.stringify(answer), cost: noCost })
  return answer
}

/** Why this context may not follow the node, in a sentence for the evolver. */
function objection<E extends Example, O, M>(
  world: World<E, O, M>,
  observation: Observation,
  context: Context,
  examples: readonly Example[],
): string | undefined {
  if (sameContext(context, observation.node.context)) return 'nothing was changed'
  const isOld = observation.earlier.some((t) => t.kind !== 'invalid' && sameContext(t.context, context))
  if (isOld) return 'this same edit was tried before'
  const why = violation(observation.node.context, context, world.rules, world.tokenizer)
  if (why || world.copies !== 'reject') return why
  const { copied } = overlapWith(context, examples)
  return copied.length
    ? `it copies ${copied.length} of the examples word for word; describe what they have in common instead`
    : undefined
}

function flagged<E extends Example, O, M>(world: World<E, O, M>, edit: Edit, examples: readonly Example[]): Edit {
  if (edit.kind === 'invalid' || world.copies === 'ignore') return edit
  const { copied } = overlapWith(edit.context, examples)
  return copied.length ? { ...edit, copied } : edit
}

function overlapWith(context: Context, examples: readonly Example[]): Answer & { kind: 'overlap' } {
  // the values of an example, without their names and its id
  const text = ({ id: _, ...fields }: Example): string =>
    Object.values(fields)
      .map((v) => (typeof v === 'string' ? v : JSON.stringify(v)))
      .join('\n')
  const found = overlap(
    contextText(context),
    examples.map((e) => ({ id: e.id, text: text(e) })),
  )
  return { kind: 'overlap', ...found, cost: noCost }
}
