import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { node, scored } from '../../test/toys.ts'
import type { Context, Rules } from '../core/context.ts'
import type { Observation } from '../core/observation.ts'
import { applyChanges, type Change, lineEdits, readChange, readLineEdits } from './line-edits.ts'

function observation(context: Context, rules: Rules = {}): Observation {
  return { node: { ...node(0, 0.5), context }, seen: { ...scored({ t0: 1 }), rollouts: [] }, history: [], earlier: [], rules }
}

const notes = 'late: days > 5\nAnswer in one query.\nbig: spent > 900'
const edited = (block: string, maxLines?: number): unknown => {
  const edit = readLineEdits(`Thinking.\n<prompt>\n${block}\n</prompt>`, observation({ notes }), maxLines)
  return edit.kind === 'edit' ? String(edit.context.notes).split('\n') : edit.reason
}

describe('line edits', () => {
  test('a named line replaces the line of its name and moves to the end', () => {
    expect(edited('late: days > 9')).toEqual(['Answer in one query.', 'big: spent > 900', 'late: days > 9'])
    expect(edited('LATE: days > 9')).toEqual(['Answer in one query.', 'big: spent > 900', 'LATE: days > 9'])
  })

  test('a line of a new name is added, what is not mentioned stays byte for byte', () => {
    expect(edited('new: joined today')).toEqual([...notes.split('\n'), 'new: joined today'])
  })

  test('a name with drop takes its line away', () => {
    expect(edited('late: drop')).toEqual(['Answer in one query.', 'big: spent > 900'])
  })

  test('lines without a name are added and dropped by their text', () => {
    expect(edited('- Answer in one query.\n+ Answer twice.')).toEqual(['late: days > 5', 'big: spent > 900', 'Answer twice.'])
    expect(edited('- big: spent > 900')).toEqual(['late: days > 5', 'Answer in one query.'])
  })

  test('plus before a named line is the same as the line', () => {
    expect(edited('+ late: days > 9')).toEqual(edited('late: days > 9'))
  })

  test('a drop of what is not there changes nothing', () => {
    expect(edited('small: drop\n- Nobody wrote this.')).toEqual(notes.split('\n'))
    expect(edited('')).toEqual(notes.split('\n'))
  })

  test('over the limit the lines not written for longest fall out', () => {
    expect(edited('late: days > 9\nnew: joined today', 3)).toEqual(['big: spent > 900', 'late: days > 9', 'new: joined today'])
  })

  test('a colon without a space after it names nothing', () => {
    expect(edited('+ at 10:30 sharp')).toContain('at 10:30 sharp')
    expect(edited('at 10:30 sharp')).toMatch(/not a change/)
  })
})

test.each([
  ['no block at all', 'late: days > 5'],
  ['a block that is not closed', '<prompt>\nlate: days > 5\n'],
  ['a line that is no change', '<prompt>\nlate: days > 5\nplease\n</prompt>'],
  ['a sign alone', '<prompt>\n+\n</prompt>'],
  ['nothing left', '<prompt>\nlate: drop\nbig: drop\n- Answer in one query.\n</prompt>'],
])('%s is invalid and says why', (_, completion) => {
  const edit = readLineEdits(completion, observation({ notes }))
  expect(edit).toMatchObject({ kind: 'invalid', completion })
  expect(edit.kind === 'invalid' && edit.reason.length).toBeGreaterThan(10)
})

test('only one text part can be edited: the round’s, or the one that is not frozen', () => {
  const completion = '<prompt>\nlate: days > 9\n</prompt>'
  const two = observation({ head: 'You answer.', notes })
  expect(readLineEdits(completion, two)).toMatchObject({ kind: 'invalid', reason: expect.stringContaining('head, notes') })
  expect(readLineEdits(completion, { ...two, part: 'notes' })).toMatchObject({ kind: 'edit', context: { head: 'You answer.' } })
  expect(readLineEdits(completion, observation({ head: 'You answer.', notes }, { head: { frozen: true } }))).toMatchObject({
    kind: 'edit',
  })
  expect(readLineEdits(completion, observation({ shots: [{ input: 'a', output: 'b' }] }))).toMatchObject({ kind: 'invalid' })
})

test('the prompt asks for line edits in place of the whole text, and names the limit', () => {
  const text = lineEdits({ maxLines: 14 }).write(observation({ notes }))[0]!.content
  expect(text).toContain('name: drop')
  expect(text).toContain('at most 14 lines')
  expect(text).toContain(notes)
  expect(text).not.toMatch(/whole next context|\{\{/)
})

const line = fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('x', 'y', 'drop')).map(([n, t]) => `${n}: ${t}`)

test('after any changes each name stands once, with what was written last, and the limit holds', () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), fc.integer({ min: 1, max: 4 }), (lines, maxLines) => {
      const changes = lines.map((text) => readChange(text) as Change) // all are well formed
      const after = applyChanges('', changes, maxLines).split('\n').filter(Boolean)
      const last = new Map<string, string>()
      for (const text of lines) {
        last.delete(text[0]!)
        if (!text.endsWith('drop')) last.set(text[0]!, text)
      }
      expect(after).toEqual([...last.values()].slice(-maxLines))
    }),
  )
})

test('no completion makes the parser throw', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(['edit', 'invalid']).toContain(readLineEdits(`<prompt>${text}</prompt>`, observation({ notes })).kind)
    }),
  )
})
