/**
 * The keys of the page. They do nothing while a text field has the focus, or with a modifier.
 */

/**
 * Call an action for its key.
 * @param {Readonly<Record<string, () => void>>} actions by the value of `KeyboardEvent.key`
 */
export function onKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { target } = event;
    const isText = target instanceof HTMLInputElement;
    if (isText && event.key !== "Escape") return;
    const isButton = target instanceof HTMLButtonElement;
    if (isButton && (event.key === " " || event.key === "Enter")) return; // it clicks the button
    if (document.querySelector("dialog[open]")) return;
    const action = Object.hasOwn(actions, event.key) ? actions[event.key] : undefined;
    if (!action) return;
    event.preventDefault();
    action();
  });
}
