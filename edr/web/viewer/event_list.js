/**
 * The list of events: a window of pooled rows over all rows.
 *
 * Only the visible rows have elements, about 40, which are used again for other rows. An element
 * belongs to the number of its row, so a row that moves up changes its place and not its content.
 */

import { find, make, setText } from "./dom.js";
import { firstPairs, localTime, readFields, shownName } from "./event_text.js";
import { gapText } from "./gaps.js";

/** @typedef {import("./ring.js").Row} Row */

/** @typedef {import("./ring.js").Rows} Rows */

/**
 * @typedef {{onSelect: (row: Row) => void, onScrollUp: () => void, onScroll: () => void}} Handlers
 */

/**
 * The elements of one row.
 * @typedef {{
 *   element: HTMLElement, cells: HTMLElement[], pairs: {key: HTMLElement, value: HTMLElement}[],
 *   row: Row | null, index: number, isSelected: boolean
 * }} PooledRow
 */

const PAIRS = 8; // values of a body in a row
const SPARE = 4; // rows beyond the visible ones

/** @type {Readonly<Record<string, string>>} */
const SHAPES = { ok: "·", warning: "▲", critical: "■" };

export class EventList {
  /** @type {Rows} */
  #rows = { length: 0, dropped: 0, at: () => { throw new RangeError("there is no row"); } };
  /** @type {PooledRow[]} */
  #pool = [];
  #rowHeight = 25;
  #viewHeight = 0;
  #spaceHeight = -1;
  #followedTop = 0; // where the last paint scrolled to
  /** Whether the list stays at its end. */
  follows = true;
  /** @type {Row | null} */
  selected = null;

  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.handlers = handlers;
    this.list = find("list", HTMLElement);
    this.space = find("rows", HTMLElement);
    this.list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.list.addEventListener("click", (event) => this.#clicked(event));
    new ResizeObserver(() => this.#measure()).observe(this.list);
    this.#measure();
  }

  /**
   * Show other rows. They may grow; call `paint` then.
   * @param {Rows} rows
   */
  show(rows) {
    this.#rows = rows;
  }

  /** Bring the elements in line with the rows. */
  paint() {
    const { length, dropped } = this.#rows;
    const height = length * this.#rowHeight;
    if (height !== this.#spaceHeight) {
      this.space.style.height = `${height}px`;
      this.#spaceHeight = height;
    }
    const bottom = Math.max(0, height - this.#viewHeight);
    if (this.follows) {
      this.list.scrollTop = bottom;
      this.#followedTop = bottom;
    }
    const top = this.follows ? bottom : Math.min(this.list.scrollTop, bottom);
    const first = Math.max(0, Math.floor(top / this.#rowHeight) - 1);
    const count = Math.min(this.#pool.length, length - first);
    this.#pool.forEach((pooled) => { pooled.index = -1; });
    for (let index = first; index < first + count; index += 1) {
      const pooled = this.#pool[(dropped + index) % this.#pool.length];
      if (pooled) this.#place(pooled, index, length);
    }
    for (const pooled of this.#pool) pooled.element.hidden = pooled.index < 0;
    this.#announceSelected();
  }

  /**
   * Select the row that is `step` rows after the selected one, or the last visible one.
   * @param {number} step
   */
  move(step) {
    const { length } = this.#rows;
    if (!length) return;
    const now = this.indexOf(this.selected);
    const next = now < 0 ? this.#lastVisible() : now + step;
    this.select(this.#rows.at(Math.max(0, Math.min(length - 1, next))));
  }

  /** @param {Row} row */
  select(row) {
    this.selected = row;
    this.handlers.onSelect(row); // it may pause, which replaces the rows
    this.#reveal(this.indexOf(row));
    this.handlers.onScroll();
  }

  /** Scroll so that the selected row is in the middle. */
  centre() {
    const index = this.indexOf(this.selected);
    if (index < 0) return;
    this.paint();
    this.list.scrollTop = (index + 0.5) * this.#rowHeight - this.#viewHeight / 2;
    this.handlers.onScroll();
  }

  /**
   * Return the index of a row, or -1.
   * @param {Row | null} row
   */
  indexOf(row) {
    if (!row) return -1;
    for (let index = this.#rows.length - 1; index >= 0; index -= 1) {
      const each = this.#rows.at(index);
      if (each === row || (each.cursor === row.cursor && each.kind === row.kind)) return index;
    }
    return -1;
  }

  #lastVisible() {
    const last = Math.floor((this.list.scrollTop + this.#viewHeight) / this.#rowHeight) - 1;
    return Math.min(this.#rows.length - 1, last);
  }

  /** @param {number} index */
  #reveal(index) {
    if (index < 0) return;
    const top = index * this.#rowHeight;
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    const bottom = top + this.#rowHeight - this.#viewHeight;
    if (bottom > this.list.scrollTop) this.list.scrollTop = bottom;
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.list;
    // A list that became smaller or larger scrolls too, and is not a user who scrolls up.
    const isAtEnd = scrollTop + clientHeight >= scrollHeight - this.#rowHeight;
    if (this.follows && !isAtEnd && scrollTop < this.#followedTop - 1) this.handlers.onScrollUp();
    this.handlers.onScroll();
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const { target } = event;
    const pooled = this.#pool.find(({ element }) => {
      return target instanceof Node && element.contains(target);
    });
    if (pooled?.row) this.select(pooled.row);
  }

  #measure() {
    this.#viewHeight = this.list.clientHeight;
    const style = getComputedStyle(this.list);
    this.#rowHeight = parseFloat(style.getPropertyValue("--row-height")) || this.#rowHeight;
    const wanted = Math.ceil(this.#viewHeight / this.#rowHeight) + SPARE;
    if (wanted !== this.#pool.length) this.#resizePool(wanted);
    this.#spaceHeight = -1;
    this.handlers.onScroll();
  }

  /** @param {number} wanted */
  #resizePool(wanted) {
    for (const { element } of this.#pool.splice(wanted)) element.remove();
    while (this.#pool.length < wanted) {
      const pooled = makeRow(this.#pool.length);
      this.#pool.push(pooled);
      this.space.append(pooled.element);
    }
    for (const pooled of this.#pool) pooled.row = null; // their numbers have changed
  }

  /**
   * @param {PooledRow} pooled
   * @param {number} index
   * @param {number} length
   */
  #place(pooled, index, length) {
    const row = this.#rows.at(index);
    pooled.index = index;
    if (pooled.row !== row) {
      pooled.row = row;
      fill(pooled, row);
    }
    pooled.element.style.transform = `translateY(${index * this.#rowHeight}px)`;
    pooled.element.ariaPosInSet = String(index + 1);
    pooled.element.ariaSetSize = String(length);
    const isSelected = row === this.selected;
    if (pooled.isSelected !== isSelected) {
      pooled.isSelected = isSelected;
      pooled.element.ariaSelected = String(isSelected);
    }
  }

  #announceSelected() {
    const active = this.#pool.find((pooled) => pooled.index >= 0 && pooled.isSelected);
    if (active) this.list.setAttribute("aria-activedescendant", active.element.id);
    else this.list.removeAttribute("aria-activedescendant");
  }
}

/**
 * @param {number} number
 * @returns {PooledRow}
 */
function makeRow(number) {
  const element = make("div", "row");
  element.id = `row-${number}`;
  element.role = "option";
  element.ariaSelected = "false";
  element.hidden = true;
  const cells = ["time", "level", "verbosity", "app", "account", "values"].map((name) => {
    return make("span", name);
  });
  const pairs = Array.from({ length: PAIRS }, () => {
    return { key: make("span", "key"), value: make("span", "value") };
  });
  cells[5]?.append(...pairs.flatMap(({ key, value }) => [key, value]));
  element.append(...cells);
  return { element, cells, pairs, row: null, index: -1, isSelected: false };
}

/**
 * @param {PooledRow} pooled
 * @param {Row} row
 */
function fill({ element, cells, pairs }, row) {
  if (row.kind === "gap") {
    element.className = "row gap";
    cells.forEach((cell, index) => { if (index < 5) setText(cell, ""); });
    fillPairs(pairs, [{ path: "", value: gapText(row) }]);
    return;
  }
  const fields = readFields(row.text);
  const shape = SHAPES[fields.severity];
  const severity = shape ? fields.severity : "unknown";
  element.className = `row ${severity}`;
  const texts = [
    localTime(fields.timestamp),
    `${shape ?? "?"} ${shownName(fields.severity)}`,
    shownName(fields.verbosity),
    `${shownName(fields.app_name)} ${shownName(fields.app_version)}`,
    shownName(fields.account_id),
  ];
  texts.forEach((text, index) => {
    const cell = cells[index];
    if (cell) setText(cell, text);
  });
  fillPairs(pairs, fields.body ? firstPairs(row.text, fields.body.start, PAIRS) : []);
}

/**
 * @param {PooledRow["pairs"]} pooled
 * @param {readonly import("./event_text.js").Pair[]} pairs
 */
function fillPairs(pooled, pairs) {
  pooled.forEach(({ key, value }, index) => {
    const pair = pairs[index];
    setText(key, pair?.path ? `${pair.path}=` : "");
    setText(value, pair ? `${pair.value} ` : "");
  });
}
