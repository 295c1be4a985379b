// The market around a trade: heat map and signal strip, with zoom, hover, and a list of trades to choose from.
import { N } from "./colors.js";
import { LAYERS, Heat } from "./heat.js";
import { N_BINS, Store } from "./store.js";
import { Strip } from "./strip.js";
import { button, choice, clock, make, number, signed, tell } from "./data.js";

const FIELDS = [["value", "<f8", 8], ["flags", "<u4", 4], ["bid", "<i4", 4], ["ask", "<i4", 4], ["bid_size", "<i4", 4], ["ask_size", "<i4", 4], ["buy_volume", "<i4", 4], ["sell_volume", "<i4", 4]];
const [DECIDED, ENTERED, LEFT, SIDE, ENTRY, EXIT, NET, REASON] = [0, 1, 2, 3, 4, 5, 6, 7];

export class Market {
  constructor(root, header, column, list) {
    Object.assign(this, { root, header, column, list, trade: -1, session: null });
    this.trades = header.sessions.flatMap((session) => session.trades.map((trade) => ({ session, trade })));
    this.canvas = make("canvas", undefined, { className: "heat-map", tabIndex: 0 });
    this.canvas.setAttribute("aria-label", "Heat map of the order book by price and time");
    this.stripCanvas = make("canvas", undefined, { className: "strip" });
    this.stripCanvas.setAttribute("aria-label", "Value of the signal");
    this.tools();
    root.replaceChildren(this.bar, this.title, this.canvas, this.stripCanvas);
    this.heat = new Heat(this.canvas, 0);
    this.heat.clock = clock(header.zone);
    this.clock = clock(header.zone, { fractionalSecondDigits: 1 });
    this.strip = new Strip(this.stripCanvas);
    this.listen();
    this.show(0);
  }

  tools() {
    const bar = this.bar = make("div", undefined, { className: "tools" });
    this.title = make("p", "", { className: "chart-title" });
    const known = new Set(Object.keys(this.header.sessions[0].layers));
    const names = Object.keys(LAYERS).filter((name) => LAYERS[name].columns.every((one) => known.has(one.replace(/^(bid|ask)_/, ""))));
    const layer = choice("Layer", names, (name) => { this.heat.choose(name); this.draw(); });
    const cut = make("input", undefined, { type: "range", min: -20, max: 20, value: 0, title: "Contrast" });
    cut.setAttribute("aria-label", "Contrast");
    cut.oninput = () => { this.heat.cut = -Number(cut.value); this.heat.redraw(); this.draw(); };
    this.scale = make("canvas", undefined, { width: 96, height: 10, className: "scale" });
    this.low = make("span");
    this.high = make("span");
    bar.append(
      button("‹", "Previous trade", () => this.show(this.trade - 1)), button("›", "Next trade", () => this.show(this.trade + 1)),
      layer.box, cut, this.low, this.scale, this.high,
      button("−", "Zoom out", () => this.zoom(1 / 1.5)), button("+", "Zoom in", () => this.zoom(1.5)), button("Fit", "Fit the trade", () => this.fit()),
    );
  }

  listen() {
    const { canvas } = this;
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => { drag = { x: event.offsetX, y: event.offsetY }; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointerup", () => { drag = null; });
    canvas.addEventListener("pointerleave", () => tell(""));
    canvas.addEventListener("pointermove", (event) => {
      const { heat } = this;
      if (drag && event.buttons & 1) {
        heat.end = Math.max(heat.store.oldest, Math.min(heat.store.last + heat.plot / heat.zoom / 2, heat.end - (event.offsetX - drag.x) / heat.zoom));
        heat.centre += (event.offsetY - drag.y) / heat.rows;
        drag = { x: event.offsetX, y: event.offsetY };
        this.draw();
      }
      tell(this.words(event.offsetX, event.offsetY), event);
    });
    canvas.addEventListener("wheel", (event) => { // the page scrolls as ever; a pinch and ctrl zoom
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.offsetX);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const action = { "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5), ArrowLeft: () => this.pan(-0.2), ArrowRight: () => this.pan(0.2) }[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      action();
    });
    this.list?.addEventListener("click", (event) => {
      const row = event.target.closest("tr"), at = row ? this.lines().indexOf(row) : -1;
      if (at >= 0) { this.show(at); this.root.scrollIntoView({ block: "nearest" }); }
    });
  }

  lines() { return this.list ? [...this.list.rows].slice(1, 1 + this.trades.length) : []; }

  // Show a trade: load the bins around it, and fit the picture to it.
  show(at) {
    if (at < 0 || at >= this.trades.length) return;
    this.trade = at;
    const { session, trade } = this.trades[at], { heat } = this;
    if (session !== this.session || trade[DECIDED] < heat.store.first || trade[LEFT] > heat.store.last) {
      this.session = session;
      const layer = heat.layer;
      heat.reset(this.load(session, trade));
      heat.follow = false;
      heat.choose(layer);
    }
    heat.store.held = [{ bin: trade[ENTERED], until: trade[LEFT], side: trade[SIDE], level: trade[ENTRY] / this.header.tick }];
    const name = this.header.sessions.length > 1 ? `${session.name} · ` : "";
    this.title.textContent = `${name}Trade ${at + 1} of ${this.trades.length}: ${trade[SIDE] > 0 ? "long" : "short"} at ${trade[ENTRY]}, out at ${trade[EXIT]} by ${trade[REASON]}, ${signed(trade[NET])} ticks net`;
    this.lines().forEach((row, i) => row.classList.toggle("on", i === at));
    this.fit();
  }

  // The store of a stretch of a session, around a trade where the stretch is longer than the store.
  load(session, trade) {
    const { header } = this, cells = 2 * header.radius + 1, named = Object.keys(session.layers);
    const columns = [...named.filter((name) => name !== "depth"), "bid_depth", "ask_depth"], layout = [];
    let size = 0;
    for (const [name, type, bytes] of FIELDS) { layout.push({ name, type, shape: [], offset: size }); size += bytes; }
    for (const name of columns) { layout.push({ name, type: "<f4", shape: [cells], offset: size }); size += 4 * cells; }
    const store = new Store({ record_bytes: Math.ceil(size / 8) * 8, n_cells: cells, tick_size: header.tick, bin_ns: header.bin_ns, horizons_ms: [], layout });
    let base = 0, begin = 0, end = 0;
    for (const [start, stop] of session.stretches) {
      begin = start; end = stop;
      if (trade[DECIDED] >= start && trade[DECIDED] < stop) break;
      base += stop - start;
    }
    const from = Math.max(begin, Math.min(trade[DECIDED] - N_BINS / 2, end - N_BINS)), stop = Math.min(end, from + N_BINS);
    const data = Object.fromEntries(Object.entries(session.columns).map(([name, place]) => [name, this.column(place)]));
    const layers = named.map((name) => ({ name, codes: this.column(session.layers[name].codes), limit: session.layers[name].limit }));
    for (let seq = from; seq < stop; seq++) {
      const i = base + seq - begin, slot = seq % N_BINS;
      store.seq[slot] = seq;
      store.ms[slot] = session.start_ms + (seq + 1) * header.bin_ns / 1e6;
      for (const [name] of FIELDS) store.fields[name].array[store.place(seq, name)] = name === "flags" ? data.valid[i] : data[name][i];
      for (const { name, codes, limit } of layers) for (let c = 0; c < cells; c++) {
        const code = codes[i * cells + c], value = limit === undefined ? code / 127 : limit * (code / 255) ** 2;
        const column = name !== "depth" ? name : c <= header.radius ? "bid_depth" : "ask_depth";
        store.fields[column].array[store.place(seq, column) + c] = value;
      }
    }
    store.first = from;
    store.last = stop - 1;
    for (const one of session.trades) {
      if (one[DECIDED] < from || one[DECIDED] >= stop) continue;
      store.events.push({ bin_seq: one[DECIDED], entry: one[SIDE], value: data.value[base + one[DECIDED] - begin], exits: [] });
      store.events.push({ bin_seq: one[LEFT], entry: 0, exits: [{ exit_bin: one[LEFT], decided_bin: one[DECIDED], exit_price: one[EXIT], net_pnl_ticks: one[NET] }] });
    }
    return store;
  }

  fit() {
    const { heat, header } = this, { trade } = this.trades[this.trade];
    heat.resize();
    const span = Math.max(trade[LEFT] - trade[DECIDED], 40);
    heat.zoom = clamp(heat.plot / (2 * span), 0.2, 16);
    heat.rows = clamp(heat.h / (header.tp + header.sl + 26), 2, 24);
    heat.end = (trade[LEFT] + trade[DECIDED]) / 2 + heat.plot / heat.zoom / 2;
    heat.centre = trade[ENTRY] / header.tick;
    this.draw();
  }

  // Zoom around a pixel, by default the middle.
  zoom(factor, x = this.heat.plot / 2) {
    const { heat } = this, seq = heat.end - (heat.plot - x) / heat.zoom;
    heat.zoom = clamp(heat.zoom * factor, 0.2, 16);
    heat.rows = clamp(heat.rows * Math.sqrt(factor), 2, 24);
    heat.end = seq + (heat.plot - x) / heat.zoom;
    this.draw();
  }

  pan(share) { this.heat.end += share * this.heat.plot / this.heat.zoom; this.draw(); }

  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.paint(); });
  }

  paint() {
    const { heat, header } = this;
    heat.draw({ tp_ticks: header.tp, sl_ticks: header.sl });
    this.strip.draw(heat, header);
    const { kind } = LAYERS[heat.layer], g = this.scale.getContext("2d"), image = g.createImageData(96, 10), words = new Uint32Array(image.data.buffer);
    for (let i = 0; i < words.length; i++) words[i] = heat.scales[kind][Math.round((i % 96) / 95 * (N - 1))];
    g.putImageData(image, 0, 0);
    this.low.textContent = kind === "diverging" ? `−${number(heat.cutoff)}` : "0";
    this.high.textContent = number(heat.cutoff);
  }

  // What is under a pixel, in words.
  words(x, y) {
    const { heat, clock: time } = this, { store } = heat, seq = heat.seqAt(x);
    if (x > heat.plot + heat.zoom || !store.has(seq)) return "";
    const lines = [`${time.format(store.ms[seq % N_BINS])}   bin ${seq}   value ${number(store.get(seq, "value"))}`];
    if (!store.valid(seq)) return [...lines, "no valid book"].join("\n");
    const get = (name) => store.get(seq, name), level = heat.levelAt(y), index = store.index(store.mid2(seq), level);
    lines.push(`bid ${get("bid_size")} × ${store.price(get("bid"))}   ask ${store.price(get("ask"))} × ${get("ask_size")}`, `bought ${get("buy_volume")}   sold ${get("sell_volume")}`);
    lines.push(`price ${store.price(level)}${index < 0 ? ": outside the grid" : `   cell ${index - store.radius}`}`);
    if (index >= 0) for (const name of store.columns) if (!/_depth$/.test(name)) lines.push(`${name.padEnd(9)} ${number(store.cell(seq, name, index))}`);
    if (index >= 0) lines.push(`depth     ${number(store.cell(seq, "bid_depth", index) + store.cell(seq, "ask_depth", index))}`);
    return lines.join("\n");
  }

  theme() { this.heat.theme(); this.strip.theme(); this.draw(); }
}

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
