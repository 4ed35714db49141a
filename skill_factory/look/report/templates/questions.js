// The table of questions, and all attempts at one of them.

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
    ...(questions.some((question) => question.true !== undefined)
      ? [["true verdicts", (q) => share(q.true, q.reflections), percent]] : []),
  ] : []),
  [THING + "s", (q) => q.traces.length, plain],
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
  cell.append(make("p", "", links.length ? `${THING[0].toUpperCase() + THING.slice(1)}s: ` : `No ${THING} has this question.`, ...joined));
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

drawQuestions();
follow(); // once the table is there, and nothing below the traces moves any more
