// The page: one stream, whose looks are shown as they come. What is not heard of any more is never shown as if it were.

import { Chart, History } from "./dashboard-chart.js";
import { clockTime, duration } from "./dashboard-format.js";
import * as sections from "./dashboard-sections.js";
import { fillList, setClass, setText, setTone } from "./dashboard-table.js";

const REOPEN_SECONDS = 3;
const MISSED_LOOKS = 3;

const history = new History();
const chart = new Chart(history);
const at = (id) => document.getElementById(id);

let source = null;
let look = null;
let heardAt = null; // when, by this browser; a Date
let lastSign = performance.now();
let isConnected = false;
let reopening = null;

function open() {
  reopening = null;
  source?.close();
  lastSign = performance.now();
  source = new EventSource("events");
  source.addEventListener("history", (event) => history.take(JSON.parse(event.data)));
  source.addEventListener("look", (event) => take(JSON.parse(event.data)));
  source.addEventListener("error", lose);
}

function take(heard) {
  look = heard;
  heardAt = new Date();
  lastSign = performance.now();
  isConnected = true;
  if (heard.newest) history.add(heard.newest);
  show();
}

function lose() {
  source?.close();
  const wasConnected = isConnected;
  isConnected = false;
  if (wasConnected || !look) show();
  // Spread out, so that a restart does not bring all watchers back in one instant.
  reopening ??= setTimeout(open, 1000 * REOPEN_SECONDS * (0.5 + Math.random()));
}

// A connection can die without a word: a machine that slept, a tunnel that hangs.
function check() {
  const silent = (performance.now() - lastSign) / 1000;
  if (reopening === null && silent > MISSED_LOOKS * (look?.every_seconds ?? 5)) lose();
  if (!isConnected && heardAt) showWhen();
}

function show() {
  const detail = look?.detail ?? null;
  const isCurrent = isConnected && Boolean(look?.is_current);
  const foundIsCurrent = isConnected && Boolean(look?.found_is_current);
  showState(detail);
  showWhen();
  const lookedAt = heardAt && detail?.looked_seconds_ago != null ? before(detail.looked_seconds_ago) : null;
  for (const id of ["freshness", "types", "upstream", "queue"]) showPast(id, isCurrent, lookedAt);
  const foundAt = look?.found_seconds_ago != null ? before(look.found_seconds_ago) : null;
  for (const id of ["top", "outcomes"]) showPast(id, foundIsCurrent, foundAt);
  for (const id of ["presence", "flags"]) showPast(id, isConnected && Boolean(detail), detail ? heardAt : null);
  sections.showFreshness(detail, isCurrent);
  sections.showViewers(detail, isConnected);
  sections.showTypes(detail, history);
  sections.showQueue(detail, isCurrent);
  sections.showUpstreams(detail, look?.holds);
  sections.showTop(look?.top_pairs ?? null);
  sections.showOutcomes(look?.outcomes ?? null);
  sections.showPresence(detail, look?.sessions ?? null);
  sections.showFlags(detail);
  chart.show();
}

function before(seconds) {
  return new Date(heardAt.getTime() - 1000 * seconds);
}

function showState(detail) {
  const [word, tone, reason] = stateOf(detail);
  setText(at("state"), word);
  setTone(at("state"), tone);
  setText(at("reason"), reason);
  setText(at("version"), detail ? detail.version : "");
  document.title = `${word}: refreshd`;
  const problems = isConnected && detail ? detail.problems : [];
  fillList(at("problems"), problems.map((problem) => `${problem.part}: ${problem.reason}`));
  at("problems").hidden = problems.length === 0;
}

function stateOf(detail) {
  if (!look) return isConnected || reopening === null ? ["connecting", "quiet", ""] : disconnected();
  if (!isConnected) return disconnected();
  if (!detail) return ["unknown", "bad", "The daemon cannot tell how it is; its log says why."];
  if (detail.phase !== "running") return [detail.phase, "warn", detail.reason];
  if (detail.status !== "ok") {
    const others = detail.problems.length - 1;
    return ["failing", "bad", others > 0 ? `${others + 1} problems.` : ""];
  }
  return ["ok", "good", `${detail.reason}, up for ${duration(detail.uptime_seconds)}`];
}

function disconnected() {
  return ["disconnected", "bad", "No word from the daemon. It is asked again every few seconds; if this stays so, load the"
    + " page again: the daemon may be down, ask for a token, or have too many watchers."];
}

function showWhen() {
  if (!heardAt) return setText(at("when"), "");
  if (isConnected) return setText(at("when"), `heard at ${clockTime(heardAt)}`);
  const ago = (Date.now() - heardAt.getTime()) / 1000;
  return setText(at("when"), `last heard at ${clockTime(heardAt)}, ${duration(ago)} ago`);
}

// Marks a section whose numbers are not those of now.
function showPast(id, isCurrent, since) {
  const section = at(id);
  const note = section.querySelector(".past-note");
  setClass(section, "past", !isCurrent);
  note.hidden = isCurrent;
  const text = since ? `Not current: this is how it was at ${clockTime(since)}.` : "Not known yet.";
  setClass(note, "quiet", !since);
  if (!isCurrent) setText(note, text);
}

show();
open();
setInterval(check, 1000);
