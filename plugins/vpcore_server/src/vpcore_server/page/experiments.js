// Experiments: the leaderboard with sort and filter, and the page of a row with its trades, equity and settings.
import { css } from "./colors.js";

const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), text === undefined ? {} : { textContent: text }, more);
const TEXT = new Set(["row", "signal_name", "dataset_id", "run_id"]);

function shown(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" && !Number.isInteger(value)) return Number(Math.abs(value) < 100 ? value.toPrecision(4) : value.toFixed(4)).toString();
  return String(value);
}

export class Experiments {
  constructor(root, ask, stream) {
    Object.assign(this, { root, ask, stream, started: false, board: null, sort: null, down: true, filter: "" });
  }

  async show() {
    if (this.started) return;
    this.started = true;
    this.root.replaceChildren(make("p", "Reading the experiments ..."));
    try {
      const { experiments } = await this.ask("/v1/experiments");
      if (!experiments.length) { this.root.replaceChildren(make("p", "There are no experiments in this workspace.")); return; }
      this.names = experiments;
      await this.choose(experiments[0]);
    } catch (error) { this.fail(error); }
  }

  fail(error) { this.started = false; this.root.replaceChildren(make("p", error.message, { id: "experiments-error" })); }

  async choose(name) {
    this.root.replaceChildren(this.bar(name), make("p", "Ranking ..."));
    try { this.board = await this.ask(`/v1/experiments/${encodeURIComponent(name)}/rows`); } catch (error) {
      this.root.replaceChildren(this.bar(name), make("p", error.message, { id: "experiments-error" }));
      return;
    }
    this.sort = null;
    this.list();
  }

  bar(name) {
    const bar = make("div", undefined, { className: "bar" }), select = make("select", undefined, { id: "experiment" });
    for (const known of this.names) select.append(new Option(known, known, false, known === name));
    select.onchange = () => this.choose(select.value);
    const filter = make("input", undefined, { id: "filter", type: "search", placeholder: "Filter", value: this.filter });
    filter.oninput = () => { this.filter = filter.value; this.fill(); };
    bar.append(select, filter);
    return bar;
  }

  list() {
    const { board } = this, head = make("tr"), table = make("table"), top = make("thead");
    board.columns.forEach((name, i) => {
      const cell = make("th", undefined, { className: TEXT.has(name) ? "text" : "" }), button = make("button", name);
      button.onclick = () => { this.down = this.sort === i ? !this.down : true; this.sort = i; this.fill(); };
      cell.append(button);
      head.append(cell);
    });
    head.append(make("th"));
    top.append(head);
    this.body = make("tbody");
    table.append(top, this.body);
    const scroll = make("div", undefined, { className: "scroll" });
    scroll.append(table);
    this.count = make("p", "", { className: "soft" });
    this.root.replaceChildren(this.bar(board.experiment), this.count, scroll);
    this.fill();
  }

  fill() {
    const { board } = this, wanted = this.filter.toLowerCase();
    let rows = board.rows.filter((row) => row.some((value) => String(value).toLowerCase().includes(wanted)));
    if (this.sort !== null) {
      const i = this.sort, sign = this.down ? -1 : 1;
      const compare = (a, b) => a === b ? 0 : a === null ? 1 : b === null ? -1 : sign * (a < b ? -1 : 1);
      rows = [...rows].sort((a, b) => compare(a[i], b[i]));
    }
    this.count.textContent = `${rows.length} of ${board.n_rows} rows, ranked by ${board.select}. ${board.reserve}`;
    const at = board.columns.indexOf("row");
    this.body.replaceChildren(...rows.slice(0, 500).map((row) => {
      const line = make("tr"), name = row[at];
      board.columns.forEach((column, i) => {
        const cell = make("td", undefined, { className: TEXT.has(column) ? "text" : "" });
        if (i === at) { const link = make("a", name, { href: "#experiments" }); link.onclick = (event) => { event.preventDefault(); this.row(name, row); }; cell.append(link); } else cell.textContent = shown(row[i]);
        line.append(cell);
      });
      const last = make("td");
      if (board.aliases[name]) { const button = make("button", "stream"); button.onclick = () => this.stream(board.aliases[name]); last.append(button); }
      line.append(last);
      return line;
    }));
  }

  async row(name, values) {
    const { board } = this, back = make("button", "Back"), title = make("h2", `Row ${name}`);
    back.onclick = () => this.list();
    const top = make("div", undefined, { className: "bar" });
    top.append(back, title);
    if (board.aliases[name]) { const button = make("button", "stream"); button.onclick = () => this.stream(board.aliases[name]); top.append(button); }
    this.root.replaceChildren(top, make("p", board.verdicts[name] ?? ""), make("p", "Computing the trades ..."));
    let found;
    try { found = await this.ask(`/v1/rows/${encodeURIComponent(name)}`); } catch (error) {
      this.root.replaceChildren(top, make("p", error.message, { id: "experiments-error" }));
      return;
    }
    const canvas = make("canvas", undefined, { id: "equity" }), facts = make("dl");
    for (const [key, value] of [...board.columns.map((column, i) => [column, values[i]]), ...Object.entries(found.figures)]) facts.append(make("dt", key, { className: "soft" }), make("dd", shown(value)));
    const table = make("table"), head = make("tr"), body = make("tbody"), top2 = make("thead");
    head.append(...found.columns.map((column) => make("th", column)));
    top2.append(head);
    body.append(...found.trades.slice(0, 500).map((trade) => { const line = make("tr"); line.append(...trade.map((value) => make("td", shown(value)))); return line; }));
    table.append(top2, body);
    const scroll = make("div", undefined, { className: "scroll" });
    scroll.append(table);
    this.root.replaceChildren(top, make("p", board.verdicts[name] ?? ""), canvas, make("h3", `${found.n_trades} trades`), scroll, make("h3", "Settings and figures"), facts);
    this.equity(canvas, found);
  }

  equity(canvas, { columns, trades }) {
    const at = columns.findIndex((name) => /^net.*ticks$/.test(name)), ratio = devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = canvas, g = canvas.getContext("2d");
    canvas.width = w * ratio; canvas.height = h * ratio;
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    const sums = [0];
    for (const trade of trades) sums.push(sums.at(-1) + (trade[at] ?? 0));
    const low = Math.min(...sums), high = Math.max(...sums), x = (i) => 4 + i / Math.max(sums.length - 1, 1) * (w - 70), y = (v) => h - 8 - (v - low) / (high - low || 1) * (h - 24);
    g.strokeStyle = css("--line");
    g.beginPath(); g.moveTo(0, y(0)); g.lineTo(w, y(0)); g.stroke();
    g.strokeStyle = css("--value");
    g.lineWidth = 1.5;
    g.beginPath();
    sums.forEach((value, i) => { if (i) g.lineTo(x(i), y(value)); else g.moveTo(x(i), y(value)); });
    g.stroke();
    g.fillStyle = css("--soft");
    g.font = "11px system-ui, sans-serif";
    g.fillText(`${shown(sums.at(-1))} ticks`, w - 62, y(sums.at(-1)));
    g.fillText("Equity in ticks, after spread and fee, by trade", 4, 10);
  }
}
