import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addCost, type Cost, exceeded, Ledger, noCost, scaleCost } from './budget.ts'

const cost = (calls: number, usd = 0): Cost => ({ calls, tokens: 0, usd })

test('the first limit that is passed is named; a limit that is met is not passed', () => {
  expect(exceeded({ calls: 3 }, cost(3))).toBeUndefined()
  expect(exceeded({ calls: 3 }, cost(4))).toBe('calls')
  expect(exceeded({ usd: 0.3, calls: 1 }, cost(2, 0.4))).toBe('usd')
  expect(exceeded({ tokens: 10 }, { calls: 0, tokens: 11, usd: 0 })).toBe('tokens')
  expect(exceeded({}, cost(1e9, 1e9))).toBeUndefined()
})

test('the rounding of sums does not end a budget', () => {
  const tenth = Array.from({ length: 10 }, () => cost(0, 0.1)).reduce(addCost)
  expect(0.1 + 0.2).toBeGreaterThan(0.3)
  expect(exceeded({ usd: 0.3 }, cost(0, 0.1 + 0.2))).toBeUndefined()
  expect(exceeded({ usd: 1 }, tenth)).toBeUndefined()
  expect(exceeded({ usd: 0.3 }, cost(0, 0.300001))).toBe('usd')
})

test('a call waits for those in flight that may turn out cheaper, and is refused when none could help', () => {
  const ledger = new Ledger({ calls: 10 }, cost(4))
  expect(ledger.admits(cost(6))).toBe('yes')
  expect(ledger.admits(cost(7))).toBe('no')
  ledger.reserve(cost(5))
  expect(ledger.admits(cost(1))).toBe('yes')
  expect(ledger.admits(cost(2))).toBe('waits')
  ledger.settle(cost(5), cost(1))
  expect(ledger.admits(cost(5))).toBe('yes')
  expect(ledger.admits(cost(6))).toBe('no')
})

test('what is set aside for the closing look is not for the search, until it is given free', () => {
  const ledger = new Ledger({ calls: 10 })
  ledger.hold(cost(8))
  expect([ledger.admits(cost(2)), ledger.admits(cost(3))]).toEqual(['yes', 'no'])
  ledger.hold(noCost)
  expect(ledger.admits(cost(10))).toBe('yes')
})

test('when the minutes are used up nothing is admitted, until the closing look is let through', () => {
  const ledger = new Ledger({})
  ledger.expire()
  expect([ledger.admits(noCost), ledger.expired]).toEqual(['no', true])
  ledger.expire(false)
  expect(ledger.admits(cost(1))).toBe('yes')
})

test('a raised limit counts from then on', () => {
  const ledger = new Ledger({ calls: 1 }, cost(1))
  expect(ledger.admits(cost(1))).toBe('no')
  ledger.limit({ calls: 2 })
  expect(ledger.admits(cost(1))).toBe('yes')
})

test('whatever is admitted, spent and reserved never pass the limit, and settling everything leaves nothing reserved', () => {
  const call = fc.record({ bound: fc.integer({ min: 1, max: 9 }), actual: fc.integer({ min: 0, max: 9 }), ends: fc.boolean() })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 20 }), fc.array(call), (limit, held, sequence) => {
      const ledger = new Ledger({ calls: limit })
      ledger.hold(cost(held))
      const open: { bound: Cost; actual: Cost }[] = []
      for (const { bound, actual, ends } of sequence) {
        if (ledger.admits(cost(bound)) === 'yes') {
          ledger.reserve(cost(bound))
          open.push({ bound: cost(bound), actual: cost(Math.min(actual, bound)) })
        }
        const first = ends ? open.shift() : undefined
        if (first) ledger.settle(first.bound, first.actual)
        expect(ledger.spent.calls + ledger.reserved.calls + held).toBeLessThanOrEqual(Math.max(limit, held))
      }
      for (const { bound, actual } of open) ledger.settle(bound, actual)
      expect(ledger.reserved).toEqual(noCost)
    }),
    { seed: 5 },
  )
})

test('costs add and scale in every unit', () => {
  const a: Cost = { calls: 1, tokens: 2, usd: 3 }
  expect(addCost(a, scaleCost(a, 2))).toEqual({ calls: 3, tokens: 6, usd: 9 })
})
