/**
 * The menu that copies the filter in one of its forms.
 */

import { copy } from "./clipboard.js";
import { find } from "./dom.js";
import { bindingText, toCurl, toFlags } from "./filter.js";

/** @typedef {import("./filter.js").Filter} Filter */

export class CopyMenu {
  /**
   * @param {string} base the URL of the gateway
   * @param {() => Filter} filter
   */
  constructor(base, filter) {
    this.base = base;
    this.filter = filter;
    this.button = find("copy", HTMLElement);
    this.menu = find("copy-menu", HTMLElement);
    this.button.addEventListener("click", () => this.toggle(this.menu.hidden));
    this.menu.addEventListener("click", (event) => this.#chosen(event));
    document.addEventListener("pointerdown", ({ target }) => {
      const isInside = target instanceof Node && this.menu.parentElement?.contains(target);
      if (!isInside) this.toggle(false);
    });
  }

  get isOpen() {
    return !this.menu.hidden;
  }

  /** @param {boolean} isOpen */
  toggle(isOpen) {
    this.menu.hidden = !isOpen;
    this.button.setAttribute("aria-expanded", String(isOpen));
  }

  /** @param {MouseEvent} event */
  #chosen({ target }) {
    const form = target instanceof HTMLElement ? target.dataset["form"] : undefined;
    if (!form) return;
    this.toggle(false);
    this.button.focus();
    void copy(this.#text(form, this.filter()), form);
  }

  /**
   * @param {string} form
   * @param {Filter} filter
   */
  #text(form, filter) {
    if (form === "flags") return `edr tail ${toFlags(filter)}`;
    if (form === "curl") return toCurl(filter, this.base);
    return form === "link" ? location.href : bindingText(filter);
  }
}
