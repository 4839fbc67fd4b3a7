// Installs SkyRL's server of the Tinker API for the CPU (1 GB) into a cache folder outside the clone, once, and prints its Python. Needs Python
// 3.11 or newer with venv. SkyRL asks for more than a text-only server on a CPU needs: it is installed without what it asks for.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** What `requirements.txt` is for. `tinker` holds the binary messages that the server reads. */
const servers = ['tinker==0.25.0', 'skyrl==0.4.0']

export interface Installed {
  readonly python: string
  /** For files that are worth keeping between runs. */
  readonly folder: string
}

/** Gives back what is there, or takes one to three minutes. */
export function installSkyrl(): Installed {
  const requirements = fileURLToPath(new URL('requirements.txt', import.meta.url))
  const version = createHash('sha256').update(readFileSync(requirements)).update(servers.join()).digest('hex').slice(0, 12)
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'lamarck', 'skyrl')
  const venv = join(folder, version)
  const python = join(venv, 'bin', 'python')
  const done = join(venv, 'installed')
  if (existsSync(done)) return { python, folder }
  mkdirSync(folder, { recursive: true })
  rmSync(venv, { recursive: true, force: true })
  const run = (program: string, ...args: string[]): void => void execFileSync(program, args, { stdio: ['ignore', 2, 2] })
  const pip = (...args: string[]): void => run(python, '-m', 'pip', 'install', '--quiet', '--no-compile', '--no-deps', ...args)
  run('python3', '-m', 'venv', venv)
  pip('--requirement', requirements)
  pip('--ignore-requires-python', ...servers)
  writeFileSync(`${done}.part`, '')
  renameSync(`${done}.part`, done)
  return { python, folder }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) console.log(installSkyrl().python)
