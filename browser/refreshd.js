/**
 * What a page does with refreshd: it says what it shows, and gets the values as they change.
 * It is given a supabase-js client, depends on nothing else, and never throws into the page.
 */

import { StandingChannel } from './channel.js'
import { Reader, ask, describe, placeOf, timeout } from './reader.js'
import { TABLES } from './tables.js'
import { MAX_TYPES, isDataType, isSymbol, lobbyOf, packViews, ticketEndsAt } from './views.js'

export { TABLES }

const DEFAULTS = {
  userId: null,
  topics: 'lobby',
  lobbyShards: 1,
  trackIntervalSeconds: 8, // Realtime allows five in 30 seconds, and closes the channel at the sixth
  hiddenSeconds: 60,
  checkSeconds: 5,
  trackFunction: 'track-subscription-v2',
  flagTable: 'feature_flags',
  statusView: ['refresh_status_v2', 'refresh_status'], // the end of the migration takes the suffix away
  onError: (error) => console.debug('refreshd:', error.message),
}

const GLOBAL_SYMBOL = 'GLOBAL'
const SYMBOL_TOPIC = 'symbol:'
const GATHER_MS = 50
const READ_MS = 20
const SPREAD_MS = 2_000 // all pages hear of a change at one moment, and need not all ask at one
const FLAGS_WAIT_MS = 3_000
const FLAGS_EVERY_MS = 300_000
const CALL_EVERY_MS = 600_000
const CALL_AFTER_FAILURE_MS = 60_000
const LOOK_AGAIN_MS = 300_000
const NO_FLAGS = new Set(['42501', '42P01', 'PGRST205']) // pages may not read them here, or there are none

/**
 * @param {object} client A supabase-js client, of which no other `createRefresh` is made meanwhile.
 * @param {import('./refreshd.js').RefreshOptions} options
 * @returns {import('./refreshd.js').Refresh}
 */
export function createRefresh(client, options = {}) {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  const choices = { ...DEFAULTS, ...Object.fromEntries(given) }
  const sources = new Map(Object.entries({ ...TABLES, ...options.tables }))
  const intervalMs = choices.trackIntervalSeconds * 1000
  const checkMs = choices.checkSeconds * 1000
  const tabId = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(36)).join('')

  const pairs = new Map() // by symbol and data type, the newest last
  const channels = new Map() // by topic
  const unread = new Set() // pairs to be read next
  const named = new Set() // symbols and data types that the function was told
  let off = new Set() // names of flags
  let [closed, paused, calling, failing] = [false, false, false, false]
  let [flagsAt, callAt] = [0, 0]
  let [settleAt, readAt, staleAt] = [Infinity, Infinity, Infinity]
  let [lobby, ticket] = ['', '']
  let who = {} // whoever is here, by the page's own word
  let settleTimer, readTimer, staleTimer, hideTimer, flagsTimer
  const problems = new Map() // of what can go wrong again and again
  const reader = new Reader(client, [choices.statusView].flat(), report)
  let reading = Promise.resolve()

  function report(error) {
    try {
      choices.onError(error instanceof Error ? error : new Error(error?.message ?? String(error)))
    } catch {
      // nobody is left to be told
    }
  }

  /** Report a problem, once until it is another or none. */
  function reportOnce(what, problem) {
    if (problem && String(problem) !== problems.get(what)) report(problem)
    problems.set(what, String(problem))
  }

  // --- what is shown: flags, presence, and the function that is told ---

  async function readFlags() {
    flagsAt = Date.now() + FLAGS_EVERY_MS
    if (!choices.flagTable) return
    const { data, error } = await ask(() => client.from(choices.flagTable).select('flag_name').eq('enabled', false))
    if (data) off = new Set(data.map((row) => row.flag_name))
    else if (NO_FLAGS.has(error?.code)) flagsAt = Infinity // all of them count as on, for good
    settleSoon()
  }

  const isOn = (dataType) =>
    !off.has('use_presence_tracking') && !off.has(`migrate_${dataType.replaceAll('-', '_')}_type`)

  /** What counts now: data types by symbol, the newest first. */
  function counted() {
    const views = new Map()
    for (const { symbol, dataType } of paused ? [] : [...pairs.values()].reverse()) {
      if (isOn(dataType)) views.set(symbol, (views.get(symbol) ?? new Set()).add(dataType))
    }
    return views
  }

  function identity() {
    try {
      const userId = typeof choices.userId === 'function' ? choices.userId() : choices.userId
      reportOnce('identity', '')
      return userId ? { userId: String(userId) } : {}
    } catch (error) {
      reportOnce('identity', error)
      return {}
    }
  }

  /** See who is here; a ticket is of the one it was called for, and another needs one of their own. */
  function followIdentity() {
    const now = identity()
    const isOther = now.userId !== who.userId
    if (isOther) [who, ticket, callAt, failing] = [now, '', 0, false]
    return isOther
  }

  function settleSoon(delay = GATHER_MS) {
    const at = Date.now() + delay
    if (closed || at >= settleAt) return
    settleAt = at
    clearTimeout(settleTimer)
    settleTimer = setTimeout(() => flagsRead.then(settle).catch(report), delay)
  }

  /** Be in the channels that are needed now, and say there what is shown. */
  function settle() {
    settleAt = Infinity
    if (closed) return
    followIdentity()
    const views = counted()
    const needed = new Map()
    for (const { symbol, dataType, source, isHeard } of pairs.values()) {
      if (!source || !isHeard()) continue
      const topic = SYMBOL_TOPIC + symbol
      needed.set(topic, { types: (needed.get(topic)?.types ?? new Set()).add(dataType), payload: null })
    }
    for (const [topic, payload] of presences(views)) {
      needed.set(topic, { types: needed.get(topic)?.types ?? new Set(), payload })
    }
    for (const [topic, { types, payload }] of needed) {
      if (!channels.has(topic)) channels.set(topic, newChannel(topic))
      channels.get(topic).need(types)
      channels.get(topic).say(payload)
    }
    for (const [topic, channel] of channels) if (!needed.has(topic)) retire(topic, channel)
    call(views)
  }

  /** What is tracked where: all of it in the lobby, or each symbol's in a topic of its own. */
  function presences(views) {
    const rest = ticket ? { ...who, ticket } : who
    if (choices.topics === 'symbol') {
      const dataTypes = (types) => [...types].sort().slice(0, MAX_TYPES)
      const payload = (symbol, types) => ({ symbol, dataTypes: dataTypes(types), ...rest })
      return [...views].map(([symbol, types]) => [SYMBOL_TOPIC + symbol, payload(symbol, types)])
    }
    if (!views.size) return []
    lobby ||= lobbyOf(who.userId ?? tabId, choices.lobbyShards)
    const { views: packed, omitted } = packViews(views, rest)
    reportOnce('pack', omitted ? `${omitted} symbols too many for one page: they do not count` : '')
    return [[lobby, { ...rest, views: packed }]]
  }

  /** Leave a channel when nobody has come back to it for a while. */
  function retire(topic, channel) {
    channel.say(null)
    channel.idleSince ??= Date.now()
    if (Date.now() - channel.idleSince < intervalMs) return settleSoon(intervalMs)
    channels.delete(topic)
    channel.close()
  }

  function newChannel(topic) {
    const symbol = topic.startsWith(SYMBOL_TOPIC) ? topic.slice(SYMBOL_TOPIC.length) : null
    const presence = { key: tabId, enabled: !symbol || choices.topics === 'symbol' }
    const bind = (channel, types) => {
      for (const dataType of types) {
        const { table, key } = sources.get(dataType)
        const asked = { event: '*', schema: 'public', table, ...(key ? { filter: `${key}=eq.${symbol}` } : {}) }
        channel.on('postgres_changes', asked, (change) => takeChange(pairs.get(`${symbol} ${dataType}`), change))
      }
    }
    const ready = () => pairs.forEach((pair) => pair.symbol === symbol && catchUp(pair))
    return new StandingChannel(client, topic, { intervalMs, presence, bind, ready, report })
  }

  /** Tell the function what is new, and now and then all that is shown: it queues what is stale, and gives a ticket. */
  async function call(views) {
    if (!choices.trackFunction || calling || (failing && Date.now() < callAt)) return
    if (Date.now() >= callAt) named.clear()
    const untold = new Map()
    for (const [symbol, types] of views) {
      const some = [...types].filter((dataType) => !named.has(`${symbol} ${dataType}`))
      if (some.length) untold.set(symbol, some)
    }
    const caller = who
    const rest = choices.topics === 'symbol' ? { ...caller, topics: 'symbol' } : caller
    const { views: told, omitted } = packViews(untold, rest) // what is omitted is told by the next call
    const isHopeless = omitted && omitted === untold.size
    reportOnce('call', isHopeless ? `${omitted} symbols do not fit into a call of ${choices.trackFunction}` : '')
    if (!untold.size || isHopeless) return
    calling = true
    try {
      const asked = { body: { ...rest, views: told }, signal: timeout() }
      const { data, error } = await client.functions.invoke(choices.trackFunction, asked)
      if (error) throw error
      if (caller === who) {
        for (const [symbol, types] of Object.entries(told)) types.forEach((type) => named.add(`${symbol} ${type}`))
        takeTicket(data?.ticket)
        failing = false
      }
    } catch (error) {
      if (!failing) report(error)
      if (caller === who) [failing, callAt] = [true, Date.now() + CALL_AFTER_FAILURE_MS]
    }
    calling = false
    settleSoon()
  }

  /** Use a ticket, and call for another before it ends. */
  function takeTicket(offered) {
    const endsAt = ticketEndsAt(offered)
    const life = endsAt ? Math.max(CALL_AFTER_FAILURE_MS, 0.8 * (endsAt - Date.now())) : CALL_EVERY_MS
    ticket = endsAt ? offered : ''
    if (Date.now() >= callAt || failing) callAt = Date.now() + Math.min(life, CALL_EVERY_MS)
  }

  // --- what is delivered: rows, and how they are ---

  /** Changes arrive from now on: see whether one was missed. A state that was not read with its rows cannot tell. */
  function catchUp(pair) {
    const isSure = pair.state && pair.rows !== pair.pushed
    if (pair.source && !isSure) Object.assign(pair, { reread: true, version: pair.version + 1 })
    readSoon(pair)
  }

  /** Deliver a row as it comes, with what was known before; how it is now is read when not everybody asks. */
  function takeChange(pair, change) {
    if (!pair) return
    const { key, many } = pair.source
    if (change.eventType === 'DELETE' && key && change.old[key] && change.old[key] !== pair.symbol) return
    const reread = Boolean(many || change.errors || change.eventType === 'DELETE')
    Object.assign(pair, { reread, version: pair.version + 1, misses: 0, lookAt: 0 })
    if (!reread) {
      pair.rows = pair.pushed = [change.new]
      pair.isGiven = true
      deliver(pair)
    }
    readSoon(pair, SPREAD_MS * Math.random())
  }

  function readSoon(pair, delay = READ_MS) {
    if (closed || paused || !pair.isHeard()) return
    unread.add(pair)
    const at = Date.now() + delay
    if (at >= readAt) return
    readAt = at
    clearTimeout(readTimer)
    readTimer = setTimeout(() => {
      readAt = Infinity
      reading = reading.then(read).catch(report)
    }, delay)
  }

  /** Read how pairs are, then the rows that can have changed: rows are never older than what is said about them. */
  async function read() {
    const batch = [...unread].filter((pair) => pair.isHeard())
    unread.clear()
    if (!batch.length) return
    const states = await reader.states(batch)
    for (const pair of batch) {
      const moved = states && states.get(placeOf(pair))?.checked_at !== pair.state?.checked_at
      if (pair.source && moved && !pair.isGiven) pair.reread = true
    }
    await reader.rows(batch.filter((pair) => pair.source && (!pair.rows || pair.reread)))
    for (const pair of batch) {
      if (unread.has(pair)) continue // a change has come meanwhile, with a state of its own
      if (states && !pair.reread) Object.assign(pair, { state: states.get(placeOf(pair)) ?? null, isGiven: false })
      if (pair.rows) deliver(pair)
    }
  }

  function deliver(pair) {
    const { symbol, dataType, rows } = pair
    const value = { symbol, dataType, row: rows[0] ?? null, rows, ...describe(pair.state) }
    const said = JSON.stringify([value.checkedAt, value.freshUntil, value.outcome, value.isFresh])
    if (value.isFresh) ageAt(Number(value.freshUntil))
    if (pair.value?.rows === rows && pair.said === said) return
    if (pair.said !== said) Object.assign(pair, { misses: 0, lookAt: 0 })
    Object.assign(pair, { value, said })
    for (const [watcher, onChange] of pair.watchers) tell(pair, watcher, onChange)
  }

  function tell(pair, watcher, onChange) {
    try {
      const isFresh = Number(pair.value.freshUntil) > Date.now()
      if (onChange && pair.watchers.has(watcher)) onChange({ ...pair.value, isFresh })
    } catch (error) {
      report(error)
    }
  }

  function ageAt(at) {
    if (closed || at >= staleAt) return
    staleAt = at
    clearTimeout(staleTimer)
    staleTimer = setTimeout(age, Math.min(LOOK_AGAIN_MS, Math.max(0, at - Date.now())))
  }

  /** Tell of what has just ceased to be fresh, and wait for the next. */
  function age() {
    staleAt = Infinity
    for (const pair of pairs.values()) if (pair.value?.isFresh) deliver(pair)
  }

  /** Look at what is not fresh, less and less often: an unchanged value is fresh again without a change of its row. */
  async function check() {
    await flagsRead
    if (paused || closed) return
    if (Date.now() >= flagsAt) readFlags()
    if (followIdentity()) settleSoon(0)
    call(counted())
    for (const pair of pairs.values()) {
      const isWell = pair.value && !pair.reread && !pair.isGiven && describe(pair.state).isFresh
      if (isWell || unread.has(pair) || !pair.isHeard() || Date.now() < pair.lookAt) continue
      pair.misses += 1
      pair.lookAt = Date.now() + Math.min(LOOK_AGAIN_MS, checkMs * 2 ** pair.misses)
      readSoon(pair)
    }
  }

  function followVisibility() {
    clearTimeout(hideTimer)
    if (document.visibilityState === 'hidden') {
      hideTimer = setTimeout(() => {
        paused = true
        settleSoon(0)
      }, choices.hiddenSeconds * 1000)
    } else if (paused) {
      paused = false
      settleSoon(0)
      pairs.forEach(readSoon)
    }
  }

  // --- what the page calls ---

  function newPair(symbol, dataType) {
    const source = sources.get(dataType)
    const watchers = new Map()
    const isHeard = () => [...watchers.values()].some(Boolean)
    const place = source?.key === null ? GLOBAL_SYMBOL : symbol
    const rows = source ? undefined : [] // of a type that is in no table here, only its status can be told
    const lookAt = Date.now() + checkMs
    return { symbol, dataType, source, place, watchers, isHeard, rows, lookAt, version: 0, misses: 0 }
  }

  function watch(symbol, dataTypes, onChange) {
    const types = [...new Set([dataTypes].flat())]
    if (closed || !isSymbol(symbol) || !types.every(isDataType)) {
      report(closed ? 'watch after close' : 'watch: this is no symbol, or no data type')
      return () => {}
    }
    const watcher = {}
    const watched = types.map((dataType) => {
      const key = `${symbol} ${dataType}`
      if (!pairs.has(key)) pairs.set(key, newPair(symbol, dataType))
      const pair = pairs.get(key)
      pair.watchers.set(watcher, onChange)
      if (pair.value) queueMicrotask(() => tell(pair, watcher, onChange))
      else readSoon(pair)
      return [key, pair]
    })
    settleSoon()
    return () => {
      for (const [key, pair] of watched) {
        pair.watchers.delete(watcher)
        if (!pair.watchers.size && pairs.get(key) === pair) pairs.delete(key)
      }
      settleSoon()
    }
  }

  async function status(symbol, dataType) {
    if (!isSymbol(symbol) || !isDataType(dataType)) return null
    const { place } = newPair(symbol, dataType)
    const state = (await reader.states([{ place, dataType }]))?.get(placeOf({ place, dataType }))
    if (!state) return null
    const told = describe(state)
    return { ...told, ageSeconds: told.checkedAt && Math.max(0, (Date.now() - Number(told.checkedAt)) / 1000) }
  }

  async function close() {
    closed = true
    globalThis.document?.removeEventListener('visibilitychange', followVisibility)
    for (const timer of [settleTimer, readTimer, staleTimer, hideTimer, flagsTimer]) clearTimeout(timer)
    clearInterval(checkTimer)
    pairs.clear()
    await Promise.all([...channels.values()].map((channel) => channel.close()))
    channels.clear()
  }

  const patience = new Promise((resolve) => (flagsTimer = setTimeout(resolve, FLAGS_WAIT_MS)))
  const flagsRead = Promise.race([readFlags(), patience])
  const checkTimer = setInterval(check, checkMs)
  if (globalThis.document) {
    document.addEventListener('visibilitychange', followVisibility)
    followVisibility()
  }
  return { watch, status, close }
}
