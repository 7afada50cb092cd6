/**
 * The clipboard, with a message to the user.
 */

import { find } from "./dom.js";

const SHOWN = 2_500; // milliseconds

let timer = 0;

/**
 * Show a short message.
 * @param {string} text
 */
export function say(text) {
  const said = find("said", HTMLElement);
  said.textContent = text;
  window.clearTimeout(timer);
  timer = window.setTimeout(() => { said.textContent = ""; }, SHOWN);
}

/**
 * Copy `text`. Outside of a secure context a browser has no clipboard, and the user is told.
 * @param {string} text
 * @param {string} name of the copied
 */
export async function copy(text, name) {
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied ${name}`);
  } catch {
    say(copyBySelection(text) ? `Copied ${name}` : "The browser did not permit to copy");
  }
}

/**
 * Copy as a selection, for pages that are served without TLS.
 * @param {string} text
 */
function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.className = "unseen";
  area.value = text;
  const before = document.activeElement;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus();
  return isCopied;
}
