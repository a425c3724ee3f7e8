/** The field for a symbol, with suggestions from the allow-list: a combobox as the ARIA practices describe it. */

const WAIT_MS = 80

/** The symbols of the allow-list that fit a text, the exact one first. */
export async function findSymbols(text) {
  const answer = await fetch(`/symbols.json?text=${encodeURIComponent(text)}`)
  if (!answer.ok) throw new Error(`the allow-list cannot be read (status ${answer.status})`)
  return answer.json()
}

export class SymbolField {
  #input
  #list
  #onChoose
  #active = -1
  #timer
  #asked = 0

  /**
   * @param {HTMLInputElement} input
   * @param {HTMLUListElement} list
   * @param {() => void} onChoose Called when a suggestion has been put into the field.
   */
  constructor(input, list, onChoose) {
    this.#input = input
    this.#list = list
    this.#onChoose = onChoose
    input.addEventListener('input', () => this.#suggestSoon())
    input.addEventListener('keydown', (event) => this.#follow(event))
    input.addEventListener('blur', () => this.close())
    list.addEventListener('pointerdown', (event) => event.preventDefault()) // the field keeps the focus
    list.addEventListener('click', ({ target }) => this.#choose(target.closest('[role=option]')))
  }

  close() {
    this.#asked += 1
    clearTimeout(this.#timer)
    this.#list.replaceChildren()
    this.#list.hidden = true
    this.#input.setAttribute('aria-expanded', 'false')
    this.#activate(-1)
  }

  #suggestSoon() {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#suggest(), WAIT_MS)
  }

  async #suggest() {
    const text = this.#input.value.trim()
    if (!text) return this.close()
    this.#asked += 1
    const asked = this.#asked
    const found = await findSymbols(text).catch(() => [])
    if (asked !== this.#asked) return
    if (!found.length) return this.close()
    this.#list.replaceChildren(...found.map((each, index) => this.#option(each, index)))
    this.#list.hidden = false
    this.#input.setAttribute('aria-expanded', 'true')
    this.#activate(-1)
  }

  #option({ symbol, name, exchange }, index) {
    const option = document.createElement('li')
    Object.assign(option, { id: `${this.#list.id}-${index}`, role: 'option', ariaSelected: 'false' })
    option.dataset.symbol = symbol
    for (const [kind, text] of [['b', symbol], ['span', name ?? ''], ['small', exchange ?? '']]) {
      option.append(Object.assign(document.createElement(kind), { textContent: text }), ' ')
    }
    return option
  }

  #follow(event) {
    const options = this.#list.children.length
    if (event.key === 'Escape' && options) this.close()
    else if (event.key === 'ArrowDown' && options) this.#activate((this.#active + 1) % options)
    else if (event.key === 'ArrowDown') this.#suggest()
    else if (event.key === 'ArrowUp' && options) this.#activate((this.#active <= 0 ? options : this.#active) - 1)
    else if (event.key === 'Enter' && this.#active >= 0) this.#choose(this.#list.children[this.#active])
    else return
    event.preventDefault()
  }

  #activate(index) {
    this.#active = index
    const options = [...this.#list.children]
    options.forEach((option, at) => option.setAttribute('aria-selected', String(at === index)))
    if (options[index]) this.#input.setAttribute('aria-activedescendant', options[index].id)
    else this.#input.removeAttribute('aria-activedescendant')
    options[index]?.scrollIntoView({ block: 'nearest' })
  }

  #choose(option) {
    if (!option) return
    this.#input.value = option.dataset.symbol
    this.close()
    this.#onChoose()
  }
}
