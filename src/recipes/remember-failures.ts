// An evolver without a model: shows the action model what it got wrong, with the right answer, as turns of the conversation. It learns from
// examples alone and never writes an instruction.
import type { Turn } from '../core/context.ts'
import { ConfigError } from '../core/errors.ts'
import type { Evolver } from '../core/evolver.ts'
import { rng } from '../core/rng.ts'
import type { Rollout } from '../core/score.ts'

/** Where failures are put, how many stay, and in what words. */
export interface RememberOptions {
  /** The part of the context that holds the turns. */
  readonly part?: string
  /** Most turns kept; beyond that, some are dropped by chance. */
  readonly most?: number
  /** What the model should have said, from what is right. */
  readonly say?: (gold: string) => string
}

/** Adds one failure of the batch, and one problem with another answer, at places drawn by chance. */
export function rememberFailures({ part = 'examples', most = 8, say = (gold) => gold }: RememberOptions = {}): Evolver {
  return {
    name: 'remember-failures',
    async propose({ node, seen }, { seed }) {
      const draw = rng(seed)
      const pick = <T>(of: readonly T[]): T | undefined => of[Math.floor(draw() * of.length)]
      const turns = node.context[part]
      if (typeof turns !== 'object') throw new ConfigError(`the context has no examples called "${part}"; start with ${part}: []`)
      const isNew = (r: Rollout): boolean => r.gold !== undefined && !turns.some((t) => t.input === r.question)
      const fresh = seen.rollouts.filter(isNew)
      const failed = fresh.filter((r) => r.score < 1)
      const first = pick(failed.length ? failed : fresh)
      if (!first) return { kind: 'invalid', reason: 'every problem of the batch is shown already', completion: '' }
      const second = pick(fresh.filter((r) => r.gold !== first.gold))
      const next: Turn[] = [...turns]
      for (const r of second ? [first, second] : [first]) {
        const turn = { input: r.question, output: say(r.gold ?? '') } // fresh ones have it
        next.splice(Math.floor(draw() * (next.length + 1)), 0, turn)
      }
      while (next.length > most) next.splice(Math.floor(draw() * next.length), 1)
      return { kind: 'edit', context: { ...node.context, [part]: next }, completion: '' }
    },
  }
}
