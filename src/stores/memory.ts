// A store that lives as long as its process: for tests, and for runs that nobody will resume. Keeps JSON, as the others do, so that
// nothing kept can change afterwards.

import { addCost, noCost } from '../core/budget.ts'
import { StoreError } from '../core/errors.ts'
import type { Fact, Steer } from '../core/facts.ts'
import type { Entry, RunRow, Store } from '../core/store.ts'

/** How much a store in memory keeps. */
export interface MemoryOptions {
  /** `false`: no journal, which takes far more room than all else; a run that stops early can't go on. */
  readonly journal?: boolean
}

/** An empty store in memory. */
export function memoryStore({ journal: keepsJournal = true }: MemoryOptions = {}): Store {
  const runs = new Map<string, RunRow>()
  const facts = new Map<string, string[]>()
  const journals = new Map<string, Map<string, Entry>>()
  const holders = new Map<string, string>()
  const inboxes = new Map<string, string[]>()
  const given = new Map<string, number>()
  const measures = new Map<string, string>()

  return {
    async create(row) {
      if (runs.has(row.id)) throw new StoreError(`run "${row.id}" is already in the store in memory: take another id`)
      runs.set(row.id, { ...row })
    },
    async runs() {
      return [...runs.values()].sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1))
    },
    async append(run, more, expected) {
      const kept = ofRun(facts, run, () => [])
      if (kept.length !== expected)
        throw new StoreError(`run "${run}" has ${kept.length} facts, expected ${expected}: something else wrote to it; resume it`)
      kept.push(...more.map((fact) => JSON.stringify(fact)))
      ofRun(inboxes, run, () => []).splice(0, given.get(run) ?? 0)
      given.delete(run)
    },
    async facts(run, from = 0) {
      return (facts.get(run) ?? []).slice(from).map((fact) => JSON.parse(fact) as Fact) // only `append` writes facts
    },
    journal(run) {
      const entries = ofRun(journals, run, () => new Map())
      return {
        read: async (round) => [...entries.values()].filter((entry) => entry.round === round),
        put: async (entry) => {
          if (!keepsJournal) return
          const { bound, cost } = entry
          entries.set(`${entry.round} ${entry.key}`, { ...entry, bound: { ...bound }, ...(cost && { cost: { ...cost } }) })
        },
        spent: async () => {
          const all = [...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry)
          const done = all.filter((entry) => entry.outcome !== undefined).map((entry) => entry.cost ?? noCost)
          const lost = all.filter((entry) => entry.outcome === undefined).map((entry) => entry.bound)
          return { done: done.reduce(addCost, noCost), lost: lost.reduce(addCost, noCost) }
        },
      }
    },
    async lease(run, owner) {
      const holder = holders.get(run)
      if (holder !== undefined)
        throw new StoreError(`run "${run}" is held by "${holder}" of this process: wait for it, or start another run`)
      holders.set(run, owner)
      let held = true
      return {
        async [Symbol.asyncDispose]() {
          if (held) holders.delete(run)
          held = false
        },
      }
    },
    async steer(run, steer) {
      ofRun(inboxes, run, () => []).push(JSON.stringify(steer))
    },
    async inbox(run) {
      const left = ofRun(inboxes, run, () => [])
      given.set(run, left.length)
      return left.map((steer) => JSON.parse(steer) as Steer) // only `steer` writes here
    },
    async measure(run, measured) {
      measures.set(run, measured)
    },
    async measured(run) {
      return measures.get(run)
    },
    async [Symbol.asyncDispose]() {},
  }
}

function ofRun<T>(all: Map<string, T>, run: string, empty: () => T): T {
  const found = all.get(run) ?? empty()
  all.set(run, found)
  return found
}
