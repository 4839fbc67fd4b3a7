import { expect, test } from 'vitest'
import type { Engine, Group, Loss } from '../core/engine.ts'
import { EngineError, NotFiniteError } from '../core/errors.ts'
import type { Writer } from '../core/evolver.ts'
import type { Message, Model, TokenCompletion } from '../core/model.ts'
import { rng } from '../core/rng.ts'
import type { Grown } from './curriculum.ts'
import { type TrainFact, type TrainOptions, type TrainPorts, train } from './train.ts'

/** Edits to choose from: the third and fourth help, the first can't be read. */
const choices = ['no tags', 'worse', 'better', 'best']
const worth: Readonly<Record<string, number>> = { worse: 0.2, better: 0.6, best: 0.9 }

/** A policy of one softmax over four answers a prompt; its gradient is written out by hand, and a draw takes a while. */
function toyEngine(): Engine & {
  readonly logits: Map<number, number[]>
  readonly given: Group[][]
  readonly lags: number[]
  saves: number
} {
  const logits = new Map<number, number[]>()
  const saved = new Map<string, string>()
  let gathered = new Map<number, number[]>()
  let version = 0
  /** Log-probabilities by version, of all weights that drew. */
  const drew = new Map<number, (prompt: number) => readonly number[]>()
  const row = (prompt: number): number[] => logits.get(prompt) ?? logits.set(prompt, [0, 0, 0, 0]).get(prompt)!
  const chances = (prompt: number): number[] => {
    const e = row(prompt).map(Math.exp)
    const sum = e.reduce((a, b) => a + b)
    return e.map((x) => x / sum)
  }
  const engine = {
    name: 'toy',
    logits,
    given: [] as Group[][],
    lags: [] as number[],
    saves: 0,
    async forwardBackward(groups: readonly Group[], loss: Loss) {
      expect(loss).toEqual({ kind: 'ppo', low: 0.2, high: 0.2 })
      engine.given.push([...groups])
      const rollouts = groups.flatMap((g) => g.rollouts.map((r) => ({ prompt: g.prompt[0]!, ...r })))
      const isBy = (v: number): boolean =>
        rollouts.every(({ prompt, tokens, logprobs }) => Math.abs((drew.get(v)?.(prompt)[tokens[0]!] ?? 1) - logprobs[0]!) < 1e-5)
      engine.lags.push(isBy(version) ? 0 : isBy(version - 1) ? 1 : Number.NaN)
      for (const { prompt, tokens, logprobs, advantages } of rollouts) {
        const p = chances(prompt)
        const ratio = p[tokens[0]!]! / Math.exp(logprobs[0]!)
        const isClipped = advantages[0]! > 0 ? ratio > 1.2 : ratio < 0.8
        const gradient = gathered.get(prompt) ?? gathered.set(prompt, [0, 0, 0, 0]).get(prompt)!
        const factor = isClipped ? 0 : (ratio * advantages[0]!) / rollouts.length
        for (const [k, pk] of p.entries()) gradient[k]! += factor * (Number(k === tokens[0]) - pk)
      }
      if ([...gathered.values()].flat().some(Number.isNaN)) throw new NotFiniteError('the loss is not finite')
      return { loss: 0, reward: 7 } // a name the trainer has too
    },
    async optimStep({ learningRate }: { learningRate: number }) {
      for (const [prompt, g] of gathered) for (const [k, x] of g.entries()) row(prompt)[k]! += learningRate * x
      gathered = new Map()
      version++
      return {}
    },
    encode: (prompt: readonly Message[]) => Int32Array.of(Number(prompt[0]!.content)),
    async policy(): Promise<Model<TokenCompletion>> {
      const mine = version
      const then = new Map([...logits].map(([prompt, values]) => [prompt, [...values]]))
      drew.set(mine, (prompt) => {
        const e = (then.get(prompt) ?? [0, 0, 0, 0]).map(Math.exp)
        return e.map((x) => Math.log(x / e.reduce((a, b) => a + b)))
      })
      return {
        name: 'toy',
        async sample(prompt, { n = 1, seed = 0, temperature, topP }) {
          expect([temperature, topP]).toEqual([1, 1])
          const p = chances(Number(prompt[0]!.content))
          await new Promise((done) => setImmediate(done))
          if (mine !== version) throw new EngineError('stale')
          return Array.from({ length: n }, (_, i): TokenCompletion => {
            let u = rng(seed + i)()
            let k = 0
            while (k < 3 && u >= p[k]!) u -= p[k++]!
            const text = k === 0 ? choices[0]! : `<prompt>${choices[k]}</prompt>`
            const usage = { input: 1, cached: 0, output: 1, reasoning: 0 }
            return { text, finish: 'stop', usage, tokens: Int32Array.of(k), logprobs: Float32Array.of(Math.log(p[k]!)) }
          })
        },
      }
    },
    async save(name: string) {
      engine.saves++
      saved.set(name, JSON.stringify([...logits]))
      return name
    },
    async load(name: string) {
      logits.clear()
      for (const [k, v] of JSON.parse(saved.get(name)!) as [number, number[]][]) logits.set(k, v)
    },
    async [Symbol.asyncDispose]() {},
  }
  return engine
}

const writer: Writer = {
  name: 'toy',
  write: () => [],
  read(completion, o) {
    const text = /<prompt>(.*)<\/prompt>/.exec(completion)?.[1]
    if (text === undefined) return { kind: 'invalid', reason: 'no tags', completion }
    return { kind: 'edit', context: { ...o.node.context, rules: text }, completion }
  },
}

/** A tree whose nodes scored so much, each edited once; the n-th prompt is n. */
function tree(scores: readonly number[]): Grown {
  const nodes = scores.map((mean, id) => {
    const score = { per: {}, mean, draws: 1, full: true }
    return { id, parents: [], round: id, context: { rules: `old ${id}` }, score }
  })
  const asked = nodes.map((node): Grown['asked'][number] => {
    const observation = { node, seen: { ...node.score, rollouts: [] }, history: [], earlier: [], rules: {} }
    return { observation, prompt: [{ role: 'user', content: String(node.id) }] }
  })
  return { task: 't', nodes, asked, invalid: 0 }
}
const eight = tree(Array(8).fill(0.5))
const options: TrainOptions = {
  seed: 3,
  states: 4,
  rollouts: 4,
  passes: 30,
  maxTokens: 8,
  adam: { learningRate: 1 },
  every: 10,
}

function ports(engine: Engine, more: Partial<TrainPorts> = {}): TrainPorts {
  return {
    engine,
    writer,
    grow: async () => [eight],
    score: async (context) => worth[String(context.rules)]!,
    dev: async (policy) => {
      const drawn = await policy.sample([{ role: 'user', content: '0' }], {
        maxTokens: 8,
        n: 200,
        seed: 9,
        temperature: 1,
        topP: 1,
      })
      return drawn.filter((c) => c.text.includes('best')).length / 200
    },
    ...more,
  }
}

async function all(facts: AsyncIterable<TrainFact>): Promise<TrainFact[]> {
  const out: TrainFact[] = []
  for await (const fact of facts) out.push(fact)
  return out
}
const rewards = (facts: readonly TrainFact[]): number[] => facts.flatMap((f) => (f.kind === 'step' ? [f.metrics.reward!] : []))
const average = (x: readonly number[]): number => x.reduce((a, b) => a + b) / x.length

test('training makes the edits that raise the score likelier, and invalid ones rarer', async () => {
  const facts = await all(train(options, ports(toyEngine())))
  const steps = facts.filter((f) => f.kind === 'step')
  expect(steps).toHaveLength(60)
  expect(average(rewards(facts).slice(0, 5))).toBeLessThan(0)
  expect(average(rewards(facts).slice(-5))).toBeGreaterThan(0.05)
  expect(steps.at(-1)!.metrics.invalid).toBeLessThan(0.1)
})

test('the best checkpoint is the one that did best on dev, and never worse than the start', async () => {
  const facts = await all(train(options, ports(toyEngine())))
  const looks = facts.filter((f) => f.kind === 'looked')
  const top = looks.reduce((a, b) => (b.dev > a.dev ? b : a))
  expect(looks.map((l) => l.step)).toEqual([0, 10, 20, 30, 40, 50, 60])
  expect(facts.at(-1)).toMatchObject({ kind: 'ended', why: 'done', best: { step: top.step, checkpoint: top.checkpoint } })
})

test('killed after any fact and resumed, it brings the same facts and ends with the same weights', async () => {
  const whole = toyEngine()
  const facts = await all(train({ ...options, maxSteps: 25 }, ports(whole)))
  for (let cut = 3; cut < facts.length; cut += 4) {
    const engine = toyEngine()
    const first: TrainFact[] = []
    for await (const fact of train({ ...options, maxSteps: 25 }, ports(engine))) {
      first.push(fact)
      if (first.length === cut) break
    }
    const from = first.findLastIndex((f) => f.kind === 'looked') + 1
    const rest = await all(train({ ...options, maxSteps: 25 }, ports(engine), first))
    expect([...first.slice(0, from), ...rest]).toEqual(facts)
    expect([...engine.logits]).toEqual([...whole.logits])
  }
})

type Gate = PromiseWithResolvers<void>
const off: TrainOptions = { ...options, lag: 1 }

test('on-policy, every step learns from what its own policy drew; with a lag of 1, from what the one before it drew, but after a look', async () => {
  const [on, late] = [toyEngine(), toyEngine()]
  const grow: TrainPorts['grow'] = async () => [tree([0.5, 0.5, 0.5, 0.5])] // each step moves what all of the next draw from
  await all(train({ ...options, maxSteps: 12, every: 5 }, ports(on, { grow })))
  expect(on.lags).toEqual(Array(12).fill(0))
  const facts = await all(train({ ...off, maxSteps: 12, every: 5 }, ports(late, { grow })))
  expect(late.lags).toEqual([0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1])
  expect(facts.flatMap((f) => (f.kind === 'step' ? [f.metrics.lag] : []))).toEqual(late.lags)
})

test('with a lag of 1 it learns too', async () => {
  const facts = await all(train(off, ports(toyEngine())))
  expect(average(rewards(facts).slice(0, 5))).toBeLessThan(0)
  expect(average(rewards(facts).slice(-5))).toBeGreaterThan(0.05)
})

test('with a lag of 1, a step trains while the edits of the next are drawn and rewarded, and those are drawn while its own are rewarded', async () => {
  const engine = toyEngine()
  const [drawn, scored, training] = Array.from({ length: 3 }, () => Promise.withResolvers<void>()) as [Gate, Gate, Gate] // three
  let draws = 0
  const policy = async (): Promise<Model<TokenCompletion>> => {
    const inner = await engine.policy()
    const sample: typeof inner.sample = (...asked) => {
      if (++draws > 1 + options.states) drawn.resolve() // the look, and the first step
      return inner.sample(...asked)
    }
    return { ...inner, sample }
  }
  const waiting: Engine = {
    ...engine,
    policy,
    async forwardBackward(...pass) {
      training.resolve()
      await scored.promise // else the trainer waits for ever
      return engine.forwardBackward(...pass)
    },
  }
  const score: TrainPorts['score'] = async (context, _, step) => {
    if (step === 1) await drawn.promise
    else {
      scored.resolve()
      await training.promise
    }
    return worth[String(context.rules)]!
  }
  const facts = await all(train({ ...off, maxSteps: 2, every: 2 }, ports(waiting, { score })))
  expect(facts.at(-1)).toMatchObject({ kind: 'ended', why: 'done' })
})

test('left with a lag of 1, nothing of it goes on', async () => {
  let open = 0
  const score: TrainPorts['score'] = async (context) => {
    open++
    await new Promise((done) => setTimeout(done, 5))
    open--
    return worth[String(context.rules)]!
  }
  for await (const fact of train({ ...off, every: 5 }, ports(toyEngine(), { score }))) if (fact.kind === 'step') break
  expect(open).toBe(0)
})

/** Trees that show which policy grew them: the scores of their nodes are what its draws are worth. */
const telling: TrainPorts['grow'] = async (policy, step) => {
  const drawn = await policy.sample([{ role: 'user', content: '3' }], { maxTokens: 8, n: 8, seed: step, temperature: 1, topP: 1 })
  return [tree(drawn.map(({ text }) => worth[/<prompt>(.*)</.exec(text)?.[1] ?? ''] ?? 0))]
}

test.each([0, 1] as const)('a reward that fails ends it, and nothing goes on behind it; lag %i', async (lag) => {
  let asked = 0
  let open = 0
  const score = async (): Promise<number> => {
    open++
    if (++asked === 5) throw new Error('the provider broke')
    await new Promise((done) => setTimeout(done, 10))
    open--
    return 0.5
  }
  const ports: TrainPorts = { engine: toyEngine(), writer, grow: async () => [eight], score, dev: async () => 0 }
  await expect(all(train({ ...options, lag }, ports))).rejects.toThrow('the provider broke')
  expect(open).toBe(1) // the one that broke
  const before = asked
  await new Promise((done) => setTimeout(done, 30))
  expect(asked).toBe(before)
})

test.each([2, -1, Number.NaN])('a lag of %d is refused before anything is drawn', async (lag) => {
  const ports: TrainPorts = { engine: toyEngine(), writer, grow: async () => [eight], score: async () => 0, dev: async () => 0 }
  await expect(all(train({ ...options, lag: lag as 0 | 1 }, ports))).rejects.toThrow(/a lag of .*: give 0 or 1/)
  expect(ports.engine).toMatchObject({ saves: 0 })
})

test('with refresh the trees are grown again by the policy as it is, after a look', async () => {
  const facts = await all(train({ ...options, maxSteps: 12, refresh: 4 }, ports(toyEngine(), { grow: telling })))
  expect(facts.flatMap((f) => (f.kind === 'grown' || f.kind === 'looked' ? `${f.kind} ${f.step}` : []))).toEqual([
    'grown 0',
    'looked 0',
    'looked 4',
    'grown 4',
    'looked 8',
    'grown 8',
    'looked 10',
    'looked 12',
  ])
  const means = facts.flatMap((f) => (f.kind === 'grown' ? f.before : []))
  expect(means[2]).toBeGreaterThan(means[0]!)
})

test.each([0, 1] as const)(
  'killed after any fact and resumed, it draws the same edits, and trees that were grown again are those of the policy of then: lag %i',
  async (lag) => {
    const o = { ...options, lag, every: 5, maxSteps: 18, refresh: 7 }
    const whole = toyEngine()
    const facts = await all(train(o, ports(whole, { grow: telling })))
    for (let cut = 3; cut < facts.length; cut++) {
      const engine = toyEngine()
      const first: TrainFact[] = []
      for await (const fact of train(o, ports(engine, { grow: telling }))) {
        first.push(fact)
        if (first.length === cut) break
      }
      const kept = first.slice(0, first.findLastIndex((f) => f.kind === 'looked') + 1)
      expect([...kept, ...(await all(train(o, ports(engine, { grow: telling }), kept)))]).toEqual(facts)
      expect([...engine.logits]).toEqual([...whole.logits])
    }
  },
)

test('grown again with too few states, it ends with the best checkpoint', async () => {
  const grow: TrainPorts['grow'] = async (_, step) => [step === 0 ? eight : tree([0.5, 0.5, 0.5])]
  const facts = await all(train({ ...options, refresh: 4 }, ports(toyEngine(), { grow })))
  const detail = 'the trees left 3 states to learn from, and a step takes 4: grow more trees or take fewer a step'
  expect(facts.at(-1)).toMatchObject({ kind: 'ended', why: 'too few states', detail })
})

test('every token of an edit is told the change from the score of its own state', async () => {
  const engine = toyEngine()
  const grow: TrainPorts['grow'] = async () => [tree([0.1, 0.2, 0.3, 0.4])]
  await all(train({ ...options, maxSteps: 1 }, ports(engine, { grow })))
  for (const { prompt, rollouts } of engine.given[0]!) {
    const before = [0.1, 0.2, 0.3, 0.4][prompt[0]!]!
    for (const { tokens, advantages } of rollouts) {
      const after = worth[choices[tokens[0]!]!]
      expect(advantages[0]).toBeCloseTo(after === undefined ? -1 : after - before, 6)
    }
  }
})

test('a step tells the shares of invalid edits, of copies, and of the lines that edits kept', async () => {
  const keeping: Writer = {
    ...writer,
    read(completion, o) {
      const edit = writer.read(completion, o)
      if (edit.kind === 'invalid') return edit
      const lines = { worse: 'a\nb\nc\nd', better: 'a\nb\nnew', best: 'd\nc\nb\na' }[String(edit.context.rules)]
      return { ...edit, context: { rules: lines! } }
    },
  }
  const old = tree([0.5])
  const asked = old.asked.map((a) => {
    const node = { ...a.observation.node, context: { rules: 'a\nb\nc\nd' } }
    return { ...a, observation: { ...a.observation, node } }
  })
  const engine = toyEngine()
  const o = { ...options, states: 1, rollouts: 40, maxSteps: 1 }
  const facts = await all(
    train(o, ports(engine, { writer: keeping, grow: async () => [{ ...old, asked }], score: async () => 1 })),
  )
  const drawn = engine.given[0]![0]!.rollouts.map(({ tokens }) => tokens[0]!)
  const share = (token: number): number => drawn.filter((t) => t === token).length / 40
  const [none, worse, better, best] = [share(0), share(1), share(2), share(3)] as const
  const { metrics } = facts.find((f) => f.kind === 'step')!
  expect(metrics.after).toBe(1)
  expect(metrics.entropy).toBeCloseTo(Math.log(4), 5) // of four that are equally likely
  expect(metrics.invalid).toBeCloseTo(none, 9)
  expect(metrics.copies).toBeCloseTo(worse, 9)
  expect(metrics.kept).toBeCloseTo((worse + better / 2 + best) / (1 - none), 9)
})

test('it ends when every edit of ten steps was invalid, with the best checkpoint', async () => {
  const deaf: Writer = { ...writer, read: (completion) => ({ kind: 'invalid', reason: 'never', completion }) }
  const facts = await all(train(options, ports(toyEngine(), { writer: deaf })))
  expect(facts.at(-1)).toMatchObject({ kind: 'ended', why: 'hopeless', best: { step: 0 } })
  expect(rewards(facts)).toEqual(Array(10).fill(-1))
})

test('a loss that is not finite ends the training and keeps the last good checkpoint', async () => {
  let calls = 0
  const score = async (): Promise<number> => (calls++ > 200 ? Number.NaN : 0.9)
  const facts = await all(train(options, ports(toyEngine(), { score })))
  expect(facts.at(-1)).toMatchObject({ kind: 'ended', why: 'not finite', detail: 'the loss is not finite' })
})

test.each(['drawing', 'a look'])('weights that broke, seen while %s, end the training before they are kept', async (where) => {
  const engine = toyEngine()
  const broken = async (): Promise<never> => {
    throw new NotFiniteError('the weights give log-probabilities that are not finite')
  }
  const policy = async (): Promise<Model<TokenCompletion>> =>
    engine.given.length === 10 && where === 'drawing' ? { name: 'toy', sample: broken } : engine.policy()
  const dev = async (): Promise<number> => (engine.given.length === 10 && where === 'a look' ? broken() : 0.5)
  const o = { ...options, every: where === 'a look' ? 5 : 4 }
  const facts = await all(train(o, ports(engine, { dev, engine: { ...engine, policy, save: engine.save } })))
  expect(facts.at(-1)).toMatchObject({ kind: 'ended', why: 'not finite', best: { step: 0 } })
  expect(facts.filter((f) => f.kind === 'looked').map((f) => f.step)).not.toContain(10)
  expect(engine.saves).toBe(facts.filter((f) => f.kind === 'looked').length)
})

test('an edit that may not follow its context earns -1', async () => {
  const facts = await all(train({ ...options, maxSteps: 1 }, ports(toyEngine(), { check: () => 'too long' })))
  expect(rewards(facts)).toEqual([-1])
})

test('too few states for one step are refused before anything is trained', async () => {
  await expect(all(train({ ...options, states: 9 }, ports(toyEngine())))).rejects.toThrow(
    'the trees left 8 states to learn from, and a step takes 9: grow more trees or take fewer a step',
  )
})
