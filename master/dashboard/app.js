// The dashboard: nodes, runs, one run with its tasks, live log and results. Reads only the HTTP API that
// /openapi.json describes. Everything from the API is set as text, never as HTML.

const page = /** @type {HTMLElement} */ (document.getElementById("page"));
const note = /** @type {HTMLElement} */ (document.getElementById("note"));
const refreshMs = 2000;
const logLinesKept = 2000;

/** Ends what the page that is shown has started. */
let leaving = new AbortController();

/** @param {string} path @param {RequestInit} [init] @returns {Promise<Response>} */
async function api(path, init = {}) {
  const token = sessionStorage.getItem("token");
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(path, { signal: leaving.signal, ...init, headers });
  if (response.status === 401) {
    await askToken();
    return api(path, init);
  }
  if (!response.ok) {
    const { error } = await response.json();
    throw new Error(`${error.message}. ${error.remedy}`);
  }
  return response;
}

/** @type {Promise<void> | undefined} */
let asking;
function askToken() {
  asking ??= new Promise((resolve) => {
    const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("token-dialog"));
    const input = /** @type {HTMLInputElement} */ (document.getElementById("token"));
    input.value = "";
    const take = () => {
      if (input.value === "") {
        dialog.showModal();
        return;
      }
      dialog.removeEventListener("close", take);
      sessionStorage.setItem("token", input.value);
      asking = undefined;
      resolve(undefined);
    };
    dialog.addEventListener("close", take);
    dialog.showModal();
  });
  return asking;
}

/** @param {string} tag @param {Record<string, string>} [attributes] @param {...(Node | string)} children */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** @param {string[]} head @param {(Node | string)[][]} rows @param {string} empty */
function table(head, rows, empty) {
  if (rows.length === 0) return make("p", { class: "empty" }, empty);
  const titles = head.map((title) => make("th", { scope: "col" }, title));
  const body = rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))));
  return make(
    "div",
    { class: "wide" },
    make("table", {}, make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...body)),
  );
}

const colours = new Map([
  ...["alive", "succeeded", "verified"].map((word) => /** @type {const} */ ([word, "good"])),
  ...["late", "retrying", "cancelled", "lost", "arriving"].map(
    (word) => /** @type {const} */ ([word, "warn"]),
  ),
  ...["failed", "refused", "corrupt"].map((word) => /** @type {const} */ ([word, "bad"])),
]);

/** @param {string} word @param {string} [more] */
function state(word, more = "") {
  return make("span", { class: `state ${colours.get(word) ?? "soft"}` }, `${word}${more}`);
}

/** @param {number | undefined} time */
function when(time) {
  if (time === undefined) return "-";
  return make("time", { datetime: new Date(time).toISOString() }, new Date(time).toLocaleString());
}

/** @param {number | undefined} ms */
function took(ms) {
  if (ms === undefined) return "-";
  return ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** @param {any} run */
function runState(run) {
  if (run.outcome !== undefined) return state(run.outcome.kind);
  return state(
    run.state,
    run.nodeState === "lost" && run.state === "running" ? " (node lost)" : "",
  );
}

/** @param {{finished: number, total: number}} progress */
function bar({ finished, total }) {
  const attributes = { max: String(Math.max(total, 1)), value: String(finished) };
  return make("span", {}, make("progress", attributes), ` ${finished}/${total}`);
}

/** @param {string} run */
const runLink = (run) => make("a", { href: `#/runs/${encodeURIComponent(run)}` }, run);

async function showRuns() {
  const { runs } = await (await api("/api/runs?limit=100")).json();
  page.replaceChildren(
    make("h1", {}, "Runs"),
    table(
      ["Run", "DAG", "Node", "State", "Tasks", "Created", "Took"],
      runs.map((/** @type {any} */ run) => [
        runLink(run.id),
        run.dag,
        run.node ?? "any",
        runState(run),
        bar(run.progress),
        when(run.createdAt),
        took(run.summary?.wallMs),
      ]),
      "No runs yet. edgedag submit dag.yaml --any queues one.",
    ),
  );
}

async function showNodes() {
  const { nodes } = await (await api("/api/nodes")).json();
  page.replaceChildren(
    make("h1", {}, "Nodes"),
    table(
      ["Node", "State", "Activity", "Last seen", "Platform", "Runtimes", "Outbox"],
      nodes.map((/** @type {any} */ node) => [
        node.id,
        state(node.state),
        node.connected ? (node.activity ?? "connected") : "not connected",
        when(node.lastSeenAt),
        `${node.capabilities.os}/${node.capabilities.architecture}, ${node.capabilities.cores} cores`,
        Object.entries(node.capabilities.languages)
          .map(([name, version]) => `${name} ${version}`)
          .join(", "),
        String(node.outbox ?? "-"),
      ]),
      "No node has ever connected. Start edgedag agent with EDGEDAG_MASTER set to this address.",
    ),
  );
}

/** @param {any} task */
function taskState(task) {
  const { outcome } = task;
  if (outcome === undefined || task.state !== "finished") return state(task.state);
  const why = outcome.failure?.reason ?? outcome.because ?? outcome.by;
  return state(outcome.kind, why === undefined ? "" : `: ${why}`);
}

/** @param {string} id */
function runPage(id) {
  const path = `/api/runs/${encodeURIComponent(id)}`;
  const top = make("section");
  const tasks = make("section");
  const results = make("section");
  const text = make("pre", { tabindex: "0", "aria-label": "log" });
  page.replaceChildren(top, make("h2", {}, "Tasks"), tasks, make("h2", {}, "Log"), text, results);
  followLog(path, text).catch(report);
  let isOver = false;

  return async () => {
    if (isOver) return;
    const run = await (await api(path)).json();
    isOver = ["finished", "refused", "lost"].includes(run.state);
    const cancel = make("button", { type: "button" }, "Cancel");
    cancel.addEventListener("click", () => {
      api(`${path}/cancel`, { method: "POST" }).catch(report);
    });
    const where =
      run.node === undefined ? "any node" : `${run.node} (${run.nodeState ?? "unknown"})`;
    top.replaceChildren(
      make("h1", {}, `${run.dag} `, runState(run)),
      make("p", { class: "facts" }, `${run.id} on ${where} `, bar(run.progress)),
      ...(run.waitsBecause === undefined ? [] : [make("p", {}, `Waits: ${run.waitsBecause}`)]),
      ...(isOver ? [] : [cancel]),
    );
    tasks.replaceChildren(
      table(
        ["Task", "State", "Attempts", "Took", "Progress"],
        run.tasks.map((/** @type {any} */ task) => [
          task.task,
          taskState(task),
          String(task.attempts.length),
          took(task.facts?.wallMs),
          task.progress === undefined || task.state === "finished"
            ? ""
            : `${Math.round(task.progress.fraction * 100)}% ${task.progress.text ?? ""}`,
        ]),
        "No task was heard of yet.",
      ),
    );
    if (isOver) await showResults(path, results);
  };
}

/** @param {string} path @param {HTMLElement} section */
async function showResults(path, section) {
  const { results } = await (await api(`${path}/results`)).json();
  const { artifacts } = await (await api(`${path}/artifacts`)).json();
  section.replaceChildren(
    make("h2", {}, "Results"),
    table(
      ["Task", "Result"],
      results
        .filter(
          (/** @type {any} */ result) => result.value !== undefined || result.large || result.items,
        )
        .map((/** @type {any} */ result) => [result.task, make("code", {}, resultText(result))]),
      "No task gave a result.",
    ),
    make("h2", {}, "Artifacts"),
    table(
      ["Task", "Name", "Bytes", "State", ""],
      artifacts.map((/** @type {any} */ artifact) => [
        artifact.task,
        artifact.name,
        String(artifact.sizeBytes),
        state(artifact.state),
        downloadButton(path, artifact),
      ]),
      "No task left an artifact.",
    ),
  );
}

/** @param {any} result */
function resultText(result) {
  if (result.large !== undefined) return `${result.large.sizeBytes} bytes`;
  const value = result.items?.map((/** @type {any} */ item) => item.value ?? null) ?? result.value;
  const text = JSON.stringify(value);
  return text.length > 1000 ? `${text.slice(0, 1000)}...` : text;
}

/** A plain link could not carry the token. @param {string} path @param {any} artifact */
function downloadButton(path, { task, name }) {
  const button = make("button", { type: "button" }, "Download");
  button.addEventListener("click", async () => {
    try {
      const where = `${encodeURIComponent(task)}/${encodeURIComponent(name)}`;
      const response = await api(`${path}/artifacts/${where}`);
      const href = URL.createObjectURL(await response.blob());
      make("a", { href, download: name.split("/").at(-1) ?? name }).click();
      URL.revokeObjectURL(href);
    } catch (error) {
      report(error);
    }
  });
  return button;
}

/** @param {string} path @param {HTMLElement} text */
async function followLog(path, text) {
  const response = await api(`${path}/log?follow=true`);
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    const isAtEnd = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
    text.append(...lines.slice(-logLinesKept).map(logLine));
    while (text.childNodes.length > logLinesKept) text.firstChild?.remove();
    if (isAtEnd) text.scrollTop = text.scrollHeight;
  }
}

/** @param {string} json */
function logLine(json) {
  const line = JSON.parse(json);
  const time = new Date(line.time).toISOString().slice(11, 23);
  const who = line.task === undefined ? "agent" : `${line.task}#${line.attempt ?? 1}`;
  const colour = ["error", "fatal"].includes(line.level)
    ? "bad"
    : line.level === "warn"
      ? "warn"
      : "";
  const what = line.text ?? "(binary)";
  return make("span", colour === "" ? {} : { class: colour }, `${time} ${who} | ${what}\n`);
}

/** @param {unknown} error */
function report(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  note.textContent = error instanceof Error ? error.message : String(error);
}

async function route() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  page.replaceChildren();
  const [, kind, id] = location.hash.split("/");
  const show =
    kind === "nodes"
      ? showNodes
      : kind === "runs" && id !== undefined
        ? runPage(decodeURIComponent(id))
        : showRuns;
  while (!signal.aborted) {
    try {
      await show();
      note.textContent = "";
    } catch (error) {
      report(error);
    }
    await new Promise((resolve) => setTimeout(resolve, refreshMs));
  }
}

addEventListener("hashchange", () => {
  route().catch(report);
});
route().catch(report);
