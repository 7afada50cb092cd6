/**
 * JSON text, read in place.
 *
 * The page keeps each event as the text that arrived, and reads only the parts that it shows. So
 * numbers keep all their digits, keys keep their order, `__proto__` is a key as any other, and a
 * value of 1 MB costs nothing until it is shown. The text was made by the gateway, so it is not
 * checked as strictly as `JSON.parse` does.
 */

/**
 * A member of an object: its key, and where its value begins and ends in the text.
 * @typedef {{key: string, start: number, end: number}} Member
 */

/**
 * An item of an array.
 * @typedef {{start: number, end: number}} Item
 */

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/**
 * Return the index after the white space that begins at `at`.
 * @param {string} text
 * @param {number} at
 */
export function skipSpace(text, at) {
  for (;;) {
    const code = text.charCodeAt(at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return at;
    at += 1;
  }
}

/**
 * Return the index after the string whose opening quote is at `at`.
 * @param {string} text
 * @param {number} at
 */
function endOfString(text, at) {
  let end = at;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end < 0) throw new SyntaxError(`a string at ${at} does not end`);
    let first = end;
    while (text.charCodeAt(first - 1) === BACKSLASH) first -= 1;
    if ((end - first) % 2 === 0) return end + 1;
  }
}

/**
 * Return the index after the value that begins at `at`. Nesting of any depth costs no stack.
 * @param {string} text
 * @param {number} at
 */
export function endOfValue(text, at) {
  let depth = 0;
  let index = at;
  do {
    const code = text.charCodeAt(index);
    if (code === QUOTE) {
      index = endOfString(text, index);
      continue;
    }
    if (code === OPEN_OBJECT || code === OPEN_ARRAY) depth += 1;
    else if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) depth -= 1;
    else if (Number.isNaN(code)) throw new SyntaxError(`a value at ${at} does not end`);
    else if (depth === 0) return endOfWord(text, index);
    index += 1;
  } while (depth > 0);
  return index;
}

/**
 * Return the index after a number or a literal.
 * @param {string} text
 * @param {number} at
 */
function endOfWord(text, at) {
  let end = at;
  while (/[-+.\w]/.test(text.charAt(end))) end += 1;
  if (end === at) throw new SyntaxError(`there is no value at ${at}`);
  return end;
}

/**
 * Return whether a value is an object or an array.
 * @param {string} text
 * @param {number} at
 */
export function isContainer(text, at) {
  const code = text.charCodeAt(at);
  return code === OPEN_OBJECT || code === OPEN_ARRAY;
}

/**
 * Return whether a value is an object.
 * @param {string} text
 * @param {number} at
 */
export function isObject(text, at) {
  return text.charCodeAt(at) === OPEN_OBJECT;
}

/**
 * Yield the members of the object at `at`, in the order of the text.
 * @param {string} text
 * @param {number} at
 * @returns {Generator<Member>}
 */
export function* members(text, at) {
  let index = skipSpace(text, at + 1);
  while (text.charCodeAt(index) === QUOTE) {
    const keyEnd = endOfString(text, index);
    const key = readString(text, index, keyEnd);
    index = skipSpace(text, keyEnd);
    if (text.charCodeAt(index) !== COLON) throw new SyntaxError(`expected ":" at ${index}`);
    const start = skipSpace(text, index + 1);
    const end = endOfValue(text, start);
    yield { key, start, end };
    index = skipSpace(text, end);
    if (text.charCodeAt(index) === COMMA) index = skipSpace(text, index + 1);
  }
}

/**
 * Yield the items of the array at `at`.
 * @param {string} text
 * @param {number} at
 * @returns {Generator<Item>}
 */
export function* items(text, at) {
  let index = skipSpace(text, at + 1);
  while (index < text.length && text.charCodeAt(index) !== CLOSE_ARRAY) {
    const end = endOfValue(text, index);
    yield { start: index, end };
    index = skipSpace(text, end);
    if (text.charCodeAt(index) === COMMA) index = skipSpace(text, index + 1);
  }
}

/**
 * Return the content of the string from `start` to `end`, which include its quotes.
 * @param {string} text
 * @param {number} start
 * @param {number} end
 * @returns {string}
 */
export function readString(text, start, end) {
  const inner = text.slice(start + 1, end - 1);
  return inner.includes("\\") ? JSON.parse(`"${inner}"`) : inner;
}

/**
 * Return the text of a value that has no members: the content of a string, or the digits or
 * letters as they are. At most `limit` characters are read.
 * @param {string} text
 * @param {number} start
 * @param {number} end
 * @param {number} [limit]
 * @returns {string}
 */
export function readScalar(text, start, end, limit = Infinity) {
  if (text.charCodeAt(start) !== QUOTE) return text.slice(start, Math.min(end, start + limit));
  if (end - start <= limit) return readString(text, start, end);
  const cut = text.slice(start + 1, start + limit);
  try {
    return JSON.parse(`"${cut}"`);
  } catch {
    return cut; // the cut is within an escape
  }
}
