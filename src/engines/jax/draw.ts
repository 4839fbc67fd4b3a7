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

export interface Chance {
  /** Tokens of the rollout. */
  readonly sofar: Int32Array
  /** Uniform in [0, 1). */
  readonly u: number
  /** The logits, [V], with −∞ for tokens that may not come: who is given none draws from all. */
  readonly allowed?: Float32Array | undefined
}

/** @param logits [V] */
export function draw(logits: Float32Array, sampling: Sampling, { sofar, u, allowed = logits }: Chance): Drawn {
  const { temperature = 1, topP = 1, topK = 0, presencePenalty = 0 } = sampling
  const own = oddsOf(logits, 1)
  const penalized = presencePenalty === 0 ? allowed : allowed.slice()
  if (presencePenalty !== 0) for (const token of new Set(sofar)) penalized[token]! -= presencePenalty
  const logTotal = Math.log(total(own))
  const logprobOf = (token: number): number => logits[token]! - logits[likeliest(logits)]! - logTotal
  if (temperature === 0) {
    const token = likeliest(penalized)
    return { token, logprob: logprobOf(token) }
  }
  const odds = temperature === 1 && penalized === logits ? own : oddsOf(penalized, temperature)
  if (topP < 1 || topK > 0) cut(odds, topP, topK || odds.length)
  const token = pick(odds, u)
  return { token, logprob: logprobOf(token) }
}

/** Probabilities up to a factor: the likeliest is 1. */
function oddsOf(logits: Float32Array, temperature: number): Float64Array {
  const most = logits[likeliest(logits)]!
  const odds = new Float64Array(logits.length)
  for (let i = 0; i < odds.length; i++) odds[i] = Math.exp((logits[i]! - most) / temperature)
  return odds
}

function pick(odds: Float64Array, u: number): number {
  let left = u * total(odds)
  let last = 0
  for (let i = 0; i < odds.length; i++) {
    if (odds[i] === 0) continue
    left -= odds[i]!
    last = i
    if (left < 0) break
  }
  return last
}

function total(odds: Float64Array): number {
  let sum = 0
  for (let i = 0; i < odds.length; i++) sum += odds[i]!
  return sum
}

/** Leaves the likeliest `topK`, of these the fewest that hold `topP` of the whole. */
function cut(odds: Float64Array, topP: number, topK: number): void {
  const order = [...odds.keys()].sort((a, b) => odds[b]! - odds[a]! || a - b)
  const enough = topP * total(odds)
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
