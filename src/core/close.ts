// The end of a run: the last choice, then one look at the test split. Selection is on the holdout, the report on test, always.
// Source of the rules: scoring notes in docs/guide/read-a-report.md.
import type { Estimate, Fact, Options, Overlap, Result } from './facts.ts'
import { type Ask, type Command, scoreIn } from './method.ts'
import type { Node } from './observation.ts'
import { mean, type Score } from './score.ts'
import type { State } from './state.ts'
import { crossValidated, type Gain, meanInterval, pairedGain, shrunk } from './statistics.ts'

/** Nodes scored again on fresh problems before the last choice. */
const finalists = 4

/**
 * Values nearer than this are equal but for rounding: the older node, last of all the seed, wins; of finalists the one that was better on
 * the holdout.
 */
const tie = 1e-9

/** Chooses, opens the test split, reports. */
export function* close(s: State, o: Options): Ask<readonly Fact[]> {
  const seed = s.nodes[0]
  if (!seed) return []
  const { chosen, confirmed } = yield* choose(s, o)
  const test = yield* look(o, 'test', seed, chosen)
  const ood = o.splits.ood.length ? yield* look(o, 'ood', seed, chosen) : undefined
  const result: Result = {
    chosen: chosen.id,
    returned: test.gain.shown ? chosen.id : seed.id,
    gain: test.gain,
    test: { seed: test.seed, chosen: test.chosen },
    optimism: chosen.score.mean - seed.score.mean - test.gain.mean,
    holdout: { seed: seed.score.mean, chosen: chosen.score.mean },
    ...crossValidation(s, o),
    ...(ood && { ood: { gain: ood.gain, seed: ood.seed, chosen: ood.chosen } }),
    ...(confirmed && { confirmed }),
    choice: o.choice,
    ...(s.noise && { noise: s.noise }),
    asked: o.splits.test.length,
    per: test.per,
    overlap: yield* overlaps(chosen),
    openings: s.openings + 1,
  }
  return [{ kind: 'reported', result }]
}

function crossValidation(s: State, o: Options): { readonly crossValidated?: number } {
  const full = s.nodes.filter((n) => n.score.full)
  const figure = crossValidated(
    full.map((n) => n.score.per),
    o.folds,
    o.seed,
  )
  return figure === undefined ? {} : { crossValidated: figure }
}

/** The node to report on: never one whose scoring was cut short. */
function* choose(s: State, o: Options): Ask<{ readonly chosen: Node; readonly confirmed?: Readonly<Record<string, number>> }> {
  const full = s.nodes.filter((n) => n.score.full)
  const by = (value: (n: Node) => number): Node => full.reduce((a, b) => (value(b) > value(a) + tie ? b : a))
  if (o.choice === 'shrink') {
    const values = shrunk(s.nodes.map((n) => ({ id: n.id, parent: n.parents[0], ...(n.score.full && { per: n.score.per }) })))
    return { chosen: by((n) => values[n.id]!) }
  }
  if (o.choice === 'mean' || o.splits.confirm.length === 0) return { chosen: by((n) => n.score.mean) }
  const top = [...full].sort((a, b) => b.score.mean - a.score.mean || a.id - b.id).slice(0, finalists)
  const answers = yield top.map(
    (n): Command => ({ kind: 'evaluate', role: 'confirm', context: n.context, ids: o.splits.confirm, draws: [0, 1] }),
  )
  const fresh = answers.map(scoreIn)
  // A budget that ended here leaves some problems unscored: only those that all finalists answered count.
  const shared = o.splits.confirm.filter((id) => fresh.every((score) => Object.hasOwn(score.per, id)))
  const pooled = top.map((n, i) => mean([...Object.values(n.score.per), ...shared.map((id) => fresh[i]!.per[id]!)]))
  const at = pooled.reduce((first, value, i) => (value > pooled[first]! + tie ? i : first), 0)
  return { chosen: top[at]!, confirmed: Object.fromEntries(top.map((n, i) => [n.id, pooled[i]!])) }
}

interface Look {
  readonly gain: Gain
  readonly seed: Estimate
  readonly chosen: Estimate
  readonly per: Result['per']
}

/** Problems of the look that seed and chosen are scored on side by side, before the next: a budget that ends leaves whole blocks. */
const block = 60

/** Scores seed and chosen on the same problems with the same draws. */
function* look(o: Options, role: 'test' | 'ood', seed: Node, chosen: Node): Ask<Look> {
  let before: Score['per'] = {}
  let after: Score['per'] = {}
  for (let at = 0; at < o.splits[role].length; at += block) {
    const some = o.splits[role].slice(at, at + block)
    const ask = (n: Node): Command => ({ kind: 'evaluate', role, context: n.context, ids: some, draws: [0, o.testDraws] })
    const [first, second = first] = (yield chosen.id === seed.id ? [ask(seed)] : [ask(seed), ask(chosen)]).map(scoreIn)
    before = { ...before, ...first?.per }
    after = { ...after, ...second?.per }
  }
  const ids = o.splits[role].filter((id) => Object.hasOwn(before, id) && Object.hasOwn(after, id))
  const per = { seed: pick(before, ids), chosen: pick(after, ids) }
  return { gain: pairedGain(per.seed, per.chosen), seed: estimate(per.seed), chosen: estimate(per.chosen), per }
}

function pick(per: Readonly<Record<string, number>>, ids: readonly string[]): Readonly<Record<string, number>> {
  return Object.fromEntries(ids.map((id) => [id, per[id]!]))
}

function estimate(per: Readonly<Record<string, number>>): Estimate {
  return meanInterval(Object.values(per))
}

function* overlaps(chosen: Node): Ask<Result['overlap']> {
  const names = ['train', 'holdout', 'test'] as const
  const answers = yield names.map((split): Command => ({ kind: 'overlap', context: chosen.context, split }))
  const found = answers.map((answer): Overlap => {
    if (answer.kind !== 'overlap') throw new TypeError(`expected an overlap, got ${answer.kind}`)
    return { share: answer.share, copied: answer.copied }
  })
  return { train: found[0]!, holdout: found[1]!, test: found[2]! }
}
