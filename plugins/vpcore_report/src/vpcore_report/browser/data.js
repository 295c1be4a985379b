// The data of the page, and the small parts that its charts share.
import { css } from "./colors.js";

const TYPES = { u1: Uint8Array, i1: Int8Array, u2: Uint16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };

// A text of the page is zlib data in base64: two words with the length of the header, the header, columns.
export async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = await new Response(stream).arrayBuffer(), length = new DataView(raw).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(raw, 8, length)));
  return { header, column: ([type, at, n]) => new TYPES[type](raw, 8 + length + at, n) };
}

export function make(tag, text, more = {}) {
  return Object.assign(document.createElement(tag), text === undefined ? {} : { textContent: text }, more);
}

export function button(text, title, action) {
  const made = make("button", text, { title, type: "button", onclick: action });
  made.setAttribute("aria-label", title);
  return made;
}

// A choice of one name of several, with its label.
export function choice(label, names, action) {
  const box = make("label", `${label} `), select = make("select");
  select.append(...names.map((name) => new Option(name, name)));
  select.onchange = () => action(select.value);
  box.append(select);
  return { box, select };
}

// The context of a canvas in CSS pixels, cleared.
export function surface(canvas) {
  const ratio = devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = canvas, g = canvas.getContext("2d");
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
  }
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, w, h);
  g.font = "11px system-ui, sans-serif";
  return { g, w, h };
}

const tip = make("div", "", { id: "tip", hidden: true });
document.body.append(tip);

// Text beside the pointer; no text hides it.
export function tell(text, event) {
  tip.hidden = !text;
  if (!text) return;
  if (tip.textContent !== text) tip.textContent = text;
  const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 4);
  const y = event.clientY + 18 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 18;
  tip.style.left = `${Math.max(x, 2)}px`;
  tip.style.top = `${Math.max(y, 2)}px`;
}

export const signed = (value, digits = 2) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;

export function number(value) {
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? String(value) : Number(value.toPrecision(4)).toString();
}

export function clock(zone, more = {}) {
  return new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", ...more });
}

export const colours = (...names) => Object.fromEntries(names.map((name) => [name, css("--" + name)]));

// Round numbers between two values, at most `most` of them.
export function ticks(low, high, most) {
  const least = (high - low) / Math.max(most, 1) || 1, unit = 10 ** Math.floor(Math.log10(least));
  const step = unit * [1, 2, 5, 10].find((part) => part * unit >= least * 0.999);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return found;
}
