/** What a page is told and says when things go wrong, with a client whose server does as it is told. */

import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'

import { StandingChannel } from '../../browser/channel.js'
import { createRefresh } from '../../browser/refreshd.js'
import { FakeClient, stateOf } from './fake_client.mjs'

const QUOTES = 'live_quote_indicators'
const STATES = 'refresh_status_v2'
const [FIRST, SECOND, THIRD] = [1_700_000_001_000, 1_700_000_002_000, 1_700_000_003_000]
const { now, random } = { now: Date.now, random: Math.random }
const ENDS_AT = Math.floor(Date.now() / 1000) + 900
const ticketOf = (userId) => `1.${ENDS_AT}.${userId}.signature`
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

let client, errors, opened, told

function open(options = {}) {
  const onError = (error) => errors.push(error.message)
  const refresh = createRefresh(client, { onError, checkSeconds: 0.02, trackIntervalSeconds: 0.02, ...options })
  opened.push(refresh)
  return refresh
}

/** Have the quote of AAPL at this price, in the state of this check. */
function serve(price, checkedAt, freshMs) {
  client.tables[QUOTES] = [{ symbol: 'AAPL', price }]
  client.tables[STATES] = [stateOf('AAPL', 'quote', checkedAt, freshMs)]
}

const note = (value) => told.push(value)
const isTold = (price, checkedAt) => (value) => value.row?.price === price && Number(value.checkedAt) === checkedAt

async function until(condition, ms = 5_000) {
  const end = performance.now() + ms
  while (!condition()) {
    assert.ok(performance.now() < end, `${condition}: ${JSON.stringify({ told, errors, calls: client.calls })}`)
    await sleep(2)
  }
}

/** Show the quote of AAPL to a card that hears of its changes. */
async function show(options, freshMs) {
  serve(1, FIRST, freshMs)
  const refresh = open(options)
  refresh.watch('AAPL', 'quote', note)
  await until(() => told.some(isTold(1, FIRST)) && client.hears('AAPL'))
  return refresh
}

beforeEach(() => {
  client = new FakeClient()
  ;[errors, opened, told] = [[], [], []]
  Math.random = () => 0
})

afterEach(async () => {
  for (const refresh of opened) await refresh.close()
  Date.now = now
  Math.random = random
})

test('an old row is not shown as freshly checked where the new one cannot be read', async () => {
  await show()

  serve(2, SECOND)
  const rows = client.tables[QUOTES]
  client.tables[QUOTES] = { code: '', message: 'no answer' }
  client.rejoin('AAPL')
  await until(() => errors.includes('no answer'))
  await sleep(50)
  assert.ok(!told.some(isTold(1, SECOND)))

  client.tables[QUOTES] = rows
  await until(() => told.some(isTold(2, SECOND)))
  assert.ok(!told.some(isTold(1, SECOND)))
})

test('a change that is missed after one that was heard of is found when the channel is back', async () => {
  await show()

  serve(3, THIRD)
  client.push('AAPL', QUOTES, { symbol: 'AAPL', price: 2 })
  await until(() => told.some(isTold(2, THIRD))) // until the third is heard of, which is lost
  client.rejoin('AAPL')

  await until(() => told.some(isTold(3, THIRD)))
})

test('a value is told to be old when it becomes so, not when somebody looks', async () => {
  await show({ checkSeconds: 60 }, 1_500)
  await sleep(100) // for what is asked for on joining
  assert.ok(told.at(-1).isFresh)

  await until(() => !told.at(-1).isFresh)

  assert.ok(Date.now() >= Number(told.at(-1).freshUntil))
  assert.equal(told.length, 2)
})

test('what has changed is looked at again as soon as it is old, however often it was looked at before', async () => {
  serve(1, FIRST, -1)
  open().watch('AAPL', 'quote', note)
  await sleep(1_500) // the next look is in a second

  serve(2, SECOND, 100)
  client.push('AAPL', QUOTES, { symbol: 'AAPL', price: 2 })
  await until(() => told.some(isTold(2, SECOND)))
  serve(2, THIRD)

  await until(() => told.some(isTold(2, THIRD)), 800)
})

test('who comes late is not told that a value is fresh which has become old', async () => {
  serve(1, FIRST, 100)
  const refresh = open({ checkSeconds: 60 })
  refresh.watch('AAPL', 'quote', note)
  await until(() => told.length)
  const late = []

  while (Date.now() <= Number(told[0].freshUntil)); // no timer runs meanwhile
  refresh.watch('AAPL', 'quote', (value) => late.push(value))
  await Promise.resolve()

  assert.deepEqual(late.map(({ isFresh }) => isFresh), [false])
})

test('a type that is in no table is told its later states too', async () => {
  client.tables[STATES] = [stateOf('AAPL', 'of-a-plug-in', FIRST, -1)]
  open().watch('AAPL', ['quote', 'of-a-plug-in'], note)
  const isToldOf = (at) => told.some((value) => value.dataType === 'of-a-plug-in' && Number(value.checkedAt) === at)
  await until(() => isToldOf(FIRST))

  client.tables[STATES] = [stateOf('AAPL', 'of-a-plug-in', SECOND)]
  await until(() => isToldOf(SECOND))
})

test('a changed row is told at once with the state of before, its own is asked for at a random moment', async () => {
  await show({ checkSeconds: 60 })
  await sleep(100) // for what is asked for on joining
  Math.random = () => 0.5
  client.requests.length = 0

  serve(2, SECOND)
  client.push('AAPL', QUOTES, { symbol: 'AAPL', price: 2 })
  assert.ok(isTold(2, FIRST)(told.at(-1)))
  await sleep(300)
  assert.deepEqual(client.requests, [])

  await until(() => told.some(isTold(2, SECOND)))
  assert.deepEqual(client.requests, [STATES])
})

test('a changed row does not wait for an answer that does not come', async () => {
  const refresh = await show({ checkSeconds: 60 })

  client.tables[STATES] = new Promise(() => {})
  refresh.watch('MSFT', 'quote', note)
  await sleep(50)
  client.push('AAPL', QUOTES, { symbol: 'AAPL', price: 2 })

  assert.ok(isTold(2, FIRST)(told.at(-1)))
})

test('what Realtime has not taken is tracked again, and so is that nothing is', async () => {
  const answers = ['timed out', 'error', 'ok', 'error', 'timed out', 'ok']
  client.takeTrack = () => answers.shift() ?? 'ok'
  const report = (error) => errors.push(error.message)
  const presence = { key: 'tab', enabled: true }
  const channel = new StandingChannel(client, 'viewers:0', { intervalMs: 20, presence, bind() {}, ready() {}, report })
  opened.push(channel)
  channel.need(new Set())

  channel.say({ userId: 'ada' })
  await until(() => client.tracks.length === 3)
  await sleep(100)
  channel.say(null)
  await until(() => client.tracks.length === 6)
  await sleep(100)

  const ada = { userId: 'ada' }
  assert.deepEqual(client.tracks, [ada, ada, ada, null, null, null])
  const words = (answer) => `viewers:0: the presence was not taken: ${answer}`
  assert.deepEqual(errors, ['timed out', 'error', 'error', 'timed out'].map(words))
})

test('what Realtime never takes is said less and less often', async () => {
  client.takeTrack = () => 'error'
  open().watch('AAPL', 'quote')

  await sleep(1_000)

  assert.ok(client.tracks.length >= 4 && client.tracks.length <= 9, `${client.tracks.length}`)
  assert.equal(errors.length, 1)
})

test('more symbols than one call can name are named by several, in topics of their own where that is so', async () => {
  const symbols = Array.from({ length: 250 }, (_, index) => `S${index}`)
  const refresh = open({ topics: 'symbol', userId: 'ada' })
  for (const symbol of symbols) refresh.watch(symbol, 'quote')

  const named = () => client.calls.flatMap(({ views }) => Object.keys(views))
  await until(() => named().length >= 250)
  await sleep(300)

  assert.deepEqual(named().sort(), symbols.sort())
  for (const { views, ...rest } of client.calls) {
    assert.ok(Object.keys(views).length <= 100)
    assert.deepEqual(rest, { userId: 'ada', topics: 'symbol' })
  }
  assert.deepEqual(errors, [])
})

test('a call says nothing of topics in the lobby', async () => {
  open({ userId: 'ada' }).watch('AAPL', 'quote')
  await until(() => client.calls.length)
  assert.deepEqual(client.calls, [{ userId: 'ada', views: { AAPL: ['quote'] } }])
})

test('what never fits into a call is reported, and not called for', async () => {
  open({ topics: 'symbol', userId: 'x'.repeat(3_000) }).watch('AAPL', 'quote')
  await until(() => errors.length)
  await sleep(100)

  assert.deepEqual(errors, ['1 symbols do not fit into a call of track-subscription-v2'])
  assert.deepEqual(client.calls, [])
})

for (const [code, reads] of [['42501', 1], ['42P01', 1], ['PGRST205', 1], ['57014', 2], ['', 2]]) {
  test(`flags are asked for ${reads === 1 ? 'once' : 'again'} after an error with the code '${code}'`, async () => {
    client.tables.feature_flags = { code, message: 'not now' }
    open().watch('AAPL', 'quote')
    await until(() => client.tracks.length)
    client.tables.feature_flags = []

    Date.now = () => now() + 300_001
    await sleep(100)

    assert.equal(client.requests.filter((table) => table === 'feature_flags').length, reads)
  })
}

test('a ticket goes with the user it was for, and the next one gets one of their own', async () => {
  let user = 'ada'
  client.answerCall = ({ userId }) => ({ ticket: ticketOf(userId) })
  open({ userId: () => user }).watch('AAPL', 'quote')
  await until(() => client.tracks.at(-1)?.ticket === ticketOf('ada'))

  user = 'bob'
  await until(() => client.tracks.at(-1).ticket === ticketOf('bob'))

  for (const { userId, ticket } of client.tracks) assert.ok([undefined, ticketOf(userId)].includes(ticket), ticket)
  assert.deepEqual(client.calls.map(({ userId }) => userId), ['ada', 'bob'])
})

test('a ticket that comes for somebody who has left is not used', async () => {
  let user = 'ada'
  client.answerCall = async ({ userId }) => {
    if (userId === 'ada') await sleep(300)
    return { ticket: ticketOf(userId) }
  }
  open({ userId: () => user }).watch('AAPL', 'quote')
  await until(() => client.calls.length === 1)
  user = 'bob'

  await until(() => client.tracks.at(-1)?.ticket === ticketOf('bob'))
  assert.ok(!client.tracks.some(({ ticket }) => ticket === ticketOf('ada')))
})

test('another user is tracked though nothing else has changed, and a userId that throws is reported once', async () => {
  let userId = () => 'ada'
  open({ userId: () => userId(), trackFunction: null }).watch('AAPL', 'quote')
  await until(() => client.tracks.at(-1)?.userId === 'ada')

  userId = () => 'bob'
  await until(() => client.tracks.at(-1).userId === 'bob')

  userId = () => null.id
  await until(() => client.tracks.at(-1).userId === undefined)
  await sleep(100)
  assert.equal(errors.length, 1)
})
