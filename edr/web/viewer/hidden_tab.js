/**
 * A hidden tab disconnects after ten minutes, and continues after its cursor when it is shown.
 */

export const SLEEP_AFTER = 10 * 60_000; // milliseconds

/**
 * Call `sleep` when the page was hidden for ten minutes, and `wake` when it is visible again then.
 * @param {Pick<Document, "hidden" | "addEventListener">} page
 * @param {{sleep: () => void, wake: () => void}} actions
 */
export function onHiddenTab(page, { sleep, wake }) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let isAsleep = false;
  page.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (page.hidden) {
      timer = setTimeout(() => {
        isAsleep = true;
        sleep();
      }, SLEEP_AFTER);
    } else if (isAsleep) {
      isAsleep = false;
      wake();
    }
  });
}
