// Lines of the tables that benchmarks print, and that `all.ts` puts into docs/benchmarks.md.
import { loadavg } from 'node:os'

/** One line of a Markdown table. */
export function row(...cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

/** The first two lines of a table. */
export function head(...cells: readonly string[]): string {
  return `${row(...cells)}\n${row(...cells.map(() => '---'))}`
}

/** A measured value against the most it may be. */
export function bar(value: number, most: number, unit: string): string {
  return `≤ ${most} ${unit}: ${value <= most ? 'met' : 'MISSED'}`
}

/** Processes that wanted a core in the last minute, by the system's count: other work shows here. */
export function load(): string {
  return loadavg()[0]!.toFixed(1)
}

/** Milliseconds of CPU, user and system, since `from`. */
export function cpuSince(from: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(from)
  return (user + system) / 1000
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!
}
