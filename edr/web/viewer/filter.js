/**
 * The filter of the page, which is a binding of edr.
 *
 * It is also written as the fragment of the URL, as the flags of `edr tail`, and as a command with
 * curl. The body pattern is kept as the user typed it.
 */

/**
 * The levels that a filter matches: one and those above it, or exactly the given ones.
 * @typedef {{from: string} | {only: readonly string[]}} Levels
 */

/**
 * @typedef {{
 *   severity: Levels, verbosity: Levels, apps: readonly string[], accounts: readonly string[],
 *   below: boolean, body: string
 * }} Filter
 */

/** @typedef {Record<string, unknown>} Binding */

export const SEVERITIES = /** @type {readonly string[]} */ (["ok", "warning", "critical"]);

export const VERBOSITIES = /** @type {readonly string[]} */ (
  ["trace", "debug", "info", "warn", "error", "fatal"]
);

/** @type {Filter} */
export const DEFAULT = {
  severity: { from: "ok" },
  verbosity: { from: "info" },
  apps: [],
  accounts: [],
  below: false,
  body: "",
};

/** A filter that matches every event. @type {Filter} */
export const EVERYTHING = { ...DEFAULT, verbosity: { from: "trace" } };

/**
 * Return the fault of a body pattern that can be found without the gateway, or nothing.
 * @param {string} body
 */
export function bodyFault(body) {
  if (!body.trim()) return "";
  let read;
  try {
    read = JSON.parse(body);
  } catch (error) {
    return `is not JSON: ${error instanceof Error ? error.message : error}`;
  }
  if (read === null || typeof read !== "object" || Array.isArray(read)) {
    return 'must be an object, such as {"status": ["paused"]}';
  }
  return "";
}

/**
 * Return the filter as a binding. The body pattern must have no fault.
 * @param {Filter} filter
 * @returns {Binding}
 */
export function toBinding(filter) {
  /** @type {Binding} */
  const binding = {
    ...levelFields("severity", filter.severity),
    ...levelFields("verbosity", filter.verbosity),
  };
  if (filter.apps.length) binding["app_name"] = filter.apps;
  if (filter.accounts.length) {
    binding["account_id"] = filter.accounts;
    if (filter.below) binding["include_descendants"] = true;
  }
  if (filter.body.trim()) binding["body"] = JSON.parse(filter.body);
  return binding;
}

/**
 * Return the filter as the text of a binding, with the numbers of the pattern as they were typed.
 * @param {Filter} filter
 */
export function bindingText(filter) {
  const text = JSON.stringify(toBinding({ ...filter, body: "" }));
  const body = filter.body.trim();
  return body ? `${text.slice(0, -1)},"body":${body}}` : text;
}

/**
 * @param {string} name
 * @param {Levels} levels
 * @returns {Binding}
 */
function levelFields(name, levels) {
  if ("from" in levels) return { [name]: levels.from };
  if (levels.only.length > 1) return { [name]: levels.only };
  return { [name]: levels.only[0], [`exact_${name}`]: true };
}

/**
 * Return the flags of `edr tail` that have the same meaning.
 * @param {Filter} filter
 */
export function toFlags(filter) {
  const flags = [`-s ${flagLevels(filter.severity)}`, `-v ${flagLevels(filter.verbosity)}`];
  if (filter.apps.length) flags.push(`-a ${quoted(filter.apps.join(","))}`);
  if (filter.accounts.length) {
    flags.push(`-A ${quoted(filter.accounts.join(","))}`);
    if (filter.below) flags.push("--below");
  }
  if (filter.body.trim()) flags.push(`-b ${quoted(filter.body.trim())}`);
  return flags.join(" ");
}

/** @param {Levels} levels */
function flagLevels(levels) {
  if ("from" in levels) return levels.from;
  return levels.only.length === 1 ? `=${levels.only[0]}` : levels.only.join(",");
}

/**
 * Return a command that reads the events as a stream. The token is a variable of the shell, so that
 * it does not reach the clipboard.
 * @param {Filter} filter
 * @param {string} base the URL of the gateway, with a final slash
 */
export function toCurl(filter, base) {
  const query = `binding=${encodeURIComponent(bindingText(filter))}`;
  const url = quoted(`${new URL("events", base).href}?${query}`);
  return `curl -N -H "Authorization: Bearer $EDR_TOKEN" ${url}`;
}

/**
 * Return `text` as one word of a POSIX shell.
 * @param {string} text
 */
function quoted(text) {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * Return the filter as the fragment of a URL, without `#`. The default filter is empty.
 * @param {Filter} filter
 */
export function toFragment(filter) {
  const fields = new URLSearchParams();
  writeLevels(fields, "severity", filter.severity, DEFAULT.severity);
  writeLevels(fields, "verbosity", filter.verbosity, DEFAULT.verbosity);
  for (const app of filter.apps) fields.append("app_name", app);
  for (const account of filter.accounts) fields.append("account_id", account);
  if (filter.below) fields.set("include_descendants", "true");
  if (filter.body.trim()) fields.set("body", filter.body.trim());
  return fields.toString();
}

/**
 * @param {URLSearchParams} fields
 * @param {string} name
 * @param {Levels} levels
 * @param {Levels} usual
 */
function writeLevels(fields, name, levels, usual) {
  if ("only" in levels) {
    for (const level of levels.only) fields.append(`only_${name}`, level);
  } else if (!("from" in usual) || levels.from !== usual.from) {
    fields.set(name, levels.from);
  }
}

/**
 * Read a filter from a fragment. Fields that are not valid are left out.
 * @param {string} fragment with or without `#`
 * @returns {Filter}
 */
export function fromFragment(fragment) {
  const fields = new URLSearchParams(fragment.replace(/^#/, ""));
  return {
    severity: readLevels(fields, "severity", SEVERITIES, DEFAULT.severity),
    verbosity: readLevels(fields, "verbosity", VERBOSITIES, DEFAULT.verbosity),
    apps: names(fields.getAll("app_name")),
    accounts: names(fields.getAll("account_id")),
    below: fields.get("include_descendants") === "true",
    body: fields.get("body") ?? "",
  };
}

/**
 * @param {URLSearchParams} fields
 * @param {string} name
 * @param {readonly string[]} known
 * @param {Levels} usual
 * @returns {Levels}
 */
function readLevels(fields, name, known, usual) {
  const given = fields.getAll(`only_${name}`);
  const only = known.filter((level) => given.includes(level));
  if (only.length) return { only };
  const from = fields.get(name) ?? "";
  return known.includes(from) ? { from } : usual;
}

/**
 * Return the names of a list as a user types it, separated by commas.
 * @param {string} text
 */
export function readNames(text) {
  return names(text.split(",").map((name) => name.trim()));
}

/** @param {string[]} given */
function names(given) {
  return [...new Set(given.filter((name) => name !== ""))];
}

/**
 * Return the levels after a click on one of them.
 *
 * A click means the level and those above. With shift it means exactly this level; a further click
 * with shift adds a level to those, or removes it.
 * @param {Levels} levels
 * @param {string} level
 * @param {boolean} exact
 * @param {readonly string[]} known
 * @returns {Levels}
 */
export function afterClick(levels, level, exact, known) {
  if (!exact) return { from: level };
  const before = "only" in levels ? levels.only : [];
  const toggled = known.filter((each) => before.includes(each) !== (each === level));
  return toggled.length ? { only: toggled } : { from: level };
}

/**
 * Return the filter for events such as this one: its app, its account, its levels and its name.
 * @param {import("./event_text.js").Fields} fields
 * @param {{key: string, json: string} | null} naming the value of its body that names it
 * @returns {Filter}
 */
export function likeEvent(fields, naming) {
  return {
    severity: { from: SEVERITIES.includes(fields.severity) ? fields.severity : "ok" },
    verbosity: { from: VERBOSITIES.includes(fields.verbosity) ? fields.verbosity : "info" },
    apps: names([fields.app_name]),
    accounts: names([fields.account_id]),
    below: false,
    body: naming ? `{${JSON.stringify(naming.key)}: [${naming.json}]}` : "",
  };
}
