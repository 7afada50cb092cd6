/**
 * The pane of one event: its fields, its body, and who received it.
 */

import { bodyLines } from "./body_lines.js";
import { find, make, setText } from "./dom.js";
import { age, localDate, localTime, readFields, shownName } from "./event_text.js";
import { inertStart } from "./inert.js";

/** @typedef {import("./ring.js").EventRow} EventRow */

/** @typedef {import("./explanations.js").Result} Result */

const MAX_RESULTS = 500;
const MAX_REASON = 600; // characters

export class Detail {
  /** @type {EventRow | null} */
  event = null;
  #timestamp = "";
  #age = make("span", "dim");

  /** @param {{onClose: () => void}} handlers */
  constructor(handlers) {
    this.pane = find("detail", HTMLElement);
    this.fields = find("fields", HTMLElement);
    this.body = find("body-view", HTMLElement);
    this.why = find("why", HTMLElement);
    this.title = find("why-title", HTMLElement);
    find("detail-close", HTMLElement).addEventListener("click", handlers.onClose);
  }

  /** @param {EventRow} event */
  show(event) {
    this.event = event;
    const fields = readFields(event.text);
    this.#timestamp = fields.timestamp;
    this.fields.replaceChildren(...fieldRows(event, fields, this.#age));
    this.tick(Date.now());
    this.body.replaceChildren(...(fields.body ? lines(event.text, fields.body) : []));
    this.why.replaceChildren(make("div", "dim", "…"));
    this.pane.hidden = false;
    this.pane.scrollTop = 0;
  }

  /**
   * Show the age of the event at this moment.
   * @param {number} now milliseconds since 1970
   */
  tick(now) {
    setText(this.#age, ` ${age(this.#timestamp, now)}`);
  }

  hide() {
    this.event = null;
    this.pane.hidden = true;
  }

  /** @param {readonly Result[]} results */
  explain(results) {
    const shown = results.slice(0, MAX_RESULTS).flatMap(resultRows);
    if (!results.length) shown.push(make("div", "dim", "No subscription or part could receive it."));
    const more = results.length - MAX_RESULTS;
    if (more > 0) shown.push(make("div", "dim", `and ${more.toLocaleString("en")} more`));
    this.why.replaceChildren(...shown);
  }

  /** @param {string} reason */
  explainFailed(reason) {
    this.why.replaceChildren(make("div", "dim", `Not known: ${inertStart(reason, MAX_REASON)}`));
  }

  /** Move the focus to the explanation. */
  focusWhy() {
    this.title.scrollIntoView({ block: "start" });
    this.title.focus({ preventScroll: true });
  }
}

/**
 * @param {EventRow} event
 * @param {import("./event_text.js").Fields} fields
 * @param {HTMLElement} ageNote
 */
function fieldRows(event, fields, ageNote) {
  const rows = [
    row("id", shownName(fields.id)),
    row("time", time(fields.timestamp), ageNote),
    row("level", `${shownName(fields.severity)} · ${shownName(fields.verbosity)}`),
    row("app", shownName(fields.app_name), make("span", "dim", ` ${shownName(fields.app_version)}`)),
    row("node", shownName(fields.node)),
    accountRow(fields),
    row("cursor", event.cursor),
  ];
  if (fields.traceparent) rows.push(row("trace", shownName(fields.traceparent)));
  return rows;
}

/** @param {string} timestamp */
function time(timestamp) {
  return `${localDate(timestamp)} ${localTime(timestamp)}`.trim();
}

/**
 * The account below its ancestors.
 * @param {import("./event_text.js").Fields} fields
 */
function accountRow({ account_tree, account_id }) {
  const made = row("account", account_tree.map((name) => `${shownName(name)} › `).join(""));
  made.lastElementChild?.append(make("b", "", account_id ? shownName(account_id) : "–"));
  return made;
}

/**
 * @param {string} name
 * @param {string} value
 * @param {HTMLElement} [note]
 */
function row(name, value, note) {
  const made = make("tr");
  const cell = make("td", "", value);
  if (note) cell.append(note);
  const title = make("th", "", name);
  title.scope = "row";
  made.append(title, cell);
  return made;
}

/**
 * @param {string} text
 * @param {{start: number, end: number}} body
 */
function lines(text, { start, end }) {
  return bodyLines(text, start, end).map(({ depth, key, value, kind, comma }) => {
    const line = make("div", "line");
    line.append("  ".repeat(depth), make("span", "key", key), make("span", `value ${kind}`, value), comma);
    return line;
  });
}

/** @param {Result} result */
function resultRows({ kind, name, matches, mismatches }) {
  const [mark, style, word] =
    matches === null ? ["·", "dim", "has no binding: "] :
    matches ? ["✓", "yes", "received: "] : ["✗", "no", "did not receive: "];
  const title = make("div", "result");
  title.append(
    make("span", style, mark),
    make("span", "unseen", word),
    ` ${inertStart(name, 200)} `,
    make("span", "dim", kind === name || kind === "subscription" ? "" : inertStart(kind, 40)),
  );
  const reasons = matches === false ? mismatches : [];
  return [title, ...reasons.map(({ text }) => make("div", "dim reason", inertStart(text, MAX_REASON)))];
}
