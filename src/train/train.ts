// LSE: trains the policy that writes edits. One step of evolution is a bandit: the state is a context and how it did, the action the next
// context, the reward the change in score. Source: arXiv:2603.18620, §3.2 and its code.
//
//   for each pass over the states, the most promising first:
//     for each N states:                               G rollouts of each at temperature 1
//       reward = score after − score before            invalid edit: −1
//       advantage = reward, for every token            no critic, no KL
//       PPO-clip, one step of Adam                     on-policy
//
// Deviations: none by default; baseline, scale and other rewards are switches (advantage.ts).

import { type Context, sameContext } from '../core/context.ts'
import type { Adam, Engine, Loss, Metrics } from '../core/engine.ts'
import { ConfigError, NotFiniteError } from '../core/errors.ts'
import { checked, type Edit, type Writer } from '../core/evolver.ts'
import type { Model, TokenCompletion } from '../core/model.ts'
import { reward } from '../core/reward.ts'
import { seedOf } from '../core/rng.ts'
import { mean } from '../core/score.ts'
import { type AdvantageOptions, advantages, type Earned } from './advantage.ts'
import { type CurriculumOptions, curriculum, type State } from './curriculum.ts'

export interface TrainOptions {
  readonly seed: number
  /** N: states a step. */
  readonly states: number
  /** G: rollouts of each state. */
  readonly rollouts: number
  /** Passes over the states. */
  readonly passes: number
  /** Ends sooner after so many steps. */
  readonly maxSteps?: number
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
  readonly states: readonly State[]
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
  | { readonly kind: 'began'; readonly options: TrainOptions; readonly states: number; readonly steps: number }
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
      readonly why: 'done' | 'hopeless' | 'not finite'
      readonly detail?: string
      readonly best: { readonly step: number; readonly checkpoint: string }
    }

/**
 * Trains. `past` = facts of an earlier life: it goes on from their last checkpoint, and gives the facts after it again.
 * @throws {ConfigError} on too few states, {EngineError} when the engine breaks.
 */
export async function* train(o: TrainOptions, ports: TrainPorts, past: readonly TrainFact[] = []): AsyncGenerator<TrainFact> {
  const { loss = { kind: 'ppo', low: 0.2, high: 0.2 }, hopeless = 10 } = o
  const kept = curriculum(ports.states, 0, { ...o.curriculum, seed: o.seed })
  const perPass = Math.floor(kept.length / o.states)
  if (perPass === 0)
    throw new ConfigError(
      `${kept.length} states to learn from, and a step takes ${o.states}: grow more trees or take fewer a step`,
    )
  const steps = Math.min(o.maxSteps ?? Number.POSITIVE_INFINITY, perPass * o.passes)
  const looks = past.filter((f) => f.kind === 'looked')
  const last = looks.at(-1)
  let best = looks.findLast((f) => f.isBest)
  if (last) await ports.engine.load(last.checkpoint)
  else {
    yield { kind: 'began', options: o, states: kept.length, steps }
    best = yield* look(ports, { step: 0, best: undefined })
  }
  let lost = last ? lostSteps(past, last.step) : 0
  for (let step = (last?.step ?? 0) + 1; step <= steps; step++) {
    ports.signal?.throwIfAborted()
    const pass = Math.floor((step - 1) / perPass)
    const order = curriculum(ports.states, pass, { ...o.curriculum, seed: o.seed })
    const from = ((step - 1) % perPass) * o.states
    const taken = await rollouts(order.slice(from, from + o.states), { o, ports, step })
    const advantagesPG = advantages(
      taken.map((group) => group.map((t) => t.earned)),
      o.advantage,
    )
    const groups = taken.map((group, p) => ({
      prompt: group[0]!.prompt,
      rollouts: group.map(({ completion: { tokens, logprobs } }, g) => ({
        tokens,
        logprobs,
        advantages: new Float32Array(tokens.length).fill(advantagesPG[p]![g]!),
        weights: new Float32Array(tokens.length).fill(1),
      })),
    }))
    let learned: Metrics
    try {
      learned = { ...(await ports.engine.forwardBackward(groups, loss)), ...(await ports.engine.optimStep(o.adam)) }
    } catch (error) {
      if (!(error instanceof NotFiniteError)) throw error
      yield { kind: 'ended', why: 'not finite', detail: error.message, best: picked(best) }
      return
    }
    yield { kind: 'step', step, metrics: summary(taken.flat()), engine: learned }
    lost = taken.flat().every((t) => t.earned.after === undefined) ? lost + 1 : 0
    if (lost >= hopeless) {
      yield { kind: 'ended', why: 'hopeless', detail: `every edit of ${lost} steps was invalid`, best: picked(best) }
      return
    }
    if (step % o.every === 0 || step === steps) best = yield* look(ports, { step, best })
  }
  yield { kind: 'ended', why: 'done', best: picked(best) }
}

type Look = TrainFact & { kind: 'looked' }

function picked(best: Look | undefined): { readonly step: number; readonly checkpoint: string } {
  const { step, checkpoint } = best! // the first look is made before the first step
  return { step, checkpoint }
}

/** A checkpoint, and how it does on dev; gives back the best look so far. */
async function* look(
  ports: TrainPorts,
  { step, best }: { step: number; best: Look | undefined },
): AsyncGenerator<TrainFact, Look> {
  const checkpoint = await ports.engine.save(`step-${step}`)
  const dev = await ports.dev(await ports.engine.policy())
  const fact: Look = { kind: 'looked', step, dev, checkpoint, isBest: !best || dev > best.dev }
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
  readonly edit: Edit
  /** Whether the edit says nothing new. */
  readonly isCopy: boolean
  readonly earned: Earned
}

/** G rollouts of each state, [P][G], with what their edits earned. */
async function rollouts(
  states: readonly State[],
  { o, ports, step }: { readonly o: TrainOptions; readonly ports: TrainPorts; readonly step: number },
): Promise<readonly (readonly Taken[])[]> {
  const policy = await ports.engine.policy()
  return Promise.all(
    states.map(async (state, p) => {
      // No cutting and no penalty: the ratio of PPO is of the policy's own probabilities.
      const params = { maxTokens: o.maxTokens, n: o.rollouts, temperature: 1, topP: 1, seed: seedOf(o.seed, step, p, 'rollout') }
      const completions = await policy.sample(state.prompt, params, ports.signal)
      const prompt = ports.engine.encode(state.prompt)
      return Promise.all(
        completions.map(async (completion): Promise<Taken> => {
          const read = ports.writer.read(completion.text, state.observation)
          const edit = checked(read, (context) => ports.check?.(context, state))
          const isCopy = edit.kind === 'edit' && sameContext(edit.context, state.observation.node.context)
          const after = edit.kind === 'edit' ? await ports.score(edit.context, state, step) : undefined
          return { prompt, completion, edit, isCopy, earned: { before: state.before, after } }
        }),
      )
    }),
  )
}

/** What to look at when it does not learn. Shares are of all rollouts of the step, rewards of all with −1 for invalid ones. */
function summary(taken: readonly Taken[]): Metrics {
  const rewards = taken.map(({ earned: { before, after } }) => reward(before, after))
  const average = mean(rewards)
  return {
    reward: average,
    rewardDeviation: Math.sqrt(mean(rewards.map((r) => (r - average) ** 2))),
    invalid: taken.filter((t) => t.earned.after === undefined).length / taken.length,
    copies: taken.filter((t) => t.isCopy).length / taken.length,
    before: mean(taken.map((t) => t.earned.before)),
    tokensPerEdit: mean(taken.map((t) => t.completion.tokens.length)),
  }
}
