// Requests to the admin API, and small things that every part of the page uses.

const TOKEN = "weir-token";

/** An answer that is not a success. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail.message);
    this.status = status;
    this.detail = detail;
  }
}

let asking = null;

/** Asks for a token; several requests that need one wait for the same answer. */
function askToken() {
  if (asking) return asking;
  const dialog = document.getElementById("token-dialog");
  const input = document.getElementById("token");
  asking = new Promise((done) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(TOKEN, input.value.trim());
      input.value = "";
      asking = null;
      done();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

/** Makes a request; gives the response when it is a success. */
export async function request(method, path, body, headers = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    if (token) headers.Authorization = `Bearer ${token}`;
    const init = { method, headers: { ...headers }, cache: "no-store" };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers["Content-Type"] = "application/json";
    }
    const response = await fetch(path, init);
    if (response.ok) return response;
    const detail = (await response.json().catch(() => ({})))?.error ?? { message: `${path} answers ${response.status}` };
    if (response.status !== 401) throw new Refused(response.status, detail);
    sessionStorage.removeItem(TOKEN);
    delete headers.Authorization;
    await askToken();
  }
}

export const read = async (path) => (await request("GET", path)).json();
export const change = async (method, path, body) => (await request(method, path, body)).json();

/** The query that says who and why. */
export function because(why, more = {}) {
  const query = new URLSearchParams({ who: "dashboard", ...more });
  if (why) query.set("why", why);
  return `?${query}`;
}

/** An element with attributes (on… are listeners) and children; texts are texts, never markup. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (typeof value === "boolean") made.toggleAttribute(key, value);
    else if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return made;
}

/** Replaces the rows of a table; an empty one says so. The focus stays where it was, by the element's id. */
export function fill(id, heads, rows, none) {
  const table = document.getElementById(id);
  const focused = table.contains(document.activeElement) ? document.activeElement.id : "";
  const head = el("tr", {}, heads.map(([text, kind]) => el("th", { scope: "col", class: kind }, text)));
  const body = rows.length ? rows : [el("tr", {}, el("td", { colspan: heads.length, class: "dim" }, none))];
  table.replaceChildren(el("thead", {}, head), el("tbody", {}, body));
  if (focused) document.getElementById(focused)?.focus();
}

export const number = (value, digits = 0) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });

/** A value as the settings have it, short. */
export const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** The lines of a difference. */
export const difference = (diff) =>
  el("ul", { class: "diff" }, diff.length
    ? diff.map((one) => el("li", {}, el("code", {}, one.path), " ", el("del", {}, shown(one.old)), " → ", el("ins", {}, shown(one.new))))
    : el("li", { class: "dim" }, "Nothing would be different."));

/**
 * Shows what a change would do and makes it when the user says so. `attempt(dryRun, ttl, why)` makes the
 * request; `timed` says whether it can be made for a time.
 */
export async function confirm(title, attempt, { timed = false, show = (done) => difference(done.diff) } = {}) {
  const dialog = document.getElementById("change-dialog");
  const get = (id) => document.getElementById(id);
  get("change-title").textContent = title;
  get("change-how").querySelector("label").hidden = !timed;
  get("change-wrong").textContent = "";
  get("why").value = "";
  const apply = get("change-apply");
  const preview = async () => {
    try {
      get("change-what").replaceChildren(show(await attempt(true, timed ? get("ttl").value : "", "")));
      apply.disabled = false;
    } catch (error) {
      get("change-what").replaceChildren();
      get("change-wrong").textContent = error.message;
      apply.disabled = true;
    }
  };
  await preview();
  return new Promise((done) => {
    const finish = (result) => {
      apply.onclick = get("change-cancel").onclick = dialog.oncancel = null;
      if (dialog.open) dialog.close();
      done(result);
    };
    get("change-cancel").onclick = () => finish(null);
    dialog.oncancel = () => finish(null);
    apply.onclick = async () => {
      apply.disabled = true;
      try {
        finish(await attempt(false, timed ? get("ttl").value : "", get("why").value));
      } catch (error) {
        get("change-wrong").textContent = error.message;
        apply.disabled = false;
      }
    };
    dialog.showModal();
  });
}
