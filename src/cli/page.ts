// The report as one page that needs nothing else: no script, no request. Whatever a model or a data file wrote is escaped text.
import { createHash } from 'node:crypto'
import { diffWordsWithSpace } from 'diff'
import { type Context, partText } from '../core/context.ts'
import type { Node } from '../core/observation.ts'
import type { Rollout } from '../core/score.ts'
import type { State } from '../core/state.ts'
import { cutText, percent, points, type Report } from '../report.ts'
import type { Change } from './changes.ts'
import { type Line, reportLines, verdictOf } from './report-text.ts'

export interface Page {
  readonly report: Report
  readonly state: Pick<State, 'nodes' | 'best' | 'flagged'>
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly changes: readonly Change[]
}

/** The whole file. */
export function page({ report, state, createdAt, changes }: Page): string {
  const { run, names } = report
  const body = `<header>
<p class="small">${escaped(`${names.method} on ${names.task} · run ${run} · ${new Date(createdAt).toISOString().slice(0, 16).replace('T', ' ')} UTC`)}</p>
<h1 class="${report.gain.shown && !report.simulated ? 'good' : 'plain'}">${escaped(verdictOf(report))}</h1>
</header>
${section('What it rests on', facts(reportLines(report)))}
${section('Scores by round', curve(state.nodes))}
${section('Tree of contexts', tree(state, report.chosen))}
${section(`Seed → node ${report.chosen}`, contexts(report.seedContext, report.chosenContext))}
${section('Test problems that changed', problems(changes))}`
  return whole(`${run}: ${verdictOf(report)}`, body)
}

/** A file around a body of ours: its style, and the promise that it loads and runs nothing. */
export function whole(title: string, body: string): string {
  const hash = createHash('sha256').update(style).digest('base64')
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`
}

function section(title: string, body: string): string {
  return `<section>\n<h2>${escaped(title)}</h2>\n${body}\n</section>`
}

/** Text inside an element or a quoted attribute. Characters that turn the direction of writing are shown as what they are. */
export function escaped(text: string): string {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
  return text
    .replace(/[&<>"']/g, (c) => entities[c] ?? c)
    .replace(/\p{Bidi_Control}/gu, (c) => `[U+${c.charCodeAt(0).toString(16)}]`)
    .replace(/(?![\n\t\r])\p{Cc}/gu, '\ufffd')
}

function facts(lines: readonly Line[]): string {
  const rows: { name: string; texts: string[] }[] = []
  for (const [name, text] of lines) {
    if (name === '') rows.at(-1)?.texts.push(text)
    else rows.push({ name: name.trim(), texts: [text] })
  }
  return `<dl>${rows.map(({ name, texts }) => `<div><dt>${escaped(name)}</dt><dd>${texts.map(escaped).join('<br>')}</dd></div>`).join('\n')}</dl>`
}

/** Holdout scores over rounds: each context a dot, the best so far a line. */
function curve(nodes: readonly Node[]): string {
  const last = Math.max(1, ...nodes.map((n) => n.round))
  const box = { width: 720, height: 240, left: 44, right: 12, top: 12, bottom: 32 }
  const means = nodes.map((n) => n.score.mean)
  const [low, high] = range(means)
  const x = (round: number): number => box.left + (round / last) * (box.width - box.left - box.right)
  const y = (mean: number): number => box.top + ((high - mean) / (high - low)) * (box.height - box.top - box.bottom)
  const every = [0.05, 0.1, 0.2].find((step) => (high - low) / step <= 5.01) ?? 0.25
  const ticks = Array.from({ length: 21 }, (_, i) => i * every).filter((t) => t >= low - 1e-9 && t <= high + 1e-9)
  const grid = ticks.map(
    (t) =>
      `<line class="grid" x1="${box.left}" x2="${box.width - box.right}" y1="${fixed(y(t))}" y2="${fixed(y(t))}"/><text class="axis" x="${box.left - 6}" y="${fixed(y(t) + 4)}" text-anchor="end">${Math.round(100 * t)} %</text>`,
  )
  let best = -1
  const steps = nodes.flatMap((n, i) => {
    if (!n.score.full || n.score.mean <= best) return []
    best = n.score.mean
    return i === 0 ? [`M${fixed(x(n.round))} ${fixed(y(best))}`] : [`H${fixed(x(n.round))} V${fixed(y(best))}`]
  })
  const dots = nodes.map(
    (n) =>
      `<circle class="dot" cx="${fixed(x(n.round))}" cy="${fixed(y(n.score.mean))}" r="3.5"><title>${escaped(titleOf(n, nodes))}</title></circle>`,
  )
  const rounds = [0, last].map(
    (r) =>
      `<text class="axis" x="${fixed(x(r))}" y="${box.height - 10}" text-anchor="${r === 0 ? 'start' : 'end'}">round ${r}</text>`,
  )
  return `<svg class="curve" viewBox="0 0 ${box.width} ${box.height}" role="img" aria-label="holdout score of each context by round">
${grid.join('\n')}
<path class="best" d="${steps.join(' ')} H${fixed(x(last))}"/>
${dots.join('\n')}
${rounds.join('\n')}
</svg>
<p class="small">A dot is a context, the line the best on the holdout so far. The holdout chose it, so it flatters; the test did not.</p>`
}

function range(means: readonly number[]): readonly [number, number] {
  const low = Math.max(0, Math.floor((Math.min(...means) - 0.02) * 20) / 20)
  const high = Math.min(1, Math.ceil((Math.max(...means) + 0.02) * 20) / 20)
  return high > low ? [low, high] : [Math.max(0, low - 0.05), Math.min(1, high + 0.05)]
}

/** Left to right by depth, one line a leaf. */
function tree({ nodes, best }: Page['state'], chosen: number): string {
  const { place, depth, leaves } = layout(nodes)
  const [column, row] = [104, 26]
  const at = (n: Node): readonly [number, number] => {
    const { x, y } = place.get(n.id) ?? { x: 0, y: 0 }
    return [24 + x * column, 20 + y * row]
  }
  const edges = nodes.flatMap((n) =>
    n.parents.map((p, i) => {
      const [x1, y1] = at(nodes[p]!)
      const [x2, y2] = at(n)
      const middle = (x1 + x2) / 2
      return `<path class="edge${i > 0 ? ' second' : ''}" d="M${x1} ${fixed(y1)} C${middle} ${fixed(y1)} ${middle} ${fixed(y2)} ${x2} ${fixed(y2)}"/>`
    }),
  )
  const [low, high] = range(nodes.map((n) => n.score.mean))
  const dots = nodes.map((n) => {
    const [x, y] = at(n)
    const shade = Math.round((4 * (n.score.mean - low)) / (high - low))
    const mark = n.id === chosen ? ' chosen' : n.id === best?.id ? ' leading' : n.score.full ? '' : ' cut'
    return `<g><circle class="s${shade}${mark}" cx="${x}" cy="${fixed(y)}" r="8"><title>${escaped(titleOf(n, nodes))}</title></circle><text class="label" x="${x + 12}" y="${fixed(y + 4)}">${n.id} · ${(100 * n.score.mean).toFixed(0)} %</text></g>`
  })
  const [width, height] = [24 + depth * column + 90, 20 + leaves * row + 8]
  return `<div class="scroll" tabindex="0" role="region" aria-label="tree of contexts"><svg width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${nodes.length} contexts, each with its holdout score">
${edges.join('\n')}
${dots.join('\n')}
</svg></div>
<p class="small">Number of the context and the holdout score that it was selected on; the stronger its colour, the higher. A thick ring is the chosen one.${nodes.every((n) => n.score.full) ? '' : ' A dashed ring: scoring was cut short.'}</p>`
}

interface Layout {
  readonly place: ReadonlyMap<number, { readonly x: number; readonly y: number }>
  readonly depth: number
  readonly leaves: number
}

/** Parents stand before their children in `nodes`, so two passes do; no recursion, a chain may be long. */
function layout(nodes: readonly Node[]): Layout {
  const children = Map.groupBy(nodes, (n) => n.parents[0] ?? -1)
  const x = new Map<number, number>()
  for (const n of nodes) x.set(n.id, n.parents.length > 0 ? (x.get(n.parents[0]!) ?? 0) + 1 : 0)
  const y = new Map<number, number>()
  let leaves = 0
  const stack = [...(children.get(-1) ?? [])].reverse()
  while (stack.length > 0) {
    const n = stack.pop()!
    const below = children.get(n.id) ?? []
    if (below.length === 0) y.set(n.id, leaves++)
    stack.push(...[...below].reverse())
  }
  for (const n of [...nodes].reverse()) {
    const below = children.get(n.id) ?? []
    if (below.length > 0) y.set(n.id, below.reduce((sum, c) => sum + (y.get(c.id) ?? 0), 0) / below.length)
  }
  const place = new Map(nodes.map((n) => [n.id, { x: x.get(n.id) ?? 0, y: y.get(n.id) ?? 0 }] as const))
  return { place, depth: Math.max(0, ...x.values()), leaves }
}

function titleOf(n: Node, nodes: readonly Node[]): string {
  const parent = nodes[n.parents[0] ?? -1]
  const change = parent ? `, ${points(n.score.mean - parent.score.mean)} from node ${parent.id}` : ''
  return `node ${n.id}, round ${n.round}: holdout ${percent(n.score.mean)}${change}${n.score.full ? '' : `, ${cutText(n.score)}`}`
}

function fixed(x: number): string {
  return x.toFixed(1)
}

function contexts(seed: Context, chosen: Context): string {
  const names = Object.keys(chosen)
  const parts = names.map((name) => {
    const [before, after] = [partText(seed[name] ?? ''), partText(chosen[name] ?? '')]
    const body =
      before === after ? `<pre>${escaped(after)}</pre><p class="small">unchanged</p>` : `<pre>${words(before, after)}</pre>`
    return names.length === 1 ? body : `<h3>${escaped(name)}</h3>\n${body}`
  })
  return parts.join('\n')
}

function words(before: string, after: string): string {
  return diffWordsWithSpace(before, after)
    .map(({ value, added, removed }) => {
      const text = escaped(value)
      return added ? `<ins>${text}</ins>` : removed ? `<del>${text}</del>` : text
    })
    .join('')
}

function problems(changes: readonly Change[]): string {
  if (changes.length === 0) return '<p>None.</p>'
  return changes
    .map(({ id, kind, before, after, seed, chosen }) => {
      const said = (title: string, rollout: Rollout | undefined): string =>
        rollout === undefined
          ? ''
          : `<div><h4>${title}, ${percent(rollout.score)}</h4><pre>${escaped(cut(answerOf(rollout)))}</pre></div>`
      const shown = chosen ?? seed
      const gold = shown?.gold === undefined ? '' : `<h4>Expected</h4><pre>${escaped(cut(shown.gold))}</pre>`
      return `<details>
<summary><span class="${kind}">${kind}</span> ${escaped(cut(oneLineOf(shown?.question ?? id), 120))} <span class="small">${percent(before)} → ${percent(after)}</span></summary>
<p class="small">${escaped(id)}</p>
<h4>Question</h4><pre>${escaped(cut(shown?.question ?? ''))}</pre>
${gold}
<div class="both">${said('Seed', seed)}${said('Chosen', chosen)}</div>
</details>`
    })
    .join('\n')
}

function answerOf({ answer, error, feedback }: Rollout): string {
  return [answer, error && `error: ${error}`, feedback && `feedback: ${feedback}`].filter(Boolean).join('\n\n')
}

function oneLineOf(text: string): string {
  return text.replace(/\s+/g, ' ').trim()
}

/** A page is for reading: beyond this many characters a text is cut, and says so. */
const longest = 6_000

function cut(text: string, length: number = longest): string {
  const chars = [...text]
  if (chars.length <= length) return text
  return `${chars.slice(0, length).join('')}… (${chars.length - length} characters more)`
}

const style = `
:root{color-scheme:light dark;--ink:#1d2330;--soft:#5b6475;--paper:#fff;--card:#f6f7f9;--rule:#dcdfe6;--line:#2c5fb3;--good:#1c6b3c;--bad:#a3292c;--ins:#d9f2e0;--del:#fbdfdf;--s0:#dbe6f7;--s1:#aec8ee;--s2:#7da6e0;--s3:#4a7fcb;--s4:#1f58a8}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa4b5;--paper:#14171d;--card:#1c2129;--rule:#323946;--line:#7fb0ff;--good:#7bd59a;--bad:#ff9c98;--ins:#1b4a2c;--del:#5a2528;--s0:#22324a;--s1:#2d4f7d;--s2:#3f72b3;--s3:#639be2;--s4:#a5cbff}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.5rem;line-height:1.3;margin:4px 0 8px;overflow-wrap:anywhere}
h1.good{color:var(--good)}
h2{font-size:1.1rem;margin:40px 0 12px}
h3,h4{font-size:.9rem;margin:12px 0 4px}
.small{color:var(--soft);font-size:.85rem;margin:6px 0;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));column-gap:40px;margin:0}
dl div{display:grid;grid-template-columns:8.5em 1fr;gap:8px;padding:5px 0;border-bottom:1px solid var(--rule)}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--card);border:1px solid var(--rule);border-radius:6px;padding:12px;margin:4px 0;font:.85rem/1.5 ui-monospace,Menlo,Consolas,monospace}
ins{background:var(--ins);text-decoration:none}
del{background:var(--del)}
svg{display:block}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
.label{paint-order:stroke;stroke:var(--paper);stroke-width:4px}
svg .axis{fill:var(--soft)}
.curve{width:100%;height:auto;max-width:900px}
.grid{stroke:var(--rule)}
.best{fill:none;stroke:var(--line);stroke-width:2}
.dot{fill:var(--line);fill-opacity:.55}
.scroll{overflow:auto;max-height:70vh;border:1px solid var(--rule);border-radius:6px}
.edge{fill:none;stroke:var(--soft);stroke-opacity:.5;stroke-width:1.5}
.second{stroke-dasharray:4 3}
circle{stroke:var(--soft);stroke-width:1}
.dot{stroke:none}
.chosen{stroke:var(--ink);stroke-width:3.5}
.leading{stroke:var(--ink);stroke-width:1.5}
.cut{stroke:var(--ink);stroke-width:1;stroke-dasharray:2 2}
.s0{fill:var(--s0)}.s1{fill:var(--s1)}.s2{fill:var(--s2)}.s3{fill:var(--s3)}.s4{fill:var(--s4)}
.race{fill:none;stroke-width:2}
.r0{stroke:var(--line)}.r1{stroke:var(--bad)}.r2{stroke:var(--good)}.r3{stroke:var(--soft)}.r4{stroke:var(--ink)}
.keys{columns:3 220px;list-style:none;padding:0;font-size:.85rem}
.keys svg{display:inline-block}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:4px 10px;border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
details{border-bottom:1px solid var(--rule);padding:6px 0}
summary{cursor:pointer;overflow-wrap:anywhere}
.fixed,.broken{font-size:.8rem;font-weight:600;border:1px solid;border-radius:4px;padding:0 6px;margin-right:4px}
.fixed{color:var(--good)}.broken{color:var(--bad)}
.both{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:12px}
.both div{min-width:0}
@media (max-width:480px){dl div{grid-template-columns:7em 1fr}.curve{min-width:520px}section:has(.curve){overflow-x:auto}}
@media print{.scroll{max-height:none}}
`
