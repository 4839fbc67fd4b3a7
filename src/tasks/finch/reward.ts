// How good a context is for a company: the expectation over the actor's chances in closed form, or a mean of attempts as on a real task.
// Both judge by rows that SQL really gave.
import type { Observation } from '../../core/observation.ts'
import { rng, seedOf, shuffle } from '../../core/rng.ts'
import { mean, type Rollout, scoreOf } from '../../core/score.ts'
import { answerText, chances, type Reading, readAll } from './actor.ts'
import type { Company, Problem, ProblemSplit } from './company.ts'
import { readNotes } from './notes.ts'
import { type ActorName, finch, part } from './parameters.ts'
import { fragments } from './words.ts'

export const rewards = ['expected', 'sampled'] as const
/** Every table says which one it shows. */
export type RewardName = (typeof rewards)[number]

export interface RewardOptions {
  readonly split?: ProblemSplit
  readonly actor?: ActorName
  readonly temperature?: number
}

const indexOf = new Map(fragments.map((fragment, i) => [fragment, i]))

/** Mean over the problems of the probability that the actor's SQL gives the gold's rows, in [0, 1]. */
export function expectedScore(company: Company, notes: string, options: RewardOptions = {}): number {
  return mean(rightChances(company, notes, { ...options, problems: company.problems(options.split ?? 'holdout') }))
}

export interface ChanceOptions extends Omit<RewardOptions, 'split'> {
  readonly problems: readonly Problem[]
}

/** The probability of each problem that one attempt at it gives the gold's rows, in [0, 1]. */
export function rightChances(company: Company, notes: string, { problems, ...options }: ChanceOptions): readonly number[] {
  const reading = readingOf(company, notes, options)
  const likely = new Map(
    company.conventions.map(({ word }) => {
      const its = [...chances(reading, word)].map(([meaning, p]) => ({ meaning: indexOf.get(meaning)!, p }))
      return [word, its] as const
    }),
  )
  return problems.map((problem) => {
    const each = problem.asked.words.map((word) => likely.get(word)!)
    return rightChance(company, problem, { each, taken: [], p: 1 })
  })
}

interface Branch {
  readonly each: readonly (readonly { readonly meaning: number; readonly p: number }[])[]
  /** How the first words are taken; put back as it was. */
  readonly taken: number[]
  readonly p: number
}

/** Sums the probability of every way to take the words that gives the right rows. */
function rightChance(company: Company, problem: Problem, { each, taken, p }: Branch): number {
  const ways = each[taken.length]
  if (!ways) return company.isRight(problem, taken) ? p : 0
  let sum = 0
  for (const way of ways) {
    taken.push(way.meaning)
    sum += rightChance(company, problem, { each, taken, p: p * way.p })
    taken.pop()
  }
  return sum
}

export interface SampledOptions extends RewardOptions {
  readonly seed: number
  /** Attempts a problem. */
  readonly draws?: number
}

/** Mean over the problems and `draws` attempts at each; the same seed gives the same answers as the model behind the task. */
export function sampledScore(company: Company, notes: string, { seed, draws = 1, ...options }: SampledOptions): number {
  const reading = readingOf(company, notes, options)
  const problems = company.problems(options.split ?? 'holdout')
  let right = 0
  for (const problem of problems) {
    for (let k = 0; k < draws; k++) {
      const readings = readAll(reading, problem.asked, seedOf(seed, problem.id, k))
      right += Number(isRight(company, problem, readings))
    }
  }
  return right / (problems.length * draws)
}

export interface AttemptOptions extends RewardOptions {
  readonly ids: readonly string[]
  readonly seed: number
  /** Which of several attempts, from 0. */
  readonly draw?: number
}

/** Attempts at problems, as the evolver is shown them; without the processes that a task needs to run SQL of anybody. */
export function attempts(
  company: Company,
  notes: string,
  { ids, seed, draw = 0, ...options }: AttemptOptions,
): readonly Rollout[] {
  const reading = readingOf(company, notes, options)
  return ids.map((exampleId) => {
    const problem = company.problem(exampleId)
    const readings = readAll(reading, problem.asked, seedOf(seed, exampleId, draw))
    const score = Number(isRight(company, problem, readings))
    return {
      exampleId,
      draw,
      score,
      question: problem.question,
      answer: answerText(problem.asked, readings),
      gold: problem.gold,
      feedback: score === 1 ? 'the rows are right' : 'the rows are not the expected ones',
    }
  })
}

export interface ObserveOptions extends RewardOptions {
  readonly seed: number
  /** Problems of the batch. */
  readonly batch?: number
}

/** What an evolver is given about a context: a batch of train problems drawn by the seed; its score is the expected one. */
export function observe(company: Company, notes: string, { seed, batch = 10, ...options }: ObserveOptions): Observation {
  const all = company.problems('train').map((problem) => problem.id)
  const ids = shuffle(all, rng('finch', 'batch', company.name, seed)).slice(0, batch)
  const rollouts = attempts(company, notes, { ids, seed, ...options })
  const mean = expectedScore(company, notes, options)
  const score = { per: { holdout: mean }, mean, draws: 1, full: true }
  const context = { [part]: notes }
  const node = { id: 0, parents: [], round: 0, context, score }
  const seen = { ...scoreOf(rollouts, 1), rollouts }
  return { node, seen, history: [{ context, score: mean }], earlier: [], rules: {} }
}

function isRight(company: Company, problem: Problem, readings: readonly { readonly meaning: string }[]): boolean {
  return company.isRight(
    problem,
    readings.map((r) => indexOf.get(r.meaning)!),
  )
}

function readingOf({ domain }: Company, notes: string, options: RewardOptions): Reading {
  const { actor = 'finch-actor', temperature = finch.temperature } = options
  return { actor, domain, notes: readNotes(notes), temperature }
}
