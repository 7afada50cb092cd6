/**
 * The clients of the gateway, as rows of the table for operators.
 */

import { describeBindings } from "./describe.js";

/** @typedef {import("./top.js").TopRow} TopRow */

/**
 * Return a row for each client of an answer of `/clients`, those that lag most first.
 * @param {Record<string, any>} answer
 * @returns {TopRow[]}
 */
export function clientRows(answer) {
  const clients = Array.isArray(answer["clients"]) ? answer["clients"] : [];
  return clients.map(row).sort((one, other) => (other.pending ?? 0) - (one.pending ?? 0));
}

/**
 * @param {Record<string, any>} client
 * @returns {TopRow}
 */
function row(client) {
  const subscriptions = Array.isArray(client["subscriptions"]) ? client["subscriptions"] : [];
  const sum = (/** @type {string} */ name) => {
    return subscriptions.reduce((total, each) => total + (Number(each[name]) || 0), 0);
  };
  const missed = sum("missed");
  return {
    key: `client ${client["id"]}`,
    kind: "client",
    name: `${client["account"] ?? "all"} @ ${client["address"]}`,
    binding: describeBindings(subscriptions.flatMap((each) => each["bindings"] ?? []), undefined),
    pending: sum("behind"),
    capacity: null,
    rate: null,
    oldest: 0,
    delivered: sum("sent"),
    lost: missed ? `${missed.toLocaleString("en")} slow` : "",
    lostCount: missed,
    state: String(client["transport"]),
    isFault: false,
  };
}
