// What a user does, with the real command line against the loopback server.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FaultServer, startFaultServer } from '../fault-server.ts'
import { config, type Ended, folder, lamarck, problems, start } from './lamarck.ts'

let server: FaultServer
let slow: FaultServer
let model: readonly string[]
let slowModel: readonly string[]

beforeAll(async () => {
  server = await startFaultServer({ world: 'marks' })
  slow = await startFaultServer({ world: 'marks', latency: 60 })
  model = ['--model', 'openai-compatible:m', '--base-url', server.url]
  slowModel = ['--model', 'openai-compatible:m', '--base-url', slow.url]
})
afterAll(async () => {
  await server.close()
  await slow.close()
})

const marks = (): string => folder({ 'q.jsonl': problems(160), 'lamarck.config.ts': config() })

function lines(ended: Ended): readonly string[] {
  return ended.stdout.split('\n').filter(Boolean)
}

describe('a run that improves', () => {
  test('goes by in plain lines when piped, reports, and can be asked about in every way', async () => {
    const cwd = marks()
    const evolved = await lamarck(['evolve', ...model, '--rounds', '8', '--in-flight', '2', '--id', 'first'], { cwd })
    expect(evolved).toMatchObject({ code: 0, stderr: '' })
    expect(evolved.stdout).toMatch(/^run first\nlse on marks: openai-compatible:m/)
    expect(evolved.stdout).toMatch(/\nimproved: \+\d/)
    expect(evolved.stdout).not.toContain('\u001b')

    const report = await lamarck(['report', '--json'], { cwd })
    expect(JSON.parse(report.stdout)).toMatchObject({ run: 'first', gain: { shown: true }, inFlight: 2 })
    const text = await lamarck(['report', 'first'], { cwd })
    expect(evolved.stdout).toContain(text.stdout.split('\n\nrun first: contexts')[0])
    expect(text.stdout).toContain('0  22.9 %  ← seed')

    expect((await lamarck(['runs'], { cwd })).stdout).toMatch(/ holdout \(selected on\) [\s\S]*first .* improved\n$/)
    expect(text.stdout).toContain('run first: contexts by the holdout score that they were selected on\n')
    expect((await lamarck(['status', '--json'], { cwd })).stdout).toContain('"standing":"improved"')
    const diff = await lamarck(['diff'], { cwd })
    expect(diff.stdout).toMatch(/# instructions\n-Answer with the label\. \+{4}\n\+Answer with the label\. \+{5,}\n$/)
    expect((await lamarck(['diff', 'first', '0', '0'], { cwd })).stdout).toBe('node 0 and node 0 have the same context\n')

    const context = (JSON.parse(report.stdout) as { chosenContext: { instructions: string } }).chosenContext.instructions
    expect((await lamarck(['export', '--to', 'text'], { cwd })).stdout).toBe(context)
    const json = JSON.parse((await lamarck(['export', '--to', 'json'], { cwd })).stdout)
    expect(json).toMatchObject({ context: { instructions: context }, provenance: { run: 'first', gain: { shown: true } } })
    expect(json.provenance.hashes.test).toMatch(/^[0-9a-f]{32}$/)
    expect((await lamarck(['export', '--to', 'agents-md'], { cwd })).stdout).toContain(`-->\n\n${context}\n`)
    writeFileSync(join(cwd, 'context.ts'), (await lamarck(['export', '--to', 'ai-sdk'], { cwd })).stdout)
    expect(await import(join(cwd, 'context.ts'))).toMatchObject({ instructions: context, examples: [], context: json.context })
    const tree = await lamarck(['export', '--to', 'tree-json'], { cwd })
    expect(JSON.parse(tree.stdout)).toMatchObject({ format_version: 1, total_selections: 8 })

    const html = await lamarck(['report', '--html', 'out.html'], { cwd })
    expect(html.stdout).toBe('written: out.html\n')
    expect(readFileSync(join(cwd, 'out.html'), 'utf8')).toMatch(/<span class="fixed">fixed<\/span> Q\d+: which label\?/)

    writeFileSync(join(cwd, 'tree.json'), tree.stdout)
    const next = await lamarck(['evolve', ...model, '--rounds', '0', '--start-from', 'tree.json', '--json'], { cwd })
    expect(next.code).toBe(3)
    const best = Math.max(...(JSON.parse(tree.stdout).nodes as { performance: number }[]).map((n) => n.performance))
    expect(JSON.parse(lines(next).at(-1) ?? '')).toMatchObject({ kind: 'report', holdout: { seed: best } })
    expect((await lamarck(['resume', '--quiet'], { cwd })).code).toBe(3)
  })

  test('is applied byte for byte: to a new file, between marks, and never over a text that is not its own', async () => {
    const cwd = marks()
    await lamarck(['evolve', ...model, '--rounds', '8', '--quiet'], { cwd })
    const text = (await lamarck(['export', '--to', 'text'], { cwd })).stdout
    expect((await lamarck(['apply', 'best', 'new.txt'], { cwd })).code).toBe(0)
    expect(readFileSync(join(cwd, 'new.txt'), 'utf8')).toBe(text)
    writeFileSync(join(cwd, 'A.md'), 'before\n<!-- evolve -->\nold\n<!-- /evolve -->\nafter\n')
    expect((await lamarck(['apply', 'best', 'A.md'], { cwd })).code).toBe(0)
    expect(readFileSync(join(cwd, 'A.md'), 'utf8')).toBe(`before\n<!-- evolve -->\n${text}\n<!-- /evolve -->\nafter\n`)
    writeFileSync(join(cwd, 'app.ts'), 'code()')
    const refused = await lamarck(['apply', 'best', 'app.ts'], { cwd })
    expect(refused).toMatchObject({ code: 2, stdout: '' })
    expect(refused.stderr).toMatch(/^app\.ts holds something else .* --force\n$/)
    expect(readFileSync(join(cwd, 'app.ts'), 'utf8')).toBe('code()')
  })

  test('is scored on other models in one table', async () => {
    const cwd = marks()
    await lamarck(['evolve', ...model, '--rounds', '8', '--quiet'], { cwd })
    const table = await lamarck(['transfer', '--models', 'openai-compatible:m,openai-compatible:n', '--max-calls', '2000'], {
      cwd,
    })
    expect(table).toMatchObject({ code: 0, stderr: '' })
    expect(lines(table)).toHaveLength(3)
    expect(lines(table)[2]).toMatch(/^openai-compatible:n +\d+\.\d % +\d+\.\d % +\+\d+\.\d +\+.* to \+.* improved$/)
    const short = await lamarck(['transfer', '--models', 'openai-compatible:m', '--max-calls', '10'], { cwd })
    expect(short).toMatchObject({ code: 4, stdout: '' })
  })
})

describe('exit codes', () => {
  test('3 when no improvement was shown, and then nothing is applied', async () => {
    const cwd = marks()
    const ended = await lamarck(['evolve', ...model, '--rounds', '0'], { cwd })
    expect(ended.code).toBe(3)
    expect(ended.stdout).toContain('no improvement shown: no edit scored above the seed on the holdout')
    const applied = await lamarck(['apply', 'best', 'p.txt'], { cwd })
    expect(applied.code).toBe(2)
    expect(applied.stderr).toMatch(/showed no improvement, so its seed is still the context to use/)
    expect(existsSync(join(cwd, 'p.txt'))).toBe(false)
  })

  test('4 when the budget ended first; more budget goes on from there', async () => {
    const cwd = marks()
    const ended = await lamarck(['evolve', ...model, '--max-calls', '700'], { cwd })
    expect(ended.code).toBe(4)
    expect(ended.stderr).toMatch(/^warning: the budget affords about 0 of 30 rounds/)
    expect(ended.stdout).toMatch(/stopped +the budget ended \(calls\)/)
    const more = await lamarck(['resume', '--max-calls', '9000'], { cwd })
    expect(more.code).toBe(0)
    const none = await lamarck(['evolve', ...model, '--max-calls', '10'], { cwd })
    expect(none).toMatchObject({ code: 4 })
    expect(none.stderr).toMatch(/the budget \(calls\) ended before the seed context was scored/)
  })

  test('5 when the provider breaks, with the cause in one line; the run goes on later', async () => {
    const cwd = marks()
    await server.faults([{ kind: '500', match: '"broken"', count: 1, after: 200 }])
    const broken = ['--model', 'openai-compatible:broken', '--base-url', server.url]
    const ended = await lamarck(['evolve', ...broken, '--rounds', '2', '--retries', '0'], { cwd })
    expect(ended.code).toBe(5)
    expect(ended.stderr).toMatch(/^failed: .*injected 500.*\nthe run is saved; go on with: lamarck resume \S+\n$/)
    const resumed = await lamarck(['resume'], { cwd })
    expect([0, 3]).toContain(resumed.code)
    expect(resumed.stdout).toMatch(/resumed run/)
    await server.faults([])
  })

  test('130 on Ctrl-C and on SIGTERM, at once and with nothing lost', async () => {
    const cwd = marks()
    for (const [signal, id] of [
      ['SIGINT', 'a'],
      ['SIGTERM', 'b'],
    ] as const) {
      const run = start(['evolve', ...slowModel, '--rounds', '4', '--id', id], { cwd })
      await run.saw('round 1')
      const at = performance.now()
      run.child.kill(signal)
      const ended = await run.ended
      expect(performance.now() - at).toBeLessThan(2500)
      expect(ended.code).toBe(130)
      expect(ended.stderr).toBe(`interrupted; the run is saved. Go on with: lamarck resume ${id}\n`)
      const resumed = await lamarck(['resume', id, '--json'], { cwd })
      expect([0, 3]).toContain(resumed.code)
      expect(JSON.parse(lines(resumed)[0] ?? '')).toMatchObject({ kind: 'resumed' })
    }
    const whole = await lamarck(['evolve', ...model, '--rounds', '4', '--id', 'c', '--json'], { cwd })
    const [a, c] = [await lamarck(['report', 'a', '--json'], { cwd }), lines(whole).at(-1) ?? '']
    const { per, gain, holdout } = JSON.parse(c)
    expect(JSON.parse(a.stdout)).toMatchObject({ per, gain, holdout })
  })
})

test('--json is one object a line: events in order, then the report', async () => {
  const cwd = marks()
  const ended = await lamarck(['evolve', ...model, '--rounds', '3', '--json'], { cwd })
  const events = lines(ended).map((line) => JSON.parse(line) as { kind: string; run: string })
  expect(events[0]?.kind).toBe('started')
  expect(events.at(-2)?.kind).toBe('reported')
  expect(events.at(-1)?.kind).toBe('report')
  expect(new Set(events.map((event) => event.run)).size).toBe(1)
})

test('--quiet prints the report alone', async () => {
  const ended = await lamarck(['evolve', ...model, '--rounds', '1', '--quiet'], { cwd: marks() })
  expect(ended.stdout).toMatch(/^\n(no improvement shown|improved)/)
  expect(ended.stdout).not.toContain('round 1')
})

test('a run in memory leaves nothing and promises nothing', async () => {
  const cwd = marks()
  const ended = await lamarck(['evolve', ...model, '--rounds', '1', '--store', 'memory'], { cwd })
  expect(ended.stdout).not.toContain('lamarck report')
  expect(existsSync(join(cwd, '.lamarck'))).toBe(false)
})

test('a reader that goes away does not end a run', async () => {
  const cwd = marks()
  const run = start(['evolve', ...slowModel, '--rounds', '2', '--id', 'x'], { cwd })
  await run.saw('seed')
  run.child.stdout?.destroy()
  const { code, stderr } = await run.ended
  expect([0, 3]).toContain(code)
  expect(stderr).toBe('')
  expect((await lamarck(['report', 'x'], { cwd })).code).toBe(0)
})

test('a running run is steered from another process', async () => {
  const cwd = marks()
  const run = start(['evolve', ...slowModel, '--rounds', '200', '--id', 'x'], { cwd })
  await run.saw('round 1')
  const held = await lamarck(['resume', 'x'], { cwd })
  expect(held).toMatchObject({ code: 2, stdout: '' })
  expect(held.stderr).toMatch(/^run "x" is held by "evolve" \(pid \d+ on .*\): stop that process first/)
  expect((await lamarck(['prune', '1'], { cwd })).stdout).toBe('run x will no longer edit node 1 between two rounds\n')
  await run.saw('steered: prune node 1')
  expect((await lamarck(['branch', '0', '--hint', 'more marks'], { cwd })).code).toBe(0)
  await run.saw('steered: branch from node 0, hint: more marks')
  await lamarck(['pause'], { cwd })
  await run.saw('steered: pause')
  expect((await lamarck(['status'], { cwd })).stdout).toMatch(/^run x {2}paused \("evolve" \(pid \d+/)
  await lamarck(['continue'], { cwd })
  await run.saw('steered: continue')
  expect((await lamarck(['status'], { cwd })).stdout).toMatch(/^run x {2}running/)
  await lamarck(['stop'], { cwd })
  const ended = await run.ended
  expect(ended.stdout).toMatch(/stopped +as asked/)
  expect((await lamarck(['stop'], { cwd })).code).toBe(2)
})

/** What is told when the model that answers gets no problem right. */
const allWrong =
  'warning: every answer to the seed context scored 0: if that is a surprise, stop and look at the scorer and at the form of the answers\n'

describe('init', () => {
  test('writes what runs as it is, and overwrites nothing', async () => {
    const cwd = folder()
    const made = await lamarck(['init'], { cwd })
    expect(made).toMatchObject({ code: 0, stderr: '' })
    expect(made.stdout).toContain('written: lamarck.config.mts, tickets.jsonl')
    const estimate = await lamarck(['estimate', ...model], { cwd })
    expect(estimate).toMatchObject({ code: 0, stderr: '' })
    expect(estimate.stdout).toMatch(/smallest gain {2}about ±\d+\.\d points/)
    const recipe = await lamarck(['estimate', '--recipe', 'mmlu-qwen3-4b'], { cwd })
    expect(recipe).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/GPU hours +hosted\n(.*\n)+all /) })
    expect(existsSync(join(cwd, '.lamarck'))).toBe(false)
    const evolved = await lamarck(['evolve', ...model, '--rounds', '1'], { cwd })
    expect(evolved).toMatchObject({ code: 3, stderr: allWrong })
    const again = await lamarck(['init'], { cwd })
    expect(again.code).toBe(2)
    expect(again.stderr).toMatch(/^lamarck\.config\.mts and tickets\.jsonl already in .*: nothing was written/)
  })

  test('wraps a promptfoo suite, which runs as it is', async () => {
    const tests = Array.from(
      { length: 24 },
      (_, i) => `  - vars: { q: "Q${i}: which label?" }\n    assert: [{ type: contains, value: b }]\n`,
    )
    const suite = `prompts: ["Say the label of {{q}}"]\nproviders: [openai:chat:gpt-5-mini]\ntests:\n${tests.join('')}`
    const cwd = folder({ 'suite/promptfooconfig.yaml': suite })
    const made = await lamarck(['init', '--from', 'suite/promptfooconfig.yaml'], { cwd })
    expect(made).toMatchObject({ code: 0, stderr: '' })
    expect(readFileSync(join(cwd, 'suite/lamarck.config.mts'), 'utf8')).toContain('model: "openai:gpt-5-mini"')
    const evolved = await lamarck(['evolve', 'suite', ...model, '--rounds', '1'], { cwd })
    expect([0, 3]).toContain(evolved.code)
    expect(evolved.stderr).toBe(allWrong)
    const bad = folder({ 'promptfooconfig.yaml': `${suite}scenarios: []\n` })
    const refused = await lamarck(['init', '--from', 'promptfooconfig.yaml'], { cwd: bad })
    expect(refused).toMatchObject({ code: 2 })
    expect(refused.stderr).toContain('"scenarios" is not supported')
    expect(existsSync(join(bad, 'lamarck.config.mts'))).toBe(false)
  })
})

test('the demo runs offline, says what it is, and is a run like any other', async () => {
  const cwd = folder()
  const ended = await lamarck(['demo'], { cwd })
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  expect(ended.stdout).toContain('simulated model: shows the machinery, no improvement is claimed')
  expect(ended.stdout).toMatch(/lamarck init\n$/)
  expect((await lamarck(['report', '--html'], { cwd })).code).toBe(0)
  expect((await lamarck(['resume', '--rounds', '17', '--json'], { cwd })).stdout).toMatch(/"kind":"steered"/)
})

describe('help', () => {
  const commands = [
    ...['quickstart', 'demo', 'init', 'estimate', 'evolve', 'runs', 'status', 'report', 'resume', 'stop', 'pause', 'continue'],
    ...['branch', 'prune', 'diff', 'transfer', 'apply', 'export'],
  ]
  test('names every command, and each has examples', async () => {
    const cwd = folder()
    const help = await lamarck(['--help'], { cwd })
    expect(help).toMatchObject({ code: 0, stderr: '' })
    for (const command of commands) expect(help.stdout).toMatch(new RegExp(`^ {2}${command} `, 'm'))
    const each = await Promise.all(commands.map((command) => lamarck([command, '--help'], { cwd })))
    for (const [i, ended] of each.entries()) expect(ended.stdout).toMatch(new RegExp(`Examples:\n {2}lamarck ${commands[i]}`))
  })
})
