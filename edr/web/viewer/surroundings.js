/**
 * All events around one event, whatever the filter is.
 *
 * They are read by a short subscription that begins some positions before the event.
 */

import { earlier, readCursor } from "./cursors.js";
import { hasEvents } from "./frames.js";
import { gapRow } from "./gaps.js";
import { EVERYTHING, toBinding } from "./filter.js";

export const EACH_SIDE = 50; // events

const QUIET = 400; // milliseconds without a further event, after which there is none
const LONGEST = 4_000; // milliseconds

/** @typedef {import("./ring.js").Row} Row */

export class Surroundings {
  #count = 0;
  /**
   * @type {{
   *   id: string, end: number, rows: Row[], quiet: number, longest: number,
   *   resolve: (rows: Row[]) => void
   * } | null}
   */
  #reading = null;

  /** @param {(frame: Record<string, unknown>) => void} send */
  constructor(send) {
    this.send = send;
  }

  /**
   * Return the events and gaps around a cursor. A reading that has not ended is ended first.
   * @param {string} cursor
   * @returns {Promise<Row[]>}
   */
  read(cursor) {
    this.#finish();
    this.#count += 1;
    const id = `around${this.#count}`;
    const end = (readCursor(cursor)?.position ?? 0) + EACH_SIDE;
    this.send({
      do: "subscribe",
      id,
      bindings: [toBinding(EVERYTHING)],
      after: earlier(cursor, EACH_SIDE + 1),
    });
    return new Promise((resolve) => {
      const longest = window.setTimeout(() => this.#finish(), LONGEST);
      this.#reading = { id, end, rows: [], quiet: 0, longest, resolve };
    });
  }

  /**
   * Take what is for this reading from a frame.
   * @param {import("./frames.js").EventsFrame | import("./frames.js").OtherFrame} frame
   */
  receive(frame) {
    const reading = this.#reading;
    if (!reading) return;
    if (hasEvents(frame)) {
      for (const { to, cursor, text } of frame.events) {
        if (this.#reading !== reading || !to.includes(reading.id)) continue;
        this.#take({ kind: "event", cursor, text });
      }
    } else if (frame.is === "gap" && frame.to?.includes(reading.id)) {
      this.#take(gapRow(frame));
    } else if (frame.is === "error" && frame.id === reading.id) {
      this.#finish();
    } else if (frame.is === "subscribed" && frame.id === reading.id) {
      this.#waitForMore();
    }
  }

  /** @param {Row} row */
  #take(row) {
    const reading = this.#reading;
    if (!reading) return;
    const position = readCursor(row.cursor)?.position ?? 0;
    if (position <= reading.end) reading.rows.push(row);
    if (position >= reading.end) this.#finish();
    else this.#waitForMore();
  }

  #waitForMore() {
    if (!this.#reading) return;
    window.clearTimeout(this.#reading.quiet);
    this.#reading.quiet = window.setTimeout(() => this.#finish(), QUIET);
  }

  #finish() {
    const reading = this.#reading;
    if (!reading) return;
    this.#reading = null;
    window.clearTimeout(reading.quiet);
    window.clearTimeout(reading.longest);
    this.send({ do: "unsubscribe", id: reading.id });
    reading.resolve(reading.rows);
  }
}
