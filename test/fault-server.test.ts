import { expect, test } from 'vitest'
import { type FaultServerOptions, marksAnswer, marksExamples, marksLabel, startFaultServer } from './fault-server.ts'

async function asked(
  options: FaultServerOptions,
  contents: readonly string[],
): Promise<{ statuses: number[]; log: readonly { hash: string; answered: boolean }[] }> {
  const server = await startFaultServer(options)
  const statuses: number[] = []
  for (const content of contents) {
    const body = JSON.stringify({ model: 'toy', messages: [{ role: 'user', content }] })
    const response = await fetch(`${server.url}/chat/completions`, { method: 'POST', body })
    await response.text()
    statuses.push(response.status)
  }
  const log = await server.log()
  await server.close()
  return { statuses, log }
}

const questions = Array.from({ length: 30 }, (_, i) => `Q${i}: which label?`)

test('faults come by count and position, and every request is in the log', async () => {
  const { statuses, log } = await asked({ faults: [{ kind: '500', after: 2, count: 3 }] }, questions.slice(0, 8))
  expect(statuses).toEqual([200, 200, 500, 500, 500, 200, 200, 200])
  expect(log.map((line) => line.answered)).toEqual(statuses.map((status) => status === 200))
  expect(new Set(log.map((line) => line.hash)).size).toBe(8)
})

test('faults by chance are the same for the same seed, and drawn anew when a request comes again', async () => {
  const faults = [{ kind: '429', probability: 0.5 }] as const
  const first = await asked({ faults, seed: 1 }, questions)
  expect((await asked({ faults, seed: 1 }, questions)).statuses).toEqual(first.statuses)
  expect((await asked({ faults, seed: 2 }, questions)).statuses).not.toEqual(first.statuses)
  const same = await asked({ faults, seed: 1 }, Array(20).fill(questions[0]))
  expect(new Set(same.statuses)).toEqual(new Set([200, 429]))
})

test('a call that its client gave up is in the log as not answered', async () => {
  const server = await startFaultServer({ faults: [{ kind: 'never' }] })
  const stop = new AbortController()
  const body = JSON.stringify({ model: 'toy', messages: [{ role: 'user', content: 'Q1: ' }] })
  const call = fetch(`${server.url}/chat/completions`, { method: 'POST', body, signal: stop.signal }).catch(() => 'gone')
  while ((await server.stats()).inFlight === 0) await new Promise(setImmediate)
  stop.abort()
  expect(await call).toBe('gone')
  while ((await server.stats()).inFlight > 0) await new Promise(setImmediate)
  expect(await server.log()).toMatchObject([{ fault: 'never', answered: false }])
  await server.close()
})

test('a request that makes no sense is refused, and the server goes on', async () => {
  const server = await startFaultServer()
  const url = `${server.url}/chat/completions`
  const statuses = []
  for (const body of ['{', '{}', JSON.stringify({ model: 'toy', messages: [] })])
    statuses.push((await fetch(url, { method: 'POST', body })).status)
  await server.close()
  expect(statuses).toEqual([400, 400, 200])
})

test('in the marks world more marks answer more questions, and an edit adds one', () => {
  const share = (marks: number): number => {
    const right = marksExamples(0, 100).filter(({ input, expected }) => {
      const system = `Answer with the label. ${'+'.repeat(marks)}`
      return marksAnswer([{ content: system }, { content: input }]) === expected
    })
    return right.length / 100
  }
  expect([0, 1, 10, 20].map(share)).toEqual([0, 0.05, 0.5, 1])
  expect(new Set([0, 1, 2, 3, 4, 5, 6, 7].map(marksLabel)).size).toBeGreaterThan(1)
  const edits = Array.from({ length: 400 }, (_, i) =>
    marksAnswer([{ content: `improve this, in <prompt> tags (${i})\nLabel it. +++` }]),
  )
  const count = (edit: string): number => edits.filter((e) => e === edit).length
  expect(count('<prompt>Label it. ++++</prompt>')).toBeGreaterThan(250)
  expect(count('<prompt>Label it. +</prompt>')).toBeGreaterThan(20)
  expect(edits.filter((e) => !e.includes('<prompt>')).length).toBeGreaterThan(20)
})

test.each([
  ['in <IMPROVED_VARIABLE> tags', '<IMPROVED_VARIABLE>Label it. ++++</IMPROVED_VARIABLE>'],
  ['in <reflection> tags', '<reflection>Label it. ++++ Q7</reflection>'],
  ['as <skill name="…">', '<skill name="labels">\n<when>A label is wanted.</when>\nLabel it. ++++\n</skill>'],
  ['between two lines of ```', '```\nLabel it. ++++\n```'],
])('an edit that is asked for %s comes so', (how, answer) => {
  const edits = Array.from({ length: 8 }, (_, i) =>
    marksAnswer([{ content: `improve this ${how} (${i})\nLabel it. +++\nQ7: no` }]),
  )
  expect(edits).toContain(answer)
})
