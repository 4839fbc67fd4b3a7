import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ConfigError } from '../core/errors.ts'
import { birth, thisProcess } from '../stores/holder.ts'
import { hold } from './training-folder.ts'

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'lamarck-folder-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

test('a folder that a living training holds is refused; once that one is killed, it is free', async () => {
  const at = folder()
  const other = spawn(process.execPath, ['-e', 'process.stdin.resume()'])
  const pid = other.pid ?? 0
  writeFileSync(join(at, 'holder.json'), JSON.stringify({ ...thisProcess(), pid, birth: birth(pid) }))
  expect(() => hold(at)).toThrow(
    new RegExp(`is held by another training \\(pid ${pid} on .*\\): wait for it, or give another folder`),
  )
  other.kill('SIGKILL')
  await once(other, 'exit')
  {
    using _ = hold(at)
    expect(existsSync(join(at, 'holder.json'))).toBe(true)
  }
  expect(existsSync(join(at, 'holder.json'))).toBe(false)
})

test('a holder that was killed while it wrote its name holds nothing', () => {
  const at = folder()
  writeFileSync(join(at, 'holder.json'), '{"host":"x","pi')
  using _ = hold(at)
})

test('a folder that is a file is refused in one line', () => {
  const at = join(folder(), 'file')
  writeFileSync(at, 'mine')
  expect(() => hold(at)).toThrow(ConfigError)
  expect(() => hold(at)).toThrow(/file can't be written: EEXIST: .*; make room, or give another folder$/)
})
