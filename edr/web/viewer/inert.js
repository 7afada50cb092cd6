/**
 * Text of events, made harmless to read.
 *
 * An event may contain characters that hide or reorder the text around them: control characters,
 * marks of the writing direction, and characters without a width. They are shown as escapes, such
 * as `\u202e`. Markup needs nothing here, because the page only sets `textContent`.
 */

const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2800\u3164\ufe00-\ufe0f\uffa0]|[\u{e0000}-\u{e0fff}]/gu;

const SHORT = new Map([["\n", "\\n"], ["\t", "\\t"], ["\r", "\\r"]]);

const STACKED = /(\p{M}{3})\p{M}+/gu; // of combining marks, which would cover other lines

/**
 * Return JSON text of the same value, with each hidden character as an escape.
 * @param {string} json without white space between its tokens
 */
export function inertJson(json) {
  return json.replace(HIDDEN, escaped);
}

/**
 * Return `text` with each hidden character as an escape.
 * @param {string} text
 */
export function inert(text) {
  return text.replace(HIDDEN, escaped).replace(STACKED, "$1…");
}

/**
 * Return at most `limit` characters of `text`, made inert.
 * @param {string} text
 * @param {number} limit
 */
export function inertStart(text, limit) {
  return text.length > limit ? `${inert(text.slice(0, limit))}…` : inert(text);
}

/**
 * Return a character as JSON escapes it. So JSON text that was made inert has the same value.
 * @param {string} character
 */
function escaped(character) {
  const short = SHORT.get(character);
  if (short) return short;
  return Array.from({ length: character.length }, (_, index) => {
    return `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`;
  }).join("");
}
