import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ids, node, score, ToyRun, toyOptions } from '../../test/toys.ts'
import { type Context, regionStart } from '../core/context.ts'
import { ConfigError } from '../core/errors.ts'
import type { Fact, Options } from '../core/facts.ts'
import type { Answer, Command } from '../core/method.ts'
import { type Model, noUsage } from '../core/model.ts'
import type { Observation } from '../core/observation.ts'
import { scoreOf } from '../core/score.ts'
import { decide, play } from '../core/search.ts'
import { apply, type State, start } from '../core/state.ts'
import { kindOf, readSkill, readSkills, type Skill, skillText, type VoyagerOptions, voyager, voyagerEvolver } from './voyager.ts'

const free = { calls: 0, tokens: 0, usd: 0 }

// The library

const line = fc.string({ minLength: 1, maxLength: 20 }).map((s) => `x${s.replace(/\s+/g, ' ')}`.trim())
const skill = fc.record({ name: line, when: line, body: fc.array(line, { minLength: 1, maxLength: 3 }).map((l) => l.join('\n')) })

test('a library reads back as it was written', () => {
  fc.assert(
    fc.property(fc.array(skill), (skills) => {
      expect(readSkills(skillText(skills))).toEqual({ head: '', skills })
    }),
    { numRuns: 200, seed: 1 },
  )
})

test('what a user wrote is a head and sections, with or without their use', () => {
  const text = 'Mind these.\n\n## a\nDo a.\n\n## b\nWhen: b is asked\nDo b.'
  expect(readSkills(text)).toEqual({
    head: 'Mind these.',
    skills: [
      { name: 'a', when: '', body: 'Do a.' },
      { name: 'b', when: 'b is asked', body: 'Do b.' },
    ],
  })
  expect(readSkills('')).toEqual({ head: '', skills: [] })
})

const written = ({ name, when, body }: Skill): string => `Hm. <skill name="${name}">\n<when>${when}</when>\n${body}\n</skill>`

test('of several skills in an answer the last counts; a heading in it opens no section', () => {
  const first = written({ name: 'a', when: 'a is asked', body: 'Do what a wants.' })
  const last = written({ name: ' add  up ', when: 'sums\nare asked', body: '## Steps\nAdd them up.' })
  expect(readSkill(`${first}\nNo: ${last} Done.`)).toEqual({
    name: 'add up',
    when: 'sums are asked',
    body: '### Steps\nAdd them up.',
  })
})

test.each([
  ['', /no <skill/],
  ['</skill> <skill name="a">', /no <skill/],
  ['<skill name=""><when>always</when>Add them all up.</skill>', /no name/],
  ['<skill name="a">Add them all up.</skill>', /<when>/],
  ['<skill name="a"><when>always</when>Add.</skill>', /have 4 characters, at least 10/],
])('no skill is read from %j', (completion, reason) => {
  expect(readSkill(completion)).toMatch(reason)
})

// The evolver

function observed(context: Context, more: Partial<Observation> = {}): Observation {
  const rollouts = [0, 1].map((i) => ({
    exampleId: `t${i}`,
    draw: 0,
    score: 0,
    feedback: 'the sum is wrong',
    question: `how much money is question ${i}`,
    answer: `answer ${i}`,
    gold: 'the right one',
  }))
  return { node: node(0, 0.5, { context }), seen: { ...score(0), rollouts }, history: [], earlier: [], rules: {}, ...more }
}

function saying(...texts: readonly string[]): { readonly model: Model; readonly prompts: string[] } {
  const prompts: string[] = []
  const model: Model = {
    name: 'saying',
    async sample(messages) {
      prompts.push(messages.map((m) => m.content).join('\n'))
      return [{ text: texts[(prompts.length - 1) % texts.length] ?? '', finish: 'stop', usage: noUsage }]
    },
  }
  return { model, prompts }
}

const call = (model: Model, check: (context: Context) => string | undefined = () => undefined) => ({
  model,
  check,
  seed: 1,
  signal: new AbortController().signal,
})

const named = (name: string, when = `${name} is asked`): Skill => ({ name, when, body: `Do what ${name} wants.` })
const names = (context: Context): readonly string[] => readSkills(String(context.skills)).skills.map((s) => s.name)
const contextOf = (edit: object): Context => ('context' in edit ? (edit.context as Context) : {}) // an edit of these tests

test('a skill joins the library; one of the same name takes its place', async () => {
  const had = skillText([named('a'), named('b')])
  const next = await voyagerEvolver().propose(
    observed({ instructions: 'Answer.', skills: had }),
    call(saying(written(named('c'))).model),
  )
  expect(next).toMatchObject({
    kind: 'edit',
    context: { instructions: 'Answer.', skills: skillText([named('a'), named('b'), named('c')]) },
  })
  const better = { ...named('a'), body: 'Do it in another way.' }
  const again = await voyagerEvolver().propose(observed({ skills: had }), call(saying(written(better)).model))
  expect(again).toMatchObject({ context: { skills: skillText([better, named('b')]) } })
})

test('the model sees the task, the five nearest skills, all names, the last attempt and advice, but no right answer', async () => {
  const far = ['one', 'two', 'three', 'four'].map((name) => named(name, `${name} tables are joined`))
  const near = ['five', 'six', 'seven', 'eight', 'nine'].map((name) => named(name, `${name} sums of money are asked`))
  const { model, prompts } = saying(written(named('ten')))
  const context = { instructions: 'Answer.', skills: skillText([...far, ...near]) }
  await voyagerEvolver().propose(observed(context, { hint: 'mind the gap', memos: ['my last attempt'] }), call(model))
  for (const text of ['question 0', 'answer 1', 'the sum is wrong', 'Answer.', 'mind the gap', 'my last attempt', 'three']) {
    expect(prompts[0]).toContain(text)
  }
  for (const { name, body } of near) expect(prompts[0], name).toContain(body)
  for (const { name, body } of far) expect(prompts[0], name).not.toContain(body)
  expect(prompts[0]).not.toContain('the right one')
})

test('where the part has a limit, the skills furthest from the task make room; the new one stays', async () => {
  const check = ({ skills }: Context): string | undefined =>
    readSkills(String(skills)).skills.length > 2 ? 'too long' : undefined
  const had = skillText([named('joins', 'tables are joined'), named('money', 'how much money is asked')])
  const o = observed({ skills: had }, { rules: { skills: { maxTokens: 9 } } })
  expect(names(contextOf(await voyagerEvolver().propose(o, call(saying(written(named('new'))).model, check))))).toEqual([
    'money',
    'new',
  ])
  const never = call(saying(written(named('new'))).model, () => 'too long')
  expect(await voyagerEvolver().propose(o, never)).toMatchObject({ kind: 'invalid', reason: 'too long' })
})

test('a skill that the library has already makes no room for itself: it is asked for again', async () => {
  const had = skillText([named('a'), named('b')])
  const check = (context: Context): string | undefined => (context.skills === had ? 'nothing was changed' : undefined)
  const { model, prompts } = saying(written(named('a')), written(named('c')))
  const edit = await voyagerEvolver().propose(
    observed({ skills: had }, { rules: { skills: { maxTokens: 9 } } }),
    call(model, check),
  )
  expect(names(contextOf(edit))).toEqual(['a', 'b', 'c'])
  expect(prompts[1]).toContain('That answer could not be used: nothing was changed.')
})

test.each([
  ['nothing', () => ''],
  ['no tag', () => 'Add them up.'],
  ['an echo', (prompt: string) => prompt],
])('a model that says %s is asked three times, then the edit is invalid', async (_, says) => {
  const prompts: string[] = []
  const model: Model = {
    name: 'bad',
    async sample(messages) {
      prompts.push(messages[0]?.content ?? '')
      return [{ text: says(messages.map((m) => m.content).join('\n')), finish: 'stop', usage: noUsage }]
    },
  }
  expect(await voyagerEvolver().propose(observed({ skills: skillText([named('a')]) }), call(model))).toMatchObject({
    kind: 'invalid',
  })
  expect(prompts).toHaveLength(3)
})

test('evolvers with other settings have other names', () => {
  expect(voyagerEvolver().name).toBe('voyager')
  expect(voyagerEvolver({ attempts: 2 }).name).toBe('voyager')
  expect(voyagerEvolver({ shown: 2 }).name).not.toBe('voyager')
  expect(voyagerEvolver({ embed: async () => [] }).name).not.toBe('voyager')
})

// What is refused

test.each([
  [{ instructions: 'Answer.' }, {}, /"skills", which the context does not have \(have: instructions\); begin with skills: ''/],
  [{ skills: [] }, {}, /has as examples/],
  [{ skills: '' }, { skills: { frozen: true } }, /has frozen/],
  [{ skills: regionStart }, {}, /writes the whole of part "skills"/],
])('a context without a library is refused: %j', (context, rules, message) => {
  const refused = (): void => voyager().check?.(toyOptions({ context, rules }))
  expect(refused).toThrow(ConfigError)
  expect(refused).toThrow(message)
})

test('a context with a library is taken; attempts or skills of none are refused', () => {
  voyager().check?.(toyOptions({ context: { skills: '' } }))
  expect(() => voyager({ attempts: 0 })).toThrow('attempts is 0')
  expect(() => voyager({ shown: Number.NaN })).toThrow('shown is NaN')
  for (const solved of [0, 1.5, Number.NaN]) expect(() => voyager({ solved })).toThrow(`solved is ${solved}`)
})

// Tasks

test('failures are alike by their first line without quotes and numbers, errors before feedback', () => {
  expect(kindOf({ error: 'no such column: "a.b"\nat 3', feedback: 'wrong' })).toBe('no such column: …')
  expect(kindOf({ feedback: 'expected 12 rows, got 3' })).toBe(kindOf({ feedback: 'expected 7 rows, got 114' }))
  expect(kindOf({ feedback: '' })).toBe('wrong answer')
})

interface Searched {
  readonly facts: readonly Fact[]
  readonly commands: readonly Command[]
  readonly state: State
}

/** Runs the search by hand: a problem is right if the library has a skill with its kind as name or body; edits bring the skills given, in turn. */
function searched(o: Options, kind: (id: string) => string, skills: readonly string[], options: VoyagerOptions = {}): Searched {
  const method = voyager(options)
  const s: State = start(o)
  const facts: Fact[] = []
  const commands: Command[] = []
  let edits = 0
  const answer = (command: Command): Answer => {
    commands.push(command)
    if (command.kind === 'overlap') return { kind: 'overlap', share: 0, copied: [], cost: free }
    if (command.kind === 'propose') {
      const name = skills[edits++ % Math.max(1, skills.length)]
      if (name === undefined) return { kind: 'invalid', reason: 'nothing there', completion: '', cost: free }
      const { context } = command.observation.node
      const library = readSkills(String(context.skills)).skills.filter((had) => had.name !== name)
      const next = { name, when: name, body: `version ${edits}` }
      return { kind: 'edit', context: { skills: skillText([...library, next]) }, completion: '', cost: free }
    }
    const known = readSkills(String(command.context.skills)).skills.flatMap((had) => [had.name, had.body])
    const rollouts = command.ids.map((exampleId) => ({
      exampleId,
      draw: 0,
      score: command.role === 'batch' ? Number(known.includes(kind(exampleId))) : 0.5,
      feedback: kind(exampleId),
      question: '',
      answer: '',
    }))
    return { kind: 'score', score: scoreOf(rollouts, 1), rollouts: command.role === 'batch' ? rollouts : [], cost: free }
  }
  const keep = (fact: Fact): void => {
    apply(s, fact)
    facts.push(fact)
  }
  for (;;) {
    const fact = decide(s, method, o, { lost: free, expired: false })
    if (!fact) return { facts, commands, state: s }
    keep(fact)
    if (fact.kind !== 'planned') continue
    const round = play(s, method, o, fact.plan)
    let turn = round.next()
    while (!turn.done) turn = round.next(turn.value.map(answer))
    for (const f of turn.value) keep(f)
  }
}

const options = (more: Partial<Options> = {}): Options =>
  toyOptions({ context: { skills: '' }, splits: { ...toyOptions().splits, train: ids('t', 8) }, batch: 4, rounds: 40, ...more })
const odd = (id: string): string => (Number(id.slice(1)) % 2 ? 'odd' : 'even')
const batches = (facts: readonly Fact[]): readonly (readonly string[])[] =>
  facts.flatMap((f) => (f.kind === 'planned' && f.plan.kind === 'edit' ? [f.plan.batch] : []))
const ends = (facts: readonly Fact[]): readonly string[] =>
  facts.flatMap((f) => (['scored', 'rejected', 'invalid'].includes(f.kind) ? [f.kind] : []))

test('a task is what fails alike; what failed comes before what was never seen; what is solved is never worked on again', () => {
  const { facts, commands } = searched(options(), odd, ['odd', 'even'])
  const tasks = commands.flatMap((c) => (c.kind === 'propose' ? [c.observation.seen.rollouts.map((r) => odd(r.exampleId))] : []))
  for (const kinds of tasks) expect(new Set(kinds).size).toBe(1)
  const [first = [], second = []] = batches(facts)
  expect(first).toHaveLength(4)
  expect(second.every((id) => first.includes(id))).toBe(true) // the other kind that failed
  expect(facts.find((f) => f.kind === 'stopped')).toMatchObject({ why: 'done', detail: 'all 8 training problems are solved' })
  expect(names(facts.findLast((f) => f.kind === 'scored')?.context ?? {}).toSorted()).toEqual(['even', 'odd'])
})

test('of what failed and was never worked on, the largest set comes first', () => {
  const kinds = ['a', 'a', 'a', 'b', 'b', 'c']
  for (let seed = 0; seed < 6; seed++) {
    const splits = { ...toyOptions().splits, train: ids('t', 6) }
    const { facts } = searched(options({ seed, splits, batch: 6, rounds: 3 }), (id) => kinds[Number(id.slice(1))] ?? '', ['no'])
    const tasks = batches(facts).map((batch) => new Set(batch.map((id) => kinds[Number(id.slice(1))])))
    expect(tasks).toEqual([new Set(['a', 'b', 'c']), new Set(['b']), new Set(['c'])])
  }
})

test('an attempt sees the answers that were still wrong after the one before', () => {
  const { commands } = searched(options({ rounds: 1 }), odd, ['odd', 'no'], { clusterOf: () => 'one', attempts: 2 })
  const seen = commands.flatMap((c) => (c.kind === 'propose' ? [c.observation.seen.rollouts.map((r) => odd(r.exampleId))] : []))
  expect(new Set(seen[0])).toEqual(new Set(['odd', 'even']))
  expect(new Set(seen[1])).toEqual(new Set(['even']))
})

test('a field of the problems may say what belongs together', () => {
  const { commands } = searched(options(), (id) => id, ['none'], {
    clusterOf: (id) => (Number(id.slice(1)) < 4 ? 'low' : 'high'),
    attempts: 1,
  })
  for (const c of commands) {
    if (c.kind !== 'propose') continue
    const low = c.observation.seen.rollouts.map((r) => Number(r.exampleId.slice(1)) < 4)
    expect(new Set(low).size).toBe(1)
  }
})

test('a task gets four attempts, each with the answers and the skill of the one before; the skill that works is kept', () => {
  const { facts, commands } = searched(options({ rounds: 1 }), () => 'all', ['w', 'x', 'y', 'all'])
  expect(ends(facts)).toEqual(['scored', 'rejected', 'rejected', 'rejected', 'scored'])
  const seen = commands.flatMap((c) => (c.kind === 'propose' ? [c.observation] : []))
  expect(seen.map((o) => o.memos)).toEqual([
    undefined,
    [skillText([{ name: 'w', when: 'w', body: 'version 1' }])],
    [skillText([{ name: 'x', when: 'x', body: 'version 2' }])],
    [skillText([{ name: 'y', when: 'y', body: 'version 3' }])],
  ])
  expect(seen.map((o) => o.earlier.length)).toEqual([0, 1, 2, 3])
  expect(seen.every((o) => o.part === 'skills' && o.node.id === 0)).toBe(true)
  expect(names(facts.findLast((f) => f.kind === 'scored')?.context ?? {})).toEqual(['all'])
})

test('a task that four attempts do not solve leaves the library as it was, and waits until all else was tried', () => {
  const { facts } = searched(options({ rounds: 3 }), odd, ['wrong'])
  expect(ends(facts)).toEqual(['scored', ...Array(12).fill('rejected')])
  const [first = [], second = [], third = []] = batches(facts)
  expect(new Set([...first, ...second].map(odd)).size).toBe(2)
  expect(second.every((id) => first.includes(id))).toBe(true)
  expect(third.some((id) => first.includes(id))).toBe(false)
})

test('an evolver that brings nothing makes one invalid edit a round, and the run ends with its reason', () => {
  const { facts } = searched(options({ rounds: 10 }), odd, [])
  expect(ends(facts)).toEqual(['scored', ...Array(10).fill('invalid')])
  expect(facts.find((f) => f.kind === 'stopped')).toMatchObject({ why: 'rounds' })
})

test('where scores are graded, a task is done when their mean is high enough', () => {
  const run = searched(options({ rounds: 1 }), odd, ['odd'], { solved: 0.5, clusterOf: () => 'one' })
  const [task = []] = run.commands.flatMap((c) => (c.kind === 'propose' ? [c.observation.seen.rollouts] : []))
  const share = task.filter((r) => odd(r.exampleId) === 'odd').length / task.length
  expect(ends(run.facts).at(-1)).toBe(share >= 0.5 ? 'scored' : 'rejected')
  expect(share).toBeGreaterThan(0)
  expect(share).toBeLessThan(1)
})

test('a round in which all is right brings no edit and costs no score', () => {
  const { facts, commands } = searched(options({ context: { skills: '## all\nDo it.' } }), () => 'all', ['x'])
  expect(ends(facts)).toEqual(['scored'])
  expect(commands.filter((c) => c.kind === 'propose')).toEqual([])
})

test('a skill of a name that was there takes its place, and each version is kept: the name, then V2, V3', () => {
  const wanted: string[] = []
  const version = (id: string): string => {
    if (!wanted.includes(id)) wanted.push(id)
    return `version ${wanted.indexOf(id) + 1}`
  }
  const o = options({ splits: { ...toyOptions().splits, train: ids('t', 3) }, batch: 1, rounds: 3 })
  const labels = ({ state }: Searched): readonly string[] =>
    state.edits.flatMap(({ tried }) => Object.keys(JSON.parse(tried.memo ?? '{}').skills))
  const run = searched(o, (id) => (/^t/.test(id) ? version(id) : ''), ['s'])
  expect(labels(run)).toEqual(['s', 'sV2', 'sV3'])
  expect(run.state.nodes.map((n) => n.context.skills)).toEqual(['', ...[1, 2, 3].map((v) => `## s\nWhen: s\nversion ${v}`)])
  const memo = JSON.parse(run.state.edits[1]?.tried.memo ?? '{}')
  expect(memo).toMatchObject({ skills: { sV2: '## s\nWhen: s\nversion 2' }, task: { done: true, ids: [wanted[1]] } })
  wanted.length = 0
  const own = searched({ ...o, context: { skills: '## s\nMine.' } }, (id) => (/^t/.test(id) ? version(id) : ''), ['s'])
  expect(labels(own)).toEqual(['sV2', 'sV3', 'sV4'])
})

test('killed at any moment and resumed, the log is the same and nothing is paid twice', async () => {
  const o = toyOptions({ rounds: 6, batch: 2, context: { share: '0.30', skills: '' } })
  const whole = new ToyRun(o)
  await whole.live(voyager())
  expect(ends(whole.facts).filter((end) => end === 'scored').length).toBeGreaterThan(1)
  expect(ends(whole.facts)).toContain('rejected')
  for (let dieAt = 1; dieAt <= whole.actions; dieAt++) {
    const run = new ToyRun(o)
    await run.live(voyager(), { dieAt })
    await run.live(voyager(), { timing: dieAt })
    expect(run.bytes).toBe(whole.bytes)
    expect([...run.paid.values()].every((n) => n === 1)).toBe(true)
  }
})
