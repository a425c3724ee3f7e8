/** One data type on a card: its value, its age against its TTL, and what the crowd makes of it. */

import { count, duration, glimpse, outcomeOf } from './words.js'

/** Make a copy of a template, and give it with its named parts. */
export function copyOf(id) {
  const root = document.getElementById(id).content.firstElementChild.cloneNode(true)
  const parts = Object.fromEntries([...root.querySelectorAll('[data-part]')].map((part) => [part.dataset.part, part]))
  return { root, parts }
}

export class PairRow {
  root
  #symbol
  #dataType
  #parts
  #value = null
  #told = null
  #isServed = true

  constructor(symbol, dataType) {
    this.#symbol = symbol
    this.#dataType = dataType
    const { root, parts } = copyOf('pair-template')
    this.root = root
    this.#parts = parts
    root.dataset.type = dataType
    parts.type.textContent = dataType
    parts.bar.setAttribute('aria-label', `Age of ${symbol} ${dataType}`)
    this.tick()
  }

  /** Take what refreshd's module delivers. */
  take(value) {
    this.#value = value
    const words = glimpse(this.#dataType, value.rows)
    this.#parts.value.textContent = words
    this.tick()
  }

  /** Take what the server tells of the pair, null where nobody is counted for it, and whether the daemon answers. */
  tell(told, isServed) {
    this.#told = told
    this.#isServed = isServed
    this.tick()
  }

  /** Show the time that has passed. */
  tick() {
    const now = Date.now() / 1000
    const state = this.#state()
    const age = state && now - state.checkedAt
    const isFresh = Boolean(state && state.freshUntil > now)
    const life = state && state.freshUntil - state.checkedAt
    const share = state ? (isFresh ? Math.min(1, Math.max(0, age / life)) : 1) : 0
    const { root, bar, age: ageText, next, viewers, rank, outcome } = { root: this.root, ...this.#parts }
    root.classList.toggle('fresh', isFresh)
    root.classList.toggle('stale', Boolean(state) && !isFresh)
    bar.style.setProperty('--share', share.toFixed(4))
    bar.setAttribute('aria-valuenow', String(Math.round(share * 100)))
    show(ageText, this.#aged(state, age, life, isFresh))
    bar.setAttribute('aria-valuetext', ageText.textContent)
    show(next, this.#next(now))
    show(viewers, this.#told ? count(this.#told.viewers, 'viewer') : 'not counted yet')
    show(rank, this.#told ? `gain ${Math.round(this.#told.gain)}, rank ${this.#told.rank} of ${this.#told.ranked}` : '')
    show(outcome, state ? outcomeOf(state.outcome) : '')
    outcome.dataset.outcome = state?.outcome ?? ''
  }

  /** The newer one of what the module and what the server know. */
  #state() {
    const state = (checkedAt, freshUntil, outcome) => (checkedAt ? { checkedAt, freshUntil, outcome } : null)
    const [value, told] = [this.#value, this.#told]
    const ours = value && state(value.checkedAt / 1000, Number(value.freshUntil) / 1000, value.outcome)
    const theirs = told && state(told.checked_at, told.fresh_until ?? 0, told.outcome)
    if (!ours || !theirs) return ours || theirs || null
    return theirs.checkedAt > ours.checkedAt ? theirs : ours
  }

  #aged(state, age, life, isFresh) {
    if (!state) return 'no value yet'
    const whole = duration(Math.round(life))
    if (isFresh) return `${duration(age)} of ${whole}`
    return life > 0 ? `stale: ${duration(age)} old, fresh for ${whole}` : `stale: checked ${duration(age)} ago`
  }

  #next(now) {
    const told = this.#told
    if (!this.#isServed) return 'not refreshed: no daemon'
    if (!told) return ''
    if (told.job === 'processing') return 'being fetched'
    if (told.job === 'pending') return 'queued'
    if (!told.due_at || told.due_at <= now) return 'due now'
    return `next refresh in ${duration(told.due_at - now)}`
  }
}

/** Set a text where it is another one: what does not change is not laid out, and not read out, again. */
export function show(element, text) {
  if (element.textContent !== text) element.textContent = text
}
