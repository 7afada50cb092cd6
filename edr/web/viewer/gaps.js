/**
 * Gaps as text, and the number of lost events.
 */

/** @typedef {import("./ring.js").GapRow} GapRow */

/** @type {Readonly<Record<string, string>>} */
const REASONS = {
  slow: "this page was slower than the stream",
  expired: "the page was away for longer than the gateway keeps events",
  restarted: "the process restarted",
};

/**
 * Return the sentence of a gap.
 * @param {GapRow} gap
 */
export function gapText(gap) {
  const reason = REASONS[gap.reason] ?? "the gateway reported a gap";
  return `${lostText(gap)} lost here: ${reason}`;
}

/** @param {GapRow} gap */
function lostText(gap) {
  if (gap.missed === null) return "An unknown number of events was";
  const number = gap.missed.toLocaleString("en");
  const events = gap.missed === 1 ? "event was" : "events were";
  return gap.atMost ? `At most ${number} ${events}` : `${number} ${events}`;
}

/**
 * Make the row of a gap frame.
 * @param {import("./frames.js").OtherFrame} frame
 * @returns {GapRow}
 */
export function gapRow(frame) {
  const atMost = typeof frame.missed !== "number" && typeof frame.missed_at_most === "number";
  return {
    kind: "gap",
    cursor: frame.cursor ?? "",
    reason: frame.reason ?? "",
    missed: (atMost ? frame.missed_at_most : frame.missed) ?? null,
    atMost,
  };
}

/** The lost events since the page was opened. */
export class Lost {
  constructor() {
    this.count = 0;
    this.isExact = true;
  }

  /** @param {GapRow} gap */
  add(gap) {
    this.count += gap.missed ?? 0;
    if (gap.missed === null || gap.atMost) this.isExact = false;
  }

  /** Text such as `312`, `312 ?` if the number is not exact, or `?` if it is not known. */
  get text() {
    const count = this.count.toLocaleString("en");
    if (this.isExact) return count;
    return this.count ? `${count} ?` : "?";
  }
}
