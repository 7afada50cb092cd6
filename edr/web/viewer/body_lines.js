/**
 * A body as lines of indented JSON, bounded in number and length.
 */

import { inertJson, inertStart } from "./inert.js";
import { isContainer, isObject, items, members } from "./json_text.js";

/**
 * A line: its indentation, its key with the colon, its value, the kind of value, and a comma.
 * @typedef {{depth: number, key: string, value: string, kind: string, comma: string}} Line
 */

export const MAX_LINES = 1_000;
const MAX_STRING = 2_000; // characters of a value
const MAX_KEY = 200;
const MAX_DEPTH = 40;

/**
 * Return the lines of the value at `at`.
 * @param {string} text
 * @param {number} at
 * @param {number} end the index after the value
 * @param {number} [maxLines]
 * @returns {Line[]}
 */
export function bodyLines(text, at, end, maxLines = MAX_LINES) {
  /** @type {Line[]} */
  const lines = [];
  add(lines, text, at, end, 0, "", "", maxLines);
  return lines;
}

/**
 * @param {Line[]} lines
 * @param {string} text
 * @param {number} start
 * @param {number} end
 * @param {number} depth
 * @param {string} key
 * @param {string} comma
 * @param {number} maxLines
 */
function add(lines, text, start, end, depth, key, comma, maxLines) {
  if (!isContainer(text, start) || end - start === 2) {
    lines.push({ depth, key, value: scalar(text, start, end), kind: kind(text, start), comma });
    return;
  }
  const [open, close] = isObject(text, start) ? ["{", "}"] : ["[", "]"];
  if (depth >= MAX_DEPTH) {
    lines.push({ depth, key, value: `${open}…${close}`, kind: "cut", comma });
    return;
  }
  lines.push({ depth, key, value: open, kind: "bracket", comma: "" });
  for (const child of children(text, start)) {
    if (lines.length >= maxLines) {
      const left = `… ${(end - child.start).toLocaleString("en")} more characters: copy the JSON`;
      lines.push({ depth: depth + 1, key: "", value: left, kind: "cut", comma: "" });
      break;
    }
    const isLast = text.charAt(child.end) !== ",";
    add(lines, text, child.start, child.end, depth + 1, child.key, isLast ? "" : ",", maxLines);
  }
  lines.push({ depth, key: "", value: close, kind: "bracket", comma });
}

/**
 * Yield the members of an object, or the items of an array, with the key as it is shown.
 * @param {string} text
 * @param {number} at
 */
function* children(text, at) {
  if (isObject(text, at)) {
    for (const { key, start, end } of members(text, at)) {
      const cut = key.length > MAX_KEY ? `${key.slice(0, MAX_KEY)}…` : key;
      yield { key: `${inertJson(JSON.stringify(cut))}: `, start, end };
    }
  } else {
    for (const { start, end } of items(text, at)) yield { key: "", start, end };
  }
}

/**
 * @param {string} text
 * @param {number} start
 * @param {number} end
 */
function scalar(text, start, end) {
  const value = inertStart(text.slice(start, Math.min(end, start + MAX_STRING + 1)), MAX_STRING);
  if (end - start <= MAX_STRING) return value;
  return `${value} (${(end - start - 2).toLocaleString("en")} characters)`;
}

/**
 * @param {string} text
 * @param {number} at
 */
function kind(text, at) {
  const first = text.charAt(at);
  if (first === '"') return "string";
  return first === "t" || first === "f" || first === "n" ? "word" : "number";
}
