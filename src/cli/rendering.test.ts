// What is printed, as pure functions of what is known.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toyOptions, toyReport, toyState } from '../../test/toy-report.ts'
import { ConfigError } from '../core/errors.ts'
import { intoFile } from './apply.ts'
import { contextDiff } from './diff.ts'
import { keepable, overridesOf, together, withOverrides } from './overrides.ts'
import { escaped, page } from './page.ts'
import { changedOf, reportText } from './report-text.ts'
import { fold, progressParts, Screen } from './screen.ts'
import { table } from './table.ts'
import { oneLine, type Paint, safe } from './terminal.ts'
import { treeLines } from './tree-text.ts'
import { clock } from './words.ts'

const plain = { paint: (_: Paint, text: string): string => text }
const marked = { paint: (how: Paint, text: string): string => `<${how}>${text}</>` }

describe('report', () => {
  test('the verdict comes first, and what it rests on follows', () => {
    const lines = reportText(toyReport(), plain).split('\n')
    expect(lines[0]).toBe('improved: +25.0 points on 4 test problems, 95 % interval +5.0 to +45.0')
    expect(lines.length).toBeLessThan(27)
    const text = lines.join('\n')
    expect(text).toMatch(/^test +50\.0 % \(40\.0 to 60\.0\) → 75\.0 % \(65\.0 to 85\.0\)$/m)
    expect(text).toMatch(/^problems +2 better, 1 worse, 1 the same$/m)
    expect(text).toMatch(/^holdout +40\.0 % → 70\.0 % {2}selected on: it flatters$/m)
    expect(text).toMatch(/^overlap +train 60\.0 % \(1 example copied\), holdout 0\.0 %, test 10\.0 %$/m)
    expect(text).toMatch(/^rounds +5: 3 nodes, 2 without a usable edit$/m)
    // 1 of answers, 0.5 of edits, 0.02 lost
    expect(text).toMatch(/^cost +51 calls, 5,000 tokens, \$1\.52 of \$5\.00$/m)
    expect(text).toMatch(/^ +failed 3 calls, 0 tokens/m)
    expect(text).toMatch(/^time +3:07, in 2 lives, 3 failed calls made again$/m)
  })

  test('says what a cut test, a second opening and a simulated model mean', () => {
    const cut = reportText(toyReport({ asked: 9, openings: 2, simulated: true }), plain)
    expect(cut).toMatch(/^simulated model: shows the machinery, no improvement is claimed/)
    expect(cut).toContain('4 problems of 9: the budget ended × 1, opened 2 times: no longer untouched')
  })

  test('says how many edits were cut short, and what the generations were chosen by', () => {
    const counts = { ...toyReport().counts, cut: 2 }
    const text = reportText(toyReport({ counts, noise: { within: 0.2, between: 0.05, draws: 2 } }), plain)
    expect(text).toMatch(/^rounds +5: 3 nodes, 2 cut short, 2 without a usable edit$/m)
    expect(text).toMatch(
      /^noise +variance 0\.200 of one answer, 0\.050 between problems, on the seed: 2 generations a holdout problem$/m,
    )
  })

  test('problems are fixed and broken by their mean score', () => {
    expect(changedOf(toyReport())).toEqual({ fixed: ['t1', 't2'], broken: ['t3'], same: 1 })
  })
})

describe('tree', () => {
  test('an only child stands under its parent, siblings are hooked', () => {
    const state = toyState([
      [undefined, 0.4],
      [0, 0.5],
      [0, 0.3],
      [1, 0.6],
      [1, 0.7],
      [4, 0.7],
    ])
    expect(treeLines(state, { chosen: 4 })).toEqual([
      '0  40.0 %  ← seed',
      '├─ 1  50.0 %  +10.0 from 0',
      '│  ├─ 3  60.0 %  +10.0 from 1',
      '│  └─ 4  70.0 %  +20.0 from 1  ← chosen',
      '│     5  70.0 %  0.0 from 4',
      '└─ 2  30.0 %  −10.0 from 0',
    ])
  })

  test('a node that was cut short shows how many answers it has, and its interval', () => {
    const { nodes, flagged } = toyState([[undefined, 0.4]])
    const cut = { per: { b: 0 }, mean: 0.1, draws: 1, full: false, n: 25, interval: [0, 0.3] } as const
    const part = { ...nodes[0]!, id: 1, parents: [0], round: 1, score: cut }
    const state = { nodes: [nodes[0]!, part], flagged, best: nodes[0] }
    expect(treeLines(state)[1]).toBe('1  10.0 %  −30.0 from 0  ← cut short after 25 answers: 80 % interval 0.0 % to 30.0 %')
    const html = page({ report: toyReport(), state, createdAt: 0, changes: [] })
    expect(html).toContain('cut short after 25 answers: 80 % interval 0.0 % to 30.0 %')
    expect(html).toMatch(/class="s\d cut"/)
  })

  test('a chain of thousands neither overflows nor is wider than its first line', () => {
    const state = toyState(Array.from({ length: 5000 }, (_, i) => [i === 0 ? undefined : i - 1, 0.5] as const))
    const lines = treeLines(state, { limit: Number.POSITIVE_INFINITY })
    expect(lines).toHaveLength(5000)
    expect(lines.at(-1)).toBe('4999  50.0 %  0.0 from 4998')
  })

  test('a large tree shows the way to the chosen node and how many are beside it', () => {
    const state = toyState(Array.from({ length: 100 }, (_, i) => [i === 0 ? undefined : 0, i / 200] as const))
    expect(treeLines(state, { chosen: 7 })).toEqual([
      '0  0.0 %  ← seed',
      '7  3.5 %  +3.5 from 0  ← chosen',
      '… and 98 nodes beside the way to node 7: lamarck report --html shows all',
    ])
  })
})

describe('progress', () => {
  const spent = { calls: 1234, tokens: 9, usd: 0.5 }
  test('says round, best with its interval, spend against budget, calls in flight, time left', () => {
    const state = toyState([
      [undefined, 0.4],
      [0, 0.5],
    ])
    state.editsPlanned = 2
    const parts = progressParts({ state, options: toyOptions, inFlight: 7, spent, seconds: 65 }, { at: 5, settled: 0 })
    // 2 of 5 rounds in 60 s: 3 more take 90 s
    expect(parts).toEqual([
      'round 3 of 5',
      'best 50.0 % (50.0 to 50.0) node 1',
      'seed 40.0 %',
      '$0.5000 of $5.00',
      '1,234 calls',
      '7 in flight',
      '1:05',
      'about 1:30 left',
    ])
  })

  test('the block is taken away before a line is printed, drawn again below it, and gone in the end', () => {
    const state = toyState([[undefined, 0.4]])
    const written: string[] = []
    const print = (text: string): void => void written.push(text)
    const terminal = { ...plain, columns: 40, say: print, out: print, warn: print, draw: print }
    const screen = new Screen(terminal, () => ({ state, options: toyOptions, inFlight: 0, spent, seconds: 1 }))
    screen.above(() => print('one\n'))
    screen.above(() => print('two\n'))
    screen[Symbol.dispose]()
    const block = 'round 1 of 5\nbest 40.0 % (40.0 to 40.0) node 0\n$0.5000 of $5.00 · 1,234 calls\n0 in flight · 0:01\n'
    const away = '\r\u001b[4A\u001b[0J'
    expect(written.join('')).toBe(`one\n${block}${away}two\n${block}${away}`)
  })

  test('no line is wider than the screen, whatever the width', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 50 })), fc.integer({ min: 10, max: 120 }), (parts, columns) => {
        for (const line of fold(parts, columns)) expect(line.length).toBeLessThanOrEqual(columns)
      }),
    )
    expect(fold(['abc', 'def', 'ghi'], 9)).toEqual(['abc · def', 'ghi'])
  })
})

describe('diff', () => {
  test('unchanged parts are left out; lines with - and + beside those that stayed', () => {
    const before = { a: 'one\ntwo\nthree', b: 'same' }
    expect(contextDiff(before, { a: 'one\n2\nthree', b: 'same' }, plain)).toBe('# a\n one\n-two\n+2\n three')
    expect(contextDiff(before, before, plain)).toBe('')
  })

  test('on a colour screen the changed words stand out', () => {
    const text = contextDiff({ a: 'say it now' }, { a: 'say it later' }, marked)
    expect(text).toContain('<red>-</><red>say it </><bold><red>now</></>')
    expect(text).toContain('<green>+</><green>say it </><bold><green>later</></>')
  })

  test('examples are compared as text', () => {
    expect(contextDiff({ e: [] }, { e: [{ input: 'x', output: 'y' }] }, plain)).toContain('+input: x\n+output: y')
  })
})

describe('apply', () => {
  const into = { file: 'f', known: ['old'], force: false }
  test('the text takes the place of an earlier one, or of nothing', () => {
    expect(intoFile('old\n', 'new', into)).toBe('new')
    expect(intoFile('', 'new', into)).toBe('new')
    expect(() => intoFile('else', 'new', into)).toThrow(ConfigError)
    expect(intoFile('else', 'new', { ...into, force: true })).toBe('new')
  })

  test('marks keep what is outside them', () => {
    expect(intoFile('a <!-- evolve -->x<!-- /evolve --> b', 'new', into)).toBe('a <!-- evolve -->new<!-- /evolve --> b')
    expect(intoFile('a\n<!-- evolve -->\nx\ny', 'new', into)).toBe('a\n<!-- evolve -->\nnew\n')
    expect(() => intoFile('<!-- evolve --><!-- /evolve --><!-- evolve -->', 'new', into)).toThrow('f has 2 regions')
  })

  test('a context with marks of its own goes in only where the rest is what was scored', () => {
    const text = 'a <!-- evolve -->new<!-- /evolve --> b'
    expect(intoFile('a <!-- evolve -->x<!-- /evolve --> b', text, into)).toBe(text)
    expect(() => intoFile('z <!-- evolve -->x<!-- /evolve --> b', text, into)).toThrow('not the one that was scored')
  })
})

describe('overrides', () => {
  test('flags go over what the run was started with, limits one by one', () => {
    const first = overridesOf({ model: 'a:b', maxUsd: 5, maxCalls: 10, stopAfter: 3 })
    expect(first).toEqual({ model: 'a:b', budget: { usd: 5, calls: 10 }, stop: { after: 3 } })
    expect(together(first, overridesOf({ maxUsd: 9, rounds: 4 }))).toMatchObject({ rounds: 4, budget: { usd: 9, calls: 10 } })
    const config = { file: 'f', options: { rounds: 2, budget: { tokens: 7 } } }
    expect(withOverrides(config, first)).toMatchObject({ rounds: 2, model: 'a:b', budget: { usd: 5, calls: 10, tokens: 7 } })
    expect(together(overridesOf({}))).toEqual({})
  })

  test('racing is the config’s affair unless it is turned off', () => {
    expect(overridesOf({ racing: true })).toEqual({}) // what the command line says of itself
    expect(keepable(overridesOf({ racing: false }))).toEqual({ racing: false })
  })

  test('a base URL is kept without name, password and query', () => {
    expect(keepable({ baseUrl: 'https://me:pw@host:1/v1?key=x', model: 'a:b' })).toEqual({
      baseUrl: 'https://host:1/v1',
      model: 'a:b',
    })
    expect(keepable({ baseUrl: 'nonsense:pw@' })).toEqual({})
  })
})

describe('page', () => {
  const state = toyState([
    [undefined, 0.4],
    [0, 0.5],
    [1, 0.7],
  ])
  const evil = `</script><img src=x onerror=alert(1)>"'>]]>--><svg onload=alert(1)>\u202e\u0000`
  const rollout = { exampleId: evil, draw: 0, score: 1, feedback: evil, question: evil, answer: evil, gold: evil, error: evil }
  const change = { id: evil, kind: 'fixed', before: 0, after: 1, seed: rollout, chosen: rollout } as const

  test('what others wrote is text, wherever it stands', () => {
    const names = { task: evil, method: evil, model: evil, evolver: evil, judge: evil, tokenizer: evil }
    const report = toyReport({ names, seedContext: { [evil]: evil }, chosenContext: { [evil]: `${evil}${evil}`, b: '' } })
    const html = page({ report, state, createdAt: 0, changes: [change] })
    const tags = new Set([...html.matchAll(/<([a-z]+)/g)].map(([, tag]) => tag))
    for (const tag of ['img', 'script', 'iframe', 'a', 'link']) expect(tags).not.toContain(tag)
    expect(html).not.toMatch(/<[^>]*\bon\w+=/)
    for (const stray of ['<svg onload', '\u202e', '\u0000']) expect(html).not.toContain(stray)
    expect(html.match(/<svg/g)).toHaveLength(2)
  })

  test('asks for nothing: no address, no script, a policy that allows one style', () => {
    const html = page({ report: toyReport(), state, createdAt: 0, changes: [] })
    expect(html).toMatch(/content="default-src 'none'; style-src 'sha256-[\w+/=]{44}'; base-uri 'none'; form-action 'none'"/)
    expect(html).not.toMatch(/https?:|url\(|@import|\bsrc=|style="/)
  })

  test('escaped text has no character that means something in HTML', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(escaped(text)).not.toMatch(/[<>"']|&(?!(amp|lt|gt|quot|#39);)/)
      }),
    )
  })

  test('a chain of thousands is drawn', () => {
    const long = toyState(Array.from({ length: 3000 }, (_, i) => [i === 0 ? undefined : i - 1, (i % 7) / 10] as const))
    expect(page({ report: toyReport(), state: long, createdAt: 0, changes: [] }).match(/<circle/g)).toHaveLength(6000)
  })
})

describe('words', () => {
  test('text of others can’t steer a terminal', () => {
    expect(safe('a\u001b[31mred\u001b[0m\u001b]0;title\u0007\r\u0008\u202eb\n\tc')).toBe('aredb\n\tc')
    expect(oneLine('  a \n b  c\t', 4)).toBe('a b…')
  })

  test('times and columns', () => {
    expect([clock(0), clock(187), clock(3729)]).toEqual(['0:00', '3:07', '1:02:09'])
    expect(
      table(
        [
          ['a', 'b', 'c'],
          ['aaa', '1', ''],
        ],
        [1],
      ),
    ).toBe('a    b  c\naaa  1')
  })
})
