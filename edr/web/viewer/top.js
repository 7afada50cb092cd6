/**
 * The state of the process, as rows with rates: subscriptions, sinks, other parts and consumers.
 *
 * Each answer of `/top` is compared with the one before. A row with a fault comes first, then one
 * with a loss.
 */

import { describeBindings } from "./describe.js";

/** @typedef {Record<string, any>} Answer the document of `/top` */

/**
 * @typedef {{
 *   key: string, kind: string, name: string, binding: string, pending: number | null,
 *   capacity: number | null, rate: number | null, oldest: number, delivered: number | null,
 *   lost: string, lostCount: number, state: string, isFault: boolean
 * }} TopRow
 */

const FAULTY = new Set(["refused", "stuck", "retrying", "failed", "disconnected"]);

export class Top {
  /** @type {TopRow[]} */
  rows = [];
  /** Emits a second; null after the first answer. @type {number | null} */
  rate = null;
  subscriptions = 0;
  stalled = 0;
  omitted = 0;
  #at = 0; // milliseconds, when the answer before arrived
  #emits = 0;
  /** The offered events of each row in the answer before. @type {Map<string, number>} */
  #offered = new Map();

  /**
   * @param {Answer} answer
   * @param {number} now milliseconds
   */
  add(answer, now) {
    const elapsed = (now - this.#at) / 1000;
    const isNext = this.#at > 0 && elapsed > 0;
    const emits = answer["bus"]["emits"];
    this.rate = isNext ? Math.max(0, emits - this.#emits) / elapsed : null;
    this.#at = now;
    this.#emits = emits;
    this.subscriptions = answer["bus"]["subscriptions"];
    this.stalled = answer["bus"]["stalled"];
    this.omitted = (answer["omitted"] ?? 0) + (answer["parts_omitted"] ?? 0);
    const offered = new Map();
    this.rows = allRows(answer).map(([row, count]) => {
      const before = this.#offered.get(row.key);
      if (count === null) return row;
      offered.set(row.key, count);
      const isKnown = isNext && before !== undefined;
      return { ...row, rate: isKnown ? Math.max(0, count - before) / elapsed : null };
    });
    this.#offered = offered;
    this.rows.sort((one, other) => trouble(other) - trouble(one)); // stable
  }
}

/** @param {TopRow} row */
function trouble(row) {
  return (row.isFault ? 2 : 0) + (row.lostCount > 0 ? 1 : 0);
}

/**
 * @param {Answer} answer
 * @returns {[TopRow, number | null][]} with the events that were offered so far
 */
function allRows(answer) {
  return [
    ...list(answer["parts"]).map(part),
    ...list(answer["subscriptions"]).map(subscription),
    ...list(answer["journal"]?.["consumers"]).map(consumer),
  ];
}

/**
 * @param {unknown} value
 * @returns {Answer[]}
 */
function list(value) {
  return Array.isArray(value) ? value : [];
}

/**
 * @param {Answer} each
 * @returns {[TopRow, number | null]}
 */
function subscription(each) {
  const lost = { ...each["dropped"], failed: each["failed"] };
  const isCallback = each["kind"] === "callback";
  const policy = isCallback ? callbackState(each) : String(each["overflow"] ?? "");
  const row = {
    ...common(each, lost),
    key: `subscription ${each["number"]}`,
    pending: number(each["pending"]),
    capacity: number(each["capacity"]),
    state: each["stalled"] ? "stalled" : policy,
    isFault: Boolean(each["stalled"]),
  };
  return [row, number(each["offered"])];
}

/** @param {Answer} each */
function callbackState(each) {
  return each["last_error"] || (each["in_flight"] ? `${each["in_flight"]} in flight` : "callback");
}

/**
 * @param {Answer} each
 * @returns {[TopRow, number | null]}
 */
function part(each) {
  const count = number(each["clients"]);
  const clients = count === null ? "" : `, ${count} ${count === 1 ? "client" : "clients"}`;
  const state = String(each["state"] ?? "");
  const error = String(each["error"] ?? "");
  const lost = typeof each["lost"] === "number" ? { lost: each["lost"] } : { ...each["lost"] };
  const row = {
    ...common(each, lost),
    pending: number(each["backlog"]),
    capacity: number(each["capacity"]),
    state: (state && error ? `${state}: ${error}` : error || state) + clients,
    isFault: Boolean(error) || FAULTY.has(state),
  };
  return [row, number(each["offered"])];
}

/**
 * @param {Answer} each
 * @returns {[TopRow, number | null]}
 */
function consumer(each) {
  const row = {
    ...common({ ...each, kind: "consumer" }, { missed: each["missed"] }),
    pending: number(each["lag"]),
    state: each["open"] ? "open" : "not open",
  };
  return [row, null];
}

/**
 * @param {Answer} each
 * @param {Record<string, unknown>} lost reason to events
 * @returns {TopRow}
 */
function common(each, lost) {
  const counts = Object.entries(lost).flatMap(([reason, count]) => {
    return typeof count === "number" && count > 0 ? [{ reason, count }] : [];
  });
  return {
    key: `${each["kind"]} ${each["name"]}`,
    kind: String(each["kind"]),
    name: String(each["name"]),
    binding: describeBindings(each["bindings"], each["bindings_count"]),
    pending: null,
    capacity: null,
    rate: null,
    oldest: number(each["oldest_age"]) ?? 0,
    delivered: number(each["delivered"]),
    lost: counts.map(({ reason, count }) => `${count.toLocaleString("en")} ${reason}`).join(", "),
    lostCount: counts.reduce((sum, { count }) => sum + count, 0),
    state: "",
    isFault: false,
  };
}

/** @param {unknown} value */
function number(value) {
  return typeof value === "number" ? value : null;
}
