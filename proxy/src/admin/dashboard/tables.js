// Servers, limits, overrides and revisions.

import { because, change, confirm, el, fill, number, read, shown } from "./api.js";

const STATES = { up: "good", failed: "bad", unhealthy: "bad", full: "warn", down: "dim" };

/** Sets one server's fields, after showing what that changes. */
function setServer(title, upstream, address, fields, after) {
  const path = `/v1/upstreams/${encodeURIComponent(upstream)}/servers/${encodeURIComponent(address)}`;
  return confirm(title, (dry, _, why) => change("PATCH", path + because(why, dry ? { dry_run: "true" } : {}), fields)).then(after);
}

/** The last health check of a server, in words. */
function check(server) {
  const told = server.check;
  if (!told) return el("td", { class: "dim" }, "–");
  if (!told.last) return el("td", { class: "dim" }, "none yet");
  const passed = told.last.result === "passed";
  const row = told.against ? `, ${told.against} ${told.state === "out" ? "passed" : "failed"} in a row` : "";
  return el("td", {},
    el("span", { class: passed ? "" : "bad" }, told.last.why),
    el("small", { class: "dim" }, ` ${number(told.last.ms_ago / 1000, 1)} s ago${row}`));
}

export function servers(view, after) {
  const rows = view.upstreams.flatMap((upstream) => upstream.servers.map((server, n) => {
    const down = server.state === "down";
    const title = down ? `Put ${server.address} back` : `Drain ${server.address}`;
    const button = el("button", {
      type: "button",
      id: `server-${upstream.name}-${n}`,
      onclick: () => setServer(title, upstream.name, server.name, { down: !down }, after),
    }, down ? "Put back" : "Drain");
    return el("tr", {},
      el("td", {}, upstream.name),
      el("td", {}, el("code", {}, server.name === server.address ? server.address : `${server.name} (${server.address})`)),
      el("td", {}, el("span", { class: `badge ${STATES[server.state] ?? ""}` }, server.state)),
      el("td", { class: "n" }, number(server.in_flight)),
      el("td", { class: "n" }, number(server.connections?.idle)),
      el("td", { class: "n" }, number(server.weight)),
      el("td", { class: "n" }, number(server.requests)),
      el("td", { class: "n" }, number(server.failures)),
      check(server),
      el("td", {}, button));
  }));
  fill("servers-table", [["upstream"], ["server"], ["state"], ["in flight", "n"], ["idle", "n"], ["weight", "n"], ["requests", "n"], ["failures", "n"], ["last check"], [""]], rows, "No upstream.");
}

let last = null;

export function limits(view) {
  const now = performance.now();
  const seconds = last ? (now - last.now) / 1000 : 0;
  const rows = view.limits.map((limit) => {
    const before = last?.counts[limit.name];
    const cell = (kind, colour) => {
      const rate = before && seconds > 0 ? (limit.counts[kind] - before[kind]) / seconds : 0;
      return el("td", { class: `n ${rate > 0 ? colour : ""}` }, number(limit.counts[kind]), el("small", { class: "dim" }, ` ${number(Math.max(rate, 0), 1)}/s`));
    };
    const top = limit.top.slice(0, 3).map((key) => `${key.key} +${number(key.excess, 1)}`).join(", ");
    return el("tr", {},
      el("td", {}, limit.name),
      el("td", {}, el("span", { class: `badge ${limit.enabled ? "good" : "dim"}` }, limit.enabled ? "on" : "off")),
      cell("admitted", "good"), cell("delayed", "warn"), cell("rejected", "bad"),
      el("td", { class: "n" }, `${number(limit.counts.keys)} of ${number(limit.counts.max_keys)}`),
      el("td", {}, el("code", {}, top || "–")));
  });
  last = { now, counts: Object.fromEntries(view.limits.map((limit) => [limit.name, limit.counts])) };
  fill("limits-table", [["limit"], [""], ["admitted", "n"], ["delayed", "n"], ["rejected", "n"], ["keys", "n"], ["fullest buckets"]], rows, "No rate limit.");
}

/** How long until a time, in words. */
function remaining(until) {
  const seconds = Math.max(0, Math.round((Date.parse(until) - Date.now()) / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}

export function overrides(view, after) {
  const rows = view.overrides.map((one) => {
    const end = () => change("DELETE", `/v1/overrides/${one.id}${because("put back on the dashboard")}`).then(after);
    const what = Object.entries(one.settings).map(([path, value]) => el("div", {}, el("code", {}, `${path} = ${shown(value)}`)));
    return el("tr", {},
      el("td", {}, what),
      el("td", {}, one.owner), el("td", {}, one.reason),
      el("td", { class: "n" }, remaining(one.expires_at)),
      el("td", {}, el("button", { type: "button", id: `end-${one.id}`, onclick: end }, "Put back now")));
  });
  fill("overrides-table", [["holds"], ["owner"], ["why"], ["goes back in", "n"], [""]], rows, "None: every setting is what the file and lasting changes say.");
}

export async function revisions(after) {
  const view = await read("/v1/revisions?limit=15");
  const rows = view.revisions.map((one) => {
    const back = () => confirm(`Back to revision ${one.revision}`, (dry, _, why) =>
      change("POST", `/v1/revisions/${one.revision}/rollback${because(why, dry ? { dry_run: "true" } : {})}`)).then(after);
    const current = one.revision === view.revision;
    return el("tr", {},
      el("td", { class: "n" }, String(one.revision)),
      el("td", {}, el("time", { datetime: one.at }, new Date(one.at).toLocaleString())),
      el("td", {}, one.who), el("td", {}, one.why),
      el("td", {}, one.diff.map((d) => el("div", {}, el("code", {}, `${d.path}: ${shown(d.old)} → ${shown(d.new)}`)))),
      el("td", {}, current ? el("span", { class: "badge good" }, "in force") : el("button", { type: "button", id: `back-${one.revision}`, onclick: back }, "Go back")));
  });
  fill("revisions-table", [["#", "n"], ["when"], ["who"], ["why"], ["what"], [""]], rows, "None.");
}
