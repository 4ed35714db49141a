// Elements of the page. All texts are put into it as text nodes.

const sides = JSON.parse(document.getElementById("data").textContent).sides;
const $ = (id) => document.getElementById(id);
const THING = $("traces").dataset.thing; // trace or response
const LONGEST = 20000; // characters of a part that are shown at first
const STEER = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
const TRUTH = { R: ["✓", "right", "1"], W: ["✗", "wrong", "0"], "?": ["?", "not known", "n"] };

const traces = sides.flatMap((side, number) =>
  side.traces.map((trace) => ({ ...trace, side, number, question: side.questions[trace.q] })));

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
