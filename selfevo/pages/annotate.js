"use strict";
// The page of `selfevo annotate`. Every text is set as text; nothing is loaded from elsewhere.

const WORDS = {
  en: {
    place: (n, of) => `Conversation ${n} of ${of}`,
    rated: (n) => `${n} rated`,
    keys: "Keyboard", download: "Download labels", close: "Close",
    talk: "Conversation", sheet: "Your rating",
    about: "What you are asked to do", card: "About the person (the supporter was not told this)",
    profile: "Profile", emotion: "Emotion", situation: "Situation, in their own words",
    need: "Came for, without saying so", helps: "What helps", hurts: "What hurts",
    person: "Person", supporter: "Supporter", judged: "Supporter · rate this reply",
    yes: "Yes", no: "No", "cannot tell": "Cannot tell", "does not apply": "Does not apply",
    notes: "Note (optional), such as the words that decided", previous: "Back", next: "Skip", save: "Save and go on", saving: "Saving …",
    left: (n) => (n === 0 ? "All answered" : n === 1 ? "1 question left" : `${n} questions left`),
    saved: "Saved",
    done: (n) => (n === 1 ? "The one conversation is rated" : `All ${n} conversations are rated`),
    doneText: "Thank you. Everything is saved. You can close this page, and stop the program in the terminal with Ctrl-C.",
    again: "Look through them again",
    gone: "The program does not answer. Start it again with the same command and open the new address: what was saved is there.",
    keyList: [
      ["digits", "choose a level of the framed question"], ["y, n", "yes or no, where that is asked"],
      ["c", "cannot tell"], ["x", "does not apply, where that is offered"],
      ["↓ ↑", "next or previous question"], ["Enter", "next open question; when all are answered, save"],
      ["→ ←", "next or previous conversation"], ["Ctrl + Enter", "save, also from the note"],
    ],
  },
  zh: {
    place: (n, of) => `第 ${n} 段，共 ${of} 段`,
    rated: (n) => `已评 ${n} 段`,
    keys: "键盘操作", download: "下载评分", close: "关闭",
    talk: "对话", sheet: "您的评分",
    about: "评分说明", card: "关于这个人（支持者事先不知道）",
    profile: "个人情况", emotion: "情绪", situation: "处境（本人的话）",
    need: "没有说出口的需要", helps: "有帮助的", hurts: "伤人的",
    person: "求助者", supporter: "支持者", judged: "支持者 · 请评这一条",
    yes: "是", no: "否", "cannot tell": "无法判断", "does not apply": "不适用",
    notes: "备注（选填），例如决定您评分的那句话", previous: "上一段", next: "跳过", save: "保存并继续", saving: "正在保存……",
    left: (n) => (n === 0 ? "已全部回答" : `还有 ${n} 题未答`),
    saved: "已保存",
    done: (n) => `${n} 段对话已全部评完`,
    doneText: "谢谢。所有评分都已保存。可以关闭本页，并在终端按 Ctrl-C 结束程序。",
    again: "再看一遍",
    gone: "程序没有响应。请用同一条命令重新启动并打开新地址，已保存的评分都还在。",
    keyList: [
      ["数字键", "为带框的问题选等级"], ["y、n", "是或否"], ["c", "无法判断"], ["x", "不适用（如可选）"],
      ["↓ ↑", "下一题或上一题"], ["Enter", "下一道未答的题；全部答完则保存"],
      ["→ ←", "下一段或上一段对话"], ["Ctrl + Enter", "保存，在备注中也可以"],
    ],
  },
};

const $ = (id) => document.getElementById(id);
const drafts = new Map(); // number -> {answers, notes, seconds, dirty}
let words = WORDS.en;
let overview = null;
let shown = null; // the conversation in view
let number = 0;
let current = 0; // the question that keys answer
let isSaving = false;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error(words.gone);
  }
  const isJson = (response.headers.get("content-type") || "").startsWith("application/json");
  if (response.ok) return response.json();
  throw new Error(isJson ? (await response.json()).error : words.gone);
}

function trouble(message) {
  $("trouble").textContent = message || "";
  $("trouble").hidden = !message;
}

// ---- time: only while a conversation is in view and the page is not hidden

let since = null;

function clockStop() {
  if (since !== null && drafts.has(number)) drafts.get(number).seconds += (performance.now() - since) / 1000;
  since = null;
}

function clockStart() {
  if (!document.hidden && !$("work").hidden) since = performance.now();
}

document.addEventListener("visibilitychange", () => {
  clockStop();
  clockStart();
});

// ---- going from one conversation to another

async function open(to) {
  try {
    const next = await ask(`items/${to}`);
    clockStop();
    [shown, number] = [next, to];
    if (!drafts.has(to)) {
      const label = shown.label || { answers: {}, notes: "" };
      drafts.set(to, { answers: { ...label.answers }, notes: label.notes, seconds: 0, dirty: false });
      for (const [name, value] of Object.entries(drafts.get(to).answers))
        if (value === null) delete drafts.get(to).answers[name];
    }
    $("done").hidden = true;
    $("work").hidden = false;
    trouble("");
    showTalk();
    showQuestions();
    showPlace();
    clockStart();
  } catch (error) {
    trouble(error.message);
  }
}

function finish() {
  clockStop();
  $("work").hidden = true;
  $("done").hidden = false;
  showPlace();
  $("done-title").focus();
}

function move(step) {
  const to = number + step;
  if (!isSaving && !$("work").hidden && to >= 0 && to < overview.rated.length) open(to);
}

function goOn(wasRated) {
  const { rated } = overview;
  if (wasRated && number + 1 < rated.length) return open(number + 1);
  const later = rated.indexOf(false, number + 1);
  const open_ = later >= 0 ? later : rated.indexOf(false);
  return open_ >= 0 ? open(open_) : finish();
}

// ---- showing

function showPlace() {
  const n = overview.rated.filter(Boolean).length;
  const of = overview.rated.length;
  $("place").textContent = $("work").hidden ? "selfevo annotate" : words.place(number + 1, of);
  $("rated").textContent = words.rated(n);
  $("bar").max = of;
  $("bar").value = n;
  $("bar").setAttribute("aria-label", words.rated(n));
  $("download").hidden = n === 0;
  $("previous").disabled = number === 0;
  $("next").disabled = number === of - 1;
  $("done-title").textContent = words.done(of);
  $("done-text").textContent = words.doneText;
}

function showTalk() {
  const isLastOnly = overview.about === "reply";
  const lines = shown.turns.map(({ speaker, text }, place) => {
    const line = element("li", speaker);
    const isJudged = isLastOnly && place === shown.turns.length - 1;
    line.append(element("span", "who", isJudged ? words.judged : words[speaker]), element("p", "said", text));
    return line;
  });
  $("turns").classList.toggle("last-only", isLastOnly);
  $("turns").replaceChildren(...lines);
  $("card").hidden = shown.card === null;
  if (shown.card !== null) $("card").querySelector("dl").replaceChildren(...Object.entries(shown.card).flatMap(cardEntry));
  $("talk").scrollTop = 0;
}

function cardEntry([name, value]) {
  if (value.length === 0) return [];
  const told = element("dd");
  if (Array.isArray(value)) {
    const list = element("ul");
    list.append(...value.map((text) => element("li", "", text)));
    told.append(list);
  } else told.textContent = value;
  return [element("dt", "", words[name]), told];
}

function showQuestions() {
  $("questions").className = overview.kind;
  $("questions").replaceChildren(...shown.questions.map(questionBox));
  $("notes").value = drafts.get(number).notes;
  shown.questions.forEach((question) => showAnswer(question));
  $("sheet").scrollTop = 0;
  window.scrollTo(0, 0);
  const open_ = firstOpen();
  point(open_ < 0 ? 0 : open_, { focus: true, scroll: false });
}

function questionBox(question, place) {
  const box = element("fieldset");
  box.tabIndex = -1;
  const legend = element("legend");
  const name = element("span", "name", `${place + 1} · ${question.name.replaceAll("_", " ")}`);
  const mark = element("span", "mark", "✓");
  mark.setAttribute("aria-hidden", "true");
  name.append(mark);
  legend.append(name, element("span", "ask", question.question));
  const levels = element("div", "levels");
  levels.append(...question.levels.map((level, at) => choice(question, level.value, levelName(level), keyOf(question, at), level.anchor)));
  const others = element("div", "others");
  others.append(choice(question, "cannot tell", words["cannot tell"], "c"));
  if (question.not_applicable)
    others.append(choice(question, "does not apply", words["does not apply"], "x", question.not_applicable));
  box.append(legend, levels, others);
  box.addEventListener("focusin", () => point(place));
  box.addEventListener("click", (event) => {
    // after a click of the mouse the arrows move between questions, not between levels
    if (event.target.type === "radio" && event.detail > 0) point(place, { focus: true, scroll: false });
  });
  return box;
}

function levelName(level) {
  return overview.kind === "items" ? words[level.value === 1 ? "yes" : "no"] : level.name;
}

function keyOf(question, place) {
  if (overview.kind === "items") return question.levels[place].value === 1 ? "y" : "n";
  return hasDigits(question) ? String(question.levels[place].value) : String(place + 1);
}

function hasDigits(question) {
  return question.levels.every(({ value }) => value >= 0 && value <= 9);
}

function choice(question, value, name, key, anchor) {
  const box = element("label", typeof value === "string" ? "level other" : "level");
  const radio = element("input");
  radio.type = "radio";
  radio.name = question.name;
  radio.value = String(value);
  radio.addEventListener("change", () => answer(question, value));
  const isNumbered = overview.kind === "ordinal" && typeof value === "number";
  box.append(radio, element("span", "value", isNumbered ? `${value} · ${name}` : name), element("kbd", "", key));
  box.lastChild.setAttribute("aria-hidden", "true");
  if (anchor) box.append(element("span", "anchor", anchor));
  return box;
}

function showAnswer(question) {
  const box = boxes()[shown.questions.indexOf(question)];
  const given = drafts.get(number).answers[question.name];
  box.classList.toggle("answered", given !== undefined);
  for (const radio of box.querySelectorAll("input")) radio.checked = given !== undefined && radio.value === String(given);
  const n = shown.questions.filter(({ name }) => !(name in drafts.get(number).answers)).length;
  $("left").textContent = n === 0 && overview.rated[number] && !drafts.get(number).dirty ? words.saved : words.left(n);
}

// ---- answering

const boxes = () => [...$("questions").children];

function firstOpen() {
  return shown.questions.findIndex(({ name }) => !(name in drafts.get(number).answers));
}

function answer(question, value) {
  const draft = drafts.get(number);
  draft.answers[question.name] = value;
  draft.dirty = true;
  showAnswer(question);
}

function point(place, { focus = false, scroll = false } = {}) {
  current = place;
  boxes().forEach((box, at) => box.classList.toggle("current", at === place));
  if (focus) boxes()[place].focus({ preventScroll: true });
  if (scroll) boxes()[place].scrollIntoView({ block: "nearest" });
}

function step(by) {
  const to = current + by;
  if (to >= 0 && to < shown.questions.length) point(to, { focus: true, scroll: true });
}

async function save() {
  if (isSaving || $("work").hidden) return;
  const open_ = firstOpen();
  if (open_ >= 0) {
    point(open_, { focus: true, scroll: true });
    return;
  }
  clockStop();
  clockStart();
  const draft = drafts.get(number);
  const body = JSON.stringify({ item: shown.item, answers: draft.answers, notes: draft.notes, seconds: Math.min(draft.seconds, 86400) });
  const wasRated = overview.rated[number];
  isSaving = true;
  $("save").disabled = true;
  $("save").textContent = words.saving;
  try {
    const stored = await ask(`items/${number}`, { method: "POST", headers: { "content-type": "application/json" }, body });
    overview.rated = stored.rated;
    Object.assign(draft, { dirty: false, seconds: 0 });
    since = null;
    trouble("");
    await goOn(wasRated);
  } catch (error) {
    trouble(error.message);
  } finally {
    isSaving = false;
    $("save").disabled = false;
    $("save").textContent = words.save;
  }
}

function chosenBy(key) {
  const question = shown.questions[current];
  if (key === "c") return "cannot tell";
  if (key === "x" && question.not_applicable) return "does not apply";
  if (overview.kind === "items" && (key === "y" || key === "n")) return key === "y" ? 1 : 0;
  if (!/^[0-9]$/.test(key)) return undefined;
  if (hasDigits(question)) return question.levels.find(({ value }) => value === Number(key))?.value;
  return question.levels[Number(key) - 1]?.value;
}

function onKey(event) {
  if (overview === null || $("work").hidden || $("keys").open) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    save();
    return;
  }
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || target.tagName === "TEXTAREA") return;
  const isButton = ["BUTTON", "A", "SUMMARY"].includes(target.tagName);
  const isArrow = event.key.startsWith("Arrow");
  if ((event.key === "Enter" && isButton) || (isArrow && target.type === "radio")) return; // the browser's own
  const moves = {
    ArrowDown: () => step(1), ArrowUp: () => step(-1), ArrowRight: () => move(1), ArrowLeft: () => move(-1),
    Enter: save, "?": () => $("keys").showModal(),
  };
  if (isArrow && $("talk").contains(target) && event.key !== "ArrowLeft" && event.key !== "ArrowRight") return; // scrolls
  const value = chosenBy(event.key.toLowerCase());
  if (value !== undefined) {
    answer(shown.questions[current], value);
    point(current, { focus: true });
    step(1);
  } else if (moves[event.key]) moves[event.key]();
  else return;
  event.preventDefault();
}

// ---- start

// Rubrics are wrapped for an editor: a line that ends within a sentence goes on in the next.
function unwrapped(text) {
  return text.replace(/([^\s.:;!?。：；！？])\n(?=[^\s*-])/g, "$1 ");
}

function say() {
  document.documentElement.lang = overview.language === "zh" ? "zh-CN" : "en";
  const texts = {
    "show-keys": words.keys, download: words.download, "talk-title": words.talk, "sheet-title": words.sheet,
    previous: words.previous, next: words.next, save: words.save, "done-download": words.download, again: words.again,
  };
  for (const [id, text] of Object.entries(texts)) $(id).textContent = text;
  $("card").querySelector("summary").textContent = words.card;
  $("about").querySelector("summary").textContent = words.about;
  $("about").querySelector("p").textContent = unwrapped(overview.instructions);
  $("about").open = !overview.rated.includes(true); // read once, before the first rating
  $("sheet").querySelector(".notes span").textContent = words.notes;
  $("keys").querySelector("h2").textContent = words.keys;
  $("keys").querySelector("button").textContent = words.close;
  $("keys").querySelector("dl").replaceChildren(
    ...words.keyList.flatMap(([key, what]) => [element("dt", "", key), element("dd", "", what)]));
}

async function start() {
  try {
    overview = await ask("overview");
  } catch (error) {
    trouble(error.message);
    return;
  }
  words = WORDS[overview.language] || WORDS.en;
  say();
  const first = overview.rated.indexOf(false);
  if (first < 0) finish();
  else open(first);
}

$("sheet").addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
$("notes").addEventListener("input", () => Object.assign(drafts.get(number), { notes: $("notes").value, dirty: true }));
$("previous").addEventListener("click", () => move(-1));
$("next").addEventListener("click", () => move(1));
$("again").addEventListener("click", () => open(0));
$("show-keys").addEventListener("click", () => $("keys").showModal());
document.addEventListener("keydown", onKey);
window.addEventListener("beforeunload", (event) => {
  if ([...drafts.values()].some(({ dirty }) => dirty)) event.preventDefault();
});
start();
