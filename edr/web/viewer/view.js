/**
 * Which rows the list shows: the live ones, those of the moment of a pause, or those around one
 * event. The ring receives events in each case.
 */

/** @typedef {import("./ring.js").Rows} Rows */

/** @typedef {"live" | "paused" | "around"} Mode */

export class View {
  /** @type {Mode} */
  mode = "live";
  /** @type {Rows} */
  rows;
  /** The rows of the pause, to which the view returns from those around an event. */
  #paused;
  #seen = 0;

  /** @param {import("./ring.js").Ring} ring */
  constructor(ring) {
    this.ring = ring;
    this.rows = this.#paused = /** @type {Rows} */ (ring);
  }

  /** The rows that arrived since the pause. */
  get newer() {
    return this.mode === "live" ? 0 : this.ring.dropped + this.ring.length - this.#seen;
  }

  /** Keep the rows of this moment. */
  pause() {
    if (this.mode !== "live") return;
    this.mode = "paused";
    this.rows = this.#paused = this.ring.snapshot();
    this.#seen = this.ring.dropped + this.ring.length;
  }

  /** Show the live rows. */
  goOn() {
    this.mode = "live";
    this.rows = this.#paused = this.ring;
  }

  /**
   * Show other rows, until `pauseAgain` or `goOn`.
   * @param {Rows} rows
   */
  lookAround(rows) {
    this.pause();
    this.mode = "around";
    this.rows = rows;
  }

  /** Return to the rows of the pause. */
  pauseAgain() {
    if (this.mode !== "around") return;
    this.mode = "paused";
    this.rows = this.#paused;
  }
}
