// Replays what gepa.optimize decided (test/golden/gepa.json; the script named in it wrote it), from the same model, metric and draws.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { ids, toyOptions } from '../../test/toys.ts'
import { noCost } from '../core/budget.ts'
import type { Context } from '../core/context.ts'
import type { Fact, Options } from '../core/facts.ts'
import type { Answer, Command, Method } from '../core/method.ts'
import { type Rollout, scoreOf } from '../core/score.ts'
import { decide, play } from '../core/search.ts'
import { apply, type State, start } from '../core/state.ts'
import { gepa, gepaWriter, newText, renderRecords } from './gepa.ts'
import type { Chance } from './gepa-chance.ts'
import { isMerge } from './gepa-merge.ts'
import { frontsOf, poolOf } from './gepa-pareto.ts'

type Draw =
  | { readonly kind: 'shuffle' | 'order'; readonly got: readonly number[] }
  | { readonly kind: 'pick'; readonly of: readonly number[]; readonly got: number }
  | { readonly kind: 'sample'; readonly of: readonly number[]; readonly got: readonly number[] }
  | { readonly kind: 'weighted'; readonly of: readonly (readonly [number, number])[]; readonly got: number }

type Asked =
  | { readonly kind: 'evaluate'; readonly context: Context; readonly ids: readonly string[] }
  | { readonly kind: 'reflect'; readonly prompt: number; readonly answer: string }

interface Run {
  readonly name: string
  readonly settings: {
    readonly context: Context
    readonly parts: readonly string[]
    readonly train: number
    readonly val: number
    readonly cap: number
    readonly flat: boolean
    readonly merge: boolean
    readonly parents: number
    readonly proposals: number
    readonly accept: 'strict_improvement' | 'improvement_or_equal'
  }
  readonly draws: readonly Draw[]
  readonly calls: readonly Asked[]
  readonly iterations: readonly {
    readonly calls: number
    readonly parents: readonly number[]
    readonly batches: readonly (readonly string[])[]
    readonly skipped: number
    readonly rejected: number
    readonly accepted: readonly { readonly parents: readonly number[]; readonly node: number }[]
    readonly merge?: { readonly parents: readonly number[]; readonly context: Context }
  }[]
  readonly end: {
    readonly calls: number
    readonly best: number
    readonly contexts: readonly Context[]
    readonly parents: readonly (readonly number[])[]
    readonly scores: readonly (readonly number[])[]
    readonly fronts: readonly (readonly number[])[]
    readonly next: readonly number[]
  }
}

const golden = JSON.parse(readFileSync('test/golden/gepa.json', 'utf8')) as {
  readonly answers: readonly { readonly answer: string; readonly text: string }[]
  readonly rendered: { readonly records: readonly Readonly<Record<string, unknown>>[]; readonly prompt: string }
  readonly runs: readonly Run[]
} // written by the script it names

const template = '<curr_param>\n===\n<side_info>'

/** FNV-1a, 32 bits; ASCII. */
function fnv(text: string): number {
  let h = 0x811c9dc5
  for (const char of text) h = Math.imul(h ^ char.charCodeAt(0), 0x01000193) >>> 0
  return h
}

/** The metric of the script. */
function scripted(id: string, context: Context, flat: boolean): number {
  if (flat) return 0.5
  const text = Object.values(context)[fnv(id) % Object.keys(context).length] as string // all parts are texts
  const level = (fnv(`${text}|${id}`) % 4) + Math.min(2, text.split(' ').length - 1)
  return Math.min(level, id[0] === 'v' ? 3 : 4) / 4
}

/** The model of the script. */
function reflection(prompt: string): string {
  const text = prompt.split('\n===\n')[0]!
  const h = fnv(prompt)
  const next = `${text} w${h % 997}`
  const shapes = [
    `So:\n\`\`\`\n${next}\n\`\`\``,
    `\`\`\`text\n${next}\n\`\`\`\nDone.`,
    next,
    `\`\`\`\n${next}`,
    `\`\`\` ${next} \`\`\``,
    `${next}\n\`\`\``,
  ]
  if (h % 11 === 0) return `\`\`\`\n${text}\n\`\`\``
  if (h % 13 === 0) return '``````'
  return shapes[(h >>> 4) % shapes.length]!
}

/** Gives out the draws of the original, each checked against what ours would draw from. */
function replayed({ draws, settings: { parts } }: Run): { readonly chance: () => Chance; readonly left: () => number } {
  let at = 0
  const epochs = new Map<number, readonly string[]>()
  const number = (x: unknown): number => (typeof x === 'object' ? (x as { id: number }).id : Number(String(x).replace(/\D/, ''))) // nodes, ids of nodes, ids of problems
  const sorted = (xs: readonly unknown[]): number[] => xs.map(number).sort((a, b) => a - b)
  const take = <K extends Draw['kind']>(kind: K): Draw & { kind: K } => {
    expect(draws[at]?.kind).toBe(kind)
    return draws[at++] as Draw & { kind: K } // checked
  }
  const chance: Chance = {
    shuffle(all, epoch) {
      const order = epochs.get(epoch) ?? take('shuffle').got.map((n) => `t${n}`)
      epochs.set(epoch, order)
      expect([...order].sort()).toEqual([...all].sort())
      return order
    },
    order(all) {
      const got = typeof all[0] === 'string' ? parts : take('order').got
      expect([...got].sort()).toEqual([...all].sort())
      return all.toSorted((a, b) => (got as unknown[]).indexOf(a) - (got as unknown[]).indexOf(b)) // of one kind
    },
    pick(of) {
      const draw = take('pick')
      expect(sorted(of)).toEqual(draw.of)
      return of.find((x) => number(x) === draw.got)!
    },
    sample(of, k) {
      const draw = take('sample')
      expect([sorted(of), k]).toEqual([draw.of, draw.got.length])
      return draw.got.map((n) => of.find((x) => number(x) === n)!)
    },
    weighted(of, weights) {
      const draw = take('weighted')
      expect(of.map((x, i) => [number(x), weights[i]])).toEqual(draw.of)
      return of.find((x) => number(x) === draw.got)!
    },
  }
  return { chance: () => chance, left: () => draws.length - at }
}

interface Replay {
  readonly facts: readonly Fact[]
  readonly state: State
  readonly calls: readonly Asked[]
  /** Metric calls before each round of edits. */
  readonly before: readonly number[]
}

/** Our search on the same, command by command. */
function replay({ settings, iterations }: Run, method: Method): Replay {
  const { context, train, val, flat } = settings
  const splits = { train: ids('t', train), holdout: ids('v', val), confirm: [], test: ['x'], ood: [] }
  const o: Options = toyOptions({ context, splits, batch: 3, rounds: iterations.length })
  const s = start(o)
  const [facts, calls, before] = [[] as Fact[], [] as Asked[], [] as number[]]
  const metricCalls = (): number => calls.reduce((n, c) => n + (c.kind === 'evaluate' ? c.ids.length : 0), 0)
  const writer = gepaWriter({ template })
  const answer = (command: Command): Answer => {
    if (command.kind === 'overlap') throw new TypeError('no closing look here')
    if (command.kind === 'propose') {
      const prompt = writer.write(command.observation)[0]!.content
      const completion = reflection(prompt)
      calls.push({ kind: 'reflect', prompt: fnv(prompt), answer: completion })
      // what the original makes of every answer; ours turns some of them down (docs/parity.md)
      const { node, part } = command.observation
      return { kind: 'edit', context: { ...node.context, [part!]: newText(completion) }, completion, cost: noCost }
    }
    const rollouts = command.ids.map((exampleId): Rollout => {
      const score = scripted(exampleId, command.context, flat)
      const said = `${score}`.replace(/^([01])$/, '$1.0') // as Python writes it
      return {
        exampleId,
        draw: command.draws[0],
        score,
        question: `q ${exampleId}`,
        answer: ` a ${said} `,
        feedback: `it was ${said}`,
      }
    })
    const last = calls.at(-1)
    if (command.draws[0] > 0 && last?.kind === 'evaluate')
      calls[calls.length - 1] = { ...last, ids: [...last.ids, ...command.ids] }
    else calls.push({ kind: 'evaluate', context: command.context, ids: command.ids })
    return { kind: 'score', score: scoreOf(rollouts, 1), rollouts: command.role === 'batch' ? rollouts : [], cost: noCost }
  }
  for (;;) {
    const fact = decide(s, method, o, { lost: noCost, expired: false })
    if (fact?.kind !== 'planned') break
    if (fact.plan.kind === 'edit') before.push(metricCalls())
    apply(s, fact)
    facts.push(fact)
    const round = play(s, method, o, fact.plan)
    let step = round.next()
    while (!step.done) step = round.next(step.value.map(answer))
    for (const made of step.value) {
      apply(s, made)
      facts.push(made)
    }
  }
  return { facts, state: s, calls, before }
}

const sortedIds = (calls: readonly Asked[]): unknown[] =>
  calls.map((c) => (c.kind === 'evaluate' ? { ...c, ids: [...c.ids].sort() } : c))

describe.each(golden.runs)('as the package does: $name', (run) => {
  const { settings, end, iterations } = run
  const { merge, parents, proposals, accept } = settings
  const draws = replayed(run)
  const ours = replay(run, gepa({ merge, parents, proposals, accept, template, chance: draws.chance }))
  const rounds = ours.facts.flatMap((f) => (f.kind === 'planned' && f.plan.kind === 'edit' ? [f.plan] : []))

  test('the same calls in the same order, prompts to the byte', () => {
    expect(sortedIds(ours.calls)).toEqual(sortedIds(run.calls))
  })

  test('the same draws are asked for, and all of them', () => {
    expect(draws.left()).toBe(0)
  })

  test('the same parents, minibatches, verdicts and merges, iteration by iteration', () => {
    const mine = rounds.map((plan, i) => {
      const made = ours.facts.filter((f) => 'round' in f && f.round === plan.round)
      const accepted = made.flatMap((f) => (f.kind === 'scored' ? [{ parents: f.parents }] : []))
      const batches = Array.from({ length: parents * proposals }, (_, k) => plan.batch.slice(3 * k, 3 * k + 3))
      const each = plan.context ? [] : plan.from.flatMap((parent) => Array.from({ length: proposals }, () => parent))
      return {
        calls: ours.before[i],
        parents: each,
        batches: plan.context ? [] : batches,
        rejected: made.filter((f) => f.kind === 'rejected').length,
        accepted,
        ...(plan.context && { merge: { parents: plan.from.slice(0, 2), context: plan.context } }),
      }
    })
    expect(mine).toEqual(
      iterations.map(({ skipped: _, accepted, ...rest }) => ({
        ...rest,
        accepted: accepted.map(({ parents }) => ({ parents })),
      })),
    )
  })

  test('the same pool, scores, fronts, turns of the parts, and best', () => {
    const { nodes, best } = ours.state
    const parts = Object.keys(settings.context)
    expect(nodes.map((n) => n.context)).toEqual(end.contexts)
    expect(nodes.map((n) => n.parents)).toEqual(end.parents)
    expect(nodes.map((n) => Object.values(n.score.per))).toEqual(end.scores)
    expect(frontsOf(poolOf(ours.state), ids('v', settings.val))).toEqual(end.fronts)
    expect(best?.id).toBe(end.best)
    const next = nodes.map((n) => {
      const o = toyOptions({ context: settings.context, splits: { ...toyOptions().splits, holdout: ids('v', settings.val) } })
      const wished: State = { ...ours.state, wishes: [{ wish: 'branch', node: n.id }] }
      return parts.indexOf(gepa().plan(wished, o).part!)
    })
    expect(next).toEqual(end.next)
  })

  test('the package looks at its cap only between iterations, and so spends more than that', () => {
    expect(ours.before.every((calls) => calls < settings.cap)).toBe(true)
    expect(end.calls).toBeGreaterThanOrEqual(settings.cap)
    expect(ours.calls.reduce((n, c) => n + (c.kind === 'evaluate' ? c.ids.length : 0), 0)).toBe(end.calls)
  })
})

test('the runs compared have all kinds of decisions in them', () => {
  const all = golden.runs.flatMap((r) => r.iterations)
  const merges = all.filter((i) => i.merge)
  expect(all.filter((i) => i.skipped).length).toBeGreaterThan(10)
  expect(all.filter((i) => i.rejected).length).toBeGreaterThan(50)
  expect(all.filter((i) => i.accepted.length > 1).length).toBeGreaterThan(5)
  const different = (i: (typeof all)[number]): number => new Set(i.parents).size
  const [several, drawn] = [
    all.filter((i) => different(i) > 1),
    golden.runs.filter((r) => r.settings.parents > 1).flatMap((r) => r.iterations),
  ]
  expect(several.length).toBeGreaterThan(20)
  expect(drawn.filter((i) => i.parents.length > 0 && different(i) === 1).length).toBeGreaterThan(10)
  expect(several.filter((i) => new Set(i.accepted.map((a) => a.parents[0])).size > 1).length).toBeGreaterThan(3)
  expect([merges.length > 6, merges.some((i) => i.rejected), merges.some((i) => i.accepted.length)]).toEqual([true, true, true])
  expect(golden.runs.some((r) => r.end.calls > r.settings.cap + 10)).toBe(true)
  expect(golden.runs.flatMap((r) => r.end.fronts).some((front) => front.length > 5)).toBe(true)
})

test('another rule of acceptance would be told apart', () => {
  const run = golden.runs.find((r) => r.name === 'nothing is better')!
  const { facts } = replay(run, gepa({ accept: 'improvement_or_equal', template }))
  expect(facts.filter((f) => f.kind === 'scored')).toHaveLength(11)
  expect(facts.some((f) => f.kind === 'scored' && isMerge({ ...f, before: 0, after: 0 }))).toBe(false)
})

test.each(golden.answers)('of the answer $answer the package takes "$text"', ({ answer, text }) => {
  expect(newText(answer)).toBe(text)
})

test('records are rendered to the byte, nested ones too', () => {
  const { records, prompt } = golden.rendered
  const python = records.map((r) => Object.fromEntries(Object.entries(r).map(([k, v]) => [k, v === null ? 'None' : v])))
  expect(template.replace('<curr_param>', 'now').replace('<side_info>', renderRecords(python))).toBe(prompt)
})
