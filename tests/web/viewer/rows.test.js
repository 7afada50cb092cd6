import assert from "node:assert/strict";
import { test } from "node:test";

import { earlier, selected } from "../viewer/cursors.js";
import { gapRow, gapText, Lost } from "../viewer/gaps.js";
import { frozen, Ring } from "../viewer/ring.js";
import { View } from "../viewer/view.js";

function event(position, text = "{}") {
  return { kind: "event", cursor: `w-${position}`, text };
}

function all(rows) {
  return Array.from({ length: rows.length }, (_, index) => rows.at(index).cursor);
}

test("a ring keeps the newest rows, by count", () => {
  const ring = new Ring(3);
  for (let position = 1; position <= 8; position += 1) ring.push(event(position));

  assert.deepEqual(all(ring), ["w-6", "w-7", "w-8"]);
  assert.equal(ring.dropped, 5);
  assert.throws(() => ring.at(3), RangeError);
});

test("a ring keeps the newest rows, by characters", () => {
  const ring = new Ring(10, 100);
  for (let position = 1; position <= 4; position += 1) ring.push(event(position, "x".repeat(40)));
  assert.deepEqual(all(ring), ["w-3", "w-4"]);

  ring.push(event(5, "x".repeat(1000)));
  assert.deepEqual(all(ring), ["w-5"]);

  ring.push(event(6, "x"));
  assert.deepEqual(all(ring), ["w-6"]);
});

test("a snapshot does not change with its ring", () => {
  const ring = new Ring(2);
  ring.push(event(1));
  const rows = ring.snapshot();
  for (let position = 2; position <= 5; position += 1) ring.push(event(position));

  assert.deepEqual(all(rows), ["w-1"]);
});

test("a pause keeps the rows and counts the newer ones", () => {
  const ring = new Ring(2);
  const view = new View(ring);
  ring.push(event(1));
  view.pause();
  for (let position = 2; position <= 42; position += 1) ring.push(event(position));
  assert.deepEqual([all(view.rows), view.newer], [["w-1"], 41]);

  view.lookAround(frozen([event(9)]));
  assert.deepEqual([all(view.rows), view.newer], [["w-9"], 41]);

  view.pauseAgain();
  assert.deepEqual(all(view.rows), ["w-1"]);

  view.goOn();
  assert.deepEqual([all(view.rows), view.newer], [["w-41", "w-42"], 0]);
});

test("the selected events are counted among the last positions", () => {
  const ring = new Ring();
  for (const position of [10, 20, 30, 95]) ring.push(event(position));
  ring.push({ kind: "gap", cursor: "w-96", reason: "slow", missed: 1, atMost: false });

  assert.deepEqual(selected(ring, "w-0", "w-100", 5_000), { count: 4, of: 100 });
  assert.deepEqual(selected(ring, "w-0", "w-100", 80), { count: 2, of: 80 });
  assert.deepEqual(selected(ring, "w-60", "w-100", 5_000), { count: 4, of: 40 });
  assert.deepEqual(selected(ring, "w-0", "v-7", 5_000), { count: 0, of: 7 });
});

test("an earlier cursor is not below zero", () => {
  assert.equal(earlier("9f2c41d0-48113", 50), "9f2c41d0-48063");
  assert.equal(earlier("9f2c41d0-3", 50), "9f2c41d0-0");
});

test("a gap says how many events are missing, and why", () => {
  const slow = gapRow({ is: "gap", reason: "slow", missed: 312, cursor: "w-1" });
  const expired = gapRow({ is: "gap", reason: "expired", missed_at_most: 1 });
  const restarted = gapRow({ is: "gap", reason: "restarted", missed: null });

  assert.match(gapText(slow), /^312 events were lost here: this page was slower/);
  assert.match(gapText(expired), /^At most 1 event was lost here/);
  assert.match(gapText(restarted), /^An unknown number of events was lost here: the process restarted/);
});

test("lost events are summed, and the sum says if it is not exact", () => {
  const lost = new Lost();
  lost.add(gapRow({ is: "gap", reason: "slow", missed: 1_312 }));
  assert.equal(lost.text, "1,312");

  lost.add(gapRow({ is: "gap", reason: "restarted", missed: null }));
  assert.equal(lost.text, "1,312 ?");
});
