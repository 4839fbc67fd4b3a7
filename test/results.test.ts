// docs/results.md is what its script writes from the files of results, and no number of Finch stands without saying so.
import { globSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { page, results } from '../scripts/results.ts'
import { finchCaption } from '../src/bench/finch-suite.ts'

test('docs/results.md regenerates equal: node scripts/results.ts', () => {
  expect(readFileSync(page, 'utf8')).toBe(results())
})

/** Heads of tables with measured numbers in sections about Finch that do not say where the numbers are from. */
function uncaptioned(text: string): readonly string[] {
  return text.split(/^(?=#{1,6} )/m).flatMap((section) => {
    if (!/\bFinch\b/.test(section)) return []
    const tables = section.match(/(?:^\|.*\|\n?)+/gm) ?? []
    return tables.flatMap((table) => {
      const [head = '', , ...rows] = table.trimEnd().split('\n')
      const isMeasured = rows.some((row) => /\d ?%|±|\[[−+\d]/.test(row))
      return isMeasured && !head.includes(finchCaption) ? [head] : []
    })
  })
}

const pages = globSync(['README.md', 'docs/**/*.md'])

test.each(pages)('every number of Finch in %s says that it is simulated', (file) => {
  expect(uncaptioned(readFileSync(file, 'utf8'))).toEqual([])
})

test('a table of Finch without the caption is found, and one with it is not', () => {
  const rows = '| --- | --- |\n| tree | 52 ± 3 % |\n'
  expect(uncaptioned(`## Searches in Finch\n\n| search | share |\n${rows}`)).toEqual(['| search | share |'])
  expect(uncaptioned(`## Searches in Finch\n\n| ${finchCaption} | share |\n${rows}`)).toEqual([])
  expect(uncaptioned(`## Elsewhere\n\n| search | share |\n${rows}## In Finch\n`)).toEqual([])
  expect(pages.length).toBeGreaterThan(8)
})
