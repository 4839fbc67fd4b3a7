// What trains a policy. Implementations live in `engines/`; the trainer sees only this.
import type { Message, Model, TokenCompletion } from './model.ts'

/** One rollout of a prompt. Arrays have one entry a generated token, T. */
export interface Sampled {
  /** Token ids, [T]. */
  readonly tokens: Int32Array
  /** Log-probabilities under the policy that drew them, [T]. */
  readonly logprobs: Float32Array
  /** [T]; the same for every token of a rollout in LSE. */
  readonly advantages: Float32Array
  /** 0 leaves a token out of the loss, [T]. */
  readonly weights: Float32Array
}

/** Rollouts that share their prompt. */
export interface Group {
  /** Token ids. */
  readonly prompt: Int32Array
  readonly rollouts: readonly Sampled[]
}

/** With r = exp(logprob now − logprob then) and A the advantage, summed over tokens × weights and divided by the number of rollouts. */
export type Loss =
  /**
   * −min(r A, clip(r, 1 − low, 1 + high) A) − entropy × H, H that of the policy now at the token; an engine that has no such term refuses it. Source: PPO,
   * arXiv:1707.06347; asymmetric bounds as in DAPO, arXiv:2503.14476.
   */
  | { readonly kind: 'ppo'; readonly low: number; readonly high: number; readonly entropy?: number }
  /** −r A. */
  | { readonly kind: 'importance_sampling' }
  /** −clip(r, 1 − low, 1 + high) A logprob now, with no gradient through the clip. Source: CISPO, arXiv:2506.13585. */
  | { readonly kind: 'cispo'; readonly low: number; readonly high: number }
  /** −logprob now; advantages and old log-probabilities are not read. */
  | { readonly kind: 'cross_entropy' }

export interface Adam {
  readonly learningRate: number
  readonly beta1?: number
  readonly beta2?: number
  readonly epsilon?: number
  /** Gradients are scaled down to this norm. */
  readonly maxNorm?: number
}

export type Metrics = Readonly<Record<string, number>>

export interface Engine extends AsyncDisposable {
  readonly name: string
  /** Adds the gradient of the loss to what is gathered since the last step. @throws {EngineError} on wrong lengths or a loss that is not finite. */
  forwardBackward(groups: readonly Group[], loss: Loss): Promise<Metrics>
  /** One step of Adam on what was gathered. Policies handed out before it throw from then on. */
  optimStep(adam: Adam): Promise<Metrics>
  /** Token ids of a prompt as the policy is asked with it. */
  encode(prompt: readonly Message[]): Int32Array
  /** The policy as it is now. */
  policy(): Promise<Model<TokenCompletion>>
  /** Writes weights and optimizer state; gives back what `load` takes. */
  save(name: string): Promise<string>
  /** @throws {EngineError} on a checkpoint of another shape or version, or a truncated one: nothing is changed then. */
  load(checkpoint: string): Promise<void>
}
