// What tokens cost: the config's own table first, else the prices bundled with genai-prices. Never asks the network for newer ones.
import { ConfigError } from '../core/errors.ts'
import type { Usage } from '../core/model.ts'

/** US dollars per million tokens. */
export interface Rate {
  readonly input: number
  readonly output: number
  /** Input read from the provider's cache; as `input` if left out. */
  readonly cached?: number
}

/** Rates by `provider:model`, or by the model's name alone. */
export type PriceTable = Readonly<Record<string, Rate>>

/** US dollars of one call. `written` = the part of `input` that was stored in the provider's cache, which some charge more for. */
export type Price = (usage: Usage & { readonly written?: number }) => number

/** Stands in for an unknown price where no dollar budget is set. */
export const unpriced: Price = () => 0

/** Providers on the user's own machine. */
const free: ReadonlySet<string> = new Set(['llamacpp', 'ollama', 'vllm', 'llama-server', 'lmstudio'])

/** The price of `provider:model` at a time, or undefined if nobody knows it: a dollar budget must then be refused. */
export async function priceOf(model: string, { table = {}, at }: { table?: PriceTable; at: Date }): Promise<Price | undefined> {
  const [provider = '', ...rest] = model.split(':')
  const id = rest.join(':')
  const rate = table[model] ?? table[id]
  if (rate) return ratePrice(rate)
  if (free.has(provider)) return unpriced
  // 25 ms to import, so only for models it may know.
  const { calcPrice, findProvider } = await import('@pydantic/genai-prices')
  const known = findProvider({ providerId: provider })
  // Names that only look like a provider's are matched too.
  const one = known?.id === provider && calcPrice({ input_tokens: 1, output_tokens: 1 }, id, { provider: known, timestamp: at })
  if (!one) return undefined
  // A provider of this one model: the search for it is most of the time a price takes.
  const only = { ...one.provider, models: [one.model] }
  return ({ input, cached, output, written = 0 }) => {
    const usage = { input_tokens: input, cache_read_tokens: cached, cache_write_tokens: written, output_tokens: output }
    const found = calcPrice(usage, id, { provider: only, timestamp: at })
    if (!found) throw new ConfigError(`the price of ${model} is no longer known; give it in the config's table of prices`)
    return found.total_price
  }
}

function ratePrice({ input, output, cached = input }: Rate): Price {
  return (usage) => ((usage.input - usage.cached) * input + usage.cached * cached + usage.output * output) / 1e6
}
