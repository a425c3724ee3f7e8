// S over time: one chart with uPlot, small lines in tables, and the same in words.

import { UNKNOWN, percent, shortTime } from "./dashboard-format.js";
import { fillTable, setText } from "./dashboard-table.js";

const HEIGHT = 170;
const ROWS = 12;
const LEAST_SECONDS = 600;
const STEPS = [60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const SVG = "http://www.w3.org/2000/svg";

export class History {
  constructor() {
    this.columns = { every_seconds: 30, at: [], overall: [], by_type: {} };
  }

  take(columns) {
    this.columns = columns;
  }

  // Adds a point, unless the history that came with it has it already.
  add(point) {
    const { at, overall, by_type: byType } = this.columns;
    if (at.length > 0 && point.at <= at[at.length - 1] + 0.5) return;
    for (const name of Object.keys(point.by_type)) byType[name] ??= at.map(() => null);
    at.push(point.at);
    overall.push(point.overall);
    for (const [name, values] of Object.entries(byType)) values.push(point.by_type[name] ?? null);
    const surplus = at.length - 1500;
    if (surplus > 0) [at, overall, ...Object.values(byType)].forEach((values) => values.splice(0, surplus));
  }
}

export class Chart {
  constructor(history) {
    this.history = history;
    this.box = document.getElementById("chart");
    this.select = document.getElementById("chart-type");
    this.value = document.getElementById("chart-value");
    this.caption = document.getElementById("chart-text");
    this.table = document.getElementById("chart-table");
    this.plot = null;
    this.select.addEventListener("change", () => this.rebuild());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
    new ResizeObserver(() => this.plot?.setSize({ width: this.box.clientWidth, height: HEIGHT })).observe(this.box);
  }

  rebuild() {
    this.plot?.destroy();
    this.plot = null;
    this.show();
  }

  show() {
    this.listTypes();
    const data = this.data();
    if (this.plot) this.plot.setData(data);
    else if (this.history.columns.at.length > 0) this.plot = new uPlot(this.options(), data, this.box);
    this.tell();
  }

  data() {
    const { at, overall, by_type: byType } = this.history.columns;
    const inPercent = (values) => values.map((value) => (value === null ? null : 100 * value));
    const chosen = byType[this.select.value];
    return [at, inPercent(overall), chosen ? inPercent(chosen) : at.map(() => null)];
  }

  options() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--muted"), font: "12px system-ui, sans-serif", ticks: { show: false },
      grid: { stroke: colour("--line"), width: 1 },
    };
    const line = (name) => ({ stroke: colour(name), width: 1.5, points: { size: 4 }, spanGaps: false });
    return {
      width: this.box.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      padding: [8, 8, 0, 0],
      scales: {
        x: { range: (_plot, low, high) => [Math.min(low, high - LEAST_SECONDS), high] },
        y: { range: (_plot, _low, high) => [0, Math.max(high * 1.15 || 0, 1)] },
      },
      axes: [
        { ...axis, size: 28, space: 60, incrs: STEPS, values: (_plot, splits) => splits.map(shortTime) },
        { ...axis, size: 52, space: 34, values: (_plot, splits) => splits.map((split) => `${Number(split.toFixed(2))} %`) },
      ],
      series: [{}, { ...line("--accent"), fill: colour("--accent-soft") }, line("--second")],
      hooks: { setCursor: [(plot) => this.point(plot.cursor.idx)] },
    };
  }

  // Says what is under the pointer.
  point(index) {
    const { at, overall, by_type: byType } = this.history.columns;
    if (index === null || index === undefined || at[index] === undefined) return setText(this.value, "");
    const chosen = this.select.value && byType[this.select.value];
    const more = chosen ? `, ${this.select.value} ${percent(chosen[index])}` : "";
    return setText(this.value, `${shortTime(at[index])}: S ${percent(overall[index])}${more}`);
  }

  listTypes() {
    const names = Object.keys(this.history.columns.by_type).sort();
    const known = [...this.select.options].slice(1).map((option) => option.value);
    if (names.join() === known.join()) return;
    const chosen = this.select.value;
    this.select.replaceChildren(this.select.options[0], ...names.map((name) => new Option(name, name)));
    this.select.value = names.includes(chosen) ? chosen : "";
  }

  tell() {
    const { at, overall, by_type: byType } = this.history.columns;
    setText(this.caption, at.length === 0 ? "No points yet." : `${spanOf(at)}: ${inWords(overall)}.`);
    const name = this.select.value;
    const columns = [
      { label: "Time", text: (index) => shortTime(at[index]) },
      { label: "S", number: true, text: (index) => percent(overall[index]) },
    ];
    const step = Math.max(1, Math.ceil(at.length / ROWS));
    const rows = [...at.keys()].filter((index) => (at.length - 1 - index) % step === 0).reverse();
    this.table.tHead?.remove();
    [...this.table.tBodies].forEach((body) => body.remove());
    if (byType[name]) columns.push({ label: name, number: true, text: (index) => percent(byType[name][index]) });
    fillTable(this.table, columns, rows, "No points yet.");
  }
}

function spanOf(at) {
  return `${shortTime(at[0])} to ${shortTime(at[at.length - 1])}`;
}

function inWords(values) {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return "S is not known, or nobody looked at anything";
  const last = values[values.length - 1];
  const now = last === null ? `last point ${UNKNOWN}` : `last point ${percent(last)}`;
  return `${now}, lowest ${percent(Math.min(...known))}, highest ${percent(Math.max(...known))}`;
}

// Draws a line as large as its cell.
export function drawTrend(cell, values) {
  const known = values.filter((value) => value !== null);
  let image = cell.firstElementChild;
  if (!image) {
    image = document.createElementNS(SVG, "svg");
    image.setAttribute("class", "trend");
    image.setAttribute("viewBox", "0 0 100 20");
    image.setAttribute("preserveAspectRatio", "none");
    image.setAttribute("role", "img");
    image.append(document.createElementNS(SVG, "path"));
    cell.append(image);
  }
  image.setAttribute("aria-label", known.length === 0 ? "no points" : inWords(values));
  image.firstElementChild.setAttribute("d", pathOf(values, Math.max(...known, 0.05)));
}

function pathOf(values, highest) {
  const step = 100 / Math.max(values.length - 1, 1);
  let path = "";
  let pen = "M";
  values.forEach((value, index) => {
    if (value === null) {
      pen = "M";
      return;
    }
    path += `${pen}${(index * step).toFixed(2)} ${(19 - 18 * (value / highest)).toFixed(2)}`;
    pen = "L";
  });
  return path;
}
