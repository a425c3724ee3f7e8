// Elements that are kept and changed in place: a reader's place in a table, and a selection, survive an update.

import { safe } from "./dashboard-format.js";

export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function setText(element, text) {
  const shown = safe(text);
  if (element.textContent !== shown) element.textContent = shown;
}

export function setClass(element, name, holds) {
  if (element.classList.contains(name) !== Boolean(holds)) element.classList.toggle(name, Boolean(holds));
}

// Fills a table. A column has a label, text(row), and may have: short (its label on a phone), number (aligned to the
// right), wide (a line of its own on a phone), tone(row) (a class), draw(cell, row) in place of text. The first column
// names the row.
// Roles are written out because a table that a style sheet lays out as cards is none to some screen readers any more.
export function fillTable(table, columns, rows, whenEmpty) {
  if (!table.tHead) {
    table.setAttribute("role", "table");
    const heads = columns.map((column) =>
      make("th", { scope: "col", role: "columnheader", ...(column.number ? { class: "number" } : {}) }, column.label));
    const head = make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads));
    table.append(head, make("tbody", { role: "rowgroup" }));
  }
  const body = table.tBodies[0];
  if (rows.length === 0) {
    if (body.rows.length !== 1 || body.rows[0].cells.length !== 1) {
      body.replaceChildren(make("tr", { role: "row" },
        make("td", { role: "cell", class: "empty", colspan: String(columns.length) })));
    }
    setText(body.rows[0].cells[0], whenEmpty);
    return;
  }
  if (body.rows.length === 1 && body.rows[0].cells.length !== columns.length) body.replaceChildren();
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  while (body.rows.length < rows.length) body.append(newRow(columns));
  rows.forEach((row, index) => fillRow(body.rows[index], columns, row));
}

function newRow(columns) {
  return make("tr", { role: "row" }, ...columns.map((column, index) => {
    const kinds = [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ");
    const options = { "data-label": column.short ?? column.label, ...(kinds ? { class: kinds } : {}) };
    return index === 0
      ? make("th", { scope: "row", role: "rowheader", ...options })
      : make("td", { role: "cell", ...options });
  }));
}

function fillRow(element, columns, row) {
  columns.forEach((column, index) => {
    const cell = element.cells[index];
    if (column.draw) column.draw(cell, row);
    else setText(cell, column.text(row));
    if (column.tone) setTone(cell, column.tone(row));
  });
}

export function setTone(element, tone) {
  for (const each of ["good", "warn", "bad", "quiet"]) setClass(element, each, each === tone);
}

// Fills a list of names and values.
export function fillFacts(list, facts) {
  while (list.children.length > facts.length) list.lastElementChild.remove();
  while (list.children.length < facts.length) list.append(make("div", {}, make("dt"), make("dd")));
  facts.forEach(([name, value, tone], index) => {
    const [term, text] = list.children[index].children;
    setText(term, name);
    setText(text, value);
    setTone(text, tone);
  });
}

export function fillList(list, texts) {
  while (list.children.length > texts.length) list.lastElementChild.remove();
  while (list.children.length < texts.length) list.append(make("li"));
  texts.forEach((text, index) => setText(list.children[index], text));
}
