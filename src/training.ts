// The door `lamarck/train`: the trainer, which knows no task or engine by name, and the recipe that trains Finch's policy with it.
export type { Adam, Engine, Group, Loss, Metrics, Sampled } from './core/engine.ts'
export type { Writer } from './core/evolver.ts'
export type { TokenCompletion } from './core/model.ts'
export { finchWriter } from './recipes/finch.ts'
export { type FinchEngineOptions, finchEngine, finchGrammar, policyParams, warmStartFile } from './recipes/finch-policy.ts'
export {
  type AdvantageName,
  type TrainFinchFact,
  type TrainFinchOptions,
  type TrainFinchSettings,
  trainFinch,
  trainFinchDefaults,
} from './recipes/train-finch.ts'
export { type AdvantageOptions, grpo } from './train/advantage.ts'
export type { CurriculumOptions, Grown, State } from './train/curriculum.ts'
export { type TrainFact, type TrainOptions, type TrainPorts, train } from './train/train.ts'
