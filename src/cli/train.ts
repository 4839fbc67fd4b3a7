// lamarck train: the embedded policy learns by LSE in Finch, from its warm start, on this machine alone.
import { join } from 'node:path'
import type { Metrics } from '../core/engine.ts'
import { ConfigError, EngineError } from '../core/errors.ts'
import { mean } from '../core/score.ts'
import { finchEngine, warmStartFile } from '../recipes/finch-policy.ts'
import {
  type AdvantageName,
  advantageNames,
  readFacts,
  type TrainFinchFact,
  type TrainFinchOptions,
  trainFinch,
} from '../recipes/train-finch.ts'
import { formats } from '../tasks/finch/editors.ts'
import { type RewardName, rewards } from '../tasks/finch/reward.ts'
import { orders } from '../train/curriculum.ts'
import { curve } from './curve.ts'
import { onSignal } from './follow.ts'
import { type CommonFlags, terminal } from './terminal.ts'
import { clock, wholeNumber } from './words.ts'

export interface TrainFlags extends CommonFlags {
  readonly steps?: number
  readonly seed?: number
  readonly reward?: string
  readonly advantage?: string
  readonly learningRate?: number
  readonly entropy?: number
  readonly writer?: string
  readonly states?: number
  readonly rollouts?: number
  readonly order?: string
  readonly refresh?: number
  readonly oneStepOff?: boolean
  readonly engine?: string
  readonly workers?: number
  readonly from?: string
  readonly out?: string
  readonly json?: boolean
}

/** More threads than any machine has cores for a policy this small. */
const mostWorkers = 256
/** All edits of a step are in memory at once. */
const mostRollouts = 1000

/** Trains, or goes on with what is in the folder. Resolves to the exit code: 3 if no checkpoint beats the first on dev. */
export async function trainCommand(flags: TrainFlags): Promise<number> {
  const { out: folder = join('.lamarck', 'train'), from = warmStartFile, json = false } = flags
  const { say, out, warn, paint } = terminal(flags)
  const options = optionsOf(flags)
  const workers = count('workers', flags.workers, mostWorkers)
  const stop = new AbortController()
  using _ = onSignal((again) => (again ? process.exit(130) : stop.abort(new Error('interrupted'))))
  const lines = progress()
  const file = join(folder, 'facts.jsonl')
  const past = readFacts(file)
  await using engine = await finchEngine({ folder, ...workers })
  await engine.load(from).catch((cause: unknown) => {
    throw cause instanceof EngineError ? new ConfigError(`${cause.message}; give another file (--from)`, { cause }) : cause
  })
  const last = past.findLast((fact) => fact.kind === 'looked')
  for (const fact of last && !json ? past : []) if (fact.kind === 'began' || fact.kind === 'set') lines(fact).forEach(say)
  if (last && !json) say(`going on after step ${last.step}, with what is in ${folder}`)
  let code = 0
  try {
    for await (const fact of trainFinch(engine, folder, { ...options, signal: stop.signal })) {
      if (json) out(JSON.stringify(fact))
      const isEarly = fact.kind === 'ended' && fact.why !== 'done'
      if (isEarly || !json) for (const line of lines(fact, Date.now() / 1000)) (isEarly ? warn : say)(line)
      if (fact.kind === 'ended') code = isEarly ? 5 : fact.best.step === 0 ? 3 : 0
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error
    warn(`interrupted; the same command goes on from the last checkpoint in ${folder}`)
    return 130
  }
  for (const line of json ? [] : rewardCurve(readFacts(file))) say(line)
  if (!json) out(paint('bold', `the best policy is ${join(folder, 'policy.safetensors')}`))
  return code
}

/** What the flags say of the training. @throws {ConfigError} on the first that can't be. */
function optionsOf(flags: TrainFlags): TrainFinchOptions {
  const { seed, learningRate, entropy, writer, from } = flags
  if (learningRate !== undefined && !(learningRate > 0))
    throw new ConfigError(`the learning rate is ${learningRate}: give a number above 0`)
  if (entropy !== undefined && !(entropy >= 0)) throw new ConfigError(`entropy is ${entropy}: give a number from 0`)
  if (seed !== undefined && !Number.isInteger(seed)) throw new ConfigError(`seed is ${seed}: give a whole number`)
  named('engine', flags.engine ?? 'jax', ['jax'])
  if (writer === 'rewrite' && from === undefined)
    throw new ConfigError(
      'the shipped warm start writes changes of lines, no whole notes: npm run warm-start -- FILE --writer rewrite, then --from FILE',
    )
  return {
    ...count('steps', flags.steps),
    ...count('states', flags.states),
    ...count('rollouts', flags.rollouts, mostRollouts),
    ...count('refresh', flags.refresh),
    ...(flags.oneStepOff && { lag: 1 }),
    ...(seed !== undefined && { seed }),
    ...(learningRate !== undefined && { learningRate }),
    ...(entropy !== undefined && { entropy }),
    ...(writer !== undefined && { writer: named('writer', writer, formats) }),
    ...(flags.order !== undefined && { order: named('order', flags.order, orders) }),
    ...(flags.reward !== undefined && { reward: named<RewardName>('reward', flags.reward, rewards) }),
    ...(flags.advantage !== undefined && { advantage: named<AdvantageName>('advantage', flags.advantage, advantageNames) }),
  }
}

/** The rewards of the steps that are among the facts, as a curve. */
export function rewardCurve(facts: readonly TrainFinchFact[]): readonly string[] {
  const rewards = facts.flatMap((fact) => (fact.kind === 'step' ? (fact.metrics.reward ?? []) : []))
  if (rewards.length < 2) return []
  const label = (x: number): string => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(3)}`
  const lines = curve(rewards, { columns: Math.min(40, Math.ceil(rewards.length / 4)), rows: 5, label })
  return [`reward of an edit over ${rewards.length} steps, in Finch (simulated)`, ...lines]
}

/** Steps a line. */
const each = 10

/** What is printed of a training's facts; with the second at which each came, also the time that is left. */
export function progress(): (fact: TrainFinchFact, seconds?: number) => readonly string[] {
  let steps = 0
  let began: { readonly step: number; readonly at: number } | undefined
  let taken: Metrics[] = []
  const share = (x: number): string => (Number.isNaN(x) ? '–' : `${(100 * x).toFixed(1)} %`)
  return (fact, seconds) => {
    switch (fact.kind) {
      case 'set': {
        const { advantage, reward, writer, entropy, learningRate, lag, seed, from } = fact.settings
        const how = writer === 'rewrite' ? 'whole rewrites, ' : ''
        const bonus = entropy > 0 ? `entropy ${entropy}, ` : ''
        const off = lag === 1 ? 'one step off, ' : ''
        const line = `${how}${off}${advantage} of ${reward} rewards, ${bonus}learning rate ${learningRate}, seed ${seed}, beginning with ${from}`
        return [`training in Finch (simulated): ${line}`]
      }
      case 'grown':
        return [
          `${fact.step > 0 ? '  grown again: ' : ''}${fact.states} states to learn from, mean score ${fact.before.toFixed(3)}; invalid edits ${share(fact.invalid)}`,
        ]
      case 'began':
        steps = fact.steps
        return []
      case 'step': {
        began ??= { step: fact.step - 1, at: seconds ?? 0 }
        taken.push(fact.metrics)
        if (fact.step % each > 0) return []
        const of = (name: string): number => mean(taken.flatMap((metrics) => metrics[name] ?? []))
        const left = (((seconds ?? 0) - began.at) / (fact.step - began.step)) * (steps - fact.step)
        const reward = of('reward')
        const line = `step ${fact.step}${steps ? `/${steps}` : ''}  reward ${reward < 0 ? '−' : '+'}${Math.abs(reward).toFixed(3)}`
        const rest = `invalid ${share(of('invalid'))}  copies ${share(of('copies'))}  kept ${share(of('kept'))}  ${of('tokensPerEdit').toFixed(0)} tokens an edit`
        taken = []
        return [`${line}  ${rest}${steps && seconds !== undefined ? `  ${clock(left)} left` : ''}`]
      }
      case 'looked':
        return [`  dev ${share(fact.dev)} of the way in five rounds, after step ${fact.step}${fact.isBest ? ' (best)' : ''}`]
      case 'ended':
        return [`${fact.why === 'done' ? '' : `ended early: ${early(fact)}; `}the best checkpoint is of step ${fact.best.step}`]
    }
  }
}

type Ended = TrainFinchFact & { readonly kind: 'ended' }

/** Why, and what to do. */
function early({ why, detail = why }: Ended): string {
  return why === 'too few states' ? detail : `${detail}; train into another folder with a lower --learning-rate`
}

function count(name: string, value: number | undefined, most?: number): Readonly<Record<string, number>> {
  return value === undefined ? {} : { [name]: wholeNumber(name, value, { most }) }
}

function named<T extends string>(what: string, name: string, names: readonly T[]): T {
  const found = names.find((n) => n === name)
  if (found === undefined) throw new ConfigError(`unknown ${what} "${name}" (have: ${names.join(', ')})`)
  return found
}
