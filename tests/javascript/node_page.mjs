// A page in Node: reads commands, [name, ...arguments] as lines of JSON, and writes what happens the same way.
// Run as: node node_page.mjs FOLDER_WITH_NODE_MODULES OPTIONS

import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { openPage } from './page.mjs'

const [folder, options] = process.argv.slice(2)
const require = createRequire(`${folder}/package.json`)
const { RealtimeClient } = require('@supabase/realtime-js')

const tell = (message) => process.stdout.write(JSON.stringify(message) + '\n')
const page = openPage(RealtimeClient, { ...JSON.parse(options), transport: require('ws') }, tell)
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...rest] = JSON.parse(line)
  page[name](...rest)
}
process.exit(0)
