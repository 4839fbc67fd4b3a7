// What a run may spend, and the arithmetic of having reserved it first. Clocks and prices come in as values.

/** Spend. `minutes` never appears in a cost: time belongs to the run, not to a call. */
export interface Cost {
  readonly calls: number
  /** Input + output tokens. */
  readonly tokens: number
  /** US dollars; 0 where the price is unknown (a dollar budget is then refused). */
  readonly usd: number
}

/** Upper limits of a run over action model, evolver and judge together; left out = no limit. */
export interface Budget {
  readonly usd?: number
  readonly calls?: number
  readonly tokens?: number
  readonly minutes?: number
}

export const noCost: Cost = { calls: 0, tokens: 0, usd: 0 }

export function addCost(a: Cost, b: Cost): Cost {
  return { calls: a.calls + b.calls, tokens: a.tokens + b.tokens, usd: a.usd + b.usd }
}

export function scaleCost(a: Cost, by: number): Cost {
  return { calls: a.calls * by, tokens: a.tokens * by, usd: a.usd * by }
}

/** The first limit that `cost` would pass, or undefined. A relative slack of 1e-9 forgives the rounding of sums. */
export function exceeded(budget: Budget, cost: Cost): 'usd' | 'calls' | 'tokens' | undefined {
  for (const unit of ['usd', 'calls', 'tokens'] as const) {
    const limit = budget[unit]
    if (limit !== undefined && cost[unit] > limit * (1 + 1e-9)) return unit
  }
  return undefined
}

/**
 * Admits calls while spent + reserved + held back stays within the budget. One per run; not persistent: the journal is, and
 * a resumed run starts a ledger from the journal's sums.
 */
export class Ledger {
  #budget: Budget
  #spent: Cost
  #reserved: Cost = noCost
  #held: Cost = noCost
  #expired = false

  /** `spent` = what the journal says was spent or lost before. */
  constructor(budget: Budget, spent: Cost = noCost) {
    this.#budget = budget
    this.#spent = spent
  }

  get spent(): Cost {
    return this.#spent
  }

  get reserved(): Cost {
    return this.#reserved
  }

  get budget(): Budget {
    return this.#budget
  }

  /** Sets aside what the closing look at test needs; calls of the search can't use it. */
  hold(cost: Cost): void {
    this.#held = cost
  }

  /** Changes the limits of a running run. */
  limit(budget: Budget): void {
    this.#budget = budget
  }

  /** From now on every reservation is refused: the minutes are used up. `false` lets the closing look through. */
  expire(expired = true): void {
    this.#expired = expired
  }

  get expired(): boolean {
    return this.#expired
  }

  /** Whether `bound` fits now. `waits` = it would fit if calls in flight turn out cheaper than reserved. */
  admits(bound: Cost): 'yes' | 'waits' | 'no' {
    if (this.#expired) return 'no'
    const fixed = addCost(this.#spent, this.#held)
    if (exceeded(this.#budget, addCost(fixed, bound))) return 'no'
    return exceeded(this.#budget, addCost(addCost(fixed, this.#reserved), bound)) ? 'waits' : 'yes'
  }

  reserve(bound: Cost): void {
    this.#reserved = addCost(this.#reserved, bound)
  }

  /** Ends a reservation with what the call really cost. */
  settle(bound: Cost, actual: Cost): void {
    this.#reserved = addCost(this.#reserved, scaleCost(bound, -1))
    this.#spent = addCost(this.#spent, actual)
  }
}
