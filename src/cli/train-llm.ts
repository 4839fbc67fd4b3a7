// lamarck train estimate | collect | run: what training an LLM's policy will take, its trees, and the training over the Tinker API.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Metrics } from '../core/engine.ts'
import { ConfigError } from '../core/errors.ts'
import { evolveParams } from '../core/evolver.ts'
import { defaultStore, openStore } from '../evolve.ts'
import { gauges } from '../models/gauges.ts'
import { type Source, sourceOf } from '../prepare.ts'
import { birdQwen3 } from '../recipes/bird-qwen3-4b.ts'
import { assumed, estimateLlm, type LlmEstimate, type LlmRecipe } from '../recipes/llm-recipe.ts'
import { mmluQwen3 } from '../recipes/mmlu-qwen3-4b.ts'
import { collect, type LlmPorts, type TrainLlmFact, trainLlm } from '../recipes/train-llm.ts'
import { onSignal } from './follow.ts'
import { mlflow } from './mlflow.ts'
import { table } from './table.ts'
import { type CommonFlags, terminal } from './terminal.ts'
import { count, wholeNumber } from './words.ts'

export type LlmCommand = 'estimate' | 'collect' | 'run'

export interface TrainLlmFlags extends CommonFlags {
  readonly recipe?: string
  readonly data?: string
  readonly out?: string
  readonly store?: string
  readonly seed?: number
  readonly json?: boolean
  /** Of the recipe, smaller. */
  readonly runs?: number
  readonly rounds?: number
  readonly draws?: number
  readonly states?: number
  readonly rollouts?: number
  readonly passes?: number
  readonly editTokens?: number
  readonly learningRate?: number
  readonly every?: number
  readonly tasks?: readonly string[]
  readonly devTasks?: readonly string[]
  readonly steps?: number
  readonly oneStepOff?: boolean
  readonly fromStep?: number
  /** The action model, and who grows the trees. */
  readonly model?: string
  readonly baseUrl?: string
  readonly evolver?: string
  readonly evolverUrl?: string
  readonly concurrency?: number
  readonly parallel?: number
  /** The server that trains. */
  readonly engine?: string
  readonly url?: string
  readonly base?: string
  readonly tokenizer?: string
  readonly rank?: number
  readonly context?: number
  readonly microBatch?: number
  readonly untrained?: boolean
  /** Assumed by the estimate: tokens a second of one GPU. */
  readonly prefill?: number
  readonly decode?: number
}

export const recipes: Readonly<Record<string, LlmRecipe>> = { [birdQwen3.name]: birdQwen3, [mmluQwen3.name]: mmluQwen3 }

/** The LoRA that a training leaves in its folder, as the server packed it. */
export const adapterFile = 'adapter.tar.gz'

/** Resolves to the exit code. */
export async function trainLlmCommand(what: LlmCommand, flags: TrainLlmFlags): Promise<number> {
  const recipe = recipeOf(flags)
  if (flags.seed !== undefined && !Number.isInteger(flags.seed))
    throw new ConfigError(`seed is ${flags.seed}: give a whole number`)
  if (what === 'estimate') return estimated(recipe, flags)
  const { out: folder = join('.lamarck', recipe.name) } = flags
  const { warn } = terminal(flags)
  const stop = new AbortController()
  using _ = onSignal((again) => (again ? process.exit(130) : stop.abort(new Error('interrupted'))))
  const data = needed(flags.data, "where is the recipe's data? --data FOLDER")
  const model = needed(flags.model, 'who answers the problems? --model openai-compatible:NAME --base-url URL')
  await using action = await source(model, flags.baseUrl)
  await using store = await openStore(flags.store ?? defaultStore)
  const { seed = 1, concurrency } = flags
  const ports: LlmPorts = {
    ...{ recipe, data, folder, store, seed, action: action.model, signal: stop.signal },
    ...(concurrency !== undefined && { concurrency }),
  }
  try {
    return await (what === 'collect' ? collected(ports, action, flags) : trained(ports, flags))
  } catch (error) {
    if (!stop.signal.aborted) throw error
    warn(`interrupted; the same command goes on with what is in ${folder}`)
    return 130
  }
}

/** The recipe with what the flags change. @throws {ConfigError} on an unknown one, or a number that can't be. */
function recipeOf(flags: TrainLlmFlags): LlmRecipe {
  const have = Object.keys(recipes).join(', ')
  const name = needed(flags.recipe, `which recipe? --recipe NAME (have: ${have})`)
  const recipe = Object.hasOwn(recipes, name) ? recipes[name] : undefined
  if (!recipe) throw new ConfigError(`unknown recipe "${name}" (have: ${have})`)
  const given = <K extends keyof TrainLlmFlags>(flag: K, to: string): Readonly<Record<string, number>> => {
    const value = flags[flag]
    if (value === undefined) return {}
    if (flag !== 'learningRate') return { [to]: wholeNumber(flag, Number(value)) }
    if (!(Number(value) > 0)) throw new ConfigError(`${flag} is ${value}: give a number above 0`)
    return { [to]: Number(value) }
  }
  for (const flag of ['steps', 'concurrency', 'parallel', 'rank', 'context', 'microBatch', 'prefill', 'decode'] as const)
    given(flag, flag)
  const { tasks, devTasks } = flags
  return {
    ...recipe,
    trees: { ...recipe.trees, ...given('runs', 'runs'), ...given('rounds', 'rounds'), ...given('draws', 'draws') },
    train: {
      ...recipe.train,
      ...{ ...given('states', 'states'), ...given('rollouts', 'rollouts'), ...given('passes', 'passes') },
      ...{ ...given('editTokens', 'maxTokens'), ...given('learningRate', 'learningRate'), ...given('every', 'every') },
    },
    async tasks(data) {
      const all = await recipe.tasks(data)
      return { ...all, ...(tasks && { train: tasks }), ...(devTasks && { dev: devTasks }) }
    },
  }
}

function needed<T>(value: T | undefined, question: string): T {
  if (value === undefined) throw new ConfigError(question)
  return value
}

function source(spec: string, baseUrl: string | undefined): Promise<Source> {
  return sourceOf(spec, { env: process.env, ...(baseUrl !== undefined && { baseUrl }) })
}

/** Dev tasks that a recipe has where its data is not there to be counted. */
const usualDev = 5

async function estimated(recipe: LlmRecipe, flags: TrainLlmFlags): Promise<number> {
  const dev = flags.data === undefined ? (flags.devTasks?.length ?? usualDev) : (await recipe.tasks(flags.data)).dev.length
  const use = { ...assumed, ...(flags.prefill && { prefill: flags.prefill }), ...(flags.decode && { decode: flags.decode }) }
  const found = estimateLlm(recipe, { dev, use })
  terminal(flags).out(flags.json ? JSON.stringify(found) : estimateText(recipe, found, use))
  return 0
}

function estimateText(recipe: LlmRecipe, { states, steps, parts, total }: LlmEstimate, use: typeof assumed): string {
  const millions = (n: number): string => count(n / 1e6)
  const rows = [...parts, total].map(({ name, calls, input, output, trained, gpuHours, usd }) => [
    ...[name, count(calls), millions(input), millions(output), millions(trained), count(gpuHours), `$${count(usd)}`],
  ])
  const { rollout, edit } = recipe.assumed
  const { usd } = use
  return [
    `${recipe.name}: ${count(states)} states, ${count(steps)} steps of ${recipe.train.states} states × ${recipe.train.rollouts} edits`,
    '',
    table([['', 'calls', 'M tokens in', 'M out', 'M trained', 'GPU hours', 'hosted'], ...rows], [1, 2, 3, 4, 5, 6]),
    '',
    `assumed: an answer reads ${count(rollout.input)} tokens and writes ${count(rollout.output)}, an edit ${count(edit.input)} and ${count(edit.output)};`,
    `one GPU reads ${count(use.prefill)} tokens a second and writes ${count(use.decode)} (--prefill, --decode); nothing of a prompt is cached;`,
    `hosted Tinker asks $${usd.prefill}, $${usd.sample} and $${usd.train} per million tokens read, written and trained`,
  ].join('\n')
}

async function collected(ports: LlmPorts, action: Source, flags: TrainLlmFlags): Promise<number> {
  const { say, out } = terminal(flags)
  await using own = flags.evolver === undefined ? undefined : await source(flags.evolver, flags.evolverUrl ?? flags.baseUrl)
  const { parallel, editTokens } = flags
  const params = { ...evolveParams, ...(editTokens !== undefined && { maxTokens: editTokens }) }
  let n = 0
  const trees = collect(ports, { policy: (own ?? action).model, params, ...(parallel !== undefined && { parallel }) })
  for await (const tree of trees) {
    n++
    if (flags.json) out(JSON.stringify(tree))
    else {
      const how = `${tree.nodes} nodes, best ${(100 * tree.best).toFixed(1)} %${tree.isOld ? ', was there' : ''}`
      say(`tree ${n}/${ports.recipe.trees.runs}  ${tree.task}  ${how}`)
    }
  }
  if (!flags.json) out(`${n} trees; next: lamarck train run --recipe ${ports.recipe.name}`)
  return 0
}

/** 3 if no checkpoint beats the first on dev, 5 if it ended early. */
async function trained(ports: LlmPorts, flags: TrainLlmFlags): Promise<number> {
  const { say, out, warn } = terminal(flags)
  const { engine: name = 'tinker', url, base, rank, context, microBatch, steps, untrained, fromStep } = flags
  if (name !== 'tinker')
    throw new ConfigError(
      `a recipe of a language model is trained with --engine tinker, not "${name}" (lamarck train without "run" has jax)`,
    )
  if (fromStep !== undefined) wholeNumber('fromStep', fromStep, { least: 0 })
  const server = needed(url, 'where is the server of the Tinker API? --url URL (a key is read from TINKER_API_KEY)')
  const folder = needed(flags.tokenizer, `where are the model's tokenizer.json and tokenizer_config.json? --tokenizer FOLDER`)
  const { chatTokenizer } = await import('../engines/tinker/chat-tokenizer.ts')
  const { tinkerEngine } = await import('../engines/tinker/tinker-engine.ts')
  await using engine = await tinkerEngine({
    ...{
      url: server,
      key: process.env.TINKER_API_KEY,
      tokenizer: await chatTokenizer(folder),
      model: base,
      context,
      seed: ports.seed,
    },
    ...(rank !== undefined && { rank }),
    ...(microBatch !== undefined && { multiple: microBatch }),
    ...(untrained && { isPretrained: false }),
    ...(ports.signal && { signal: ports.signal }),
  })
  mkdirSync(ports.folder, { recursive: true })
  const { recipe, seed, action } = ports
  const params = { recipe: recipe.name, seed, action: action.name, base: base ?? '', ...recipe.train }
  const tracked = await mlflow({ env: process.env, folder: ports.folder, name: recipe.name, params })
  const record = gauges('lamarck.train')
  let code = 0
  for await (const fact of trainLlm(ports, {
    engine,
    ...(steps !== undefined && { maxSteps: steps }),
    lag: flags.oneStepOff ? 1 : 0,
    ...(fromStep !== undefined && { from: fromStep }),
  })) {
    if (flags.json) out(JSON.stringify(fact))
    else for (const line of factLines(fact)) say(line)
    const values = numbersOf(fact)
    await record(values, { recipe: recipe.name })
    if ('step' in fact) await tracked?.log(fact.step, values)
    if (fact.kind !== 'ended') continue
    if (fact.why !== 'done') warn(`ended early: ${fact.detail ?? fact.why}`)
    code = fact.why !== 'done' ? 5 : fact.best.step === 0 ? 3 : 0
    await tracked?.end(fact.why === 'done' ? 'FINISHED' : 'FAILED')
    await engine.load(fact.best.checkpoint)
    writeFileSync(join(ports.folder, adapterFile), await engine.adapter('best'))
  }
  if (existsSync(join(ports.folder, adapterFile)) && !flags.json) out(`next: lamarck policy export ${ports.folder} --out FOLDER`)
  return code
}

/** The numbers of a fact, by names that meters and MLflow take. */
export function numbersOf(fact: TrainLlmFact): Metrics {
  switch (fact.kind) {
    case 'step': {
      const engine = Object.entries(fact.engine).map(([name, value]) => [`engine.${name}`, value] as const)
      return finite({ ...fact.metrics, ...Object.fromEntries(engine) })
    }
    case 'timed': {
      const { kind: _, step: __, ...times } = fact
      return finite(times)
    }
    case 'grown':
      return finite({ states: fact.states, 'grown.before': fact.before, 'grown.invalid': fact.invalid })
    case 'looked':
      return { dev: fact.dev }
    default:
      return {}
  }
}

function finite(values: Metrics): Metrics {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => Number.isFinite(value)))
}

/** What is printed of a fact. */
export function factLines(fact: TrainLlmFact): readonly string[] {
  const share = (x = Number.NaN): string => (Number.isNaN(x) ? '–' : `${(100 * x).toFixed(1)} %`)
  const signed = (x = 0): string => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(3)}`
  switch (fact.kind) {
    case 'set': {
      const { recipe, action, seed } = fact.settings
      return [`${recipe}: rewards by ${action}, seed ${seed}`]
    }
    case 'grown':
      return [`${fact.states} states to learn from, mean score ${fact.before.toFixed(3)}; invalid edits ${share(fact.invalid)}`]
    case 'began':
      return [`${fact.steps} steps`]
    case 'step': {
      const { reward, rewardDeviation, invalid, before, after, entropy, tokensPerEdit = 0 } = fact.metrics
      const { ratio, clipped, kl, norm } = fact.engine
      const rest = [
        `before ${share(before)}${after === undefined ? '' : ` after ${share(after)}`}`,
        `invalid ${share(invalid)}`,
        `${tokensPerEdit.toFixed(0)} tokens an edit`,
        ...(entropy === undefined ? [] : [`entropy ${entropy.toFixed(2)}`]),
        ...(ratio === undefined ? [] : [`ratio ${ratio.toFixed(3)}`]),
        ...(clipped === undefined ? [] : [`clipped ${share(clipped)}`]),
        ...(kl === undefined ? [] : [`kl ${kl.toFixed(4)}`]),
        ...(norm === undefined ? [] : [`norm ${norm.toFixed(3)}`]),
      ]
      return [`step ${fact.step}  reward ${signed(reward)} ± ${(rewardDeviation ?? 0).toFixed(3)}  ${rest.join('  ')}`]
    }
    case 'timed': {
      const { seconds, sampling, reward, training, tokensPerSecond } = fact
      const of = (part: number): string => `${((100 * part) / seconds).toFixed(0)} %`
      const shares = `sampling ${of(sampling)}, rewards ${of(reward)}, training ${of(training)}`
      return [`  ${seconds.toFixed(1)} s: ${shares} of the time; ${tokensPerSecond.toFixed(0)} tokens/s`]
    }
    case 'looked':
      return [`  dev ${share(fact.dev)} after step ${fact.step}${fact.isBest ? ' (best)' : ''}`]
    case 'ended':
      return [`the best checkpoint is of step ${fact.best.step}`]
  }
}
