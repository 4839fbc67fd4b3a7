// Finch as a suite: companies that no policy was trained on, each method with the same evolvers. A row is a search strategy and a policy:
// what a published method's own prompts would do is for models to show, not for Finch. The landmarks are always there.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError, EngineError } from '../core/errors.ts'
import { type Evolver, evolver } from '../core/evolver.ts'
import type { Method } from '../core/method.ts'
import type { Model } from '../core/model.ts'
import type { JaxEngine } from '../engines/jax/jax-engine.ts'
import type { ModelSpec } from '../options.ts'
import { demonstrator, finchWriter, perfectEditor } from '../recipes/finch.ts'
import { finchEngine, finchGrammar, policyParams, warmStartFile } from '../recipes/finch-policy.ts'
import {
  type AdvantageName,
  endsOf,
  readFacts,
  type TrainFinchFact,
  type TrainFinchOptions,
  trainFinch,
  trainFinchDefaults,
} from '../recipes/train-finch.ts'
import { finchActor } from '../tasks/finch/actor.ts'
import { createCompany } from '../tasks/finch/company.ts'
import { finchHash } from '../tasks/finch/hash.ts'
import { type ActorName, part } from '../tasks/finch/parameters.ts'
import { expectedScore } from '../tasks/finch/reward.ts'
import { companiesIn } from '../tasks/finch/sets.ts'
import { finchTask } from '../tasks/finch/task.ts'
import { type Arm, armOf } from './arms.ts'
import type { Entrant, Opened, Suite, Track } from './suite.ts'
import { nameOf } from './suites.ts'

/** Stands with every number of Finch. */
export const finchCaption = 'in Finch (simulated)'

/** What is raced in Finch. */
export interface FinchSuiteOptions {
  readonly arms: readonly Arm[]
  /** Policies beside the untrained one: each with every arm. */
  readonly policies: readonly { readonly name: string; readonly checkpoint: string }[]
  /** Policies that are raced with LSE only. */
  readonly beside?: readonly { readonly name: string; readonly checkpoint: string }[]
  /** In place of policies: each arm with its method's own prompts and this model. */
  readonly evolver?: ModelSpec
  /** Of an openai-compatible `evolver`. */
  readonly baseUrl?: string
  readonly companies: number
  readonly actor?: ActorName
  /** What the name ends with, so that runs of different races stand apart. */
  readonly variant?: string
}

/** Strategies that are nothing but a search: their names say all. */
const plain = ['lse', 'chain', 'best', 'best-of-n']

/** @throws {ConfigError} for a method that is not there, or a checkpoint that does not fit. */
export async function finchSuite(options: FinchSuiteOptions): Promise<Suite> {
  const { arms, policies, beside = [], evolver: llm, baseUrl, companies, actor = 'finch-actor', variant } = options
  await using engines = new AsyncDisposableStack()
  let engine: JaxEngine | undefined // one thread for all policies: while it draws, calls gather
  const weights = new Map<string, string>()
  const policyOf = async (checkpoint: string): Promise<Model> => {
    engine ??= engines.use(await finchEngine({ workers: 1 }))
    const model = await engine.policyAt(checkpoint, { grammar: finchGrammar() }).catch((cause: unknown) => {
      throw cause instanceof EngineError
        ? new ConfigError(`${cause.message}; give a file that lamarck train made`, { cause })
        : cause
    })
    weights.set(checkpoint, model.name)
    return model
  }
  const untrained = { name: 'untrained', checkpoint: warmStartFile }
  const entrants: Entrant[] = []
  const add = (name: string, method: Method, evolves: Evolver | ((track: Track) => Evolver), by?: Model): void => {
    const enter: Entrant['enter'] = async (track) => ({
      model: finchActor(actor),
      method: { ...method, evolver: typeof evolves === 'function' ? evolves(track) : evolves },
      ...(by && { evolver: by }),
    })
    entrants.push({ name, enter })
  }
  const asks = evolver(finchWriter(), { params: policyParams, tries: 1 })
  const methods = await Promise.all(arms.map(async (arm) => ({ name: arm.name, method: await arm.method() })))
  if (llm === undefined) {
    for (const { name: policy, checkpoint } of [untrained, ...policies]) {
      const model = await policyOf(checkpoint)
      for (const { name, method } of methods) add(`${labelOf(name)}, ${policy}`, method, asks, model)
    }
  } else {
    for (const { name, method } of methods) {
      const enter = async () => ({ model: finchActor(actor), method, evolver: llm, ...(baseUrl !== undefined && { baseUrl }) })
      entrants.push({ name, enter })
    }
  }
  const lse = await armOf('lse').method()
  for (const { name, checkpoint } of beside) add(`lse, ${name}`, lse, asks, await policyOf(checkpoint))
  const all = companiesIn('report', companies, 1)
  const perfect = new Map<string, Evolver>()
  add('lse, demonstrator', lse, demonstrator())
  add('lse, perfect editor', lse, ({ name }) => {
    const found = perfect.get(name) ?? perfectEditor(all[tracks.findIndex((track) => track.name === name)]!, { actor })
    perfect.set(name, found)
    return found
  })
  const tracks = all.map((of): Track => {
    using company = createCompany(of)
    const { low, high } = endsOf(company, actor)
    return { name: company.name, group: of.domain, way: high - low, open: async () => opened(of, actor) }
  })
  const kept = engines.move()
  return {
    name: variant === undefined ? 'finch' : `finch-${variant}`,
    caption: finchCaption,
    tracks,
    entrants,
    ...pairsOf(
      methods.map((m) => m.name),
      { llm, policies: policies.map((p) => p.name), beside: beside.map((p) => p.name) },
    ),
    shared: { draws: 1, testDraws: 1, choice: 'mean', folds: 0, racing: false },
    calls: finchCalls,
    isShort: true,
    settings: {
      finch: finchHash(),
      set: 'report',
      companies,
      actor,
      ...(llm === undefined
        ? { policies: [untrained, ...policies, ...beside].map((policy) => nameOnly(policy, weights)) }
        : { evolver: nameOf(llm) }),
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

/** Strategies with one policy, then policies with one strategy. */
function pairsOf(
  [first = '', ...arms]: readonly string[],
  { llm, policies, beside }: { readonly llm: unknown; readonly policies: readonly string[]; readonly beside: readonly string[] },
): Pick<Suite, 'pairs'> {
  if (llm !== undefined) return {}
  const row = (arm: string, policy: string): string => `${labelOf(arm)}, ${policy}`
  const strategies = ['untrained', ...policies].flatMap((p) => arms.map((arm) => [row(arm, p), row(first, p)] as const))
  const trained = policies.map((p) => [row(first, p), row(first, 'untrained')] as const)
  const others = first === 'lse' ? policies.flatMap((p) => beside.map((b) => [row(first, p), row(first, b)] as const)) : []
  return { pairs: [...strategies, ...trained, ...others] }
}

/** What scoring the seed, ten rounds of LSE and the closing look take. */
const finchCalls = 50 + 10 * (10 + 1 + 50) + 2 * 100

function labelOf(name: string): string {
  return plain.includes(name.split(/[ ,]/)[0]!) ? name : `${name} (search)`
}

/** A checkpoint's folder is of this machine; its name says how it was trained, and its weights which one it is. */
function nameOnly(
  { name, checkpoint }: { readonly name: string; readonly checkpoint: string },
  weights: ReadonlyMap<string, string>,
): string {
  if (checkpoint === warmStartFile) return `${name}: the warm start`
  return `${name}: ${checkpoint.split(/[\\/]/).slice(-2).join('/')} ${weights.get(checkpoint) ?? ''}`.trim()
}

async function opened(of: ReturnType<typeof companiesIn>[number], actor: ActorName): Promise<Opened> {
  const task = finchTask(of)
  const company = createCompany(of)
  return {
    config: { task },
    truth: (context) => expectedScore(company, String(context[part]), { split: 'test', actor }),
    async [Symbol.asyncDispose]() {
      company[Symbol.dispose]()
      await task[Symbol.asyncDispose]()
    },
  }
}

/** Where development companies chose another learning rate than the recipe's. */
const learningRates: Partial<Record<AdvantageName, number>> = { delta: 5e-4 }

/** How policies are trained for a race. */
export interface TrainedOptions extends Pick<TrainFinchOptions, 'seed' | 'steps'> {
  /** Where policies are kept. */
  readonly folder: string
  readonly signal?: AbortSignal
  readonly onFact?: (advantage: AdvantageName, fact: TrainFinchFact) => void
}

/** Policies trained by these rewards, side by side, a thread each; those that are there are taken as they are. Resolves to checkpoints. */
export function trainedPolicies(
  advantages: readonly AdvantageName[],
  { folder, signal, onFact = () => {}, ...given }: TrainedOptions,
): Promise<readonly string[]> {
  const { seed, steps } = { ...trainFinchDefaults, ...given }
  return Promise.all(
    advantages.map(async (advantage) => {
      const learningRate = learningRates[advantage] ?? trainFinchDefaults.learningRate
      const at = join(folder, `${advantage}-${learningRate}-${steps}-s${seed}-${finchHash().slice(0, 8)}`)
      const policy = join(at, 'policy.safetensors')
      if (readFacts(join(at, 'facts.jsonl')).at(-1)?.kind === 'ended' && existsSync(policy)) return policy
      await using engine = await finchEngine({ folder: at, workers: 1 })
      await engine.load(warmStartFile)
      const settings = { seed, steps, learningRate, advantage, ...(signal && { signal }) }
      for await (const fact of trainFinch(engine, at, settings)) onFact(advantage, fact)
      return policy
    }),
  )
}
