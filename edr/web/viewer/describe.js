/**
 * Bindings in a few words, such as `warning+ · acdc · queue.id=q9`.
 */

/** @typedef {Record<string, unknown>} Document a binding */

const MAX_WORDS = 8;

/**
 * Describe the bindings of a subscription or part.
 * @param {unknown} bindings a list, or null if there are too many to send
 * @param {unknown} count their number, if there are too many
 */
export function describeBindings(bindings, count) {
  if (!Array.isArray(bindings)) return typeof count === "number" ? `${count} bindings` : "";
  if (!bindings.length) return "";
  const first = describe(bindings[0]);
  return bindings.length === 1 ? first : `${first}, and ${bindings.length - 1} more`;
}

/** @param {Document} binding */
function describe(binding) {
  const words = [
    levels(binding, "severity", "ok"),
    levels(binding, "verbosity", "info"),
    ...names(binding["app_name"]),
    ...names(binding["account_id"]).map((name) => {
      return binding["include_descendants"] ? `${name} + below` : name;
    }),
    ...conditions(binding["body"], ""),
  ].filter((word) => word !== "");
  if (!words.length) return "everything";
  const shown = words.slice(0, MAX_WORDS).join(" · ");
  return words.length > MAX_WORDS ? `${shown} …` : shown;
}

/**
 * @param {Document} binding
 * @param {string} field
 * @param {string} lowest the level that is not worth a word
 */
function levels(binding, field, lowest) {
  const value = binding[field] ?? lowest;
  if (Array.isArray(value)) return value.join("|");
  if (binding[`exact_${field}`]) return `only ${value}`;
  if (field === "verbosity" && value === "trace") return "trace+";
  return value === lowest ? "" : `${value}+`;
}

/**
 * @param {unknown} value
 * @returns {string[]}
 */
function names(value) {
  if (value === undefined || value === "*") return [];
  return Array.isArray(value) ? [value.join("|")] : [String(value)];
}

/**
 * @param {unknown} pattern
 * @param {string} prefix
 * @returns {string[]}
 */
function conditions(pattern, prefix) {
  if (pattern === null || typeof pattern !== "object") return [];
  return Object.entries(pattern).flatMap(([key, value]) => {
    const path = prefix + key;
    if (!Array.isArray(value)) return conditions(value, `${path}.`);
    const isPlain = value.every((each) => each === null || typeof each !== "object");
    return [isPlain ? `${path}=${value.join("|")}` : `${path}: ${JSON.stringify(value)}`];
  });
}
