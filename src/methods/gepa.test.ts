import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ids, node, score, scored, ToyRun, toyOptions } from '../../test/toys.ts'
import { noCost } from '../core/budget.ts'
import type { Context } from '../core/context.ts'
import { ConfigError } from '../core/errors.ts'
import type { Fact, Options, Outcome, Plan } from '../core/facts.ts'
import type { Answer, Command, Method } from '../core/method.ts'
import type { Observation } from '../core/observation.ts'
import { rng } from '../core/rng.ts'
import { type Rollout, scoreOf } from '../core/score.ts'
import { decide, play } from '../core/search.ts'
import { apply, type State, start } from '../core/state.ts'
import { type GepaOptions, gepa, gepaTemplate, gepaWriter } from './gepa.ts'
import { seeded } from './gepa-chance.ts'
import { frontsOf, paretoFronts, poolOf, withoutDominated } from './gepa-pareto.ts'

const three = { train: ids('t', 9), holdout: ['h0', 'h1', 'h2'], confirm: [], test: ['x0'], ood: [] }

/** A state with these nodes, each scored on h0, h1, h2. */
function pool(...pers: readonly (readonly number[])[]): State {
  const s = start(toyOptions({ splits: three }))
  for (const [i, per] of pers.entries()) {
    const byId = scored(Object.fromEntries(per.map((value, k) => [`h${k}`, value])), per.length === 3)
    apply(s, { kind: 'scored', round: i, parents: i ? [0] : [], context: { share: `${i}` }, score: byId })
  }
  return s
}

const identity = <T>(of: readonly T[]): readonly T[] => of
const fronts = (s: State): readonly (readonly number[])[] => paretoFronts(s, three.holdout, seeded(1, 1))

// Fronts

test('each problem has a front of the nodes that do best on it, ties together; who is best nowhere is on none', () => {
  const s = pool([1, 0, 0.5], [0, 1, 0.5], [0.5, 0.5, 0.25])
  expect(frontsOf(poolOf(s), three.holdout)).toEqual([[0], [1], [0, 1]])
})

test('a node whose fronts all hold another goes, from the lowest mean up; of equals the first', () => {
  expect(fronts(pool([1, 0, 0], [1, 1, 0], [0, 1, 1]))).toEqual([[1], [1, 2], [2]])
  expect(fronts(pool([1, 1, 1], [1, 1, 1]))).toEqual([[1], [1], [1]])
})

test('a node whose scoring was cut short is on no front, and one that was pruned is on none any more', () => {
  const s = pool([0.5, 0.5, 0.5], [1, 1], [1, 0, 0])
  expect(fronts(s)).toEqual([[2], [0], [0]])
  apply(s, { kind: 'steered', wish: 'prune', node: 2 })
  expect(fronts(s)).toEqual([[0], [0], [0]])
  apply(s, { kind: 'steered', wish: 'prune', node: 0 })
  expect(gepa().plan(s, toyOptions({ splits: three, batch: 3 })).from).toEqual([1]) // all that is left
})

test('whatever the fronts: none is left empty, and who stays is alone on one of them', () => {
  const any = fc.array(fc.uniqueArray(fc.nat(8), { minLength: 1, maxLength: 9 }), { minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(any, fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 9, maxLength: 9 }), (all, means) => {
      const left = withoutDominated(all, (id) => means[id]!, identity)
      expect(left.every((front, k) => front.length > 0 && front.every((id) => all[k]!.includes(id)))).toBe(true)
      for (const id of new Set(left.flat())) expect(left.some((front) => front.length === 1 && front[0] === id)).toBe(true)
    }),
    { seed: 5, numRuns: 300 },
  )
})

test('parents are drawn by the number of fronts they stand on', () => {
  const s = pool([1, 0, 0], [0, 1, 1])
  const o = toyOptions({ splits: three, batch: 3 })
  let second = 0
  for (let seed = 0; seed < 3000; seed++) second += gepa().plan(s, { ...o, seed }).from[0]!
  expect(second / 3000).toBeCloseTo(2 / 3, 1)
})

// Minibatches

const minibatch = (editsPlanned: number, train: readonly string[], proposals = 1): readonly string[] => {
  const s = pool([1, 1, 1])
  s.editsPlanned = editsPlanned
  return gepa({ proposals }).plan(s, toyOptions({ splits: { ...three, train }, batch: 3 })).batch
}

test('an epoch uses every problem; what is missing to a whole minibatch is taken from its end', () => {
  const train = ids('t', 7)
  const epoch = [0, 1, 2].flatMap((i) => minibatch(i, train))
  expect(new Set(epoch.slice(0, 7)).size).toBe(7)
  expect(epoch.slice(7)).toEqual([epoch[6], epoch[5]])
  expect([3, 4, 5].flatMap((i) => minibatch(i, train))).not.toEqual(epoch)
})

test('a train split smaller than the minibatch stands in it more than once, and each time is a draw of its own', () => {
  expect(minibatch(0, ['t0'])).toEqual(['t0', 't0', 't0'])
  const { commands } = rounds(1, { splits: { ...three, train: ['t0'] } })
  expect(commands[1]).toMatchObject([0, 1, 2].map((k) => ({ role: 'batch', ids: ['t0'], draws: [k, k + 1] })))
})

test('proposals of a round get minibatches next to each other', () => {
  const train = ids('t', 9)
  expect(minibatch(0, train, 3)).toEqual([0, 1, 2].flatMap((i) => minibatch(i, train)))
  expect(minibatch(1, train, 2)).toEqual([1, 2].flatMap((i) => minibatch(i, train)))
})

test('minibatches of problems whose names hold line breaks are told apart', () => {
  const train = ['a', 'b\nc', 'a\nb', 'c']
  const chance = (seed: number, round: number) => ({ ...seeded(seed, round), shuffle: identity })
  const { commands } = rounds(1, { splits: { ...three, train }, batch: 2 }, gepa({ proposals: 2, chance }))
  expect(commands[1]).toMatchObject([{ ids: ['a', 'b\nc'] }, { ids: ['a\nb', 'c'] }])
})

// Rounds

interface World {
  readonly scoreOn?: (id: string, context: Context) => number
  readonly edit?: (o: Observation, k: number) => Context | undefined
}

interface Ran {
  readonly s: State
  readonly facts: readonly Fact[]
  readonly commands: readonly (readonly Command[])[]
}

/** Rounds answered by hand: scores by `scoreOn`, edits by `edit` (undefined = invalid). */
function rounds(n: number, more: Partial<Options> = {}, method: Method = gepa(), world: World = {}): Ran {
  const { scoreOn = () => 0.5, edit = (o, k) => ({ ...o.node.context, [o.part!]: `${k}` }) } = world
  const o = toyOptions({ splits: three, batch: 3, rounds: n, context: { a: 'A', b: 'B' }, ...more })
  const s = start(o)
  const [facts, commands] = [[] as Fact[], [] as (readonly Command[])[]]
  let k = 0
  const answer = (command: Command): Answer => {
    if (command.kind === 'overlap') throw new TypeError('no closing look here')
    if (command.kind === 'propose') {
      const context = edit(command.observation, k++)
      const made = context ? ({ kind: 'edit', context } as const) : ({ kind: 'invalid', reason: 'none' } as const)
      return { ...made, completion: '', cost: noCost }
    }
    const rollouts = command.ids.map((exampleId): Rollout => {
      return {
        exampleId,
        draw: command.draws[0],
        score: scoreOn(exampleId, command.context),
        question: '',
        answer: '',
        feedback: '',
      }
    })
    return { kind: 'score', score: scoreOf(rollouts, 1), rollouts: command.role === 'batch' ? rollouts : [], cost: noCost }
  }
  for (;;) {
    const fact = decide(s, method, o, { lost: noCost, expired: false })
    if (fact?.kind !== 'planned') return { s, facts, commands }
    const keep = (made: Fact): void => {
      apply(s, made)
      facts.push(made)
    }
    keep(fact)
    const round = play(s, method, o, fact.plan)
    let step = round.next()
    while (!step.done) {
      commands.push(step.value)
      step = round.next(step.value.map(answer))
    }
    for (const made of step.value) keep(made)
  }
}

const outcomes = ({ facts }: Ran): readonly Outcome['kind'][] =>
  facts.flatMap((f) => (f.kind === 'scored' || f.kind === 'rejected' || f.kind === 'invalid' ? [f.kind] : [])).slice(1)
const plans = ({ facts }: Ran): readonly Plan[] =>
  facts.flatMap((f) => (f.kind === 'planned' && f.plan.kind === 'edit' ? [f.plan] : []))

/** Better with every text that is no longer the seed's, on train; holdout 0.5 throughout. */
const improves: World = {
  scoreOn: (id, context) =>
    id[0] === 't' ? Math.min(0.9, Object.values(context).filter((text) => /\d/.test(`${text}`)).length / 3) : 0.5,
}

test('a round asks: the parent on the minibatch, an edit, the edit on the same minibatch, and only if it is better the holdout', () => {
  const roles = (ran: Ran): readonly string[][] =>
    ran.commands.slice(1).map((set) => set.map((c) => (c.kind === 'evaluate' ? `${c.role} ${c.ids.length}` : c.kind)))
  expect(roles(rounds(1, {}, gepa(), improves))).toEqual([['batch 3'], ['propose'], ['trial 3'], ['holdout 3']])
  expect(roles(rounds(1))).toEqual([['batch 3'], ['propose'], ['trial 3']])
  expect(roles(rounds(1, {}, gepa(), { edit: () => undefined }))).toEqual([['batch 3'], ['propose']])
  expect(roles(rounds(1, { reference: true }))[0]).toEqual(['batch 3', 'reference 3'])
})

test('as good is not better, unless that is wanted', () => {
  expect(outcomes(rounds(2))).toEqual(['rejected', 'rejected'])
  expect(outcomes(rounds(2, {}, gepa({ accept: 'improvement_or_equal' })))).toEqual(['scored', 'scored'])
})

test('an edit that was rejected on one minibatch may come again on another; one that was accepted is named as tried', () => {
  const earlier = (world: World): readonly string[][] => {
    const ran = rounds(3, { context: { a: 'A' } }, gepa(), { ...world, edit: () => ({ a: '7' }) })
    return ran.commands.flat().flatMap((c) => (c.kind === 'propose' ? [c.observation.earlier.map((t) => t.kind)] : []))
  }
  expect(earlier({})).toEqual([[], [], []])
  const better: World = { scoreOn: (id, c) => (c.a === 'A' ? (id[0] === 't' ? 0 : 0.9) : 0.5) }
  expect(earlier(better)).toEqual([[], ['scored'], ['scored', 'scored']])
})

test('a minibatch that is all right brings no edit and no verdict, unless it shall', () => {
  const right: World = { scoreOn: (id) => (id[0] === 't' ? 1 : 0.5) }
  const skipped = rounds(3, {}, gepa(), right)
  expect([outcomes(skipped), skipped.s.stopped?.why ?? 'rounds']).toEqual([[], 'rounds'])
  expect(plans(skipped).map((p) => p.part)).toEqual(['a', 'a', 'a'])
  expect(outcomes(rounds(2, {}, gepa({ skipPerfect: false }), right))).toEqual(['rejected', 'rejected'])
})

test('parts take turns after every edit, good or not; a child goes on where its parent is; frozen parts and examples have no turn', () => {
  const parts = (ran: Ran): readonly (string | undefined)[] => plans(ran).map((p) => p.part)
  expect(parts(rounds(3))).toEqual(['a', 'b', 'a'])
  expect(parts(rounds(3, {}, gepa(), { edit: () => undefined }))).toEqual(['a', 'b', 'a'])
  const grown = rounds(2, {}, gepa(), {
    ...improves,
    scoreOn: (id, c) => (id[0] === 't' ? improves.scoreOn!(id, c) : c.a === 'A' ? 0 : 0.5),
  })
  expect(plans(grown).map((p) => [p.from[0], p.part])).toEqual([
    [0, 'a'],
    [1, 'b'],
  ])
  const context = { a: 'A', shots: [], b: 'B', c: 'C' }
  expect(parts(rounds(3, { context, rules: { b: { frozen: true } } }))).toEqual(['a', 'c', 'a'])
})

test('rounds in flight do not rewrite the same part of one parent', () => {
  const s = pool([1, 1, 1])
  const o = toyOptions({ splits: three, batch: 3, inFlight: 4, context: { a: 'A', b: 'B' } })
  const parts: (string | undefined)[] = []
  for (let k = 0; k < 4; k++) {
    const fact = decide({ ...s, best: undefined } as State, gepa(), o, { lost: noCost, expired: false }) // else perfect
    if (fact?.kind !== 'planned') throw new Error('nothing was planned')
    apply(s, fact)
    parts.push(fact.plan.part)
  }
  expect(parts).toEqual(['a', 'b', 'a', 'b'])
})

test('proposals of a round take turns too, are asked for at once, and one of two that are the same is turned down', () => {
  const ran = rounds(1, {}, gepa({ proposals: 3 }), { ...improves, edit: (o) => ({ ...o.node.context, [o.part!]: '7' }) })
  expect(ran.commands.slice(1).map((set) => set.length)).toEqual([3, 3, 3, 2])
  expect(outcomes(ran)).toEqual(['scored', 'scored', 'rejected'])
  expect(ran.s.nodes.slice(1).map((n) => n.context)).toEqual([
    { a: '7', b: 'B' },
    { a: 'A', b: '7' },
  ])
})

test('of several parents each edit is of its own, which its evolver sees with its history and what was tried of it', () => {
  const seen: Observation[] = []
  const edit = (o: Observation, k: number): Context => {
    seen.push(o)
    return { ...o.node.context, [o.part!]: `${o.node.context[o.part!]} ${k}` }
  }
  const ran = rounds(12, wide, gepa({ parents: 3 }), { ...threeSided, edit })
  const both = plans(ran).filter((p) => new Set(p.from).size > 1)
  expect(both.length).toBeGreaterThan(2)
  expect(seen.some(({ earlier }) => earlier.length > 0)).toBe(true)
  for (const { node: at, history, earlier, part } of seen) {
    expect(history.at(-1)?.context).toEqual(at.context)
    expect(history).toHaveLength(1 + depthOf(ran.s, at.id))
    for (const tried of earlier) {
      expect(ran.s.edits.find((e) => e.tried === tried)?.parent).toBe(at.id)
    }
    expect(Object.keys(at.context)).toContain(part)
  }
})

function depthOf(s: State, id: number): number {
  const parent = s.nodes[id]!.parents[0]
  return parent === undefined ? 0 : 1 + depthOf(s, parent)
}

test('a wish names the one parent of its round, however many a round has otherwise', () => {
  const s = pool([1, 0, 0], [0, 1, 1])
  apply(s, { kind: 'steered', wish: 'branch', node: 0 })
  const o = toyOptions({ splits: three, batch: 3 })
  const fact = decide(s, gepa({ parents: 3, proposals: 2 }), o, { lost: noCost, expired: false })
  expect(fact).toMatchObject({ kind: 'planned', plan: { from: [0] } })
  expect(fact?.kind === 'planned' && fact.plan.batch).toHaveLength(6)
  expect(fact?.kind === 'planned' && fact.plan.parts).toBe(undefined)
})

test('the best is the highest mean, of equals the first', () => {
  const { s } = rounds(6, {}, gepa(), improves)
  expect(s.nodes.length).toBeGreaterThan(2)
  expect(s.best?.id).toBe(0)
})

test('ten rounds without an edit end with their reason', () => {
  const ran = rounds(10, {}, gepa(), { edit: () => undefined })
  expect(outcomes(ran)).toEqual(Array.from({ length: 10 }, () => 'invalid'))
  expect(ran.facts.at(-1)?.kind).toBe('settled')
  expect(ran.s.editsPlanned).toBe(10)
})

test('what it can not work with is refused with one line', () => {
  const refusal = (run: () => unknown): string => {
    try {
      run()
    } catch (error) {
      if (error instanceof ConfigError) return error.message
      throw error
    }
    return 'not refused'
  }
  expect(refusal(() => gepa({ proposals: 0 }))).toBe('gepa: proposals is 0; give a whole number from 1')
  expect(refusal(() => gepa({ parents: 1.5 }))).toBe('gepa: parents is 1.5; give a whole number from 1')
  for (const name of ['parents', 'proposals'])
    expect(refusal(() => gepa({ [name]: 1e9 }))).toBe(`gepa: ${name} is 1000000000; give 1000 at most`)
  expect(refusal(() => gepa({ accept: 'better' as 'improvement_or_equal' }))).toContain('unknown accept "better"') // without types
  expect(refusal(() => gepa({ template: 'Improve <curr_param>' }))).toContain('has no <side_info>')
  expect(gepaWriter({ template: 'A <curr_param> <side_info>' }).name).not.toBe(
    gepaWriter({ template: 'B <curr_param> <side_info>' }).name,
  )
  expect(refusal(() => gepa().check!(toyOptions({ batches: 'failures' })))).toContain('leave out batches "failures"')
  expect(refusal(() => gepa().check!(toyOptions({ context: { shots: [] } })))).toContain(
    'no part of the context is one that may change',
  )
  expect(refusal(() => gepa().check!(toyOptions()))).toBe('not refused')
  expect(refusal(() => gepaWriter().write(observed({ a: 'A' }, { part: 'b' })))).toContain('part "b" is not there')
})

// Merges, kills

/** Three parts, each with problems of its own, on which its text decides; longer texts do better. Holdout problems are never quite right. */
const threeSided: World = {
  scoreOn: (id, context) => {
    const text = Object.values(context)[Number(id.slice(1)) % 3] as string // all are texts
    const level = Math.floor(rng(id, text)() * 4) + Math.min(2, text.split(' ').length - 1)
    return Math.min(level, id[0] === 'h' ? 3 : 4) / 4
  },
  edit: (o, k) => ({ ...o.node.context, [o.part!]: `${o.node.context[o.part!]} ${k}` }),
}
const wide: Partial<Options> = {
  splits: { ...three, train: ids('t', 20), holdout: ids('h', 10) },
  context: { a: 'A', b: 'B', c: 'C' },
}
const merging: GepaOptions = { merge: true, proposals: 3 }

test('merges join a part of one parent with a part of the other, and never twice the same', () => {
  const ran = rounds(40, wide, gepa(merging), threeSided)
  const merges = plans(ran).filter((p) => p.context)
  expect(merges.length).toBeGreaterThan(3)
  for (const { from, context, batch } of merges) {
    const [one, other] = from.map((id) => ran.s.nodes[id]!.context)
    for (const part of ['a', 'b', 'c']) expect([one![part], other![part]]).toContain(context![part])
    expect(new Set(batch).size).toBe(5)
    expect(batch.every((id) => id[0] === 'h')).toBe(true)
  }
  expect(new Set(merges.map((p) => p.from.join(' '))).size).toBe(merges.length)
  expect(plans(rounds(40, wide, gepa({ proposals: 3 }), threeSided)).some((p) => p.context)).toBe(false)
})

test('holdout problems of a merge are never shown to an evolver, not even when someone asks for a branch just then', () => {
  const whole = rounds(40, wide, gepa(merging), threeSided)
  const shown = whole.commands
    .flat()
    .flatMap((c) => (c.kind === 'propose' ? c.observation.seen.rollouts.map((r) => r.exampleId) : []))
  expect(shown.every((id) => id[0] === 't')).toBe(true)
  const o = toyOptions({ batch: 3, rounds: 40, ...wide })
  const before = start(o)
  for (const fact of whole.facts) {
    if (fact.kind === 'planned' && fact.plan.context) break
    apply(before, fact)
  }
  expect(before.editsPlanned).toBeLessThan(40)
  apply(before, { kind: 'steered', wish: 'branch', node: 1 })
  const next = decide(before, gepa(merging), o, { lost: noCost, expired: false })
  expect(next).toMatchObject({ kind: 'planned', plan: { from: [1] } })
  expect(next?.kind === 'planned' && next.plan.batch.every((id) => id[0] === 't')).toBe(true)
})

test.each<GepaOptions>([{}, merging])(
  'with %o a plan follows from the facts alone, so a run goes on after any kill as it would have',
  (options) => {
    const { facts } = rounds(40, wide, gepa(options), threeSided)
    const o = toyOptions({ batch: 3, rounds: 40, ...wide })
    const s = start(o)
    for (const fact of facts) {
      if (fact.kind === 'planned') {
        const read = start(o)
        for (const f of JSON.parse(JSON.stringify(facts.slice(0, facts.indexOf(fact)))) as Fact[]) apply(read, f) // facts are JSON
        expect(decide(read, gepa(options), o, { lost: noCost, expired: false })).toEqual(fact)
      }
      apply(s, fact)
    }
  },
)

test.each([
  [1, 1, 1],
  [3, 1, 2],
  [2, 2, 2],
])(
  'in flight %i with %i parents and %i proposals: killed at any moment, the log is the same and nothing is paid twice',
  async (inFlight, parents, proposals) => {
    const options = toyOptions({
      inFlight,
      rounds: 5,
      batch: 3,
      splits: { ...toyOptions().splits, train: ids('t', 7), holdout: ids('h', 10) },
    })
    const whole = new ToyRun(options)
    await whole.live(gepa({ parents, proposals, merge: true }))
    expect(whole.facts.filter((f) => f.kind === 'scored').length).toBeGreaterThan(1)
    for (let dieAt = 1; dieAt <= whole.actions; dieAt += 3) {
      const run = new ToyRun(options)
      await run.live(gepa({ parents, proposals, merge: true }), { timing: dieAt, dieAt })
      await run.live(gepa({ parents, proposals, merge: true }), { timing: dieAt + 1000 })
      expect(run.bytes === whole.bytes).toBe(true)
      expect(Math.max(...run.paid.values())).toBe(1)
    }
  },
)

test('where all weights are 0, any is drawn', () => {
  expect(new Set(Array.from({ length: 40 }, (_, i) => seeded(i, 0).weighted([1, 2], [0, 0])))).toEqual(new Set([1, 2]))
  expect(new Set(Array.from({ length: 40 }, (_, i) => seeded(i, 0).weighted([1, 2], [0, 1])))).toEqual(new Set([2]))
})

// The prompt

function observed(context: Context, more: Partial<Observation> = {}): Observation {
  return { node: node(0, 0.5, { context }), seen: { ...score(0.5), rollouts: [] }, history: [], earlier: [], rules: {}, ...more }
}
const shown = (o: Observation, template?: string): string => gepaWriter(template ? { template } : {}).write(o)[0]!.content
const rollout: Rollout = { exampleId: 't0', draw: 0, score: 0, feedback: '', question: 'Why?', answer: 'So.' }

test('the prompt has the part and what came of it; slots that data contains are not filled', () => {
  const seen = { ...score(0), rollouts: [{ ...rollout, question: '<curr_param>', feedback: 'no', error: 'E1', gold: 'Thus.' }] }
  const text = shown(observed({ a: 'A <side_info>', b: 'B' }, { part: 'a', seen }), '<curr_param>|<side_info>')
  expect(text).toBe(
    'A <side_info>|# Example 1\n## Inputs\n<curr_param>\n\n## Generated Outputs\nSo.\n\n## Feedback\nno\nError: E1\nExpected: Thus.\n\n',
  )
  const bare = shown(observed({ a: 'A' }, { seen: { ...score(0), rollouts: [rollout] } }), '<curr_param>|<side_info>')
  expect(bare).toContain('## Feedback\nscore 0.00\n')
})

test('rules of the part and advice stand below, where there are any', () => {
  const plain = shown(observed({ a: 'A' }))
  expect(plain).toBe(gepaTemplate.replace('<curr_param>', 'A').replace('<side_info>', ''))
  const ruled = shown(
    observed(
      { a: 'A {x} <!-- evolve -->c<!-- /evolve -->' },
      { rules: { a: { maxTokens: 9, keep: ['{x}'] } }, hint: 'Be brief.' },
    ),
  )
  for (const demand of ['at most 9 tokens', 'must keep: "{x}"', 'between the marks', 'Be brief.']) expect(ruled).toContain(demand)
})

test('an answer becomes the part it was asked for; one without text is invalid; marks keep the white space around them', () => {
  const { read } = gepaWriter()
  expect(read('Here:\n```\nnew\n```', observed({ a: 'A', b: 'B' }, { part: 'b' }))).toMatchObject({
    kind: 'edit',
    context: { a: 'A', b: 'new' },
  })
  expect(read('``````', observed({ a: 'A' }))).toMatchObject({ kind: 'invalid', reason: 'there is no text in it' })
  expect(read('', observed({ a: 'A' }))).toMatchObject({ kind: 'invalid' })
  const marked = '<!-- evolve -->x<!-- /evolve -->\n'
  expect(read(`\`\`\`\n${marked}\`\`\``, observed({ a: marked }))).toMatchObject({ context: { a: marked } })
})
