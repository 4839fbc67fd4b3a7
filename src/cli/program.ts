// The commands, their flags and examples. Each command's file is loaded when it runs, so that --help is fast.
import { readFileSync } from 'node:fs'
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { ConfigError } from '../core/errors.ts'
import type { ApplyFlags } from './apply.ts'
import type { BenchFlags } from './bench.ts'
import type { DemoFlags } from './demo.ts'
import type { EstimateFlags } from './estimate.ts'
import type { EvolveFlags } from './evolve.ts'
import type { ExportFlags } from './export.ts'
import type { FinchFlags } from './finch.ts'
import type { InitFlags } from './init.ts'
import type { PolicyFlags } from './policy.ts'
import type { QuickstartFlags } from './quickstart.ts'
import type { ReportFlags } from './report.ts'
import type { ResumeFlags } from './resume.ts'
import type { RunsFlags } from './runs.ts'
import type { StoreFlags } from './runs-in.ts'
import type { StatusFlags } from './status.ts'
import { type CommonFlags, oneLine, outliveReaders } from './terminal.ts'
import type { TrainFlags } from './train.ts'
import type { LlmCommand, TrainLlmFlags } from './train-llm.ts'
import type { TransferFlags } from './transfer.ts'

/** Runs a command line, then ends the process with its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  outliveReaders()
  process.on('uncaughtException', (error) => void fail(error, argv, true))
  process.once('beforeExit', () => end(5, stuck))
  let code = 0
  const program = commands((exitCode) => (code = exitCode))
  try {
    await program.parseAsync(argv)
  } catch (error) {
    if (error instanceof CommanderError) code = error.exitCode === 0 ? 0 : 2
    else return fail(error, argv, false)
  }
  end(code)
}

/** Flags of `lamarck train` that only one of its two trainings has. */
const ofFinch = ['reward', 'advantage', 'entropy', 'writer', 'order', 'refresh', 'workers', 'from'] as const
const ofRecipes = [
  ...(['recipe', 'data', 'model', 'baseUrl', 'evolver', 'evolverUrl', 'concurrency', 'parallel', 'url', 'base'] as const),
  ...(['tokenizer', 'rank', 'context', 'microBatch', 'untrained', 'runs', 'rounds', 'draws', 'passes', 'every'] as const),
  ...(['editTokens', 'tasks', 'devTasks', 'prefill', 'decode', 'fromStep'] as const),
] as const

function strayText(what: LlmCommand | undefined, name: string): string {
  const flag = `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`
  if (what !== undefined) return `${flag} is for training in Finch: leave it out of lamarck train ${what}`
  return `${flag} is for a recipe: lamarck train estimate, collect or run; lamarck train alone trains in Finch`
}

/** Said when nothing is left to wait for and the work is not done. */
const stuck =
  'failed: a promise in the config or the task never settles; mend it, and go on with lamarck resume if the run had begun'

/** One line on stderr, or the stack with --verbose. Who has begun something has printed more already. */
async function fail(error: unknown, argv: readonly string[], isUnderway: boolean): Promise<void> {
  const { codeOf, failure } = await import('./follow.ts')
  const code = codeOf(error, isUnderway)
  const isVerbose = argv.includes('--verbose') || Boolean(process.env.LAMARCK_DEBUG)
  end(code, `${code === 5 ? 'failed: ' : ''}${failure(error, isVerbose)}`)
}

/** Sockets and timers that are still open end with the process; what was printed is out first. */
function end(code: number, line?: string): void {
  if (line !== undefined) process.stderr.write(`${line}\n`)
  process.exitCode = code
  process.stdout.write('', () => process.stderr.write('', () => process.exit(code)))
}

function commands(ended: (code: number) => void): Command {
  const program = new Command('lamarck')
    .description("Improves the context of an LLM application from the application's own failures.")
    .version(version(), '--version')
    .option('--store <store>', 'where runs are kept: a file, memory, or postgres://… (default: .lamarck/lamarck.db)')
    .option('--quiet', 'print results, warnings and errors only')
    .option('--no-color', 'no colours (also with NO_COLOR set)')
    .option('--verbose', 'the whole stack of an error (also with LAMARCK_DEBUG set)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: (text, write) => write(`${oneLine(text)}; see lamarck --help\n`) })
    .exitOverride()
    .addHelpText(
      'after',
      examples(['lamarck init', 'lamarck evolve --model openai:gpt-5-mini --max-usd 5', 'lamarck report --html']),
    )
    .addHelpText(
      'after',
      '\nExit codes: 0 improved (or done), 2 yours to fix, 3 no improvement shown, 4 the budget ended first, 5 failed (can be resumed), 130 interrupted (can be resumed).',
    )

  /** A command whose file is loaded when it runs. */
  const add = (usage: string, description: string, shown: readonly string[]): Command => {
    const command = program.command(usage).description(description)
    command.configureOutput({ outputError: (text, write) => write(`${oneLine(text)}; see lamarck ${command.name()} --help\n`) })
    return command.exitOverride().addHelpText('after', examples(shown))
  }
  const act = async (work: Promise<number>): Promise<void> => ended(await work)

  add('quickstart', 'train an evolver by LSE and see what it does for contexts it never saw; offline, simulated, in minutes', [
    'lamarck quickstart',
    'lamarck quickstart --quick',
    'lamarck quickstart --real model.gguf',
  ])
    .option('--quick', 'smaller: in 90 seconds or less')
    .option('--seed <n>', 'of all chance; default: 1', number)
    .option('--steps <n>', 'of training', number)
    .option('--companies <n>', 'to evolve', number)
    .option('--rounds <n>', 'edits of each company', number)
    .option('--real <file>', 'also evolve two small tasks with a real local model, a .gguf file')
    .option('--json', 'one JSON object a line: facts, then the table')
    .action(async (_flags, command: Command) => {
      const { quickstartCommand } = await import('./quickstart.ts')
      await act(quickstartCommand(command.optsWithGlobals<QuickstartFlags>()))
    })

  add('demo', 'show one run in seconds, with scripts in place of models', ['lamarck demo', 'lamarck demo --rounds 5'])
    .option('--seed <n>', 'of all chance', number)
    .option('--rounds <n>', 'edits to make', number)
    .option('--id <name>', 'a name for the run')
    .option('--json', 'one JSON object a line')
    .action(async (_flags, command: Command) => {
      const { demoCommand } = await import('./demo.ts')
      await act(demoCommand(command.optsWithGlobals<DemoFlags>()))
    })

  add('init', 'write a config and example data that run as they are', [
    'lamarck init',
    'lamarck init sorting',
    'lamarck init --from promptfooconfig.yaml',
  ])
    .argument('[folder]', 'where to; default: this folder')
    .option('--from <suite>', 'wrap a promptfoo suite as the task')
    .action(async (folder: string | undefined, _flags, command: Command) => {
      const { initCommand } = await import('./init.ts')
      await act(initCommand(folder, command.optsWithGlobals<InitFlags>()))
    })

  runFlags(
    add('estimate', 'say what a run will take, and the smallest gain its test can show; spends nothing', [
      'lamarck estimate --model openai:gpt-5-mini',
      'lamarck estimate --rounds 50 --max-usd 5 --seconds-per-call 4',
    ])
      .argument('[config]', 'default: lamarck.config.ts or .mts')
      .option('--recipe <name>', 'of a training in place of a run: as lamarck train estimate')
      .option('--seconds-per-call <s>', 'assumed for the time', number)
      .option('--json', 'as one JSON object'),
  ).action(async (config: string | undefined, _flags, command: Command) => {
    const { recipe, json = false } = command.opts<{ recipe?: string; json?: boolean }>()
    if (recipe !== undefined) return act((await import('./train-llm.ts')).trainLlmCommand('estimate', { recipe, json }))
    const { estimateCommand } = await import('./estimate.ts')
    await act(estimateCommand(config, command.optsWithGlobals<EstimateFlags>()))
  })

  runFlags(
    add('evolve', 'improve the context of a config', [
      'lamarck evolve --model openai:gpt-5-mini --evolver anthropic:claude-sonnet-4-5 --rounds 25 --max-usd 5',
      'lamarck evolve my.config.ts --model openai-compatible:qwen3 --base-url http://127.0.0.1:8000/v1 --in-flight 4',
      'lamarck evolve --json --quiet > events.jsonl',
    ])
      .argument('[config]', 'default: lamarck.config.ts or .mts')
      .option('--id <name>', 'a name for the run; one that is there is resumed')
      .option('--start-from <tree.json>', 'begin with the best instructions of a tree of the reference code')
      .option('--json', 'one JSON object a line: events, then the report'),
  ).action(async (config: string | undefined, _flags, command: Command) => {
    const { evolveCommand } = await import('./evolve.ts')
    await act(evolveCommand(config, command.optsWithGlobals<EvolveFlags>()))
  })

  add('runs', 'list the runs of this folder', ['lamarck runs'])
    .option('--json', 'as one JSON list')
    .action(async (_flags, command: Command) => {
      const { runsCommand } = await import('./runs.ts')
      await act(runsCommand(command.optsWithGlobals<RunsFlags>()))
    })

  add('status', 'say where a run stands, with its tree', ['lamarck status', 'lamarck status 20260102-k3f9 --json'])
    .argument('[run]', 'default: the newest')
    .option('--json', 'as one JSON object')
    .action(async (run: string | undefined, _flags, command: Command) => {
      const { statusCommand } = await import('./status.ts')
      await act(statusCommand(run, command.optsWithGlobals<StatusFlags>()))
    })

  add('report', 'say what a run found', [
    'lamarck report',
    'lamarck report --html',
    'lamarck report 20260102-k3f9 --html out.html',
    'lamarck report --json',
  ])
    .argument('[run]', 'default: the newest')
    .option('--html [file]', 'as one page that needs nothing else; default: lamarck-RUN.html')
    .option('--json', 'as one JSON object')
    .action(async (run: string | undefined, _flags, command: Command) => {
      const { reportCommand } = await import('./report.ts')
      await act(reportCommand(run, command.optsWithGlobals<ReportFlags>()))
    })

  runFlags(
    add('resume', 'go on with a run that was stopped, or give it more', [
      'lamarck resume',
      'lamarck resume 20260102-k3f9 --rounds 40 --max-usd 10',
    ])
      .argument('[run]', 'default: the newest')
      .option('--config <file>', 'where the config is now')
      .option('--json', 'one JSON object a line: events, then the report'),
  ).action(async (run: string | undefined, _flags, command: Command) => {
    const { resumeCommand } = await import('./resume.ts')
    await act(resumeCommand(run, command.optsWithGlobals<ResumeFlags>()))
  })

  for (const [wish, description] of [
    ['stop', 'end the search of a running run; it looks at test and reports'],
    ['pause', 'plan no further round until `continue`'],
    ['continue', 'go on after `pause`'],
  ] as const) {
    add(wish, description, [`lamarck ${wish}`, `lamarck ${wish} 20260102-k3f9`])
      .argument('[run]', 'default: the newest')
      .action(async (run: string | undefined, _flags, command: Command) => {
        const { steerCommand } = await import('./steer.ts')
        await act(steerCommand(run, { wish }, command.optsWithGlobals<CommonFlags & StoreFlags>()))
      })
  }

  add('branch', 'make the next edit from a node of your choice', [
    'lamarck branch 3',
    'lamarck branch 3 --hint "say what to do with empty fields"',
  ])
    .addArgument(node)
    .option('--hint <text>', 'advice for the evolver')
    .option('--run <run>', 'default: the newest')
    .action(async (at: number, { hint, run }: { hint?: string; run?: string }, command: Command) => {
      const { steerCommand } = await import('./steer.ts')
      const steer = { wish: 'branch', node: at, ...(hint !== undefined && { hint }) } as const
      await act(steerCommand(run, steer, command.optsWithGlobals<CommonFlags & StoreFlags>()))
    })

  add('prune', 'never edit a node again', ['lamarck prune 5', 'lamarck prune 5 --run 20260102-k3f9'])
    .addArgument(node)
    .option('--run <run>', 'default: the newest')
    .action(async (at: number, { run }: { run?: string }, command: Command) => {
      const { steerCommand } = await import('./steer.ts')
      await act(steerCommand(run, { wish: 'prune', node: at }, command.optsWithGlobals<CommonFlags & StoreFlags>()))
    })

  add('diff', 'compare two contexts of a run', ['lamarck diff', 'lamarck diff 0 7', 'lamarck diff 20260102-k3f9 2 7'])
    .argument('[run-and-nodes...]', 'default: the newest run, seed and chosen')
    .action(async (args: string[], _flags, command: Command) => {
      const { diffCommand } = await import('./diff.ts')
      await act(diffCommand(args, command.optsWithGlobals<CommonFlags & StoreFlags>()))
    })

  runFlags(
    add('transfer', 'score seed and chosen context with other models, on the same test problems', [
      'lamarck transfer --models openai:gpt-5-mini,openai:gpt-5-nano --max-usd 2',
    ])
      .requiredOption('--models <a,b>', 'models, with commas between', list)
      .option('--run <run>', 'default: the newest')
      .option('--config <file>', 'where the config is now')
      .option('--json', 'as one JSON list'),
  ).action(async (_flags, command: Command) => {
    const { transferCommand } = await import('./transfer.ts')
    await act(transferCommand(command.optsWithGlobals<TransferFlags>()))
  })

  add('apply', 'write the context of a run into a file: all of it, or between <!-- evolve --> and <!-- /evolve -->', [
    'lamarck apply best prompt.txt',
    'lamarck apply 20260102-k3f9 AGENTS.md --part instructions',
  ])
    .argument('<run>', 'its name, or best for the newest')
    .argument('<file>')
    .option('--part <name>', 'of a context with several')
    .option('--force', 'also if no improvement was shown, and over any text')
    .action(async (run: string, file: string, _flags, command: Command) => {
      const { applyCommand } = await import('./apply.ts')
      await act(applyCommand(run, file, command.optsWithGlobals<ApplyFlags>()))
    })

  add('export', 'print the context of a run in the shape of where it goes', [
    'lamarck export --to text > prompt.txt',
    'lamarck export --to ai-sdk > src/context.ts',
    'lamarck export 20260102-k3f9 --to tree-json > tree.json',
  ])
    .argument('[run]', 'default: the newest')
    .addOption(
      new Option('--to <shape>', 'what it is for')
        .choices(['text', 'json', 'ai-sdk', 'agents-md', 'tree-json'])
        .makeOptionMandatory(),
    )
    .option('--force', 'also if no improvement was shown')
    .action(async (run: string | undefined, _flags, command: Command) => {
      const { exportCommand } = await import('./export.ts')
      await act(exportCommand(run, command.optsWithGlobals<ExportFlags>()))
    })

  add('train', 'train the embedded policy by LSE in Finch, offline, or a language model by a recipe; killed, it goes on', [
    'lamarck train',
    'lamarck train --steps 50 --seed 2 --out .lamarck/train-2',
    'lamarck train --advantage delta --reward sampled --order potential --out .lamarck/paper',
    'lamarck train estimate --recipe bird-qwen3-4b',
    'lamarck train collect --recipe bird-qwen3-4b --data bird --model vllm:Qwen/Qwen3-4B-Instruct-2507',
    'lamarck train run --recipe bird-qwen3-4b --data bird --model vllm:Qwen/Qwen3-4B-Instruct-2507 --url http://127.0.0.1:8001 --tokenizer qwen3',
  ])
    .addArgument(new Argument('[what]', 'of a recipe; default: Finch').choices(['estimate', 'collect', 'run']))
    .option('--steps <n>', 'steps of learning; default: 100', number)
    .option('--seed <n>', 'of all chance; default: 1', number)
    .option('--reward <name>', 'expected or sampled')
    .option('--advantage <name>', 'grpo (the default), gain, leave-one-out, delta (the paper), batch, whiten or logit-delta')
    .option('--learning-rate <x>', 'default: 0.001', number)
    .option('--entropy <x>', 'what the entropy of the policy counts in the loss; default: 0', number)
    .option('--writer <name>', 'lines (changes of lines, the default) or rewrite (whole notes; needs --from)')
    .option('--states <n>', 'states a step; default: 16', number)
    .option('--rollouts <n>', 'edits of each state a step; default: 8', number)
    .option('--order <name>', 'of the states: random (the default), potential or reversed')
    .option('--refresh <n>', 'grow the trees again after every n steps; default: never', number)
    .option('--one-step-off', "draw a step's edits while the step before still trains; default: on-policy")
    .option('--engine <name>', 'jax (Finch) or tinker (a recipe)')
    .option('--workers <n>', 'threads; changes no result', number)
    .option('--from <file>', 'a checkpoint to begin with; default: the warm start')
    .option('--out <folder>', 'default: .lamarck/train')
    .option('--json', 'one JSON object a line')
    .option('--recipe <name>', 'bird-qwen3-4b or mmlu-qwen3-4b; the flags below are for recipes')
    .option('--data <folder>', "the recipe's data")
    .option('--model <model>', 'who answers the problems: provider:model')
    .option('--base-url <url>', 'where it is')
    .option('--evolver <model>', 'collect: the untrained policy; default: the model')
    .option('--evolver-url <url>', 'where that is; default: as the model')
    .option('--concurrency <n>', 'calls at once to the model; default: 64', number)
    .option('--parallel <n>', 'collect: trees at once; default: 4', number)
    .option('--url <url>', 'run: the server of the Tinker API; its key is read from TINKER_API_KEY')
    .option('--base <model>', 'run: the model to train, as the server calls it; default: the only one')
    .option('--tokenizer <folder>', "run: the model's tokenizer and chat template")
    .option('--rank <n>', 'run: of the LoRA; default: 32', number)
    .option('--context <n>', 'run: longest sequence, where the server does not say', number)
    .option('--from-step <n>', 'run: go on from the checkpoint of that step; default: the last', number)
    .option('--micro-batch <n>', 'run: train_micro_batch_size of a JAX server', number)
    .option('--untrained', 'run: the model was never trained, so nothing shows whether the tokenizer is its own')
    .option('--runs <n>', 'trees', number)
    .option('--rounds <n>', 'edits of each tree', number)
    .option('--draws <n>', 'generations of each holdout problem', number)
    .option('--passes <n>', 'over the states', number)
    .option('--every <n>', 'steps between checkpoints', number)
    .option('--edit-tokens <n>', 'bound of an edit', number)
    .option('--tasks <a,b>', 'to train on', list)
    .option('--dev-tasks <a,b>', 'to pick the checkpoint by', list)
    .option('--prefill <n>', 'estimate: tokens a second that one GPU reads', number)
    .option('--decode <n>', 'estimate: tokens a second that one GPU writes', number)
    .action(async (what: LlmCommand | undefined, _flags, command: Command) => {
      const flags = command.optsWithGlobals<TrainFlags & TrainLlmFlags>()
      const stray = (what === undefined ? ofRecipes : ofFinch).find((name) => flags[name] !== undefined)
      if (stray !== undefined) throw new ConfigError(strayText(what, stray))
      if (what === undefined) return act((await import('./train.ts')).trainCommand(flags))
      await act((await import('./train-llm.ts')).trainLlmCommand(what, flags))
    })

  add('policy', 'list the trained policies, show how a training went, or write its best policy to a file', [
    'lamarck policy list',
    'lamarck policy show .lamarck/train',
    'lamarck policy export .lamarck/train --out policy.safetensors',
  ])
    .addArgument(new Argument('<what>').choices(['list', 'show', 'export']))
    .argument('[folder]', 'default: .lamarck to list, else .lamarck/train')
    .option('--out <file>', 'where export writes')
    .action(async (what: 'list' | 'show' | 'export', folder: string | undefined, _flags, command: Command) => {
      const { policyCommand } = await import('./policy.ts')
      await act(policyCommand(what, folder, command.optsWithGlobals<PolicyFlags>()))
    })

  add('bench', 'race methods over tasks and seeds on equal budgets; suites: finch, sql, mmlu-redux, bird, or a config of yours', [
    'lamarck bench finch --seeds 5',
    'lamarck bench finch --quick --html',
    'lamarck bench sql --data ./data --model openai:gpt-5-mini --methods lse,gepa --rounds 25',
  ])
    .argument('<suite>')
    .option('--methods <a,b>', 'default: lse,chain,best-of-n,gepa,textgrad', list)
    .option('--preset <name>', 'an ablation: tree, ucb or batch; in Finch also reward, transfer')
    .option('--seeds <n>', 'runs of each method on each task; default: 5', number)
    .option('--max-calls <n>', 'limit of one run', number)
    .option('--max-tokens <n>', 'limit of one run', number)
    .option('--max-usd <x>', 'limit of one run in dollars', number)
    .option('--rounds <n>', 'without a limit: as many calls as so many rounds of LSE take; default: 25', number)
    .option('--model <model>', 'who answers')
    .option('--evolver <model>', 'who writes the edits; default: the model, in Finch the policies')
    .option('--base-url <url>', 'of an openai-compatible model')
    .option('--data <folder>', "where the suite's files are")
    .option('--tasks <a,b>', 'databases or subjects; default: all of the suite', list)
    .option('--protocol <name>', 'default or paper: 50 holdout problems × 8, c = 2')
    .option('--policy <a,b>', 'Finch: checkpoints trained by LSE and by GRPO; default: they are trained first', list)
    .option('--companies <n>', 'Finch: databases; default: 32', number)
    .option('--concurrency <n>', 'calls of a run in flight at once', number)
    .option('--parallel <n>', 'runs at once; default: 1, many in Finch', number)
    .option('--workers <n>', 'Finch: processes; default: the cores', number)
    .addOption(new Option('--share <i/n>').hideHelp())
    .option('--quick', 'Finch: fewer databases, seeds and steps of training')
    .option('--out <file>', 'every run and setting; default: .lamarck/bench-SUITE.json')
    .option('--html [file]', 'as one page, with curves of score by calls')
    .option('--json', 'as one JSON object')
    .action(async (suite: string, _flags, command: Command) => {
      const { benchCommand } = await import('./bench.ts')
      await act(benchCommand(suite, command.optsWithGlobals<BenchFlags>(), version()))
    })

  add('finch', 'serve the embedded world, with its simulated models, to programs in any language', ['lamarck finch serve'])
    .addArgument(new Argument('<what>').choices(['serve']))
    .option('--port <n>', 'on 127.0.0.1; default: 8087', number)
    .action(async (_what: string, _flags, command: Command) => {
      const { finchCommand } = await import('./finch.ts')
      await act(finchCommand(command.optsWithGlobals<FinchFlags>()))
    })
  return program
}

const node = new Argument('<node>', 'its number, as `lamarck status` shows it').argParser((text: string) => {
  if (/^\d+$/.test(text)) return Number(text)
  throw new InvalidArgumentError('give the number of a node.')
})

function runFlags(command: Command): Command {
  return command
    .option('--model <model>', 'who answers: provider:model')
    .option('--evolver <model>', 'who writes the edits, also policy:FILE; default: the same')
    .option('--writer <name>', 'how: rewrite (the whole context, the default) or lines (the lines to change)')
    .option('--judge <model>', 'who judges inside scorers; default: the same')
    .option('--method <name>', 'lse, chain, best, best-of-n, gepa, textgrad, reflexion, voyager or robophd')
    .option('--rounds <n>', 'edits to make', number)
    .option('--in-flight <n>', 'rounds at once; part of what makes a run repeatable', number)
    .option('--batch <n>', 'fresh problems a round', number)
    .option('--seed <n>', 'of all chance', number)
    .option('--max-usd <n>', 'dollars at most', number)
    .option('--max-calls <n>', 'model calls at most', number)
    .option('--max-tokens <n>', 'tokens at most', number)
    .option('--max-minutes <n>', 'minutes at most', number)
    .option('--stop-after <n>', 'stop after so many rounds without gain', number)
    .option('--protocol <name>', 'default or paper (50 problems × 8, no racing, as published)')
    .option('--no-racing', 'score every edit to the end')
    .option('--concurrency <n>', 'calls at once to one model', number)
    .option('--timeout <s>', 'seconds that one call may take', number)
    .option('--retries <n>', 'further attempts at a failed call', number)
    .option('--base-url <url>', "where the provider's API is")
}

function number(text: string): number {
  const n = Number(text)
  if (text.trim() === '' || !Number.isFinite(n)) throw new InvalidArgumentError('give a number.')
  return n
}

/** Names with commas between. */
function list(text: string): string[] {
  return text
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean)
}

function examples(lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`
}

function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string } // our own
  return version
}
