import { expect, test } from 'vitest'
import { testStore } from '../../test/contracts/store.ts'
import { memoryStore } from './memory.ts'

testStore(
  'memory',
  async () => {
    const store = memoryStore()
    return { open: async () => store }
  },
  { persistent: false },
)

test('without a journal facts are kept all the same', async () => {
  await using store = memoryStore({ journal: false })
  await store.create({ id: 'a', createdAt: 1, meta: '{}' })
  await store.append('a', [{ kind: 'steered', wish: 'stop' }], 0)
  const journal = store.journal('a')
  await journal.put({ round: 0, key: '0.0.0/x#0/0~0', question: 'q', bound: { calls: 1, tokens: 2, usd: 3 } })
  expect(await journal.read(0)).toEqual([])
  expect((await journal.spent()).lost).toEqual({ calls: 0, tokens: 0, usd: 0 })
  expect(await store.facts('a')).toEqual([{ kind: 'steered', wish: 'stop' }])
})
