/**
 * The subscription of the page: the events of the filter, into the ring.
 *
 * A new filter is a new subscription. The old one continues until the gateway has accepted the new
 * filter, so a filter with a fault loses nothing. After a lost connection the subscription resumes
 * with its cursor.
 */

import { hasEvents } from "./frames.js";
import { gapRow } from "./gaps.js";

/** @typedef {import("./frames.js").EventsFrame | import("./frames.js").OtherFrame} Frame */

/** @typedef {import("./frames.js").OtherFrame} OtherFrame */

/**
 * A subscription. `cursor` is empty until the gateway has accepted it.
 * @typedef {{id: string, bindings: readonly object[], cursor: string}} Subscription
 */

/**
 * @typedef {{
 *   onRows: (events: number, isLive: boolean) => void,
 *   onGap: (gap: import("./ring.js").GapRow) => void,
 *   onAccepted: () => void,
 *   onFault: (path: string, detail: string) => void
 * }} Handlers
 */

const MAX_FILTER = 16_000; // characters; the gateway ends a connection with a frame of 64 KiB
const CAUGHT_UP = 150; // milliseconds without a frame, after which events are new ones
const LONGEST = 3_000; // milliseconds; a busy stream has no such pause

export class Feed {
  /** The cursor at which the rows of the ring begin. */
  start = "";
  #count = 0;
  #acceptedAt = 0; // milliseconds
  #receivedAt = Infinity;
  #isLive = false;
  /** @type {Subscription | null} */
  #current = null;
  /** @type {Subscription | null} */
  #next = null;

  /**
   * @param {(frame: Record<string, unknown>) => void} send
   * @param {import("./ring.js").Ring} ring
   * @param {Handlers} handlers
   */
  constructor(send, ring, handlers) {
    this.send = send;
    this.ring = ring;
    this.handlers = handlers;
  }

  /** Whether there is a subscription, accepted or not. */
  get isStarted() {
    return this.#current !== null || this.#next !== null;
  }

  /** The id of the accepted subscription; empty before. */
  get id() {
    return this.#current?.id ?? "";
  }

  /** The newest known cursor; empty before the first answer. */
  get cursor() {
    return this.#current?.cursor ?? "";
  }

  /**
   * Replace the filter. The list begins with the newest events of the gateway that match it.
   * @param {readonly object[]} bindings
   */
  apply(bindings) {
    if (JSON.stringify(bindings).length > MAX_FILTER) {
      this.handlers.onFault("", `the filter must have at most ${MAX_FILTER} characters`);
      return;
    }
    this.#count += 1;
    this.#next = { id: `f${this.#count}`, bindings, cursor: "" };
    this.#subscribe(this.#next);
  }

  /** Subscribe again, on a new connection. */
  resume() {
    if (this.#current) this.#subscribe(this.#current);
    if (this.#next) this.#subscribe(this.#next);
  }

  /** Remove the rows, and begin with the next event. */
  clear() {
    this.ring.clear();
    this.start = this.cursor;
  }

  /** Forget the subscription, such as after a change of the account. */
  forget() {
    this.#current = this.#next = null;
    this.ring.clear();
  }

  /**
   * Take what is for this subscription from a frame.
   * @param {Frame} frame
   */
  receive(frame) {
    if (hasEvents(frame)) this.#events(frame.events);
    else if (frame.is === "subscribed") this.#subscribed(frame);
    else if (frame.is === "error" && frame.do === "subscribe") this.#refused(frame);
    else if (this.#current && frame.to?.includes(this.#current.id)) this.#moved(frame);
  }

  /** @param {Subscription} subscription */
  #subscribe({ id, bindings, cursor }) {
    const start = cursor ? { after: cursor } : { last: this.ring.maxRows };
    this.send({ do: "subscribe", id, bindings, ...start });
  }

  /** @param {import("./frames.js").Delivered[]} events */
  #events(events) {
    const current = this.#current;
    if (!current) return;
    let count = 0;
    for (const { to, cursor, text } of events) {
      if (!to.includes(current.id)) continue;
      this.ring.push({ kind: "event", cursor, text });
      current.cursor = cursor;
      count += 1;
    }
    if (!count) return;
    this.#noticeLive(Date.now());
    this.handlers.onRows(count, this.#isLive);
  }

  /**
   * Notice the end of the events of the past, which are sent without a pause.
   * @param {number} now
   */
  #noticeLive(now) {
    this.#isLive ||= now - this.#receivedAt > CAUGHT_UP || now - this.#acceptedAt > LONGEST;
    this.#receivedAt = now;
  }

  /** @param {OtherFrame} frame */
  #subscribed({ id = "", cursor = "" }) {
    if (id === this.#next?.id) {
      if (this.#current) this.send({ do: "unsubscribe", id: this.#current.id });
      this.#current = { ...this.#next, cursor };
      this.#next = null;
      this.#acceptedAt = Date.now();
      this.#receivedAt = Infinity; // the time until the first events is not a pause between events
      this.#isLive = false;
      this.ring.clear();
      this.start = cursor;
      this.handlers.onAccepted();
    } else if (id !== this.#current?.id && id.startsWith("f")) {
      this.send({ do: "unsubscribe", id }); // it was replaced before it was accepted
    }
  }

  /** @param {OtherFrame} frame */
  #refused({ id = "", path = "", detail = "" }) {
    if (id !== this.#next?.id && id !== this.#current?.id) return;
    if (id === this.#next?.id) this.#next = null;
    this.handlers.onFault(path, detail);
  }

  /** @param {OtherFrame} frame a gap or a heartbeat */
  #moved(frame) {
    if (frame.is === "gap") {
      const gap = gapRow(frame);
      this.ring.push(gap);
      this.handlers.onGap(gap);
    }
    if (this.#current && frame.cursor) this.#current.cursor = frame.cursor;
  }
}
