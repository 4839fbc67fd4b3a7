// Trains an LLM's policy by LSE, in two steps that can each be killed and started again: trees grown with `evolve` itself by the untrained
// policy, whose prompts are kept in a folder and whose nodes in the store; then the trainer, over any engine, with rewards from the action model.
//
// A reward is kept by step, tree and context as soon as it is known: a step that is done again after a kill pays only for edits that are new.
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import pLimit from 'p-limit'
import { Ledger, noCost } from '../core/budget.ts'
import { violation } from '../core/context.ts'
import type { Engine } from '../core/engine.ts'
import { ConfigError } from '../core/errors.ts'
import { performer } from '../core/evaluate.ts'
import { evolveParams, evolver, type Writer } from '../core/evolver.ts'
import type { Options } from '../core/facts.ts'
import type { Method } from '../core/method.ts'
import type { Model, Params, TokenCompletion } from '../core/model.ts'
import type { Observation } from '../core/observation.ts'
import { mean } from '../core/score.ts'
import type { Journal, Store } from '../core/store.ts'
import { evolve } from '../evolve.ts'
import { lse, lseWriter } from '../methods/lse.ts'
import { gate, meteredModel } from '../models/metered.ts'
import { roughTokenizer } from '../options.ts'
import { sha } from '../prepare.ts'
import { tell } from '../report.ts'
import type { Grown, State } from '../train/curriculum.ts'
import { type TrainFact, train } from '../train/train.ts'
import type { LlmRecipe, LlmTask } from './llm-recipe.ts'
import { type Shares, stopwatch } from './stopwatch.ts'
import { hold, parsedLines, replaceWhole } from './training-folder.ts'

/** What both steps are handed. */
export interface LlmPorts {
  readonly recipe: LlmRecipe
  /** Where the recipe's data is, and where prompts, facts and rewards are kept. */
  readonly data: string
  readonly folder: string
  readonly store: Store
  /** Answers the problems. */
  readonly action: Model
  /** Its calls in flight at once; default 64. */
  readonly concurrency?: number
  /** Default: LSE's. */
  readonly writer?: Writer
  /** Of all chance. */
  readonly seed: number
  readonly signal?: AbortSignal
}

/** One tree that has ended. */
export interface Collected {
  readonly run: string
  readonly task: string
  readonly nodes: number
  readonly best: number
  /** Whether it was there already. */
  readonly isOld: boolean
}

/** Names of the runs in the store. */
const treeId = (recipe: LlmRecipe, seed: number, i: number): string => `${recipe.name}-${seed}-tree-${i}`

/** One state, as it is kept. */
interface Asked {
  readonly run: string
  readonly observation: Observation
  readonly prompt: ReturnType<Writer['write']>
}

/** How long a call may take, in seconds, and how often it is made again: a server under load is slow. */
const patience = { timeout: 600, retries: 8 } as const

/**
 * Grows the recipe's trees with a policy, `parallel` at a time, in their order; those in the store are gone on with.
 * @throws {ConfigError} if the data does not fit the recipe.
 */
export async function* collect(
  ports: LlmPorts,
  {
    policy,
    parallel = 4,
    params = evolveParams,
  }: { readonly policy: Model; readonly parallel?: number; readonly params?: Params },
): AsyncGenerator<Collected> {
  const { recipe, store, data, folder, seed, action, signal, concurrency = 64, writer = lseWriter() } = ports
  const names = (await recipe.tasks(data)).train
  if (names.length === 0) throw new ConfigError(`${data}: has no task to train on`)
  using _held = hold(folder)
  const file = join(folder, 'states.jsonl')
  replaceWhole(file, whole(file)) // a line that was cut off is gone
  const tasks = new Tasks(recipe, data)
  await using _ = tasks
  const limit = pLimit(parallel)
  const stop = new AbortController()
  const end = AbortSignal.any([stop.signal, ...(signal ? [signal] : [])])
  const grow = async (i: number): Promise<Collected> => {
    end.throwIfAborted()
    const run = treeId(recipe, seed, i)
    const task = names[i % names.length]!
    const isOld = tell(await store.facts(run))?.state.result !== undefined
    if (!isOld) {
      const inner = evolver(writer, { params })
      const method: Method = {
        ...lse({ c: 2 }), // the code's constant
        evolver: {
          ...inner,
          propose(observation, call) {
            const asked: Asked = { run, observation: slim(observation), prompt: writer.write(observation) }
            appendFileSync(file, `${JSON.stringify(asked)}\n`)
            return inner.propose(observation, call)
          },
        },
      }
      const { rounds, batch, draws } = recipe.trees
      await evolve({
        ...{ id: run, seed: seed + i, store, method, rounds, batch, draws, protocol: 'paper', folds: 0, choice: 'mean' },
        ...{ task: await tasks.open(task), model: action, evolver: policy, testSize: 1, testDraws: 1, signal: end },
        ...{ concurrency: Math.max(1, Math.ceil(concurrency / parallel)), ...patience },
      }).result
    }
    const { state } = tell(await store.facts(run))! // it has ended
    return { run, task, nodes: state.nodes.length, best: state.best?.score.mean ?? 0, isOld }
  }
  const trees = Array.from({ length: recipe.trees.runs }, (_, i) => limit(() => grow(i)))
  for (const tree of trees) tree.catch((error: unknown) => stop.abort(error))
  try {
    for (const tree of trees) yield await tree
  } finally {
    stop.abort()
    await Promise.allSettled(trees)
  }
}

/** Without what is only read to write the prompt, which is kept beside it. */
function slim(observation: Observation): Observation {
  return { ...observation, seen: { ...observation.seen, rollouts: [] } }
}

/** A tree, and what rewards of its states are measured by. */
export interface LlmTree extends Grown {
  readonly options: Options
  /** Name of its task; `task` is its run. */
  readonly of: string
}

/** The trees of a recipe as the trainer takes them, one a run. @throws {ConfigError} if some are missing. */
export async function treesOf({ recipe, data, store, folder, seed }: LlmPorts): Promise<readonly LlmTree[]> {
  const names = (await recipe.tasks(data)).train
  const asked = Map.groupBy(lines<Asked>(join(folder, 'states.jsonl')), ({ run }) => run)
  const trees: LlmTree[] = []
  for (let i = 0; i < recipe.trees.runs; i++) {
    const run = treeId(recipe, seed, i)
    const told = tell(await store.facts(run))
    if (!told?.state.result)
      throw new ConfigError(`tree ${i + 1} of ${recipe.trees.runs} has not ended: go on with lamarck train collect`)
    const { state, options } = told
    const invalid = state.edits.filter(({ tried }) => tried.kind !== 'scored').length
    trees.push({ task: run, of: names[i % names.length]!, options, nodes: state.nodes, invalid, asked: asked.get(run) ?? [] })
  }
  return trees
}

/** What a resumed training must share. */
export interface TrainLlmSettings {
  readonly recipe: string
  readonly seed: number
  readonly train: LlmRecipe['train']
  readonly maxSteps?: number
  readonly lag?: 1
  /** Who answers, and what is trained. */
  readonly action: string
  readonly engine: string
}

/** The record of a training, in order. */
export type TrainLlmFact =
  | { readonly kind: 'set'; readonly settings: TrainLlmSettings }
  | TrainFact
  /** How long a step took, in seconds, and how much of that time something was being drawn, scored or trained; they overlap. */
  | ({ readonly kind: 'timed'; readonly step: number; readonly tokensPerSecond: number } & Shares)

/** What is trained, and how far; the rest is the recipe's. */
export interface TrainLlmOptions {
  readonly engine: Engine
  readonly maxSteps?: number
  /** As the trainer's; default 0. */
  readonly lag?: 0 | 1
  /** Goes on from the look after this step, or the last before it: where a later checkpoint can't be loaded. Default: the last. */
  readonly from?: number
}

/**
 * Trains on the trees that were collected; facts are appended to `folder/facts.jsonl`. One that is there is gone on with from its last
 * checkpoint, and its last facts come again.
 * @throws {ConfigError} on settings other than those of the facts that are there, and on trees that are missing.
 */
export async function* trainLlm(
  ports: LlmPorts,
  { engine, maxSteps, lag = 0, from }: TrainLlmOptions,
): AsyncGenerator<TrainLlmFact> {
  const { recipe, folder, seed, action, signal, writer = lseWriter() } = ports
  const settings: TrainLlmSettings = {
    ...{ recipe: recipe.name, seed, train: recipe.train, action: action.name, engine: engine.name },
    ...(maxSteps !== undefined && { maxSteps }),
    ...(lag === 1 && { lag }),
  }
  const file = join(folder, 'facts.jsonl')
  using _held = hold(folder)
  const past = kept(readLlmFacts(file), settings, from)
  const trees = await treesOf(ports)
  let at = 0
  let isCut = false
  const note = <F extends TrainLlmFact>(fact: F): F => {
    // Not before it goes on: a checkpoint that can't be loaded leaves those after it in the record.
    if (!isCut) replaceWhole(file, past.map((old) => `${JSON.stringify(old)}\n`).join(''))
    isCut = true
    appendFileSync(file, `${JSON.stringify(fact)}\n`)
    if (fact.kind === 'step') at = fact.step
    return fact
  }
  const watch = stopwatch()
  const tasks = new Tasks(recipe, ports.data)
  await using _ = tasks
  const score = rewarder(ports, tasks, trees)
  const { states, rollouts, passes, maxTokens, learningRate, every } = recipe.train
  if (past.length === 0) yield note({ kind: 'set', settings })
  at = past.findLast((fact) => fact.kind === 'looked')?.step ?? 0
  const facts = train(
    {
      ...{ seed, states, rollouts, passes, maxTokens, every, lag, ...(maxSteps !== undefined && { maxSteps }) },
      adam: { learningRate },
      loss: { kind: 'ppo', low: 0.2, high: 0.2 }, // the code's
      advantage: {}, // delta, as it is
      curriculum: { order: 'potential' },
    },
    {
      engine: watched(engine, watch.during),
      writer,
      grow: async () => trees,
      check: (context, { observation }) => violation(observation.node.context, context, observation.rules, roughTokenizer),
      score: (context, state, step) => watch.during('reward', () => score(context, state, step)),
      dev: (policy) => look(ports, { policy, step: at, tasks }),
      ...(signal && { signal }),
    },
    past.filter((fact): fact is TrainFact => fact.kind !== 'set' && fact.kind !== 'timed'),
  )
  watch.take()
  for await (const fact of facts) {
    yield note(fact)
    if (fact.kind === 'looked') watch.take() // looks are no part of a step
    if (fact.kind !== 'step') continue
    const shares = watch.take()
    const tokens = states * rollouts * (fact.metrics.tokensPerEdit ?? 0)
    yield note({ kind: 'timed', step: fact.step, ...shares, tokensPerSecond: tokens / shares.seconds })
  }
}

/** Tasks by name, each opened once. */
class Tasks implements AsyncDisposable {
  #recipe: LlmRecipe
  #data: string
  #open = new Map<string, Promise<LlmTask>>()

  constructor(recipe: LlmRecipe, data: string) {
    this.#recipe = recipe
    this.#data = data
  }

  open(name: string): Promise<LlmTask> {
    const had = this.#open.get(name) ?? this.#recipe.open(this.#data, name)
    this.#open.set(name, had)
    return had
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const task of await Promise.allSettled(this.#open.values())) {
      if (task.status === 'fulfilled' && Symbol.asyncDispose in task.value)
        await (task.value as LlmTask & AsyncDisposable)[Symbol.asyncDispose]() // looked at above
    }
  }
}

type During = ReturnType<typeof stopwatch>['during']

/** The engine, with its time told. */
function watched(engine: Engine, during: During): Engine {
  return {
    name: engine.name,
    forwardBackward: (groups, loss) => during('training', () => engine.forwardBackward(groups, loss)),
    optimStep: (adam) => during('training', () => engine.optimStep(adam)),
    encode: (prompt) => engine.encode(prompt),
    async policy(): Promise<Model<TokenCompletion>> {
      const policy = await during('training', () => engine.policy()) // its weights go to where it is drawn from
      return { name: policy.name, sample: (...asked) => during('sampling', () => policy.sample(...asked)) }
    },
    save: (name) => engine.save(name),
    load: (checkpoint) => engine.load(checkpoint),
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  }
}

/** One reward, as it is kept. */
interface Paid {
  readonly step: number
  /** Of the tree's run and the context. */
  readonly edit: string
  readonly score: number
}

/** Holdout scores by the protocol of each state's tree, paid for once a step and edit. */
function rewarder(
  { folder, action, concurrency = 64, signal = new AbortController().signal }: LlmPorts,
  tasks: Tasks,
  trees: readonly LlmTree[],
): (context: Observation['node']['context'], state: State, step: number) => Promise<number> {
  const by = new Map(trees.map((tree) => [tree.task, tree]))
  const file = join(folder, 'rewards.jsonl')
  replaceWhole(file, whole(file))
  const known = new Map(lines<Paid>(file).map(({ step, edit, score }) => [`${step} ${edit}`, Promise.resolve(score)]))
  // What a call said is not kept: only the reward that came of it.
  const journal: Journal = { read: async () => [], put: async () => {}, spent: async () => ({ done: noCost, lost: noCost }) }
  const act = meteredModel(action, {
    ...{ journal, signal, ledger: new Ledger({}), gate: gate(concurrency), retry: { retries: patience.retries } },
    timeout: patience.timeout * 1000,
  })
  const none = { name: 'none', propose: () => Promise.reject(new ConfigError('no edits are asked for here')) }
  const pay = async (context: Observation['node']['context'], state: State, paid: Omit<Paid, 'score'>): Promise<number> => {
    const { options, of } = by.get(state.task)! // each state is of one of these trees
    const task = await tasks.open(of)
    const { seed, rules, splits, draws } = options
    const world = { task, act, judge: act, evolve: act, evolver: none, journal, tokenizer: roughTokenizer }
    const perform = performer({ ...world, rules, seed, copies: 'ignore', hash: sha })
    const command = { kind: 'evaluate', role: 'holdout', context, ids: splits.holdout, draws: [0, draws] } as const
    const answer = await perform(command, { round: paid.step, key: `${paid.step}.${paid.edit}`, recorded: [], signal })
    if (answer.kind !== 'score') throw new TypeError(`expected a score, got ${answer.kind}`)
    appendFileSync(file, `${JSON.stringify({ ...paid, score: answer.score.mean })}\n`)
    return answer.score.mean
  }
  return (context, state, step) => {
    const edit = sha(JSON.stringify([state.task, context]))
    const had = known.get(`${step} ${edit}`) ?? pay(context, state, { step, edit })
    known.set(`${step} ${edit}`, had)
    return had
  }
}

/** How a policy evolves the dev tasks: the mean score of what it chose on their holdouts. */
async function look(
  { recipe, data, store, folder, seed, action, signal, concurrency = 64, writer = lseWriter() }: LlmPorts,
  { policy, step, tasks }: { readonly policy: Model; readonly step: number; readonly tasks: Tasks },
): Promise<number> {
  const { dev } = await recipe.tasks(data)
  const { presencePenalty: _, ...evolving } = evolveParams // which the Tinker API does not have
  const params = { ...evolving, maxTokens: recipe.train.maxTokens }
  const named: Model = { name: `policy of step ${step}`, sample: (...asked) => policy.sample(...asked) } // the same one in the next life
  const scores = dev.map(async (name) => {
    const { batch, draws } = recipe.trees
    const run = evolve({
      ...{ id: `${recipe.name}-${seed}-${sha(folder).slice(0, 8)}-dev-${step}-${name}`, seed, store, batch, draws },
      ...{ method: { ...lse({ c: 2 }), evolver: evolver(writer, { params }) }, rounds: recipe.train.devRounds },
      ...{ protocol: 'paper', folds: 0, choice: 'mean', testSize: 1, testDraws: 1, model: action, evolver: named },
      ...{ task: await tasks.open(name), concurrency: Math.max(1, Math.ceil(concurrency / dev.length)), ...patience },
      ...(signal && { signal }),
    })
    return (await run.result).report.holdout.chosen
  })
  return mean(await Promise.all(scores))
}

/** What a file has up to its last line break. */
function whole(file: string): string {
  if (!existsSync(file)) return ''
  const text = readFileSync(file, 'utf8')
  return text.slice(0, text.lastIndexOf('\n') + 1)
}

function lines<T>(file: string): readonly T[] {
  return existsSync(file) ? (parsedLines(file) as readonly T[]) : [] // written in this file
}

/** The facts of a file. @throws {ConfigError} if they are not those of such a training. */
export function readLlmFacts(file: string): readonly TrainLlmFact[] {
  const facts = lines<TrainLlmFact>(file)
  const [first] = facts
  if (first === undefined || (first.kind === 'set' && 'recipe' in first.settings)) return facts
  throw new ConfigError(`${file} is not the record of such a training: give another folder`)
}

/** The facts up to the last checkpoint, or the last up to a step: those after it will come again. */
function kept(
  facts: readonly TrainLlmFact[],
  settings: TrainLlmSettings,
  from = Number.POSITIVE_INFINITY,
): readonly TrainLlmFact[] {
  const [first] = facts
  if (first?.kind === 'set') {
    const then: Readonly<Record<string, unknown>> = { ...first.settings }
    for (const name of new Set([...Object.keys(then), ...Object.keys(settings)])) {
      const now = (settings as unknown as Readonly<Record<string, unknown>>)[name] // its own keys
      if (!isDeepStrictEqual(then[name], now)) {
        const [old, asked] = [then[name], now].map((value) => JSON.stringify(value))
        throw new ConfigError(`the training began with ${name} ${old}, this is ${asked}: give another folder`)
      }
    }
  }
  return facts.slice(0, facts.findLastIndex((fact) => fact.kind === 'looked' && fact.step <= from) + 1)
}
