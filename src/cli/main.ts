#!/usr/bin/env node
// The entry of `lamarck`. It holds nothing that an older Node can't parse: what comes after the check is loaded by name.
const major = Number(process.versions.node.split('.')[0])
if (major < 24) {
  console.error(
    `lamarck needs Node 24 or newer and this is ${process.version}: npm install node@24 in your project, or https://nodejs.org`,
  )
  process.exitCode = 2
} else {
  const { main } = await import('./program.ts')
  await main(process.argv)
}
