// The dashboard: runs, nodes, one run with its tasks, live log, results and artifacts. Reads only the
// HTTP API that /openapi.json describes. What comes from users is set as text, never as HTML; pictures
// of theirs are shown by <img> alone, where nothing in them can run or load.

/**
 * Of the API's answers, what is shown here.
 * @typedef {{kind: string, failure?: {reason: string, detail?: string, trace?: string}, because?: string, by?: string, failed?: string[]}} Outcome
 * @typedef {{wallMs?: number, startedAt?: number, maxRssBytes?: number, peakMemoryBytes?: number, cpuUserMs?: number, cpuSystemMs?: number, exitCode?: number, signal?: string}} Facts
 * @typedef {{attempt: number, state: string, time: number, outcome?: Outcome, facts?: Facts}} Attempt
 * @typedef {{task: string, state: string, outcome?: Outcome, facts?: Facts, progress?: {fraction: number, text?: string}, attempts: Attempt[]}} Task
 * @typedef {{finished: number, failed: number, total: number, running: number}} Progress
 * @typedef {{id: string, dag: string, state: string, node?: string, nodeState?: string, outcome?: Outcome, progress: Progress, createdAt: number, startedAt?: number, finishedAt?: number, summary?: {wallMs: number}, params?: object, cancel?: string, waitsBecause?: string, refusals: {node: string, code: string, detail: string}[], tasks: Task[]}} Run
 * @typedef {{task: string, name: string, sizeBytes: number, state: string, sha256: string}} Artifact
 * @typedef {{task: string, value?: unknown, large?: {sizeBytes: number, state: string}, items?: Result[]}} Result
 * @typedef {{seq: number, time: number, source: string, level: string, task?: string, attempt?: number, stream?: string, text?: string, base64?: string, cut?: true, fields?: object}} LogLine
 * @typedef {(signal: AbortSignal) => () => Promise<void>} Page Builds a page; what it gives refreshes it.
 */

const refreshMs = 2000;
const refreshMostMs = 10_000;
const logLinesKept = 2000;
const runsStep = 100;
const runsMost = 1000;
const itemsShown = 500;
const previewLimitBytes = 1024 * 1024;
const textLimit = 50_000;
const picturesShown = 12;

/** @param {string} id @returns {any} The type is that of the element in index.html. */
const byId = (id) => document.getElementById(id);
/** @type {HTMLElement} */
const page = byId("page");
/** @type {HTMLElement} */
const note = byId("note");

/** What buttons could not do; it stays until the next click, the note only until the next refresh. @type {HTMLElement} */
const problem = byId("problem");

// ---- the API ----

class ApiError extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** @param {string} path @param {AbortSignal} signal @param {string} [method] @returns {Promise<Response>} */
async function api(path, signal, method = "GET") {
  const token = sessionStorage.getItem("token");
  const headers = new Headers(token === null ? [] : [["authorization", `Bearer ${token}`]]);
  const response = await fetch(path, { method, signal, headers });
  if (response.status === 401) {
    // Another call may have been given a token in the meantime.
    if (token === sessionStorage.getItem("token")) await askToken(token !== null);
    signal.throwIfAborted();
    return api(path, signal, method);
  }
  // Also of one whose role is not enough: it can be exchanged.
  byId("forget").hidden = token === null;
  if (!response.ok) throw new ApiError(await sentence(response), response.status);
  return response;
}

/** @param {Response} response */
async function sentence(response) {
  try {
    const { error } = await response.json();
    return `${error.message}. ${error.remedy}`;
  } catch {
    return `${response.url} answered ${response.status}`; // Not by the master: a proxy between us.
  }
}

/** @type {Promise<void> | undefined} */
let asking;
/** @param {boolean} isWrong */
function askToken(isWrong) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("token-dialog");
    const input = byId("token");
    byId("token-wrong").hidden = !isWrong;
    input.value = "";
    const take = () => {
      if (input.value === "") {
        dialog.showModal();
        return;
      }
      dialog.removeEventListener("close", take);
      sessionStorage.setItem("token", input.value);
      input.value = "";
      asking = undefined;
      resolve(undefined);
    };
    dialog.addEventListener("close", take);
    dialog.showModal();
  });
  return asking;
}

/** @param {unknown} error @param {HTMLElement} [place] */
function report(error, place = note) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  // What fetch throws when there is no answer at all.
  const isGone = error instanceof TypeError && /fetch|network/i.test(error.message);
  place.textContent = isGone
    ? `The master does not answer${place === note ? "; asking again" : ""}.`
    : error instanceof Error
      ? error.message
      : String(error);
}

// ---- elements ----

/** @param {string} tag @param {Record<string, string>} [attributes] @param {...(Node | string)} children */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * Makes the children of `host` look like `fresh` and keeps those that are there already, so that what
 * is opened, selected or focused stays so. Whatever listens to clicks stands in an element whose
 * `data-key` says what it acts on: elements of different keys are never taken for each other.
 * @param {Element} host @param {...(Node | string)} fresh
 */
function show(host, ...fresh) {
  /** @type {Map<string | null, ChildNode>} */
  const keyed = new Map();
  for (const child of host.children) keyed.set(keyOf(child), child);
  let at = host.firstChild;
  for (const item of fresh) {
    const child = typeof item === "string" ? document.createTextNode(item) : item;
    const key = keyOf(child);
    const old = key === null ? at : (keyed.get(key) ?? null);
    if (old === null || old.nodeName !== child.nodeName || keyOf(old) !== key) {
      host.insertBefore(child, at);
      continue;
    }
    if (old !== at) host.insertBefore(old, at);
    patch(old, child);
    at = old.nextSibling;
  }
  while (at !== null) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

/** @param {Node} node */
const keyOf = (node) => (node instanceof Element ? node.getAttribute("data-key") : null);

/** @param {Node} old @param {Node} fresh */
function patch(old, fresh) {
  if (!(old instanceof Element && fresh instanceof Element)) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  show(old, ...fresh.childNodes);
}

/** A row is its key and its cells. @param {string[]} head @param {[string, ...(Node | string)[]][]} rows @param {string} empty */
function table(head, rows, empty) {
  if (rows.length === 0) return make("p", { class: "empty" }, empty);
  const titles = head.map((title) => make("th", { scope: "col" }, title));
  const body = rows.map(([key, ...cells]) =>
    make(
      "tr",
      { "data-key": key, ...(key.includes("[") ? { class: "item" } : {}) },
      ...cells.map((cell, i) => make("td", { "data-label": head[i] ?? "" }, cell)),
    ),
  );
  return make(
    "div",
    { class: "wide" },
    make("table", {}, make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...body)),
  );
}

/** @param {string} text @param {() => unknown} act */
function button(text, act) {
  const element = make("button", { type: "button" }, text);
  element.addEventListener("click", async () => {
    problem.textContent = "";
    try {
      await act();
    } catch (error) {
      report(error, problem);
    }
  });
  return element;
}

/** @param {string} label @param {[string, string][]} options Value and text. */
function choice(label, options) {
  const select = document.createElement("select");
  select.setAttribute("aria-label", label);
  select.append(...options.map(([value, text]) => new Option(text, value)));
  return select;
}

/** @param {string} label */
function textInput(label) {
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = label;
  input.setAttribute("aria-label", label);
  return input;
}

// ---- words and numbers ----

const colours = new Map([
  ...["alive", "succeeded", "verified"].map((word) => /** @type {const} */ ([word, "good"])),
  ...["late", "retrying", "cancelled", "arriving"].map(
    (word) => /** @type {const} */ ([word, "warn"]),
  ),
  ...["failed", "refused", "corrupt", "lost", "revoked"].map(
    (word) => /** @type {const} */ ([word, "bad"]),
  ),
  ...["running"].map((word) => /** @type {const} */ ([word, "live"])),
]);

/** @param {string} word @param {string} [more] */
function state(word, more = "") {
  return make("span", { class: `state ${colours.get(word) ?? "soft"}` }, `${word}${more}`);
}

/** @param {number | undefined} time Unix milliseconds. */
function when(time) {
  if (time === undefined) return "-";
  const date = new Date(time);
  const isToday = date.toDateString() === new Date().toDateString();
  const text = isToday
    ? date.toLocaleTimeString()
    : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  return make("time", { datetime: date.toISOString(), title: date.toString() }, text);
}

/** @param {number | undefined} ms */
function took(ms) {
  if (ms === undefined) return "-";
  if (ms < 1) return `${ms.toFixed(2)}\u00a0ms`;
  if (ms < 10) return `${ms.toFixed(1)}\u00a0ms`;
  if (ms < 1000) return `${Math.round(ms)}\u00a0ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)}\u00a0s`;
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}\u00a0min\u00a0${seconds % 60}\u00a0s`;
  return `${Math.floor(minutes / 60)}\u00a0h\u00a0${minutes % 60}\u00a0min`;
}

/** @param {number | undefined} bytes */
function size(bytes) {
  if (bytes === undefined) return "-";
  if (bytes < 1024) return `${bytes}\u00a0B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = "B";
  while (value >= 1024 && units.length > 0) {
    value /= 1024;
    unit = units.shift() ?? unit;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)}\u00a0${unit}`;
}

/** @param {string[]} words */
const few = (words) =>
  words.length <= 3
    ? words.join(", ")
    : `${words.slice(0, 3).join(", ")} and ${words.length - 3} more`;

/** @param {Run} run */
function runState(run) {
  const { outcome } = run;
  if (outcome?.failed !== undefined) return state(outcome.kind, `: ${few(outcome.failed)}`);
  if (outcome !== undefined) {
    return state(outcome.kind, outcome.by === undefined ? "" : ` by ${outcome.by}`);
  }
  if (run.state !== "running") return state(run.state);
  const hasDoubt = run.nodeState === "lost" || run.nodeState === "late";
  return state(run.state, hasDoubt ? ` (node ${run.nodeState})` : "");
}

/** @param {Run} run */
function bar({ progress: { finished, failed, running, total }, outcome, state: word }) {
  const colour = colours.get(outcome?.kind ?? word) ?? "soft";
  const attributes = { max: String(Math.max(total, 1)), value: String(finished), class: colour };
  return make(
    "span",
    { class: "bar" },
    make("progress", attributes),
    ` ${finished}/${total}`,
    ...(failed === 0 ? [] : [", ", make("span", { class: "bad" }, `${failed} failed`)]),
    ...(running === 0 ? [] : [`, ${running} running`]),
  );
}

/** @param {string} kind @param {string} id */
const link = (kind, id) => make("a", { href: `#/${kind}/${encodeURIComponent(id)}` }, id);

// ---- pages: runs, nodes, one node ----

/** @param {Run[]} runs @param {string} empty */
function runTable(runs, empty) {
  return table(
    ["Run", "DAG", "Node", "State", "Tasks", "Created", "Took"],
    runs.map((run) => [
      run.id,
      link("runs", run.id),
      run.dag,
      run.node === undefined ? "any" : link("nodes", run.node),
      runState(run),
      bar(run),
      when(run.createdAt),
      took(run.summary?.wallMs),
    ]),
    empty,
  );
}

/** @type {Page} */
function runsPage(signal) {
  const states = ["queued", "running", "finished", "refused", "lost"];
  const chosen = choice("State", [
    ["", "every state"],
    ...states.map((word) => /** @type {[string, string]} */ ([word, word])),
  ]);
  const dag = textInput("DAG's name");
  const list = make("section");
  let limit = runsStep;
  const more = button("Show older", () => {
    limit = Math.min(limit + runsStep, runsMost);
    return refresh();
  });
  more.hidden = true;
  page.replaceChildren(
    make("h1", {}, "Runs"),
    make("div", { class: "tools" }, chosen, dag),
    list,
    more,
  );
  const refresh = async () => {
    const query = new URLSearchParams({ limit: String(limit) });
    if (chosen.value !== "") query.set("state", chosen.value);
    if (dag.value !== "") query.set("dag", dag.value);
    const { runs } = await (await api(`/api/runs?${query}`, signal)).json();
    const isAll = chosen.value === "" && dag.value === "";
    show(
      list,
      runTable(runs, isAll ? "No runs yet. edgedag submit dag.yaml --any queues one." : "None."),
    );
    more.hidden = runs.length < limit || limit === runsMost;
  };
  for (const control of [chosen, dag]) {
    control.addEventListener("change", () => refresh().catch(report));
  }
  return refresh;
}

/** @param {any} node */
function platform({ capabilities }) {
  const { os, architecture, cores, memoryBytes } = capabilities;
  return `${os}, ${architecture}, ${cores} cores, ${size(memoryBytes)}`;
}

/** @param {any} node */
function runtimes({ capabilities }) {
  return Object.entries(capabilities.languages)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");
}

/** @param {any} node */
const activity = (node) => (node.connected ? (node.activity ?? "connected") : "not connected");

/** @type {Page} */
function nodesPage(signal) {
  const list = make("section");
  page.replaceChildren(make("h1", {}, "Nodes"), list);
  return async () => {
    const { nodes } = await (await api("/api/nodes", signal)).json();
    const rows = nodes.map((/** @type {any} */ node) => [
      node.id,
      link("nodes", node.id),
      state(node.revokedAt === undefined ? node.state : "revoked"),
      activity(node),
      when(node.lastSeenAt),
      platform(node),
      runtimes(node),
      String(node.outbox ?? "-"),
    ]);
    show(
      list,
      table(
        ["Node", "State", "Activity", "Last seen", "Platform", "Runtimes", "Outbox"],
        rows,
        "No node has ever connected. Start edgedag agent with EDGEDAG_MASTER set to this address.",
      ),
    );
  };
}

/** @param {string} id @returns {Page} */
const nodePage = (id) => (signal) => {
  const top = make("section");
  const runs = make("section");
  const events = make("section");
  page.replaceChildren(top, make("h2", {}, "Runs"), runs, make("h2", {}, "Events"), events);
  return async () => {
    const node = await (await api(`/api/nodes/${encodeURIComponent(id)}`, signal)).json();
    const query = new URLSearchParams({ node: id, limit: "20" });
    const found = await (await api(`/api/runs?${query}`, signal)).json();
    /** @type {[string, Node | string][]} */
    const facts = [
      ["Activity", activity(node)],
      ["Last seen", when(node.lastSeenAt)],
      ["First seen", when(node.firstSeenAt)],
      ["Platform", platform(node)],
      ["Runtimes", runtimes(node)],
      ["Agent", `${node.agentVersion}, ${node.wantsRuns ? "takes runs" : "takes no runs"}`],
      ["Slots", String(node.slots ?? "-")],
      ["Load", node.load?.toFixed(2) ?? "-"],
      ["Agent's memory", size(node.rssBytes)],
      ["Records held", String(node.outbox ?? "-")],
      ["Records missing", String(node.missingRecords)],
      ["Labels", few(Object.entries(node.labels).map(([name, text]) => `${name}=${text}`)) || "-"],
    ];
    show(
      top,
      make("h1", {}, `${node.id} `, state(node.revokedAt === undefined ? node.state : "revoked")),
      factList(facts),
    );
    show(runs, runTable(found.runs, "It had no run yet."));
    show(
      events,
      table(
        ["Time", "Event", "Detail"],
        node.events.map((/** @type {any} */ event) => [
          `${event.time} ${event.event}`,
          when(event.time),
          event.event,
          event.detail,
        ]),
        "None.",
      ),
    );
  };
};

/** @param {[string, Node | string][]} facts */
function factList(facts) {
  const pairs = facts.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value)),
  );
  return make("dl", { class: "facts" }, ...pairs);
}

// ---- page: one run ----

/** @param {string} id @returns {Page} */
const runPage = (id) => (signal) => {
  const path = `/api/runs/${encodeURIComponent(id)}`;
  const top = make("section");
  const cancel = button("Cancel run", async () => {
    if (!(await confirmed(`Cancel ${id}?`))) return;
    await api(`${path}/cancel`, signal, "POST");
    await refresh();
  });
  cancel.hidden = true;
  const tasks = taskSection();
  const results = make("section");
  const files = filesSection(path, signal);
  let isOver = false;
  const log = logSection(path, signal, () => isOver);
  page.replaceChildren(
    make("div", { class: "top" }, top, cancel),
    tasks.element,
    log,
    make("h2", {}, "Results"),
    results,
    make("h2", {}, "Artifacts"),
    files.element,
  );
  const loadResults = async () => {
    const found = await (await api(`${path}/results`, signal)).json();
    show(results, resultTable(path, signal, found.results));
  };
  let hasResults = false;
  const now = button("Show the results so far", () => {
    hasResults = true;
    return loadResults();
  });

  const refresh = async () => {
    if (isOver) return;
    /** @type {Run} */
    const run = await (await api(path, signal)).json();
    const isLast = ["finished", "refused"].includes(run.state);
    document.title = `${run.dag} ${run.outcome?.kind ?? run.state} - edgedag`;
    cancel.hidden = isLast || run.state === "lost" || run.cancel !== undefined;
    show(top, ...runHead(run));
    tasks.update(run, isLast);
    await files.update();
    if (isLast || hasResults) await loadResults();
    else if (results.childNodes.length === 0) show(results, now);
    isOver = isLast;
  };
  return refresh;
};

/** @param {Run} run */
function runHead(run) {
  const params = Object.entries(run.params ?? {});
  /** @type {[string, Node | string][]} */
  const facts = [
    ["Run", run.id],
    ["Node", run.node === undefined ? "any" : link("nodes", run.node)],
    ...(run.nodeState === undefined
      ? []
      : [/** @type {[string, Node]} */ (["Node is", state(run.nodeState)])]),
    ["Tasks", bar(run)],
    ["Created", when(run.createdAt)],
    ["Started", when(run.startedAt)],
    ["Took", took(run.summary?.wallMs)],
    ...params.map(
      ([name, value]) =>
        /** @type {[string, string]} */ ([`param ${name}`, short(JSON.stringify(value), 80)]),
    ),
  ];
  const words = [
    ...(run.waitsBecause === undefined ? [] : [`Waits: ${run.waitsBecause}.`]),
    ...(run.cancel !== undefined && run.outcome === undefined
      ? ["A cancel was asked for; the node has not ended the run yet."]
      : []),
    ...run.refusals.map(({ node, code, detail }) => `${node} refused it: ${code}, ${detail}`),
  ];
  return [
    make("h1", {}, `${run.dag} `, runState(run)),
    factList(facts),
    ...words.map((text) => make("p", {}, text)),
  ];
}

/** @param {string} question @returns {Promise<boolean>} */
function confirmed(question) {
  const dialog = byId("confirm-dialog");
  byId("confirm-text").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// ---- tasks: fan-outs are one row that opens ----

function taskSection() {
  const chosen = choice("State of tasks", [
    ["", "every state"],
    ...["running", "retrying", "succeeded", "failed", "skipped", "cancelled"].map(
      (word) => /** @type {[string, string]} */ ([word, word]),
    ),
  ]);
  const name = textInput("Task");
  const list = make("div");
  const opened = new Set();
  /** @type {() => void} */
  let draw = () => {};
  chosen.addEventListener("change", () => draw());
  name.addEventListener("input", () => draw());

  /** @param {Run} run @param {boolean} isOver */
  const update = (run, isOver) => {
    draw = () => {
      const isFiltered = chosen.value !== "" || name.value !== "";
      /** @param {Task} task */
      const fits = (task) =>
        (chosen.value === "" || wordOf(task) === chosen.value) && task.task.includes(name.value);
      const rows = [];
      let left = itemsShown;
      for (const { task, items } of groups(run.tasks)) {
        const found = isFiltered ? items.filter(fits) : items;
        const isOpen = isFiltered ? found.length > 0 : opened.has(task.task);
        if (isFiltered && found.length === 0 && !fits(task)) continue;
        rows.push(
          taskRow(task, items, isOpen, () => {
            if (!opened.delete(task.task)) opened.add(task.task);
            draw();
          }),
        );
        if (!isOpen) continue;
        rows.push(...found.slice(0, left).map((item) => taskRow(item, [], false)));
        left -= Math.min(found.length, left);
      }
      const unheard = Math.max(0, run.progress.total - run.tasks.length);
      show(
        list,
        table(
          ["Task", "State", "Attempts", "Took", "Memory", "Details"],
          rows,
          isFiltered ? "No task fits." : "No task was heard of yet.",
        ),
        ...(unheard > 0 && !isOver
          ? [make("p", { class: "soft" }, `Tasks that have not begun: ${unheard}.`)]
          : []),
        ...(left > 0 ? [] : [make("p", { class: "soft" }, `Only ${itemsShown} items are shown.`)]),
      );
    };
    draw();
  };
  const tools = make("div", { class: "tools" }, make("h2", {}, "Tasks"), chosen, name);
  return { element: make("section", {}, tools, list), update };
}

/** In order of their start, each fan-out with its items. @param {Task[]} tasks */
function groups(tasks) {
  /** @type {Map<string, {task: Task, items: Task[], since: number}>} */
  const found = new Map();
  for (const task of tasks) {
    const [owner = ""] = task.task.split("[");
    const group = found.get(owner) ?? {
      // Its own row comes when the last item has ended.
      task: { task: owner, state: "running", attempts: [] },
      items: [],
      since: Number.POSITIVE_INFINITY,
    };
    const first = task.attempts[0];
    group.since = Math.min(group.since, first?.facts?.startedAt ?? first?.time ?? group.since);
    if (task.task === owner) group.task = task;
    else group.items.push(task);
    found.set(owner, group);
  }
  // Two that never began: Infinity - Infinity is no order.
  return [...found.values()].sort((a, b) => (a.since === b.since ? 0 : a.since - b.since));
}

/** @param {Task} task */
const wordOf = ({ state, outcome }) => (state === "finished" ? (outcome?.kind ?? state) : state);

/** @param {Task} task @param {Task[]} items @param {boolean} isOpen @param {() => void} [toggle] @returns {[string, ...(Node | string)[]]} */
function taskRow(task, items, isOpen, toggle) {
  const { outcome, facts, attempts } = task;
  const word = wordOf(task);
  const why = outcome?.failure?.reason ?? outcome?.because ?? outcome?.by;
  const shown = state(word, word === "running" || why === undefined ? "" : `: ${why}`);
  if (items.length === 0 || toggle === undefined) {
    const tries = attempts.length === 0 ? "-" : String(attempts.length);
    const memory = size(facts?.peakMemoryBytes ?? facts?.maxRssBytes);
    return [task.task, task.task, shown, tries, took(facts?.wallMs), memory, taskDetails(task)];
  }
  const counts = Map.groupBy(items, wordOf);
  const parts = [...counts].map(([kind, list]) => state(kind, ` ${list.length}`));
  const opener = button(`${task.task} [${items.length}]`, toggle);
  opener.className = "opener";
  opener.setAttribute("aria-expanded", String(isOpen));
  const tries = items.reduce((sum, item) => sum + item.attempts.length, 0);
  const starts = items.flatMap((item) => item.attempts[0]?.facts?.startedAt ?? []);
  const ends = items.flatMap(({ facts: { startedAt, wallMs } = {} }) =>
    startedAt === undefined || wallMs === undefined ? [] : startedAt + wallMs,
  );
  const isDone = task.state === "finished" && ends.length > 0;
  const wallMs = isDone ? Math.max(...ends) - Math.min(...starts) : undefined;
  const counted = make("span", { class: "counts" }, ...parts);
  return [task.task, opener, shown, String(tries), took(wallMs), "-", counted];
}

/** @param {Task} task */
function taskDetails({ state: word, outcome, progress, attempts }) {
  if (word !== "finished" && progress !== undefined) {
    const percent = Math.round(progress.fraction * 100);
    const attributes = { max: "100", value: String(percent), class: "live" };
    return make(
      "span",
      { class: "bar" },
      make("progress", attributes),
      ` ${percent}% ${progress.text ?? ""}`,
    );
  }
  const failed = attempts.filter((attempt) => attempt.outcome?.kind === "failed");
  const last = outcome?.failure ?? failed.at(-1)?.outcome?.failure;
  if (last === undefined) return "";
  const lines = failed.map(({ attempt, outcome, facts }) => {
    const { reason, detail, trace, ...more } = /** @type {any} */ (outcome?.failure ?? {});
    const rest = Object.entries(more).map(([name, value]) => `${name} ${value}`);
    const head = [`attempt ${attempt}: ${reason}`, ...rest, detail ?? "", took(facts?.wallMs)];
    return `${head.filter((part) => part !== "").join(", ")}\n${trace ?? ""}`.trim();
  });
  const summary = last.detail ?? lines.at(-1) ?? last.reason;
  return make(
    "details",
    {},
    make("summary", {}, short(summary, 120)),
    make("pre", {}, readable(lines.join("\n"))),
  );
}

// ---- log ----

/** @param {string} path @param {AbortSignal} signal @param {() => boolean} isOver */
function logSection(path, signal, isOver) {
  const text = make("pre", { class: "log", tabindex: "0", "aria-label": "log" });
  const hint = make("p", { class: "soft" });
  const task = textInput("Task");
  const level = choice("Least level", [
    ["", "every level"],
    ["info", "info and up"],
    ["warn", "warn and up"],
    ["error", "error and up"],
  ]);
  const origin = choice("Origin", [
    ["", "every origin"],
    ["source=agent", "the agent"],
    ["source=task", "tasks"],
    ["stream=stdout", "stdout"],
    ["stream=stderr", "stderr"],
    ["stream=log", "SDK log"],
  ]);
  const isFollowing = document.createElement("input");
  isFollowing.type = "checkbox";
  isFollowing.checked = true;
  isFollowing.addEventListener("change", () => {
    if (isFollowing.checked) text.scrollTop = text.scrollHeight;
  });
  // Who scrolls up wants to read; who scrolls to the end wants to follow.
  text.addEventListener("scroll", () => {
    isFollowing.checked = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
  });

  let reading = new AbortController();
  let count = 0;
  const start = () => {
    count = 0;
    hint.textContent = "";
    reading.abort();
    reading = new AbortController();
    text.replaceChildren();
    const query = new URLSearchParams(origin.value);
    query.set("follow", "true");
    if (task.value !== "") query.set("task", task.value);
    if (level.value !== "") query.set("level", level.value);
    const either = AbortSignal.any([signal, reading.signal]);
    followLog(`${path}/log`, query, either, isOver, add).catch(report);
  };
  /** @param {LogLine[]} lines */
  const add = (lines) => {
    count += lines.length;
    text.append(...lines.slice(-logLinesKept).map(logLine));
    while (text.childNodes.length > logLinesKept) text.firstChild?.remove();
    hint.textContent =
      count > logLinesKept
        ? `The last ${logLinesKept} of ${count} lines; the download has all.`
        : "";
    if (isFollowing.checked) text.scrollTop = text.scrollHeight;
  };
  for (const control of [task, level, origin]) control.addEventListener("change", start);
  start();
  const tools = make(
    "div",
    { class: "tools" },
    make("h2", {}, "Log"),
    task,
    level,
    origin,
    make("label", {}, isFollowing, " follow"),
    button("Download", () => save(`${path}/log`, signal, "log.ndjson")),
  );
  return make("section", {}, tools, text, hint);
}

/**
 * Reads until the run is over, and goes on after the last line when the stream breaks.
 * @param {string} path @param {URLSearchParams} query @param {AbortSignal} signal @param {() => boolean} isOver @param {(lines: LogLine[]) => void} add
 */
async function followLog(path, query, signal, isOver, add) {
  while (!signal.aborted) {
    const wasOver = isOver();
    try {
      const response = await api(`${path}?${query}`, signal);
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      while (reader !== undefined) {
        const { value, done } = await reader.read();
        if (done) break;
        const texts = (rest + value).split("\n");
        rest = texts.pop() ?? "";
        /** @type {LogLine[]} */
        const lines = texts.map((json) => JSON.parse(json));
        const last = lines.at(-1);
        if (last !== undefined) query.set("after", String(last.seq));
        add(lines);
      }
      if (wasOver) return;
    } catch (error) {
      report(error);
    }
    await pause(refreshMs, signal);
  }
}

/** @param {LogLine} line */
function logLine(line) {
  const date = new Date(line.time);
  const pad = (/** @type {number} */ value, length = 2) => String(value).padStart(length, "0");
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((v) => pad(v))
    .join(":");
  const who = line.task === undefined ? "agent" : `${line.task}#${line.attempt ?? 1}`;
  const level = ["error", "fatal"].includes(line.level)
    ? "bad"
    : line.level === "warn"
      ? "warn"
      : "";
  const text = line.text ?? `(not UTF-8: ${atob(line.base64 ?? "").length} bytes)`;
  const fields = line.fields === undefined ? "" : ` ${JSON.stringify(line.fields)}`;
  return make(
    "span",
    {
      class: `line ${level}`,
      title: `${date.toString()}, ${line.stream ?? line.source}, ${line.level}`,
    },
    make("span", { class: "soft" }, `${clock}.${pad(date.getMilliseconds(), 3)} `),
    make("span", { class: "who" }, who),
    ` ${readable(text)}${fields}${line.cut === true ? " \u2026" : ""}\n`,
  );
}

// ---- results and artifacts ----

/** @param {string} path @param {AbortSignal} signal @param {Result[]} results */
function resultTable(path, signal, results) {
  return table(
    ["Task", "Result", ""],
    results
      .filter(({ value, large, items }) => value !== undefined || large || items)
      .map((result) => {
        const address = `${path}/results/${encodeURIComponent(result.task)}`;
        const get = button("Download", () => save(address, signal, `${result.task}.json`));
        return [result.task, result.task, resultCell(result), get];
      }),
    "No task gave a result.",
  );
}

/** @param {Result} result */
function resultCell({ value, large, items }) {
  if (large !== undefined)
    return make("span", { class: "soft" }, `${size(large.sizeBytes)} of JSON`);
  const whole = items?.map((item) => item.value ?? null) ?? value;
  const line = JSON.stringify(whole);
  const brief = items === undefined ? line : `${items.length} items: ${line}`;
  if (brief.length <= 100) return make("code", {}, brief);
  return make(
    "details",
    {},
    make("summary", {}, make("code", {}, short(brief, 100))),
    make("pre", {}, short(JSON.stringify(whole, null, 2), textLimit)),
  );
}

const pictures = new Map([
  ["svg", "image/svg+xml"],
  ["png", "image/png"],
  ["jpg", "image/jpeg"],
  ["jpeg", "image/jpeg"],
  ["gif", "image/gif"],
  ["webp", "image/webp"],
]);
const texts = new Set([
  "txt",
  "csv",
  "tsv",
  "json",
  "geojson",
  "ndjson",
  "md",
  "log",
  "xml",
  "yaml",
]);

/** @param {string} path @param {AbortSignal} signal */
function filesSection(path, signal) {
  const list = make("div");
  const gallery = make("div", { class: "gallery" });
  const shown = new Set();
  const update = async () => {
    /** @type {{artifacts: Artifact[]}} */
    const { artifacts } = await (await api(`${path}/artifacts`, signal)).json();
    show(
      list,
      table(
        ["Task", "Name", "Size", "State", ""],
        artifacts.map((artifact) => [
          artifact.sha256 + artifact.task + artifact.name,
          artifact.task,
          artifact.name,
          size(artifact.sizeBytes),
          state(artifact.state),
          fileButtons(path, signal, artifact),
        ]),
        "No task left an artifact.",
      ),
    );
    for (const artifact of artifacts) {
      const type = pictures.get(extension(artifact));
      const isFit = artifact.state === "verified" && artifact.sizeBytes <= previewLimitBytes;
      const key = `${artifact.task}/${artifact.name}/${artifact.sha256}`;
      if (type === undefined || !isFit || shown.has(key) || shown.size >= picturesShown) continue;
      shown.add(key);
      const bytes = await (await api(addressOf(path, artifact), signal)).blob();
      gallery.append(await picture(artifact, new Blob([bytes], { type })));
    }
  };
  return { element: make("section", {}, list, gallery), update };
}

/** In an <img>, an SVG runs no script and loads nothing. @param {Artifact} artifact @param {Blob} blob */
async function picture({ task, name }, blob) {
  const source = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
  const image = make("img", { src: String(source), alt: `${name} of ${task}` });
  return make("figure", {}, image, make("figcaption", {}, `${task}: ${name}`));
}

/** @param {string} path @param {AbortSignal} signal @param {Artifact} artifact */
function fileButtons(path, signal, artifact) {
  const address = addressOf(path, artifact);
  const file = artifact.name.split("/").at(-1) ?? artifact.name;
  const buttons = make("span", { class: "buttons" });
  if (artifact.state !== "verified") return buttons;
  if (texts.has(extension(artifact)) && artifact.sizeBytes <= previewLimitBytes) {
    const view = button("View", async () => {
      const text = await (await api(address, signal)).text();
      byId("view-name").textContent = `${artifact.task}: ${artifact.name}`;
      byId("view-text").textContent = readable(short(text, textLimit));
      byId("view-dialog").showModal();
    });
    buttons.append(view);
  }
  buttons.append(button("Download", () => save(address, signal, file)));
  return buttons;
}

/** @param {Artifact} artifact */
const extension = ({ name }) => name.split(".").at(-1)?.toLowerCase() ?? "";

/** @param {string} path @param {Artifact} artifact */
const addressOf = (path, { task, name }) =>
  `${path}/artifacts/${encodeURIComponent(task)}/${encodeURIComponent(name)}`;

/** A plain link could not carry the token. @param {string} address @param {AbortSignal} signal @param {string} file */
async function save(address, signal, file) {
  const href = URL.createObjectURL(await (await api(address, signal)).blob());
  make("a", { href, download: file }).click();
  // The browser takes the bytes only after this turn.
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

// ---- texts of users ----

/** Colours of terminals are left out, other control characters become visible. @param {string} text */
function readable(text) {
  return text.replaceAll(/\p{Cc}\[[\d;]*m/gu, "").replaceAll(/(?![\t\n])\p{Cc}/gu, (control) => {
    const code = control.charCodeAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : "\u2421";
  });
}

/** @param {string} text @param {number} limit In characters. */
const short = (text, limit) => (text.length > limit ? `${text.slice(0, limit)}\u2026` : text);

// ---- which page is shown ----

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

/** @returns {Page} */
function pageOfAddress() {
  const [, kind, id] = location.hash.split("/").map(decodeURIComponent);
  for (const anchor of document.querySelectorAll("nav a")) {
    const isHere = anchor.getAttribute("href") === (kind === "nodes" ? "#/nodes" : "#/");
    anchor.toggleAttribute("aria-current", isHere);
  }
  document.title = "edgedag";
  if (kind === "nodes") return id === undefined ? nodesPage : nodePage(id);
  return kind === "runs" && id !== undefined ? runPage(id) : runsPage;
}

/** Ends what the page that is shown has started. */
let leaving = new AbortController();
async function route() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  note.textContent = "";
  problem.textContent = "";
  const refresh = pageOfAddress()(signal);
  while (!signal.aborted) {
    const began = performance.now();
    try {
      if (!document.hidden) await refresh();
      note.textContent = "";
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) {
        leaving.abort();
        page.replaceChildren(make("h1", {}, "Not found"), make("p", {}, error.message));
        return;
      }
      report(error);
    }
    // A run with many thousand tasks must not keep the master busy with its page alone.
    const waitMs = 5 * (performance.now() - began);
    await pause(Math.min(Math.max(refreshMs, waitMs), refreshMostMs), signal);
  }
}

byId("forget").addEventListener("click", () => {
  sessionStorage.removeItem("token");
  location.reload();
});
addEventListener("hashchange", () => {
  route().catch(report);
});
route().catch(report);
