/**
 * Frames of the WebSocket, read without parsing the events in them.
 */

import { items, members, readString, skipSpace } from "./json_text.js";

/**
 * An event of a frame, with the ids of the subscriptions that it matched.
 * @typedef {{to: string[], cursor: string, text: string}} Delivered
 */

/**
 * @typedef {{is: "events", events: Delivered[]}} EventsFrame
 */

/**
 * Any other frame. Fields that a frame does not have are undefined.
 * @typedef {{
 *   is: string, id?: string, to?: string[], cursor?: string, reason?: string,
 *   missed?: number | null, missed_at_most?: number | null, account?: string | null,
 *   node?: string, code?: string, path?: string, detail?: string, do?: string,
 *   results?: unknown[]
 * }} OtherFrame
 */

/**
 * Return the content of a frame.
 * @param {string} text
 * @returns {EventsFrame | OtherFrame}
 */
export function readFrame(text) {
  let is = "";
  let events = -1;
  for (const { key, start, end } of members(text, skipSpace(text, 0))) {
    if (key === "is") is = readString(text, start, end);
    else if (key === "events") events = start;
    if (is === "events" && events >= 0) return { is: "events", events: delivered(text, events) };
    if (is && is !== "events") break;
  }
  return JSON.parse(text);
}

/**
 * Return whether a frame has events.
 * @param {EventsFrame | OtherFrame} frame
 * @returns {frame is EventsFrame}
 */
export function hasEvents(frame) {
  return frame.is === "events" && "events" in frame;
}

/**
 * @param {string} text
 * @param {number} at
 */
function delivered(text, at) {
  /** @type {Delivered[]} */
  const found = [];
  for (const item of items(text, at)) {
    /** @type {Delivered} */
    const event = { to: [], cursor: "", text: "" };
    for (const { key, start, end } of members(text, item.start)) {
      if (key === "event") event.text = text.slice(start, end);
      else if (key === "cursor") event.cursor = readString(text, start, end);
      else if (key === "to") event.to = JSON.parse(text.slice(start, end));
    }
    found.push(event);
  }
  return found;
}
