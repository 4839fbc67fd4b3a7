// Runs every entrant of a suite on every track with every seed, each run as `evolve` makes it, on equal budgets. What has been run is in the
// store under ids made of suite, entrant, track and seed: it is not run again.
import pLimit from 'p-limit'
import { addCost, type Budget, type Cost, noCost } from '../core/budget.ts'
import type { Context } from '../core/context.ts'
import { ConfigError, StoreError } from '../core/errors.ts'
import type { Fact } from '../core/facts.ts'
import type { Store } from '../core/store.ts'
import { estimate } from '../estimate.ts'
import { evolve } from '../evolve.ts'
import type { EvolveOptions, TaskOptions } from '../options.ts'
import { sha } from '../prepare.ts'
import type { Report } from '../report.ts'
import { memoryStore } from '../stores/memory.ts'
import type { Entrant, Opened, Suite, Track } from './suite.ts'

/** What one run brought. Scores are on test, which it opened once. */
export interface Ran {
  readonly entrant: string
  readonly track: string
  readonly seed: number
  /** Its name in the store. */
  readonly run: string
  readonly before: number
  readonly after: number
  readonly optimism: number
  readonly cost: Cost
  /** Seconds of wall clock. */
  readonly seconds: number
  readonly rounds: number
  readonly nodes: number
  readonly invalid: number
  readonly rejected: number
  readonly stop: string
  /** The evolver's name and the hash of the chosen context. */
  readonly evolver: string
  readonly chosen: string
  /** Score of each test problem. */
  readonly per: { readonly seed: Readonly<Record<string, number>>; readonly chosen: Readonly<Record<string, number>> }
  /** Best score so far after so many calls: true, where the track knows it, else on the holdout, which flatters. */
  readonly curve: readonly (readonly [calls: number, score: number])[]
}

/** How often and for how much a suite is raced. */
export interface RaceOptions {
  readonly seeds: readonly number[]
  /** Of each run. Without a limit but minutes: the calls that so many rounds of LSE take on the track. */
  readonly budget: Budget
  readonly rounds: number
  readonly store: Store
  /** Runs side by side on one track. */
  readonly parallel: number
  /** Calls of one run in flight at once. */
  readonly concurrency?: number
  readonly meta?: string
  readonly signal?: AbortSignal
  readonly onRan?: (ran: Ran, done: number, total: number) => void
}

/** Races; the first run that fails ends it, and the same call goes on. Runs come back in the order of tracks, seeds, entrants. */
export async function race(suite: Suite, options: RaceOptions): Promise<readonly Ran[]> {
  const { seeds, parallel, signal, onRan = () => {} } = options
  const total = suite.tracks.length * seeds.length * suite.entrants.length
  const all: Ran[] = []
  let done = 0
  for (const track of suite.tracks) {
    await using opened = await track.open()
    const budget = await equalBudget(suite, { track, opened }, options)
    const limit = pLimit(parallel)
    const abort = new AbortController()
    const stop = AbortSignal.any([abort.signal, ...(signal ? [signal] : [])])
    const runs = seeds.flatMap((seed) =>
      suite.entrants.map((entrant) =>
        limit(async () => {
          stop.throwIfAborted()
          const ran = await runOne(suite, { entrant, track, opened, seed, budget }, { ...options, signal: stop })
          onRan(ran, ++done, total)
          return ran
        }),
      ),
    )
    for (const run of runs) run.catch((error: unknown) => abort.abort(error))
    const settled = await Promise.allSettled(runs)
    if (stop.aborted) throw stop.reason
    all.push(...settled.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : [])))
  }
  return all
}

/** Prepares every entrant for the first track and runs nothing. @throws {ConfigError} for one that can't race there, or for no round. */
export async function refuseUnfit({ tracks, entrants, shared }: Suite, budget: Budget = {}): Promise<void> {
  const [track] = tracks
  if (!track) return
  await using opened = await track.open()
  for (const entrant of entrants) {
    const given = { ...shared, ...opened.config, ...(await entrant.enter(track)), budget }
    const { affords = 1, seed, round, closing } = await estimate(given as EvolveOptions) // as below
    if (affords >= 1) continue
    const takes = `the seed takes about ${seed.calls} calls, a round ${round.calls}, the look at test ${closing.calls}`
    throw new ConfigError(`a budget of ${JSON.stringify(budget)} affords no round on ${track.name}: ${takes}; raise it`)
  }
}

/** Rounds that no budget reaches. */
const manyRounds = 1000

/** @throws {ConfigError} for options that can't be run. */
async function equalBudget(
  { shared, entrants }: Suite,
  { track, opened }: Pick<One, 'track' | 'opened'>,
  { budget, rounds }: RaceOptions,
): Promise<Budget> {
  const { usd, calls, tokens } = budget
  if ([usd, calls, tokens].some((limit) => limit !== undefined)) return budget
  const first = await entrants[0]?.enter(track)
  // as: a config with its model is what evolve takes; it is checked when it is prepared
  const given = { ...shared, ...opened.config, ...first, method: 'lse', rounds } as EvolveOptions
  return { ...budget, calls: Math.ceil((await estimate(given)).total.calls) }
}

interface One {
  readonly entrant: Entrant
  readonly track: Track
  readonly opened: Opened
  readonly seed: number
  readonly budget: Budget
}

/** A name for a run: the same for the same race, another as soon as a setting of the suite or the budget is another. */
export function idOf(
  suite: Pick<Suite, 'name' | 'settings' | 'shared'>,
  who: Pick<Ran, 'entrant' | 'track' | 'seed'>,
  { budget, rounds }: Pick<RaceOptions, 'budget' | 'rounds'>,
): string {
  const { name, settings, shared } = suite
  const plain = `${name}.${who.entrant}.${who.track}.${who.seed}`.replaceAll(/[^\w.-]+/g, '-')
  const all = [name, settings, shared, who.entrant, who.track, who.seed, budget, rounds]
  return `${plain.slice(0, 80)}.${sha(JSON.stringify(all)).slice(0, 8)}`
}

async function runOne(suite: Suite, { entrant, track, opened, seed, budget }: One, options: RaceOptions): Promise<Ran> {
  const { store, concurrency, meta = '{}', signal } = options
  const who = { entrant: entrant.name, track: track.name, seed }
  const id = idOf(suite, who, options)
  const had = await store.facts(id)
  // A short run is kept when it has ended, without its journal, which is much larger than its facts.
  await using passing = suite.isShort ? memoryStore({ journal: false }) : undefined
  if (passing && had.length > 0) await copyRun(store, passing, { id, meta, facts: had })
  const inside = passing ?? store
  const given = {
    ...{ ...suite.shared, ...opened.config, ...(await entrant.enter(track)) },
    ...{ id, seed, budget, rounds: manyRounds, store: inside, meta },
    ...(concurrency !== undefined && { concurrency }),
    ...(signal && { signal }),
  }
  const run = evolve(given as TaskOptions) // as above
  const { report } = await run.result
  const facts = await inside.facts(id)
  if (passing && had.length === 0) await copyRun(passing, store, { id, meta, facts })
  const { act, evolve: evolving } = report.spent
  return ranOf(who, report, { curve: curveOf(facts, opened), cost: passing ? addCost(act, evolving) : report.measured.spent })
}

async function copyRun(
  from: Store,
  to: Store,
  { id, meta, facts }: { readonly id: string; readonly meta: string; readonly facts: readonly Fact[] },
): Promise<void> {
  try {
    await to.create({ id, meta, createdAt: Date.now() })
  } catch (error) {
    // Whoever was killed while it copied left the name without facts.
    if (!(error instanceof StoreError) || (await to.facts(id)).length > 0) throw error
  }
  const measured = await from.measured(id)
  if (measured !== undefined) await to.measure(id, measured)
  await to.append(id, facts, 0) // last: where there are facts, there is all
}

function ranOf(who: Pick<Ran, 'entrant' | 'track' | 'seed'>, report: Report, { curve, cost }: Pick<Ran, 'curve' | 'cost'>): Ran {
  const { run, test, optimism, counts, stop, measured, names, per } = report
  return {
    ...who,
    run,
    before: test.seed.mean,
    after: test.chosen.mean,
    optimism,
    cost,
    seconds: measured.seconds,
    ...{ rounds: counts.rounds, nodes: counts.nodes, invalid: counts.invalid, rejected: counts.rejected },
    stop: stop.why,
    evolver: names.evolver,
    chosen: sha(JSON.stringify(report.chosenContext)),
    per,
    curve,
  }
}

function curveOf(facts: readonly Fact[], { truth }: Opened): Ran['curve'] {
  const points: [number, number][] = []
  let spent = noCost
  let best: { readonly mean: number; readonly context: Context } | undefined
  let isNew = false
  for (const fact of facts) {
    if (fact.kind === 'scored' && fact.score.full && (!best || fact.score.mean > best.mean)) {
      best = { mean: fact.score.mean, context: fact.context }
      isNew = true
    }
    if (fact.kind === 'stopped') break // the closing look is no search
    if (fact.kind !== 'settled') continue
    spent = [fact.spent.act, fact.spent.evolve].reduce(addCost, spent)
    if (best && isNew) points.push([spent.calls, truth ? truth(best.context) : best.mean])
    isNew = false
  }
  return points
}
