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

/** [H · N, P, D] each; in a decoder's own past [H · N · G, T, D]. */
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
  prefill(body: Body, prompts: Tensor, sizes: Pick<Sizes, 'n'>): Keys[]
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
  const last = { keepdims: true }

  const normed = (x: Tensor, gain: Tensor): Tensor => {
    const mean = np.mean(np.square(x.ref), -1, last)
    return x.mul(np.reciprocal(np.sqrt(mean.add(1e-5)))).mul(gain)
  }
  const mlp = (x: Tensor, { mlpNorm, mlpIn, mlpOut }: Layer): Tensor =>
    np.matmul(np.square(nn.relu(np.matmul(normed(x, mlpNorm), mlpIn))), mlpOut)
  const causal = (t: number): Tensor => {
    const mask = Float32Array.from({ length: t * t }, (_, i) => (i % t > Math.floor(i / t) ? never : 0))
    return np.array(mask).reshape([1, t, t])
  }
  /** Queries (scaled), keys and values of `b` sequences, [b · t, W] → [H · b, t, D]. */
  const project = (x: Tensor, layer: Layer, b: number): readonly [Tensor, Tensor, Tensor] => {
    const rows = normed(x, layer.attentionNorm)
    const t = rows.shape[0]! / b
    const weights = layer.attentionIn.reshape([width, 3, width])
    const part = (i: number, rows: Tensor, weights: Tensor): Tensor =>
      np
        .matmul(rows, weights.slice([], i))
        .reshape([b * t, heads, depth])
        .transpose([1, 0, 2])
        .reshape([heads * b, t, depth])
    return [part(0, rows.ref, weights.ref).mul(depth ** -0.5), part(1, rows.ref, weights.ref), part(2, rows, weights)]
  }
  /** The largest of each last axis, which stays, in two steps: reductions are fast only along the others. */
  const largest = (x: Tensor): Tensor => {
    const n = x.shape.at(-1)!
    const lanes = [8, 4].find((lanes) => n % lanes === 0 && n > lanes)
    if (lanes === undefined) return np.max(x, -1, last)
    return np.max(np.max(x.reshape([...x.shape.slice(0, -1), n / lanes, lanes]), -2), -1, last)
  }
  /** e^z of z ≤ 0, exactly 0 below −80. By squaring, relative error 5e-6: the library's own is three times as slow. */
  const exp = (z: Tensor): Tensor => {
    const fixed = lax.stopGradient(z.ref)
    const x = np.maximum(fixed.ref, -80).mul(1 / 64)
    let power = np.multiply(x.ref, 1 / 720).add(1 / 120)
    for (const coefficient of [1 / 24, 1 / 6, 1 / 2, 1, 1]) power = power.mul(x.ref).add(coefficient)
    x.dispose()
    for (let i = 0; i < 6; i++) power = np.square(power)
    const e = np.where(np.less(fixed.ref, -80), 0, power)
    return e.mul(z.sub(fixed).add(1)) // whose gradient is e
  }
  /** One softmax over several parts, [H, M, D] of M rows. Heads come first everywhere, so that rows are put together by reshaping. */
  const attended = (parts: readonly Part[]): Tensor => {
    const scored = parts.map(({ q, k, v, mask }) => {
      const [hb, m] = q.shape as [number, number, number] // see Part
      const n = k.shape[1]!
      return { scores: np.matmul(q, k.transpose([0, 2, 1])).reshape([heads, hb / heads, m, n]), mask, v }
    })
    const most = scored
      .map(({ scores, mask }) => largest(lax.stopGradient(scores.ref).add(mask.ref)).reshape([-1, 1]))
      .reduce((a, b) => np.maximum(a, b))
    const all = scored.map(({ scores, mask, v }) => {
      const [h, b, m, n] = scores.shape as [number, number, number, number] // reshaped above
      const e = exp(scores.add(mask).sub(most.ref.reshape([h, b, m, 1])))
      const total = np.sum(e.ref, -1).reshape([-1, 1])
      return { total, taken: np.matmul(e.reshape([h * b, m, n]), v).reshape([-1, depth]) }
    })
    most.dispose()
    const taken = all.map((part) => part.taken).reduce((a, b) => a.add(b))
    const total = all.map((part) => part.total).reduce((a, b) => a.add(b))
    return taken.div(total).reshape([heads, -1, depth])
  }
  /** [H, M, D] → [M, W] */
  const joined = (x: Tensor): Tensor => x.transpose([1, 0, 2]).reshape([-1, width])
  /** Sequences that look at their own past, and at `others`, [H · B, T, D] → [M, W]. Long ones in blocks: no score is made of later ones. */
  const attendedPast = (q: Tensor, { k, v }: Keys, others: (q: Tensor) => readonly Part[] = () => []): Tensor => {
    const [sequences, t] = q.shape as [number, number] // see above
    const size = t % 64 === 0 ? 64 : t
    const mask = causal(t)
    const blocks = Array.from({ length: t / size }, (_, i) => {
      const [from, to] = [i * size, (i + 1) * size]
      const cut = (x: Tensor, from: number): Tensor => x.ref.slice([], [from, to])
      const own = { q: cut(q, from), k: cut(k, 0), v: cut(v, 0), mask: mask.ref.slice([], [from, to], [0, to]) }
      return attended([own, ...others(own.q.ref)]).reshape([sequences, size, depth])
    })
    for (const used of [q, k, v, mask]) used.dispose()
    return joined(np.concatenate(blocks, 1).reshape([heads, -1, depth]))
  }
  const oneHot = (ids: Tensor, n: number): Tensor =>
    np.equal(ids.reshape([...ids.shape, 1]), np.arange(n).astype(DType.Int32)).astype(DType.Float32)
  const head = (x: Tensor, body: Pick<Body, 'head' | 'norm'>): Tensor => np.matmul(normed(x, body.norm), body.head.transpose())
  /** Logits less the largest of their row. */
  const lowered = (logits: Tensor): Tensor => logits.ref.sub(largest(lax.stopGradient(logits)))

  return {
    logits(body, { prompts, rollouts, hidden }, { n, g, p }) {
      let xp = prompts
      let xr = rollouts
      body.layers.forEach((layer, l) => {
        const isLast = l === layers - 1
        const [qp, kp, vp] = project(isLast ? xp : xp.ref, kept(layer, 'attention'), n)
        const [qr, kr, vr] = project(xr.ref, layer, n * g)
        if (isLast) qp.dispose()
        else {
          const taken = attendedPast(qp, { k: kp.ref, v: vp.ref })
          xp = xp.add(np.matmul(taken, layer.attentionOut.ref))
          xp = xp.ref.add(mlp(xp, kept(layer, 'mlp')))
        }
        const taken = attendedPast(qr, { k: kr, v: vr }, (q) => [
          { q: q.reshape([heads * n, -1, depth]), k: kp.ref, v: vp.ref, mask: hidden.ref.reshape([n, 1, p]) },
        ])
        kp.dispose()
        vp.dispose()
        xr = xr.add(np.matmul(taken, layer.attentionOut))
        xr = xr.ref.add(mlp(xr, layer))
      })
      hidden.dispose()
      return head(xr, body)
    },
    logprobs(logits, targets) {
      const chosen = oneHot(targets, logits.shape[1]!)
      const z = lowered(logits)
      const total = np.log(np.sum(exp(z.ref), -1))
      return np.sum(z.mul(chosen), -1).sub(total)
    },
    entropies(logits) {
      const z = lowered(logits)
      const e = exp(z.ref)
      const total = np.sum(e.ref, -1)
      return np.log(total.ref).sub(np.sum(e.mul(z), -1).div(total))
    },
    prefill(body, prompts, { n }) {
      let x = prompts
      body.head.dispose()
      body.norm.dispose()
      return body.layers.map((layer, l) => {
        const isLast = l === layers - 1
        const [q, k, v] = project(isLast ? x : x.ref, layer, n)
        if (isLast) {
          for (const unused of [q, layer.attentionOut, layer.mlpNorm, layer.mlpIn, layer.mlpOut]) unused.dispose()
          return { k, v }
        }
        x = x.add(np.matmul(attendedPast(q, { k: k.ref, v: v.ref }), layer.attentionOut))
        x = x.ref.add(mlp(x, layer))
        return { k, v }
      })
    },
    decode(body, { prompt, past, row, hidden, at, later }, { n, g, p, t }) {
      const here = at.reshape([1, t, 1])
      const elsewhere = np.subtract(1, here.ref)
      let x = row
      const next = body.layers.map((layer, l) => {
        const [q, k, v] = project(x.ref, layer, n * g)
        const written = (old: Tensor, value: Tensor): Tensor => old.mul(elsewhere.ref).add(value.mul(here.ref))
        const own = { k: written(past[l]!.k, k), v: written(past[l]!.v, v) }
        const taken = attended([
          { q: q.ref.reshape([heads * n, g, depth]), ...prompt[l]!, mask: hidden.ref.reshape([n, 1, p]) },
          { q, k: own.k.ref, v: own.v.ref, mask: later.ref.reshape([1, 1, t]) },
        ])
        x = x.add(np.matmul(joined(taken), layer.attentionOut))
        x = x.ref.add(mlp(x, layer))
        return own
      })
      for (const used of [here, elsewhere, hidden, later]) used.dispose()
      return { logits: head(x, body), past: next }
    },
  }
}

/** Queries [H · B, Q, D] that look for keys and values [H · B, K, D]; the mask [1 or B, 1 or Q, K] is added to their scores. */
interface Part extends Keys {
  readonly q: Tensor
  readonly mask: Tensor
}

/** The same layer with the weights of one half kept for another use. */
function kept(layer: Layer, half: 'attention' | 'mlp'): Layer {
  if (half === 'mlp') return { ...layer, mlpNorm: layer.mlpNorm.ref, mlpIn: layer.mlpIn.ref, mlpOut: layer.mlpOut.ref }
  return { ...layer, attentionNorm: layer.attentionNorm.ref, attentionIn: layer.attentionIn.ref }
}
