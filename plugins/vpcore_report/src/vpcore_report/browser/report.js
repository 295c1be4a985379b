// The charts of a report that a reader moves. Their data are in the page.
import { Curves } from "./curves.js";
import { unpack } from "./data.js";
import { Market } from "./market.js";
import { Maps, Parallel, Rows } from "./rows.js";

const $ = (id) => document.getElementById(id);
const { header, column } = await unpack($("data").textContent);
const rows = header.rows && new Rows(header.rows, column);
const makers = {
  equity: (root) => new Curves(root, header.equity, column),
  market: (root) => new Market(root, header.market, column, $("trades")),
  maps: (root) => new Maps(root, rows),
  parallel: (root) => new Parallel(root, rows),
};
const charts = {};
for (const root of document.querySelectorAll("[data-chart]")) charts[root.dataset.chart] = makers[root.dataset.chart](root);
for (const chart of Object.values(charts)) if (chart.canvas) new ResizeObserver(() => chart.draw()).observe(chart.canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const chart of Object.values(charts)) chart.theme(); });
window.vp = { header, charts };
