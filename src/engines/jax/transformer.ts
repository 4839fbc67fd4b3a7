// A decoder-only transformer: RMS norms, learned positions, squared ReLU, no biases, the head tied to the embedding. Pure functions to be
// compiled; letters: N prompts of P tokens, G rollouts of each of T tokens, H heads of D, width W, vocabulary V.
//
// Rollouts share the keys and values of their prompt: attention is one softmax in two parts, over the prompt and over the rollout's own
// past. In this library an argument is consumed by the call that takes it; `.ref` keeps it for one more use.
import type { Jax, Tensor } from './load-jax.ts'
import type { Shape } from './shape.ts'

// Type aliases: the library's trees of tensors have index signatures, which interfaces have not.
export type Layer = {
  attentionNorm: Tensor
  attentionIn: Tensor
  attentionOut: Tensor
  mlpNorm: Tensor
  mlpIn: Tensor
  mlpOut: Tensor
}
/** What the compiled part needs; embeddings are looked up outside. */
export type Body = { head: Tensor; norm: Tensor; layers: Layer[] }

/** A body of the tensors that `named` gives for the names of the flat array's leaves. */
export function bodyOf({ layers }: Shape, named: (leaf: string) => Tensor): Body {
  const layer = (l: number): Layer => ({
    attentionNorm: named(`layers.${l}.attentionNorm`),
    attentionIn: named(`layers.${l}.attentionIn`),
    attentionOut: named(`layers.${l}.attentionOut`),
    mlpNorm: named(`layers.${l}.mlpNorm`),
    mlpIn: named(`layers.${l}.mlpIn`),
    mlpOut: named(`layers.${l}.mlpOut`),
  })
  return { head: named('embedding'), norm: named('norm'), layers: Array.from({ length: layers }, (_, l) => layer(l)) }
}

/** The tensors of a body with the names of their leaves. */
export function tensorsOf({ head, norm, layers }: Body): readonly (readonly [leaf: string, tensor: Tensor])[] {
  const inLayers = layers.flatMap((layer, l) =>
    Object.entries(layer).map(([key, tensor]) => [`layers.${l}.${key}`, tensor] as const),
  )
  return [['embedding', head], ['norm', norm], ...inLayers]
}

/** [N, H, P, D] each; in a decoder's own past [N · G, H, T, D]. */
export type Keys = { k: Tensor; v: Tensor }

/** What a masked score is lowered by: its exponential is exactly 0. */
export const never = -1e9

export interface Transformer {
  /** Logits of all rollout positions, [N · G · T, V]. `prompts` [N · P, W], `rollouts` [N · G · T, W], `hidden` [N, P]: 0, or −1e9 at padding. */
  logits(body: Body, input: { prompts: Tensor; rollouts: Tensor; hidden: Tensor }, sizes: Sizes): Tensor
  /** Log-probabilities of `targets` [M] under `logits` [M, V]. */
  logprobs(logits: Tensor, targets: Tensor): Tensor
  /** Entropies of the distributions that `logits` [M, V] give, [M]. */
  entropies(logits: Tensor): Tensor
  /** Keys and values of the prompts, a layer each. */
  prefill(body: Body, prompts: Tensor, sizes: Pick<Sizes, 'n' | 'p'>): Keys[]
  /** One token further: `row` [N · G, W] its embedding, `at` [T] one-hot of its position, `later` [T] −1e9 behind it. */
  decode(
    body: Body,
    input: { prompt: Keys[]; past: Keys[]; row: Tensor; hidden: Tensor; at: Tensor; later: Tensor },
    sizes: Sizes,
  ): { logits: Tensor; past: Keys[] }
}

export interface Sizes {
  readonly n: number
  readonly g: number
  readonly p: number
  readonly t: number
}

export function transformer({ numpy: np, nn, lax, DType }: Jax, { layers, width, heads }: Shape): Transformer {
  const depth = width / heads
  const swap = [0, 1, 3, 2]
  const last = { keepdims: true }

  const normed = (x: Tensor, gain: Tensor): Tensor => {
    const mean = np.mean(np.square(x.ref), -1, last)
    return x.mul(np.reciprocal(np.sqrt(mean.add(1e-5)))).mul(gain)
  }
  const mlp = (x: Tensor, { mlpNorm, mlpIn, mlpOut }: Layer): Tensor =>
    np.matmul(np.square(nn.relu(np.matmul(normed(x, mlpNorm), mlpIn))), mlpOut)
  const causal = (t: number): Tensor => {
    const mask = Float32Array.from({ length: t * t }, (_, i) => (i % t > Math.floor(i / t) ? never : 0))
    return np.array(mask).reshape([t, t])
  }
  /** Queries (scaled), keys and values of `b` sequences of `t`, [b, H, t, D]. */
  const project = (x: Tensor, layer: Layer, b: number, t: number): readonly [Tensor, Tensor, Tensor] => {
    const y = np.matmul(normed(x, layer.attentionNorm), layer.attentionIn).reshape([b, t, 3, heads, depth])
    const part = (from: Tensor, i: number): Tensor => from.slice([], [], i).transpose([0, 2, 1, 3])
    return [part(y.ref, 0).mul(depth ** -0.5), part(y.ref, 1), part(y, 2)]
  }
  /** [b, H, t, D] → [b · t, W] */
  const joined = (x: Tensor, rows: number): Tensor => x.transpose([0, 2, 1, 3]).reshape([rows, width])

  const promptAttention = (q: Tensor, k: Tensor, v: Tensor, { n, p }: Pick<Sizes, 'n' | 'p'>): Tensor => {
    const scores = np.matmul(q, k.transpose(swap)).add(causal(p))
    const most = lax.stopGradient(np.max(scores.ref, -1, last))
    const e = np.exp(scores.sub(most))
    const total = np.sum(e.ref, -1, last)
    return joined(np.matmul(e, v).div(total), n * p)
  }
  const rolloutAttention = (q: Tensor, own: Keys, prompt: Keys, hidden: Tensor, { n, g, p, t }: Sizes): Tensor => {
    // Rollouts of a prompt side by side, to meet its keys in one product: [N · G, H, T, c] ↔ [N, H, G · T, c].
    const gather = (x: Tensor, c: number): Tensor =>
      x
        .reshape([n, g, heads, t, c])
        .transpose([0, 2, 1, 3, 4])
        .reshape([n, heads, g * t, c])
    const spread = (x: Tensor, c: number): Tensor =>
      x
        .reshape([n, heads, g, t, c])
        .transpose([0, 2, 1, 3, 4])
        .reshape([n * g, heads, t, c])
    const before = np.matmul(gather(q.ref, depth), prompt.k.transpose(swap)).add(hidden.reshape([n, 1, 1, p]))
    const within = np.matmul(q, own.k.transpose(swap)).add(causal(t))
    const most = lax.stopGradient(np.maximum(spread(np.max(before.ref, -1, last), 1), np.max(within.ref, -1, last)))
    const eBefore = np.exp(before.sub(gather(most.ref, 1)))
    const eWithin = np.exp(within.sub(most))
    const total = spread(np.sum(eBefore.ref, -1, last), 1).add(np.sum(eWithin.ref, -1, last))
    const taken = spread(np.matmul(eBefore, prompt.v), depth).add(np.matmul(eWithin, own.v))
    return joined(taken.div(total), n * g * t)
  }
  const oneHot = (ids: Tensor, n: number): Tensor =>
    np.equal(ids.reshape([...ids.shape, 1]), np.arange(n).astype(DType.Int32)).astype(DType.Float32)
  const head = (x: Tensor, body: Pick<Body, 'head' | 'norm'>): Tensor => np.matmul(normed(x, body.norm), body.head.transpose())

  return {
    logits(body, { prompts, rollouts, hidden }, sizes) {
      const { n, g, p, t } = sizes
      let xp = prompts
      let xr = rollouts
      body.layers.forEach((layer, l) => {
        const isLast = l === layers - 1
        const [qp, kp, vp] = project(isLast ? xp : xp.ref, kept(layer, 'attention'), n, p)
        const [qr, kr, vr] = project(xr.ref, layer, n * g, t)
        if (isLast) qp.dispose()
        else {
          xp = xp.add(np.matmul(promptAttention(qp, kp.ref, vp.ref, sizes), layer.attentionOut.ref))
          xp = xp.ref.add(mlp(xp, kept(layer, 'mlp')))
        }
        const taken = rolloutAttention(qr, { k: kr, v: vr }, { k: kp, v: vp }, isLast ? hidden : hidden.ref, sizes)
        xr = xr.add(np.matmul(taken, layer.attentionOut))
        xr = xr.ref.add(mlp(xr, layer))
      })
      return head(xr, body)
    },
    logprobs(logits, targets) {
      const chosen = oneHot(targets, logits.shape[1]!)
      const most = lax.stopGradient(np.max(logits.ref, -1, last))
      const z = logits.sub(most)
      const total = np.log(np.sum(np.exp(z.ref), -1))
      return np.sum(z.mul(chosen), -1).sub(total)
    },
    entropies(logits) {
      const most = lax.stopGradient(np.max(logits.ref, -1, last))
      const z = logits.sub(most)
      const e = np.exp(z.ref)
      const total = np.sum(e.ref, -1)
      return np.log(total.ref).sub(np.sum(e.mul(z), -1).div(total))
    },
    prefill(body, prompts, sizes) {
      let x = prompts
      body.head.dispose()
      body.norm.dispose()
      return body.layers.map((layer, l) => {
        const isLast = l === layers - 1
        const [q, k, v] = project(isLast ? x : x.ref, layer, sizes.n, sizes.p)
        if (isLast) {
          for (const unused of [q, layer.attentionOut, layer.mlpNorm, layer.mlpIn, layer.mlpOut]) unused.dispose()
          return { k, v }
        }
        x = x.add(np.matmul(promptAttention(q, k.ref, v.ref, sizes), layer.attentionOut))
        x = x.ref.add(mlp(x, layer))
        return { k, v }
      })
    },
    decode(body, { prompt, past, row, hidden, at, later }, { n, g, p, t }) {
      const rows = n * g
      const here = at.reshape([1, 1, t, 1])
      const elsewhere = np.subtract(1, here.ref)
      let x = row
      const next = body.layers.map((layer, l) => {
        const y = np.matmul(normed(x.ref, layer.attentionNorm), layer.attentionIn).reshape([rows, 3, heads, depth])
        const part = (from: Tensor, i: number): Tensor => from.slice([], i)
        const q = part(y.ref, 0).mul(depth ** -0.5)
        const written = (old: Tensor, value: Tensor): Tensor =>
          old.mul(elsewhere.ref).add(value.reshape([rows, heads, 1, depth]).mul(here.ref))
        const k = written(past[l]!.k, part(y.ref, 1))
        const v = written(past[l]!.v, part(y, 2))
        const gather = (from: Tensor, c: number): Tensor => from.reshape([n, g, heads, c]).transpose([0, 2, 1, 3])
        const spread = (from: Tensor, c: number): Tensor => from.transpose([0, 2, 1, 3]).reshape([rows, heads, c])
        const before = spread(
          np.matmul(gather(q.ref, depth), prompt[l]!.k.transpose(swap)).add(hidden.ref.reshape([n, 1, 1, p])),
          p,
        )
        const within = np
          .matmul(q.reshape([rows, heads, 1, depth]), k.ref.transpose(swap))
          .reshape([rows, heads, t])
          .add(later.ref)
        const most = np.maximum(np.max(before.ref, -1, last), np.max(within.ref, -1, last))
        const eBefore = np.exp(before.sub(most.ref))
        const eWithin = np.exp(within.sub(most))
        const total = np.sum(eBefore.ref, -1, last).add(np.sum(eWithin.ref, -1, last))
        const taken = spread(np.matmul(gather(eBefore, p), prompt[l]!.v), depth).add(
          np.matmul(eWithin.reshape([rows, heads, 1, t]), v.ref).reshape([rows, heads, depth]),
        )
        x = x.add(np.matmul(taken.div(total).reshape([rows, width]), layer.attentionOut))
        x = x.ref.add(mlp(x, layer))
        return { k, v }
      })
      for (const used of [here, elsewhere, hidden, later]) used.dispose()
      return { logits: head(x, body), past: next }
    },
  }
}

/** The same layer with the weights of one half kept for another use. */
function kept(layer: Layer, half: 'attention' | 'mlp'): Layer {
  if (half === 'mlp') return { ...layer, mlpNorm: layer.mlpNorm.ref, mlpIn: layer.mlpIn.ref, mlpOut: layer.mlpOut.ref }
  return { ...layer, attentionNorm: layer.attentionNorm.ref, attentionIn: layer.attentionIn.ref }
}
