// Writes docs/results.md from the files in benchmarks/results, which hold every run. Run: node scripts/results.ts
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chosenRate } from '../benchmarks/chosen-rate.ts'
import type { FinchTraining, Training } from '../benchmarks/finch-results.ts'
import { head, row } from '../benchmarks/table.ts'
import type { BenchRecord } from '../src/bench/record.ts'
import { type Figure, figure } from '../src/bench/standings.ts'
import { benchNotes, benchTables } from '../src/bench/tables.ts'
import { mean } from '../src/core/score.ts'

/** Tables that some other benchmark made. */
interface Plain {
  readonly title: string
  readonly command: string
  readonly tables: readonly {
    readonly caption: string
    readonly columns: readonly string[]
    readonly rows: readonly (readonly string[])[]
  }[]
}

const root = join(import.meta.dirname, '..')

export const page: string = join(root, 'docs/results.md')

/** The whole page, from the files of a folder. */
export function results(folder: string = join(root, 'benchmarks/results')): string {
  const files = readdirSync(folder).flatMap((name) => (name.endsWith('.json') ? [name.slice(0, -'.json'.length)] : []))
  const records = files
    .sort()
    .map((name) => JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as BenchRecord | FinchTraining | Plain) // our own files
  const kinds = [
    records.filter((r) => 'kind' in r && r.kind === 'bench').map((r) => race(r as BenchRecord)),
    records.filter((r) => 'kind' in r && r.kind === 'finch-training').map((r) => training(r as FinchTraining)),
    records.filter((r) => !('kind' in r)).map((r) => plain(r as Plain)),
  ]
  return `${[intro, ...kinds.flat()].join('\n\n')}\n`
}

const intro = `# Results

Written by \`node scripts/results.ts\` from \`benchmarks/results\`, where every run is kept, the bad ones too; nothing here is typed by hand. Numbers from [Finch](finch.md), the embedded world, say "in Finch (simulated)" and nothing about language models. What a real local model did is in [measured.md](measured.md), times and sizes are in [benchmarks.md](benchmarks.md). Square brackets hold 95 % intervals.`

function race(record: BenchRecord): string {
  const { suite, caption, command, made, settings } = record
  const about = Object.entries({ ...settings, ...made }).map(
    ([name, value]) => `${name} ${Array.isArray(value) ? value.join('; ') : value}`,
  )
  return [
    `## Race: ${suite}${caption === undefined ? '' : `, ${caption}`}`,
    `\`${command}\``,
    ...benchTables(record).map(({ title, rows: [first = [], ...rows] }) => [`${title}:`, '', table(first, rows)].join('\n')),
    ...benchNotes(record),
    `Settings: ${about.join(', ')}.`,
  ].join('\n\n')
}

function plain({ title, command, tables }: Plain): string {
  return [`## ${title}`, `\`${command}\``, ...tables.map((t) => [t.caption, '', table(t.columns, t.rows)].join('\n'))].join(
    '\n\n',
  )
}

function table(first: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head(...first), ...rows.map((cells) => row(...cells))].join('\n')
}

/** Trainings of one kind of reward, at the learning rate that development companies chose. */
interface Arm {
  readonly name: string
  readonly trainings: readonly Training[]
}

function training(record: FinchTraining): string {
  const { caption, finch, commit, command, made, settings, ends } = record
  const arms = armsOf(record)
  const most = Math.max(...arms.map((arm) => arm.trainings.length))
  const top = arms.filter((arm) => arm.trainings.length === most).reduce((a, b) => (devOf(b) > devOf(a) ? b : a))
  const own = ends['finch-actor']
  const about = `Finch ${finch}, commit ${commit}, ${settings.companies} companies of the set ${settings.set}, holdout ${settings.reward}, test ${settings.test}; seed context ${own.seed.toFixed(3)}, perfect editor ${own.perfect.toFixed(3)}. \`${command}\`, Node ${made.node}, ${made.machine}. Trainings and evaluations that earlier commits made of the same Finch and warm start are kept as they were.`
  return [
    `## Training the policy, ${caption}`,
    about,
    'Shares of the way from the seed context (0 %) to where the perfect editor ends (100 %): expected score on test of the best node by the holdout. Intervals are over trainings and companies together: the variance of the means of trainings plus that of the means of companies, t with degrees of freedom by Satterthwaite. The untrained policy has as many seeds of its searches. Where there is one training, its chance is not in the interval.',
    `### Learning rates, ${caption}`,
    'The best look at development companies (mean share of the way over five rounds), a mean over as many trainings as the brackets say. The highest of a row was taken.',
    rates(record),
    `### Against the aims, ${caption}`,
    `Trained: ${top.name}, learning rate ${top.trainings[0]!.settings.learningRate}, ${count(top.trainings.length, 'training')}, of the arms with as many the one with the best mean on development companies. Tree with c = 0.1.`,
    aims(record, top),
    `### All arms, ${caption}`,
    allArms(record, arms),
    claims(record, arms, top),
    `### UCB's constant, ${caption}`,
    'The untrained policy in the tree. For scores in [0, 1].',
    constants(record),
    `### Every training, ${caption}`,
    'Looks at development companies by step; the best one became the policy.',
    every(record),
  ].join('\n\n')
}

function armsOf({ trainings, evaluations }: FinchTraining): readonly Arm[] {
  const evaluated = new Set(evaluations.map((e) => e.policy))
  return [...Map.groupBy(trainings, (t) => t.arm)].flatMap(([name, all]) => {
    const rate = chosenRate(all)
    const its = all.filter((t) => t.settings.learningRate === rate && evaluated.has(t.name))
    return its.length > 0 ? [{ name, trainings: its }] : []
  })
}

const devOf = ({ trainings }: Arm): number => mean(trainings.map((t) => t.best.dev))

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}

function percent(x: number): string {
  return `${(100 * x).toFixed(1)} %`
}

function shown({ mean: at, interval: [low, high] }: Figure): string {
  return `${(100 * at).toFixed(1)} % [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`
}

/** Values by seed and company, [seed][company]. */
type Matrix = readonly (readonly number[])[]

function figureOf(matrix: Matrix): Figure {
  const companies = (matrix[0] ?? []).map((_, i) => mean(matrix.map((seed) => seed[i]!)))
  return figure([{ track: 'all', seeds: matrix.map(mean), problems: companies }], [-10, 10])
}

interface Search {
  readonly policies: readonly string[]
  readonly actor?: string
  readonly search?: string
  readonly round: number
}

function matrixOf(
  { evaluations }: FinchTraining,
  { policies, actor = 'finch-actor', search = 'tree, c = 0.1', round }: Search,
): Matrix {
  return evaluations
    .filter(
      (e) =>
        policies.includes(e.policy) &&
        e.actor === actor &&
        e.search === search &&
        e.rounds.includes(round) &&
        e.shares.length > 1,
    )
    .sort((a, b) => a.seed - b.seed)
    .map((e) => e.shares.map((company) => company[e.rounds.indexOf(round)]!))
}

function minus(a: Matrix, b: Matrix): Matrix {
  return a.map((seed, s) => seed.map((x, i) => x - b[s]![i]!))
}

const untrained = ['untrained']
/** Drawn more greedily; the name that finch-results.ts gives it. */
const sharpened = ['untrained, drawn at temperature 0.4']
const namesOf = ({ trainings }: Arm): readonly string[] => trainings.map((t) => t.name)

function rates({ caption, trainings }: FinchTraining): string {
  const all = [...new Set(trainings.map((t) => t.settings.learningRate))].sort((a, b) => a - b)
  const rows = [...Map.groupBy(trainings, (t) => t.arm)].map(([arm, its]) => {
    const grid = Map.groupBy(its, (t) => t.settings.learningRate)
    const chosen = chosenRate(its)
    return [
      arm,
      ...all.map((rate) => {
        const found = grid.get(rate) ?? []
        if (found.length === 0) return '–'
        const ended = [...new Set(found.map((t) => t.why))].filter((why) => why !== 'done')
        const text = [`${percent(mean(found.map((t) => t.best.dev)))} (${found.length})`, ...ended].join(', ')
        return rate === chosen ? `**${text}**` : text
      }),
    ]
  })
  return table([caption, ...all.map(String)], rows)
}

function aims(record: FinchTraining, top: Arm): string {
  const { caption, ends } = record
  const at = (policies: readonly string[], round: number, actor?: string): Figure =>
    figureOf(matrixOf(record, { policies, round, ...(actor !== undefined && { actor }) }))
  const trained = namesOf(top)
  const [u1, u3, u25] = [1, 3, 25].map((round) => at(untrained, round)) as [Figure, Figure, Figure] // one each
  const [t1, t3, t25] = [1, 3, 25].map((round) => at(trained, round)) as [Figure, Figure, Figure] // one each
  const times = (a: Figure, b: Figure): number => a.mean / b.mean
  const ratio = (x: number, aim: number): string => `${x >= aim ? 'reached' : '**short**'}: ${x.toFixed(1)} ×`
  const more = minus(matrixOf(record, { policies: trained, round: 25 }), matrixOf(record, { policies: untrained, round: 25 }))
  const lead = figureOf(more)
  const isFar = lead.mean >= 0.2 && t25.mean >= 0.85
  const need = roundsToReach(record, t3.mean)
  const valid = record.valid.filter((v) => trained.includes(v.policy))
  const share = valid.reduce((sum, v) => sum + v.valid, 0) / valid.reduce((sum, v) => sum + v.of, 0)
  const validUntrained = record.valid.find((v) => v.policy === 'untrained')
  const way = (actor: keyof typeof ends): number => ends[actor].perfect - ends[actor].seed
  const t25Other = at(trained, 25, 'finch-actor-2')
  const carried = (t25Other.mean * way('finch-actor-2')) / (t25.mean * way('finch-actor'))
  const needed = need.reached
    ? `${need.rounds} rounds (${need.rounds * callsARound} calls, ${count(need.seeds, 'seed')})`
    : `more than ${need.rounds} rounds (at ${percent(need.share)} then, ${count(need.seeds, 'seed')})`
  return table(
    [caption, 'untrained', 'trained', 'aim', 'so'],
    [
      ['after 1 edit', shown(u1), shown(t1), 'trained ≥ 3 × untrained', ratio(times(t1, u1), 3)],
      ['after 3 edits', shown(u3), shown(t3), 'trained ≥ 2 × untrained', ratio(times(t3, u3), 2)],
      [
        ...['after 25 rounds', shown(u25), shown(t25), '≥ +20 points over untrained, ≥ 85 %'],
        `${isFar ? 'reached' : '**short**'}: ${shown(lead).replace(' %', ' points')} over it, at ${percent(t25.mean)}`,
      ],
      [
        ...['rounds to where the trained one is after 3', needed, `3 rounds (${3 * callsARound} calls)`, '≥ 8 × as many'],
        need.reached ? ratio(need.rounds / 3, 8) : `reached: more than ${(need.rounds / 3).toFixed(0)} ×`,
      ],
      [
        ...[
          `valid edits of ${valid[0]?.of ?? 0} samples a policy, drawn by the grammar; freely, as it learns`,
          validUntrained
            ? `${percent(validUntrained.valid / validUntrained.of)}; ${percent(validUntrained.freely / validUntrained.of)}`
            : '',
          `${percent(share)}; ${percent(valid.reduce((sum, v) => sum + v.freely, 0) / valid.reduce((sum, v) => sum + v.of, 0))}`,
        ],
        ...['≥ 99.5 %', share >= 0.995 ? 'reached' : '**short**'],
      ],
      [
        ...['gain with the second actor, never met in training', shown(at(untrained, 25, 'finch-actor-2')), shown(t25Other)],
        ...['≥ 80 % of its gain in score with its own', `${carried >= 0.8 ? 'reached' : '**short**'}: ${percent(carried)}`],
      ],
    ],
  )
}

/** Ten problems of a batch, fifty of the holdout, and the edit. */
const callsARound = 61

/** After how many rounds the untrained policy's mean curve is at a share; the tree or the chain, whichever is there first. */
function roundsToReach(
  { evaluations }: FinchTraining,
  share: number,
): { readonly rounds: number; readonly reached: boolean; readonly share: number; readonly seeds: number } {
  const long = evaluations.filter((e) => e.policy === 'untrained' && e.shares.length === 1)
  const curves = [...Map.groupBy(long, (e) => e.search).values()].map((its) =>
    its[0]!.rounds.map((_, r) => mean(its.map((e) => e.shares[0]![r]!))),
  )
  const last = Math.max(...long.map((e) => e.rounds.at(-1) ?? 0))
  const seeds = new Set(long.map((e) => e.seed)).size
  const found = curves.map((curve) => curve.findIndex((x) => x >= share) + 1).filter((rounds) => rounds > 0)
  return found.length > 0
    ? { rounds: Math.min(...found), reached: true, share, seeds }
    : { rounds: last, reached: false, share: Math.max(...curves.map((c) => c.at(-1)!)), seeds }
}

function allArms(record: FinchTraining, arms: readonly Arm[]): string {
  const searches = [
    { name: 'tree', of: {} },
    { name: 'chain', of: { search: 'chain' } },
    { name: 'tree, second actor', of: { actor: 'finch-actor-2' } },
    { name: 'chain, second actor', of: { actor: 'finch-actor-2', search: 'chain' } },
  ]
  const who = [
    { name: 'untrained', policies: untrained },
    { name: 'untrained at temperature 0.4', policies: sharpened },
    ...arms.map((arm) => ({ name: arm.name, policies: namesOf(arm) })),
  ]
  const marks = [1, 3, 10, 25]
  const rows = searches.flatMap(({ name: search, of }) =>
    who.map(({ name, policies }) => [
      `${name}, ${search}`,
      ...marks.map((round) => shown(figureOf(matrixOf(record, { policies, round, ...of })))),
    ]),
  )
  return table([record.caption, ...marks.map((m) => `after ${m}`)], rows)
}

/** What the paper found, and whether it is so in Finch. */
function claims(record: FinchTraining, arms: readonly Arm[], top: Arm): string {
  const armOf = (name: string): Arm | undefined => arms.find((arm) => arm.name === name)
  const told = (f: Figure): string =>
    `${shown(f).replace(' %', ' points')}, ${f.interval[0] > 0 ? 'so' : f.interval[1] < 0 ? 'the other way round' : 'not told apart'}`
  const between = (a: readonly string[], b: readonly string[], more: { search?: string; round: number }): Figure =>
    figureOf(minus(matrixOf(record, { policies: a, ...more }), matrixOf(record, { policies: b, ...more })))
  const treeOver = (policies: readonly string[]): Figure =>
    figureOf(minus(matrixOf(record, { policies, round: 25 }), matrixOf(record, { policies, round: 25, search: 'chain' })))
  const [delta, group] = [armOf('delta'), armOf('grpo')]
  const n = Math.min(delta?.trainings.length ?? 0, group?.trainings.length ?? 0)
  const firstOf = (arm: Arm): readonly string[] => namesOf(arm).slice(0, n)
  const reward =
    delta && group
      ? [3, 25].map(
          (round) =>
            `- The paper has the change in score (delta) above the score after, normalised by group (GRPO). In Finch, after ${round} rounds, ${count(n, 'training')} each, delta minus GRPO: ${told(between(firstOf(delta), firstOf(group), { round }))}.`,
        )
      : []
  return [
    `What the paper found, ${record.caption}:`,
    '',
    `- Trained above untrained, after 25 rounds in the tree: ${told(between(namesOf(top), untrained, { round: 25 }))}.`,
    `- Not in the paper: beside the untrained policy drawn at temperature 0.4, which learned nothing and is only sharper, the trained one (drawn at 1) is at ${[3, 25].map((round) => `${told(between(namesOf(top), sharpened, { round }))} after ${round} rounds`).join(', and at ')}.`,
    `- The tree above the chain, after 25 rounds: untrained ${told(treeOver(untrained))}; trained ${told(treeOver(namesOf(top)))}.`,
    ...reward,
  ].join('\n')
}

function constants(record: FinchTraining): string {
  const searches = [
    ...new Set(
      record.evaluations
        .filter((e) => e.policy === 'untrained' && e.search.startsWith('tree') && e.shares.length > 1)
        .map((e) => e.search),
    ),
  ]
  const marks = [10, 25]
  const constantOf = (search: string): number => Number(search.split('= ')[1])
  const rows = searches
    .sort((a, b) => constantOf(a) - constantOf(b))
    .map((search) => [search, ...marks.map((round) => shown(figureOf(matrixOf(record, { policies: untrained, search, round }))))])
  return table([record.caption, ...marks.map((m) => `after ${m}`)], rows)
}

function every({ caption, trainings }: FinchTraining): string {
  const steps = [...new Set(trainings.flatMap((t) => t.looks.map(([step]) => step)))].sort((a, b) => a - b)
  const rows = trainings.map(({ name, looks, best, why, seconds }) => [
    name,
    ...steps.map((step) => {
      const dev = looks.find(([at]) => at === step)?.[1]
      return dev === undefined ? '–' : step === best.step ? `**${percent(dev)}**` : percent(dev)
    }),
    why,
    seconds ? `${seconds.cpu} s` : '–',
    seconds ? `${seconds.wall} s` : '–',
  ])
  return table([caption, ...steps.map((step) => `step ${step}`), 'ended', 'CPU', 'clock'], rows)
}

if (import.meta.main) writeFileSync(page, results())
