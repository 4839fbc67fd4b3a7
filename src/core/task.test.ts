import { expect, test } from 'vitest'
import { chat } from './task.ts'

test('one text is the system message, as it is', () => {
  expect(chat({ instructions: 'Be brief.' }, 'Why?')).toEqual([
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Why?' },
  ])
})

test('several texts are headed by their names, and examples come as turns before the question', () => {
  const context = { instructions: 'Sort.', examples: [{ input: 'i', output: 'o' }], memory: 'Old.' }
  expect(chat(context, 'q')).toEqual([
    { role: 'system', content: '# instructions\nSort.\n\n# memory\nOld.' },
    { role: 'user', content: 'i' },
    { role: 'assistant', content: 'o' },
    { role: 'user', content: 'q' },
  ])
})

test('empty parts say nothing: a context of none is the question alone', () => {
  expect(chat({ instructions: '', examples: [] }, 'q')).toEqual([{ role: 'user', content: 'q' }])
  expect(chat({ instructions: 'a', memory: '' }, 'q')[0]).toEqual({ role: 'system', content: 'a' })
})
