import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Explanations } from "../viewer/explanations.js";
import { Feed } from "../viewer/feed.js";
import { readFrame } from "../viewer/frames.js";
import { Ring } from "../viewer/ring.js";

/** A feed, with everything that it sends and reports. */
function made() {
  const sent = [];
  const said = [];
  const feed = new Feed((frame) => sent.push(frame), new Ring(), {
    onRows: (events) => said.push(`rows ${events}`),
    onGap: (gap) => said.push(`gap ${gap.missed}`),
    onAccepted: () => said.push("accepted"),
    onFault: (path, detail) => said.push(`${path}: ${detail}`),
  });
  return { feed, sent, said };
}

function events(...cursors) {
  const listed = cursors.map((cursor) => `{"to":["f1"],"cursor":"${cursor}","event":{"n":1}}`);
  return readFrame(`{"is":"events","events":[${listed}]}`);
}

test("events of a frame are kept as text", () => {
  const frame = readFrame(
    '{"is":"events","events":[{"to":["a","b"],"cursor":"w-1","event":{"big":12345678901234567890}}]}',
  );

  assert.deepEqual(frame.events, [
    { to: ["a", "b"], cursor: "w-1", text: '{"big":12345678901234567890}' },
  ]);
});

test("an event cannot pretend to be a frame", () => {
  const frame = readFrame('{"events":[{"to":[],"cursor":"w-1","event":{"is":"bye"}}],"is":"events"}');

  assert.equal(frame.is, "events");
  assert.equal(readFrame('{"is":"gap","missed":3}').missed, 3);
});

test("a feed begins with the last events, and takes only its own", () => {
  const { feed, sent, said } = made();
  feed.apply([{ severity: "ok" }]);
  assert.deepEqual(sent, [
    { do: "subscribe", id: "f1", bindings: [{ severity: "ok" }], last: 5_000 },
  ]);

  feed.receive({ is: "subscribed", id: "f1", cursor: "w-0" });
  feed.receive(events("w-1", "w-2"));
  feed.receive(readFrame('{"is":"events","events":[{"to":["other"],"cursor":"w-3","event":{}}]}'));

  assert.deepEqual([feed.ring.length, feed.cursor, said], [2, "w-2", ["accepted", "rows 2"]]);
});

test("a feed resumes after the last cursor", () => {
  const { feed, sent } = made();
  feed.apply([{}]);
  feed.receive({ is: "subscribed", id: "f1", cursor: "w-0" });
  feed.receive(events("w-1"));
  feed.receive({ is: "gap", to: ["f1"], reason: "slow", missed: 3, cursor: "w-4" });
  feed.receive({ is: "at", to: ["f1"], cursor: "w-9" });
  feed.resume();

  assert.deepEqual(sent.at(-1), { do: "subscribe", id: "f1", bindings: [{}], after: "w-9" });
  assert.equal(feed.ring.length, 2);
});

test("a filter with a fault leaves the feed as it is", () => {
  const { feed, sent, said } = made();
  feed.apply([{}]);
  feed.receive({ is: "subscribed", id: "f1", cursor: "w-0" });
  feed.apply([{ body: 1 }]);
  feed.receive({ is: "error", do: "subscribe", id: "f2", path: "bindings[0].body", detail: "no" });
  feed.receive(events("w-1"));

  assert.deepEqual(said, ["accepted", "bindings[0].body: no", "rows 1"]);
  assert.deepEqual(sent.map((frame) => frame.do), ["subscribe", "subscribe"]);
});

test("a filter that is too long for a frame is not sent", () => {
  const { feed, sent, said } = made();
  feed.apply([{ app_name: "x".repeat(16_000) }]);

  assert.deepEqual([sent, said], [[], [": the filter must have at most 16000 characters"]]);
});

test("a new filter ends the old one when it is accepted", () => {
  const { feed, sent } = made();
  for (const n of [1, 2, 3]) feed.apply([{ n }]);
  for (const n of [1, 2, 3]) feed.receive({ is: "subscribed", id: `f${n}`, cursor: "w-0" });

  assert.deepEqual(sent.slice(3), [{ do: "unsubscribe", id: "f1" }, { do: "unsubscribe", id: "f2" }]);
  assert.equal(feed.id, "f3");
});

test("answers to explain are in the order of the questions", async () => {
  const explanations = new Explanations(() => {});
  const answers = ["w-1", "w-2", "w-3"].map((cursor) => explanations.ask("e", cursor));
  const result = { kind: "sink", name: "a", matches: true, mismatches: [] };

  explanations.receive({ is: "explained", results: [result, null, { kind: "x" }] });
  explanations.receive({ is: "error", do: "explain", detail: "not available" });
  explanations.abandon();

  assert.deepEqual(await answers[0], [result]);
  await assert.rejects(answers[1], /not available/);
  await assert.rejects(answers[2], /connection was lost/);
});

test("events of the past are not live, however late the first of them comes", () => {
  mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  const live = [];
  const feed = new Feed(() => {}, new Ring(), {
    onRows: (events, isLive) => live.push(isLive),
    onGap: () => {},
    onAccepted: () => {},
    onFault: () => {},
  });
  feed.apply([{}]);
  feed.receive({ is: "subscribed", id: "f1", cursor: "w-0" });
  for (const [pause, cursor] of [[1_000, "w-1"], [10, "w-2"], [200, "w-3"]]) {
    mock.timers.tick(pause);
    feed.receive(events(cursor));
  }
  mock.timers.reset();

  assert.deepEqual(live, [false, false, true]);
});
