import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { Connection } from "../viewer/connection.js";
import { EACH_SIDE, Surroundings } from "../viewer/surroundings.js";

/** The sockets that were made, the newest last. */
let sockets = [];

class FakeSocket {
  constructor(url) {
    Object.assign(this, { url, sent: [], isClosed: false });
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.isClosed = true;
  }

  /** Act as the gateway that accepts the page. */
  accept() {
    this.onopen();
    this.onmessage({ data: '{"is":"hello","edr":1,"account":null,"node":"n"}' });
  }
}

let states = [];
let frames = [];

function connect(token = "secret") {
  const connection = new Connection("ws://host/ws", {
    onHello: () => frames.push("hello"),
    onFrame: (frame) => frames.push(frame.is),
    onState: (state) => states.push(state),
  });
  connection.open(token);
  return connection;
}

beforeEach(() => {
  [sockets, states, frames] = [[], [], []];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  globalThis.window = globalThis;
  globalThis.WebSocket = FakeSocket;
});

test("the token is in the first frame and not in the URL", () => {
  connect();
  sockets[0].accept();

  assert.equal(sockets[0].url, "ws://host/ws");
  assert.deepEqual(sockets[0].sent, [{ do: "hello", token: "secret" }]);
  assert.deepEqual([states, frames], [["connecting", "live"], ["hello"]]);
});

test("without a token the first frame has none", () => {
  connect(null);
  sockets[0].accept();

  assert.deepEqual(sockets[0].sent, [{ do: "hello" }]);
});

test("nothing is sent and no frame is read before the gateway accepts", () => {
  const connection = connect();
  sockets[0].onopen();
  connection.send({ do: "subscribe" });
  sockets[0].onmessage({ data: '{"is":"events","events":[]}' });

  assert.deepEqual([sockets[0].sent.length, frames], [1, []]);
});

for (const code of [4401, 4403]) {
  test(`code ${code} ends the attempts until there is another token`, () => {
    const connection = connect();
    sockets[0].accept();
    sockets[0].onclose({ code });
    mock.timers.tick(1e6);
    assert.deepEqual([sockets.length, states.at(-1)], [1, "refused"]);

    connection.open("other");
    sockets[1].accept();
    assert.deepEqual([sockets[1].sent[0].token, states.at(-1)], ["other", "live"]);
  });
}

test("a lost connection is made again at once, and then with growing pauses", () => {
  connect();
  sockets[0].accept();
  sockets[0].onclose({ code: 1006 });
  mock.timers.tick(100);
  assert.equal(sockets.length, 2);

  const pauses = [];
  for (let made = 2; made < 9; made += 1) {
    sockets.at(-1).onclose({ code: 1006 });
    let pause = 0;
    while (sockets.length === made) {
      mock.timers.tick(50);
      pause += 50;
    }
    pauses.push(pause);
  }
  assert.ok(pauses[0] <= 1_050, `${pauses}`);
  assert.ok(pauses.at(-1) >= 7_500 && pauses.at(-1) <= 15_050, `${pauses}`);
});

test("a peer that is silent for 45 seconds is left", () => {
  connect();
  sockets[0].accept();
  mock.timers.tick(44_000);
  sockets[0].onmessage({ data: '{"is":"at","to":["f1"],"cursor":"w-1"}' });
  mock.timers.tick(44_000);
  assert.equal(sockets.length, 1);

  mock.timers.tick(1_000);
  assert.deepEqual([sockets[0].isClosed, sockets.length, states.at(-1)], [true, 2, "connecting"]);
});

test("a page that sleeps does not connect", () => {
  const connection = connect();
  sockets[0].accept();
  connection.sleep();
  mock.timers.tick(1e6);

  assert.deepEqual([sockets[0].isClosed, sockets.length, states.at(-1)], [true, 1, "asleep"]);
});

/** A frame with one event of the reading. */
function event(id, position) {
  return { is: "events", events: [{ to: [id], cursor: `w-${position}`, text: "{}" }] };
}

test("the surroundings end after the events of both sides", async () => {
  const sent = [];
  const surroundings = new Surroundings((frame) => sent.push(frame));
  const read = surroundings.read("w-100");
  assert.equal(sent[0].after, `w-${100 - EACH_SIDE - 1}`);

  const { id } = sent[0];
  for (let position = 50; position <= 200; position += 1) surroundings.receive(event(id, position));
  const rows = await read;

  assert.deepEqual([rows.length, rows[0].cursor, rows.at(-1).cursor], [101, "w-50", "w-150"]);
  assert.deepEqual(sent[1], { do: "unsubscribe", id });
});

test("the surroundings end when nothing follows, and have the gaps", async () => {
  const sent = [];
  const surroundings = new Surroundings((frame) => sent.push(frame));
  const read = surroundings.read("w-100");
  const { id } = sent[0];
  surroundings.receive({ is: "subscribed", id });
  surroundings.receive({ is: "gap", to: [id], reason: "expired", missed: null, cursor: "w-98" });
  surroundings.receive(event(id, 99));
  surroundings.receive(event("other", 100));
  mock.timers.tick(400);

  assert.deepEqual((await read).map(({ kind }) => kind), ["gap", "event"]);
});
