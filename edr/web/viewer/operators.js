/**
 * The table for operators: subscriptions, sinks and clients, with fill, lag, losses and state.
 *
 * It is read from `/top` and `/clients` while the page is visible. The gateway refuses them to other
 * accounts, and then the table is not shown.
 */

import { clientRows } from "./clients.js";
import { find, make, setText } from "./dom.js";
import { inertStart } from "./inert.js";
import { Top } from "./top.js";

/** @typedef {import("./top.js").TopRow} TopRow */

const EVERY = 2_000; // milliseconds between two requests
const CLIENTS_EVERY = 5; // requests of the above
const MAX_SHOWN = 100;
const NEARLY_FULL = 0.9;
const COLUMNS = 9;
const PLAIN = new Set(["subscription", "callback"]); // kinds that need no word

/** @typedef {{row: HTMLElement, cells: HTMLElement[], fill: HTMLElement, bar: HTMLElement}} TableRow */

export class Operators {
  #timer = 0;
  #reads = 0;
  #isOperator = true;
  /** @type {TableRow[]} */
  #table = [];

  /**
   * @param {string} base the URL of the gateway
   * @param {() => string | null} token
   */
  constructor(base, token) {
    this.base = base;
    this.token = token;
    this.top = new Top();
    /** @type {TopRow[]} */
    this.clients = [];
    this.footer = find("operators", HTMLElement);
    this.body = find("operators-rows", HTMLElement);
    this.toggle = find("operators-toggle", HTMLElement);
    this.subscriptions = find("subscriptions", HTMLElement);
    this.stalledFigure = find("stalled-figure", HTMLElement);
    this.stalled = find("stalled", HTMLElement);
    this.toggle.addEventListener("click", () => {
      this.#expand(this.toggle.getAttribute("aria-expanded") !== "true");
    });
    if (matchMedia("(max-width: 900px)").matches) this.#expand(false);
  }

  /**
   * Begin to read, for an account that may have changed.
   * @param {boolean} isOperator whether the gateway answers this account
   */
  start(isOperator) {
    this.stop();
    this.#isOperator = isOperator;
    this.top = new Top();
    this.clients = [];
    this.#reads = 0;
    if (isOperator) void this.#read();
    else this.#show(false);
  }

  stop() {
    window.clearTimeout(this.#timer);
  }

  async #read() {
    window.clearTimeout(this.#timer);
    if (!document.hidden) await this.#readOnce();
    if (this.#isOperator) this.#timer = window.setTimeout(() => void this.#read(), EVERY);
  }

  async #readOnce() {
    const { top } = this;
    try {
      const answer = await this.#get("top");
      const isDue = this.#reads % CLIENTS_EVERY === 0;
      const clients = answer && isDue ? await this.#get("clients") : null;
      if (!answer || top !== this.top) return;
      this.#reads += 1;
      top.add(answer, performance.now());
      if (clients) this.clients = clientRows(clients);
      this.#paint();
    } catch {
      // The connection is lost, which the WebSocket shows. It is read again later.
    }
  }

  /**
   * Return an answer of the gateway, or `null` if there is none now.
   * @param {string} path
   */
  async #get(path) {
    const token = this.token();
    const headers = token === null ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(new URL(path, this.base), { headers, cache: "no-store" });
    if ([401, 403, 404].includes(response.status)) {
      this.#isOperator = false;
      this.#show(false);
    }
    return response.ok ? response.json() : null;
  }

  #paint() {
    const { subscriptions, stalled, omitted } = this.top;
    const rows = [...this.top.rows, ...this.clients];
    this.#show(true);
    setText(this.subscriptions, subscriptions.toLocaleString("en"));
    this.stalledFigure.hidden = stalled === 0;
    setText(this.stalled, stalled.toLocaleString("en"));
    const shown = rows.slice(0, MAX_SHOWN);
    const hidden = rows.length - shown.length + omitted;
    for (const { row } of this.#table.splice(shown.length)) row.remove();
    this.body.querySelector(".more")?.remove();
    shown.forEach((row, index) => this.#fill(this.#tableRow(index), row));
    if (hidden) this.body.append(moreRow(hidden));
  }

  /** @param {boolean} isOperator */
  #show(isOperator) {
    this.toggle.hidden = !isOperator;
    this.#expand(this.toggle.getAttribute("aria-expanded") === "true");
  }

  /** @param {boolean} isExpanded */
  #expand(isExpanded) {
    this.toggle.setAttribute("aria-expanded", String(isExpanded));
    this.footer.hidden = !isExpanded || this.toggle.hidden;
  }

  /**
   * @param {number} index
   * @returns {TableRow}
   */
  #tableRow(index) {
    const known = this.#table[index];
    if (known) return known;
    const row = make("tr");
    const cells = Array.from({ length: COLUMNS }, () => make("td"));
    const fill = make("span", "fill");
    const bar = make("i");
    fill.append(bar);
    cells[2]?.append(fill);
    row.append(...cells);
    this.body.append(row);
    const made = { row, cells, fill, bar };
    this.#table.push(made);
    return made;
  }

  /**
   * @param {TableRow} table
   * @param {TopRow} row
   */
  #fill({ cells, fill, bar }, row) {
    const share = row.capacity ? Math.min(1, (row.pending ?? 0) / row.capacity) : 0;
    fill.hidden = !row.capacity;
    bar.style.width = `${Math.round(100 * share)}%`;
    bar.className = share >= NEARLY_FULL ? "full" : "";
    const kind = PLAIN.has(row.kind) || row.kind === row.name ? "" : `${row.kind} `;
    const texts = [
      inertStart(kind + row.name, 120),
      inertStart(row.binding, 200),
      null,
      row.pending === null ? "–" : count(row.pending) + (row.capacity ? ` / ${count(row.capacity)}` : ""),
      row.rate === null ? "–" : row.rate < 10 ? row.rate.toFixed(1) : count(Math.round(row.rate)),
      row.pending ? seconds(row.oldest) : "–",
      row.delivered === null ? "–" : count(row.delivered),
      inertStart(row.lost, 120) || "0",
      inertStart(row.state, 120),
    ];
    texts.forEach((text, index) => {
      const cell = cells[index];
      if (text !== null && cell) setText(cell, text);
    });
    cells[1]?.classList.add("dim");
    cells[7]?.classList.toggle("bad", row.lostCount > 0);
    cells[8]?.classList.toggle("bad", row.isFault);
    cells[8]?.classList.toggle("dim", !row.isFault);
  }
}

/** @param {number} number */
function count(number) {
  return number.toLocaleString("en");
}

/** @param {number} value */
function seconds(value) {
  if (value < 100) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  return value < 6000 ? `${Math.round(value / 60)} min` : `${Math.round(value / 3600)} h`;
}

/** @param {number} hidden */
function moreRow(hidden) {
  const row = make("tr", "more");
  const cell = make("td", "dim", `and ${count(hidden)} more`);
  cell.colSpan = COLUMNS;
  row.append(cell);
  return row;
}
