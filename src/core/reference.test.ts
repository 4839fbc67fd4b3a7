// Replays what the reference code did (test/golden/reference.json; the script named in it wrote it). Where we part from it on purpose:
// 1. best, equal scores: we take the lowest id, the code the deepest and then the highest id. The score chosen is the same.
// 2. newest: the last node; the code's `deepest` is the deepest. Its own runs with `deepest` are chains, where both are the same.
// 3. repeats: a run longer than 4,096 characters is cut whole, and what a cut lays bare is cut too.
// 4. logit reward: finite where the code gives −∞.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { truncateRepeats } from './repeats.ts'
import { invalidReward, logitReward, reward } from './reward.ts'
import { type Selection, Tree } from './tree.ts'
import { parseTree, renderTree } from './tree-json.ts'

interface Golden {
  readonly selections: {
    readonly root: number
    readonly scores: Readonly<Record<string, readonly (number | null)[]>>
    readonly runs: readonly {
      readonly scores: string
      readonly selection: 'ucb' | 'best' | 'deepest'
      readonly c: number
      readonly picked: readonly number[]
    }[]
  }
  readonly rewards: readonly {
    readonly before: number
    readonly after: number
    readonly score: number
    readonly reward: number
  }[]
  readonly advantages: readonly {
    readonly before: readonly number[]
    readonly after: readonly (number | null)[]
    readonly option: string
    readonly delta: readonly number[]
    readonly logit_delta: readonly (number | string)[]
  }[]
  readonly repeats: readonly { readonly text: string; readonly once: number; readonly settled: number }[]
  readonly tree: unknown
}

const golden = JSON.parse(readFileSync('test/golden/reference.json', 'utf8')) as Golden // written by the script it names

/** Grows a tree by select and insert; `follow` = the picks to make in its place. */
function grow(scores: readonly (number | null)[], selection: Selection, follow?: readonly number[]): number[] {
  const tree = new Tree()
  tree.insert(golden.selections.root)
  return scores.map((score, i) => {
    const id = tree.select(selection)!
    tree.visit(follow?.[i] ?? id)
    tree.insert(score ?? Number.NaN)
    return id
  })
}

const kinds = { best: 'best', deepest: 'newest' } as const

test.each(golden.selections.runs)(
  '$selection with c = $c on $scores scores picks the nodes that the reference code picks',
  (run) => {
    const scores = golden.selections.scores[run.scores]!
    const selection: Selection = run.selection === 'ucb' ? { kind: 'ucb', c: run.c } : { kind: kinds[run.selection] }
    const picked = grow(scores, selection)
    const all = [golden.selections.root, ...scores]
    // Deviation 1; c = 0 is `best` with the code's ucb ties, which are ours.
    if (run.selection === 'best') expect(picked.map((id) => all[id])).toEqual(run.picked.map((id) => all[id]))
    else expect(picked).toEqual(run.picked)
  },
)

test('the reference runs would tell another constant', () => {
  const run = golden.selections.runs.find((r) => r.scores === 'fine' && r.selection === 'ucb' && r.c === 0.1)!
  expect(grow(golden.selections.scores.fine!, { kind: 'ucb', c: 0.2 })).not.toEqual(run.picked)
})

test('the reward of an edit is the reference reward, also of an invalid one', () => {
  expect(golden.rewards.some((r) => r.score === invalidReward)).toBe(true)
  for (const r of golden.rewards) expect(reward(r.before, r.score === invalidReward ? undefined : r.after)).toBe(r.reward)
})

test('delta and log odds agree with the advantages of the reference trainer', () => {
  const plain = golden.advantages.filter((a) => a.option === 'none')
  expect(plain).toHaveLength(5)
  for (const batch of plain) {
    batch.after.forEach((after, i) => {
      expect(reward(batch.before[i]!, after ?? undefined)).toBeCloseTo(batch.delta[i]!, 12)
      const expected = batch.logit_delta[i]!
      if (typeof expected === 'number') expect(logitReward(batch.before[i]!, after ?? undefined)).toBeCloseTo(expected, 9)
      else expect(logitReward(batch.before[i]!, after ?? undefined)).toBeLessThan(-10) // deviation 4
    })
  }
})

test('repeats are cut where the reference code cuts them', () => {
  expect(golden.repeats.filter((r) => r.once < r.text.length).length).toBeGreaterThan(30)
  for (const { text, settled } of golden.repeats) {
    const cut = truncateRepeats(text)
    // Deviation 3. The code leaves up to 4,095 characters of a longer run, however often it is called.
    if (settled > 0 && text.length - settled > 4096) expect(cut.length).toBeLessThanOrEqual(settled)
    else expect(cut).toBe([...text].slice(0, settled).join(''))
  }
})

test('a tree.json of the reference code comes back the same', () => {
  const tree = parseTree(golden.tree)
  expect(renderTree(tree)).toEqual(golden.tree)
  expect(tree).toMatchObject({ selection: 'ucb', c: 0.5, nextId: 4, picks: 3, root: 0 })
  expect(tree.nodes.map((n) => n.performance)).toEqual([0.5, 0.625, 0.25, undefined])
})
