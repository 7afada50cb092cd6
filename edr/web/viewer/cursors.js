/**
 * Cursors: the positions of events in the window of the gateway.
 *
 * A cursor is `WINDOW-POSITION`. The gateway sends it with each event. The page comes with the
 * gateway, so it may read the position; other clients must not.
 */

/**
 * @typedef {{window: string, position: number}} Cursor
 */

/**
 * Return the parts of a cursor, or `null` if it is not one.
 * @param {string} text
 * @returns {Cursor | null}
 */
export function readCursor(text) {
  const found = /^([0-9A-Za-z_]{1,64})-([0-9]{1,19})$/.exec(text);
  return found ? { window: found[1] ?? "", position: Number(found[2]) } : null;
}

/**
 * Return the cursor that is `count` positions before `text`.
 * @param {string} text
 * @param {number} count
 */
export function earlier(text, count) {
  const cursor = readCursor(text);
  if (!cursor) return text;
  return `${cursor.window}-${Math.max(0, cursor.position - count)}`;
}

/**
 * Events and gaps by rising position.
 * @typedef {{readonly length: number, at(index: number): {kind: string, cursor: string}}} Events
 */

/**
 * Return how many of the last `among` positions are in `events`, and of how many.
 *
 * @param {Events} events
 * @param {string} oldest the cursor at which `events` began
 * @param {string} newest the newest known cursor
 * @param {number} among
 * @returns {{count: number, of: number}}
 */
export function selected(events, oldest, newest, among) {
  const end = readCursor(newest);
  if (!end) return { count: events.length, of: events.length };
  const isOlder = (/** @type {number} */ index) => {
    const cursor = readCursor(events.at(index).cursor);
    return !cursor || cursor.window !== end.window || cursor.position <= end.position - among;
  };
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isOlder(middle)) low = middle + 1;
    else high = middle;
  }
  let count = 0;
  for (let index = low; index < events.length; index += 1) {
    if (events.at(index).kind === "event") count += 1;
  }
  const start = readCursor(oldest);
  const first = start && start.window === end.window ? start.position : 0;
  return { count, of: Math.max(count, Math.min(among, end.position - first)) };
}
