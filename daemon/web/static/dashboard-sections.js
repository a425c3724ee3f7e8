// What each section of the page shows of a look.

import { drawTrend } from "./dashboard-chart.js";
import { UNKNOWN, bytes, count, duration, freshPercent, percent, price } from "./dashboard-format.js";
import { fillFacts, fillList, fillTable, make, setClass, setText, setTone } from "./dashboard-table.js";

const SVG = "http://www.w3.org/2000/svg";
const sum = (rows, pick) => rows.reduce((total, row) => total + pick(row), 0);
const at = (id) => document.getElementById(id);

// Shows a number that is current, or says that it is unknown and what it was.
function tile(id, text, note, isCurrent) {
  setText(at(id), isCurrent ? text : "unknown");
  setClass(at(id), "unknown", !isCurrent);
  const below = at(`${id}-note`);
  if (below) setText(below, isCurrent ? note : text === UNKNOWN ? "" : `was ${text}`);
}

export function showFreshness(detail, isCurrent) {
  const rows = detail?.freshness;
  const known = Boolean(rows);
  const viewers = known ? sum(rows, (row) => row.viewers) : null;
  const staleness = detail?.staleness;
  const nobody = known && viewers === 0;
  const stale = known ? viewers - sum(rows, (row) => row.fresh_viewers) : null;
  tile("fresh", nobody ? "nobody looks" : freshPercent(typeof staleness === "number" ? 1 - staleness : null),
    nobody ? "" : "of what viewers see", isCurrent && known);
  tile("staleness", nobody ? UNKNOWN : percent(staleness),
    nobody ? "" : `${count(stale)} of ${count(viewers)} views`, isCurrent && known);
  setTone(at("staleness"), isCurrent && staleness > 0.2 ? "bad" : isCurrent && staleness > 0.05 ? "warn" : "");
  const pairs = known ? sum(rows, (row) => row.pairs) : null;
  const never = known ? sum(rows, (row) => row.never_fresh_pairs) : null;
  tile("pairs", count(pairs), `${count(never)} never fetched yet`, isCurrent && known);
}

export function showViewers(detail, isConnected) {
  const shards = detail && Object.values(detail.presence.shards);
  const viewers = shards ? sum(shards, (shard) => shard.viewers) : null;
  const isHeard = Boolean(detail) && detail.presence.enabled && detail.presence.current && shards.length > 0;
  tile("viewers", count(viewers), "heard by this daemon", isConnected && isHeard);
  if (isConnected && detail && !isHeard) {
    const why = detail.presence.enabled ? "presence is not current" : "presence is off";
    setText(at("viewers-note"), why);
  }
}

function movedText({ flag, move }) {
  if (flag === undefined) return UNKNOWN;
  const broken = move?.broken_gates.length ? `, broken: ${move.broken_gates.join(", ")}` : "";
  return `${flag ? "on" : "off"}${move ? `, ${move.phase}${broken}` : ""}`;
}

export function showTypes(detail, history) {
  const fresh = new Map((detail?.freshness ?? []).map((row) => [row.data_type, row]));
  const flags = detail?.flags.types ?? {};
  const names = [...new Set([...Object.keys(flags), ...fresh.keys()])].sort();
  const rows = names.map((name) => ({ name, flag: flags[name], move: detail?.migration?.[name], ...fresh.get(name) }));
  const isKnown = Boolean(detail?.freshness);
  const number = (pick) => (row) => (isKnown ? (row.pairs ? pick(row) : "0") : UNKNOWN);
  fillTable(at("types-table"), [
    { label: "Type", text: (row) => row.name },
    {
      label: "Moved over",
      short: "Moved",
      text: movedText,
      tone: (row) => (row.move?.broken_gates.length ? "bad" : row.flag ? "good" : "quiet"),
    },
    { label: "Views", number: true, text: number((row) => count(row.viewers)) },
    { label: "Pairs", number: true, text: number((row) => count(row.pairs)) },
    { label: "Never fetched", short: "Never", number: true, text: number((row) => count(row.never_fresh_pairs)) },
    {
      label: "Fresh",
      number: true,
      text: (row) => (row.viewers ? freshPercent(row.fresh_viewers / row.viewers) : UNKNOWN),
      tone: (row) => freshTone(row),
    },
    { label: "S over time", draw: (cell, row) => drawTrend(cell, history.columns.by_type[row.name] ?? []) },
  ], rows, "unknown");
  rows.forEach((row, index) => setClass(at("types-table").tBodies[0].rows[index], "idle", isKnown && !row.viewers));
}

function freshTone(row) {
  if (!row.viewers || !row.flag) return "";
  const share = row.fresh_viewers / row.viewers;
  return share < 0.8 ? "bad" : share < 0.95 ? "warn" : "";
}

export function showQueue(detail, isCurrent) {
  const queue = detail?.queue;
  const types = queue?.types ?? [];
  const total = (pick) => (queue ? count(sum(types, pick)) : UNKNOWN);
  const known = isCurrent && Boolean(queue);
  tile("queue-ready", total((row) => row.pending - row.waiting), "", known);
  tile("queue-later", total((row) => row.waiting), "", known);
  tile("queue-running", total((row) => row.processing), "", known);
  tile("queue-done", queue ? count(queue.rates.finished_in_minute) : UNKNOWN, "", known);
  const overdue = queue?.longest_overdue;
  const overdueText = overdue
    ? `${overdue.symbol} ${overdue.data_type}, due for ${duration(overdue.seconds)}` : "nothing viewed is due";
  const oldest = Math.max(...types.map((row) => row.oldest_seconds ?? -1));
  tile("queue-overdue", queue ? overdueText : UNKNOWN, "", known);
  tile("queue-oldest", queue ? (oldest < 0 ? "none" : duration(oldest)) : UNKNOWN, "", known);
  fillTable(at("queue-table"), [
    { label: "Type", text: (row) => row.data_type },
    { label: "Ready", number: true, text: (row) => count(row.pending - row.waiting) },
    { label: "Later", number: true, text: (row) => count(row.waiting) },
    { label: "Running", number: true, text: (row) => count(row.processing) },
    { label: "First views", number: true, text: (row) => count(row.first_views) },
    { label: "Oldest", number: true, text: (row) => (row.oldest_seconds === null ? "" : duration(row.oldest_seconds)) },
  ], types.filter((row) => row.pending || row.processing), queue ? "No open jobs." : "unknown");
}

export function showOutcomes(outcomes) {
  fillTable(at("outcomes-table"), [
    { label: "Type", text: (row) => row.data_type },
    ...["changed", "unchanged", "empty", "rejected"].map((name) => ({
      label: name[0].toUpperCase() + name.slice(1), number: true, text: (row) => count(row[name]),
    })),
    { label: "Failed", number: true, text: (row) => count(row.failed), tone: (row) => (row.failed ? "bad" : "") },
  ], outcomes ?? [], outcomes ? "No job has ended in the last hour." : "unknown");
  const failed = (outcomes ?? []).filter((row) => row.failed);
  fillList(at("errors"), failed.map((row) =>
    `${row.data_type}, ${duration(row.last_error_seconds_ago)} ago: ${row.last_error ?? "no reason given"}`));
}

export function showTop(pairs) {
  fillTable(at("top-table"), [
    { label: "Symbol", text: (row) => row.symbol },
    { label: "Type", text: (row) => row.data_type },
    { label: "Viewers", number: true, text: (row) => count(row.viewers) },
    {
      label: "Age",
      number: true,
      text: (row) => (row.age_seconds === null ? "never" : duration(row.age_seconds)),
      tone: (row) => (row.is_fresh ? "" : "warn"),
    },
    { label: "TTL", number: true, text: (row) => duration(row.ttl_seconds) },
    { label: "Next due", short: "Due", number: true, text: (row) => due(row.due_in_seconds) },
    { label: "State, and why", wide: true, text: stateOf, tone: (row) => (row.is_fresh ? "good" : "warn") },
  ], pairs ?? [], pairs ? "Nobody looks at anything." : "unknown");
}

function stateOf(row) {
  if (row.is_fresh) return row.why === "fresh" ? "fresh" : `fresh, ${row.why}`;
  return row.age_seconds === null ? row.why : `stale, ${row.why.replace(/^stale, /, "")}`;
}

function due(seconds) {
  if (seconds === null) return "now";
  return seconds > 0 ? `in ${duration(seconds)}` : `for ${duration(-seconds)}`;
}

export function showUpstreams(detail, holds) {
  const box = at("upstreams");
  const rows = detail?.upstreams ?? [];
  if (rows.length === 0) {
    if (!box.firstElementChild || box.firstElementChild.tagName !== "P") box.replaceChildren(make("p"));
    setText(box.firstElementChild, detail?.upstreams ? "None." : "unknown");
    return;
  }
  if (box.firstElementChild?.tagName === "P") box.replaceChildren();
  while (box.children.length > rows.length) box.lastElementChild.remove();
  while (box.children.length < rows.length) box.append(newUpstream());
  rows.forEach((row, index) => fillUpstream(box.children[index], row, holds?.[row.upstream]));
}

function newUpstream() {
  return make("div", { class: "upstream" }, make("h3"), newMeter(), newMeter(), make("dl", { class: "facts" }));
}

function newMeter() {
  const image = document.createElementNS(SVG, "svg");
  image.setAttribute("class", "meter");
  image.setAttribute("aria-hidden", "true");
  image.append(document.createElementNS(SVG, "rect"));
  return make("div", { class: "budget" }, make("p"), image);
}

function fillMeter(element, text, share) {
  const [line, image] = element.children;
  setText(line, text);
  image.firstElementChild.setAttribute("width", `${Math.min(100, Math.max(0, 100 * (share || 0))).toFixed(1)}%`);
  image.firstElementChild.setAttribute("height", "100%");
  setTone(image, share >= 0.95 ? "bad" : share >= 0.8 ? "warn" : "good");
}

function fillUpstream(element, row, held) {
  const [title, calls, received, facts] = element.children;
  setText(title, row.upstream);
  const callShare = row.calls_per_minute ? row.calls_in_window / row.calls_per_minute : null;
  const byteShare = row.bytes_per_30_days ? row.bytes_in_30_days / row.bytes_per_30_days : null;
  fillMeter(calls, `Calls a minute: ${count(row.calls_in_window)} of ${count(row.calls_per_minute)}`
    + ` (${percent(callShare, 0)})`, callShare);
  fillMeter(received, `Bytes of 30 days: ${bytes(row.bytes_in_30_days)} of ${bytes(row.bytes_per_30_days)}`
    + ` (${percent(byteShare)})`, byteShare);
  const isClosed = row.breaker_state === "closed";
  const breaker = isClosed ? "closed" : `${row.breaker_state.replace("_", "-")}: ${row.breaker_reason ?? "no reason given"}`;
  fillFacts(facts, [
    ["Breaker", breaker, isClosed ? "good" : "bad"],
    ["Calls held", held ?? "no", held ? "warn" : ""],
    ...(row.paused_until ? [["Pause asked for", row.pause_reason ?? "no reason given", "warn"]] : []),
    ["Price of a call", price(row.price_calls), ""],
    ["Price of its bytes", price(row.price_bytes), ""],
    ["In the last hour", `${count(row.calls_in_hour)} calls, ${bytes(row.bytes_in_hour)}`, ""],
    ["Ahead of the pace", row.bytes_paced === null ? UNKNOWN
      : row.bytes_paced > 0 ? `no, ${bytes(row.bytes_paced)} in hand` : `yes, by ${bytes(-row.bytes_paced)}`,
    row.bytes_paced !== null && row.bytes_paced <= 0 ? "warn" : ""],
  ]);
}

export function showPresence(detail, sessions) {
  const presence = detail?.presence;
  const text = !presence ? "unknown"
    : !presence.enabled ? "Off: the flag use_presence_tracking is off, and nobody is listened to."
      : presence.current ? "Every topic is current." : "Some topics are not current: who views them is the last known.";
  setText(at("presence-text"), text);
  setTone(at("presence-text"), presence?.enabled && !presence.current ? "warn" : "");
  const isBehind = (row) => row.current < row.topics;
  const rows = Object.entries(presence?.shards ?? {}).map(([name, shard]) => ({ name, ...shard }));
  const current = {
    label: "Current",
    number: true,
    text: (row) => `${count(row.current)} of ${count(row.topics)}`,
    tone: (row) => (isBehind(row) ? "warn" : ""),
  };
  fillTable(at("shards-table"), [
    { label: "Shard", text: (row) => row.name },
    current,
    { label: "Viewers", number: true, text: (row) => count(row.viewers) },
  ], rows, presence ? "None is ours." : "unknown");
  fillTable(at("sessions-table"), [
    { label: "No.", text: (row) => String(row.number) },
    {
      label: "Session",
      number: true,
      text: (row) => (row.age_seconds === null ? "down" : `for ${duration(row.age_seconds)}`),
      tone: (row) => (row.age_seconds === null ? "bad" : ""),
    },
    current,
    { label: "Ended", number: true, text: (row) => count(row.ended) },
    { label: "Topics lost", number: true, text: (row) => count(row.lost) },
  ], sessions ?? [], sessions ? "None." : "unknown");
}

export function showFlags(detail) {
  const flags = detail?.flags;
  fillFacts(at("flags-list"), ["use_presence_tracking", "use_queue_system", "use_new_staleness_check"].map((name) => {
    if (!flags) return [name, "unknown", ""];
    return [name, flags[name] ? "on" : "off", flags[name] ? "good" : "warn"];
  }));
}
