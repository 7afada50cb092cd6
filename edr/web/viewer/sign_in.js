/**
 * The form for the token. Until the gateway has accepted one, nothing else is shown.
 */

import { find } from "./dom.js";

export class SignIn {
  /** @param {{onToken: (token: string) => void}} handlers */
  constructor(handlers) {
    this.form = find("sign-in", HTMLFormElement);
    this.input = find("token", HTMLInputElement);
    this.state = find("sign-in-state", HTMLElement);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = this.input.value.trim();
      this.input.value = "";
      if (token) handlers.onToken(token);
    });
  }

  /** @param {string} reason */
  show(reason) {
    this.state.textContent = reason;
    this.form.hidden = false;
    this.input.focus();
  }

  hide() {
    this.form.hidden = true;
    this.state.textContent = "";
  }
}
