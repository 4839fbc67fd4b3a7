// `lamarck --help`, as published, beside a bare Node: both timed as processes, one after the other, in turns. Needs `npm run build`.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const turns = 25

function seconds(args: readonly string[]): number {
  const began = performance.now()
  const { status } = spawnSync(process.execPath, args)
  if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}`)
  return (performance.now() - began) / 1000
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

const bare: number[] = []
const help: number[] = []
for (let i = 0; i < turns; i++) {
  bare.push(seconds(['-e', '0']))
  help.push(seconds([cli, '--help']))
}
const ratio = median(help) / median(bare)
console.log(
  `node -e 0: ${(1000 * median(bare)).toFixed(0)} ms; lamarck --help: ${(1000 * median(help)).toFixed(0)} ms; ${ratio.toFixed(2)} × (limit 3)`,
)
