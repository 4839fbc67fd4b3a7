// The size of the embedded transformer, and where each of its weights lies in the one flat array that holds them all.
import { ConfigError } from '../../core/errors.ts'

export interface Shape {
  readonly layers: number
  readonly width: number
  readonly heads: number
  /** Tokens of a prompt and its rollout together, at most. */
  readonly context: number
  /** Token ids are below it. */
  readonly vocabulary: number
  /** Tokens before its own that are added into a token's embedding: what lets a head look for "what came after this". */
  readonly shifts: number
}

/** One named tensor of the flat array. */
export interface Leaf {
  readonly name: string
  readonly shape: readonly number[]
  readonly offset: number
  readonly size: number
}

/** All weights in their order. The head has none of its own: it reads the embedding. */
export function leavesOf({ layers, width, context, vocabulary, shifts }: Shape): readonly Leaf[] {
  const shapes: [string, readonly number[]][] = [
    ['embedding', [vocabulary, width]],
    ['shifted', [shifts * vocabulary, width]],
    ['positions.prompt', [context, width]],
    ['positions.rollout', [context, width]],
    ['norm', [width]],
  ]
  for (let l = 0; l < layers; l++) {
    shapes.push(
      [`layers.${l}.attentionNorm`, [width]],
      [`layers.${l}.attentionIn`, [width, 3 * width]],
      [`layers.${l}.attentionOut`, [width, width]],
      [`layers.${l}.mlpNorm`, [width]],
      [`layers.${l}.mlpIn`, [width, 4 * width]],
      [`layers.${l}.mlpOut`, [4 * width, width]],
    )
  }
  let offset = 0
  return shapes.map(([name, shape]) => {
    const size = shape.reduce((a, b) => a * b, 1)
    offset += size
    return { name, shape, offset: offset - size, size }
  })
}

/** How many weights there are. */
export function weightCount(shape: Shape): number {
  return leavesOf(shape).reduce((sum, { size }) => sum + size, 0)
}

/** @throws {ConfigError} on a shape that can't be built. */
export function checkShape(shape: Shape): void {
  for (const [name, value] of Object.entries(shape)) {
    const least = name === 'shifts' ? 0 : 1
    if (!Number.isInteger(value) || value < least) {
      throw new ConfigError(`jax engine: ${name} is ${value}; give a whole number from ${least}`)
    }
  }
  const { width, heads, shifts } = shape
  if (width % heads || width % (shifts + 1)) {
    throw new ConfigError(`jax engine: width ${width} must be a multiple of heads (${heads}) and of shifts + 1 (${shifts + 1})`)
  }
}
