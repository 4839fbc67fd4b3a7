// What textgrad 0.1.8 was asked by a scripted engine, against what ours asks the same engine. The golden names its script.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { node, score } from '../../test/toys.ts'
import { type Message, type Model, noUsage } from '../core/model.ts'
import type { Observation } from '../core/observation.ts'
import { readImproved, setback, shortValue, textgradEvolver } from './textgrad.ts'

interface Asked {
  readonly kind: string
  readonly [tag: string]: unknown
}

interface Step {
  readonly name: string
  readonly context: string
  readonly loss: 'judge' | 'metric'
  readonly summed: boolean
  readonly silent: boolean
  readonly constraints: readonly string[]
  readonly examples: readonly { readonly question: string; readonly answer: string }[]
  readonly calls: readonly Asked[]
  readonly after: string
}

const golden = JSON.parse(readFileSync('test/golden/textgrad.json', 'utf8')) as {
  readonly package: string
  readonly version: string
  readonly judge: string
  readonly steps: readonly Step[]
  readonly short: readonly { readonly text: string; readonly short: string }[]
  readonly readings: readonly { readonly completion: string; readonly value: string | null }[]
  readonly gradientMemoryChangesThePrompt: boolean
  readonly momentumSteps: readonly Asked[]
  readonly windowOfNoneThrows: string
} // written by the script it names

const inside = (tag: string, text: string): string | undefined =>
  new RegExp(`<${tag}>\\s?([\\s\\S]*?)\\s?</${tag}>`).exec(text)?.[1]

/** The engine of the script, again: it answers by the tags of a prompt alone, and keeps what it was asked. */
function scripted(
  context: string,
  silent = false,
): { readonly model: Model; readonly asked: Asked[]; readonly updates: string[] } {
  const asked: Asked[] = []
  const updates: string[] = []
  const keep = (answer: string, call: Asked): string => {
    asked.push(call)
    return answer
  }
  const answer = (system: string, prompt: string): string => {
    if (system === golden.judge) return keep(`judged: ${prompt}`, { kind: 'judge', variable: prompt })
    const variable = inside('VARIABLE', prompt)
    if (prompt.includes('<CONTEXT>')) {
      updates.push(prompt)
      const remarks = [...(prompt.split('</CONTEXT>')[0] ?? '').matchAll(/<FEEDBACK> ([\s\S]*?) <\/FEEDBACK>/g)]
        .map((m) => m[1])
        .sort()
      const text = `<IMPROVED_VARIABLE>Revised after ${remarks.length} remarks: ${variable}</IMPROVED_VARIABLE>`
      return keep(text, { kind: 'step', variable, constraints: inside('CONSTRAINTS', prompt) ?? null, remarks })
    }
    const role = variable === shortValue(context) ? 'context' : 'answer'
    const feedback = /would settle this feedback on <LM_OUTPUT>: ([\s\S]*?) <\/OBJECTIVE_FUNCTION>/.exec(prompt)?.[1]
    const tags = { system: 'LM_SYSTEM_PROMPT', input: 'LM_INPUT', output: 'LM_OUTPUT', result: 'OUTPUT_OF_FUNCTION' }
    const seen = Object.entries(tags).flatMap(([name, tag]) => {
      const text = inside(tag, prompt.replace('feedback on <LM_OUTPUT>', ''))
      return text === undefined ? [] : [[name, text]]
    })
    return keep(silent && role === 'answer' ? '' : `shorten this ${role}: ${variable}`, {
      kind: feedback === undefined ? 'BASE' : 'CHAIN',
      role,
      variable,
      ...(feedback !== undefined && { feedback }),
      ...Object.fromEntries(seen),
    })
  }
  const model: Model = {
    name: 'scripted',
    async sample(messages: readonly Message[]) {
      const [system, user] = messages.map((m) => m.content)
      return [{ text: answer(system ?? '', user ?? ''), finish: 'stop', usage: noUsage }]
    },
  }
  return { model, asked, updates }
}

function observed({ context, examples }: Pick<Step, 'context' | 'examples'>, memos?: readonly string[]): Observation {
  const rollouts = examples.map((e, i) => ({ ...e, exampleId: `t${i}`, draw: 0, score: 0, feedback: '' }))
  const at = node(0, 0, { context: { instructions: context } })
  return { node: at, seen: { ...score(0), rollouts }, history: [], earlier: [], rules: {}, ...(memos && { memos }) }
}

const call = (model: Model) => ({ model, check: () => undefined, seed: 1, signal: new AbortController().signal })
const sorted = (calls: readonly Asked[]): readonly string[] => calls.map((c) => JSON.stringify(Object.entries(c).sort())).sort()

test('the golden is of the version whose quirks are meant', () => {
  expect([golden.package, golden.version]).toEqual(['textgrad', '0.1.8'])
  expect(golden.steps.length).toBeGreaterThan(6)
})

test.each(golden.steps.filter((s) => s.summed))('as reference: $name', async (step) => {
  const { model, asked } = scripted(step.context, step.silent)
  const { constraints, loss } = step
  const judge = loss === 'judge' ? { judge: golden.judge } : {}
  const edit = await textgradEvolver({ compat: 'reference', constraints, ...judge }).propose(observed(step), call(model))
  const theirs = step.calls.filter((c) => c.kind !== 'answer') // the action model's
  expect(theirs).toHaveLength(step.calls.length - step.examples.length)
  expect(sorted(asked)).toEqual(sorted(theirs))
  expect(edit).toMatchObject({ kind: 'edit', context: { instructions: step.after } })
})

test.each(golden.steps.filter((s) => !s.summed || s.loss === 'metric'))(
  'as intended, as many calls of each kind: $name',
  async (step) => {
    const { model, asked } = scripted(step.context)
    const judge = step.loss === 'judge' ? { judge: golden.judge } : {}
    const kinds = (calls: readonly Asked[]): readonly string[] => calls.map((c) => c.kind).sort()
    await textgradEvolver(judge).propose(observed(step), call(model))
    // A judge is given more than the answer, fenced, and is told apart by its system prompt alone.
    expect(kinds(asked)).toEqual(kinds(step.calls.filter((c) => c.kind !== 'answer')))
  },
)

test('n answers that are judged cost 2n calls forward, 2n backward and one step; only an answer by itself gets BASE', () => {
  const counts = (name: string): Record<string, number> => {
    const step = golden.steps.find((s) => s.name === name)
    return Object.fromEntries(
      Object.entries(Object.groupBy(step?.calls ?? [], (c) => c.kind)).map(([k, v]) => [k, v?.length ?? 0]),
    )
  }
  expect(counts('three answers, judged and summed')).toEqual({ answer: 3, judge: 3, CHAIN: 6, step: 1 })
  expect(counts('one answer, judged, not summed')).toEqual({ answer: 1, judge: 1, BASE: 1, CHAIN: 1, step: 1 })
  expect(counts('three answers, compared with what is right, and summed')).toEqual({ answer: 3, BASE: 3, CHAIN: 3, step: 1 })
})

test.each(golden.short)('$text is shown as $short', ({ text, short }) => {
  expect(shortValue(text)).toBe(short)
})

test.each(golden.readings)('as reference, of $completion is read $value', ({ completion, value }) => {
  expect(readImproved(completion, 'reference') ?? null).toBe(value)
})

test('memory reaches no prompt as reference, and does as intended', async () => {
  expect(golden.gradientMemoryChangesThePrompt).toBe(false)
  expect(golden.momentumSteps).toEqual([{ kind: 'step', prompt: null }])
  expect(golden.windowOfNoneThrows).toBe('TypeError')
  const past = { values: { instructions: 'An older one.' }, feedback: { instructions: 'too short' } }
  const o = observed({ context: 'Answer the question.', examples: [{ question: 'q', answer: 'a' }] }, [JSON.stringify(past)])
  const update = async (options: Parameters<typeof textgradEvolver>[0]): Promise<string> => {
    const { model, updates } = scripted('Answer the question.')
    await textgradEvolver(options).propose(o, call(model))
    return updates[0] ?? ''
  }
  expect(await update({ compat: 'reference', momentum: 2 })).toBe(await update({ compat: 'reference' }))
  expect(await update({ compat: 'reference', momentum: 2 })).not.toContain('An older one.')
  expect(await update({ momentum: 2 })).toMatch(
    /<PAST_ITERATIONS>[\s\S]*An older one\.[\s\S]*too short[\s\S]*<\/PAST_ITERATIONS>/,
  )
})

const reverts = JSON.parse(readFileSync('test/golden/textgrad-revert.json', 'utf8')) as {
  readonly runs: readonly { readonly problems: number; readonly right: readonly number[]; readonly kept: readonly boolean[] }[]
} // written by the script it names

test.each(reverts.runs)(
  'over $problems problems, the published loop and ours take back the same edits',
  ({ problems, right, kept }) => {
    const scores = right.map((n) => score(n / problems))
    let last = scores[0]!
    const ours = scores.slice(1).map((next) => {
      const isKept = setback(last, next) === undefined
      if (isKept) last = next
      return isKept
    })
    expect(ours).toEqual(kept)
    expect(new Set(kept).size).toBe(2)
  },
)
