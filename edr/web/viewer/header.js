/**
 * The figures at the top of the page.
 */

import { find, setText } from "./dom.js";
import { inertStart } from "./inert.js";
import { rateText, sparkPath } from "./rates.js";

/** @typedef {import("./connection.js").State} State */

const MAX_NAME = 80; // characters

export class Header {
  constructor() {
    this.dot = find("dot", HTMLElement);
    this.node = find("node", HTMLElement);
    this.account = find("account", HTMLElement);
    this.accountFigure = find("account-figure", HTMLElement);
    this.inFigure = find("in-figure", HTMLElement);
    this.rateIn = find("rate-in", HTMLElement);
    this.rateShown = find("rate-shown", HTMLElement);
    this.sparkLine = find("spark-line", SVGPathElement);
    this.lostFigure = find("lost-figure", HTMLElement);
    this.lost = find("lost", HTMLElement);
    this.pause = find("pause", HTMLElement);
    this.pauseWord = find("pause-word", HTMLElement);
    this.nodeName = "";
  }

  /**
   * @param {string} node
   * @param {string | null} account
   */
  identify(node, account) {
    this.nodeName = inertStart(node, MAX_NAME);
    setText(this.account, inertStart(account ?? "all", MAX_NAME));
    this.accountFigure.hidden = false;
    document.title = this.nodeName ? `edr · ${this.nodeName}` : "edr";
  }

  /**
   * @param {State} state
   * @param {string} detail
   */
  connection(state, detail) {
    this.dot.className = `dot ${state}`;
    setText(this.node, state === "live" ? this.nodeName : detail || this.nodeName);
  }

  /**
   * @param {number | null} rateIn of the bus; null if it is not known
   * @param {number} rateShown
   * @param {readonly number[]} history of the shown events
   */
  rates(rateIn, rateShown, history) {
    this.inFigure.hidden = rateIn === null;
    if (rateIn !== null) setText(this.rateIn, rateText(rateIn));
    setText(this.rateShown, rateText(rateShown));
    this.sparkLine.setAttribute("d", sparkPath(history, 180, 26));
  }

  /** @param {import("./gaps.js").Lost} lost */
  showLost(lost) {
    this.lostFigure.hidden = lost.isExact && lost.count === 0;
    setText(this.lost, lost.text);
  }

  /** @param {boolean} isPaused */
  paused(isPaused) {
    this.pause.classList.toggle("active", isPaused);
    setText(this.pauseWord, isPaused ? "Go on" : "Pause");
  }
}
