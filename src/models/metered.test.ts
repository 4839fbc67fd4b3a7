import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { echoModel, modelContract } from '../../test/contracts/model.ts'
import { type Fault, type FaultServer, startFaultServer } from '../../test/fault-server.ts'
import { type Budget, type Cost, Ledger, noCost } from '../core/budget.ts'
import { BudgetError, ModelError, StoreError } from '../core/errors.ts'
import type { Scope } from '../core/meter.ts'
import { type Message, type Model, noUsage } from '../core/model.ts'
import type { Entry } from '../core/store.ts'
import { languageModel } from './ai-sdk.ts'
import { type Ask, type CallEvent, type DoorOptions, gate, type MeteredOptions, meter, meteredModel, redact } from './metered.ts'

const key = '3.0.1/q1#0'
const hello: readonly Message[] = [{ role: 'user', content: 'hello' }]

/** A journal that keeps what was put, and a log of what happened in order. */
function toyJournal(): { put(entry: Entry): Promise<void>; readonly entries: Map<string, Entry>; readonly log: string[] } {
  const entries = new Map<string, Entry>()
  const log: string[] = []
  return {
    entries,
    log,
    async put(entry) {
      await Promise.resolve()
      entries.set(entry.key, entry)
      log.push(`${entry.outcome === undefined ? 'reserved' : 'recorded'} ${entry.key.slice(key.length + 1)}`)
    },
  }
}

interface Toy {
  readonly scope: Scope<Model>
  readonly journal: ReturnType<typeof toyJournal>
  readonly ledger: Ledger
  readonly events: CallEvent[]
}

function open(
  model: Model,
  {
    recorded = [] as readonly Entry[],
    budget = {} as Budget,
    ...more
  }: Partial<MeteredOptions> & { recorded?: readonly Entry[]; budget?: Budget } = {},
): Toy {
  const journal = toyJournal()
  const ledger = new Ledger(budget)
  const events: CallEvent[] = []
  const onCall = (event: CallEvent): void => void events.push(event)
  const options = {
    journal,
    ledger,
    gate: gate(),
    retry: { base: 1 },
    grace: 20,
    onCall,
    price: (u: { output: number }) => u.output / 1000,
    ...more,
  }
  return { scope: meteredModel(model, options).open(3, key, recorded), journal, ledger, events }
}

/** A model that answers by the last message, or with what `faults` holds first. */
function scripted(faults: (Error | 'never')[] = []): Model & { readonly asked: string[] } {
  const asked: string[] = []
  return {
    name: 'toy:scripted',
    asked,
    async sample(prompt) {
      asked.push(prompt.at(-1)?.content ?? '')
      const fault = faults.shift()
      if (fault === 'never') return new Promise(() => {})
      if (fault) throw fault
      return [{ text: `re: ${prompt.at(-1)?.content}`, finish: 'stop', usage: { ...noUsage, input: 3, output: 2 } }]
    },
  }
}

const say = (content: string): readonly Message[] => [{ role: 'user', content }]
const params = { maxTokens: 10 }

modelContract('a metered toy', async () => ({ model: open(echoModel()).scope.model, echoes: true }))

describe('a call', () => {
  test('is reserved durably before it is sent, and recorded before it is given', async () => {
    const journal = toyJournal()
    const model = echoModel()
    const watched: Model = {
      name: model.name,
      sample(...asked) {
        journal.log.push('sent')
        return model.sample(...asked)
      },
    }
    const { scope } = open(watched, { journal })
    await scope.model.sample(hello, params)
    journal.log.push('given')
    expect(journal.log).toEqual(['reserved 0~0', 'sent', 'recorded 0~0', 'given'])
  })

  test('costs what its usage says, and is reserved at its bound', async () => {
    const { scope, journal, ledger } = open(scripted())
    await scope.model.sample(hello, params)
    const entry = journal.entries.get(`${key}/0~0`)
    expect(entry).toMatchObject({
      round: 3,
      bound: { calls: 1, tokens: 64 + 5 + 16 + 10, usd: 0.01 },
      cost: { calls: 1, tokens: 5, usd: 0.002 },
    })
    expect(scope.cost()).toEqual({ calls: 1, tokens: 5, usd: 0.002 })
    expect(ledger.spent).toEqual({ calls: 1, tokens: 5, usd: 0.002 })
    expect(ledger.reserved).toEqual(noCost)
  })

  test('that failed is asked again as the next attempt, and costs the scope nothing', async () => {
    const { scope, journal, events } = open(scripted([new ModelError('busy', { status: 500, retryable: true })]))
    await scope.model.sample(hello, params)
    expect(journal.log).toEqual(['reserved 0~0', 'recorded 0~0', 'reserved 0~1', 'recorded 0~1'])
    expect(journal.entries.get(`${key}/0~0`)).toMatchObject({
      outcome: '{"failed":"busy"}',
      cost: { calls: 1, tokens: 0, usd: 0 },
    })
    expect(scope.cost().calls).toBe(1)
    expect(events.map((e) => e.kind)).toEqual(['sent', 'failed', 'sent', 'answered'])
  })

  test('that never came counts as spent at its bound and has no outcome', async () => {
    const { scope, journal, ledger } = open(scripted(['never']), { timeout: 5 })
    await scope.model.sample(hello, params)
    expect(journal.entries.get(`${key}/0~0`)?.outcome).toBeUndefined()
    expect(ledger.spent).toEqual({ calls: 2, tokens: 95 + 5, usd: 0.012 })
  })

  test('whose reply broke may still be billed, so its bound counts', async () => {
    const { scope, ledger } = open(scripted([new ModelError('half', { status: 200, retryable: true })]))
    await scope.model.sample(hello, params)
    expect(ledger.spent.tokens).toBe(95 + 5)
  })

  test('whose provider was never reached costs no tokens', async () => {
    const cause = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
    const { scope, ledger } = open(scripted([new ModelError('gone', { retryable: true, cause })]))
    await scope.model.sample(hello, params)
    expect(ledger.spent.tokens).toBe(5)
  })

  test('is given up after the last retry, with model, status, cause and tries, and without keys', async () => {
    const broken = new ModelError('Incorrect API key provided: sk-proj-abcdef123456\n  more', { status: 503, retryable: true })
    const model = scripted(Array.from({ length: 9 }, () => broken))
    const { scope } = open(model)
    const error = await scope.model.sample(hello, params).catch((e: unknown) => e)
    expect(error).toMatchObject({ name: 'ModelError', status: 503, cause: broken })
    expect(String(error)).toBe('ModelError: toy:scripted: Incorrect API key provided: [key] more (5 tries)')
    expect(model.asked).toHaveLength(5)
  })

  test('that asking again can’t help is given up at once', async () => {
    const model = scripted([new ModelError('no', { status: 401, retryable: false })])
    await expect(open(model).scope.model.sample(hello, params)).rejects.toThrow('toy:scripted: no (1 try)')
    expect(model.asked).toHaveLength(1)
  })

  test('whose provider asks for too long a wait is given up', async () => {
    const model = scripted([new ModelError('quota', { status: 429, retryable: true, retryAfter: 3_600_000 })])
    await expect(open(model).scope.model.sample(hello, params)).rejects.toThrow(
      'quota (1 try; it asks to wait 3600 s, which is too long)',
    )
  })

  test('is ended by an abort at once, and stays lost', async () => {
    const stop = new AbortController()
    const { scope, journal, ledger } = open(scripted(['never']), { signal: stop.signal })
    const call = scope.model.sample(hello, params)
    const reason = new Error('stop')
    while (journal.log.length === 0) await new Promise(setImmediate)
    stop.abort(reason)
    await expect(call).rejects.toBe(reason)
    expect(journal.log).toEqual(['reserved 0~0'])
    expect(ledger.reserved).toEqual(noCost)
    expect(ledger.spent.tokens).toBe(95)
  })

  test('of the rounds that wait, the one with the fewest calls left is let in first; each keeps its own order', async () => {
    const door = gate(1)
    const began: string[] = []
    const call = (round: number, name: string): Promise<void> => door.enter(async () => void began.push(name), round)
    const first = call(9, 'at once')
    const all = [call(1, 'a1'), call(1, 'a2'), call(1, 'a3'), call(2, 'b1'), call(2, 'b2')]
    await Promise.all([first, ...all])
    expect(began).toEqual(['at once', 'b1', 'b2', 'a1', 'a2', 'a3'])
  })

  test('a call that throws hands its place on', async () => {
    const door = gate(1)
    const failed = door.enter(() => Promise.reject(new Error('broken')))
    const next = door.enter(async () => 'in')
    await expect(failed).rejects.toThrow('broken')
    expect(await next).toBe('in')
    expect(await door.enter(async () => 'free again')).toBe('free again')
  })

  test('waiting for the limiter is ended by an abort, and never sent', async () => {
    const stop = new AbortController()
    const model = scripted(['never'])
    const { scope } = open(model, { gate: gate(1) })
    const first = scope.model.sample(say('a'), params, stop.signal)
    const second = scope.model.sample(say('b'), params, stop.signal)
    while (model.asked.length === 0) await new Promise(setImmediate)
    stop.abort(new Error('stop'))
    expect((await Promise.allSettled([first, second])).map((r) => r.status)).toEqual(['rejected', 'rejected'])
    await new Promise(setImmediate)
    expect(model.asked).toEqual(['a'])
  })

  test('aborted while the journal keeps it is not sent', async () => {
    const stop = new AbortController()
    const model = scripted()
    const put = async (): Promise<void> => stop.abort(new Error('stop'))
    const { scope, ledger } = open(model, { journal: { put }, signal: stop.signal })
    await expect(scope.model.sample(hello, { maxTokens: 5 })).rejects.toThrow('stop')
    await new Promise(setImmediate)
    expect(model.asked).toEqual([])
    expect(ledger.reserved).toEqual(noCost)
  })

  test('that the journal can’t keep is not sent', async () => {
    const model = scripted()
    const put = async (): Promise<void> => {
      throw new StoreError('disk full')
    }
    const { scope, ledger } = open(model, { journal: { put } })
    await expect(scope.model.sample(hello, params)).rejects.toThrow('disk full')
    expect(model.asked).toEqual([])
    expect(ledger.spent).toEqual(noCost)
  })

  test('goes out with at most so many others', async () => {
    let inFlight = 0
    let peak = 0
    const model: Model = {
      name: 'toy:slow',
      async sample(prompt) {
        peak = Math.max(peak, ++inFlight)
        await new Promise(setImmediate)
        inFlight--
        return scripted().sample(prompt, params)
      },
    }
    const { scope } = open(model, { gate: gate(3) })
    await Promise.all(Array.from({ length: 12 }, (_, i) => scope.model.sample(say(`${i}`), params)))
    expect(peak).toBe(3)
  })
})

test('when a provider asks for a wait, every call to it waits', async () => {
  const door = gate()
  const model = scripted([new ModelError('slow down', { status: 429, retryable: true, retryAfter: 60 })])
  const { scope, events } = open(model, { gate: door })
  const other = open(scripted(), { gate: door })
  const began = performance.now()
  const first = scope.model.sample(say('a'), params)
  while (!events.some((e) => e.kind === 'failed')) await new Promise(setImmediate)
  await other.scope.model.sample(say('b'), params)
  const waited = performance.now() - began
  await first
  expect(waited).toBeGreaterThanOrEqual(55)
})

describe('replay', () => {
  /** The journal after three calls, and what was answered. */
  async function lived(): Promise<{ entries: Entry[]; texts: string[]; cost: Cost }> {
    const { scope, journal } = open(scripted())
    const texts: string[] = []
    for (const word of ['a', 'b', 'c']) texts.push((await scope.model.sample(say(word), params))[0]?.text ?? '')
    return { entries: [...journal.entries.values()], texts, cost: scope.cost() }
  }

  test('a completed call is never paid twice', async () => {
    const { entries, texts, cost } = await lived()
    const model = scripted()
    const { scope, journal } = open(model, { recorded: entries })
    const again: string[] = []
    for (const word of ['a', 'b', 'c']) again.push((await scope.model.sample(say(word), params))[0]?.text ?? '')
    scope.close()
    expect(again).toEqual(texts)
    expect(model.asked).toEqual([])
    expect(journal.log).toEqual([])
    expect(scope.cost()).toEqual(cost)
  })

  test('calls made at once may be asked in another order', async () => {
    const { entries } = await lived()
    const model = scripted()
    const { scope } = open(model, { recorded: entries })
    const words = ['d', 'c', 'a', 'b']
    const answers = await Promise.all(words.map((word) => scope.model.sample(say(word), params)))
    scope.close()
    expect(answers.map(([c]) => c?.text)).toEqual(words.map((word) => `re: ${word}`))
    expect(model.asked).toEqual(['d'])
  })

  test('the same question asked twice takes two answers', async () => {
    const { entries } = await lived()
    const twice = [...entries, { ...entries[0]!, key: `${key}/3~0`, outcome: '{"ok":{"text":"second"}}' }]
    const { scope } = open(scripted(), { recorded: twice })
    for (const word of ['b', 'c']) await scope.model.sample(say(word), params)
    const texts = [await scope.model.sample(say('a'), params), await scope.model.sample(say('a'), params)].map(([c]) => c?.text)
    scope.close()
    expect(texts).toEqual(['re: a', 'second'])
  })

  test('a task that asks something else is an error, and pays nothing', async () => {
    const { entries } = await lived()
    const model = scripted()
    const { scope } = open(model, { recorded: entries })
    const error = await scope.model.sample(say('other'), params).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(StoreError)
    expect(String(error)).toMatch(`journal and task part ways at ${key}/0~0`)
    expect(model.asked).toEqual([])
  })

  test('a task that no longer asks is an error when it ends', async () => {
    const { entries } = await lived()
    const { scope } = open(scripted(), { recorded: entries })
    await scope.model.sample(say('a'), params)
    expect(() => scope.close()).toThrow(`journal and task part ways at ${key}/1~0`)
  })

  test('a lost call keeps its entry and is repeated as the next attempt, whatever is asked first', async () => {
    const { entries } = await lived()
    const { outcome: _, cost: __, ...lost } = entries[1]!
    const model = scripted()
    const { scope, journal } = open(model, { recorded: [entries[0]!, lost, entries[2]!] })
    for (const word of ['b', 'a', 'c']) await scope.model.sample(say(word), params)
    scope.close()
    expect(model.asked).toEqual(['b'])
    expect(journal.entries.has(`${key}/0~1`)).toBe(true)
    expect(journal.entries.has(`${key}/1~0`)).toBe(false)
  })

  test('entries that are no calls of the scope are left alone', async () => {
    const { entries } = await lived()
    const others = entries.map((entry) => ({ ...entry, key: entry.key.replace('#0', '#01') }))
    const { scope } = open(scripted(), { recorded: [...others, { ...entries[0]!, key }] })
    scope.close()
    expect(scope.cost()).toEqual(noCost)
  })

  test('killed after any call and asked in any order, each call is paid once and answered the same', async () => {
    const words = ['a', 'b', 'c', 'd', 'a']
    await fc.assert(
      fc.asyncProperty(
        fc.subarray([0, 1, 2, 3, 4]),
        fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 5 }),
        async (done, order) => {
          const model = scripted()
          const first = open(model)
          for (const word of words) await first.scope.model.sample(say(word), params)
          const kept = [...first.journal.entries.values()].filter((_, i) => done.includes(i))
          const later = scripted()
          const second = open(later, { recorded: kept })
          const answers = await Promise.all(order.map((i) => second.scope.model.sample(say(words[i]!), params)))
          second.scope.close()
          expect(answers.map(([c]) => c?.text)).toEqual(order.map((i) => `re: ${words[i]}`))
          expect(later.asked).toHaveLength(words.length - done.length)
          expect(second.scope.cost()).toEqual(first.scope.cost())
        },
      ),
      { numRuns: 60, seed: 1 },
    )
  })
})

describe('the budget', () => {
  test('refuses a call whose bound it can’t cover, before it is sent', async () => {
    const model = scripted()
    const { scope } = open(model, { budget: { usd: 0.009 } })
    await expect(scope.model.sample(hello, params)).rejects.toThrow(BudgetError)
    expect(model.asked).toEqual([])
  })

  test('makes a call wait while others may turn out cheaper', async () => {
    const { scope } = open(scripted(), { budget: { usd: 0.012 } }) // bound 0.010, cost 0.002
    await Promise.all([scope.model.sample(say('a'), params), scope.model.sample(say('b'), params)])
    await expect(scope.model.sample(say('c'), params)).rejects.toThrow("can't cover the next call: at most 1 calls")
  })

  test('is never exceeded by calls at once over several meters, and nobody waits for ever', async () => {
    const cost = fc.record({
      bound: fc.integer({ min: 1, max: 50 }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      turns: fc.nat(4),
      fails: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(cost, { maxLength: 40 }),
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 5 }),
        async (calls, usd, width) => {
          const ledger = new Ledger({ usd })
          let charged = 0
          const door = (): DoorOptions => ({
            journal: toyJournal(),
            ledger,
            gate: gate(width),
            retry: { base: 0.01, retries: 1 },
          })
          const asks: Ask[] = [0, 1].map(() => meter((ask) => ask, door()).open(0, key, []).model)
          const results = await Promise.allSettled(
            calls.map(({ bound, share, turns, fails }, i) => {
              let tries = 0
              return asks[i % 2]!({
                model: 'toy:random',
                question: `${i}`,
                bound: { calls: 1, tokens: 0, usd: bound },
                params: { maxTokens: 1 },
                async send() {
                  expect(ledger.spent.usd + ledger.reserved.usd).toBeLessThanOrEqual(usd * (1 + 1e-6))
                  for (let t = 0; t < turns; t++) await new Promise(setImmediate)
                  if (fails && tries++ === 0) {
                    charged += bound
                    throw new ModelError('broken', { status: 200, retryable: true })
                  }
                  charged += bound * share
                  return { value: i, usage: noUsage, cost: { calls: 1, tokens: 0, usd: bound * share } }
                },
              })
            }),
          )
          for (const result of results) if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(BudgetError)
          expect(ledger.spent.usd).toBeCloseTo(charged, 6)
          expect(charged).toBeLessThanOrEqual(usd * (1 + 1e-6))
          expect(Math.abs(ledger.reserved.usd)).toBeLessThan(1e-6)
        },
      ),
      { numRuns: 100, seed: 2 },
    )
  })
})

describe('faults of a provider', () => {
  let server: FaultServer
  beforeAll(async () => {
    server = await startFaultServer({ world: 'echo' })
  })
  afterAll(() => server.close())

  const rows: { fault: Fault; requests: number; event: string | RegExp }[] = [
    { fault: { kind: '429', count: 1 }, requests: 2, event: 'answered' },
    { fault: { kind: '429', count: 1, retryAfter: '0.05' }, requests: 2, event: 'answered' },
    { fault: { kind: '500', count: 2 }, requests: 3, event: 'answered' },
    { fault: { kind: 'broken-json', count: 1 }, requests: 2, event: 'answered' },
    { fault: { kind: 'no-choice', count: 1 }, requests: 2, event: 'answered' },
    { fault: { kind: 'empty-body', count: 1 }, requests: 2, event: 'answered' },
    { fault: { kind: 'garbage', count: 1 }, requests: 2, event: 'answered' },
    { fault: { kind: 'half', count: 1 }, requests: 2, event: 'answered' },
    { fault: { kind: 'never', count: 1 }, requests: 2, event: 'answered' },
    { fault: { kind: 'empty', count: 1 }, requests: 1, event: 'empty answer' },
    { fault: { kind: '401' }, requests: 1, event: /toy:small answered 401: Incorrect API key provided: \[key\] \(1 try\)/ },
    {
      fault: { kind: '429', retryAfter: '7200' },
      requests: 1,
      event: /answered 429: injected 429 \(1 try; it asks to wait 7200 s/,
    },
    { fault: { kind: '500' }, requests: 3, event: /toy:small answered 500: injected 500 \(3 tries\)/ },
    { fault: { kind: 'broken-json' }, requests: 3, event: /toy:small: Invalid JSON response \(3 tries\)/ },
    { fault: { kind: 'half' }, requests: 3, event: /toy:small: .*\(3 tries\)/ },
    { fault: { kind: 'never' }, requests: 3, event: /toy:small: no answer within 0.2 s \(3 tries\)/ },
  ]
  test.each(rows)('$fault → $event', async ({ fault, requests, event }) => {
    await server.faults([fault])
    const before = (await server.stats()).requests
    const lm = createOpenAICompatible({ name: 'toy', baseURL: server.url })('small')
    const { scope, events } = open(languageModel(lm), { retry: { base: 1, retries: 2 }, timeout: 200 })
    const outcome = await scope.model.sample(hello, { maxTokens: 100 }).then(
      ([completion]) => (completion?.text === '' ? 'empty answer' : 'answered'),
      (error: Error) => error.message,
    )
    if (typeof event === 'string') expect(outcome).toBe(event)
    else expect(outcome).toMatch(event)
    expect((await server.stats()).requests - before).toBe(requests)
    expect(events.filter((e) => e.kind === 'sent')).toHaveLength(requests)
  })
})

test('what looks like a key is cut from messages', () => {
  expect(redact('key sk-proj-abc123DEF456 is wrong')).toBe('key [key] is wrong')
  expect(redact('Authorization: Bearer abc.def-ghi')).toBe('Authorization: [key] [key]')
  expect(redact('api_key=hunter2 refused')).toBe('api_key=[key] refused')
  expect(redact('AIzaSyA1234567890abcdefghijklmnopqrstuv')).toBe('[key]')
  expect(redact('model claude-sonnet-4-5-20250929 is over its limit of 4096 tokens')).toBe(
    'model claude-sonnet-4-5-20250929 is over its limit of 4096 tokens',
  )
})
