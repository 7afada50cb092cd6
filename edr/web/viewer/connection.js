/**
 * The WebSocket of the gateway: the first frame, reconnects, and the end of an access.
 *
 * The token stays in memory and is sent in the first frame. It is never in a URL. After a lost
 * connection the page connects again, at once and then with growing pauses.
 */

import { hasEvents, readFrame } from "./frames.js";

/**
 * - `connecting`: no answer of the gateway yet, or it is tried again
 * - `live`: the gateway accepted the page
 * - `refused`: a token is needed, or it was not accepted, or the access has ended
 * - `asleep`: disconnected until `open`
 * @typedef {"connecting" | "live" | "refused" | "asleep"} State
 */

/**
 * @typedef {{
 *   onHello: (frame: import("./frames.js").OtherFrame) => void,
 *   onFrame: (frame: import("./frames.js").EventsFrame | import("./frames.js").OtherFrame) => void,
 *   onState: (state: State, detail: string) => void
 * }} Handlers
 */

const FIRST_PAUSE = 500; // milliseconds, doubled after each attempt
const LONGEST_PAUSE = 15_000;
const SILENCE = 45_000; // milliseconds; the gateway sends a heartbeat every 15 s
const NOT_AUTHENTICATED = 4401;
const GRANT_ENDED = 4403;

export class Connection {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {string | null} */
  #token = null;
  /** @type {State} */
  #state = "asleep";
  #timer = 0; // of the next attempt, or of the silence
  #attempts = 0;

  /**
   * @param {string} url of the WebSocket
   * @param {Handlers} handlers
   */
  constructor(url, handlers) {
    this.url = url;
    this.handlers = handlers;
  }

  get state() {
    return this.#state;
  }

  /** The token of the last `open`, for requests by HTTP. */
  get token() {
    return this.#token;
  }

  /**
   * Connect. Without a token the gateway may know the page by a cookie.
   * @param {string | null} token
   */
  open(token) {
    this.#token = token;
    this.#attempts = 0;
    this.#connect();
  }

  /** Disconnect until the next `open`. */
  sleep() {
    this.#leave();
    this.#become("asleep", "");
  }

  /**
   * Send a frame. Nothing is sent while the state is not `live`.
   * @param {Record<string, unknown>} frame
   */
  send(frame) {
    if (this.#state === "live") this.#socket?.send(JSON.stringify(frame));
  }

  #connect() {
    this.#leave();
    const wait = this.#attempts ? "The connection was lost. Connecting again …" : "Connecting …";
    this.#become("connecting", wait);
    this.#attempts += 1;
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.onopen = () => {
      const token = this.#token === null ? {} : { token: this.#token };
      socket.send(JSON.stringify({ do: "hello", ...token }));
    };
    socket.onmessage = (message) => this.#receive(message.data);
    socket.onclose = (event) => this.#closed(event.code);
    this.#expectFrame();
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#expectFrame();
    if (typeof data !== "string") return;
    const frame = readFrame(data);
    if (!hasEvents(frame) && frame.is === "hello") {
      this.#attempts = 0;
      this.#become("live", "");
      this.handlers.onHello(frame);
    } else if (this.#state === "live") {
      this.handlers.onFrame(frame);
    }
  }

  /** @param {number} code */
  #closed(code) {
    const wasLive = this.#state === "live";
    this.#leave();
    if (code === NOT_AUTHENTICATED) {
      this.#become("refused", this.#token === null ? "" : "The token was not accepted.");
    } else if (code === GRANT_ENDED) {
      this.#become("refused", "The access has ended.");
    } else {
      this.#become("connecting", "The connection was lost. Connecting again …");
      this.#timer = window.setTimeout(() => this.#connect(), wasLive ? 100 : this.#pause());
    }
  }

  /** The pause before the next attempt, with jitter, so that many pages do not return at once. */
  #pause() {
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(this.#attempts, 6));
    return pause * (0.5 + Math.random() / 2);
  }

  /** Connect again when nothing arrives for some time: the peer may be gone without a close. */
  #expectFrame() {
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#connect(), SILENCE);
  }

  #leave() {
    window.clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /**
   * @param {State} state
   * @param {string} detail
   */
  #become(state, detail) {
    this.#state = state;
    this.handlers.onState(state, detail);
  }
}
