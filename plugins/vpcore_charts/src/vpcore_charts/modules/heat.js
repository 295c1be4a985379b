// The heat map: price by time. Every bin is one column of a ring canvas, drawn once; a frame copies the visible part.
import { N, css, rgba, scale } from "./colors.js";
import { N_BINS } from "./store.js";

export const LAYERS = {
  "net flow": { kind: "diverging", columns: ["pressure", "vacuum"], signs: [1, -1] },
  score: { kind: "diverging", columns: ["score"], signs: [1], fixed: 1 },
  pressure: { kind: "sequential", columns: ["pressure"], signs: [1] },
  vacuum: { kind: "sequential", columns: ["vacuum"], signs: [1] },
  depth: { kind: "sequential", columns: ["bid_depth", "ask_depth"], signs: [1, 1] },
};
const ROWS = 1024; // price levels of the ring, by level modulo ROWS
const TILE = 250; // bins of a canvas of the ring: a browser copies a whole canvas that changes between two frames
const AHEAD = 96; // pixels right of now, for projections
const AXIS = 62;

export class Heat {
  // `margin` pixels right of now hold the projections; 0 leaves them out.
  constructor(canvas, margin = AHEAD) {
    this.canvas = canvas;
    this.margin = margin;
    this.context = canvas.getContext("2d");
    this.tiles = Array.from({ length: N_BINS / TILE }, () => Object.assign(document.createElement("canvas"), { width: TILE, height: ROWS }).getContext("2d"));
    this.column = new ImageData(1, ROWS);
    this.words = new Uint32Array(this.column.data.buffer);
    this.layer = "net flow";
    this.cut = 0;
    this.limit = 1;
    this.zoom = 2; // pixels per bin
    this.rows = 6; // pixels per price level
    this.store = null;
    this.reset(null);
    this.theme();
  }

  reset(store) {
    this.store = store;
    for (const tile of this.tiles) tile.clearRect(0, 0, TILE, ROWS);
    this.end = -1; // last visible bin, with fraction
    this.centre = null; // price level in the middle
    this.follow = true;
    this.seen = 0;
    this.samples = [];
    this.limit = LAYERS[this.layer].fixed ?? 0;
  }

  theme() {
    this.scales = { diverging: scale("diverging"), sequential: scale("sequential") };
    this.hatch = rgba(css("--hatch"), 150);
    this.colour = Object.fromEntries(["paper", "ink", "soft", "line", "grid", "bid", "ask", "long", "short"].map((name) => [name, css("--" + name)]));
    this.redraw();
  }

  get cutoff() { return (this.limit || 1) * 2 ** (this.cut / 5); }

  choose(layer) {
    this.layer = layer;
    this.samples = [];
    this.limit = LAYERS[layer].fixed ?? 0;
    if (this.store) for (let seq = Math.max(this.store.oldest, this.store.last - 300); seq <= this.store.last; seq++) this.sample(seq);
    this.redraw();
  }

  // The cut-off follows the 98th percentile of the layer until it has settled.
  sample(seq) {
    const store = this.store, layer = LAYERS[this.layer];
    if (layer.fixed || !store.has(seq) || !store.valid(seq)) return false;
    let most = 0;
    for (let c = 0; c < store.cells; c += 1) most = Math.max(most, Math.abs(this.value(seq, c)));
    this.samples.push(most);
    if (this.samples.length > 600) this.samples.shift();
    const n = this.samples.length;
    if (n > 20 && n % 50 && this.limit) return false;
    const sorted = [...this.samples].sort((a, b) => a - b), limit = sorted[Math.floor(0.5 * (n - 1))];
    if (limit > this.limit * 1.5 || limit < this.limit / 1.5) { this.limit = limit || 1; return true; }
    return false;
  }

  value(seq, c) {
    const { columns, signs } = LAYERS[this.layer];
    let total = 0;
    for (let i = 0; i < columns.length; i++) total += signs[i] * this.store.cell(seq, columns[i], c);
    return total;
  }

  word(value, layer = this.layer, cutoff = this.cutoff) {
    const { kind } = LAYERS[layer], part = value / cutoff;
    const at = kind === "diverging" ? (part + 1) / 2 : part;
    return this.scales[kind][Math.max(0, Math.min(N - 1, Math.round(at * (N - 1))))];
  }

  // Take new bins; returns nothing, draws their columns.
  add(bins) {
    let again = false;
    for (const seq of bins) {
      again = this.sample(seq) || again;
      this.blank(seq);
      this.paint(seq);
    }
    if (again) this.redraw();
  }

  // Clear the columns of bins that are missing before this one.
  blank(seq) {
    for (let at = Math.max(this.seen + 1, seq - N_BINS + 1); at < seq; at++) if (!this.store.has(at)) this.clear(at);
    this.seen = Math.max(this.seen, seq);
  }

  paint(seq) {
    const store = this.store, words = this.words;
    words.fill(0);
    if (!store.valid(seq)) {
      for (let row = 0; row < ROWS; row++) if ((row + seq) % 4 === 0) words[row] = this.hatch;
    } else {
      const mid2 = store.mid2(seq), radius = store.radius, { columns, signs, kind } = LAYERS[this.layer];
      const arrays = columns.map((name) => store.fields[name].array), places = columns.map((name) => store.place(seq, name));
      const colours = this.scales[kind], part = (N - 1) / this.cutoff, half = kind === "diverging";
      for (let c = 0; c < store.cells; c++) {
        const level = store.level(mid2, c - radius);
        if (level === null) continue;
        let total = 0;
        for (let i = 0; i < arrays.length; i++) total += signs[i] * arrays[i][places[i] + c];
        const at = half ? (total * part + N - 1) / 2 : total * part;
        words[((level % ROWS) + ROWS) % ROWS] = colours[at < 0 ? 0 : at > N - 1 ? N - 1 : Math.round(at)];
      }
    }
    // Row 0 of the ring is the lowest level: the picture is turned when it is copied.
    this.tile(seq).putImageData(this.column, seq % TILE, 0);
  }

  tile(seq) { return this.tiles[Math.floor(seq % N_BINS / TILE)]; }
  clear(seq) { this.tile(seq).clearRect(seq % TILE, 0, 1, ROWS); }

  redraw() {
    const store = this.store;
    if (!store || store.last < 0) return;
    for (let seq = store.oldest; seq <= store.last; seq++) if (store.has(seq)) this.paint(seq); else this.clear(seq);
  }

  // -- geometry ---------------------------------------------------------------------------------------------------------

  resize() {
    const ratio = devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = this.canvas;
    if (this.canvas.width !== Math.round(w * ratio) || this.canvas.height !== Math.round(h * ratio)) {
      this.canvas.width = Math.round(w * ratio);
      this.canvas.height = Math.round(h * ratio);
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.w = w; this.h = h;
    this.plot = Math.max(w - AXIS - this.margin, 50); // the place of now
  }

  x(seq) { return this.plot - (this.end - seq) * this.zoom; }
  seqAt(x) { return Math.floor(this.end + 1 - (this.plot + this.zoom - x) / this.zoom); }
  y(level) { return this.h / 2 - (level - this.centre) * this.rows; }
  levelAt(y) { return Math.round(this.centre + (this.h / 2 - y) / this.rows); }
  get from() { return Math.max(this.store.oldest, Math.floor(this.end - this.plot / this.zoom)); }

  // -- a frame ----------------------------------------------------------------------------------------------------------

  draw(rules) {
    this.resize();
    const { context: g, store, w, h } = this;
    g.fillStyle = this.colour.paper;
    g.fillRect(0, 0, w, h);
    if (!store || store.last < 0) return;
    if (this.follow || this.end < 0) this.end = store.last;
    this.centreOn();
    this.copy();
    this.axes();
    g.save();
    g.beginPath();
    g.rect(0, 0, this.plot + this.zoom, h);
    g.clip();
    this.gaps();
    this.touch();
    this.trades();
    this.positions(rules);
    g.restore();
    if (this.margin) this.ahead();
  }

  centreOn() {
    const store = this.store, seq = this.lastValid(Math.min(Math.round(this.end), store.last));
    if (seq < 0) return;
    const mid = store.mid2(seq) / 2;
    if (this.centre === null) this.centre = mid;
    else if (this.follow) {
      const far = mid - this.centre, room = 0.2 * this.h / this.rows;
      if (Math.abs(far) > room) this.centre += far - Math.sign(far) * room;
    }
  }

  lastValid(seq) {
    const store = this.store;
    for (let at = seq; at >= Math.max(store.oldest, seq - 600); at--) if (store.has(at) && store.valid(at)) return at;
    return -1;
  }

  copy() {
    const g = this.context, first = this.from, last = Math.min(Math.ceil(this.end), this.store.last);
    const n = last - first + 1;
    if (n <= 0) return;
    const low = Math.floor(this.centre - this.h / 2 / this.rows) - 1, count = Math.min(Math.ceil(this.h / this.rows) + 3, ROWS);
    g.imageSmoothingEnabled = false;
    const base = ((low % ROWS) + ROWS) % ROWS, one = Math.min(count, ROWS - base);
    for (let seq = first, width; seq <= last; seq += width) {
      const sx = seq % TILE, tile = this.tile(seq).canvas;
      width = Math.min(TILE - sx, last - seq + 1);
      for (const [sy, height, level] of [[base, one, low], [0, count - one, low + one]]) {
        if (height <= 0) continue;
        g.setTransform(devicePixelRatio, 0, 0, -devicePixelRatio, 0, 0);
        g.drawImage(tile, sx, sy, width, height, this.x(seq), -(this.y(level) + this.rows / 2), width * this.zoom, height * this.rows);
      }
    }
    g.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  }

  axes() {
    const { context: g, store } = this, step = niceStep(26 / this.rows);
    g.font = "11px system-ui, sans-serif";
    g.textBaseline = "middle";
    g.fillStyle = this.colour.soft;
    g.textAlign = "left";
    const low = Math.ceil((this.centre - this.h / 2 / this.rows) / step) * step;
    for (let level = low; this.y(level) > 6; level += step) g.fillText(store.price(level), this.w - AXIS + 6, this.y(level));
    g.textAlign = "center";
    g.textBaseline = "bottom";
    const seconds = store.hello.bin_ns / 1e9, every = niceTime(110 / this.zoom * seconds);
    for (let seq = this.from; seq <= this.end; seq++) {
      if (!store.has(seq)) continue;
      const ms = store.ms[seq % N_BINS];
      if (Math.round(ms) % (every * 1000) === 0) g.fillText(this.time(ms), Math.max(this.x(seq), 26), this.h - 2);
    }
    g.strokeStyle = this.colour.line;
    g.beginPath();
    g.moveTo(this.plot + this.zoom + 0.5, 0);
    g.lineTo(this.plot + this.zoom + 0.5, this.h);
    g.stroke();
  }

  time(ms) { return this.clock ? this.clock.format(ms) : ""; }

  gaps() {
    const { context: g, store } = this, seconds = store.hello.bin_ns / 1e9;
    g.fillStyle = this.colour.soft;
    g.textAlign = "center";
    g.textBaseline = "top";
    let begin = null, hatched = null;
    for (let seq = this.from; seq <= Math.min(this.end, store.last) + 1; seq++) {
      const missing = seq <= store.last && !store.has(seq), invalid = store.has(seq) && !store.valid(seq);
      if (missing && begin === null) begin = seq;
      if (!missing && begin !== null) { this.label(g, begin, seq, seconds, "missing"); begin = null; }
      if (invalid && hatched === null) hatched = seq;
      if (!invalid && hatched !== null) { this.label(g, hatched, seq, seconds, "no book"); hatched = null; }
    }
  }

  label(g, begin, end, seconds, text) {
    if ((end - begin) * this.zoom < 34) return;
    g.fillText(`${text} ${((end - begin) * seconds).toFixed(1)} s`, this.x((begin + end) / 2), 4);
  }

  touch() {
    const { context: g, store } = this, every = Math.max(1, Math.floor(0.7 / this.zoom));
    for (const side of ["bid", "ask"]) {
      g.strokeStyle = this.colour[side];
      g.lineWidth = 1.5;
      g.beginPath();
      let open = false;
      for (let seq = this.from; seq <= Math.min(this.end, store.last); seq += every) {
        if (!store.has(seq) || !store.valid(seq)) { open = false; continue; }
        const x = this.x(seq), y = this.y(store.get(seq, side));
        if (open) { g.lineTo(x, y); } else { g.moveTo(x, y); open = true; }
        g.lineTo(x + this.zoom * every, y);
      }
      g.stroke();
    }
    g.lineWidth = 1;
  }

  trades() {
    const { context: g, store } = this;
    for (const [side, volume, place] of [["long", "buy_volume", "ask"], ["short", "sell_volume", "bid"]]) {
      g.fillStyle = this.colour[side];
      g.globalAlpha = 0.65;
      g.beginPath();
      for (let seq = this.from; seq <= Math.min(this.end, store.last); seq++) {
        if (!store.has(seq) || !store.valid(seq)) continue;
        const n = store.get(seq, volume);
        if (!n) continue;
        const r = Math.min(1.2 + Math.sqrt(n) * 0.55, 9), x = this.x(seq) + this.zoom / 2, y = this.y(store.get(seq, place));
        g.moveTo(x + r, y);
        g.arc(x, y, r, 0, 2 * Math.PI);
      }
      g.fill();
    }
    g.globalAlpha = 1;
  }

  // Entries, exits, and the barriers of the positions in `held` of the store.
  positions(rules) {
    const { context: g, store } = this;
    for (const event of store.events) {
      if (event.entry && store.has(event.bin_seq)) this.mark(event.bin_seq, event.entry, store.get(event.bin_seq, event.entry > 0 ? "ask" : "bid"));
      for (const exit of event.exits) {
        const x = this.x(exit.exit_bin) + this.zoom / 2, y = this.y(exit.exit_price / store.tick);
        g.strokeStyle = exit.net_pnl_ticks > 0 ? this.colour.long : this.colour.short;
        g.lineWidth = 2;
        g.beginPath();
        g.moveTo(x - 4, y - 4); g.lineTo(x + 4, y + 4);
        g.moveTo(x + 4, y - 4); g.lineTo(x - 4, y + 4);
        g.stroke();
        g.lineWidth = 1;
      }
    }
    for (const open of store.held) {
      const right = this.x(open.until ?? store.last) + this.zoom, left = this.x(open.bin);
      for (const [level, colour] of [[open.level + open.side * rules.tp_ticks, "long"], [open.level - open.side * rules.sl_ticks, "short"]]) {
        g.strokeStyle = this.colour[colour];
        g.setLineDash([5, 3]);
        g.beginPath();
        g.moveTo(left, this.y(level)); g.lineTo(right, this.y(level));
        g.stroke();
      }
      g.setLineDash([]);
    }
  }

  mark(seq, side, level) {
    const g = this.context, x = this.x(seq) + this.zoom / 2, y = this.y(level) + side * 12;
    g.fillStyle = side > 0 ? this.colour.long : this.colour.short;
    g.strokeStyle = this.colour.paper;
    g.beginPath();
    g.moveTo(x, y - side * 9); g.lineTo(x - 5, y); g.lineTo(x + 5, y);
    g.closePath();
    g.fill();
    g.stroke();
  }

  // Right of now: the projected score of every price, one strip per horizon.
  ahead() {
    const { context: g, store } = this, seq = Math.min(Math.round(this.end), store.last), horizons = store.hello.horizons_ms;
    const left = this.plot + this.zoom + 2, width = (this.margin - this.zoom - 4) / Math.max(horizons.length, 1);
    g.font = "10px system-ui, sans-serif";
    g.textAlign = "center";
    g.textBaseline = "top";
    if (store.has(seq) && store.valid(seq)) {
      const mid2 = store.mid2(seq), at = store.place(seq, "projection"), array = store.fields.projection.array;
      horizons.forEach((_, h) => {
        for (let c = 0; c < store.cells; c++) {
          const level = store.level(mid2, c - store.radius);
          if (level === null) continue;
          const y = this.y(level);
          if (y < -this.rows || y > this.h + this.rows) continue;
          const word = this.word(array[at + h * store.cells + c] / 127, "score", 1);
          g.fillStyle = `rgb(${word & 255},${word >> 8 & 255},${word >> 16 & 255})`;
          g.fillRect(left + h * width, y - this.rows / 2, width - 1, this.rows + 0.5);
        }
      });
    }
    g.fillStyle = this.colour.paper;
    g.fillRect(left - 1, 0, this.margin - 4, 15);
    g.fillStyle = this.colour.soft;
    horizons.forEach((ms, h) => g.fillText(`+${String(ms / 1000).replace(/^0/, "")}`, left + (h + 0.5) * width, 2));
  }
}

function niceStep(least) {
  for (const step of [1, 2, 4, 5, 10, 20, 40, 50, 100, 200]) if (step >= least) return step;
  return 500;
}

function niceTime(least) {
  for (const seconds of [1, 2, 5, 10, 15, 30, 60, 120, 300]) if (seconds >= least) return seconds;
  return 600;
}
