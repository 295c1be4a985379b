// The value of the signal, its thresholds and its entries, on the time axis of the heat map.
import { css } from "./colors.js";

export class Strip {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.theme();
  }

  theme() { this.colour = Object.fromEntries(["paper", "soft", "line", "value", "long", "short"].map((name) => [name, css("--" + name)])); }

  draw(heat, hello) {
    const ratio = devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = this.canvas, g = this.context, store = heat.store;
    if (this.canvas.width !== Math.round(w * ratio) || this.canvas.height !== Math.round(h * ratio)) {
      this.canvas.width = Math.round(w * ratio);
      this.canvas.height = Math.round(h * ratio);
    }
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.fillStyle = this.colour.paper;
    g.fillRect(0, 0, w, h);
    if (!store || store.last < 0) return;
    const from = heat.from, last = Math.min(Math.ceil(heat.end), store.last);
    const [up, down] = hello.levels;
    let low = Math.min(up, down), high = Math.max(up, down);
    const value = store.fields.value, at = (seq) => value.array[((seq % store.seq.length) * store.size + value.offset) / 8];
    for (let seq = from; seq <= last; seq++) {
      const v = store.has(seq) ? at(seq) : NaN;
      if (v < low) low = v;
      if (v > high) high = v;
    }
    const pad = 0.08 * (high - low || 1), y = (v) => h - 4 - (v - low + pad) / (high - low + 2 * pad) * (h - 8);
    g.font = "11px system-ui, sans-serif";
    g.textBaseline = "middle";
    g.textAlign = "left";
    for (const [level, colour] of [[up, "long"], [down, "short"]]) {
      g.strokeStyle = this.colour[colour];
      g.setLineDash([4, 4]);
      g.beginPath();
      g.moveTo(0, y(level)); g.lineTo(heat.plot + heat.zoom, y(level));
      g.stroke();
      g.fillStyle = this.colour.soft;
      g.fillText(Number(level.toPrecision(4)), w - 56, y(level));
    }
    g.setLineDash([]);
    g.strokeStyle = this.colour.value;
    g.lineWidth = 1.3;
    g.beginPath();
    let open = false;
    for (let seq = from; seq <= last; seq++) {
      const v = store.has(seq) ? at(seq) : NaN;
      if (Number.isNaN(v)) { open = false; continue; }
      const x = heat.x(seq) + heat.zoom / 2;
      if (open) g.lineTo(x, y(v)); else { g.moveTo(x, y(v)); open = true; }
    }
    g.stroke();
    g.lineWidth = 1;
    for (const event of store.events) {
      if (!event.entry || event.bin_seq < from || event.bin_seq > last) continue;
      g.fillStyle = this.colour[event.entry > 0 ? "long" : "short"];
      g.beginPath();
      g.arc(heat.x(event.bin_seq) + heat.zoom / 2, y(event.value ?? (event.entry > 0 ? up : down)), 3.5, 0, 2 * Math.PI);
      g.fill();
    }
    g.fillStyle = this.colour.soft;
    g.textBaseline = "top";
    g.fillText(`${hello.signal}: value, long above ${Number(up.toPrecision(4))}, short below ${Number(down.toPrecision(4))}`, 4, 2);
  }
}
