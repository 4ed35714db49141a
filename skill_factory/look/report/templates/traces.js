// The list of traces, and one of them to read.

const ROW = 60; // pixels of a trace in the list
const shown = { list: [], at: -1, drawn: "", words: "" };

const list = $("list");
const room = make("div");
room.setAttribute("role", "presentation");
list.append(room);

function option(trace, at) {
  const label = make("span", "label", oneLine([trace.label || trace.id, groupsOf(trace)].filter(Boolean).join(", ")));
  const words = inWords(trace.pattern);
  const first = make("div", "first", label, make("span", "hidden", ", " + words + ": "), lettersOf(trace.pattern));
  const made = make("div", "option", first, make("div", "second", oneLine(textAt(trace, trace.question.text))));
  made.id = "option-" + at;
  made.style.top = at * ROW + "px";
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", String(at === shown.at));
  made.setAttribute("aria-posinset", String(at + 1));
  made.setAttribute("aria-setsize", String(shown.list.length));
  made.addEventListener("click", () => choose(at));
  return made;
}

const textAt = (trace, place) => trace.side.texts[place];

// Only the rows that can be seen are in the page.
function draw(anew) {
  const from = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
  const to = Math.min(shown.list.length, from + Math.ceil(list.clientHeight / ROW) + 8);
  const now = from + "-" + to;
  if (!anew && now === shown.drawn) return;
  shown.drawn = now;
  room.style.height = shown.list.length * ROW + "px";
  room.replaceChildren(...shown.list.slice(from, to).map((trace, i) => option(trace, from + i)));
  if (shown.at >= from && shown.at < to) list.setAttribute("aria-activedescendant", "option-" + shown.at);
  else list.removeAttribute("aria-activedescendant");
}

function choose(at, follow = true) {
  if (at < 0 || at >= shown.list.length) return;
  shown.at = at;
  const top = at * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  draw(true);
  read(shown.list[at]);
  if (follow) history.replaceState(null, "", "#trace=" + encodeURIComponent(shown.list[at].id));
}

list.addEventListener("scroll", () => draw(false));
window.addEventListener("resize", () => draw(false));

// -- one trace ----------------------------------------------------------------------------------

const reader = $("reader");
const open = { trace: null, folded: false, tags: false };

function spanOf(side, words, [kind, text, truth, name, origin]) {
  const said = side.words[name], from = side.words[origin], tone = truth < 0 ? "n" : String(truth);
  const box = make("div", `span ${side.kinds[kind].split(" ")[0]} t${tone}`);
  const body = textOf(side.texts[text], "text", words);
  if (!said) return make("div", "span tag", body);
  const sign = { 1: "✓ ", 0: "✗ ", n: "" }[tone];
  const fold = button(sign + said[0].toUpperCase() + said.slice(1), "fold", () => {
    body.hidden = !body.hidden;
    fold.setAttribute("aria-expanded", String(!body.hidden));
  });
  fold.setAttribute("aria-expanded", "true");
  const take = button("Copy", "copy", () => copy(side.texts[text], take));
  take.setAttribute("aria-label", "Copy " + said);
  box.append(make("div", "head", fold, take), body);
  if (from) {
    box.append(make("p", "origin", "From " + from));
    body.addEventListener("click", () => box.classList.toggle("open"));
  }
  return box;
}

const wholeText = (trace) => trace.spans.map((span) => trace.side.texts[span[1]]).join("");
const linkOf = (trace) => location.href.split("#")[0] + "#trace=" + encodeURIComponent(trace.id);

// What several sets, models or steps tell a response apart by.
function groupsOf(trace) {
  const several = ["set", "model", "step"].filter((name) => trace[name] && !$("f-" + name)?.closest("label").hidden);
  return several.map((name) => `${name} ${oneLine(trace[name])}`).join(", ");
}

function read(trace) {
  const title = make("h3", "", `${oneLine(trace.label || THING)}: ${inWords(trace.pattern)}`);
  title.id = "reader-h";
  const tools = make("div", "tools",
    button("Copy", "b-copy", (event) => copy(wholeText(trace), event.target)),
    button("Link", "b-link", (event) => copy(linkOf(trace), event.target)),
    button("Fold", "b-fold", () => foldAll(!open.folded)),
    button("Tags", "b-tags", () => showTags(!open.tags)));
  const where = sides.length > 1 ? `${trace.side.name}: ` : "";
  const head = make("header", "", title, tools, make("span", "id", oneLine(where + trace.id)),
    ...(groupsOf(trace) ? [make("span", "said", groupsOf(trace))] : []));
  const question = make("div", "question", make("h4", "", "Question"),
    textOf(textAt(trace, trace.question.text), "text", shown.words));
  if (trace.question.gold !== undefined) {
    question.append(make("h4", "gold", "Gold answer"), textOf(textAt(trace, trace.question.gold)));
  }
  const parts = make("div", "parts", ...trace.spans.map((span) => spanOf(trace.side, shown.words, span)));
  reader.replaceChildren(head, question, parts);
  open.trace = trace;
  open.folded = false;
  showTags(open.tags);
}

function foldAll(fold) {
  open.folded = fold;
  for (const head of reader.querySelectorAll(".fold")) {
    if ((head.getAttribute("aria-expanded") === "true") === fold) head.click();
  }
  reader.querySelector(".b-fold").textContent = fold ? "Unfold" : "Fold";
}

function showTags(show) {
  open.tags = show;
  reader.classList.toggle("tags", show);
  reader.querySelector(".b-tags")?.setAttribute("aria-pressed", String(show));
}

// -- filters ------------------------------------------------------------------------------------

const filters = ["side", "label", "set", "model", "step", "length", "pattern", "variant"].map((name) => [name, $("f-" + name)]);
const VALUES = {
  side: (trace) => [String(trace.number)],
  label: (trace) => [trace.label],
  length: (trace) => [String(trace.pattern.length)],
  pattern: (trace) => [trace.pattern],
  variant: (trace) => trace.variants,
  ...Object.fromEntries(["set", "model", "step"].map((name) => [name, (trace) => (trace[name] ? [trace[name]] : [])])),
};

function fillSelects() {
  for (const [name, select] of filters) {
    if (!select || name === "side") continue;
    const counts = new Map();
    for (const trace of traces) for (const value of VALUES[name](trace)) counts.set(value, (counts.get(value) || 0) + 1);
    const values = [...counts.keys()].sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
    for (const value of values) {
      const words = name === "pattern" ? inWords(value) : oneLine(value);
      const made = make("option", "", `${words || "none"} (${counts.get(value).toLocaleString("en")})`);
      made.value = value;
      select.append(made);
    }
    select.closest("label").hidden = values.length < 2;
  }
}

// Which texts of a side hold the words; a text that stands in many traces is looked at once.
function holding(side, words) {
  side.low ??= side.texts.map((text) => text.toLowerCase());
  return side.low.map((text) => text.includes(words));
}

function filter() {
  const start = performance.now();
  const words = $("f-text").value.toLowerCase();
  const wanted = filters.filter(([, select]) => select && select.value !== "");
  const holds = words ? new Map(sides.map((side) => [side, holding(side, words)])) : null;
  const before = shown.list[shown.at];
  shown.words = words;
  shown.list = traces.filter((trace) => {
    if (!wanted.every(([name, select]) => VALUES[name](trace).includes(select.value))) return false;
    const found = holds?.get(trace.side);
    return !found || found[trace.question.text] || trace.spans.some((span) => found[span[1]]);
  });
  shown.at = -1;
  $("shown").textContent = `${shown.list.length.toLocaleString("en")} of ${traces.length.toLocaleString("en")} ${THING}s`;
  list.scrollTop = 0;
  list.hidden = !shown.list.length;
  draw(true);
  const at = shown.list.indexOf(before);
  if (shown.list.length) choose(Math.max(at, 0), false);
  else reader.replaceChildren(make("p", "said", `No ${THING} is like this.`));
  document.documentElement.dataset.filtered = (performance.now() - start).toFixed(1);
}

// -- links and keys -----------------------------------------------------------------------------

function follow() {
  const id = /^#trace=(.+)$/.exec(location.hash)?.[1];
  if (!id) return;
  let name;
  try { name = decodeURIComponent(id); } catch { return; }
  const is = (trace) => trace.id === name;
  if (!shown.list.some(is) && traces.some(is)) { $("filters").reset(); filter(); }
  const at = shown.list.findIndex(is);
  if (at >= 0) {
    choose(at, false);
    $("traces").scrollIntoView();
  } else {
    const text = `The ${THING} ${oneLine(name)} is not on this page.`;
    reader.replaceChildren(make("p", "note", text));
    $("traces").scrollIntoView();
  }
}

const KEYS = {
  j: () => choose(shown.at + 1),
  k: () => choose(shown.at - 1),
  "/": () => $("f-text").focus(),
  f: () => open.trace && foldAll(!open.folded),
  t: () => open.trace && showTags(!open.tags),
  c: () => reader.querySelector(".b-copy")?.click(),
  l: () => reader.querySelector(".b-link")?.click(),
  "?": () => $("keys").showModal(),
};
const IN_LIST = { ArrowDown: KEYS.j, ArrowUp: KEYS.k, Home: () => choose(0), End: () => choose(shown.list.length - 1) };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const within = event.target === list || event.target === reader || event.target === document.body;
  const act = KEYS[event.key] || (within && IN_LIST[event.key]);
  if (!act) return;
  event.preventDefault();
  act();
});

fillSelects();
for (const [, select] of filters) select?.addEventListener("change", filter);
$("f-text").addEventListener("input", filter);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("reset", () => setTimeout(filter));
$("keys-open").addEventListener("click", KEYS["?"]);
window.addEventListener("hashchange", follow);
filter();
