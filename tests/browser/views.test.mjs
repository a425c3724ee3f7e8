import assert from 'node:assert/strict'
import { test } from 'node:test'

import { createRefresh } from '../../browser/refreshd.js'
import { isDataType, isSymbol, lobbyOf, packViews, ticketEndsAt } from '../../browser/views.js'

const sizeOf = (payload) => new TextEncoder().encode(JSON.stringify(payload)).length

test('symbols and data types are those that refreshd could know', () => {
  for (const symbol of ['AAPL', '^GSPC', 'BRK-B', 'EURUSD=X', '7203.T']) assert.ok(isSymbol(symbol), symbol)
  const hostile = ['', 'aapl', ' AAPL', 'AAPL\n', 'A'.repeat(21), '<img src=x onerror=alert(1)>', 'A,B', '__proto__', null, {}, ['AAPL']]
  for (const symbol of hostile) assert.ok(!isSymbol(symbol), String(symbol))
  assert.ok(isDataType('ratios-ttm'))
  for (const type of ['', 'Quote', '__proto__', 'a b', 'quote\n', 1, undefined]) assert.ok(!isDataType(type), String(type))
})

test('a viewer has one lobby of those that there are, and viewers are spread over all of them', () => {
  const counts = new Map()
  for (let user = 0; user < 4000; user += 1) {
    const lobby = lobbyOf(`user-${user}`, 4)
    assert.equal(lobby, lobbyOf(`user-${user}`, 4))
    counts.set(lobby, (counts.get(lobby) ?? 0) + 1)
  }
  assert.deepEqual([...counts.keys()].sort(), ['viewers:0', 'viewers:1', 'viewers:2', 'viewers:3'])
  for (const count of counts.values()) assert.ok(count > 800, `${count}`)
  for (const shards of [1, 0, -1, NaN, undefined]) assert.equal(lobbyOf('ada', shards), 'viewers:0')
})

test('the same views are the same payload in whatever order they were opened', () => {
  const one = packViews([['MSFT', ['quote']], ['AAPL', ['quote', 'profile']]])
  const other = packViews([['AAPL', ['profile', 'quote']], ['MSFT', ['quote']]])

  assert.equal(JSON.stringify(one), JSON.stringify(other))
  assert.deepEqual(one, { views: { AAPL: ['profile', 'quote'], MSFT: ['quote'] }, omitted: 0 })
})

test('what is packed fits into what the daemon reads, and the first ones are in', () => {
  const types = ['quote', 'profile']
  const many = Array.from({ length: 300 }, (_, index) => [`SYMBOL${index}`, types])
  const rest = { userId: 'ünïcödé '.repeat(12), ticket: '1.1.'.padEnd(300, 'x') }

  const { views, omitted } = packViews(many, rest)

  assert.ok(sizeOf({ ...rest, views }) <= 2000)
  assert.ok(sizeOf({ ...rest, views }) > 1900)
  assert.equal(Object.keys(views).length + omitted, 300)
  assert.ok(views.SYMBOL0)
  const short = Array.from({ length: 300 }, (_, index) => [`${index}`, ['q']])
  assert.equal(Object.keys(packViews(short).views).length, 100)
  assert.equal(packViews([['AAPL', Array.from({ length: 30 }, (_, index) => `t${index}`)]]).views.AAPL.length, 20)
})

test('a ticket says when it ends, and nothing else does', () => {
  assert.equal(ticketEndsAt('1.1700000000.YWRh.c2lnbmF0dXJl'), 1_700_000_000_000)
  for (const ticket of ['', '2.1.a.b', '1..a.b', '1.1.a', '1.1.a.b.c', `1.1.a.${'b'.repeat(800)}`, null, {}, 1]) {
    assert.equal(ticketEndsAt(ticket), null, String(ticket))
  }
})

test('nothing is thrown, whatever the client and the page give', async () => {
  const errors = []
  const onError = (error) => {
    errors.push(error)
    throw new Error('the page cannot take it')
  }
  const refresh = createRefresh({}, { onError, userId: () => null.id, checkSeconds: 0.01 })

  const stop = refresh.watch('AAPL', ['quote', 'of-a-plug-in'], () => {})
  refresh.watch('AAPL', undefined)()
  refresh.watch(undefined, 'quote')()
  assert.equal(await refresh.status('AAPL', 'quote'), null)
  await new Promise((resolve) => setTimeout(resolve, 400))
  stop()
  stop()
  await refresh.close()
  await refresh.close()
  refresh.watch('AAPL', 'quote')()

  assert.ok(errors.length > 0)
  assert.ok(errors.every((error) => error instanceof Error))
})
