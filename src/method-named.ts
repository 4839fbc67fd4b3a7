// The methods by the names users give them; each is loaded when it is asked for.
import { ConfigError } from './core/errors.ts'
import type { Method } from './core/method.ts'
import type { Settings } from './settings.ts'

const methods: Readonly<Record<string, (settings: Settings) => Promise<Method>>> = {
  lse: async (settings) => (await import('./methods/lse.ts')).lse({ c: exploreOf(settings) }),
  chain: async () => (await import('./methods/lse.ts')).chain(),
  best: async () => (await import('./methods/lse.ts')).best(),
  'best-of-n': async () => (await import('./methods/lse.ts')).bestOfN(),
  gepa: async () => (await import('./methods/gepa.ts')).gepa(),
  textgrad: async () => (await import('./methods/textgrad.ts')).textgrad(),
  reflexion: async () => (await import('./methods/reflexion.ts')).reflexion(),
  voyager: async () => (await import('./methods/voyager.ts')).voyager(),
  robophd: async () => (await import('./methods/robophd.ts')).robophd(),
}

export const methodNames = Object.keys(methods)

/** @throws {ConfigError} if no method has that name. */
export async function methodNamed(name: string, settings: Settings): Promise<Method> {
  const make = Object.hasOwn(methods, name) ? methods[name] : undefined
  if (!make) throw new ConfigError(`unknown method "${name}" (have: ${methodNames.join(', ')})`)
  return make(settings)
}

/** UCB's constant: 2 is the paper's code's, 0.1 fits scores in [0, 1] better. */
function exploreOf({ explore, protocol }: Settings): number {
  return explore ?? (protocol === 'paper' ? 2 : 0.1)
}
