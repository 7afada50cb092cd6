/**
 * The filter as controls. A change is reported after a short pause in the typing.
 *
 * A body pattern that is not an object of JSON is not part of the filter. The last one that was
 * stays in force.
 */

import { find } from "./dom.js";
import { bodyFault, readNames, SEVERITIES, VERBOSITIES } from "./filter.js";
import { inertStart } from "./inert.js";
import { Segments } from "./segments.js";

/** @typedef {import("./filter.js").Filter} Filter */

const PAUSE = 250; // milliseconds without a key, before the filter is sent to the gateway

export class FilterBar {
  #timer = 0;
  #validBody = "";

  /** @param {{onChange: (filter: Filter) => void}} handlers */
  constructor(handlers) {
    this.handlers = handlers;
    const report = () => this.#report();
    const shapes = { warning: "▲", critical: "■" };
    this.severity = new Segments(find("severity", HTMLElement), SEVERITIES, shapes, report);
    this.verbosity = new Segments(find("verbosity", HTMLElement), VERBOSITIES, {}, report);
    this.apps = find("apps", HTMLInputElement);
    this.accounts = find("accounts", HTMLInputElement);
    this.below = find("below", HTMLButtonElement);
    this.body = find("body", HTMLInputElement);
    this.fault = find("body-fault", HTMLElement);
    for (const input of [this.apps, this.accounts, this.body]) {
      input.addEventListener("input", () => this.#typed());
    }
    this.below.addEventListener("click", () => {
      this.#setBelow(!this.#isBelow);
      report();
    });
  }

  /** The filter; its body pattern is an object of JSON, or empty. @returns {Filter} */
  get filter() {
    return {
      severity: this.severity.levels,
      verbosity: this.verbosity.levels,
      apps: readNames(this.apps.value),
      accounts: readNames(this.accounts.value),
      below: this.#isBelow,
      body: this.#validBody,
    };
  }

  set filter(filter) {
    window.clearTimeout(this.#timer);
    this.severity.levels = filter.severity;
    this.verbosity.levels = filter.verbosity;
    this.apps.value = filter.apps.join(", ");
    this.accounts.value = filter.accounts.join(", ");
    this.#setBelow(filter.below);
    this.body.value = filter.body;
    this.#validBody = "";
    this.#check();
  }

  /**
   * Show a fault of the body pattern; an empty text removes it.
   * @param {string} fault
   */
  showFault(fault) {
    this.fault.textContent = inertStart(fault, 300);
    this.fault.hidden = !fault;
    this.body.setAttribute("aria-invalid", String(Boolean(fault)));
  }

  /** The gateway accepted the filter: only a fault of text that is not part of it remains. */
  accepted() {
    this.#check();
  }

  get #isBelow() {
    return this.below.getAttribute("aria-pressed") === "true";
  }

  /** @param {boolean} isBelow */
  #setBelow(isBelow) {
    this.below.setAttribute("aria-pressed", String(isBelow));
  }

  #typed() {
    this.#check();
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#report(), PAUSE);
  }

  #report() {
    window.clearTimeout(this.#timer);
    this.handlers.onChange(this.filter);
  }

  #check() {
    const fault = bodyFault(this.body.value);
    if (!fault) this.#validBody = this.body.value;
    this.showFault(fault);
  }
}
