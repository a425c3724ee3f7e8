/** One symbol of the watch list. */

import { PairRow, copyOf, show } from './pair.js'
import { change, count, price } from './words.js'

const FLASH_MS = 900
const ALWAYS = ['quote', 'profile']
const calm = matchMedia('(prefers-reduced-motion: reduce)')

export class Card {
  root
  symbol
  #refresh
  #globalTypes
  #onChange
  #parts
  #rows = new Map()
  #stops = new Map()
  #price = null

  /**
   * @param {string} symbol
   * @param {object} choices
   * @param {object} choices.refresh What `createRefresh` returns.
   * @param {string[]} choices.dataTypes What can be shown.
   * @param {string[]} choices.shown What is shown beside quote and profile.
   * @param {Set<string>} choices.globalTypes Which are the same for every symbol.
   * @param {() => void} choices.onChange Called when another choice was made.
   * @param {(card: Card) => void} choices.onRemove
   */
  constructor(symbol, { refresh, dataTypes, shown, globalTypes, onChange, onRemove }) {
    this.symbol = symbol
    this.#refresh = refresh
    this.#globalTypes = globalTypes
    this.#onChange = onChange
    const { root, parts } = copyOf('card-template')
    this.root = root
    this.#parts = parts
    root.dataset.symbol = symbol
    parts.symbol.textContent = symbol
    parts.symbol.id = `card-${symbol}`
    root.setAttribute('aria-labelledby', parts.symbol.id)
    parts.remove.setAttribute('aria-label', `Remove ${symbol}`)
    parts.remove.addEventListener('click', () => onRemove(this))
    parts.legend.textContent = `Data types of ${symbol}`
    for (const dataType of ALWAYS.filter((each) => dataTypes.includes(each))) this.#add(dataType)
    for (const dataType of dataTypes.filter((each) => !ALWAYS.includes(each))) {
      const isShown = shown.includes(dataType)
      parts.choices.append(this.#choice(dataType, isShown))
      if (isShown) this.#add(dataType)
    }
  }

  /** The data types that were chosen. */
  get chosen() {
    return [...this.#rows.keys()].filter((dataType) => !ALWAYS.includes(dataType))
  }

  /** Take what the server tells: viewers by symbol, pairs by symbol and data type, whether the daemon answers. */
  tell(viewers, pairs, isServed) {
    const number = viewers[this.symbol] ?? 0
    show(this.#parts.viewers, number ? count(number, 'viewer') : 'not counted yet')
    for (const [dataType, row] of this.#rows) {
      const place = this.#globalTypes.has(dataType) ? 'GLOBAL' : this.symbol
      row.tell(pairs.get(`${place} ${dataType}`) ?? null, isServed)
    }
  }

  tick() {
    for (const row of this.#rows.values()) row.tick()
  }

  focus() {
    this.#parts.remove.focus()
  }

  close() {
    for (const stop of this.#stops.values()) stop()
    this.root.remove()
  }

  #choice(dataType, isShown) {
    const { root, parts } = copyOf('choice-template')
    parts.name.textContent = dataType
    parts.box.value = dataType
    parts.box.checked = isShown
    parts.box.addEventListener('change', () => {
      if (parts.box.checked) this.#add(dataType)
      else this.#drop(dataType)
      this.#onChange()
    })
    return root
  }

  #add(dataType) {
    const row = new PairRow(this.symbol, dataType)
    this.#rows.set(dataType, row)
    this.#parts.pairs.append(row.root)
    const stop = this.#refresh.watch(this.symbol, dataType, (value) => {
      row.take(value)
      if (dataType === 'quote' && value.row) this.#quote(value.row)
      if (dataType === 'profile' && value.row) show(this.#parts.name, value.row.company_name ?? '')
    })
    this.#stops.set(dataType, stop)
  }

  #drop(dataType) {
    this.#stops.get(dataType)()
    this.#stops.delete(dataType)
    this.#rows.get(dataType).root.remove()
    this.#rows.delete(dataType)
  }

  #quote(row) {
    show(this.#parts.price, price(row.price))
    show(this.#parts.change, change(row))
    this.#parts.change.dataset.sign = String(Math.sign(row.change ?? 0))
    if (this.#price !== null && this.#price !== row.price && !calm.matches) {
      const colour = row.price > this.#price ? 'var(--good-soft)' : 'var(--bad-soft)'
      this.#parts.price.animate([{ backgroundColor: colour }, { backgroundColor: 'transparent' }], FLASH_MS)
    }
    this.#price = row.price
  }
}
