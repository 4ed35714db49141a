"use strict";
// The browser of traces and the table of questions. All texts are put into the page as text nodes.
(() => {
  const sides = JSON.parse(document.getElementById("data").textContent).sides;
  const $ = (id) => document.getElementById(id);
  const ROW = 60; // pixels of a trace in the list
  const LONGEST = 20000; // characters of a part that are shown at first
  const STEER = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
  const TRUTH = { R: ["✓", "right", "1"], W: ["✗", "wrong", "0"], "?": ["?", "not known", "n"] };
  const shown = { list: [], at: -1, drawn: "", words: "" };

  const traces = sides.flatMap((side, number) =>
    side.traces.map((trace) => ({ ...trace, side, number, question: side.questions[trace.q] })));

  // -- making elements ----------------------------------------------------------------------------

  function make(name, classes, ...children) {
    const element = document.createElement(name);
    if (classes) element.className = classes;
    element.append(...children);
    return element;
  }

  function button(words, classes, act) {
    const made = make("button", classes, words);
    made.type = "button";
    made.addEventListener("click", act);
    return made;
  }

  function spelt(sign) {
    const code = sign.charCodeAt(0);
    const hex = code.toString(16);
    return code < 0x100 ? "\\x" + hex.padStart(2, "0") : "<U+" + hex.toUpperCase().padStart(4, "0") + ">";
  }

  // A text whose control characters are spelt out, in which the words that were searched are marked.
  function textOf(text, classes = "text", words = "") {
    const box = make("div", classes);
    const put = (part) => {
      for (const piece of part.split(new RegExp(`(${STEER.source})`))) {
        if (STEER.test(piece)) box.append(make("span", "control", spelt(piece)));
        else if (piece) box.append(piece);
      }
    };
    const fill = (whole) => {
      box.textContent = "";
      const low = words ? whole.toLowerCase() : "";
      let at = 0;
      for (let found; words && (found = low.indexOf(words, at)) >= 0; at = found + words.length) {
        put(whole.slice(at, found));
        box.append(make("mark", "", whole.slice(found, found + words.length)));
      }
      put(whole.slice(at));
    };
    fill(text.slice(0, LONGEST));
    if (text.length > LONGEST) {
      const more = button(`Show all ${text.length.toLocaleString("en")} characters`, "", () => fill(text));
      box.append(" … ", more);
    }
    return box;
  }

  function lettersOf(pattern) {
    const box = make("span", "letters");
    box.setAttribute("aria-hidden", "true");
    for (const letter of pattern.slice(0, 16)) box.append(make("span", "l" + TRUTH[letter][2], TRUTH[letter][0]));
    if (pattern.length > 16) box.append("…");
    return box;
  }

  const inWords = (pattern) => [...pattern].map((letter) => TRUTH[letter][1]).join(", ") || "no attempt";

  function oneLine(text) {
    const line = text.slice(0, 200).replace(/\s+/g, " ");
    return line.replace(new RegExp(STEER.source, "g"), spelt);
  }

  async function copy(text, from) {
    const words = from.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    from.textContent = "Copied";
    setTimeout(() => { from.textContent = words; }, 1200);
  }

  // -- the list of traces -------------------------------------------------------------------------

  const list = $("list");
  const room = make("div");
  room.setAttribute("role", "presentation");
  list.append(room);

  function option(trace, at) {
    const label = make("span", "label", oneLine(trace.label || trace.id));
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

  function read(trace) {
    const title = make("h3", "", `${oneLine(trace.label || "Trace")}: ${inWords(trace.pattern)}`);
    title.id = "reader-h";
    const tools = make("div", "tools",
      button("Copy", "b-copy", (event) => copy(wholeText(trace), event.target)),
      button("Link", "b-link", (event) => copy(linkOf(trace), event.target)),
      button("Fold", "b-fold", () => foldAll(!open.folded)),
      button("Tags", "b-tags", () => showTags(!open.tags)));
    const where = sides.length > 1 ? `${trace.side.name}: ` : "";
    const head = make("header", "", title, tools, make("span", "id", oneLine(where + trace.id)));
    const question = make("div", "question", make("h4", "", "Question"),
      textOf(textAt(trace, trace.question.text), "text", shown.words));
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

  const filters = ["side", "label", "length", "pattern", "variant"].map((name) => [name, $("f-" + name)]);
  const VALUES = {
    side: (trace) => [String(trace.number)],
    label: (trace) => [trace.label],
    length: (trace) => [String(trace.pattern.length)],
    pattern: (trace) => [trace.pattern],
    variant: (trace) => trace.variants,
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
    $("shown").textContent = `${shown.list.length.toLocaleString("en")} of ${traces.length.toLocaleString("en")} traces`;
    list.scrollTop = 0;
    list.hidden = !shown.list.length;
    draw(true);
    const at = shown.list.indexOf(before);
    if (shown.list.length) choose(Math.max(at, 0), false);
    else reader.replaceChildren(make("p", "said", "No trace is like this."));
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
      const text = `The trace ${oneLine(name)} is not on this page.`;
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

  // -- the table of questions ---------------------------------------------------------------------

  const MANY = 50;
  const questions = sides.flatMap((side) => side.questions.map((question) => ({ ...question, side })));
  const share = (part, of) => (of ? part / of : -1);
  const percent = (part) => (part < 0 ? "–" : Math.round(100 * part) + "%");
  const plain = (value) => (value < 0 ? "–" : value.toLocaleString("en"));
  const has = questions.some((question) => question.right !== undefined);
  const COLUMNS = [
    ["question", (q) => q.side.texts[q.text], null],
    ...(has ? [
      ["right", (q) => q.right ?? -1, plain],
      ["wrong", (q) => q.wrong ?? -1, plain],
      ["undecided", (q) => q.undecided ?? -1, plain],
      ["pass rate", (q) => share(q.right, q.right + q.wrong), percent],
      ["true verdicts", (q) => share(q.true, q.reflections), percent],
    ] : []),
    ["traces", (q) => q.traces.length, plain],
  ];
  const order = { by: -1, down: false, many: MANY };

  function heading([name], number) {
    const cell = make("th", number ? "num" : "");
    cell.scope = "col";
    const sign = order.by === number ? (order.down ? " ↓" : " ↑") : "";
    cell.append(button(name + sign, "", () => {
      order.down = order.by === number ? !order.down : number > 0;
      order.by = number;
      drawQuestions();
      $("question-table").querySelectorAll("thead button")[number].focus();
    }));
    if (order.by === number) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    return cell;
  }

  function attemptOf(question, attempt, number) {
    const side = question.side, tone = attempt.correct === null ? "n" : String(Number(attempt.correct));
    const name = { 1: "✓ Right", 0: "✗ Wrong", n: "? Undecided" }[tone];
    const variant = attempt.variant ? `, ${oneLine(attempt.variant)}` : "";
    const box = make("div", `span attempt t${tone}`,
      make("div", "fold", `${name} attempt ${number + 1}${variant}`), textOf(side.texts[attempt.text]),
      make("p", "origin", "From " + side.words[attempt.origin]));
    box.tabIndex = 0;
    const told = attempt.reflections.map(([text, verdict, truth, origin]) => {
      const mark = truth === null ? "n" : String(Number(truth));
      const words = { 1: "✓ True", 0: "✗ False", n: "Not judged" }[mark];
      const judged = make("div", `span reflection t${mark}`,
        make("div", "fold", `${words}: ${verdict ?? "no verdict"}`), textOf(side.texts[text]),
        make("p", "origin", "From " + side.words[origin]));
      judged.tabIndex = 0;
      return judged;
    });
    return [box, ...told];
  }

  function detailOf(question) {
    const cell = make("td");
    cell.colSpan = COLUMNS.length;
    const links = question.traces.map((place) => {
      const trace = question.side.traces[place];
      const link = make("a", "", `${oneLine(trace.label || trace.id)} (${inWords(trace.pattern)})`);
      link.href = "#trace=" + encodeURIComponent(trace.id);
      return link;
    });
    const joined = links.flatMap((link, i) => (i ? [", ", link] : [link]));
    cell.append(make("p", "", links.length ? "Traces: " : "No trace has this question.", ...joined));
    cell.append(...question.attempts.flatMap((attempt, i) => attemptOf(question, attempt, i)));
    return make("tr", "detail", cell);
  }

  function questionRow(question) {
    const row = make("tr");
    const text = question.side.texts[question.text];
    const side = sides.length > 1 ? make("span", "said", question.side.name + ": ") : "";
    const opener = button("", "open", () => {
      const opened = opener.getAttribute("aria-expanded") === "true";
      opener.setAttribute("aria-expanded", String(!opened));
      if (opened) row.nextSibling.remove();
      else row.after(detailOf(question));
    });
    opener.setAttribute("aria-expanded", "false");
    opener.append(make("span", "text", side, oneLine(text)));
    const head = make("th", "", opener);
    head.scope = "row";
    row.append(head, ...COLUMNS.slice(1).map(([, value, say]) => make("td", "num", say(value(question)))));
    return row;
  }

  function drawQuestions() {
    const table = $("question-table");
    table.tHead.replaceChildren(make("tr", "", ...COLUMNS.map(heading)));
    if (order.by >= 0) {
      const value = COLUMNS[order.by][1], way = order.down ? -1 : 1;
      questions.sort((a, b) => {
        const x = value(a), y = value(b);
        return way * (x < y ? -1 : x > y ? 1 : 0);
      });
    }
    table.tBodies[0].replaceChildren(...questions.slice(0, order.many).map(questionRow));
    $("more-questions").hidden = order.many >= questions.length;
  }

  $("more-questions").addEventListener("click", () => {
    $("question-table").tBodies[0].append(...questions.slice(order.many, order.many + MANY).map(questionRow));
    order.many += MANY;
    $("more-questions").hidden = order.many >= questions.length;
  });

  // -- begin --------------------------------------------------------------------------------------

  fillSelects();
  for (const [, select] of filters) select?.addEventListener("change", filter);
  $("f-text").addEventListener("input", filter);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => setTimeout(filter));
  $("keys-open").addEventListener("click", KEYS["?"]);
  window.addEventListener("hashchange", follow);
  filter();
  drawQuestions();
  follow();
})();
