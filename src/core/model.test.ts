import { expect, test } from 'vitest'
import { bytes } from './model.ts'

test.each(['', 'late', 'déjà vu', '注文', 'a😀b', '😀', '\ud83d', '\ude00\ud83dx', '\u007f\u0080\u07ff\u0800\uffff'])(
  'the bytes of %j are those that UTF-8 takes',
  (text) => {
    expect(bytes(text)).toBe(Buffer.byteLength(text))
  },
)
