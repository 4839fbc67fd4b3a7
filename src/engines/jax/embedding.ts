// Embeddings are looked up on the host: a gather costs nothing here, while in the compiled program it would be a matrix product with
// one-hot rows (its gradient is a scalar loop in the library). The compiled program gives back the gradient of each row; it is added
// into the tables here.
import { type Leaf, leavesOf, type Shape } from './shape.ts'

/** Which table of positions: those of a prompt, or those of a rollout, which count from its own start. */
export type Section = 'prompt' | 'rollout'

/** Calls back with the offset of each table row that adds up to a token's embedding. */
export type Rows = (tokens: Int32Array, at: number, section: Section, visit: (offset: number) => void) => void

/** The token before the first. */
const before = 0

export function rowsOf(shape: Shape): Rows {
  const { width, vocabulary, shifts } = shape
  const offsets = new Map(leavesOf(shape).map(({ name, offset }): [Leaf['name'], number] => [name, offset]))
  const shifted = offsets.get('shifted') ?? 0
  const positions = { prompt: offsets.get('positions.prompt') ?? 0, rollout: offsets.get('positions.rollout') ?? 0 }
  return (tokens, at, section, visit) => {
    visit(tokens[at]! * width)
    for (let s = 1; s <= shifts; s++) {
      const token = at >= s ? tokens[at - s]! : before
      visit(shifted + ((s - 1) * vocabulary + token) * width)
    }
    visit(positions[section] + at * width)
  }
}

/** Adds one row of a table into one row of activations. */
export function addRow(from: Float32Array, offset: number, to: Float32Array, at: number, width: number): void {
  for (let i = 0; i < width; i++) to[at + i]! += from[offset + i]!
}
