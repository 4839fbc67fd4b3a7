// Preloaded into a process that is to be killed: stops it for good at a statement of its SQLite store and says where on descriptor 3.
// What kills it is the test's SIGKILL. LAMARCK_TEST_KILL = JSON of a Moment; without one it only says when its first call is about to be made.
import { writeSync } from 'node:fs'
import { StatementSync } from 'node:sqlite'

/** Where a process stops. */
export interface Moment {
  /** How many statements it may run; counted from the fact that the search stopped, if `closing`. */
  readonly statements: number
  readonly closing?: boolean
  /** Goes on to the next statement inside a transaction. */
  readonly inTransaction?: boolean
}

/** What the process says before it waits to be killed. */
export interface Stopped {
  readonly kind: 'calling' | 'stopped'
  readonly inTransaction: boolean
}

const moment = JSON.parse(process.env.LAMARCK_TEST_KILL || 'null') as Moment | null // the test wrote it
let left = moment?.statements ?? Number.POSITIVE_INFINITY
let counts = moment?.closing !== true
let isCalling = false
let inTransaction = false

type Method = (this: StatementSync, ...values: Parameters<StatementSync['run']>) => unknown

for (const name of ['run', 'all'] as const) {
  const method = StatementSync.prototype[name] as Method
  // as: both take the same values; the driver only uses what they return
  StatementSync.prototype[name] = function (this: StatementSync, ...values: Parameters<StatementSync['run']>) {
    const sql = this.sourceSQL
    if (!isCalling && sql.startsWith('insert into "journal"')) {
      say('calling')
      isCalling = true
    }
    if (counts && left-- <= 0 && (inTransaction || !moment?.inTransaction)) {
      say('stopped')
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    }
    const result = method.apply(this, values)
    if (sql.startsWith('begin')) inTransaction = true
    if (sql === 'commit' || sql === 'rollback') inTransaction = false
    if (sql.startsWith('insert into "facts"') && values.some((v) => String(v).includes('"kind":"stopped"'))) counts = true
    return result
  } as never
}

function say(kind: Stopped['kind']): void {
  writeSync(3, `${JSON.stringify({ kind, inTransaction } satisfies Stopped)}\n`)
}
