/**
 * One paint per frame, and none while the tab is hidden.
 */

export class FrameLoop {
  #isDue = false;

  /** @param {() => void} paint */
  constructor(paint) {
    this.paint = paint;
    document.addEventListener("visibilitychange", () => this.request());
  }

  /** Paint at the next frame, however often this is called before it. */
  request() {
    if (this.#isDue || document.hidden) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!document.hidden) this.paint();
    });
  }
}
