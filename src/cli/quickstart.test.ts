import { expect, test } from 'vitest'
import type { QuickstartTable } from '../recipes/quickstart.ts'
import { tableText } from './quickstart.ts'

const over = (mean: number, half: number) => ({ mean, interval: [mean - half, mean + half] }) as const

const table: QuickstartTable = {
  kind: 'table',
  finch: '0123456789abcdef',
  sizes: { steps: 120, companies: 16, rounds: 25 },
  seed: 1,
  marks: [1, 3, 25],
  rows: [
    { name: 'seed', test: over(0.162, 0.021), gain: over(0, 0), way: [0, 0, 0] },
    { name: 'chain', test: over(0.387, 0.05), gain: over(0.225, 0.051), way: [0.06, 0.17, 0.47], calls: 2950, invalid: 0.037 },
    { name: 'tree', test: over(0.411, 0.05), gain: over(0.249, 0.051), way: [0.06, 0.16, 0.52], calls: 2975.4, invalid: 0.036 },
    { name: 'trained', test: over(0.55, 0.04), gain: over(0.388, 0.045), way: [0.49, 0.72, 0.81], calls: 3075, invalid: 0.002 },
    { name: 'perfect', test: over(0.644, 0.03), gain: over(0.482, 0.033), way: [1, 1, 1] },
  ],
  training: { edits: 15_360, calls: 768_000 },
  trainedOver: over(0.139, 0.05),
  shown: { run: 'r', company: 'c', before: { notes: '' }, after: { notes: '' }, test: [0.1, 0.5] },
}
const plain = (_: string, text: string): string => text

test('the table fits a screen of 80 columns, names where its numbers are from, and has all of them', () => {
  const lines = tableText(table, { paint: plain, columns: 80 }).split('\n')
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(80)
  expect(lines.slice(0, 6)).toEqual([
    'in Finch (simulated)          test  over the seed  1 edit  3 edits  25 edits',
    'seed context          16.2 ± 2.1 %',
    'untrained, chain      38.7 ± 5.0 %    +22.5 ± 5.1     6 %     17 %      47 %',
    'untrained, tree       41.1 ± 5.0 %    +24.9 ± 5.1     6 %     16 %      52 %',
    'trained, tree         55.0 ± 4.0 %    +38.8 ± 4.5    49 %     72 %      81 %',
    'perfect editor        64.4 ± 3.0 %    +48.2 ± 3.3',
  ])
  const rest = lines.slice(6).join(' ')
  expect(rest).toContain('+13.9 points (95 % +8.9 to +18.9), in Finch (simulated)')
  expect(rest).toContain('untrained, tree 2,975 (3.6 %)')
  expect(rest).toContain('15,360 edits of other companies')
})

test('what an interval that reaches below 0 shows is not painted as a gain', () => {
  const painted = tableText({ ...table, trainedOver: over(0.02, 0.05) }, { paint: (how, text) => `<${how}>${text}`, columns: 80 })
  expect(painted).toMatch(/<yellow>trained over untrained/)
  expect(painted).not.toContain('<green>')
})
