// Two steps of LSE with a real, small language model from end to end: SmolLM2-135M on a SkyRL server on loopback (JAX, CPU) writes edits, the same
// weights (quantised, in this process) answer problems with them, the change in score is the reward, and the server learns. The code is that of
// `lamarck train collect` and `run`; only the recipe and the prompt are of this file. Writes its figures into docs/measured.md, bad ones too.
// It shows that a step is made and what it takes; two steps of 16 edits teach nothing.
// Usage: LAMARCK_GGUF=$(npm run -s fetch-smollm2) node benchmarks/real/lse-step.ts    Installs SkyRL once.
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { modelFolder } from '../../scripts/skyrl/smollm2.ts'
import type { Engine, Group } from '../../src/core/engine.ts'
import type { Writer } from '../../src/core/evolver.ts'
import { mean } from '../../src/core/score.ts'
import { chatTokenizer } from '../../src/engines/tinker/chat-tokenizer.ts'
import { tinkerEngine } from '../../src/engines/tinker/tinker-engine.ts'
import { labelled, llama } from '../../src/models/llama.ts'
import type { LlmRecipe } from '../../src/recipes/llm-recipe.ts'
import { collect, trainLlm } from '../../src/recipes/train-llm.ts'
import { percent } from '../../src/report.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { qaTask } from '../../src/tasks/qa.ts'
import { skyrlServer } from '../../test/e2e-skyrl/skyrl-server.ts'
import { record } from './measured.ts'

const labels = ['sports', 'food', 'weather', 'money']
const data = new URL('../../examples/topic/topic.jsonl', import.meta.url).pathname
const rows = 4
const rank = 8

const recipe: LlmRecipe = {
  name: 'topic-smollm2',
  base: 'SmolLM2-135M-Instruct',
  tasks: async () => ({ train: ['1'], dev: ['2'], test: [] }),
  open: (_, seed) =>
    qaTask({
      ...{ name: 'topic', data, context: 'What is the topic of the text?', scorer: 'label', params: { maxTokens: 8 } },
      ...{ seed: Number(seed), fractions: { train: 0.5, holdout: 0.2, test: 0.3 } },
    }),
  trees: { runs: 1, rounds: 12, batch: 6, holdout: 24, draws: 1 },
  train: { states: 4, rollouts: 4, passes: 1, maxTokens: 32, learningRate: 1e-4, every: 2, devRounds: 2 },
  assumed: { rollout: { input: 60, output: 2 }, edit: { input: 110, output: 24 } },
}

/** Misses that a prompt shows; more of them make a prompt longer than this model reads well. */
const shown = 2
/** Longest instruction, in characters: what is longer rambles. */
const longest = 160

/** A short prompt of its own: the model does not follow LSE's. The first line of the answer is the next context. */
const writer: Writer = {
  name: 'one-line',
  write({ node, seen }) {
    const missed = seen.rollouts.filter(({ score }) => score < 1).slice(0, shown)
    const lines = missed.map(({ question, gold, answer }) => `Text: ${question} Right: ${gold}. It said: ${answer}.`)
    const content = [
      `An instruction for a model that names the topic of a text (${labels.join(', ')}): "${String(node.context.instructions)}"`,
      ...(lines.length > 0 ? ['It was wrong here:', ...lines] : []),
      'Write a better instruction, in one sentence.',
    ]
    return [{ role: 'user', content: content.join('\n') }]
  },
  read(completion) {
    const line = completion.trim().split('\n')[0]!.trim() // a text has a first line
    if (line.length >= 10 && line.length <= longest) return { kind: 'edit', context: { instructions: line }, completion }
    return { kind: 'invalid', reason: `give one line of 10 to ${longest} characters, this is ${line.length}`, completion }
  },
}

const file = process.env.LAMARCK_GGUF
if (!file) throw new Error('set LAMARCK_GGUF to a model file; npm run fetch-smollm2 prints one')

const laps: { readonly what: string; readonly seconds: number }[] = []
let last = performance.now()
const lap = (what: string): void => {
  const now = performance.now()
  laps.push({ what, seconds: (now - last) / 1000 })
  console.log(what, laps.at(-1)!.seconds.toFixed(1))
  last = now
}

const model = modelFolder(file)
const folder = mkdtempSync(join(tmpdir(), 'lamarck-lse-step-'))
last = performance.now()
await using local = await llama(file, { packages: dirname(file), contextSize: 1024, sequences: 2 })
const ports = { recipe, data: '', folder, store: memoryStore(), seed: 1, writer, action: labelled(local, labels), concurrency: 4 }
const params = { maxTokens: recipe.train.maxTokens, temperature: 1 }
let invalid = 0
for await (const tree of collect(ports, { policy: local, params })) invalid = 1 - (tree.nodes - 1) / recipe.trees.rounds
lap(`trees: ${recipe.trees.rounds} edits by the untrained policy, in this process`)
await using server = await skyrlServer({ model, rows })
lap('the server starts')
const tokenizer = await chatTokenizer(model)
await using engine = await tinkerEngine({ url: server.url, tokenizer, context: 1024, rank, seed: 1, multiple: rows })
lap('a model on it, and the check that its tokenizer is its own; everything is compiled at its first use')

const given: Group[] = []
const kept: Engine = {
  ...engine,
  forwardBackward(groups, loss) {
    given.push(...groups)
    return engine.forwardBackward(groups, loss)
  },
}
const facts = []
for await (const fact of trainLlm(ports, { engine: kept, maxSteps: 2 })) {
  facts.push(fact)
  console.log(JSON.stringify(fact))
}
lap('training')

/** Mean log-probability of a token, as drawn and after the last step. */
async function moved(of: (advantage: number) => boolean): Promise<readonly string[]> {
  const groups = given.map((group) => ({ ...group, rollouts: group.rollouts.filter(({ advantages }) => of(advantages[0]!)) }))
  const some = groups.filter(({ rollouts }) => rollouts.length > 0)
  const drawn = some.flatMap(({ rollouts }) => rollouts.flatMap(({ logprobs }) => [...logprobs]))
  if (drawn.length === 0) return ['0', '–', '–', '–']
  const { nll } = await engine.forwardBackward(some, { kind: 'importance_sampling' })
  const edits = some.reduce((n, { rollouts }) => n + rollouts.length, 0)
  const [before, after] = [mean(drawn), -nll!]
  return [`${edits}`, before.toFixed(4), after.toFixed(4), `${after > before ? '+' : '−'}${Math.abs(after - before).toFixed(4)}`]
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)

const steps = facts.filter((fact) => fact.kind === 'step')
const times = facts.filter((fact) => fact.kind === 'timed')
const looks = facts.filter((fact) => fact.kind === 'looked')
const grown = facts.find((fact) => fact.kind === 'grown')
const signed = (x = Number.NaN): string => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(3)}`
const changes = [
  ['earned more than 0', ...(await moved((a) => a > 0))],
  ['earned less than 0', ...(await moved((a) => a < 0))],
]
lap('reading how the log-probabilities moved')

const { train, trees } = recipe
const text = [
  '## Two steps of LSE on a server',
  '',
  `The policy is SmolLM2-135M-Instruct in float32 on SkyRL 0.4.0 (JAX, CPU, LoRA of rank ${rank}), the action model the same weights (Q4_1) in this process, the answer decoded from the four words of examples/topic. A step: ${train.states} states × ${train.rollouts} edits of at most ${train.maxTokens} tokens, each scored on ${trees.holdout} problems; loss ppo, learning rate ${train.learningRate}, reward = score after − before. The prompt is a short one of the script's own, the first line of the answer is the edit. The states: ${grown?.states} of a tree of ${trees.rounds} edits by the same model untrained, ${percent(invalid)} of them invalid; mean score ${grown?.before.toFixed(3)}.`,
  '',
  `${new Date().toISOString().slice(0, 10)}, ${basename(file)}, ${cpus()[0]?.model.trim()}, Node ${process.version}: \`LAMARCK_GGUF=$(npm run -s fetch-smollm2) node benchmarks/real/lse-step.ts\``,
  'The first step compiles; the times of kinds overlap.',
  '',
  ...table(
    [
      'step',
      'seconds',
      'drawing',
      'rewards',
      'training',
      'tokens/s',
      'reward',
      'before → after (valid)',
      'invalid',
      'entropy',
      'ratio',
      'clipped',
      'gradient norm',
    ],
    steps.map(({ step, metrics, engine }, i) => {
      const { seconds, sampling, reward, training, tokensPerSecond } = times[i]!
      return [
        `${step}`,
        ...[seconds, sampling, reward, training, tokensPerSecond].map((x) => x.toFixed(1)),
        `${signed(metrics.reward)} ± ${metrics.rewardDeviation?.toFixed(3)}`,
        `${metrics.before?.toFixed(3)} → ${metrics.after?.toFixed(3) ?? '–'}`,
        percent(metrics.invalid!),
        metrics.entropy!.toFixed(2),
        engine.ratio!.toFixed(4),
        percent(engine.clipped!),
        engine.norm?.toFixed(3) ?? '–',
      ]
    }),
  ),
  '',
  ...table(['edits of both steps that', 'edits', 'logprob a token, as drawn', 'after the last step', 'change'], changes),
  '',
  `How it evolves another split of the task, ${train.devRounds} rounds, score of what it chose: ${looks.map(({ step, dev }) => `${percent(dev)} after step ${step}`).join(', ')} (one search of ${trees.holdout} problems: noise).`,
  '',
  ...table(
    ['what', 'seconds'],
    laps.map(({ what, seconds }) => [what, seconds.toFixed(1)]),
  ),
]
await record('lse-step', text.join('\n'))
rmSync(folder, { recursive: true })
