// The page's clock: what is looked at every second, and what only when the settings have changed.

import { el, number, read, request } from "./api.js";
import * as settings from "./settings.js";
import * as tables from "./tables.js";

const CHARTS = ["rate", "latency", "load", "process"];
let revision = null;

function tile(name, value, unit, colour = "") {
  return el("div", {}, el("dt", {}, name), el("dd", { class: colour }, value, el("small", {}, unit ? ` ${unit}` : "")));
}

function tiles(now) {
  if (!now) return;
  const errors = now.requests_per_s > 0 ? (100 * now.server_errors_per_s) / now.requests_per_s : 0;
  document.getElementById("tiles").replaceChildren(
    tile("requests", number(now.requests_per_s, 1), "/s"),
    tile("p50", number(now.p50_ms, 2), "ms"), tile("p95", number(now.p95_ms, 2), "ms"), tile("p99", number(now.p99_ms, 2), "ms"),
    tile("server errors", number(errors, 2), "%", errors > 1 ? "bad" : ""),
    tile("limited", number(now.limited_per_s, 1), "/s", now.limited_per_s > 0 ? "warn" : ""),
    tile("in flight", number(now.in_flight)), tile("client connections", number(now.client_connections)),
    tile("CPU", number(now.cpu_percent), "% of a core"), tile("memory", number(now.memory_bytes / 1048576, 1), "MiB"));
}

async function chart(name) {
  const seconds = window.innerWidth < 640 ? 120 : 300;
  // Drawn by the proxy, from numbers only.
  document.getElementById(`chart-${name}`).innerHTML = await (await request("GET", `/v1/charts/${name}?seconds=${seconds}`)).text();
}

async function look() {
  const [history, upstreams, limits, overrides] = await Promise.all(
    ["/v1/history?seconds=1", "/v1/upstreams", "/v1/limits", "/v1/overrides"].map(read));
  tiles(history.moments.at(-1));
  tables.servers(upstreams, look);
  tables.limits(limits);
  tables.overrides(overrides, look);
  await Promise.all(CHARTS.map(chart));
  if (history.revision !== revision) {
    revision = history.revision;
    document.getElementById("revision").textContent = String(revision);
    await Promise.all([settings.refresh(), tables.revisions(look)]);
  }
  const ready = await fetch("/readyz", { cache: "no-store" });
  const phase = document.getElementById("phase");
  phase.textContent = (await ready.text()).trim();
  phase.className = `badge ${ready.ok ? "good" : "warn"}`;
}

async function run() {
  document.getElementById("node").textContent = location.host;
  const trouble = document.getElementById("trouble");
  let begun = false;
  for (;;) {
    try {
      if (!begun) {
        await settings.begin(look);
        begun = true;
      }
      await look();
      trouble.hidden = true;
    } catch (error) {
      trouble.textContent = error.message === "Failed to fetch" ? "The proxy does not answer; trying again." : error.message;
      trouble.hidden = false;
    }
    await new Promise((next) => setTimeout(next, 1000));
  }
}

run();
