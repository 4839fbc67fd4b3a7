// LSE: trains the policy that writes edits. One step of evolution is a bandit: the state is a context and how it did, the action the next
// context, the reward the change in score. Source: arXiv:2603.18620, §3.2 and its code.
//
//   states = what the untrained policy saw in trees of its own, each prompt once
//   for each pass over the states, the most promising first:
//     for each N states:                               G rollouts of each at temperature 1
//       reward = score after − score before            invalid edit: −1
//       advantage = reward, for every token            no critic, no KL
//       PPO-clip, one step of Adam                     on-policy
//
// Deviations: none by default; baseline, scale and other rewards (advantage.ts), entropy, trees grown anew and a lag are switches.
//
// With a lag of 1 the edits of step t + 1 are drawn by the policy before step t's Adam, while step t is rewarded and trained:
//     draw t + 1 ∥ reward t, gradient of t    then Adam, once all of t + 1 is drawn    ∥ reward t + 1, draw t + 2, …
// The loss's ratio is against who drew, one step ago. Nothing is drawn ahead over a look: the step after it is on-policy, so that a checkpoint
// needs nothing but the weights and whoever is killed draws the same edits again.

import { type Context, contextText, sameContext } from '../core/context.ts'
import type { Adam, Engine, Group, Loss, Metrics } from '../core/engine.ts'
import { ConfigError, NotFiniteError } from '../core/errors.ts'
import { checked, type Writer } from '../core/evolver.ts'
import type { Model, TokenCompletion } from '../core/model.ts'
import { reward } from '../core/reward.ts'
import { seedOf } from '../core/rng.ts'
import { mean } from '../core/score.ts'
import { type AdvantageOptions, advantages, type Earned } from './advantage.ts'
import { type CurriculumOptions, curriculum, type Grown, type State, statesOf } from './curriculum.ts'

/** How much is learned, from what, and how. */
export interface TrainOptions {
  readonly seed: number
  /** N: states a step. */
  readonly states: number
  /** G: rollouts of each state. */
  readonly rollouts: number
  /** Passes over the states of the first trees: what the number of steps comes from. */
  readonly passes: number
  /** Ends sooner after so many steps. */
  readonly maxSteps?: number
  /** Steps after which the trees are grown again, by the policy as it is then; without it they stay. There is a look before. */
  readonly refresh?: number
  /** How many steps ago the policy was that draws: 0, on-policy, is the default; with 1, drawing and rewards overlap with training. */
  readonly lag?: 0 | 1
  /** Bound of an edit, in tokens. */
  readonly maxTokens: number
  readonly adam: Adam
  readonly loss?: Loss
  readonly advantage?: AdvantageOptions
  readonly curriculum?: Omit<CurriculumOptions, 'seed'>
  /** Steps between looks at the dev tasks, each with a checkpoint. */
  readonly every: number
  /** Ends after so many steps in a row in which every edit was invalid. */
  readonly hopeless?: number
}

/** What the trainer is handed; it knows no task, engine or file by name. */
export interface TrainPorts {
  readonly engine: Engine
  readonly writer: Writer
  /** Trees of the training tasks; the same for the same policy and step. */
  readonly grow: (policy: Model<TokenCompletion>, step: number) => Promise<readonly Grown[]>
  /** Why a context may not follow the state's, or undefined. */
  readonly check?: (context: Context, state: State) => string | undefined
  /** Holdout score of a context on the state's task, by the same protocol as `before`; never cut short by racing. */
  readonly score: (context: Context, state: State, step: number) => Promise<number>
  /** How well the policy evolves the dev tasks; the best checkpoint is the one that does best here. */
  readonly dev: (policy: Model<TokenCompletion>) => Promise<number>
  readonly signal?: AbortSignal
}

/** The record of a training, in order: a resumed one brings the same facts again. */
export type TrainFact =
  /** The trees of the policy after `step` steps: how many states they left, their mean score, and the share of invalid edits. */
  | {
      readonly kind: 'grown'
      readonly step: number
      readonly states: number
      readonly before: number
      readonly invalid: number
    }
  | { readonly kind: 'began'; readonly options: TrainOptions; readonly steps: number }
  /** `metrics` are of the rollouts, `engine` what the engine says of its loss and its step. */
  | { readonly kind: 'step'; readonly step: number; readonly metrics: Metrics; readonly engine: Metrics }
  | {
      readonly kind: 'looked'
      readonly step: number
      readonly dev: number
      readonly checkpoint: string
      readonly isBest: boolean
    }
  | {
      readonly kind: 'ended'
      readonly why: 'done' | 'hopeless' | 'not finite' | 'too few states'
      readonly detail?: string
      readonly best: { readonly step: number; readonly checkpoint: string }
    }

/**
 * Trains. `past` = facts of an earlier life, up to a look: it goes on from that checkpoint, and gives the facts after it again.
 * @throws {ConfigError} on too few states, {EngineError} when the engine breaks.
 */
export async function* train(o: TrainOptions, ports: TrainPorts, past: readonly TrainFact[] = []): AsyncGenerator<TrainFact> {
  const { loss = { kind: 'ppo', low: 0.2, high: 0.2 }, hopeless = 10, refresh = Number.POSITIVE_INFINITY } = o
  const { engine, signal } = ports
  if (o.lag !== undefined && o.lag !== 0 && o.lag !== 1) throw new ConfigError(`a lag of ${o.lag} steps: give 0 or 1`)
  const looks = past.filter((f) => f.kind === 'looked')
  const last = looks.at(-1)
  let best = looks.findLast((f) => f.isBest)
  let lost = last ? lostSteps(past, last.step) : 0
  let steps = past.findLast((f) => f.kind === 'began')?.steps
  let pool: Pool | undefined
  let [batch, ahead]: (Batch | undefined)[] = []
  try {
    if (last) await engine.load(last.checkpoint)
    if (steps === undefined) {
      pool = yield* grown(0, { o, ports, past })
      if (pool.perPass === 0) throw new ConfigError(tooFew(pool, o))
      steps = Math.min(o.maxSteps ?? Number.POSITIVE_INFINITY, pool.perPass * o.passes)
      yield { kind: 'began', options: o, steps }
      best = yield* look(ports, { step: 0, best: undefined })
    }
    for (let step = (last?.step ?? 0) + 1; step <= steps; step++) {
      signal?.throwIfAborted()
      const since = step - 1 - ((step - 1) % refresh)
      if (pool?.step !== since) {
        pool = yield* grown(since, { o, ports, past })
        if (pool.perPass === 0) {
          yield { kind: 'ended', why: 'too few states', detail: tooFew(pool, o), best: picked(best) }
          return
        }
      }
      const here = pool
      const begun = async (at: number, lag: 0 | 1): Promise<Batch> =>
        batchOf(statesAt(at, here, o), { o, ports, step: at, lag, policy: await engine.policy() })
      const isLook = step % o.every === 0 || step % refresh === 0 || step === steps
      batch = ahead ?? (await begun(step, 0))
      ahead = o.lag === 1 && !isLook ? await begun(step + 1, 1) : undefined
      const taken = await batch.taken
      const gathered = await engine.forwardBackward(groupsOf(taken, o), loss)
      await ahead?.drawn // its policy is no more once the step is made
      const learned = { ...gathered, ...(await engine.optimStep(o.adam)) }
      yield { kind: 'step', step, metrics: summary(taken.flat(), o.lag === 1 ? batch.lag : undefined), engine: learned }
      lost = taken.flat().every((t) => t.earned.after === undefined) ? lost + 1 : 0
      if (lost >= hopeless) {
        yield { kind: 'ended', why: 'hopeless', detail: `every edit of ${lost} steps was invalid`, best: picked(best) }
        return
      }
      if (isLook) best = yield* look(ports, { step, best })
    }
  } catch (error) {
    if (!(error instanceof NotFiniteError && best)) throw error
    yield { kind: 'ended', why: 'not finite', detail: error.message, best: picked(best) }
    return
  } finally {
    await Promise.all([batch?.left(), ahead?.left()])
  }
  yield { kind: 'ended', why: 'done', best: picked(best) }
}

/** The states of trees, and how many steps a pass over them has. */
interface Pool {
  readonly step: number
  readonly states: readonly State[]
  /** How many states the curriculum takes. */
  readonly kept: number
  readonly perPass: number
}

/** The trees of the policy after `step` steps. One that was trained on since comes back for them, and their fact comes once. */
async function* grown(
  step: number,
  { o, ports, past }: { readonly o: TrainOptions; readonly ports: TrainPorts; readonly past: readonly TrainFact[] },
): AsyncGenerator<TrainFact, Pool> {
  const { engine, grow } = ports
  const looks = past.filter((f) => f.kind === 'looked')
  const [then, last] = [looks.find((f) => f.step === step), looks.at(-1)]
  const isOld = then && last && then !== last
  if (isOld) await engine.load(then.checkpoint)
  const trees = await grow(await engine.policy(), step)
  if (isOld) await engine.load(last.checkpoint)
  const states = statesOf(trees)
  const invalid = sum(trees.map((t) => t.invalid)) / sum(trees.map((t) => t.asked.length))
  if (!past.some((f) => f.kind === 'grown' && f.step === step))
    yield { kind: 'grown', step, states: states.length, before: mean(states.map((s) => s.before)), invalid }
  const kept = curriculum(states, 0, { ...o.curriculum, seed: o.seed }).length
  return { step, states, kept, perPass: Math.floor(kept / o.states) }
}

function tooFew({ kept }: Pool, { states }: TrainOptions): string {
  return `the trees left ${kept} states to learn from, and a step takes ${states}: grow more trees or take fewer a step`
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0)
}

type Look = TrainFact & { kind: 'looked' }

function picked(best: Look | undefined): { readonly step: number; readonly checkpoint: string } {
  const { step, checkpoint } = best! // the first look is made before the first step
  return { step, checkpoint }
}

/** How the policy does on dev, and a checkpoint; gives back the best look so far. */
async function* look(
  { engine, dev }: TrainPorts,
  { step, best }: { step: number; best: Look | undefined },
): AsyncGenerator<TrainFact, Look> {
  const score = await dev(await engine.policy())
  const checkpoint = await engine.save(`step-${step}`) // a policy that can't be drawn from leaves none
  const fact: Look = { kind: 'looked', step, dev: score, checkpoint, isBest: !best || score > best.dev }
  yield fact
  return fact.isBest ? fact : best! // not the best only beside one
}

/** Steps without a valid edit right before a checkpoint. */
function lostSteps(past: readonly TrainFact[], upTo: number): number {
  const steps = past.filter((f) => f.kind === 'step').filter((f) => f.step <= upTo)
  const lastValid = steps.findLastIndex((f) => f.metrics.invalid! < 1)
  return steps.length - 1 - lastValid
}

interface Taken {
  readonly prompt: Int32Array
  readonly completion: TokenCompletion
  /** Whether the edit says nothing new. */
  readonly isCopy: boolean
  /** Share of the context's lines that the edit leaves as they are; undefined for an invalid edit, and where there were none. */
  readonly kept: number | undefined
  readonly earned: Earned
}

/** What a step learns from, while it is made. */
interface Batch {
  /** Steps between the policy that draws it and the one that learns from it. */
  readonly lag: 0 | 1
  /** When nothing of it is left to draw. */
  readonly drawn: Promise<unknown>
  /** G rollouts of each state, [P][G], with what their edits earned. */
  readonly taken: Promise<readonly (readonly Taken[])[]>
  /** Draws no more of it; resolves when nothing of it is under way. */
  left(): Promise<void>
}

interface Begun {
  readonly o: TrainOptions
  readonly ports: TrainPorts
  readonly step: number
  readonly lag: 0 | 1
  readonly policy: Model<TokenCompletion>
}

/** Begins to draw; an edit is scored as soon as its state's are there. */
function batchOf(states: readonly State[], { o, ports, step, lag, policy }: Begun): Batch {
  const stop = new AbortController()
  const signal = AbortSignal.any([stop.signal, ...(ports.signal ? [ports.signal] : [])])
  const draws = states.map((state, p) => {
    // No cutting and no penalty: the ratio of PPO is of the policy's own probabilities.
    const params = { maxTokens: o.maxTokens, n: o.rollouts, temperature: 1, topP: 1, seed: seedOf(o.seed, step, p, 'rollout') }
    return policy.sample(state.prompt, params, signal)
  })
  const earned = async (state: State, completion: TokenCompletion): Promise<Taken> => {
    const prompt = ports.engine.encode(state.prompt)
    const read = ports.writer.read(completion.text, state.observation)
    const edit = checked(read, (context) => ports.check?.(context, state))
    const old = state.observation.node.context
    const next = edit.kind === 'edit' ? edit.context : undefined
    const after = next && (await ports.score(next, state, step))
    const isCopy = next !== undefined && sameContext(next, old)
    return { prompt, completion, isCopy, kept: next && linesKept(old, next), earned: { before: state.before, after } }
  }
  const groups = states.map(async (state, p) => Promise.all((await draws[p]!).map((completion) => earned(state, completion))))
  const [drawn, taken] = [Promise.all(draws), Promise.all(groups)]
  for (const part of [drawn, taken]) part.catch(() => {}) // told to who waits for it
  return {
    ...{ lag, drawn, taken },
    async left() {
      stop.abort(new Error('left'))
      await Promise.allSettled(groups)
    },
  }
}

/** The next N states of a pass, in its order. */
function statesAt(step: number, pool: Pool, { states, seed, curriculum: options }: TrainOptions): readonly State[] {
  const since = step - 1 - pool.step
  const order = curriculum(pool.states, Math.floor(since / pool.perPass), { ...options, seed })
  const from = (since % pool.perPass) * states
  return order.slice(from, from + states)
}

function groupsOf(taken: readonly (readonly Taken[])[], o: TrainOptions): readonly Group[] {
  const advantagesPG = advantages(
    taken.map((group) => group.map((t) => t.earned)),
    o.advantage,
  )
  return taken.map((group, p) => ({
    prompt: group[0]!.prompt,
    rollouts: group.map(({ completion: { tokens, logprobs } }, g) => ({
      tokens,
      logprobs,
      advantages: new Float32Array(tokens.length).fill(advantagesPG[p]![g]!),
      weights: new Float32Array(tokens.length).fill(1),
    })),
  }))
}

function linesKept(before: Context, after: Context): number | undefined {
  const lines = (context: Context): readonly string[] => contextText(context).split('\n').filter(Boolean)
  const [old, next] = [lines(before), new Set(lines(after))]
  return old.length === 0 ? undefined : old.filter((line) => next.has(line)).length / old.length
}

/**
 * What to look at when it does not learn. Shares are of all rollouts of the step, rewards of all with −1 for invalid ones, `after` is of the
 * valid ones, and `entropy` that of the policy at a token, estimated by −logprob of those it drew.
 */
function summary(taken: readonly Taken[], lag: number | undefined): Metrics {
  const rewards = taken.map(({ earned: { before, after } }) => reward(before, after))
  const average = mean(rewards)
  const kept = taken.flatMap((t) => t.kept ?? [])
  const valid = taken.flatMap((t) => t.earned.after ?? [])
  return {
    reward: average,
    rewardDeviation: Math.sqrt(mean(rewards.map((r) => (r - average) ** 2))),
    invalid: taken.filter((t) => t.earned.after === undefined).length / taken.length,
    copies: taken.filter((t) => t.isCopy).length / taken.length,
    ...(kept.length > 0 && { kept: mean(kept) }),
    before: mean(taken.map((t) => t.earned.before)),
    ...(valid.length > 0 && { after: mean(valid) }),
    entropy: -mean(taken.flatMap((t) => [...t.completion.logprobs])),
    tokensPerEdit: mean(taken.map((t) => t.completion.tokens.length)),
    ...(lag !== undefined && { lag }),
  }
}
