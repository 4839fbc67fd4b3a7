// Scripted stand-ins for a model and an evolver, so that everything can be seen at work without a key, a network or a cent. They are
// named `simulated:…` wherever they appear; what they do says nothing about language models.
import type { Completion, Message, Model, Params } from '../core/model.ts'
import { bytes } from '../core/model.ts'
import { rng } from '../core/rng.ts'
import { simulatedPrefix } from '../report.ts'
import { conventions, sqlOf, understand } from './shop.ts'

/** Share of words an analyst without rules guesses right. */
const guess = 0.3
/** Share of answers that slip although the rule is known. */
const slip = 0.05

/** Answers the shop's questions: follows the rules it finds in the context, else guesses. */
export function analyst(): Model {
  return simulated('analyst', (messages, params) => {
    const rules = messages[0]?.role === 'system' ? messages[0].content : ''
    const last = messages.at(-1)?.content ?? ''
    const found = last.split('\n').flatMap((line) => understand(line.replace(/^question:\s*/i, '').trim()) ?? [])[0]
    if (!found) return 'I do not understand the question. <answer>SELECT 1</answer>'
    const { convention, ask } = found
    const draw = rng(params.seed ?? 0, last)
    const rule = rules.split('\n').find((line) => line.toLowerCase().includes(convention.word))
    const ruled = convention.meanings.find((m) => rule?.includes(m))
    const meaning = ruled && draw() >= slip ? ruled : draw() < guess ? convention.meanings[0] : convention.meanings[1]!
    const thought = ruled ? `The shop says what ${convention.word} are.` : `I take "${convention.word}" to mean ${meaning}.`
    return `${thought} <answer>${sqlOf(convention, ask, meaning)}</answer>`
  })
}

/** Reads the evolver's prompt and adds rules for words that were answered wrong; now and then it errs, as models do. */
export function editor(): Model {
  return simulated('editor', (messages, params) => {
    const prompt = messages.map((m) => m.content).join('\n')
    const draw = rng(params.seed ?? 0, prompt)
    const context = /# Current context\n<<<\S+\n([\s\S]*?)\nDATA-\S+>>>/.exec(prompt)?.[1] ?? ''
    const wrong = prompt.split('## Problem ').filter((block) => /^\d+: wrong/.test(block))
    const lines = wrong.flatMap((block) => ruleFor(block))
    const fresh = [...new Set(lines)].filter((line) => !context.includes(line)).slice(0, 2)
    const mood = draw()
    if (mood < 0.1) return 'The context should say more about what the words of this shop mean.'
    const kept = mood < 0.2 ? context.split('\n').slice(0, -1) : context.split('\n')
    const added = fresh.length ? fresh : ['Read the question twice before you answer.']
    return `${wrong.length} answers were wrong; their words have a meaning of the shop's own.\n<prompt>\n${[...kept, ...added].join('\n')}\n</prompt>`
  })
}

function ruleFor(block: string): readonly string[] {
  const gold = /^Expected: (.*)$/m.exec(block)?.[1] ?? ''
  const hit = conventions.find((c) => block.includes(c.word) && gold.includes(c.meanings[0]))
  return hit ? [`"${hit.word}" means: ${hit.meanings[0]}`] : []
}

function simulated(name: string, answer: (messages: readonly Message[], params: Params) => string): Model {
  return {
    name: `${simulatedPrefix}${name}`,
    async sample(messages, params) {
      const input = Math.ceil(messages.reduce((sum, m) => sum + bytes(m.content), 0) / 3)
      return Array.from({ length: params.n ?? 1 }, (_, i): Completion => {
        const text = answer(messages, { ...params, seed: (params.seed ?? 0) + i })
        return { text, finish: 'stop', usage: { input, cached: 0, output: Math.ceil(bytes(text) / 3), reasoning: 0 } }
      })
    },
  }
}
