// The quickstart at its smallest: the same table each time, whatever interrupted it, and everything it made in the store.
import { expect, test } from 'vitest'
import { folder, lamarck, start } from './lamarck.ts'

const tiny = ['quickstart', '--steps', '1', '--companies', '2', '--rounds', '2', '--json']

interface Line {
  readonly kind: string
}

interface Table extends Line {
  readonly rows: readonly { readonly name: string; readonly calls?: number; readonly test: { readonly mean: number } }[]
  readonly shown: { readonly run: string }
}

function lines(stdout: string): readonly Line[] {
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line)
}

const tableIn = (stdout: string): Table => lines(stdout).find((line): line is Table => line.kind === 'table')!

test('interrupted while it trains and while it evolves, the same command goes on to the table of one that never was', async () => {
  const [cwd, other] = [folder(), folder()]
  for (const seen of ['"kind":"looked"', '"kind":"searched"']) {
    const run = start(tiny, { cwd })
    await run.saw(seen)
    run.child.kill('SIGINT')
    const ended = await run.ended
    expect(ended.code, ended.stderr).toBe(130)
    expect(ended.stderr).toBe('interrupted; go on with: lamarck quickstart --steps 1 --companies 2 --rounds 2\n')
  }
  const [resumed, whole] = [await lamarck(tiny, { cwd }), await lamarck(tiny, { cwd: other })]
  expect([resumed.code, whole.code], resumed.stderr + whole.stderr).toEqual([0, 0])
  const table = tableIn(resumed.stdout)
  expect(table).toEqual(tableIn(whole.stdout))
  expect(table.rows.map((row) => row.name)).toEqual(['seed', 'chain', 'tree', 'trained', 'perfect'])
  expect(table.rows.at(-1)!.test.mean).toBeGreaterThan(table.rows[0]!.test.mean)

  const runs = JSON.parse((await lamarck(['runs', '--json'], { cwd })).stdout) as {
    id: string
    rounds: number
    standing: string
  }[]
  expect(runs.map(({ rounds }) => rounds)).toEqual([2, 2, 2, 2, 2, 2])
  expect(runs.map(({ id }) => id)).toContain(table.shown.run)
  const report = await lamarck(['report', table.shown.run], { cwd })
  expect(report.stdout).toContain('simulated model: shows the machinery')
  const refused = await lamarck(['resume', table.shown.run], { cwd })
  expect(refused).toMatchObject({ code: 2, stdout: '' })
  expect(refused.stderr).toContain('is one of several: go on with lamarck quickstart --steps 1')

  // All is there: said in words this time, and nothing is made again.
  const again = await lamarck(tiny.slice(0, -1), { cwd })
  expect(again).toMatchObject({ code: 0, stderr: '' })
  expect(again.stdout).toContain('Smaller than the whole: 1 step, 2 companies, 2 edits')
  expect(again.stdout).toMatch(
    /^in Finch \(simulated\) .*\nseed context .*\nuntrained, chain .*\nuntrained, tree .*\ntrained, tree .*\nperfect editor /m,
  )
  expect(again.stdout).toMatch(/lamarck init /)
  expect(again.stdout).not.toContain('\u001b')
})

test('what can not be is said before anything is done', async () => {
  const cwd = folder()
  const few = await lamarck(['quickstart', '--companies', '1'], { cwd })
  expect(few).toMatchObject({ code: 2, stdout: '', stderr: 'companies is 1: give a whole number from 2\n' })
  const real = await lamarck(['quickstart', '--real', 'missing.gguf'], { cwd })
  expect(real).toMatchObject({ code: 2, stdout: '' })
  expect(real.stderr).toMatch(/^no model file "missing.gguf"/)
})
