import assert from "node:assert/strict";
import { test } from "node:test";

import { endOfValue, items, members, readScalar } from "../viewer/json_text.js";

/** Read any value with the functions under test. */
function read(text, at = 0) {
  if (text[at] === "{") return [...members(text, at)].map(({ key, start }) => [key, read(text, start)]);
  if (text[at] === "[") return [...items(text, at)].map(({ start }) => read(text, start));
  return text.slice(at, endOfValue(text, at));
}

test("members and items are in the order of the text, with each key", () => {
  const text = '{"10":[1,{"a":"}]\\""},[]],"9":{},"__proto__":null,"9":-1.5e+3}';

  assert.deepEqual(read(text), [
    ["10", ["1", [["a", '"}]\\""']], []]], ["9", []], ["__proto__", "null"], ["9", "-1.5e+3"],
  ]);
});

test("white space is skipped", () => {
  assert.deepEqual(read('{ "a" :\n[ 1 ,\t2 ] , "b" : true }'), [["a", ["1", "2"]], ["b", "true"]]);
});

test("a value agrees with JSON.parse, for many values", () => {
  const values = ["", "\\", '\\"', "\\\\\"", "é\u2028", 0, -1e-9, [[]], { a: { b: [null, false] } }];
  for (const value of [...values, values]) {
    const text = JSON.stringify(value);
    assert.equal(endOfValue(`${text},"next"`, 0), text.length);
    if (typeof value === "string") assert.equal(readScalar(text, 0, text.length), value);
  }
});

test("numbers keep all their digits", () => {
  const text = "12345678901234567890.10";

  assert.equal(readScalar(text, 0, text.length), text);
});

test("nesting of any depth needs no stack", () => {
  const depth = 1_000_000;

  assert.equal(endOfValue("[".repeat(depth) + "]".repeat(depth), 0), 2 * depth);
});

test("a long string is read up to a limit, also within an escape", () => {
  const text = JSON.stringify(`${"x".repeat(10)}\u0001${"y".repeat(1e6)}`);

  assert.ok(readScalar(text, 0, text.length, 14).startsWith("xxxxxxxxxx"));
  assert.ok(readScalar(text, 0, text.length, 14).length <= 14);
});

test("text that ends too early is an error", () => {
  for (const text of ['"abc', '["a"', "{", ""]) {
    assert.throws(() => endOfValue(text, 0), SyntaxError);
  }
});
