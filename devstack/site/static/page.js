/** The watch list: what a person adds, refreshd keeps fresh; other windows and viewers show in numbers. */

import { TABLES, createRefresh } from '/browser/refreshd.js'
import { isSymbol } from '/browser/views.js'
import { createClient } from '/client.js'
import { Card } from './card.js'
import { show } from './pair.js'
import { SymbolField, findSymbols } from './symbol-field.js'

const LOOK_MS = 1_000
const TICK_MS = 500
const PATIENCE_MS = 5_000
const MAX_CARDS = 24

const element = (id) => document.getElementById(id)
const cards = new Map()
let choices = null
let [life, looking, restored] = ['', false, false]

// --- words for what is wrong, and for who cannot see what has changed ---

function refuse(words) {
  show(element('refusal'), words)
  element('symbol').setAttribute('aria-invalid', String(Boolean(words)))
}

function notice(words) {
  show(element('notice'), words)
  element('notice').hidden = !words
}

// --- the list ---

/** Why a text is not taken, in words; an empty text where it is. */
async function objection(symbol) {
  if (!symbol) return 'Type a symbol, such as AAPL.'
  if (!isSymbol(symbol)) {
    return 'This is no symbol: symbols have letters, digits and . ^ = - only, at most 20 of them.'
  }
  if (cards.has(symbol)) return `${symbol} is on the list already.`
  if (cards.size >= MAX_CARDS) return `${MAX_CARDS} symbols are enough for one window.`
  const found = await findSymbols(symbol)
  if (found.some((each) => each.symbol === symbol)) return cards.has(symbol) ? `${symbol} is on the list already.` : ''
  return `${symbol} is not in the allow-list, and refreshd asks the upstream for nothing else.`
}

async function add(text, shown = []) {
  const symbol = text.trim().toUpperCase()
  const words = await objection(symbol).catch((error) => `${symbol} cannot be added now: ${error.message}.`)
  refuse(words)
  if (words) return false
  const card = new Card(symbol, { ...choices, shown, onChange: remember, onRemove: remove })
  cards.set(symbol, card)
  element('cards').append(card.root)
  show(element('said'), `${symbol} was added.`)
  remember()
  look()
  return true
}

function remove(card) {
  const order = [...cards.values()]
  const next = order[order.indexOf(card) + 1] ?? order[order.indexOf(card) - 1]
  cards.delete(card.symbol)
  card.close()
  show(element('said'), `${card.symbol} was removed.`)
  remember()
  if (next) next.focus()
  else element('symbol').focus()
}

/** Keep the list in the address, so that another window can begin with it. */
function remember() {
  if (!restored) return // what is there so far is not all of it
  const list = [...cards.values()].map((card) => [card.symbol, ...card.chosen].map(encodeURIComponent).join(':'))
  history.replaceState(null, '', list.length ? `?list=${list.join(',')}` : location.pathname)
  element('another').href = location.href
  element('empty').hidden = list.length > 0
}

function remembered() {
  const list = new URLSearchParams(location.search).get('list') ?? ''
  return list.split(',').filter(Boolean).slice(0, MAX_CARDS).map((entry) => entry.split(':'))
}

// --- what the server tells of everybody ---

async function ask() {
  const answer = await fetch('/crowd.json', { signal: AbortSignal.timeout(PATIENCE_MS) })
  if (answer.status === 503) throw new Error('The database does not answer. What you see is as old as it says.')
  if (!answer.ok) throw new Error(`The demo answers with status ${answer.status}.`)
  return answer.json()
}

async function look() {
  if (looking || document.visibilityState === 'hidden') return
  looking = true
  try {
    const told = await ask()
    if (told.life !== life) return location.reload() // another demo has taken the place of ours
    tell(told)
  } catch (error) {
    const isGone = error instanceof TypeError || error.name === 'TimeoutError'
    notice(isGone ? 'The demo does not answer: it has ended. Nothing here changes any more.' : error.message)
  } finally {
    looking = false
  }
}

function tell({ daemon, totals, symbols, pairs }) {
  const byPair = new Map(pairs.map((pair) => [`${pair.symbol} ${pair.data_type}`, pair]))
  for (const card of cards.values()) card.tell(symbols, byPair, daemon.answers)
  show(element('viewers'), String(totals.viewers))
  show(element('pairs'), String(pairs.length))
  show(element('calls'), [totals.calls, totals.calls_per_minute].filter((each) => each !== null).join(' of '))
  show(element('queue'), `${totals.waiting} waiting, ${totals.running} running`)
  show(element('daemon'), daemon.answers ? (daemon.ready ? 'ready' : 'not ready') : 'no answer')
  element('daemon').dataset.state = daemon.ready ? 'good' : 'bad'
  if (daemon.answers) notice(daemon.ready ? '' : `The daemon is not fit for work: ${daemon.reason}`)
  else notice('The daemon does not answer: nothing is refreshed until it is back. What you see is as old as it says.')
}

// --- from the beginning ---

async function start() {
  const answer = await fetch('/token', { method: 'POST' })
  if (!answer.ok) throw new Error(`there is no token (status ${answer.status})`)
  const session = await answer.json()
  life = session.life
  const supabase = createClient(location.origin, session.key, { accessToken: async () => session.token })
  // Faster than the defaults, which respect the limits of a hosted Realtime: the one of the development stack has none.
  const paces = { trackIntervalSeconds: 1, checkSeconds: 2 }
  const refresh = createRefresh(supabase, { userId: session.user, flagTable: null, ...paces })
  const globalTypes = new Set(Object.keys(TABLES).filter((dataType) => TABLES[dataType].key === null))
  const dataTypes = Object.keys(TABLES).filter((dataType) => session.dataTypes.includes(dataType))
  choices = { refresh, dataTypes, globalTypes }
  show(element('who'), `This window is viewer ${session.window} of this demo.`)
  show(element('client'), session.client)

  const form = element('add')
  const field = new SymbolField(element('symbol'), element('suggestions'), () => form.requestSubmit())
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    field.close()
    if (await add(element('symbol').value)) element('symbol').value = ''
  })
  element('symbol').addEventListener('input', () => refuse(''))
  for (const button of element('empty').querySelectorAll('button')) {
    button.addEventListener('click', () => add(button.value))
  }
  for (const [symbol, ...shown] of remembered()) await add(symbol, shown)
  restored = true
  remember()
  form.inert = false
  setInterval(look, LOOK_MS)
  setInterval(() => cards.forEach((card) => card.tick()), TICK_MS)
  document.addEventListener('visibilitychange', look)
  look()
}

start().catch((error) => notice(`The page could not start: ${error.message}.`))
