// The ladder: one row per price of the newest bin.
import { css } from "./colors.js";

const COLUMNS = [
  ["adds/s", 0.1], ["pulls/s", 0.21], ["bid", 0.35], ["price", 0.52], ["ask", 0.66], ["press.", 0.77], ["vacuum", 0.89], ["score", 1],
];

export class Ladder {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.theme();
  }

  theme() { this.colour = Object.fromEntries(["paper", "panel", "ink", "soft", "line", "bid", "ask"].map((name) => [name, css("--" + name)])); }

  draw(heat) {
    const ratio = devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = this.canvas, g = this.context, store = heat.store;
    if (!w || !h) return;
    if (this.canvas.width !== Math.round(w * ratio) || this.canvas.height !== Math.round(h * ratio)) {
      this.canvas.width = Math.round(w * ratio);
      this.canvas.height = Math.round(h * ratio);
    }
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.fillStyle = this.colour.paper;
    g.fillRect(0, 0, w, h);
    g.font = "11px system-ui, sans-serif";
    g.textAlign = "right";
    g.textBaseline = "middle";
    const right = (part) => part * (w - 8) + 2, row = 17;
    g.fillStyle = this.colour.soft;
    for (const [name, part] of COLUMNS) g.fillText(name, right(part), 9);
    if (!store || store.last < 0) return;
    const seq = Math.min(Math.round(heat.end), store.last);
    if (!store.has(seq) || !store.valid(seq)) { // never the book of before
      g.textAlign = "center";
      g.fillText("no valid book", w / 2, h / 2);
      return;
    }
    const mid2 = store.mid2(seq), bid = store.get(seq, "bid"), ask = store.get(seq, "ask");
    const n = Math.floor((h - 20) / row), top = Math.round(mid2 / 2) + Math.floor(n / 2);
    const shown = [];
    let most = 1;
    for (let i = 0; i < n; i++) {
      const level = top - i, index = store.index(mid2, level);
      if (index < 0) continue;
      const value = (name) => store.cell(seq, name, index);
      most = Math.max(most, value("bid_depth"), value("ask_depth"));
      shown.push([i, level, value]);
    }
    for (const [i, level, value] of shown) {
      const y = 20 + i * row + row / 2, bids = value("bid_depth"), asks = value("ask_depth");
      if (level === bid || level === ask) { g.fillStyle = this.colour.panel; g.fillRect(0, y - row / 2, w, row); }
      g.globalAlpha = 0.28;
      g.fillStyle = this.colour.bid;
      g.fillRect(right(0.36) - bids / most * 0.12 * w, y - row / 2 + 2, bids / most * 0.12 * w, row - 4);
      g.fillStyle = this.colour.ask;
      g.fillRect(right(0.54), y - row / 2 + 2, asks / most * 0.12 * w, row - 4);
      g.globalAlpha = 1;
      g.fillStyle = this.colour.soft;
      g.fillText(short(value("v_add")), right(0.1), y);
      g.fillText(short(value("v_pull")), right(0.21), y);
      g.fillText(short(value("pressure")), right(0.77), y);
      g.fillText(short(value("vacuum")), right(0.89), y);
      g.fillStyle = this.colour.bid;
      if (bids) g.fillText(bids, right(0.35), y);
      g.fillStyle = this.colour.ask;
      if (asks) g.fillText(asks, right(0.66), y);
      g.fillStyle = this.colour.ink;
      g.fillText(store.price(level), right(0.52), y);
      g.fillText(value("score").toFixed(2), right(1), y);
    }
  }
}

function short(value) {
  const size = Math.abs(value);
  if (size < 0.005) return "";
  return size < 10 ? value.toFixed(2) : size < 100 ? value.toFixed(1) : value.toFixed(0);
}
