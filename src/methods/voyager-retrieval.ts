// Which skills lie nearest to a task: cosine of embeddings. The embedding that needs no network is a hashed bag of n-grams, so it sees shared
// words and word stems, not meaning.
import { ConfigError } from '../core/errors.ts'
import { seedOf } from '../core/rng.ts'

/** A vector for each text, in order, all of one length. */
export type Embed = (texts: readonly string[]) => Promise<readonly (readonly number[])[]>

/** Numbers in a vector of the embedded default. */
const width = 1024

/** Words, and runs of three letters in them, counted by their hash; the square root keeps what is repeated from drowning the rest. */
export const hashedNgrams: Embed = async (texts) =>
  texts.map((text) => {
    const vector: number[] = Array(width).fill(0)
    for (const gram of gramsIn(text)) vector[seedOf(gram) % width]!++
    return vector.map(Math.sqrt)
  })

function gramsIn(text: string): readonly string[] {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
  return words.flatMap((word) => {
    const letters = [...` ${word} `]
    return [word, ...letters.slice(2).map((_, i) => letters.slice(i, i + 3).join(''))]
  })
}

/** Indices of `keys`, those nearest to the query first; of equals, the later one. @throws {ConfigError} on vectors that do not fit. */
export async function byNearness(query: string, keys: readonly string[], embed: Embed): Promise<readonly number[]> {
  if (keys.length === 0) return []
  const vectors = await embed([query, ...keys])
  const [first = []] = vectors
  if (vectors.length !== keys.length + 1 || vectors.some((v) => v.length !== first.length || !v.every(Number.isFinite))) {
    throw new ConfigError(
      `embed returned ${vectors.length} vectors of ${[...new Set(vectors.map((v) => v.length))].join(', ')} numbers for ${keys.length + 1} texts: return one for each, all of one length`,
    )
  }
  const nearness = vectors.slice(1).map((vector) => cosine(first, vector))
  return keys.map((_, i) => i).sort((a, b) => nearness[b]! - nearness[a]! || b - a)
}

/** In [-1, 1]; 0 where one has no direction. */
export function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]): number => x.reduce((sum, value, i) => sum + value * y[i]!, 0)
  const size = Math.sqrt(dot(a, a) * dot(b, b))
  return size === 0 ? 0 : dot(a, b) / size
}
