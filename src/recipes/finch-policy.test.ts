import { expect, test } from 'vitest'
import { createCompany } from '../tasks/finch/company.ts'
import { formats } from '../tasks/finch/editors.ts'
import { observe } from '../tasks/finch/reward.ts'
import { finchWriter } from './finch.ts'
import { finchEngine, finchGrammar, policyParams } from './finch-policy.ts'

test('weights that never learned anything write edits that can be read, if they are drawn by the grammar', async () => {
  await using engine = await finchEngine({ workers: 1 })
  using company = createCompany({ set: 'dev', seed: 1 })
  const o = observe(company, company.notes, { seed: 1 })
  for (const format of formats) {
    const writer = finchWriter(format)
    const kinds = async (of: Awaited<ReturnType<typeof engine.policy>>): Promise<readonly string[]> => {
      const answers = await of.sample(writer.write(o), { ...policyParams, n: 8, seed: 1 })
      return answers.map((answer) => writer.read(answer.text, o).kind)
    }
    expect(await kinds(await engine.policy({ grammar: finchGrammar(format) }))).toEqual(Array(8).fill('edit'))
    expect(await kinds(await engine.policy())).toEqual(Array(8).fill('invalid'))
  }
})

test('an answer that has no room for its shortest form is refused before it is drawn', async () => {
  await using engine = await finchEngine({ workers: 1 })
  const policy = await engine.policy({ grammar: finchGrammar('rewrite') })
  const asked = policy.sample([{ role: 'user', content: 'notes\n' }], { maxTokens: 5 })
  await expect(asked).rejects.toThrow(/\+grammar: the shortest answer of its grammar has 6 tokens, and 5 are allowed$/)
})
