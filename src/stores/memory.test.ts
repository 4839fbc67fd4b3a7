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
