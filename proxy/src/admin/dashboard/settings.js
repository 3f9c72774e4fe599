// Every live setting: what it is, where it comes from, and a field for another value.

import { because, change, confirm, el, fill, read, shown } from "./api.js";

let schema = null;
let view = null;
/** Values that the user has put in, by path, as text. */
const wanted = new Map();
let done = () => {};

/** What the schema says of a path. */
function meaning(path) {
  return path.split(".").reduce((at, name) => at?.properties?.[name] ?? at?.additionalProperties, schema) ?? {};
}

/** Single settings with their paths, those without a value too; servers have their own table. */
function leaves(value, path = "") {
  const known = Object.keys((path ? meaning(path) : schema).properties ?? {});
  const names = [...Object.keys(value), ...known.filter((name) => !(name in value))];
  return names.flatMap((name) => {
    const [here, inner] = [path ? `${path}.${name}` : name, value[name] ?? null];
    if (name === "servers") return [];
    return inner !== null && typeof inner === "object" && !Array.isArray(inner) ? leaves(inner, here) : [[here, inner]];
  });
}

/** What is allowed, in a few words. */
function allowed(about) {
  if (about.enum) return about.enum.join(", ");
  if (about.type === "integer") return `${about.minimum} to ${about.maximum}`;
  if (about.type === "boolean") return "true, false";
  return about["x-weir-range"] ?? about["x-weir-allowed"] ?? (about.pattern?.includes("r/") ? "such as 10r/s, 600r/m" : "");
}

/** A text as the JSON value that the setting takes. */
function parsed(text, about) {
  if (text === "") return null;
  if (about.type === "integer") return /^-?\d+$/.test(text) ? Number(text) : text;
  if (about.type === "boolean") return text === "true" ? true : text === "false" ? false : text;
  if (about.type === "array") return text.split(",").map((item) => item.trim()).filter(Boolean);
  return text;
}

const asText = (value) => (Array.isArray(value) ? value.join(", ") : shown(value ?? ""));

/** The patch that the user's values make. */
function patch() {
  const out = {};
  for (const [path, text] of wanted) {
    const names = path.split(".");
    const leaf = names.pop();
    const table = names.reduce((at, name) => (at[name] ??= {}), out);
    table[leaf] = parsed(text, meaning(path));
  }
  return out;
}

function buttons() {
  const count = wanted.size;
  const preview = document.getElementById("preview");
  preview.disabled = document.getElementById("forget").disabled = count === 0;
  preview.textContent = count ? `Preview ${count} change${count > 1 ? "s" : ""}` : "Preview changes";
}

function field(path, value, about) {
  const now = wanted.get(path) ?? asText(value);
  const changed = (event) => {
    const text = event.target.value.trim();
    if (text === asText(value)) wanted.delete(path);
    else wanted.set(path, text);
    event.target.closest("tr").classList.toggle("changed", wanted.has(path));
    buttons();
  };
  const words = about.enum ?? (about.type === "boolean" ? ["true", "false"] : null);
  const common = { id: `set-${path}`, "aria-label": path, oninput: changed };
  if (!words) return el("input", { ...common, value: now, title: about.default === undefined ? "" : `default ${asText(about.default)}` });
  return el("select", common, words.map((word) => el("option", { value: word, selected: word === now }, word)));
}

function draw() {
  const find = document.getElementById("find").value.trim().toLowerCase();
  const rows = leaves(view.effective).map(([path, value]) => [path, value, meaning(path)])
    .filter(([path, , about]) => !find || `${path} ${about["x-weir-nginx"] ?? ""} ${about.description ?? ""}`.toLowerCase().includes(find))
    .map(([path, value, about]) => {
      const source = view.sources[path];
      return el("tr", { class: wanted.has(path) ? "changed" : "" },
        el("td", {}, el("code", {}, path), el("div", { class: "dim" }, about.description ?? "")),
        el("td", {}, field(path, value, about), el("div", { class: "dim" }, allowed(about))),
        el("td", {}, el("code", {}, asText(value))),
        el("td", {}, source ? el("span", { class: "badge warn" }, source.startsWith("override") ? "override" : source) : el("span", { class: "dim" }, "file")),
        el("td", {}, el("code", {}, about["x-weir-nginx"] ?? "")));
    });
  fill("settings-table", [["setting"], ["new value"], ["in force"], ["from"], ["nginx"]], rows, "No setting like that.");
}

async function preview() {
  const made = await confirm("Change settings", (dry, ttl, why) => {
    const more = dry ? { dry_run: "true" } : {};
    if (!ttl) return change("PATCH", `/v1/settings${because(why, more)}`, patch());
    const body = { settings: patch(), ttl, owner: "dashboard", reason: why };
    return change("POST", `/v1/overrides${because(why, more)}`, body);
  }, { timed: true });
  if (made) {
    wanted.clear();
    buttons();
    done();
  }
}

function save() {
  const show = (view) => el("div", {},
    el("p", {}, view.text_diff ? `${view.file} will change:` : `${view.file} says all of it already.`),
    view.text_diff ? el("pre", {}, view.text_diff) : null);
  return confirm("Save to the configuration file", (dry, _, why) =>
    change("POST", `/v1/settings/save${because(why, dry ? { dry_run: "true" } : {})}`), { show }).then(done);
}

/** Wires the controls; `after` is called when something was changed. */
export async function begin(after) {
  done = after;
  schema = await read("/v1/schema");
  document.getElementById("find").addEventListener("input", draw);
  document.getElementById("preview").addEventListener("click", preview);
  document.getElementById("save").addEventListener("click", save);
  document.getElementById("forget").addEventListener("click", () => { wanted.clear(); buttons(); draw(); });
}

export async function refresh() {
  view = await read("/v1/settings");
  draw();
}
