// How much of the wall clock something of a kind was under way, where much goes on at once.

export const kinds = ['sampling', 'reward', 'training'] as const
export type Kind = (typeof kinds)[number]

/** Seconds since the last time it was asked, and in how many of them something of each kind was under way. */
export type Shares = Readonly<Record<Kind | 'seconds', number>>

export interface Stopwatch {
  during<T>(kind: Kind, work: () => Promise<T>): Promise<T>
  take(): Shares
}

/** `now` in milliseconds. */
export function stopwatch(now: () => number = () => performance.now()): Stopwatch {
  const running: Record<Kind, number> = { sampling: 0, reward: 0, training: 0 }
  let busy: Record<Kind, number> = { sampling: 0, reward: 0, training: 0 } // ms
  let [from, last] = [now(), now()]
  const advance = (): void => {
    const at = now()
    for (const kind of kinds) if (running[kind] > 0) busy[kind] += at - last
    last = at
  }
  return {
    async during(kind, work) {
      advance()
      running[kind]++
      try {
        return await work()
      } finally {
        advance()
        running[kind]--
      }
    },
    take() {
      advance()
      const { sampling, reward, training } = busy
      const shares = {
        seconds: (last - from) / 1000,
        sampling: sampling / 1000,
        reward: reward / 1000,
        training: training / 1000,
      }
      busy = { sampling: 0, reward: 0, training: 0 }
      from = last
      return shares
    },
  }
}
