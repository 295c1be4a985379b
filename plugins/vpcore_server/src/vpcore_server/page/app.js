// The page: it takes what the worker delivers, and draws on animation frames when something came.
import { N } from "./colors.js";
import { Heat, LAYERS } from "./heat.js";
import { Ladder } from "./ladder.js";
import { Store, N_BINS } from "./store.js";
import { Strip } from "./strip.js";
import { Experiments } from "./experiments.js";

const $ = (id) => document.getElementById(id);
const OLD = new Set(["stale", "refused", "ended"]); // the last numbers are not the present ones
const SILENT_MS = 3000; // a live page without a bin for so long is stale
const query = new URLSearchParams(location.search);
const token = new URLSearchParams(location.hash.replace(/^#(stream|experiments)?&?/, "")).get("token") ?? sessionStorage.getItem("token");
if (token) sessionStorage.setItem("token", token);
const headers = token ? { Authorization: `Bearer ${token}` } : {};

const state = { hello: null, store: null, status: {}, end: false, refused: null, closed: false, heard: 0, frozen: false, delay: null, dirty: true, notice: null, frames: 0, worst: 0, spent: 0 };
const heat = new Heat($("heat")), strip = new Strip($("strip")), ladder = new Ladder($("ladder"));
const worker = new Worker("/page/socket.js");
export const vp = (window.vp = { state, heat, strip, ladder, worker });

export async function ask(path) {
  const answer = await fetch(path, { headers });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error?.message ?? `The server answered ${answer.status}.`);
  return body;
}

// -- the stream ---------------------------------------------------------------------------------------------------------

export function open(serving) {
  Object.assign(state, { hello: null, store: null, status: {}, end: false, refused: null, closed: false, heard: Date.now(), notice: null, dirty: true });
  heat.reset(null);
  const url = new URL(`/v1/stream?serving=${encodeURIComponent(serving)}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  worker.postMessage({ kind: "open", url: url.href, token, last: N_BINS });
  document.title = `${serving} · vp serve`;
}

worker.onmessage = ({ data: message }) => {
  state.dirty = true;
  if (message.kind === "bins") return takeBins(message);
  if (message.kind === "closed") { state.closed = !message.over; return; }
  take(message.text);
};

function takeBins({ data, at }) {
  const { store } = state;
  if (!store) return;
  const added = store.add(data);
  heat.add(added);
  if (added.length) state.heard = Date.now(); // bins of before are no news
  state.closed = false;
  if (document.hidden) drawn();
  const stored = (store.get(store.last, "flags") & 16) !== 0;
  if (!stored) {
    const delay = Math.max(at - store.sent, 0);
    state.delay = state.delay === null ? delay : 0.9 * state.delay + 0.1 * delay;
  }
}

function take(text) {
  const { store } = state;
  if (text.type === "hello") {
    state.closed = false;
    state.end = false;
    if (state.store && sameSession(text, state.hello)) { state.hello = text; return; } // a connection that goes on
    state.hello = text;
    state.store = new Store(text);
    heat.reset(state.store);
    const zone = { timeZone: text.timezone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
    heat.clock = new Intl.DateTimeFormat("en-US", zone);
    state.clock = new Intl.DateTimeFormat("en-US", { ...zone, fractionalSecondDigits: 1, timeZoneName: "short" });
    describe();
  } else if (text.type === "status") {
    state.status = text;
    if (store) store.held = text.open.map((position) => ({ bin: position.entry_bin, side: position.side, level: position.entry_price / store.tick }));
  }
  else if (text.type === "event") { if (store && !store.events.some((event) => event.bin_seq === text.bin_seq)) store.events = [...store.events.slice(-2000), text]; }
  else if (text.type === "gap") { if (text.until_ns !== null) state.notice = `Records were lost for ${((text.until_ns - text.since_ns) / 1e9).toFixed(1)} s, until ${state.clock.format(text.until_ns / 1e6)}: ${text.reason}`; }
  else if (text.type === "end") state.end = true;
  else if (text.type === "error") state.refused = text;
  else if (text.type === "alias" || text.type === "notice") state.notice = text.message;
  banner();
}

const sameSession = (a, b) => a.session === b.session;

function describe() {
  const { hello } = state;
  $("name").textContent = hello.alias ? `${hello.alias} · ${hello.serving_id}` : hello.serving_id;
  $("signal").textContent = `${hello.signal} on ${hello.symbol}`;
  $("waits").hidden = hello.barriers.entry !== "maker";
  banner();
}

function banner() {
  const { hello, refused, notice, status } = state, lines = [];
  if (refused) lines.push(refused.message);
  if (hello?.verdict === "unproven") lines.push(`Unproven: ${hello.reasons.join(" ") || hello.summary}`);
  if (hello?.weaknesses.length) lines.push(`Weak besides; this decides nothing: ${hello.weaknesses.join(" ")}`);
  if (hello?.warning) lines.push(hello.warning);
  if (status.doubt) lines.push(status.doubt);
  if (notice) lines.push(notice);
  const box = $("banner"), text = lines.join(" · ");
  if (box.textContent !== text) box.textContent = text;
  box.hidden = !text;
  box.dataset.kind = refused ? "error" : "note";
}

// -- the badge ----------------------------------------------------------------------------------------------------------

function badge() {
  const { hello, status, end, refused, closed, heard, store } = state;
  if (refused) return ["refused", "REFUSED"];
  if (end) return ["ended", "ENDED"];
  if (!hello) return closed ? ["stale", "OFFLINE"] : ["connecting", "CONNECTING"];
  const silent = Date.now() - heard, age = status.feed_age_s ?? 0;
  if (closed || (store?.last >= 0 && silent > SILENT_MS)) return ["stale", `STALE ${Math.floor(silent / 1000)} s`];
  if (status.lost) return age > 2 ? ["stale", `STALE ${Math.floor(age)} s`] : ["gap", "GAP"];
  if (!store || store.last < 0) return ["warming", "WARMING 0 %"];
  if (status.warmup_bins_left > 0) return ["warming", `WARMING ${Math.floor(100 * (1 - status.warmup_bins_left / Math.max(status.warmup_bins, 1)))} %`];
  return hello.live ? ["live", "LIVE"] : ["replay", hello.speed === "max" ? "REPLAY max" : `REPLAY ×${hello.speed}`];
}

function header() {
  const [kind, text] = badge(), box = $("badge"), { store } = state;
  if (box.dataset.state !== kind) document.body.dataset.state = box.dataset.state = kind;
  if (box.textContent !== text) box.textContent = text;
  if (!store || store.last < 0) return;
  const shown = Math.min(Math.round(heat.end), store.last);
  if (store.has(shown)) {
    set("clock", state.clock.format(store.ms[shown % N_BINS]));
    set("touch", store.valid(shown) ? `${OLD.has(kind) ? "last " : ""}${store.price(store.get(shown, "bid"))} / ${store.price(store.get(shown, "ask"))}` : "no book");
  }
  const past = (store.last - shown) * state.hello.bin_ns / 1e9;
  set("past", heat.follow || past < 1 ? "" : `showing ${past.toFixed(0)} s ago`);
  set("latency", state.delay === null || OLD.has(kind) ? "" : `delay ${state.delay.toFixed(0)} ms`);
  set("skipped", store.skipped ? `${store.skipped} skipped` : "");
}

function set(id, text) { if ($(id).textContent !== text) $(id).textContent = text; }

// -- frames -------------------------------------------------------------------------------------------------------------

let told = -1;

// A hidden page draws nothing, and keeps up all the same.
function drawn() {
  const last = state.store?.last ?? -1;
  if (last !== told && last >= 0) worker.postMessage({ kind: "drawn", bin: last });
  told = last;
}

function frame() {
  requestAnimationFrame(frame);
  drawn();
  if (!state.dirty || $("stream-view").hidden) return;
  state.dirty = false;
  const begin = performance.now();
  if (state.store) {
    if (!state.frozen || heat.moved) { heat.moved = false; heat.draw(state.hello.barriers); strip.draw(heat, state.hello); ladder.draw(heat); legend(); if (pointer) hover(); }
  } else heat.draw({});
  header();
  state.spent = performance.now() - begin;
  state.worst = Math.max(state.worst, state.spent);
  state.frames++;
}

function legend() {
  const { kind } = LAYERS[heat.layer], key = `${heat.layer}|${heat.cutoff}|${kind}`;
  if (legend.key === key) return;
  legend.key = key;
  const g = $("scale").getContext("2d"), image = g.createImageData(120, 10), words = new Uint32Array(image.data.buffer), colours = heat.scales[kind];
  for (let i = 0; i < words.length; i++) words[i] = colours[Math.round((i % 120) / 119 * (N - 1))];
  g.putImageData(image, 0, 0);
  const number = (value) => Number(value.toPrecision(3)).toString();
  $("low").textContent = kind === "diverging" ? `−${number(heat.cutoff)}` : "0";
  $("high").textContent = number(heat.cutoff);
}

// -- hover --------------------------------------------------------------------------------------------------------------

let pointer = null;

function hover() {
  const box = $("hover"), { store, hello } = state;
  const seq = store ? Math.min(heat.seqAt(Math.min(pointer.x, heat.plot)), store.last) : -1;
  if (!store || !store.has(seq)) { box.hidden = true; return; }
  const level = heat.levelAt(pointer.y), lines = [`${state.clock.format(store.ms[seq % N_BINS])}   bin ${seq}`];
  if (!store.valid(seq)) lines.push("no valid book");
  else {
    const mid2 = store.mid2(seq), index = store.index(mid2, level);
    lines.push(`bid ${store.get(seq, "bid_size")} × ${store.price(store.get(seq, "bid"))}   ask ${store.price(store.get(seq, "ask"))} × ${store.get(seq, "ask_size")}`);
    lines.push(`bought ${store.get(seq, "buy_volume")}   sold ${store.get(seq, "sell_volume")}   events ${store.get(seq, "events")}   value ${signalValue(seq)}`);
    if (index >= 0) {
      lines.push(`price ${store.price(level)}   cell ${index - store.radius}`);
      const names = store.columns;
      for (let i = 0; i < names.length; i += 2) lines.push(names.slice(i, i + 2).map((name) => `${name.padEnd(10)}${format(store.cell(seq, name, index)).padStart(9)}`).join("   "));
      lines.push("score: projected for now, and what came");
      hello.horizons_ms.forEach((ms, h) => {
        const then = seq - Math.round(ms * 1e6 / hello.bin_ns);
        if (!store.has(then) || !store.valid(then)) return;
        const at = store.index(store.mid2(then), level);
        if (at >= 0) lines.push(`  ${ms / 1000} s before ${format(store.fields.projection.array[store.place(then, "projection") + h * store.cells + at] / 127).padStart(8)}   came ${format(store.cell(seq, "score", index)).padStart(8)}`);
      });
    }
  }
  const text = lines.join("\n");
  if (box.textContent !== text) box.textContent = text;
  box.hidden = false;
  const area = $("stream-view").getBoundingClientRect(), chart = $("heat").getBoundingClientRect();
  const x = chart.left - area.left + pointer.x, y = chart.top - area.top + pointer.y;
  box.style.left = `${Math.max(2, Math.min(x + 14, area.width - box.offsetWidth - 4))}px`;
  box.style.top = `${Math.max(2, Math.min(y + 14, area.height - box.offsetHeight - 4))}px`;
}

function signalValue(seq) {
  const field = state.store.fields.value, value = field.array[((seq % N_BINS) * state.store.size + field.offset) / 8];
  return Number.isNaN(value) ? "none" : format(value);
}

function format(value) { return Number.isInteger(value) ? String(value) : value.toPrecision(4); }

// -- controls -----------------------------------------------------------------------------------------------------------

function touched() { heat.moved = true; state.dirty = true; }

function freeze(on = !state.frozen) {
  state.frozen = on;
  if (on) heat.follow = false;
  $("freeze").setAttribute("aria-pressed", on);
  if (!on) follow(true); else touched();
}

function follow(on = true) {
  heat.follow = on;
  if (on) { state.frozen = false; $("freeze").setAttribute("aria-pressed", false); heat.centre = null; }
  $("follow").setAttribute("aria-pressed", on);
  touched();
}

function zoom(factor) {
  heat.zoom = Math.max(0.2, Math.min(16, heat.zoom * factor));
  heat.rows = Math.max(2, Math.min(24, heat.rows * Math.sqrt(factor)));
  touched();
}

function choose(layer) {
  heat.choose(layer);
  for (const button of $("layers").children) button.setAttribute("aria-pressed", button.textContent === layer);
  touched();
}

for (const layer of Object.keys(LAYERS)) {
  const button = document.createElement("button");
  button.textContent = layer;
  button.onclick = () => choose(layer);
  $("layers").append(button);
}
choose("net flow");
$("freeze").onclick = () => freeze();
$("follow").onclick = () => follow();
$("in").onclick = () => zoom(1.5);
$("out").onclick = () => zoom(1 / 1.5);
$("cut").oninput = () => { heat.cut = -Number($("cut").value); heat.redraw(); touched(); };
$("png").onclick = () => $("heat").toBlob((blob) => save(blob, "png"));
$("csv").onclick = () => save(new Blob([visibleCsv()], { type: "text/csv" }), "csv");

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const action = { " ": () => freeze(), f: () => follow(), F: () => follow(), "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5) }[event.key] ?? (Object.keys(LAYERS)[event.key - 1] && (() => choose(Object.keys(LAYERS)[event.key - 1])));
  if (!action || $("stream-view").hidden) return;
  event.preventDefault();
  action();
});

let drag = null;
$("heat").addEventListener("pointerdown", (event) => { drag = { x: event.offsetX, y: event.offsetY }; $("heat").setPointerCapture(event.pointerId); });
$("heat").addEventListener("pointermove", (event) => {
  pointer = { x: event.offsetX, y: event.offsetY };
  if (drag && heat.store && (event.buttons & 1)) {
    heat.follow = false;
    $("follow").setAttribute("aria-pressed", false);
    heat.end = Math.max(heat.store.oldest, Math.min(heat.store.last, heat.end - (event.offsetX - drag.x) / heat.zoom));
    heat.centre += (event.offsetY - drag.y) / heat.rows;
    drag = { x: event.offsetX, y: event.offsetY };
  }
  touched();
});
$("heat").addEventListener("pointerup", () => { drag = null; });
$("heat").addEventListener("pointerleave", () => { pointer = null; $("hover").hidden = true; });
$("heat").addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15); }, { passive: false });
addEventListener("resize", touched);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { heat.theme(); strip.theme(); ladder.theme(); legend.key = null; touched(); });

function save(blob, kind) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${state.hello?.serving_id ?? "vp"}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export function visibleCsv() {
  const { store } = state, lines = ["bin_seq,end_utc,valid,bid,ask,bid_size,ask_size,buy_volume,sell_volume,value"];
  for (let seq = heat.from; seq <= Math.min(Math.round(heat.end), store.last); seq++) {
    if (!store.has(seq)) continue;
    const get = (name) => store.get(seq, name), valid = store.valid(seq);
    lines.push([seq, new Date(store.ms[seq % N_BINS]).toISOString(), Number(valid), valid ? store.price(get("bid")) : "", valid ? store.price(get("ask")) : "", get("bid_size"), get("ask_size"), get("buy_volume"), get("sell_volume"), signalValue(seq).replace("none", "")].join(","));
  }
  return lines.join("\n") + "\n";
}
vp.visibleCsv = visibleCsv;

// -- views --------------------------------------------------------------------------------------------------------------

const experiments = new Experiments($("experiments-view"), ask, (alias) => { location.assign(`/?serving=${encodeURIComponent(alias)}`); });

function route() {
  const there = location.hash.startsWith("#experiments");
  $("stream-view").hidden = there;
  $("experiments-view").hidden = !there;
  $("to-stream").toggleAttribute("aria-current", !there);
  $("to-experiments").toggleAttribute("aria-current", there);
  if (there) experiments.show();
  touched();
}
addEventListener("hashchange", route);
route();

async function start() {
  let serving = query.get("serving");
  try {
    const { aliases, versions } = await ask("/v1/servings");
    const names = [...Object.keys(aliases), ...versions.map((version) => version.serving_id).filter((id) => !Object.values(aliases).includes(id))];
    serving ??= names[0];
    for (const name of names) $("servings").append(new Option(name, name, false, name === serving));
    if (!serving) state.notice = "Nothing is published yet: vp promote EXPERIMENT --alias NAME";
  } catch (error) { state.notice = error.message; }
  $("servings").onchange = () => location.assign(`/?serving=${encodeURIComponent($("servings").value)}`);
  if (serving) open(serving);
  banner();
}
start();
setInterval(() => { header(); }, 250);
requestAnimationFrame(frame);
