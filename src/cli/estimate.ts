// lamarck estimate [config]
import type { Cost } from '../core/budget.ts'
import { type Estimate, estimate } from '../estimate.ts'
import { dollars, points } from '../report.ts'
import { loadConfig } from './config.ts'
import { overridesOf, type RunFlags, withOverrides } from './overrides.ts'
import { table } from './table.ts'
import { type CommonFlags, safe, terminal } from './terminal.ts'
import { clock, count, many } from './words.ts'

export interface EstimateFlags extends CommonFlags, RunFlags {
  readonly json?: boolean
  /** Assumed wall clock of one call. */
  readonly secondsPerCall?: number
}

export async function estimateCommand(given: string | undefined, flags: EstimateFlags): Promise<number> {
  const config = await loadConfig(given)
  const { secondsPerCall = 2 } = flags
  const found = await estimate(withOverrides(config, overridesOf(flags)), { secondsPerCall })
  const { out } = terminal(flags)
  out(flags.json ? JSON.stringify(found) : safe(estimateText(found, secondsPerCall)))
  return 0
}

/** What a run will take, as a table and the figures that decide. */
export function estimateText(e: Estimate, secondsPerCall: number): string {
  const row = (name: string, cost: Cost): readonly string[] => [
    name,
    count(cost.calls),
    count(cost.tokens),
    e.priced ? dollars(cost.usd) : 'unknown',
  ]
  const costs = [
    ['', 'calls', 'tokens', 'dollars'],
    row('scoring the seed', e.seed),
    row('a round', e.round),
    row('closing look at test', e.closing),
    row(`all, with ${many(e.rounds, 'round')}`, e.total),
  ]
  const { train, holdout, confirm, test, ood } = e.splits
  const splits = [
    `train ${train}`,
    `holdout ${holdout} × ${e.draws.holdout}`,
    ...(confirm > 0 ? [`confirm ${confirm}`] : []),
    `test ${test} × ${e.draws.test}`,
    ...(ood > 0 ? [`ood ${ood}`] : []),
  ]
  return [
    table(costs, [1, 2, 3]),
    '',
    `time           about ${clock(e.minutes * 60)} at ${secondsPerCall} s a call`,
    `splits         ${splits.join(', ')}`,
    `smallest gain  about ${points(e.smallestGain).replace('+', '±')} points can be shown on this test split`,
    ...(e.racing ? ['racing         an edit shown to be worse is not scored to the end: a round costs this or less'] : []),
    ...(e.measures ? ['generations    twice as many on the holdout if the seed shows that answers are noisy'] : []),
    ...(e.affords === undefined ? [] : [`budget         affords about ${many(e.affords, 'round')} of ${e.rounds}`]),
    ...(e.priced ? [] : ['dollars        a price is not known: give it in `prices` of the config to set a dollar budget']),
  ].join('\n')
}
