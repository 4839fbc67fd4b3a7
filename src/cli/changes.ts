// The test problems that a run's context fixed or broke, with both answers, read back from the journal of the closing look.
import type { Fact } from '../core/facts.ts'
import type { Rollout } from '../core/score.ts'
import type { Store } from '../core/store.ts'
import type { Report } from '../report.ts'
import { changedOf } from './report-text.ts'

/** One test problem under both contexts. Of several generations, the ones that show the change best. */
export interface Change {
  readonly id: string
  readonly kind: 'fixed' | 'broken'
  readonly before: number
  readonly after: number
  /** Undefined where the journal no longer has it. */
  readonly seed: Rollout | undefined
  readonly chosen: Rollout | undefined
}

/** Fixed ones first. */
export async function changesOf(store: Store, report: Report, facts: readonly Fact[]): Promise<readonly Change[]> {
  const round = facts.flatMap((fact) => (fact.kind === 'planned' && fact.plan.kind === 'close' ? [fact.plan.round] : [])).at(-1)
  if (round === undefined || report.chosen === 0) return []
  const step = report.confirmed === undefined ? 0 : 1
  const sides: readonly [Map<string, Rollout[]>, Map<string, Rollout[]>] = [new Map(), new Map()]
  for (const { key, outcome } of await store.journal(report.run).read(round)) {
    const [, at, index, id] = /^\d+\.(\d+)\.([01])\/([^/#]+)#\d+$/.exec(key) ?? []
    if (Number(at) !== step || id === undefined || outcome === undefined) continue
    const { rollout } = JSON.parse(outcome) as { rollout: Rollout } // written by core/evaluate.ts
    const side = sides[index === '0' ? 0 : 1]
    side.set(decodeURIComponent(id), [...(side.get(decodeURIComponent(id)) ?? []), rollout])
  }
  const { fixed, broken } = changedOf(report)
  const change = (id: string, kind: Change['kind']): Change => ({
    id,
    kind,
    before: report.per.seed[id] ?? 0,
    after: report.per.chosen[id] ?? 0,
    seed: extreme(sides[0].get(id), kind === 'fixed' ? 'low' : 'high'),
    chosen: extreme(sides[1].get(id), kind === 'fixed' ? 'high' : 'low'),
  })
  return [...fixed.map((id) => change(id, 'fixed')), ...broken.map((id) => change(id, 'broken'))]
}

function extreme(rollouts: readonly Rollout[] = [], which: 'low' | 'high'): Rollout | undefined {
  const sign = which === 'low' ? 1 : -1
  return [...rollouts].sort((a, b) => sign * (a.score - b.score) || a.draw - b.draw)[0]
}
