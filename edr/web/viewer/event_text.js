/**
 * The fields of an event, read from its JSON text.
 */

import { inertStart } from "./inert.js";
import { isContainer, isObject, items, members, readScalar } from "./json_text.js";

/**
 * The fields of an event, without its body. Missing fields are empty.
 * @typedef {{
 *   id: string, timestamp: string, node: string, severity: string, verbosity: string,
 *   app_name: string, app_version: string, account_id: string, account_tree: string[],
 *   traceparent: string, body: {start: number, end: number} | null
 * }} Fields
 */

/**
 * A value of the body, with its path.
 * @typedef {{path: string, value: string}} Pair
 */

const MAX_NAME = 256; // characters of a field that are shown
const MAX_PAIR = 160; // characters of a key or value in a row
const MAX_LINE = 320; // characters of a row, after which no further value is read
const MAX_VISITED = 64; // members that are looked at for a row
const MAX_DEPTH = 4; // of the values that a row shows
const MAX_ANCESTORS = 32;

const NAMES = /** @type {const} */ ([
  "id", "timestamp", "node", "severity", "verbosity", "app_name", "app_version", "account_id",
  "traceparent",
]);

/**
 * Read the fields of an event. Values are as in the event, and must be made inert to be shown.
 * @param {string} text
 * @returns {Fields}
 */
export function readFields(text) {
  /** @type {Fields} */
  const fields = {
    id: "", timestamp: "", node: "", severity: "", verbosity: "", app_name: "", app_version: "",
    account_id: "", account_tree: [], traceparent: "", body: null,
  };
  for (const { key, start, end } of members(text, 0)) {
    if (key === "body") fields.body = { start, end };
    else if (key === "account_tree") fields.account_tree = ancestors(text, start);
    else {
      const name = NAMES.find((each) => each === key);
      if (name && text.charAt(start) !== "n") fields[name] = readScalar(text, start, end);
    }
  }
  return fields;
}

/**
 * @param {string} text
 * @param {number} at
 */
function ancestors(text, at) {
  /** @type {string[]} */
  const found = [];
  if (isObject(text, at) || !isContainer(text, at)) return found;
  for (const { start, end } of items(text, at)) {
    if (found.length === MAX_ANCESTORS) break;
    found.push(readScalar(text, start, end));
  }
  return found;
}

/**
 * Return a name of an event as it is shown.
 * @param {string} value
 */
export function shownName(value) {
  return inertStart(value, MAX_NAME);
}

/**
 * Return the first values of a body, for one line: at most `count`. Texts are inert.
 * @param {string} text
 * @param {number} at
 * @param {number} count
 * @returns {Pair[]}
 */
export function firstPairs(text, at, count) {
  /** @type {Pair[]} */
  const pairs = [];
  if (isObject(text, at)) collect(text, at, "", 1, pairs, count, { members: 0, characters: 0 });
  return pairs;
}

/**
 * @param {string} text
 * @param {number} at
 * @param {string} prefix
 * @param {number} depth
 * @param {Pair[]} pairs
 * @param {number} count
 * @param {{members: number, characters: number}} read so far
 */
function collect(text, at, prefix, depth, pairs, count, read) {
  for (const { key, start, end } of members(text, at)) {
    if (pairs.length === count || read.members >= MAX_VISITED) return;
    if (read.characters >= MAX_LINE) return;
    read.members += 1;
    const path = prefix + inertStart(key, MAX_PAIR);
    if (isObject(text, start) && depth < MAX_DEPTH) {
      collect(text, start, `${path}.`, depth + 1, pairs, count, read);
    } else {
      const value = isContainer(text, start)
        ? text.slice(start, Math.min(end, start + MAX_PAIR + 1))
        : readScalar(text, start, end, MAX_PAIR + 2);
      const pair = { path, value: inertStart(value, MAX_PAIR) };
      read.characters += pair.path.length + pair.value.length;
      pairs.push(pair);
    }
  }
}

const NAMING = ["event", "event_name", "name", "type", "action", "kind"];
/* Keys of a body that usually name the event, and have few values. */

/**
 * Return the value of a body that names the event, as JSON text, or `null`.
 * @param {string} text
 * @param {number} at
 * @returns {{key: string, json: string} | null}
 */
export function namingValue(text, at) {
  if (!isObject(text, at)) return null;
  let visited = 0;
  for (const { key, start, end } of members(text, at)) {
    if (visited === MAX_VISITED) return null;
    visited += 1;
    const isShort = end - start <= MAX_PAIR && text.charAt(start) === '"';
    if (isShort && NAMING.includes(key)) return { key, json: text.slice(start, end) };
  }
  return null;
}

const time = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
});

const date = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });

/**
 * Return the local time of a timestamp, with milliseconds.
 * @param {string} timestamp
 */
export function localTime(timestamp) {
  const moment = new Date(timestamp);
  return Number.isNaN(moment.getTime()) ? shownName(timestamp) : time.format(moment);
}

/**
 * Return the local date of a timestamp.
 * @param {string} timestamp
 */
export function localDate(timestamp) {
  const moment = new Date(timestamp);
  return Number.isNaN(moment.getTime()) ? "" : date.format(moment);
}

/**
 * Return the age of a timestamp in words, such as `2 min ago`.
 * @param {string} timestamp
 * @param {number} now milliseconds since 1970
 */
export function age(timestamp, now) {
  const seconds = (now - new Date(timestamp).getTime()) / 1000;
  if (Number.isNaN(seconds)) return "";
  if (seconds < -1) return "in the future";
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}
