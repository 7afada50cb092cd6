import assert from "node:assert/strict";
import { test } from "node:test";

import { describeBindings } from "../viewer/describe.js";
import {
  afterClick, bindingText, bodyFault, DEFAULT, fromFragment, likeEvent, readNames, SEVERITIES,
  toBinding, toCurl, toFlags, toFragment,
} from "../viewer/filter.js";

const FULL = {
  severity: { only: ["ok", "critical"] }, verbosity: { from: "warn" }, apps: ["acdc", "a b"],
  accounts: ["reseller"], below: true, body: `{"name": ["it's"]}`,
};

test("a filter is a binding", () => {
  assert.deepEqual(toBinding(DEFAULT), { severity: "ok", verbosity: "info" });
  assert.deepEqual(toBinding(FULL), {
    severity: ["ok", "critical"], verbosity: "warn", app_name: ["acdc", "a b"],
    account_id: ["reseller"], include_descendants: true, body: { name: ["it's"] },
  });
  assert.deepEqual(toBinding({ ...DEFAULT, severity: { only: ["warning"] } }), {
    severity: "warning", exact_severity: true, verbosity: "info",
  });
});

test("the text of a binding keeps the digits of the pattern", () => {
  const body = '{"a": [12345678901234567890]}';

  assert.ok(bindingText({ ...DEFAULT, body }).endsWith(`"body":${body}}`));
});

test("a filter is flags, quoted for a shell", () => {
  assert.equal(
    toFlags(FULL),
    `-s ok,critical -v warn -a 'acdc,a b' -A reseller --below -b '{"name": ["it'\\''s"]}'`,
  );
  assert.equal(toFlags({ ...DEFAULT, severity: { only: ["warning"] } }), "-s =warning -v info");
});

test("a command with curl has no token", () => {
  const command = toCurl(FULL, "https://ops.example.net/edr/");

  assert.match(command, /\$EDR_TOKEN" 'https:\/\/ops\.example\.net\/edr\/events\?binding=%7B/);
});

test("a fragment keeps the filter", () => {
  assert.deepEqual(fromFragment(`#${toFragment(FULL)}`), FULL);
  assert.equal(toFragment(DEFAULT), "");
  assert.deepEqual(fromFragment(""), DEFAULT);
});

test("a hostile fragment is the default", () => {
  const read = fromFragment("#severity=__proto__&only_verbosity=constructor&app_name=&x=%ff");

  assert.deepEqual(read, DEFAULT);
});

test("a pattern is checked as it is typed", () => {
  assert.equal(bodyFault(" "), "");
  assert.equal(bodyFault('{"a": [1]}'), "");
  assert.match(bodyFault('{"a": '), /^is not JSON/);
  assert.match(bodyFault("[1]"), /^must be an object/);
});

test("a click means a level and above, with shift exactly it", () => {
  const from = afterClick(DEFAULT.severity, "warning", false, SEVERITIES);
  const one = afterClick(from, "critical", true, SEVERITIES);
  const two = afterClick(one, "ok", true, SEVERITIES);

  assert.deepEqual([from, one, two], [
    { from: "warning" }, { only: ["critical"] }, { only: ["ok", "critical"] },
  ]);
  assert.deepEqual(afterClick(two, "ok", true, SEVERITIES), one);
});

test("names are separated by commas", () => {
  assert.deepEqual(readNames(" a, b c ,,a"), ["a", "b c"]);
});

test("a binding from an event has its app, account, levels and name", () => {
  const fields = { severity: "warning", verbosity: "warn", app_name: "acdc", account_id: "b" };

  const filter = likeEvent(fields, { key: "event", json: '"paused"' });

  assert.deepEqual(toBinding(filter), {
    severity: "warning", verbosity: "warn", app_name: ["acdc"], account_id: ["b"],
    body: { event: ["paused"] },
  });
});

test("bindings are described in a few words", () => {
  const binding = {
    severity: "warning", verbosity: "trace", app_name: ["a", "b"], account_id: "r",
    include_descendants: true, body: { queue: { id: ["q9"] }, wait: [{ numeric: [">", 3] }] },
  };

  assert.equal(
    describeBindings([binding], undefined),
    'warning+ · trace+ · a|b · r + below · queue.id=q9 · wait: [{"numeric":[">",3]}]',
  );
  assert.equal(describeBindings([{ severity: "ok", verbosity: "info" }, {}], 0), "everything, and 1 more");
  assert.equal(describeBindings(null, 300), "300 bindings");
});
