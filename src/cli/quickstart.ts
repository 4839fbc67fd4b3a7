// lamarck quickstart: a policy is trained while one watches, then contexts of companies it never saw are evolved with it and without, side
// by side in one table. Offline, without a key. Ctrl-C stops it where it is; the same command goes on.
import { dirname } from 'node:path'
import { ConfigError } from '../core/errors.ts'
import { mean } from '../core/score.ts'
import { loadJax } from '../engines/jax/load-jax.ts'
import { openStore } from '../evolve.ts'
import {
  type Arm,
  arms,
  type OverCompanies,
  type QuickstartFact,
  type QuickstartRow,
  type QuickstartSizes,
  type QuickstartTable,
  quickSizes,
  quickstart,
  wholeSizes,
} from '../recipes/quickstart.ts'
import type { RealFact, RealOptions } from '../recipes/quickstart-real.ts'
import type { TrainFinchFact } from '../recipes/train-finch.ts'
import { percent, points } from '../report.ts'
import { curve } from './curve.ts'
import { contextDiff } from './diff.ts'
import { onSignal } from './follow.ts'
import { type Meta, type Place, placeOf, type StoreFlags } from './runs-in.ts'
import { table } from './table.ts'
import { type CommonFlags, safe, type Terminal, terminal } from './terminal.ts'
import { progress } from './train.ts'
import { clock, count, many, typed, wholeNumber } from './words.ts'

/** The flags of `lamarck quickstart`. */
export interface QuickstartFlags extends CommonFlags, StoreFlags {
  readonly seed?: number
  readonly quick?: boolean
  readonly steps?: number
  readonly companies?: number
  readonly rounds?: number
  /** A GGUF file. */
  readonly real?: string
  readonly json?: boolean
}

/** Trains, evolves and prints the table, or both as JSON. Resolves to the exit code. */
export async function quickstartCommand(flags: QuickstartFlags): Promise<number> {
  const { json = false, seed, real } = flags
  const sizes = sizesOf(flags)
  if (seed !== undefined && !Number.isInteger(seed)) throw new ConfigError(`seed is ${seed}: give a whole number`)
  if (real !== undefined) await (await import('../recipes/quickstart-real.ts')).checkReal(real) // before minutes have gone by
  await loadJax() // before a store is made
  const place = placeOf(flags)
  const screen = terminal(flags)
  const meta: Meta = { partOf: commandOf(flags, place) }
  const stop = new AbortController()
  using _ = onSignal((again) => (again ? process.exit(130) : stop.abort(new Error('interrupted'))))
  try {
    await using store = await openStore(place.store as string) // of flags alone it is a name
    const folder = place.file === undefined ? '.lamarck' : dirname(place.file)
    using shown = new Shown(screen, place)
    const options = { store, folder, sizes, ...(seed !== undefined && { seed }), meta: JSON.stringify(meta), signal: stop.signal }
    for await (const fact of quickstart(options)) {
      if (json) screen.out(JSON.stringify(fact))
      else shown.fact(fact, Date.now() / 1000)
    }
    if (real !== undefined) await realTable(real, { ...options, screen, json })
    if (!json) screen.say(`\n${nextSteps()}`)
    return 0
  } catch (error) {
    if (!stop.signal.aborted) throw error
    screen.warn(`interrupted; go on with: ${typed(commandOf(flags, place))}`)
    return 130
  }
}

/** All of them are in memory at once. */
const mostCompanies = 1000

function sizesOf({ quick, steps, companies, rounds }: QuickstartFlags): QuickstartSizes {
  const base = quick ? quickSizes : wholeSizes
  const sizes = { steps: steps ?? base.steps, companies: companies ?? base.companies, rounds: rounds ?? base.rounds }
  for (const [name, value] of Object.entries(sizes)) {
    wholeNumber(name, value, { least: name === 'companies' ? 2 : 1 })
    if (name === 'companies' && value > mostCompanies)
      throw new ConfigError(`companies is ${value}: give ${mostCompanies} at most`)
  }
  return sizes
}

/** The command as it was given, but for what only changes what is printed. */
function commandOf(flags: QuickstartFlags, { flag }: Pick<Place, 'flag'>): string {
  const numbers = (['seed', 'steps', 'companies', 'rounds'] as const).flatMap((name) =>
    flags[name] === undefined ? [] : [` --${name} ${flags[name]}`],
  )
  const real = flags.real === undefined ? '' : ` --real ${flags.real}`
  return `lamarck quickstart${flags.quick ? ' --quick' : ''}${numbers.join('')}${real}${flag}`
}

const names: Readonly<Record<QuickstartRow['name'], string>> = {
  seed: 'seed context',
  chain: 'untrained, chain',
  tree: 'untrained, tree',
  trained: 'trained, tree',
  perfect: 'perfect editor',
}

/** Lines of the curve. */
const rows = 6

/** What is printed of the facts; on a terminal with a few lines at the bottom that are drawn anew. */
class Shown implements Disposable {
  readonly #screen: Terminal
  readonly #place: Place
  readonly #lines = progress()
  readonly #rewards: number[] = []
  readonly #searched = new Map<Arm, number>()
  #sizes: QuickstartSizes = wholeSizes
  #began: { readonly at: number; readonly step: number } | undefined
  #dev = ''
  #drawn = 0

  constructor(screen: Terminal, place: Place) {
    this.#screen = screen
    this.#place = place
  }

  fact(fact: QuickstartFact, now: number): void {
    const { say, out } = this.#screen
    switch (fact.kind) {
      case 'quickstart':
        this.#sizes = fact.sizes
        for (const line of this.#opening(fact)) say(wrapped(line, this.#screen.columns))
        return
      case 'training':
        this.#training(fact.fact, fact.isPast, now)
        return
      case 'searched':
        this.#search(fact)
        return
      case 'table':
        this.#clear()
        out(`\n${tableText(fact, this.#screen)}`)
        say(`\n${shownText(fact, this.#screen, this.#place.flag)}`)
    }
  }

  [Symbol.dispose](): void {
    this.#clear()
  }

  #opening({ sizes, training, isNew }: QuickstartFact & { kind: 'quickstart' }): readonly string[] {
    const { paint } = this.#screen
    const isQuick = sizes.steps < wholeSizes.steps || sizes.companies < wholeSizes.companies || sizes.rounds < wholeSizes.rounds
    return [
      paint(
        'bold',
        'An evolver is trained by LSE, with the advantages of GRPO, then evolves contexts of companies it never saw.',
      ),
      'In Finch (simulated): companies, models, answers are programs; SQL really runs.',
      ...(isQuick ? [`Smaller than the whole: ${sizesText(sizes)} (whole: ${sizesText(wholeSizes)}).`] : []),
      ...(isNew ? [] : [`Going on with what is in ${training}; --seed 2 makes another.`]),
      '',
    ]
  }

  #training(fact: TrainFinchFact, isPast: boolean, now: number): void {
    const { say, columns } = this.#screen
    if (fact.kind === 'looked') this.#dev = `${(100 * fact.dev).toFixed(0)} %`
    if (fact.kind === 'step') this.#rewards.push(fact.metrics.reward ?? Number.NaN)
    if (columns === undefined) {
      for (const line of isPast ? [] : this.#lines(fact, now)) say(line)
    } else if (fact.kind === 'set') {
      this.#draw([this.#screen.paint('dim', 'looking for contexts to learn from')])
    } else if (fact.kind === 'step') {
      if (!isPast) this.#began ??= { at: now, step: fact.step - 1 }
      const left = this.#began && ((now - this.#began.at) / (fact.step - this.#began.step)) * (this.#sizes.steps - fact.step)
      const line = `step ${fact.step}/${this.#sizes.steps}  dev ${this.#dev} of the way`
      this.#draw([...this.#curve(columns), `${line}${left === undefined ? '' : `  ${clock(left)} left`}`])
    }
    if (fact.kind !== 'ended') return
    this.#clear()
    for (const line of this.#curve(columns ?? 80)) say(line)
    if (fact.why !== 'done') this.#screen.warn(`the training ended early: ${fact.why}${fact.detail ? `, ${fact.detail}` : ''}`)
    say(`trained; step ${fact.best.step} does best on development companies\n`)
  }

  #curve(columns: number): readonly string[] {
    const { paint } = this.#screen
    const label = (x: number): string => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(3)}`
    const lines = curve(smooth(this.#rewards), { columns: Math.min(70, columns - 12), rows, of: this.#sizes.steps, label })
    return [
      paint('dim', 'reward of an edit (change in score), mean of five steps, in Finch (simulated)'),
      ...lines.map((l) => paint('cyan', l)),
    ]
  }

  #search({ arm, done, of, run }: QuickstartFact & { kind: 'searched' }): void {
    this.#searched.set(arm, done)
    const line = (name: Arm): string => `${names[name].padEnd(16)}  ${this.#searched.get(name) ?? 0} of ${of} companies`
    if (this.#screen.columns !== undefined && !(done === of && arm === arms.at(-1))) {
      this.#draw([`evolving, ${this.#sizes.rounds} edits each`, ...arms.map(line)])
    } else if (done === of && this.#screen.columns === undefined) {
      this.#screen.say(`evolved by ${line(arm)}, the last in run ${run}`)
    }
  }

  #draw(lines: readonly string[]): void {
    this.#clear()
    this.#screen.draw(lines.map((line) => `${line}\n`).join(''))
    this.#drawn = lines.length
  }

  #clear(): void {
    if (this.#drawn > 0) this.#screen.draw(`\r\u001b[${this.#drawn}A\u001b[0J`)
    this.#drawn = 0
  }
}

/** Each value with the four before it. */
function smooth(values: readonly number[]): readonly number[] {
  return values.map((_, i) => mean(values.slice(Math.max(0, i - 4), i + 1)))
}

function sizesText({ steps, companies, rounds }: QuickstartSizes): string {
  return `${many(steps, 'step')}, ${companies} companies, ${many(rounds, 'edit')}`
}

/** The table, and what its numbers are. */
export function tableText(t: QuickstartTable, { paint, columns }: Pick<Terminal, 'paint' | 'columns'>): string {
  const cells = t.rows.map((row) => [
    names[row.name],
    `${(100 * row.test.mean).toFixed(1)} ± ${half(row.test)} %`,
    row.name === 'seed' ? '' : `${points(row.gain.mean)} ± ${half(row.gain)}`,
    ...row.way.map((share) => (row.name === 'seed' || row.name === 'perfect' ? '' : `${(100 * share).toFixed(0)} %`)),
  ])
  const right = cells[0]!.map((_, i) => i).slice(1)
  const head = ['in Finch (simulated)', 'test', 'over the seed', ...t.marks.map((n) => many(n, 'edit'))]
  const [first = '', ...lines] = table([head, ...cells], right).split('\n')
  const { mean, interval } = t.trainedOver
  const [low, high] = interval.map(points)
  const verdict = `trained over untrained, in the tree: ${points(mean)} points (95 % ${low} to ${high})`
  const trained = lines.map((line, i) => (t.rows[i]!.name === 'trained' ? paint('bold', line) : line))
  return [
    paint('bold', first),
    ...trained,
    '',
    paint('bold', paint(interval[0] > 0 ? 'green' : 'yellow', wrapped(`${verdict}, in Finch (simulated)`, columns))),
    '',
    paint('dim', wrapped(notes(t), columns)),
  ].join('\n')
}

function notes({ sizes, rows: all, marks, finch, training }: QuickstartTable): string {
  const calls = all.flatMap(({ name, calls: n, invalid = 0 }) =>
    n === undefined ? [] : [`${names[name]} ${count(n)} (${(100 * invalid).toFixed(1)} %)`],
  )
  return [
    'test: expected score, on problems that no search sees, of the context that did best on the holdout;',
    `mean over ${sizes.companies} companies ± half of its 95 % t interval. over the seed: points, paired.`,
    `${marks.map((n) => many(n, 'edit')).join(', ')}: share of the way from the seed context to the perfect editor's, which knows what every word means.`,
    `Each has the same ${many(sizes.rounds, 'round')}, problems and draws.`,
    `Model calls a company, and edits that could not be used, which take none to score: ${calls.join('; ')}.`,
    `Training, once for all: ${count(training.edits)} edits of other companies, scored in closed form;`,
    `by attempts that were ${count(training.calls)} calls. Finch ${finch}.`,
  ].join(' ')
}

/** Words in lines of at most so many columns, one left free; 100 where there is no screen. */
function wrapped(text: string, columns = 101): string {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length < Math.min(columns, 101)) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines.join('\n')
}

function half({ interval: [low, high] }: OverCompanies): string {
  return ((100 * (high - low)) / 2).toFixed(1)
}

/** The best context of one company as text, what changed in it, and where to look further. */
function shownText({ shown }: QuickstartTable, screen: Terminal, flag: string): string {
  const { paint } = screen
  const [before, after] = shown.test.map((score) => `${(100 * score).toFixed(1)} %`)
  const title = `the trained policy's context for ${shown.company}: test ${before} → ${after}, in Finch (simulated)`
  const text = Object.values(shown.after).map((part) => safe(String(part)))
  return [
    paint('bold', wrapped(title, screen.columns)),
    ...text,
    '',
    paint('bold', 'what changed in it'),
    contextDiff(shown.before, shown.after, screen),
    '',
    table([
      [typed(`lamarck status ${shown.run}${flag}`), 'how it came about: the tree'],
      [typed(`lamarck report ${shown.run}${flag}`), 'what it found; --html: a page'],
      [typed(`lamarck runs${flag}`), 'all runs that the table is made of'],
    ]),
  ].join('\n')
}

interface RealShowing extends RealOptions {
  readonly screen: Terminal
  readonly json: boolean
}

/** The second table: two tasks, a real model. */
async function realTable(file: string, { screen, json, ...options }: RealShowing): Promise<void> {
  const { real } = await import('../recipes/quickstart-real.ts')
  const all: RealFact[] = []
  if (!json)
    screen.say(
      `\n${screen.paint('bold', 'A real model learns from its failures, shown to it as examples; no evolver is a model here.')}`,
    )
  for await (const fact of real(file, options)) {
    all.push(fact)
    if (json) screen.out(JSON.stringify(fact))
    else screen.say(`${fact.task}, split ${fact.split}: run ${fact.report.run}`)
  }
  if (!json) screen.out(realText(all, screen))
}

/** One line a split, then the mean of each task. */
function realText(all: readonly RealFact[], { paint }: Pick<Terminal, 'paint'>): string {
  const model = (all[0]?.report.names.model ?? '').replace(/\[.*$/, '') // without the words it chooses from
  const lines = [...Map.groupBy(all, (fact) => fact.task).values()].flatMap((facts) => [
    ...facts.map(({ task, split, report: { test, gain, spent } }) => [
      task,
      String(split),
      `${percent(test.seed.mean)} → ${percent(test.chosen.mean)}`,
      `${points(gain.mean)} (${gain.interval.map(points).join(' to ')})`,
      count(spent.act.calls),
    ]),
    [facts[0]!.task, 'mean', '', points(mean(facts.map(({ report }) => report.gain.mean))), ''],
  ])
  const head = ['task', 'split', 'test, seed → chosen', 'gain on test [95 %]', 'calls']
  const [first = '', ...rest] = table([head, ...lines], [4]).split('\n')
  return [paint('bold', `with ${safe(model)}, a real model`), paint('bold', first), ...rest].join('\n')
}

function nextSteps(): string {
  return table([
    [typed('lamarck init'), 'a task of your own'],
    [typed('lamarck evolve --model ollama:qwen3'), 'with a model of your own'],
    [typed('lamarck train'), 'a training with all its switches'],
  ])
}
