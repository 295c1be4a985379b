// Rows of the ranking: a table of any two settings, and every setting as an axis with a line per row.
import { N, scale } from "./colors.js";
import { button, choice, colours, make, number, surface, tell } from "./data.js";

const MOST_VALUES = 60; // of a setting on an axis of the table
const MOST_LINES = 3000;
const SIGNED = /pnl|net/;

export class Rows {
  constructor(header, column) {
    this.names = header.rows;
    this.nAll = header.n_all;
    this.leader = header.leader;
    const setting = ({ name, values, codes }) => ({ name, values, codes: column(codes) });
    this.signal = setting(header.signal);
    this.settings = header.settings.map(setting);
    this.figures = header.figures.map(({ name, data }) => ({ name, data: column(data) }));
  }

  of(signal) {
    const wanted = this.signal.values.indexOf(signal) + 1, found = [];
    for (let i = 0; i < this.names.length; i++) if (this.signal.codes[i] === wanted) found.push(i);
    return found;
  }

  // Settings with several values among some rows, with these values alone.
  varied(rows) {
    return this.settings.map(({ name, values, codes }) => {
      const used = new Set(rows.map((row) => codes[row])), kept = values.map((_, i) => i).filter((i) => used.has(i + 1)), place = new Map(kept.map((i, j) => [i + 1, j + 1]));
      return { name, values: kept.map((i) => values[i]), codes: codes.map((code) => place.get(code) ?? 0) };
    }).filter(({ values }) => values.length > 1);
  }

  figure(name) { return this.figures.find((figure) => figure.name === name); }
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// The rows of every pair of values, as lists by value down and across.
export function pairs(rows, down, across) {
  const cells = down.values.map(() => across.values.map(() => []));
  for (const row of rows) if (down.codes[row] && across.codes[row]) cells[down.codes[row] - 1][across.codes[row] - 1].push(row);
  return cells;
}

class View {
  constructor(root, data) {
    Object.assign(this, { root, data });
    this.bar = make("div", undefined, { className: "tools" });
    this.signals = choice("Signal", data.signal.values, (name) => this.choose(name));
    this.figures = choice("Figure", data.figures.map(({ name }) => name), () => this.draw());
    this.signals.box.hidden = data.signal.values.length < 2;
    this.signals.select.value = data.leader;
  }

  get figure() { return this.data.figure(this.figures.select.value); }
}

export class Maps extends View {
  constructor(root, data) {
    super(root, data);
    this.down = choice("Down", [], () => this.draw());
    this.across = choice("Across", [], () => this.draw());
    this.bar.append(this.signals.box, this.down.box, this.across.box, this.figures.box);
    this.scroll = make("div", undefined, { className: "wide" });
    root.replaceChildren(this.bar, this.scroll);
    this.scroll.addEventListener("pointermove", (event) => tell(event.target.closest("td")?.dataset.words ?? "", event));
    this.scroll.addEventListener("pointerleave", () => tell(""));
    this.choose(this.signals.select.value);
  }

  choose(signal) {
    this.rows = this.data.of(signal);
    this.settings = this.data.varied(this.rows).filter(({ values }) => values.length <= MOST_VALUES);
    const names = this.settings.map(({ name }) => name);
    for (const [{ select }, at] of [[this.across, 0], [this.down, 1]]) {
      const old = select.value;
      select.replaceChildren(...names.map((name) => new Option(name, name)));
      select.value = names.includes(old) ? old : names[Math.min(at, names.length - 1)];
    }
    this.draw();
  }

  draw() {
    const { data, figure } = this, setting = (name) => this.settings.find((one) => one.name === name);
    const down = setting(this.down.select.value), across = setting(this.across.select.value);
    if (!down || !across || down === across) {
      this.scroll.replaceChildren(make("p", down ? "Choose two settings that differ." : "No setting varies among the rows of this signal.", { className: "note" }));
      return;
    }
    const cells = pairs(this.rows, down, across);
    const medians = cells.map((line) => line.map((rows) => { const known = rows.map((row) => figure.data[row]).filter((v) => !Number.isNaN(v)); return known.length ? median(known) : NaN; }));
    const known = medians.flat().filter((v) => !Number.isNaN(v)), far = Math.max(...known.map(Math.abs), 1e-9);
    const low = SIGNED.test(figure.name) ? 0 : Math.min(...known), reach = SIGNED.test(figure.name) ? far : Math.max(...known) - low || 1;
    const table = make("table", undefined, { className: "heat" }), head = make("tr");
    head.append(make("th", `${down.name} ↓   ${across.name} →`), ...across.values.map((value) => make("th", number(value), { className: "num" })));
    table.append(head);
    for (let i = down.values.length - 1; i >= 0; i--) {
      const line = make("tr");
      line.append(make("th", number(down.values[i]), { className: "num" }));
      across.values.forEach((value, j) => {
        const v = medians[i][j], cell = make("td", Number.isNaN(v) ? "" : number(v), { className: "num" });
        if (!Number.isNaN(v)) {
          cell.classList.add(v - low >= 0 ? "up" : "down");
          cell.style.setProperty("--share", (0.85 * Math.abs(v - low) / reach).toFixed(2));
          const best = cells[i][j].reduce((a, b) => (figure.data[b] > figure.data[a] || Number.isNaN(figure.data[a]) ? b : a));
          cell.dataset.words = `${down.name} ${number(down.values[i])}, ${across.name} ${number(value)}\nmedian ${figure.name} ${number(v)} of ${cells[i][j].length} rows\nhighest ${number(figure.data[best])}, row ${data.names[best]}`;
        }
        line.append(cell);
      });
      table.append(line);
    }
    this.scroll.replaceChildren(table);
  }

  theme() {}
}

const PAD = 34, TOP = 46, FOOT = 22, NEAR = 9;

export class Parallel extends View {
  constructor(root, data) {
    super(root, data);
    this.ranges = new Map(); // by setting: shares of its axis between which a row must lie
    this.near = -1;
    this.bar.append(this.signals.box, this.figures.box, button("All rows", "Drop the chosen ranges", () => { this.ranges.clear(); this.draw(); }));
    this.canvas = make("canvas", undefined, { className: "parallel" });
    this.canvas.setAttribute("aria-label", "A line per row over its settings");
    this.count = make("p", "", { className: "note" });
    const scroll = make("div", undefined, { className: "wide" });
    scroll.append(this.canvas);
    root.replaceChildren(this.bar, scroll, this.count);
    this.listen();
    this.choose(this.signals.select.value);
  }

  choose(signal) {
    const all = this.data.of(signal), every = Math.ceil(all.length / MOST_LINES) || 1;
    this.rows = all.filter((_, i) => i % every === 0);
    this.axes = this.data.varied(all);
    this.ranges.clear();
    this.canvas.style.minWidth = `${(this.axes.length + 1) * 74}px`;
    this.draw();
  }

  // The share of an axis, from 0 at the bottom to 1, of a row; NaN without a value.
  share(axis, row) {
    if (!axis.codes) { const [low, high] = this.reach; return (axis.data[row] - low) / (high - low || 1); }
    return axis.codes[row] ? this.place(axis, axis.codes[row] - 1) : NaN;
  }

  // The values of a setting lie in order, evenly.
  place({ values }, i) { return values.length < 2 ? 0.5 : i / (values.length - 1); }

  x(i) { return PAD + i / Math.max(this.axes.length, 1) * (this.w - 2 * PAD); }
  y(share) { return this.h - FOOT - share * (this.h - TOP - FOOT); }

  kept(row) {
    for (const [axis, [low, high]] of this.ranges) { const share = this.share(axis, row); if (!(share >= low && share <= high)) return false; }
    return true;
  }

  draw() {
    const { g, w, h } = surface(this.canvas), figure = this.figure, axes = [...this.axes, figure], own = colours("ink", "soft", "line", "paper");
    Object.assign(this, { w, h });
    const known = this.rows.map((row) => figure.data[row]).filter((v) => !Number.isNaN(v));
    this.reach = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
    const [low, high] = this.reach, far = Math.max(Math.abs(low), Math.abs(high)) || 1, words = scale(SIGNED.test(figure.name) ? "diverging" : "sequential");
    const kept = this.rows.filter((row) => !Number.isNaN(figure.data[row]) && this.kept(row)).sort((a, b) => figure.data[a] - figure.data[b]);
    this.shown = kept;
    g.globalAlpha = Math.max(0.25, Math.min(0.9, 120 / kept.length));
    for (const row of kept) {
      const v = figure.data[row], at = SIGNED.test(figure.name) ? (v / far + 1) / 2 : (v - low) / (high - low || 1);
      const word = words[Math.max(0, Math.min(N - 1, Math.round((SIGNED.test(figure.name) ? at : 0.25 + 0.75 * at) * (N - 1))))];
      this.path(g, axes, row, `rgb(${word & 255},${word >> 8 & 255},${word >> 16 & 255})`, 1.2);
    }
    g.globalAlpha = 1;
    g.textAlign = "center";
    axes.forEach((axis, i) => {
      const x = this.x(i), range = this.ranges.get(axis);
      g.strokeStyle = own.soft;
      g.beginPath(); g.moveTo(x, TOP); g.lineTo(x, h - FOOT); g.stroke();
      if (range) { g.fillStyle = own.soft; g.globalAlpha = 0.35; g.fillRect(x - 5, this.y(range[1]), 10, this.y(range[0]) - this.y(range[1])); g.globalAlpha = 1; }
      const [scope, short] = axis.name.includes(".") ? axis.name.split(/\.(.*)/s) : ["", axis.name];
      this.label(g, own, scope, x, 8);
      this.label(g, own, short, x, 21);
      const values = axis.codes ? axis.values : this.reach, every = Math.ceil(values.length / 8);
      values.forEach((value, j) => { if (j % every === 0 || j === values.length - 1) this.label(g, own, number(value), x, this.y(axis.codes ? this.place(axis, j) : j) + (axis.codes ? 0 : j ? -8 : 10)); });
    });
    if (this.near >= 0) this.path(g, axes, this.near, own.ink, 2.4);
    const part = this.data.nAll > this.data.names.length ? ` An even sample of ${this.data.names.length.toLocaleString("en")} of ${this.data.nAll.toLocaleString("en")} rows.` : "";
    this.count.textContent = `${kept.length.toLocaleString("en")} of ${this.rows.length.toLocaleString("en")} rows. Drag along an axis to choose a range; click on it to drop the range.${part}`;
  }

  label(g, own, text, x, y) {
    const wide = Math.min(g.measureText(text).width, 72), at = Math.max(wide / 2 + 1, Math.min(x, this.w - wide / 2 - 1));
    g.textBaseline = "middle";
    g.lineWidth = 3;
    g.strokeStyle = own.paper;
    g.strokeText(text, at, y, 72);
    g.lineWidth = 1;
    g.fillStyle = own.ink;
    g.fillText(text, at, y, 72);
  }

  path(g, axes, row, colour, width) {
    g.strokeStyle = colour;
    g.lineWidth = width;
    g.beginPath();
    let open = false;
    axes.forEach((axis, i) => {
      const share = this.share(axis, row);
      if (Number.isNaN(share)) { open = false; return; }
      if (open) g.lineTo(this.x(i), this.y(share)); else { g.moveTo(this.x(i), this.y(share)); open = true; }
    });
    g.stroke();
    g.lineWidth = 1;
  }

  // The row whose line is nearest to a pixel; -1 if none is near.
  nearest(px, py) {
    const axes = [...this.axes, this.figure], i = Math.max(0, Math.min(axes.length - 2, Math.floor((px - PAD) / (this.w - 2 * PAD) * (axes.length - 1))));
    const part = (px - this.x(i)) / (this.x(i + 1) - this.x(i));
    let best = -1, least = NEAR;
    for (const row of this.shown) {
      const a = this.share(axes[i], row), b = this.share(axes[i + 1], row), far = Math.abs(this.y(a + (b - a) * part) - py);
      if (far <= least) { least = far; best = row; }
    }
    return best;
  }

  words(row) {
    const lines = this.axes.filter(({ codes }) => codes[row]).map(({ name, values, codes }) => `${name} ${number(values[codes[row] - 1])}`);
    return [`row ${this.data.names[row]}`, ...lines, ...this.data.figures.slice(0, 6).map(({ name, data }) => `${name} ${number(data[row])}`)].join("\n");
  }

  listen() {
    const { canvas } = this;
    let drag = null;
    const share = (event) => Math.max(0, Math.min(1, (this.h - FOOT - event.offsetY) / (this.h - TOP - FOOT)));
    canvas.addEventListener("pointerdown", (event) => {
      const axes = [...this.axes, this.figure], at = axes.findIndex((_, i) => Math.abs(this.x(i) - event.offsetX) < 14);
      if (at < 0) return;
      drag = { axis: axes[at], from: share(event), moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (drag) {
        const to = share(event);
        drag.moved ||= Math.abs(to - drag.from) > 0.02;
        if (drag.moved) this.ranges.set(drag.axis, [Math.min(drag.from, to), Math.max(drag.from, to)]);
      } else this.near = this.nearest(event.offsetX, event.offsetY);
      tell(this.near >= 0 && !drag ? this.words(this.near) : "", event);
      this.draw();
    });
    canvas.addEventListener("pointerup", () => { if (drag && !drag.moved) this.ranges.delete(drag.axis); drag = null; this.draw(); });
    canvas.addEventListener("pointerleave", () => { this.near = -1; tell(""); this.draw(); });
  }

  theme() { this.draw(); }
}
