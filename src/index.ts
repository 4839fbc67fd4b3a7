// The door: what `import … from 'lamarck'` gives.

export type { Budget, Cost } from './core/budget.ts'
export {
  type Context,
  contextText,
  type Part,
  type Rule,
  type Rules,
  regionEnd,
  regionStart,
  type Tokenizer,
  type Turn,
} from './core/context.ts'
export { BadAnswer, BudgetError, ConfigError, MissingPackageError, ModelError, StoreError } from './core/errors.ts'
export { type Edit, type Evolver, evolver, type ProposeCall, type Writer } from './core/evolver.ts'
export type { Fact, Options, Outcome, Plan, Result, Steer } from './core/facts.ts'
export { type Ask, type Command, type Method, observe, propose, scoreHoldout, type View } from './core/method.ts'
export type { Completion, Message, Model, Params, Usage } from './core/model.ts'
export type { Node, Observation, Tried } from './core/observation.ts'
export type { Rollout, Score } from './core/score.ts'
export { nextBatch } from './core/search.ts'
export type { State } from './core/state.ts'
export type { Gain } from './core/statistics.ts'
export type { Store } from './core/store.ts'
export { chat, type Example, type Grade, type Shown, type Split, type Task } from './core/task.ts'
export { type Estimate, estimate } from './estimate.ts'
export { type Evolved, evolve, type Progress, type Run, type RunEvent } from './evolve.ts'
export type {
  ContextOf,
  EditFunction,
  EvolveOptions,
  FunctionOptions,
  ModelSpec,
  PartInput,
  Problem,
  RunSettings,
  ScoreFunction,
  TaskFunction,
  TaskModel,
  TaskOptions,
} from './options.ts'
export { defineConfig } from './options.ts'
export { exitCodeOf, type Measured, type Report } from './report.ts'
export { type Transfer, transfer } from './transfer.ts'
