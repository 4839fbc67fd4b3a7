// Memory: a network is driven through 200 training steps and drawings, while what WebAssembly and the heap hold is watched.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { batchesOf } from './batch.ts'
import { initialWeights } from './initial.ts'
import { loadJax } from './load-jax.ts'
import { network } from './network.ts'
import type { Shape } from './shape.ts'

interface Memory {
  readonly buffer: ArrayBuffer
}

const memories: Memory[] = []

/** The same constructor, which remembers what it made. */
function watch(): void {
  const wasm = Reflect.get(globalThis, 'WebAssembly') as { Memory: new (descriptor: unknown) => Memory } // Node has no types for it
  wasm.Memory = class extends wasm.Memory {
    constructor(descriptor: unknown) {
      super(descriptor)
      memories.push(this)
    }
  }
}

test('200 steps of training and drawing take no more memory than the first ten', { timeout: 60_000 }, async () => {
  watch()
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  const shape: Shape = { layers: 1, width: 32, heads: 2, context: 48, vocabulary: 64, shifts: 3 }
  const net = await network(await loadJax(), shape)
  const weights = initialWeights(shape, 1)
  const prompt = Int32Array.from({ length: 12 }, (_, i) => i)
  const draws = [0, 1, 2, 3].map((seed) => ({ seed, maxTokens: 8 }))
  const step = (): void => {
    net.use(weights)
    const [rollouts] = net.sample({ sizes: { n: 2, g: 4, p: 12, t: 8 }, slots: [{ prompt, draws }] })
    const group = {
      prompt,
      rollouts: rollouts!.map(({ tokens, logprobs }) => ({ tokens, logprobs, advantages: logprobs, weights: logprobs })),
    }
    for (const batch of batchesOf([group], [8, 12], shape)) net.gradient(batch, { kind: 'importance_sampling' })
  }
  const held = (): { wasm: number; heap: number } => {
    collect()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return { wasm: memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0), heap: (heapUsed + arrayBuffers) / 2 ** 20 }
  }
  for (let i = 0; i < 10; i++) step()
  const early = held()
  for (let i = 0; i < 200; i++) step()
  const late = held()
  expect(early.wasm).toBeGreaterThan(0)
  expect(late.wasm).toBe(early.wasm)
  expect(late.heap - early.heap).toBeLessThan(4) // MiB
})
