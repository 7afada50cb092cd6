/**
 * The question which parts received an event, and why others did not.
 */

/**
 * A subscription, part or consumer. `matches` is null if it has no binding.
 * @typedef {{
 *   kind: string, name: string, matches: boolean | null, mismatches: {text: string}[]
 * }} Result
 */

/** @typedef {{cursor: string, resolve: (results: Result[]) => void, reject: (reason: Error) => void}} Question */

export class Explanations {
  /** In the order of the requests, as the gateway answers them. @type {Question[]} */
  #open = [];

  /** @param {(frame: Record<string, unknown>) => void} send */
  constructor(send) {
    this.send = send;
  }

  /**
   * Return the results for the event at `cursor`, which subscription `id` received.
   * @param {string} id
   * @param {string} cursor
   * @returns {Promise<Result[]>} rejected with the detail of the gateway
   */
  ask(id, cursor) {
    return new Promise((resolve, reject) => {
      this.#open.push({ cursor, resolve, reject });
      this.send({ do: "explain", id, cursor });
    });
  }

  /**
   * Take an answer from a frame.
   * @param {import("./frames.js").OtherFrame} frame
   */
  receive(frame) {
    if (frame.is === "explained") {
      this.#open.shift()?.resolve((frame.results ?? []).filter(isResult));
    } else if (frame.is === "error" && frame.do === "explain") {
      this.#open.shift()?.reject(new Error(frame.detail ?? "the gateway did not explain it"));
    }
  }

  /** End all questions, because the connection was lost. */
  abandon() {
    for (const { reject } of this.#open.splice(0)) reject(new Error("the connection was lost"));
  }
}

/**
 * @param {unknown} value
 * @returns {value is Result}
 */
function isResult(value) {
  return (
    typeof value === "object" && value !== null && "kind" in value && "name" in value &&
    "matches" in value && "mismatches" in value && Array.isArray(value.mismatches)
  );
}
