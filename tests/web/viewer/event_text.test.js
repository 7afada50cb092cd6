import assert from "node:assert/strict";
import { test } from "node:test";

import { bodyLines } from "../viewer/body_lines.js";
import { age, firstPairs, namingValue, readFields } from "../viewer/event_text.js";

const EVENT = JSON.stringify({
  account_id: "branch_07", account_tree: ["reseller"], app_name: "acdc", app_version: "4.0",
  body: { event: "paused", queue: { id: "q7" }, tags: [1, 2], wait: 184 },
  id: "1", node: "n", severity: "warning", verbosity: "warn", timestamp: "2026-11-29T12:00:00Z",
});

function pairs(body, count = 8) {
  const text = JSON.stringify(body);
  return firstPairs(text, 0, count).map(({ path, value }) => `${path}=${value}`);
}

test("fields are read from the text", () => {
  const { severity, account_tree, body } = readFields(EVENT);

  assert.equal(severity, "warning");
  assert.deepEqual(account_tree, ["reseller"]);
  assert.ok(EVENT.slice(body.start, body.end).startsWith('{"event"'));
});

test("fields that are missing or null are empty", () => {
  assert.equal(readFields('{"account_id":null}').account_id, "");
  assert.equal(readFields("{}").body, null);
});

test("a row has the first values of a body, with their paths", () => {
  const { body } = readFields(EVENT);

  assert.deepEqual(firstPairs(EVENT, body.start, 3), [
    { path: "event", value: "paused" }, { path: "queue.id", value: "q7" }, { path: "tags", value: "[1,2]" },
  ]);
});

test("a row reads little of a large body", () => {
  const huge = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, i]));

  assert.equal(pairs(huge).length, 8);
  assert.ok(pairs({ a: "x".repeat(1e6), b: 1 }).join().length < 500);
  assert.deepEqual(pairs(JSON.parse('{"__proto__": {"polluted": 1}}')), ["__proto__.polluted=1"]);
  assert.equal({}.polluted, undefined);
});

test("the value that names an event is found", () => {
  assert.deepEqual(namingValue('{"a":1,"type":"x"}', 0), { key: "type", json: '"x"' });
  assert.equal(namingValue('{"type":{}}', 0), null);
});

test("an age is in words", () => {
  const now = Date.parse("2026-11-29T12:02:30Z");

  assert.equal(age("2026-11-29T12:00:00Z", now), "2 min ago");
  assert.equal(age("no time", now), "");
});

test("a body is shown as indented JSON", () => {
  const text = '{"a":[1,{}],"b":"\u202e"}';

  const lines = bodyLines(text, 0, text.length);

  assert.deepEqual(
    lines.map(({ depth, key, value, comma }) => "  ".repeat(depth) + key + value + comma),
    ["{", '  "a": [', "    1,", "    {}", "  ],", '  "b": "\\u202e"', "}"],
  );
});

test("the lines of a body are bounded", () => {
  const keys = JSON.stringify(Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, i])));
  const deep = "[".repeat(1e5) + "]".repeat(1e5);
  const long = JSON.stringify("x".repeat(1e6));

  assert.equal(bodyLines(keys, 0, keys.length, 100).length, 102);
  assert.ok(bodyLines(deep, 0, deep.length).length < 100);
  assert.match(bodyLines(long, 0, long.length)[0].value, /^"x{1999}… \(1,000,000 characters\)$/);
});
