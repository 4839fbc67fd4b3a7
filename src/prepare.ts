// Everything a run needs, made from what the user said: task, splits, models with their meters, prices, settings. Nothing is spent here.
import { hash as digest } from 'node:crypto'
import { type Budget, type Cost, type Ledger, noCost, scaleCost } from './core/budget.ts'
import { contextText, editable, regionStart, type Tokenizer } from './core/context.ts'
import { ConfigError } from './core/errors.ts'
import { type Evolver, evolver } from './core/evolver.ts'
import type { Names, Options } from './core/facts.ts'
import type { Meter } from './core/meter.ts'
import type { Method } from './core/method.ts'
import type { Model } from './core/model.ts'
import { rng, shuffle } from './core/rng.ts'
import type { Journal } from './core/store.ts'
import { type Example, type Split, splits as splitNames, type Task } from './core/task.ts'
import { functionTask } from './function-task.ts'
import { methodNamed } from './method-named.ts'
import { type LanguageModel, languageModel, meteredAiSdk } from './models/ai-sdk.ts'
import { type CallEvent, type Gate, gate, meteredModel } from './models/metered.ts'
import { type Price, priceOf, unpriced } from './models/prices.ts'
import { resolveModel, takesBaseUrl } from './models/resolve.ts'
import { spoken } from './models/spoken.ts'
import { type EditFunction, type EvolveOptions, type ModelSpec, roughTokenizer } from './options.ts'
import { policyFile, policyNamed } from './policy-named.ts'
import type { Settings } from './settings.ts'
import { loadSplits } from './tasks/read.ts'

/** Who answers, in both shapes, and what it costs. */
export interface Source extends AsyncDisposable {
  readonly name: string
  readonly model: Model
  readonly languageModel: LanguageModel
  readonly tokenizer?: Tokenizer
  readonly price: Price | undefined
}

export interface Prepared extends AsyncDisposable {
  readonly task: Task<Example, unknown, unknown>
  readonly method: Method
  readonly evolver: Evolver
  readonly tokenizer: Tokenizer
  readonly options: Options
  readonly settings: Settings
  readonly names: Names
  readonly hashes: Readonly<Record<string, string>>
  /** `evolve` is undefined where a function writes the edits. */
  readonly sources: { readonly act: Source; readonly judge: Source; readonly evolve: Source | undefined }
  /** Makes the meters of a run. */
  meters(door: Door): Meters
  /** A meter for the task on another model. */
  meterOf(source: Source, door: Door): Meter<unknown>
}

export interface Door {
  readonly journal: Pick<Journal, 'put'>
  readonly ledger: Ledger
  readonly signal: AbortSignal
  readonly onCall: (event: CallEvent) => void
}

export interface Meters {
  readonly act: Meter<unknown>
  readonly judge: Meter<unknown>
  readonly evolve: Meter<Model>
}

/** Resolves and checks everything. @throws {ConfigError} for whatever is the user's to fix. */
export async function prepare(given: EvolveOptions, onWarning?: (warning: string) => void): Promise<Prepared> {
  const { parseSettings } = await import('./settings.ts')
  const settings = parseSettings(given as unknown as Readonly<Record<string, unknown>>) // checked name by name
  if (given.model === undefined)
    throw new ConfigError('no model is given; say which one answers, such as openai:gpt-5-mini (--model)')
  const isBased = [given.model, given.judge, given.evolver].some((spec) => typeof spec === 'string' && takesBaseUrl(spec))
  if (given.baseUrl !== undefined && !isBased) {
    throw new ConfigError(
      `base URL "${given.baseUrl}" fits no model of the run; name one as openai-compatible:MODEL, or leave it out`,
    )
  }
  const isFunction = typeof given.task === 'function'
  const task = isFunction ? await ownTask(given, settings) : await readyTask(given)
  await using resources = new AsyncDisposableStack() // given back here if anything below is refused
  // A task made for this run ends with it; one that was handed over is its owner's.
  if (isFunction || given.task instanceof Promise) resources.defer(() => disposeTask(task))
  const cache = new Map<ModelSpec, Promise<Source>>() // by what was given: two models may have one name
  const find = (spec: ModelSpec): Promise<Source> => {
    const had = cache.get(spec) ?? sourceOf(spec, given, onWarning).then((source) => resources.use(source))
    cache.set(spec, had)
    return had
  }
  const act = await find(given.model)
  const judge = given.judge === undefined ? act : await find(given.judge)
  const write = typeof given.evolver === 'function' && !('specificationVersion' in given.evolver) ? given.evolver : undefined
  const file = policyFile(given.evolver)
  const policy = file === undefined ? undefined : resources.use(await policyNamed(file, task, settings))
  const asked = (): Promise<Source> | Source => (given.evolver === undefined ? act : find(given.evolver as ModelSpec)) // not a function
  const evolve = write ? undefined : policy ? sourceIn(policy.model) : await asked()
  refuseUnpriced(settings.budget.usd, [act, judge, ...(evolve ? [evolve] : [])])
  if (task.ownCost === 'undeclared' && settings.budget.usd !== undefined) {
    throw new ConfigError(
      `task "${task.name}" may spend money by itself, so a budget of $${settings.budget.usd} can't be kept; declare \`cost\` (at most, an example) in the task, or budget calls, tokens or minutes`,
    )
  }
  const tokenizer = given.tokenizer ?? act.tokenizer ?? roughTokenizer
  const method = typeof given.method === 'object' ? given.method : await methodNamed(given.method ?? 'lse', settings)
  if (method.sequential && settings.inFlight > 1) {
    throw new ConfigError(
      `method "${method.name}" is a chain: each round needs the last, so inFlight must be 1, not ${settings.inFlight}`,
    )
  }
  const writer = write ? functionEvolver(write, settings) : (policy?.evolver ?? (await modelEvolver(method, settings, task)))
  const options = optionsOf(task, settings, { act, evolve, method, writer })
  method.check?.(options)
  const names: Names = {
    task: task.name,
    method: method.name,
    model: act.name,
    evolver: `${writer.name}${evolve ? ` ${evolve.name}` : ''}`,
    judge: judge.name,
    tokenizer: tokenizer.name,
  }
  const gates = new Map<string, Gate>()
  const gateOf = (source: Source): Gate => {
    const had = gates.get(source.name) ?? gate(settings.concurrency)
    gates.set(source.name, had)
    return had
  }
  const behind = (source: Source, door: Door) => ({
    ...door,
    gate: gateOf(source),
    retry: { retries: settings.retries },
    timeout: settings.timeout * 1000,
    name: source.name,
    ...(source.price && { price: source.price }),
  })
  const meterOf = (source: Source, door: Door): Meter<unknown> =>
    isFunction ? meteredAiSdk(source.languageModel, behind(source, door)) : meteredModel(source.model, behind(source, door))
  const kept = resources.move()
  return {
    task,
    method,
    evolver: writer,
    tokenizer,
    options,
    settings,
    names,
    hashes: { ...hashesOf(task), ...searchHashes(method, settings) },
    sources: { act, judge, evolve },
    meterOf,
    meters: (door) => ({
      act: meterOf(act, door),
      judge: meterOf(judge, door),
      evolve: meteredModel(evolve?.model ?? noModel, behind(evolve ?? act, door)),
    }),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

/** A further model by name, for `transfer`. */
export async function sourceOf(
  spec: ModelSpec,
  given: Pick<EvolveOptions, 'env' | 'baseUrl' | 'prices'>,
  onWarning: (warning: string) => void = () => {},
): Promise<Source> {
  const env = given.env ?? process.env
  const price = (name: string): Promise<Price | undefined> =>
    priceOf(name, { ...(given.prices && { table: given.prices }), at: new Date() })
  if (policyFile(spec) !== undefined)
    throw new ConfigError(`${spec} writes edits and answers nothing else; give it as the evolver (--evolver ${spec})`)
  if (typeof spec === 'string') {
    const found = await resolveModel(spec, { env, baseUrl: given.baseUrl, onWarning })
    return {
      name: found.name,
      model: found,
      languageModel: found.languageModel ?? spoken(found),
      ...(found.tokenizer && { tokenizer: found.tokenizer }),
      price: await price(found.name),
      [Symbol.asyncDispose]: async () => found[Symbol.asyncDispose]?.(),
    }
  }
  const model: Model = 'sample' in spec ? spec : languageModel(spec, { onWarning })
  const lm: LanguageModel = 'sample' in spec ? spoken(spec) : spec
  return { name: model.name, model, languageModel: lm, price: await price(model.name), async [Symbol.asyncDispose]() {} }
}

/** A model of this process, which costs nothing and is somebody else's to dispose of. */
function sourceIn(model: Model): Source {
  return { name: model.name, model, languageModel: spoken(model), price: unpriced, async [Symbol.asyncDispose]() {} }
}

async function ownTask(given: EvolveOptions, settings: Settings): Promise<Task<Example, unknown, unknown>> {
  if (typeof given.task !== 'function' || !('score' in given))
    throw new ConfigError('a task function needs a score function beside it')
  if (given.data === undefined) throw new ConfigError('no data is given; name a file (.jsonl, .csv, .parquet) or give rows')
  const { parseContext } = await import('./settings.ts')
  const { context, rules } = parseContext(given.context)
  const { fractions, groupBy, score, task, name = 'task' } = given
  const split = { seed: settings.seed, ...(fractions && { fractions }), ...(groupBy !== undefined && { groupBy }) }
  const splits = await loadSplits(given.data, split)
  return functionTask({ name, context, rules, splits, task: task as never, score }) as Task<Example, unknown, unknown>
  // as: the context has the parts the function was typed for; the meter hands it the kind of model it wants
}

async function readyTask(given: EvolveOptions): Promise<Task<Example, unknown, unknown>> {
  const task: unknown = await given.task
  if (typeof task !== 'object' || task === null || !('run' in task) || !('examples' in task)) {
    throw new ConfigError('task is neither a function nor a task; write one as in docs/guide/write-a-task.md')
  }
  const ready = task as Task<Example, unknown, unknown> // has a task's verbs
  if (given.context === undefined) return ready
  const { parseContext } = await import('./settings.ts')
  const { context, rules } = parseContext(given.context)
  const { name, ownCost } = ready
  return {
    name,
    seed: context,
    rules: { ...ready.rules, ...rules },
    ...(ownCost !== undefined && { ownCost: typeof ownCost === 'function' ? ownCost.bind(ready) : ownCost }),
    examples: (split) => ready.examples(split),
    run: (call) => ready.run(call),
    score: (output, example, judge) => ready.score(output, example, judge),
    show: (example, output) => ready.show(example, output),
    [Symbol.asyncDispose]: () => disposeTask(ready),
  } as Task<Example, unknown, unknown> & AsyncDisposable // as: a task, and what it holds
}

async function disposeTask(task: object): Promise<void> {
  if (Symbol.asyncDispose in task) await (task as AsyncDisposable)[Symbol.asyncDispose]()
}

function functionEvolver(write: EditFunction, { writer }: Settings): Evolver {
  if (writer !== undefined)
    throw new ConfigError(`writer "${writer}" is how a model is asked, and the evolver is a function; leave writer out`)
  return { name: 'function', propose: async (o, call) => write(o, call) }
}

/** How a model is asked for edits: as the user says, as the method does, or as LSE does. */
async function modelEvolver(
  method: Method,
  { template, writer }: Settings,
  task: Task<Example, unknown, unknown>,
): Promise<Evolver> {
  const own = template === undefined ? {} : { template }
  if (writer === 'lines') {
    refuseLines(method, task)
    const { lineEdits } = await import('./methods/line-edits.ts')
    return evolver(lineEdits(own))
  }
  if (method.evolver) {
    const said = template === undefined ? writer && `writer "${writer}"` : 'a template of your own'
    if (said)
      throw new ConfigError(
        `${said} can't be used: method "${method.name}" asks for edits in its own way; take lse, chain or best`,
      )
    return method.evolver
  }
  const { lseWriter } = await import('./methods/lse.ts')
  return evolver(lseWriter(own))
}

/** @throws {ConfigError} where line edits would all be invalid, or would not be the method any more. */
function refuseLines(method: Method, { name, seed, rules = {} }: Task<Example, unknown, unknown>): void {
  const refuse = (why: string): never => {
    throw new ConfigError(`writer "lines" can't be used: ${why}, or leave writer out`)
  }
  if (method.evolver) refuse(`method "${method.name}" asks for edits in its own way; take lse, chain or best`)
  const [part, ...others] = editable(seed, rules)
  if (part === undefined) return
  if (others.length > 0)
    refuse(`it changes one text, and task "${name}" has ${[part, ...others].join(', ')}; freeze all parts but one`)
  const text = seed[part]
  if (typeof text !== 'string') refuse(`part "${part}" of task "${name}" is a list of examples; give it a text`)
  else if (text.includes(regionStart))
    refuse(`it writes at the end of a text, and part "${part}" may change between ${regionStart} marks only; take the marks out`)
}

const noModel: Model = {
  name: 'none',
  sample: () => Promise.reject(new ConfigError('the evolver is a function and has no model; give `evolver` a model to ask one')),
}

/** @throws {ConfigError} if a dollar budget is set and a price is not known: it could not be kept. */
export function refuseUnpriced(usd: number | undefined, sources: readonly Source[]): void {
  const stray = sources.find((s) => s.price === undefined)
  if (usd === undefined || !stray) return
  throw new ConfigError(
    `the price of ${stray.name} is not known, so a budget of $${usd} can't be kept; give it in \`prices\` (US dollars per million tokens: { "${stray.name}": { input, output } }), or budget calls or tokens`,
  )
}

function hashesOf(task: Task<Example, unknown, unknown>): Readonly<Record<string, string>> {
  const of = (split: Split): [string, string] => [
    split,
    sha(
      task
        .examples(split)
        .map((e) => JSON.stringify(e))
        .join('\n'),
    ),
  ]
  return {
    ...Object.fromEntries(splitNames.map(of)),
    context: sha(JSON.stringify(task.seed)),
    rules: sha(JSON.stringify(task.rules ?? {})),
  }
}

/** Settings of the search that no option of the core holds, but that make a run another run. */
function searchHashes({ settings = '{}' }: Method, { copies, template = 'default' }: Settings): Readonly<Record<string, string>> {
  return { copies, template: sha(template), 'method settings': sha(settings) }
}

/** 128 bits of SHA-256 as hex. */
export function sha(text: string): string {
  return digest('sha256', text).slice(0, 32)
}

/**
 * Problems that a selection uses at most; where there are so many, half are kept back to confirm the best on. Source of this and the
 * numbers below: benchmarks/scoring.ts, docs/guide/read-a-report.md.
 */
const selected = 200
/** Rollouts that a holdout score should rest on. */
const enough = 100
/** Generations of the seed, and the problems below which they do not show how noisy answers are. */
const probe = { generations: 2, from: 25 }
/** Most probable share of edits wrongly cut short; rollouts between two looks, or as many as are in flight at once. */
const racing = { alpha: 0.2, block: 25 }
/** Nodes beyond which shrinkage, whose time grows with their cube, is not chosen by itself. */
const mostShrunk = 1000

interface Makers {
  readonly act: Source
  readonly evolve: Source | undefined
  readonly method: Method
  readonly writer: Evolver
}

function optionsOf(task: Task<Example, unknown, unknown>, settings: Settings, { act, evolve, method, writer }: Makers): Options {
  const ids = (split: Split): readonly string[] => task.examples(split).map((e) => e.id)
  const all = splitNames.flatMap(ids)
  const twice = all.length === new Set(all).size ? undefined : all.find((id, i) => all.indexOf(id) !== i)
  if (twice !== undefined)
    throw new ConfigError(`two examples of task "${task.name}" have the id "${twice}"; ids must be unique over all splits`)
  for (const split of ['train', 'holdout', 'test'] as const) {
    if (ids(split).length === 0) throw new ConfigError(`the ${split} split of task "${task.name}" is empty; give it examples`)
  }
  const paper = settings.protocol === 'paper'
  const order = shuffle(ids('holdout'), rng(settings.seed, 'holdout'))
  const keepBack = !paper && settings.choice !== 'mean' && settings.choice !== 'shrink' && order.length >= selected
  const holdout = order.slice(0, paper ? 50 : keepBack ? selected / 2 : selected)
  const confirm = keepBack ? order.slice(selected / 2, selected) : []
  if (settings.choice === 'confirm' && confirm.length === 0) {
    throw new ConfigError(`choice "confirm" needs ${selected} holdout problems, there are ${order.length}; leave choice out`)
  }
  const look = (split: 'test' | 'ood'): readonly string[] =>
    ids(split).length <= settings.testSize
      ? ids(split)
      : shuffle(ids(split), rng(settings.seed, split)).slice(0, settings.testSize)
  const test = look('test')
  const isSmall = !paper && holdout.length < enough
  const rounds = settings.rounds ?? (isSmall ? 30 : 25)
  const choice = settings.choice ?? (confirm.length ? 'confirm' : isSmall && rounds <= mostShrunk ? 'shrink' : 'mean')
  const measures = settings.draws === undefined && !paper && holdout.length >= probe.from
  const batch = settings.batch ?? method.batch ?? 10
  return {
    seed: settings.seed,
    context: task.seed,
    rules: task.rules ?? {},
    splits: { train: ids('train'), holdout, confirm, test, ood: look('ood') },
    rounds,
    inFlight: settings.inFlight,
    batch,
    batches: settings.batches,
    draws: settings.draws ?? (paper ? 8 : Math.ceil(enough / holdout.length)),
    ...(measures && { probe: probe.generations }),
    ...((settings.racing ?? !paper) && { racing: { ...racing, block: Math.max(racing.block, settings.concurrency) } }),
    testDraws: settings.testDraws ?? (test.length >= 150 ? 1 : Math.min(4, Math.ceil(200 / test.length))),
    patience: settings.stop.after ?? 0,
    budget: settings.budget as Budget, // zod's optional fields carry undefined in their types, never in the value
    reference: settings.reference,
    folds: settings.folds,
    choice,
    assumed: assumedCost(task, batch, { act, evolve, calls: writer.calls?.(batch) ?? 1 }),
  }
}

/** Tokens an answer and an edit are assumed to have until some were seen. */
const assumedAnswer = 300
const assumedEdit = 1500

function assumedCost(
  task: Task<Example, unknown, unknown>,
  batch: number,
  { act, evolve, calls }: Pick<Makers, 'act' | 'evolve'> & { readonly calls: number },
): { readonly rollout: Cost; readonly proposal: Cost } {
  const some = task.examples('train').slice(0, 50)
  const question = some.reduce((sum, e) => sum + roughTokenizer.count(task.show(e, undefined).question), 0) / some.length
  const context = roughTokenizer.count(contextText(task.seed))
  const cost = (input: number, output: number, price: Price | undefined): Cost => {
    const usage = { input: Math.ceil(input), cached: 0, output, reasoning: 0 }
    return { calls: 1, tokens: usage.input + output, usd: price?.(usage) ?? 0 }
  }
  const asked = 1000 + context * 2 + batch * (question + assumedAnswer + 60)
  return {
    rollout: cost(context + question + 32, assumedAnswer, act.price),
    proposal: evolve ? scaleCost(cost(asked, assumedEdit, evolve.price), calls) : noCost,
  }
}
