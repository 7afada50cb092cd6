/**
 * The newest rows of the list, bounded by count and by bytes.
 *
 * A row is an event or a gap. The oldest rows leave first. Adding a row takes constant time.
 */

/**
 * An event: its cursor and its JSON text.
 * @typedef {{kind: "event", cursor: string, text: string}} EventRow
 */

/**
 * Events that are missing between two others. `missed` is null if their number is not known.
 * @typedef {{kind: "gap", cursor: string, reason: string, missed: number | null, atMost: boolean}} GapRow
 */

/** @typedef {EventRow | GapRow} Row */

/**
 * Rows by index, the oldest first. `dropped` is the number of older rows that have left.
 * @typedef {{readonly length: number, readonly dropped: number, at(index: number): Row}} Rows
 */

export const MAX_ROWS = 5_000;

export const MAX_CHARACTERS = 32 * 1024 * 1024;
/* Of JSON text. The browser keeps a character in one byte, or in two if an event has others than
   Latin-1. */

/** @implements {Rows} */
export class Ring {
  /** @type {(Row | undefined)[]} */
  #slots = [];
  #first = 0; // the slot of the oldest row
  #characters = 0;
  length = 0;
  dropped = 0;

  /**
   * @param {number} [maxRows]
   * @param {number} [maxCharacters]
   */
  constructor(maxRows = MAX_ROWS, maxCharacters = MAX_CHARACTERS) {
    this.maxRows = maxRows;
    this.maxCharacters = maxCharacters;
  }

  /** Remove all rows. */
  clear() {
    this.#slots = [];
    this.#first = this.#characters = this.length = this.dropped = 0;
  }

  /**
   * Add a row. The newest row stays, even if it is larger than the limit.
   * @param {Row} row
   */
  push(row) {
    if (this.length === this.maxRows) this.#dropOldest();
    this.#slots[(this.#first + this.length) % this.maxRows] = row;
    this.length += 1;
    this.#characters += size(row);
    while (this.#characters > this.maxCharacters && this.length > 1) this.#dropOldest();
  }

  /**
   * Return a row; 0 is the oldest.
   * @param {number} index
   * @returns {Row}
   */
  at(index) {
    const row = this.#slots[(this.#first + index) % this.maxRows];
    if (!row || index < 0 || index >= this.length) throw new RangeError(`there is no row ${index}`);
    return row;
  }

  /**
   * Return the rows of this moment, which later changes of the ring do not affect.
   * @returns {Rows}
   */
  snapshot() {
    const rows = Array.from({ length: this.length }, (_, index) => this.at(index));
    return frozen(rows, this.dropped);
  }

  #dropOldest() {
    this.#characters -= size(this.at(0));
    this.#slots[this.#first] = undefined;
    this.#first = (this.#first + 1) % this.maxRows;
    this.length -= 1;
    this.dropped += 1;
  }
}

/**
 * Return an array as rows.
 * @param {readonly Row[]} rows
 * @param {number} [dropped]
 * @returns {Rows}
 */
export function frozen(rows, dropped = 0) {
  return {
    length: rows.length,
    dropped,
    at(index) {
      const row = rows[index];
      if (!row) throw new RangeError(`there is no row ${index}`);
      return row;
    },
  };
}

/** @param {Row} row */
function size(row) {
  return row.kind === "event" ? row.text.length : 0;
}
