// One copy of the compiled transformer with its weights: gradients of batches, rollouts of prompts. It runs in a worker thread, where the
// library blocks; its memory goes with the thread.
import type { Loss } from '../../core/engine.ts'
import { NotFiniteError } from '../../core/errors.ts'
import { rng } from '../../core/rng.ts'
import type { Batch } from './batch.ts'
import { draw, type Sampling } from './draw.ts'
import { addRow, rowsOf, type Section } from './embedding.ts'
import { type Automaton, after, masked } from './grammar.ts'
import type { Jax, Tensor } from './load-jax.ts'
import { boundsOf, entropyOf } from './loss.ts'
import { leavesOf, type Shape, weightCount } from './shape.ts'
import { end, start } from './tokenizer.ts'
import { type Body, bodyOf, type Keys, never, type Sizes, tensorsOf, transformer } from './transformer.ts'

/** A rollout to draw. Its chance comes from its seed and its prompt alone. */
export interface Draw extends Sampling {
  readonly seed: number
  readonly maxTokens: number
}

/** Up to N prompts of up to P tokens, each with up to G draws of up to T. */
export interface Draws {
  readonly sizes: Sizes
  readonly slots: readonly { readonly prompt: Int32Array; readonly draws: readonly Draw[] }[]
  /** What every rollout keeps to. */
  readonly grammar?: Automaton | undefined
}

export interface DrawnRollout {
  /** The last one is `end`, unless the limit came first. */
  readonly tokens: Int32Array<ArrayBuffer>
  readonly logprobs: Float32Array<ArrayBuffer>
}

export interface Gradient {
  /** Of the batch's tokens now, [N, G, T]. */
  readonly logprobs: Float32Array<ArrayBuffer>
  /** Of the policy at each token, [N, G, T]; only where the loss counts it. */
  readonly entropies?: Float32Array<ArrayBuffer>
  /** Of the loss, for every weight. */
  readonly gradient: Float32Array<ArrayBuffer>
}

export interface Network {
  /** Weights for all that follows. */
  use(weights: Float32Array): void
  gradient(batch: Batch, loss: Loss): Gradient
  /** The rollouts of each slot. */
  sample(draws: Draws): readonly (readonly DrawnRollout[])[]
}

export async function network(jax: Jax, shape: Shape): Promise<Network> {
  await jax.init('wasm')
  jax.defaultDevice('wasm')
  const { numpy: np, tree, jit, vjp } = jax
  const { layers, width, heads, vocabulary } = shape
  const leaves = new Map(leavesOf(shape).map((leaf) => [leaf.name, leaf]))
  const leafOf = (name: string): { offset: number; size: number; shape: readonly number[] } => leaves.get(name)!
  const rows = rowsOf(shape)
  const model = transformer(jax, shape)
  let weights = new Float32Array(weightCount(shape))
  let body: Body | undefined

  const tensor = (values: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>, ...sizes: number[]): Tensor =>
    np.array(values, { shape: sizes })
  const read = (from: Tensor): Float32Array<ArrayBuffer> => from.dataSync() as Float32Array<ArrayBuffer> // all outputs are float32
  const held = (): Body => {
    body ??= bodyOf(shape, (name) => {
      const { offset, size, shape } = leafOf(name)
      return tensor(weights.slice(offset, offset + size), ...shape)
    })
    return tree.ref(body)
  }
  /** Embeddings of sequences side by side, [rows, W]. */
  const embedded = (sequences: readonly Int32Array[], length: number, section: Section): Float32Array<ArrayBuffer> => {
    const out = new Float32Array(sequences.length * length * width)
    sequences.forEach((tokens, i) => {
      for (let at = 0; at < tokens.length; at++) {
        rows(tokens, at, section, (offset) => addRow(weights, offset, out, (i * length + at) * width, width))
      }
    })
    return out
  }

  const gradients = (hasEntropy: boolean) =>
    compiled(({ n, g, p, t }) =>
      jit((body: Body, prompts: Tensor, rollouts: Tensor, b: TrainingInput) => {
        const { hidden, targets, weights, advantages, drawn, low, high, likelihood, entropy } = b
        const forward = (body: Body, prompts: Tensor, rollouts: Tensor): Tensor[] => {
          const logits = model.logits(body, { prompts, rollouts, hidden }, { n, g, p, t })
          if (!hasEntropy) return [model.logprobs(logits, targets)]
          return [model.logprobs(logits.ref, targets), model.entropies(logits)]
        }
        const [[logprobs, entropies], pull] = vjp(forward, [body, prompts, rollouts])
        const ratio = np.exp(logprobs!.ref.sub(drawn)) // forward gives one or two
        const risen = np.where(np.lessEqual(ratio.ref, high), ratio.ref, 0)
        const fallen = np.where(np.greaterEqual(ratio.ref, low), ratio, 0)
        const clipped = np.where(np.greater(advantages.ref, 0), risen, np.where(np.less(advantages.ref, 0), fallen, 0))
        const gain = advantages
          .mul(clipped)
          .add(likelihood)
          .mul(entropies ? weights.ref : weights)
        const bonus = entropies ? [weights.mul(entropy).neg()] : []
        const [ofBody, ofPrompts, ofRollouts] = pull([gain.neg(), ...bonus])
        pull.dispose()
        return { logprobs: logprobs!, ...(entropies && { entropies }), ofBody, ofPrompts, ofRollouts }
      }),
    )
  const plain = gradients(false)
  const withEntropy = gradients(true)
  const prefills = compiled((sizes) => jit((body: Body, prompts: Tensor) => model.prefill(body, prompts, sizes)))
  const decoders = compiled((sizes) =>
    jit((body: Body, input: Parameters<typeof model.decode>[1]) => model.decode(body, input, sizes)),
  )

  return {
    use(given) {
      if (body) tree.dispose(body)
      body = undefined
      weights = given.slice()
    },

    gradient(batch, loss) {
      const { n, g, p, t } = batch
      const prompts = Array.from({ length: n }, (_, i) => batch.prompts.subarray(i * p, i * p + batch.promptLengths[i]!))
      const targets = Array.from({ length: n * g }, (_, r) => batch.tokens.subarray(r * t, r * t + batch.lengths[r]!))
      const inputs = targets.map((tokens) => shifted(tokens))
      const isLikelihood = loss.kind === 'cross_entropy'
      const [low, high] = boundsOf(loss)
      const zeros = new Float32Array(n * g * t)
      const entropy = entropyOf(loss)
      const out = (entropy > 0 ? withEntropy : plain)(batch)(
        held(),
        tensor(embedded(prompts, p, 'prompt'), n * p, width),
        tensor(embedded(inputs, t, 'rollout'), n * g * t, width),
        {
          hidden: tensor(hiddenOf(batch.promptLengths, p), n, p),
          targets: tensor(batch.tokens, n * g * t),
          weights: tensor(batch.weights, n * g * t),
          advantages: tensor(isLikelihood ? zeros : batch.advantages, n * g * t),
          drawn: tensor(isLikelihood ? zeros : batch.logprobs, n * g * t),
          low: np.array(low),
          high: np.array(Math.min(high, largestRatio)),
          likelihood: np.array(isLikelihood ? 1 : 0),
          entropy: np.array(entropy),
        },
      )
      const gradient = new Float32Array(weights.length)
      for (const [name, of] of tensorsOf(out.ofBody)) gradient.set(read(of), leafOf(name).offset)
      const scatter = (of: Float32Array, sequences: readonly Int32Array[], length: number, section: Section): void => {
        sequences.forEach((tokens, i) => {
          for (let at = 0; at < tokens.length; at++) {
            rows(tokens, at, section, (offset) => addRow(of, (i * length + at) * width, gradient, offset, width))
          }
        })
      }
      scatter(read(out.ofPrompts), prompts, p, 'prompt')
      scatter(read(out.ofRollouts), inputs, t, 'rollout')
      return { logprobs: read(out.logprobs), ...(out.entropies && { entropies: read(out.entropies) }), gradient }
    },

    sample({ sizes, slots, grammar }) {
      const { n, g, p, t } = sizes
      const prompts = slots.map(({ prompt }) => prompt)
      const lengths = Int32Array.from({ length: n }, (_, i) => prompts[i]?.length ?? 0)
      const padded = Array.from({ length: n }, (_, i) => prompts[i] ?? new Int32Array())
      const hidden = tensor(hiddenOf(lengths, p), n, p)
      const prompt = prefills(sizes)(held(), tensor(embedded(padded, p, 'prompt'), n * p, width))
      let past: Keys[] = Array.from({ length: layers }, () => {
        const empty = (): Tensor => np.zeros([heads * n * g, t, width / heads])
        return { k: empty(), v: empty() }
      })
      const open = slots.flatMap(({ prompt, draws }, i) =>
        draws.map((it, j) => rolloutOf(it, { prompt, row: i * g + j, t, grammar })),
      )
      const step = decoders(sizes)
      for (let at = 0; at < t && open.some((rollout) => !rollout.isDone); at++) {
        const row = new Float32Array(n * g * width)
        for (const { input, row: r, isDone } of open) {
          if (!isDone) rows(input, at, 'rollout', (offset) => addRow(weights, offset, row, r * width, width))
        }
        const one = Float32Array.from({ length: t }, (_, i) => (i === at ? 1 : 0))
        const later = Float32Array.from({ length: t }, (_, i) => (i > at ? never : 0))
        const input = { prompt: tree.ref(prompt), past, row: tensor(row, n * g, width), hidden: hidden.ref }
        const out = step(held(), { ...input, at: tensor(one, t), later: tensor(later, t) })
        past = out.past
        const logits = read(out.logits)
        for (const rollout of open) {
          if (!rollout.isDone) extend(rollout, at, logits.subarray(rollout.row * vocabulary, (rollout.row + 1) * vocabulary))
        }
      }
      tree.dispose(past)
      tree.dispose(prompt)
      hidden.dispose()
      let next = 0
      return slots.map(({ draws }) => draws.map(() => finished(open[next++]!)))
    },
  }
}

/** Above it single precision has no numbers. */
const largestRatio = 3.4e38

type TrainingInput = {
  hidden: Tensor
  targets: Tensor
  weights: Tensor
  advantages: Tensor
  /** Log-probabilities when the rollouts were drawn. */
  drawn: Tensor
  low: Tensor
  high: Tensor
  /** 1 adds the likelihood of the targets to the gain. */
  likelihood: Tensor
  /** What the entropy at a token counts. */
  entropy: Tensor
}

/** One program for each combination of sizes. */
function compiled<T>(build: (sizes: Sizes) => T): (sizes: Sizes) => T {
  const known = new Map<string, T>()
  return (sizes) => {
    const key = `${sizes.n} ${sizes.g} ${sizes.p} ${sizes.t}`
    const found = known.get(key) ?? build(sizes)
    known.set(key, found)
    return found
  }
}

/** The token before each: what the transformer reads to give it. */
function shifted(tokens: Int32Array): Int32Array {
  return Int32Array.from(tokens, (_, i) => (i === 0 ? start : tokens[i - 1]!))
}

/** What is added to the scores of a prompt's tokens: padding is never attended to. [N, P] */
function hiddenOf(lengths: Int32Array, p: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: lengths.length * p }, (_, i) => (i % p < lengths[Math.floor(i / p)]! ? 0 : never))
}

interface Open {
  readonly row: number
  readonly draw: Draw
  readonly chance: () => number
  /** `start` and the tokens drawn. */
  readonly input: Int32Array
  readonly logprobs: Float32Array
  readonly grammar: Automaton | undefined
  /** Of the grammar. */
  state: number
  length: number
  isDone: boolean
}

type Place = Pick<Open, 'row' | 'grammar'> & { readonly prompt: Int32Array; readonly t: number }

function rolloutOf(draw: Draw, { prompt, row, t, grammar }: Place): Open {
  const input = new Int32Array(t + 1)
  input[0] = start
  const chance = rng('draw', draw.seed, prompt.join(' '))
  return { row, draw, chance, input, logprobs: new Float32Array(t), grammar, state: 0, length: 0, isDone: false }
}

function extend(rollout: Open, at: number, logits: Float32Array): void {
  const { grammar, state } = rollout
  const sofar = rollout.input.subarray(1, at + 1)
  const allowed = grammar && masked(grammar, state, logits, rollout.draw.maxTokens - at)
  const { token, logprob } = draw(logits, rollout.draw, { sofar, u: rollout.chance(), allowed })
  if (!Number.isFinite(logprob)) throw new NotFiniteError('the weights give log-probabilities that are not finite')
  if (grammar) rollout.state = after(grammar, state, token)
  rollout.input[at + 1] = token
  rollout.logprobs[at] = logprob
  rollout.length = at + 1
  rollout.isDone = token === end || rollout.length >= rollout.draw.maxTokens
}

function finished({ input, logprobs, length }: Open): DrawnRollout {
  return { tokens: input.slice(1, length + 1), logprobs: logprobs.slice(0, length) }
}
