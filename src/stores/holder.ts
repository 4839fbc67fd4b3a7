// Who holds a lease, and whether they still live. On one machine the process table knows; elsewhere only the heartbeat does.
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { kill, pid } from 'node:process'

export interface Holder {
  readonly host: string
  readonly pid: number
  /** When the process started, in the system's own words: a reused pid has another birth. 'unknown' where the system doesn't say. */
  readonly birth: string
}

export interface LeaseOptions {
  /** Name of this machine. */
  readonly host?: string
  /** How long a holder on another machine may be silent before it counts as dead. */
  readonly patience?: number // ms
  /** How often a holder writes that it lives. */
  readonly beat?: number // ms
}

export function thisProcess(host: string = hostname()): Holder {
  return { host, pid, birth: birth(pid) ?? 'unknown' }
}

/** Whether the holder lives, as far as `host` can tell; `silence` = milliseconds since its last heartbeat. */
export function isAlive(holder: Holder, host: string, { silence, patience }: { silence: number; patience: number }): boolean {
  if (holder.host !== host) return silence < patience
  const born = birth(holder.pid)
  if (born === undefined) return false
  return born === 'unknown' || holder.birth === 'unknown' ? silence < patience : born === holder.birth
}

/** The birth of a process of this machine; undefined if there is none. A killed process that its parent has not reaped is none. */
export function birth(process: number): string | undefined {
  if (!exists(process)) return undefined
  const stat = readIfThere(`/proc/${process}/stat`)
  if (stat === undefined) return exists(process) ? 'unknown' : undefined
  // The command's name, in parentheses, may hold anything; the fields after it start with the state, and the 20th is the start time.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined
  return `${readIfThere('/proc/sys/kernel/random/boot_id')?.trim() ?? ''}/${fields[19] ?? ''}`
}

function exists(process: number): boolean {
  try {
    return kill(process, 0)
  } catch (error) {
    // EPERM: it lives, and belongs to someone else.
    return (error as NodeJS.ErrnoException).code === 'EPERM' // kill throws system errors only
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // no /proc on this system, or the process is gone or hidden: the caller asks otherwise
    return undefined
  }
}
