// One token out of logits, on the host: exact log-probabilities, and chance that depends on nothing but its own number.

/** How a rollout is drawn; the same words as `Params` of a model. */
export interface Sampling {
  /** Default 1; 0 takes the likeliest. */
  readonly temperature?: number | undefined
  readonly topP?: number | undefined
  readonly topK?: number | undefined
  /** Taken off the logit of every token the rollout already has. */
  readonly presencePenalty?: number | undefined
}

export interface Drawn {
  readonly token: number
  /** Under the policy itself: temperature 1, nothing cut off, no penalty. */
  readonly logprob: number
}

/**
 * @param logits [V]
 * @param sofar tokens of the rollout
 * @param u uniform in [0, 1)
 */
export function draw(logits: Float32Array, sofar: Int32Array, sampling: Sampling, u: number): Drawn {
  const { temperature = 1, presencePenalty = 0 } = sampling
  const penalized = presencePenalty === 0 ? logits : logits.slice()
  if (presencePenalty !== 0) for (const token of new Set(sofar)) penalized[token]! -= presencePenalty
  const token = temperature === 0 ? likeliest(penalized) : pick(penalized, temperature, sampling, u)
  return { token, logprob: logits[token]! - logTotal(logits) }
}

function pick(logits: Float32Array, temperature: number, { topP = 1, topK = 0 }: Sampling, u: number): number {
  const most = logits[likeliest(logits)]!
  const odds = Float64Array.from(logits, (logit) => Math.exp((logit - most) / temperature))
  if (topP < 1 || topK > 0) cut(odds, topP, topK || odds.length)
  let left = u * odds.reduce((a, b) => a + b, 0)
  let last = 0
  for (let i = 0; i < odds.length; i++) {
    if (odds[i] === 0) continue
    left -= odds[i]!
    last = i
    if (left < 0) break
  }
  return last
}

/** Leaves the likeliest `topK`, of these the fewest that hold `topP` of the whole. */
function cut(odds: Float64Array, topP: number, topK: number): void {
  const order = [...odds.keys()].sort((a, b) => odds[b]! - odds[a]! || a - b)
  const enough = topP * odds.reduce((a, b) => a + b, 0)
  let held = 0
  order.forEach((token, rank) => {
    const isIn = rank < topK && (rank === 0 || held < enough)
    held += odds[token]!
    if (!isIn) odds[token] = 0
  })
}

function likeliest(logits: Float32Array): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i
  return best
}

function logTotal(logits: Float32Array): number {
  const most = logits[likeliest(logits)]!
  let total = 0
  for (let i = 0; i < logits.length; i++) total += Math.exp(logits[i]! - most)
  return most + Math.log(total)
}
