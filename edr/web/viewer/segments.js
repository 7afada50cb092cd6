/**
 * Levels as a row of buttons. A click chooses a level and those above it; with shift, exactly it.
 */

import { make } from "./dom.js";
import { afterClick } from "./filter.js";

/** @typedef {import("./filter.js").Levels} Levels */

export class Segments {
  /** @type {Levels} */
  #levels = { only: [] };
  /** @type {Map<string, HTMLButtonElement>} */
  #buttons = new Map();

  /**
   * @param {HTMLElement} group
   * @param {readonly string[]} known the levels, the lowest first
   * @param {Readonly<Record<string, string>>} shapes a character before the name of a level
   * @param {() => void} onChange
   */
  constructor(group, known, shapes, onChange) {
    this.known = known;
    this.shapes = shapes;
    for (const level of known) {
      const button = make("button");
      button.title = `${level} and above; with shift: only ${level}`;
      button.addEventListener("click", (event) => {
        this.levels = afterClick(this.#levels, level, event.shiftKey, known);
        onChange();
      });
      this.#buttons.set(level, button);
      group.append(button);
    }
  }

  get levels() {
    return this.#levels;
  }

  set levels(levels) {
    this.#levels = levels;
    const from = "from" in levels ? this.known.indexOf(levels.from) : this.known.length;
    for (const [level, button] of this.#buttons) {
      const isChosen = "from" in levels ? level === levels.from : levels.only.includes(level);
      const isAbove = this.known.indexOf(level) > from;
      const shape = this.shapes[level] ? `${this.shapes[level]} ` : "";
      const isLast = level === this.known.at(-1);
      const sign = "only" in levels ? (isChosen ? "=" : "") : isChosen && !isLast ? " +" : "";
      button.textContent = sign === "=" ? `=${shape}${level}` : `${shape}${level}${sign}`;
      button.setAttribute("aria-pressed", String(isChosen));
      button.classList.toggle("above", isAbove);
      button.setAttribute("aria-label", label(level, levels, isChosen, isLast));
    }
  }
}

/**
 * @param {string} level
 * @param {Levels} levels
 * @param {boolean} isChosen
 * @param {boolean} isLast
 */
function label(level, levels, isChosen, isLast) {
  if (!isChosen) return level;
  if ("only" in levels) return `exactly ${level}`;
  return isLast ? level : `${level} and above`;
}
