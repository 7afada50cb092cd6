import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { clientRows } from "../viewer/clients.js";
import { onHiddenTab, SLEEP_AFTER } from "../viewer/hidden_tab.js";
import { Rate, rateText, sparkPath } from "../viewer/rates.js";
import { Top } from "../viewer/top.js";

function answer(emits, offered) {
  const counts = { dropped: {}, failed: 0, pending: 3, oldest_age: 1, delivered: 0, stalled: false };
  const bindings = [{ severity: "critical" }];
  return {
    bus: { emits, subscriptions: 2, stalled: 0 },
    subscriptions: [
      { ...counts, number: 1, kind: "subscription", name: "a", offered, capacity: 9, overflow: "block", bindings },
      { ...counts, number: 2, kind: "subscription", name: "b", offered, capacity: 9, overflow: "block", dropped: { overflow: 7 }, bindings },
    ],
    parts: [{ kind: "sink", name: "s", state: "retrying", error: "503", backlog: 5, bindings }],
    journal: { consumers: [{ name: "c", lag: 2, missed: 0, open: true, bindings }] },
  };
}

test("a rate is the mean of the last complete seconds", () => {
  const rate = new Rate(0);
  rate.add(30, 100);
  rate.add(60, 1_100);
  rate.add(90, 2_100);
  assert.equal(rate.perSecond, 45);

  rate.advance(3_000);
  assert.equal(rate.perSecond, 60);

  rate.advance(10_000_000);
  assert.deepEqual([rate.perSecond, rate.history.length], [0, 60]);
});

test("a rate has one decimal below ten", () => {
  assert.deepEqual([1284.4, 9.96, 5.33, 0].map(rateText), ["1,284/s", "10/s", "5.3/s", "0/s"]);
});

test("a line of the last minute ends at the right", () => {
  assert.match(sparkPath([0, 10], 180, 26), /^M176\.9,24\.0L180\.0,2\.0$/);
});

test("a row of the process has a rate, and trouble comes first", () => {
  const top = new Top();
  top.add(answer(1_000, 100), 10_000);
  assert.equal(top.rate, null);

  top.add(answer(1_500, 140), 12_000);

  assert.equal(top.rate, 250);
  assert.deepEqual(
    top.rows.map(({ name, rate, lost, state, isFault }) => [name, rate, lost, state, isFault]),
    [
      ["s", null, "", "retrying: 503", true], ["b", 20, "7 overflow", "block", false],
      ["a", 20, "", "block", false], ["c", null, "", "open", false],
    ],
  );
});

test("a client has the sums of its subscriptions, and the one that lags most is first", () => {
  const bindings = [{ severity: "critical" }];
  const lagging = { bindings, behind: 7, sent: 1, missed: 312 };
  const [first, second] = clientRows({
    clients: [
      { id: "c1", account: "reseller", address: "127.0.0.1", transport: "sse", subscriptions: [] },
      { id: "c2", account: null, address: "::1", transport: "websocket", subscriptions: [lagging, lagging] },
    ],
  });

  assert.deepEqual(
    [first.name, first.pending, first.delivered, first.lost, first.state, second.name],
    ["all @ ::1", 14, 2, "624 slow", "websocket", "reseller @ 127.0.0.1"],
  );
  assert.deepEqual(clientRows({}), []);
});

test("a tab that is hidden for ten minutes sleeps, and wakes when it is seen", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const page = Object.assign(new EventTarget(), { hidden: false });
  const said = [];
  onHiddenTab(page, { sleep: () => said.push("sleep"), wake: () => said.push("wake") });
  const show = (hidden) => {
    page.hidden = hidden;
    page.dispatchEvent(new Event("visibilitychange"));
  };

  show(true);
  mock.timers.tick(SLEEP_AFTER - 1);
  show(false);
  assert.deepEqual(said, []);

  show(true);
  mock.timers.tick(SLEEP_AFTER);
  show(false);
  assert.deepEqual(said, ["sleep", "wake"]);
});
