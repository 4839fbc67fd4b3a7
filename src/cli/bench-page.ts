// A race as one page that needs nothing else: its tables, and how the score rises with calls.
import type { BenchRecord } from '../bench/record.ts'
import { benchNotes, benchTables, type Cells } from '../bench/tables.ts'
import { escaped, whole } from './page.ts'

/** The whole file. */
export function benchPage(record: BenchRecord): string {
  const title = `${record.suite}: ${record.entrants.length} rows${record.caption === undefined ? '' : `, ${record.caption}`}`
  const hashes = JSON.stringify({ ...record.settings, ...record.made, budget: record.budget, seeds: record.seeds }, undefined, 1)
  const body = `<header>
<p class="small">${escaped(record.command)}</p>
<h1 class="plain">${escaped(title)}</h1>
</header>
${benchTables(record).map(section).join('\n')}
<section>
<h2>${escaped(`Score by calls${record.caption === undefined ? '' : `, ${record.caption}`}`)}</h2>
${curves(record)}
</section>
<section>
<h2>What it rests on</h2>
${benchNotes(record)
  .map((note) => `<p>${escaped(note)}</p>`)
  .join('\n')}
<pre>${escaped(hashes)}</pre>
</section>`
  return whole(title, body)
}

function section({ title, rows: [head = [], ...rows] }: Cells): string {
  const row = (cells: readonly string[], tag: 'td' | 'th'): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`
  return `<section>
<h2>${escaped(title)}</h2>
<div class="scroll" tabindex="0" role="region" aria-label="${escaped(title)}"><table>
<thead>${row(head, 'th')}</thead>
<tbody>${rows.map((cells) => row(cells, 'td')).join('\n')}</tbody>
</table></div>
</section>`
}

const dashes = ['none', '7 4', '2 3']
const shades = 5

/** How the line of the i-th row looks. */
function look(i: number): string {
  return `class="race r${i % shades}" stroke-dasharray="${dashes[Math.floor(i / shades) % dashes.length]}"`
}

/** A line a row; rows beyond the fifth are told apart by dashes. */
function curves({ curves: all, entrants, curve }: BenchRecord): string {
  const box = { width: 900, height: 360, left: 48, right: 16, top: 12, bottom: 34 }
  const points = all.flat()
  const [first, last] = [Math.min(...points.map(([calls]) => calls)), Math.max(...points.map(([calls]) => calls), 1)]
  const scores = points.map(([, score]) => score)
  const low = Math.max(0, Math.floor(Math.min(...scores) * 20) / 20)
  const high = Math.max(low + 0.05, Math.min(1, Math.ceil(Math.max(...scores) * 20) / 20))
  const x = (calls: number): string =>
    (box.left + ((calls - first) / Math.max(1, last - first)) * (box.width - box.left - box.right)).toFixed(1)
  const y = (score: number): string =>
    (box.top + ((high - score) / (high - low)) * (box.height - box.top - box.bottom)).toFixed(1)
  const every = high - low > 0.5 ? 0.1 : 0.05
  const ticks = Array.from({ length: 21 }, (_, i) => i * every).filter((t) => t >= low - 1e-9 && t <= high + 1e-9)
  const grid = ticks.map(
    (t) =>
      `<line class="grid" x1="${box.left}" x2="${box.width - box.right}" y1="${y(t)}" y2="${y(t)}"/><text class="axis" x="${box.left - 6}" y="${y(t)}" text-anchor="end" dominant-baseline="middle">${Math.round(100 * t)} %</text>`,
  )
  const lines = all.map((line, i) => {
    const at = line.map(([calls, score]) => `${x(calls)} ${y(score)}`).join(' L')
    return `<path ${look(i)} d="M${at} H${x(last)}"><title>${escaped(entrants[i]!.name)}</title></path>`
  })
  const keys = entrants.map(
    ({ name }, i) =>
      `<li><svg width="34" height="10" aria-hidden="true"><path ${look(i)} d="M1 5 H33"/></svg> ${escaped(name)}</li>`,
  )
  return `<svg class="curve" viewBox="0 0 ${box.width} ${box.height}" role="img" aria-label="score by calls, a line a row">
${grid.join('\n')}
${lines.join('\n')}
<text class="axis" x="${box.left}" y="${box.height - 8}">${first} calls</text>
<text class="axis" x="${box.width - box.right}" y="${box.height - 8}" text-anchor="end">${last} calls</text>
</svg>
<ul class="keys">${keys.join('\n')}</ul>
<p class="small">${escaped(`Mean over runs; what is shown is the ${curve}. The calls of the closing look at test are not in it.`)}</p>`
}
