// Equity and drawdown by trade, with its sessions.
import { clock, colours, make, signed, surface, tell, ticks } from "./data.js";

const LEFT = 46, RIGHT = 10, TOP = 18, FOOT = 20;

export class Curves {
  constructor(root, header, column) {
    Object.assign(this, { header, total: column(header.total), peak: column(header.peak), ms: column(header.ms), at: -1 });
    this.clock = clock(header.zone, { day: "2-digit", month: "short" });
    this.canvas = make("canvas", undefined, { className: "curves" });
    this.canvas.setAttribute("aria-label", "Equity and drawdown");
    root.replaceChildren(this.canvas);
    this.canvas.addEventListener("pointermove", (event) => {
      this.at = Math.max(0, Math.min(this.total.length - 1, Math.round((event.offsetX - LEFT) / this.width * this.total.length) - 1));
      this.draw();
      tell(this.words(this.at), event);
    });
    this.canvas.addEventListener("pointerleave", () => { this.at = -1; this.draw(); tell(""); });
    this.draw();
  }

  // The place of a trade's session among the sessions.
  session(at) { return this.header.begins.findLastIndex((begin) => begin <= at); }

  words(at) {
    const { total, peak, header, ms } = this, session = this.session(at), begin = header.begins[session];
    return [
      `trade ${at + 1} of ${total.length}, out ${this.clock.format(ms[at])}`, `net ${signed(total[at])} ticks`, `drawdown ${(peak[at] - total[at]).toFixed(2)} ticks`,
      `session ${header.names[session]}: ${signed(total[at] - (begin ? total[begin - 1] : 0))} ticks`,
    ].join("\n");
  }

  draw() {
    const { g, w, h } = surface(this.canvas), { total, peak, header } = this, n = total.length;
    const own = colours("ink", "soft", "line", "value", "short"), split = TOP + (h - TOP - FOOT) * 0.68;
    this.width = w - LEFT - RIGHT;
    let low = 0, high = 0, deep = 0;
    for (let i = 0; i < n; i++) { low = Math.min(low, total[i]); high = Math.max(high, total[i]); deep = Math.max(deep, peak[i] - total[i]); }
    const x = (i) => LEFT + i / n * this.width, y = (v) => split - 8 - (v - low) / (high - low || 1) * (split - TOP - 8);
    const down = (v) => split + v / (deep || 1) * (h - FOOT - split);
    g.textBaseline = "middle";
    g.textAlign = "right";
    for (const v of ticks(low, high, 5)) this.line(g, y(v), v ? own.line : own.ink, own.soft, String(Number(v.toFixed(6))), w);
    for (const v of ticks(0, deep, 2).slice(1)) this.line(g, down(v), own.line, own.soft, `−${Number(v.toFixed(6))}`, w);
    g.textAlign = "left";
    let free = 0;
    header.begins.forEach((begin, i) => {
      const at = x(begin);
      if (begin && begin < n) { g.strokeStyle = own.soft; g.setLineDash([2, 3]); g.beginPath(); g.moveTo(at, TOP); g.lineTo(at, h - FOOT); g.stroke(); g.setLineDash([]); }
      const label = header.names[i] ?? "";
      if (at < free || at + g.measureText(label).width > w) return;
      g.fillStyle = own.soft;
      g.fillText(label, at + 2, h - 8);
      free = at + g.measureText(label).width + 14;
    });
    g.globalAlpha = 0.35;
    g.fillStyle = own.short;
    g.beginPath();
    g.moveTo(x(0), split);
    for (let i = 0; i < n; i++) { g.lineTo(x(i), down(i ? peak[i - 1] - total[i - 1] : 0)); g.lineTo(x(i), down(peak[i] - total[i])); g.lineTo(x(i + 1), down(peak[i] - total[i])); }
    g.lineTo(x(n), split);
    g.fill();
    g.globalAlpha = 1;
    g.strokeStyle = own.value;
    g.lineWidth = 1.6;
    g.beginPath();
    g.moveTo(x(0), y(0));
    for (let i = 0; i < n; i++) { g.lineTo(x(i + 1), y(i ? total[i - 1] : 0)); g.lineTo(x(i + 1), y(total[i])); }
    g.stroke();
    g.lineWidth = 1;
    g.fillStyle = own.soft;
    g.fillText("net and drawdown, ticks, by trade", LEFT, 8);
    if (this.at < 0) return;
    g.strokeStyle = own.ink;
    g.beginPath();
    g.moveTo(x(this.at + 1), TOP);
    g.lineTo(x(this.at + 1), h - FOOT);
    g.stroke();
    g.fillStyle = own.ink;
    g.beginPath();
    g.arc(x(this.at + 1), y(total[this.at]), 3.5, 0, 2 * Math.PI);
    g.fill();
  }

  line(g, y, colour, ink, text, w) {
    g.strokeStyle = colour;
    g.beginPath();
    g.moveTo(LEFT, y);
    g.lineTo(w - RIGHT, y);
    g.stroke();
    g.fillStyle = ink;
    g.fillText(text, LEFT - 6, y);
  }

  theme() { this.draw(); }
}
