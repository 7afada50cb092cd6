/**
 * Events a second, over the last minute.
 */

const SECONDS = 60;
const SMOOTHED = 3; // seconds that the shown rate is the mean of

export class Rate {
  /** @param {number} now milliseconds */
  constructor(now) {
    /** Events of each of the last complete seconds, the newest last. @type {number[]} */
    this.history = [];
    this.second = Math.floor(now / 1000);
    this.count = 0;
  }

  /**
   * Count events.
   * @param {number} events
   * @param {number} now milliseconds
   */
  add(events, now) {
    this.advance(now);
    this.count += events;
  }

  /**
   * Close the seconds that have passed.
   * @param {number} now milliseconds
   */
  advance(now) {
    const second = Math.floor(now / 1000);
    if (second - this.second > SECONDS) this.second = second - SECONDS; // the page was suspended
    while (this.second < second) {
      this.history.push(this.count);
      this.count = 0;
      this.second += 1;
    }
    this.history.splice(0, Math.max(0, this.history.length - SECONDS));
  }

  /** The mean of the last complete seconds. */
  get perSecond() {
    const last = this.history.slice(-SMOOTHED);
    return last.length ? last.reduce((sum, each) => sum + each, 0) / last.length : 0;
  }
}

/**
 * Return a rate as text: whole numbers from 10, one decimal below.
 * @param {number} rate
 */
export function rateText(rate) {
  const rounded = rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate);
  return `${rounded.toLocaleString("en")}/s`;
}

/**
 * Return the path of a line over `values`, for an SVG of this size.
 * @param {readonly number[]} values
 * @param {number} width
 * @param {number} height
 */
export function sparkPath(values, width, height) {
  const top = Math.max(1, ...values);
  const step = width / (SECONDS - 1);
  const first = width - (values.length - 1) * step;
  return values
    .map((value, index) => {
      const x = (first + index * step).toFixed(1);
      const y = (height - 2 - (value / top) * (height - 4)).toFixed(1);
      return `${index ? "L" : "M"}${x},${y}`;
    })
    .join("");
}
