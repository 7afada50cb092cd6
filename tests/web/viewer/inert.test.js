import assert from "node:assert/strict";
import { test } from "node:test";

import { inert, inertJson, inertStart } from "../viewer/inert.js";

test("characters that hide or reorder text are escapes", () => {
  const hidden = [
    "\u202e", "\u2066", "\u200b", "\u200d", "\u200f", "\ufeff", "\u00ad", "\u2060", "\u061c",
    "\u0000", "\u001b", "\u0085", "\u2028", "\u3164", "\ufe0f", "\ufff9", "\ue000", "\ud800",
  ];
  for (const each of hidden) {
    assert.equal(inert(`a${each}b`), `a\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}b`);
  }
  assert.equal(inert("\u{e0041}"), "\\udb40\\udc41");
  assert.equal(inert("a\nb\tc"), "a\\nb\\tc");
});

test("other text stays as it is", () => {
  const text = "<img src=x onerror=alert(1)> Grüße, 你好, שלום, \u{1f600} & 'quotes'";

  assert.equal(inert(text), text);
});

test("combining marks cannot cover other lines", () => {
  assert.ok(inert(`a${"\u0301".repeat(1000)}`).length < 10);
});

test("JSON keeps its value", () => {
  const value = { "\u202e": ["\u200b\u{e0041}", "plain"] };

  const text = inertJson(JSON.stringify(value));

  assert.deepEqual(JSON.parse(text), value);
  assert.match(text, /^[\x20-\x7e]*$/);
});

test("a long text is cut", () => {
  assert.equal(inertStart("x".repeat(1e6), 3), "xxx…");
});
