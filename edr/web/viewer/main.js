/**
 * The page: its parts, joined.
 *
 * Frames of the connection go to the feed, which fills the ring. The list shows the ring, one paint
 * per frame.
 */

import { copy, say } from "./clipboard.js";
import { Connection } from "./connection.js";
import { CopyMenu } from "./copy_menu.js";
import { selected } from "./cursors.js";
import { Detail } from "./detail.js";
import { find, setText } from "./dom.js";
import { EventList } from "./event_list.js";
import { namingValue, readFields } from "./event_text.js";
import { Explanations } from "./explanations.js";
import { Feed } from "./feed.js";
import { fromFragment, likeEvent, toBinding, toFragment } from "./filter.js";
import { FilterBar } from "./filter_bar.js";
import { FrameLoop } from "./frame_loop.js";
import { hasEvents } from "./frames.js";
import { Lost } from "./gaps.js";
import { Header } from "./header.js";
import { onHiddenTab } from "./hidden_tab.js";
import { inertJson } from "./inert.js";
import { onKeys } from "./keys.js";
import { Operators } from "./operators.js";
import { Rate } from "./rates.js";
import { frozen, MAX_ROWS, Ring } from "./ring.js";
import { SignIn } from "./sign_in.js";
import { Surroundings } from "./surroundings.js";
import { View } from "./view.js";

/** @typedef {import("./filter.js").Filter} Filter */

/** @typedef {import("./ring.js").Row} Row */

const EXPLAIN_AFTER = 200; // milliseconds that a selected event stays, before it is explained
const COUNT_EVERY = 250; // milliseconds
const POLITE_EVERY = 10_000; // milliseconds between two counts for a screen reader

const base = new URL(".", location.href).href;
const webSocketUrl = new URL("ws", base);
webSocketUrl.protocol = webSocketUrl.protocol.replace("http", "ws");

const ring = new Ring();
const view = new View(ring);
const lost = new Lost();
const shown = new Rate(Date.now());
const header = new Header();
const app = find("app", HTMLElement);
const newer = find("newer", HTMLButtonElement);
const note = find("note", HTMLElement);
const empty = find("empty", HTMLElement);
const help = find("help", HTMLDialogElement);

/** The account of the last connection, to notice a change of it. @type {string | null | undefined} */
let account;
let explainTimer = 0;

// Receive

const connection = new Connection(webSocketUrl.href, {
  onHello(frame) {
    signIn.hide();
    app.hidden = false;
    header.identify(frame.node ?? "", frame.account ?? null);
    if (account !== undefined && account !== (frame.account ?? null)) forgetEverything();
    account = frame.account ?? null;
    header.connection("live", "");
    if (feed.isStarted) feed.resume();
    else apply(filterBar.filter);
    operators.start(account === null);
    list.list.focus({ preventScroll: true });
  },
  onFrame(frame) {
    feed.receive(frame);
    surroundings.receive(frame);
    if (!hasEvents(frame)) explanations.receive(frame);
  },
  onState(state, detail) {
    header.connection(state, detail);
    if (state === "live") return;
    explanations.abandon();
    if (state === "refused") {
      forgetEverything();
      app.hidden = true;
      operators.stop();
      document.title = "edr";
      signIn.show(detail);
    }
  },
});

const send = connection.send.bind(connection);
const surroundings = new Surroundings(send);
const explanations = new Explanations(send);
const operators = new Operators(base, () => connection.token);
const signIn = new SignIn({ onToken: (token) => connection.open(token) });
const frames = new FrameLoop(paint);

const feed = new Feed(send, ring, {
  onRows(events, isLive) {
    if (isLive) shown.add(events, Date.now());
    frames.request();
  },
  onGap(gap) {
    lost.add(gap);
    header.showLost(lost);
    frames.request();
  },
  onAccepted() {
    filterBar.accepted();
    goOn();
  },
  onFault(path, detail) {
    const place = path.replace(/^bindings\[0\]\.?/, "");
    filterBar.showFault([place, detail].filter(Boolean).join(": "));
  },
});

function forgetEverything() {
  account = undefined;
  feed.forget();
  select(null);
  goOn();
}

// Show

const list = new EventList({
  onSelect: select,
  onScrollUp: pause,
  onScroll: () => frames.request(),
});

const detail = new Detail({ onClose: () => select(null) });

function paint() {
  list.follows = view.mode === "live";
  list.show(view.rows);
  list.paint();
  const since = view.newer;
  newer.hidden = since === 0;
  if (since) setText(newer, `↓ ${since.toLocaleString("en")} newer`);
  empty.hidden = view.rows.length > 0;
  setText(empty, feed.cursor ? "No event matches yet." : "");
}

function countText() {
  const { count, of } = selected(ring, feed.start, feed.cursor, MAX_ROWS);
  return `${count.toLocaleString("en")} of the last ${of.toLocaleString("en")}`;
}

function pause() {
  view.pause();
  showMode();
}

function goOn() {
  view.goOn();
  showMode();
}

function showMode() {
  header.paused(view.mode !== "live");
  note.hidden = view.mode !== "around";
  frames.request();
}

/** @param {Row | null} row */
function select(row) {
  window.clearTimeout(explainTimer);
  list.selected = row;
  find("middle", HTMLElement).classList.toggle("has-detail", row?.kind === "event");
  if (row?.kind === "event") {
    if (view.mode === "live") pause();
    list.show(view.rows);
    detail.show(row);
    explainTimer = window.setTimeout(() => void explain(), EXPLAIN_AFTER);
  } else {
    detail.hide();
  }
  frames.request();
}

async function explain() {
  window.clearTimeout(explainTimer);
  const event = detail.event;
  if (!event) return;
  try {
    const results = await explanations.ask(feed.id, event.cursor);
    if (detail.event === event) detail.explain(results.map(named));
  } catch (error) {
    if (detail.event === event) detail.explainFailed(error instanceof Error ? error.message : "");
  }
}

/**
 * The page's own subscription has an id, which means nothing to a user.
 * @param {import("./explanations.js").Result} result
 */
function named(result) {
  const isOwn = result.kind === "client" && result.name === feed.id;
  return isOwn ? { ...result, name: "the filter of this page", kind: "subscription" } : result;
}

async function showAround() {
  const event = detail.event;
  if (!event) return;
  const rows = await surroundings.read(event.cursor);
  if (detail.event !== event) return;
  if (!rows.length) {
    say("The gateway no longer has the events around it");
    return;
  }
  view.lookAround(frozen(rows));
  setText(find("note-text", HTMLElement), `${rows.length} rows around this event, without the filter`);
  showMode();
  list.follows = false;
  list.show(view.rows);
  list.selected = rows.find((row) => row.cursor === event.cursor && row.kind === "event") ?? event;
  list.centre();
}

function leaveAround() {
  view.pauseAgain();
  showMode();
  list.show(view.rows);
  list.centre();
}

// Filter

const filterBar = new FilterBar({ onChange: apply });

const copyMenu = new CopyMenu(base, () => filterBar.filter);

/** @param {Filter} filter */
function apply(filter) {
  const fragment = toFragment(filter);
  if (fragment !== location.hash.slice(1)) {
    history.replaceState(null, "", fragment ? `#${fragment}` : location.pathname + location.search);
  }
  feed.apply([toBinding(filter)]);
}

/** @param {Filter} filter */
function setFilter(filter) {
  filterBar.filter = filter;
  if (connection.state === "live") apply(filterBar.filter);
}

function bindingFromThis() {
  const event = detail.event;
  if (!event) return;
  const fields = readFields(event.text);
  setFilter(likeEvent(fields, fields.body && namingValue(event.text, fields.body.start)));
  find("body", HTMLElement).focus();
}

function copyEvent() {
  if (detail.event) void copy(inertJson(detail.event.text), "the event");
}

// Controls

/** @param {string} id @param {() => void} action */
function onClick(id, action) {
  find(id, HTMLElement).addEventListener("click", action);
}

function toggle() {
  if (view.mode === "live") pause();
  else goOn();
}

function back() {
  if (document.activeElement instanceof HTMLInputElement) document.activeElement.blur();
  else if (copyMenu.isOpen) copyMenu.toggle(false);
  else if (view.mode === "around") leaveAround();
  else if (detail.event) select(null);
}

onClick("pause", toggle);
onClick("newer", goOn);
onClick("clear", () => { feed.clear(); select(null); goOn(); });
onClick("help-button", () => help.showModal());
onClick("note-back", leaveAround);
onClick("copy-json", copyEvent);
onClick("binding-from-this", bindingFromThis);
onClick("show-around", () => void showAround());

onKeys({
  " ": toggle,
  j: () => list.move(1),
  k: () => list.move(-1),
  ArrowDown: () => list.move(1),
  ArrowUp: () => list.move(-1),
  End: goOn,
  e: () => { void explain(); detail.focusWhy(); },
  y: copyEvent,
  "?": () => help.showModal(),
  Escape: back,
});

window.addEventListener("hashchange", () => setFilter(fromFragment(location.hash)));

onHiddenTab(document, {
  sleep: () => connection.sleep(),
  wake: () => connection.open(connection.token),
});

window.setInterval(() => {
  if (document.hidden) return;
  shown.advance(Date.now());
  detail.tick(Date.now());
  header.rates(operators.top.rate, shown.perSecond, shown.history);
  setText(find("count", HTMLElement), countText());
}, COUNT_EVERY);

window.setInterval(() => {
  if (!document.hidden && !app.hidden) setText(find("polite", HTMLElement), countText());
}, POLITE_EVERY);

filterBar.filter = fromFragment(location.hash);
connection.open(null);
