// The door of `lamarck/engines/tinker`: an engine that trains over the Tinker API, and the tokenizer that it needs.
export { chatTokenizer } from './chat-tokenizer.ts'
export { type ClientOptions, tinkerClient } from './client.ts'
export { type TinkerEngine, type TinkerOptions, tinkerEngine } from './tinker-engine.ts'
export type { Tokenizer } from './tokenizer.ts'
