// Tokens a second of the embedded engine: training steps (gradient and Adam) and drawing, at its default size and at that of a PyTorch
// reference (engine.py), the same transformer on the same batch; PyTorch runs on one thread, if the Python given has torch. Times are the
// least of all calls. "× PyTorch" is once by wall time, which other work on the machine spoils, and once by CPU time: tokens a CPU second
// times threads, as if threads did not slow each other.
// Run: node benchmarks/engine.ts [--seconds 6] [--python python3]
import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import type { Group } from '../src/core/engine.ts'
import type { TokenCompletion } from '../src/core/model.ts'
import { type JaxOptions, jaxEngine } from '../src/engines/jax/jax-engine.ts'
import { cpuSince, head, load, row } from './table.ts'

const { values: options } = parseArgs({
  options: { seconds: { type: 'string', default: '6' }, python: { type: 'string', default: 'python3' } },
})

interface Sized {
  readonly name: string
  readonly engine: Omit<JaxOptions, 'pieces' | 'workers'>
  /** Prompts of p tokens, g rollouts of t each. */
  readonly step: { readonly n: number; readonly p: number; readonly g: number; readonly t: number }
}

const pieces = Array.from({ length: 248 }, (_, i) => `w${i}`)
const words = (n: number, i: number): string => Array.from({ length: n }, (_, at) => `w${(at * 7 + i * 13) % 248}`).join(' ')
const sizes: readonly Sized[] = [
  { name: 'default, 16 × (80 + 8 × 40)', engine: { lengths: [40, 80] }, step: { n: 16, p: 80, g: 8, t: 40 } },
  {
    name: 'reference, 32 × 256',
    engine: { layers: 4, width: 128, heads: 4, context: 264, shifts: 0, lengths: [8, 256] },
    step: { n: 32, p: 1, g: 1, t: 256 },
  },
]

/** Milliseconds a call. */
interface Measured {
  readonly step: number
  readonly cpu: number
}

/** The least of the calls after the first. */
async function timed(call: () => Promise<unknown>): Promise<Measured> {
  await call()
  const all: Measured[] = []
  for (const end = performance.now() + Number(options.seconds) * 1000; performance.now() < end || all.length < 3; ) {
    const [wall, cpu] = [performance.now(), process.cpuUsage()]
    await call()
    all.push({ step: performance.now() - wall, cpu: cpuSince(cpu) })
  }
  return least(all)
}

function least(all: readonly Measured[]): Measured {
  return { step: Math.min(...all.map(({ step }) => step)), cpu: Math.min(...all.map(({ cpu }) => cpu)) }
}

/** The reference's figures, or why there are none. */
interface Reference {
  readonly version: string
  readonly train: Measured
  readonly sample: Measured & { readonly tokens: number }
}

function reference(): Reference | string {
  const script = new URL('engine.py', import.meta.url).pathname
  try {
    const out = execFileSync(options.python, [script, options.seconds], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    return JSON.parse(out) // printed by that script
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr ?? '').trim() : ''
    return said.split('\n').at(-1) || String(error)
  }
}

function groupOf(prompt: Int32Array, { n: _, g, t }: Sized['step']): Group {
  const floats = (value: number): Float32Array => new Float32Array(t).fill(value)
  const tokens = Int32Array.from({ length: t }, (_, i) => 300 + ((i * 11) % 200))
  const rollout = { tokens, logprobs: floats(-6), advantages: floats(0.1), weights: floats(1 / t) }
  return { prompt, rollouts: Array.from({ length: g }, () => rollout) }
}

const printed = (what: string, threads: number, of: string, tokens: number, { step, cpu }: Measured, times: string): void => {
  const perSecond = (ms: number): string => `${Math.round((tokens / ms) * 1000)}`
  console.log(row(what, `${threads}`, of, step.toFixed(0), perSecond(step), cpu.toFixed(0), perSecond(cpu), times, load()))
}

const torch = reference()
console.log(
  head('model and step', 'threads', 'what', 'ms', 'tokens/s', 'CPU ms', 'tokens a CPU second', '× PyTorch by wall · CPU', 'load'),
)
for (const { name, engine: options, step } of sizes) {
  for (const workers of [1, 2]) {
    await using engine = await jaxEngine({ ...options, pieces, workers })
    const prompts = Array.from({ length: step.n }, (_, i) =>
      engine.tokenizer.prompt([{ role: 'user', content: words(step.p - 1, i) }]),
    )
    const groups = prompts.map((prompt) => groupOf(prompt, step))
    const print = (what: 'training step' | 'drawing', tokens: number, at: Measured): void => {
      const by = ({ train, sample }: Reference, ms: keyof Measured): number =>
        what === 'training step' ? train[ms] / at[ms] : tokens / at[ms] / (sample.tokens / sample[ms])
      const isSame = typeof torch !== 'string' && name.startsWith('reference')
      const times = isSame ? `${by(torch, 'step').toFixed(2)} · ${(workers * by(torch, 'cpu')).toFixed(2)}` : ''
      printed(`${name}, ${(engine.size / 1e6).toFixed(2)} M weights`, workers, what, tokens, at, times)
    }
    const trained = await timed(async () => {
      await engine.forwardBackward(groups, { kind: 'ppo', low: 0.2, high: 0.2 })
      await engine.optimStep({ learningRate: 1e-6, maxNorm: 1 })
    })
    print('training step', step.n * (step.p + step.g * step.t), trained)
    const policy = await engine.policy()
    let drawn = 0
    const sampled = await timed(async () => {
      const all = await Promise.all(
        prompts.map((_, i): Promise<readonly TokenCompletion[]> => {
          const params = { maxTokens: 40, n: step.g === 1 ? 2 : step.g, seed: i, temperature: 1 }
          return policy.sample([{ role: 'user', content: words(step.p - 1, i) }], params)
        }),
      )
      drawn = all.flat().reduce((sum, { tokens }) => sum + tokens.length, 0)
    })
    print('drawing', drawn, sampled)
  }
}

if (typeof torch === 'string') console.log(`\nPyTorch was not measured: ${torch}`)
else {
  printed(`PyTorch ${torch.version}, 32 × 256`, 1, 'training step', 32 * 256, torch.train, '1 · 1')
  printed(`PyTorch ${torch.version}, 32 × 256`, 1, 'drawing', torch.sample.tokens, torch.sample, '1 · 1')
}
