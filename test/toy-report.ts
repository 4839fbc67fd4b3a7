// A small finished run for tests of what is shown: a seed, a child, a grandchild, four test problems.
import type { Options } from '../src/core/facts.ts'
import { apply, type State, start } from '../src/core/state.ts'
import type { Report } from '../src/report.ts'

const cost = { calls: 10, tokens: 1000, usd: 0.25 }

export const toyOptions: Options = {
  seed: 0,
  context: { instructions: 'Sort it.' },
  rules: {},
  splits: { train: ['a'], holdout: ['b', 'c'], confirm: [], test: ['t1', 't2', 't3', 't4'], ood: [] },
  rounds: 5,
  inFlight: 1,
  batch: 1,
  batches: 'shuffled',
  draws: 1,
  testDraws: 1,
  patience: 0,
  budget: { usd: 5 },
  reference: false,
  folds: 0,
  choice: 'mean',
  assumed: { rollout: cost, proposal: cost },
}

/** A state of nodes with these parents and holdout means. */
export function toyState(nodes: readonly (readonly [parent: number | undefined, mean: number])[]): State {
  const state = start(toyOptions)
  for (const [id, [parent, mean]] of nodes.entries()) {
    const parents = parent === undefined ? [] : [parent]
    apply(state, {
      kind: 'scored',
      round: id,
      parents,
      context: { instructions: `text ${id}` },
      score: { per: { b: mean, c: mean }, mean, draws: 1, full: true },
    })
  }
  return state
}

export function toyReport(over: Partial<Report> = {}): Report {
  const estimate = (mean: number): Report['test']['seed'] => ({ mean, interval: [mean - 0.1, mean + 0.1] })
  return {
    run: 'toy',
    names: { task: 'toys', method: 'lse', model: 'p:act', evolver: 'lse p:write', judge: 'p:act', tokenizer: 'bytes / 3' },
    stop: { why: 'rounds', detail: '5 rounds' },
    seedContext: { instructions: 'Sort it.' },
    chosenContext: { instructions: 'Sort it well.' },
    size: { seed: 3, chosen: 5, tokenizer: 'bytes / 3' },
    counts: { rounds: 5, nodes: 3, invalid: 2, rejected: 0, flagged: 0, cut: 0 },
    splits: { train: 1, holdout: 2, confirm: 0, test: 4, ood: 0 },
    draws: { holdout: 1, test: 1 },
    inFlight: 1,
    spent: { rollouts: 40, proposals: 5, act: { calls: 40, tokens: 4000, usd: 1 }, evolve: { calls: 7, tokens: 900, usd: 0.5 } },
    budget: { usd: 5 },
    smallestGain: 0.2,
    simulated: false,
    measured: {
      seconds: 187,
      lost: { calls: 1, tokens: 100, usd: 0.02 },
      failed: 3,
      spent: { calls: 51, tokens: 5000, usd: 1.52 },
      usage: { input: 1, cached: 0, output: 1, reasoning: 0 },
      lives: 2,
    },
    chosen: 2,
    returned: 2,
    gain: { mean: 0.25, interval: [0.05, 0.45], n: 4, changed: 3, sd: 0.3, shown: true, rule: 't' },
    test: { seed: estimate(0.5), chosen: estimate(0.75) },
    optimism: 0.05,
    holdout: { seed: 0.4, chosen: 0.7 },
    choice: 'mean',
    asked: 4,
    per: { seed: { t1: 0, t2: 0, t3: 1, t4: 1 }, chosen: { t1: 1, t2: 1, t3: 0, t4: 1 } },
    overlap: { train: { share: 0.6, copied: ['a'] }, holdout: { share: 0, copied: [] }, test: { share: 0.1, copied: [] } },
    openings: 1,
    ...over,
  }
}
