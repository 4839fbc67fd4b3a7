// Does a finished context help other models too? Seed and context on the same test problems, one row a model, no further search.
import { Ledger } from './core/budget.ts'
import type { Context } from './core/context.ts'
import { BudgetError } from './core/errors.ts'
import { performer } from './core/evaluate.ts'
import type { Estimate } from './core/facts.ts'
import { scoreIn } from './core/method.ts'
import { type Gain, meanInterval, pairedGain } from './core/statistics.ts'
import type { EvolveOptions, ModelSpec } from './options.ts'
import { type Prepared, prepare, refuseUnpriced, sha, sourceOf } from './prepare.ts'
import { memoryStore } from './stores/memory.ts'

/** One row of the table. */
export interface Transfer {
  readonly model: string
  readonly seed: Estimate
  readonly context: Estimate
  readonly gain: Gain
}

/** Gain of `context` over the seed on the test split, on each model. @throws {BudgetError} when the budget can't cover it. */
export async function transfer(
  given: EvolveOptions,
  { context, models }: { readonly context: Context; readonly models: readonly ModelSpec[] },
): Promise<readonly Transfer[]> {
  await using prepared = await prepare({ ...given, model: models[0] ?? given.model })
  const { budget } = prepared.options
  const ledger = new Ledger(budget)
  const late = budget.minutes === undefined ? [] : [AbortSignal.timeout(budget.minutes * 60_000)]
  const signal = AbortSignal.any([...late, ...(given.signal ? [given.signal] : [])])
  const rows: Transfer[] = []
  for (const spec of models) {
    await using source = await sourceOf(spec, given)
    refuseUnpriced(budget.usd, [source])
    try {
      rows.push(await onModel(prepared, { source, ledger, context, signal }))
    } catch (error) {
      throw late[0]?.aborted ? new BudgetError('the minutes of the budget are used up', { cause: error }) : error
    }
  }
  return rows
}

interface On {
  readonly source: Awaited<ReturnType<typeof sourceOf>>
  readonly ledger: Ledger
  readonly context: Context
  readonly signal: AbortSignal
}

async function onModel(prepared: Prepared, { source, ledger, context, signal }: On): Promise<Transfer> {
  await using store = memoryStore()
  const run = { id: source.name, createdAt: 0, meta: '{}' }
  await store.create(run)
  const journal = store.journal(run.id)
  const door = { journal, ledger, signal, onCall: () => {} }
  const { options: o } = prepared
  const meters = { ...prepared.meters(door), act: prepared.meterOf(source, door) }
  const perform = performer({ ...prepared, ...meters, journal, rules: o.rules, seed: o.seed, copies: 'ignore', hash: sha })
  const score = async (c: Context, i: number): Promise<Readonly<Record<string, number>>> => {
    const place = { round: 0, key: `0.0.${i}`, recorded: [], signal }
    // role holdout: all or nothing; a table of rows cut short would not compare like with like
    const answer = await perform(
      { kind: 'evaluate', role: 'holdout', context: c, ids: o.splits.test, draws: [0, o.testDraws] },
      place,
    )
    return scoreIn(answer).per
  }
  const [before, after] = await Promise.all([score(o.context, 0), score(context, 1)])
  return {
    model: source.name,
    seed: meanInterval(Object.values(before)),
    context: meanInterval(Object.values(after)),
    gain: pairedGain(before, after),
  }
}
