"use strict";
// Shows the data of the page. Texts of rows are set as text, never as HTML. The rankings are those of rankings.py, over what the
// filters leave.
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const UNKNOWN = "–";
const FORGERIES = ["W_T", "nothing"];
const CLAIM_WORDS = { W_T: "W_T, the stolen model", nothing: "no training" };
const value = (cell, name) => {
  const column = data.cells[name];
  return column.of[column.at ? column.at[cell] : 0];
};
const statusOf = cell => cell < 0 ? "absent" : value(cell, "_status");
const isBroken = cell => value(cell, "accepted") > 0;
const status = Object.fromEntries(data.statuses.map(one => [one.name, one]));
const groupTitle = Object.fromEntries(data.groups.map(one => [one.name, one.title]));

// Elements.
const by = id => document.getElementById(id);
function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, given] of Object.entries(attributes || {})) {
    if (name === "on") for (const [event, act] of Object.entries(given)) made.addEventListener(event, act);
    else if (given === true) made.setAttribute(name, "");
    else if (given !== false && given !== undefined && given !== null) made.setAttribute(name, given);
  }
  made.append(...children.flat(3).filter(child => child !== null && child !== undefined && child !== ""));
  return made;
}
/** A name that may be broken after _, and in the middle of a long word. */
function breakable(name) {
  const halved = part => part.length > 11 ? `${part.slice(0, part.length / 2)}\u00ad${part.slice(part.length / 2)}` : part;
  return name.split(/(?<=_)/).flatMap((part, i) => i ? [el("wbr"), halved(part)] : [halved(part)]);
}

// Numbers, as wording.py has them.
function ratio(number) {
  if (number === null || number === undefined) return UNKNOWN;
  if (typeof number !== "number") return String(number);
  if (number === 0) return "0";
  const size = Math.abs(number);
  if (size >= 1e5 || (size > 0 && size < 9.95e-4)) return number.toExponential(1);
  return number.toFixed(size < 0.00995 ? 4 : size < 0.0995 ? 3 : size < 9.995 ? 2 : size < 99.95 ? 1 : 0);
}
const percent = share => typeof share === "number" ? `${+(100 * share).toFixed((share > 0 && share < 0.1) || (share > 0.99 && share < 1) ? 1 : 0)} %` : UNKNOWN;
const counted = (number, noun) => `${number} ${number === 1 ? noun : noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : noun.endsWith("ch") ? `${noun}es` : `${noun}s`}`;
const costOf = cell => typeof value(cell, "cost") === "number" ? value(cell, "cost") : 0;
function cellText(cell, column) {
  const given = value(cell, column.name);
  if (given === null || given === "") return UNKNOWN;
  if (typeof given === "boolean") return given ? "yes" : "no";
  if (typeof given === "number" && !Number.isInteger(given)) return String(+given.toPrecision(4));
  return String(given);
}
function json(text) {
  try {
    const found = JSON.parse(text);
    return found && typeof found === "object" && !Array.isArray(found) ? found : {};
  } catch { return {}; }
}
/** What was searched on an axis: choices are listed. */
function listed(text) {
  if (typeof text !== "string") return plain(text);
  try {
    return JSON.parse(`[${text}]`).map(one => el("span", { class: "item" }, plain(one)));
  } catch { return text; }
}
const plain = given => typeof given === "string" ? given
  : given && typeof given === "object" ? Object.entries(given).map(([key, one]) => `${key} = ${plain(one)}`).join(", ")
  : String(given);

// What is shown: kept in the address.
const grantsOf = cell => value(cell, "uses").split(",").filter(Boolean);
const everyGrant = data.grants.map(one => one.name);
const state = { task: 0, mode: "adaptive", hidden: new Set(), denied: new Set(), open: null };
function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  state.task = Math.max(0, data.tasks.findIndex(task => task.slug === asked.get("task")));
  state.mode = asked.get("mode") === "declared" ? "declared" : "adaptive";
  const listed = name => (asked.get(name) || "").split("|").filter(Boolean);
  state.hidden = new Set(listed("without").filter(one => data.claims.includes(one)));
  state.denied = new Set(listed("denied").filter(one => everyGrant.includes(one)));
  state.open = null;
  const task = data.tasks[state.task];
  if (task && asked.has("arm")) {
    const line = task.lines.findIndex(one => one.arm === asked.get("arm"));
    const policy = task.policies.findIndex(one => one.label === asked.get("policy"));
    if (line >= 0 && policy >= 0) state.open = [line, policy];
  }
}
function writeAddress() {
  const task = data.tasks[state.task], said = new URLSearchParams();
  if (!task) return;
  said.set("task", task.slug);
  if (state.mode !== "adaptive") said.set("mode", state.mode);
  if (state.hidden.size) said.set("without", [...state.hidden].join("|"));
  if (state.denied.size) said.set("denied", [...state.denied].join("|"));
  if (state.open) {
    said.set("arm", task.lines[state.open[0]].arm);
    said.set("policy", task.policies[state.open[1]].label);
  }
  history.replaceState(null, "", `#${said}`);
}
function change() {
  writeAddress();
  show();
}

// Cells of a view: Place.shown of board.py, less what the filters hide.
function shown(place, mode) {
  const [declared, adaptive] = place;
  if (mode === "declared" || adaptive < 0) return declared;
  return declared >= 0 && isBroken(declared) && !isBroken(adaptive) ? declared : adaptive;
}
function hiddenBy(line, cell) {
  if (cell < 0 || line.group === "honest") return "";
  if (state.hidden.has(value(cell, "claims"))) return `filtered: claims ${value(cell, "claims")}`;
  const denied = grantsOf(cell).filter(one => state.denied.has(one));
  return denied.length ? `filtered: is granted ${denied.join(", ")}` : "";
}
/** Per line the cells in view; -1 where there is none, or a filter hides it. Lines of which nothing is left are left out. */
function linesInView(task) {
  return task.lines.map((line, number) => {
    const found = line.places.map(place => shown(place, state.mode));
    const filtered = found.map(cell => hiddenBy(line, cell));
    return { ...line, number, filtered, cells: found.map((cell, i) => filtered[i] ? -1 : cell) };
  }).filter(line => !line.filtered.some(Boolean) || line.cells.some(cell => cell >= 0));
}

/** Why a place of the matrix is empty. */
const absence = (policy, place) => policy.uncarried || data.absent[place[1] >= 0 ? "declared" : "adaptive"];

// Rankings.
const isUsable = honest => honest === undefined || honest < 0 || !value(honest, "tried") || isBroken(honest);
const isJudged = cell => !["estimated", "unjudged"].includes(statusOf(cell));
const isUnfinished = cell => value(cell, "mode") === "adaptive" && !value(cell, "exhausted")
  && value(cell, "tried") + value(cell, "failed") <= value(cell, "budget");
const isJudgedForgery = (line, cell) => cell >= 0 && line.group !== "honest" && FORGERIES.includes(value(cell, "claims"))
  && isJudged(cell);
function places(keys, compare) {
  return keys.map(key => ({
    place: 1 + keys.filter(other => compare(other, key) < 0).length,
    tied: keys.filter(other => compare(other, key) === 0).length > 1,
  }));
}
const cheapest = cells => cells.reduce((best, one) => best === null || costOf(one.cell) < costOf(best.cell) ? one : best, null);
function rankVerifiers(task, lines) {
  const found = task.policies.map((policy, number) => {
    const column = lines.map(line => ({ line, cell: line.cells[number] })).filter(one => one.cell >= 0);
    const forged = column.filter(one => isJudgedForgery(one.line, one.cell));
    const breaks = forged.filter(one => isBroken(one.cell));
    const best = cheapest(breaks);
    const others = column.filter(one => one.line.group !== "honest" && !FORGERIES.includes(value(one.cell, "claims")) && isJudged(one.cell));
    const attacks = breaks.filter(one => one.line.group !== "controls");
    return {
      number, policy, best, bestAttack: cheapest(attacks),
      by: breaks.filter(one => costOf(one.cell) === costOf(best.cell)).map(one => one.line.arm),
      attacks: attacks.length, of: forged.filter(one => one.line.group !== "controls").length,
      controls: forged.filter(one => one.line.group === "controls"),
      honest: column.find(one => one.line.group === "honest"),
      untrained: column.find(one => value(one.cell, "claims") === "nothing"),
      others: others.filter(one => isBroken(one.cell)).length, othersOf: others.length,
      budget: Math.max(0, ...forged.map(one => value(one.cell, "budget"))),
      unfinished: forged.filter(one => isUnfinished(one.cell)).length,
      key: best ? -costOf(best.cell) : -Infinity,
    };
  });
  const ranked = found.filter(one => !one.policy.uncarried && isUsable(one.honest && one.honest.cell));
  const unplaced = found.filter(one => !ranked.includes(one)).sort((a, b) => order(a.key, b.key));
  places(ranked.map(one => one.key), order).forEach((place, i) => Object.assign(ranked[i], place));
  return [...ranked.sort((a, b) => a.place - b.place), ...unplaced];
}
const order = (a, b) => a === b ? 0 : a < b ? -1 : 1;
function rankAttacks(task, lines) {
  const ranks = new Map(), breaks = new Map();
  task.policies.forEach((policy, number) => {
    const honest = lines.find(line => line.group === "honest");
    if (!isUsable(honest && honest.cells[number])) return;
    const forged = lines.filter(line => isJudgedForgery(line, line.cells[number]));
    const costs = forged.map(line => isBroken(line.cells[number]) ? costOf(line.cells[number]) : Infinity);
    forged.forEach((line, i) => {
      const cheaper = costs.filter(cost => cost < costs[i]).length, equal = costs.filter(cost => cost === costs[i]).length;
      ranks.set(line, [...ranks.get(line) || [], cheaper + (equal + 1) / 2]);
      const own = breaks.get(line) || [];
      breaks.set(line, costs[i] < Infinity ? [...own, { number, policy, cell: line.cells[number] }] : own);
    });
  });
  const found = lines.filter(line => ranks.has(line)).map(line => ({
    line, breaks: breaks.get(line), of: ranks.get(line).length, best: cheapest(breaks.get(line)),
    mean: ranks.get(line).reduce((sum, one) => sum + one, 0) / ranks.get(line).length,
  }));
  const compare = (a, b) => order(b.breaks.length, a.breaks.length) || order(a.mean, b.mean);
  places(found, compare).forEach((place, i) => Object.assign(found[i], place));
  return found.sort((a, b) => a.place - b.place);
}
const placeText = one => one.place === undefined ? UNKNOWN : `${one.place}${one.tied ? "=" : ""}`;

// The matrix.
const tierOf = cell => costOf(cell) < 0.1 ? "cheap" : costOf(cell) < 1 ? "fair" : "dear";
function squareButton(task, line, number) {
  const cell = line.cells[number], filtered = line.filtered[number], found = filtered ? "absent" : statusOf(cell);
  const kind = status[found], name = `${line.arm} against ${task.policies[number].label}`;
  const open = { on: { click: () => { state.open = [line.number, number]; writeAddress(); showCell(); } } };
  const absent = filtered || (cell < 0 ? absence(task.policies[number], line.places[number]) : "");
  if (absent) {
    const brief = filtered ? "filtered" : "not run";
    return el("td", { class: "absent" }, el("button", { type: "button", title: absent, "aria-label": `${name}: ${absent}`, ...open },
      el("span", { class: "main" }, `${kind.sign} ${brief}`)));
  }
  const accepted = value(cell, "accepted"), tried = value(cell, "tried"), seeds = value(cell, "seeds");
  const isForged = found === "broken" || found === "accepted";
  const fallback = state.mode === "adaptive" && value(cell, "mode") === "declared" && line.group !== "honest";
  const main = tried === 0 ? "none" : isForged ? ratio(value(cell, "cost")) : `${accepted}/${tried}`;
  const atSeeds = value(cell, "seeds_accepted"), some = isForged && atSeeds < seeds ? `${atSeeds}/${seeds}` : "";
  const error = `error ${ratio(value(cell, "error"))}`, rate = value(cell, "rate");
  const isOfSeeds = some && Math.abs(rate - atSeeds / seeds) < 1e-6;
  const sub = tried === 0 ? [value(cell, "failed") ? `${value(cell, "failed")} failed` : "estimated"]
    : [accepted && rate < 1 && !isOfSeeds ? `rate ${percent(rate)}` : "", some ? `seeds ${some}` : "", error].filter(Boolean);
  const says = `${value(cell, "_says")}${isForged ? ` Cost ${ratio(value(cell, "cost"))} of the proof's.` : ""}`
    + `${some ? ` Accepted at ${some} seeds.` : ""} Rate ${percent(rate)}, ${error} of the proof's.`;
  return el("td", { class: found === "broken" ? `${found} ${tierOf(cell)}` : found },
    el("button", { type: "button", class: fallback ? "fallback" : null, title: says, "aria-label": `${name}: ${says}`, ...open },
      el("span", { class: "main" }, el("span", { class: "sign" }, kind.sign), ` ${main}`),
      el("span", { class: "sub" }, sub.map(part => el("span", {}, part)))));
}
function showMatrix(task, lines) {
  const head = el("thead", {}, el("tr", {},
    el("th", { scope: "col", class: "arm" }, "attack \\ policy"),
    task.policies.map(policy => el("th", { scope: "col", title: policy.about || policy.label }, breakable(policy.label)))));
  const bodies = data.groups.map(group => [group, lines.filter(line => line.group === group.name)]).filter(([, own]) => own.length);
  const table = el("table", { class: "matrix" },
    el("caption", { class: "hidden" }, `Every attack against every policy, ${task.title}`), head,
    bodies.map(([group, own]) => el("tbody", {},
      group.name === "honest" ? null : el("tr", { class: "group" },
        el("th", { scope: "rowgroup", colspan: task.policies.length + 1 }, el("span", {}, group.title))),
      own.map(line => el("tr", {},
        el("th", { scope: "row", class: "arm", title: line.source || null },
          group.name === "honest" ? "honest proofs" : line.arm,
          state.mode === "adaptive" && !line.searched && line.group !== "honest" ? el("span", { class: "tag" }, "as declared") : null),
        line.cells.map((_, number) => squareButton(task, line, number)))))));
  table.querySelectorAll("td button").forEach((button, number) => { button.tabIndex = number ? -1 : 0; });
  by("matrix").replaceChildren(table);
  fit();
}
/** A matrix that fits its box does not scroll in it, and its head stays in sight while the page scrolls. */
function fit() {
  const box = by("matrix");
  box.classList.remove("fits");
  box.classList.toggle("fits", box.scrollWidth <= box.clientWidth);
}
function meaningOf(one, lines) {
  if (state.mode === "declared") return one.declared || one.meaning;
  const budgets = lines.flatMap(line => line.cells)
    .filter(cell => statusOf(cell) === one.name && value(cell, "mode") === "adaptive").map(cell => value(cell, "budget"));
  if (!budgets.length) return one.declared || one.meaning;
  const least = Math.min(...budgets), most = Math.max(...budgets);
  return one.meaning.replace("{budget}", least === most ? counted(most, "forgery") : `${least} to ${counted(most, "forgery")}`);
}
function showLegend(lines) {
  const there = new Set(lines.flatMap(line => line.cells.map((cell, i) => line.filtered[i] ? "absent" : statusOf(cell))));
  const items = data.statuses.filter(one => there.has(one.name)).map(one => el("li", {},
    one.name === "broken"
      ? el("span", { class: "swatches" }, ["cheap", "fair", "dear"].map(tier => el("span", { class: `swatch broken ${tier}` }, one.sign)))
      : el("span", { class: `swatch ${one.name}` }, one.sign),
    one.name === "broken" ? `${one.meaning}; cost over the honest proof's: below 0.1, below 1, from 1` : meaningOf(one, lines)));
  if (state.mode === "adaptive") items.push(el("li", {}, el("span", { class: "swatch fallback" }, "0.1"),
    "in italics: the arm as declared, because nothing of it is searched or the search found no point that passes"));
  by("legend").replaceChildren(...items);
}

/** Arrows move among the cells, of which Tab reaches one. */
function moveFocus(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!step || !event.target.closest("td")) return;
  const rows = [...by("matrix").querySelectorAll("tr")].map(row => [...row.querySelectorAll("td button")]).filter(row => row.length);
  const row = rows.findIndex(one => one.includes(event.target)), target = rows[row + step[0]];
  const next = target && target[rows[row].indexOf(event.target) + step[1]];
  if (!next) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

// Tables of rankings.
const hearing = (title, more) => el("th", { scope: "col", class: more || null }, title);
function link(one, number, text) {
  return el("button", { type: "button", class: "link", on: { click: () => { state.open = [one.line.number, number]; writeAddress(); showCell(); } } }, text);
}
function forgery(one, number) {
  if (!one) return [el("span", { class: "faint" }, "none")];
  const mark = one.line.group === "controls" ? " (control)" : "";
  return [link(one, number, ratio(value(one.cell, "cost"))), " ", el("span", { class: "by" }, one.line.arm + mark)];
}
function unbroken(one) {
  if (one.policy.uncarried) return "not run";
  if (state.mode === "declared") return "not broken by the arms as declared";
  return one.unfinished ? `not broken so far, ${counted(one.unfinished, "search")} not finished`
    : `not broken within the budget of ${counted(one.budget, "forgery")} per arm`;
}
function showVerifiers(task, ranked) {
  const replayed = data.columns.find(one => one.name === "replayed");
  const rows = ranked.map(one => {
    const honest = one.honest && one.honest.cell, judged = honest !== undefined && value(honest, "tried");
    const refused = judged ? value(honest, "tried") - value(honest, "accepted") : 0;
    return el("tr", { class: one.place === undefined ? "unplaced" : null },
      el("td", { class: "number" }, placeText(one)),
      el("th", { scope: "row" }, one.policy.label, one.policy.about ? el("span", { class: "about" }, one.policy.about) : null),
      el("td", {}, one.best ? forgery(one.best, one.number)
        : unbroken(one)),
      el("td", {}, forgery(one.bestAttack, one.number)),
      el("td", { class: "number" }, `${one.attacks} of ${one.of}`),
      el("td", { class: "number" }, one.controls.length ? `${one.controls.filter(c => isBroken(c.cell)).length} of ${one.controls.length}` : UNKNOWN),
      el("td", {}, one.untrained ? link(one.untrained, one.number, isBroken(one.untrained.cell) ? "accepted" : "rejected") : UNKNOWN),
      el("td", { class: "number" }, one.othersOf ? `${one.others} of ${one.othersOf}` : UNKNOWN),
      el("td", { class: refused ? "number alarm" : "number" }, judged ? `${refused} of ${value(honest, "tried")}` : UNKNOWN),
      el("td", { class: "number" }, honest !== undefined ? percent(value(honest, "replayed")) : UNKNOWN));
  });
  by("verifiers").replaceChildren(el("table", { class: "ranking" }, el("caption", { class: "hidden" }, "Ranking of verifiers"),
    el("thead", {}, el("tr", {}, hearing("place", "number"), hearing("policy"), hearing("cheapest forgery, × the proof's cost"),
      hearing("without controls"), hearing("broken by attacks", "number"), hearing("by controls", "number"), hearing("no training"),
      hearing("other claims accepted", "number"), hearing("honest proofs rejected", "number"),
      el("th", { scope: "col", class: "number", title: replayed.meaning }, replayed.title))),
    el("tbody", {}, rows)));
}
function showAttacks(task, ranked) {
  const rows = ranked.map(one => el("tr", {},
    el("td", { class: "number" }, placeText(one)),
    el("th", { scope: "row" }, one.line.arm, one.line.group === "controls" ? el("span", { class: "tag" }, "control") : null,
      one.line.source ? el("span", { class: "about" }, one.line.source) : null),
    el("td", { class: "number" }, `${one.breaks.length} of ${one.of}`),
    el("td", { class: "number" }, one.mean.toFixed(1)),
    el("td", {}, one.best ? [link({ line: one.line }, one.best.number, ratio(value(one.best.cell, "cost"))), " ",
      el("span", { class: "by" }, `against ${one.best.policy.label}`)] : el("span", { class: "faint" }, "none")),
    el("td", { class: "wide" }, one.breaks.map(found => found.policy.label).join(", ") || UNKNOWN)));
  by("attacks").replaceChildren(el("table", { class: "ranking" }, el("caption", { class: "hidden" }, "Ranking of attacks"),
    el("thead", {}, el("tr", {}, hearing("place", "number"), hearing("attack"), hearing("policies broken", "number"),
      hearing("mean rank", "number"), hearing("cheapest, × the proof's cost"), hearing("which policies"))),
    el("tbody", {}, rows)));
}

// Sentences.
/** What the examination of an honest proof takes. */
function verification(lines) {
  const honest = lines.find(line => line.group === "honest");
  const cell = honest ? honest.cells.find(one => one >= 0 && value(one, "verification") !== null) : undefined;
  return cell === undefined ? "" : "Examining an honest proof for all policies together takes "
    + `${ratio(value(cell, "verification"))} times as long as making it (median of ${value(cell, "tried")}).`;
}
function summary(ranked) {
  const placed = ranked.filter(one => one.place !== undefined), beaten = placed.filter(one => one.best), whole = placed.filter(one => !one.best);
  if (!placed.length) return "No policy here accepts honest proofs.";
  const last = beaten.find(one => one.key === beaten[beaten.length - 1].key);
  const cheap = last ? `, the cheapest at ${ratio(value(last.best.cell, "cost"))} of the honest proof's cost (${last.by[0]} against ${last.policy.label})` : "";
  const within = state.mode === "adaptive" && whole.some(one => one.unfinished) ? " so far, of searches that are not finished"
    : state.mode === "adaptive" ? ` within ${counted(Math.max(0, ...whole.map(one => one.budget)), "forgery")} per arm` : " by the arms as declared";
  return `${beaten.length} of ${placed.length} policies that accept honest proofs accept a forgery${cheap}. `
    + (whole.length ? `Not broken${within}: ${whole.map(one => one.policy.label).join(", ")}.` : "None is unbroken.");
}
function showMissing(task, lines) {
  const found = new Map();
  const add = (reason, where) => found.set(reason, [...found.get(reason) || [], where]);
  for (const line of lines) {
    const without = new Map();
    line.cells.forEach((cell, number) => {
      if (line.filtered[number]) return;
      const reason = task.policies[number].uncarried ? "" : cell < 0 ? absence(task.policies[number], line.places[number])
        : value(cell, "tried") === 0 ? value(cell, "_says") : "";
      if (reason) without.set(reason, [...without.get(reason) || [], task.policies[number].label]);
    });
    for (const [reason, labels] of without)
      add(reason, labels.length === task.policies.filter(one => !one.uncarried).length ? `${line.group === "honest" ? "honest proofs" : line.arm} against every policy` : `${line.arm} against ${labels.join(", ")}`);
  }
  const items = [...found].map(([reason, where]) => el("li", {}, el("b", {}, `${reason}: `), where.join("; ")));
  items.unshift(...task.policies.filter(one => one.uncarried).map(one => el("li", {}, el("b", {}, `${one.label}: `), one.uncarried)));
  if (task.lacking.length) items.unshift(el("li", {}, el("b", {}, "Not run on this training: "), task.lacking.join("; ")));
  if (state.mode === "adaptive") {
    const unsearched = lines.filter(line => !line.searched && line.group !== "honest").map(line => line.arm);
    if (unsearched.length) items.push(el("li", {}, el("b", {}, "Nothing is searched, judged as declared: "), unsearched.join("; ")));
  }
  const gone = task.lines.filter((_, number) => !lines.some(line => line.number === number)).map(line => line.arm);
  if (gone.length) items.push(el("li", {}, el("b", {}, "Hidden by the filters: "), gone.join("; ")));
  if (task.leftOut) items.push(el("li", {}, `${counted(task.leftOut, "cell")} of other sweeps ask the same and are not shown: the cheaper forgery is, or the answer of more trials.`));
  by("missing").replaceChildren(...(items.length ? items : [el("li", {}, "Every arm was judged by every policy.")]));
}

// Filters.
function choice(type, name, text, isOn, act, title) {
  const box = el("input", { type, name, checked: isOn });
  box.addEventListener("change", () => act(box.checked));
  return el("label", { title: title || null }, box, el("span", {}, text));
}
const toggle = (set, one) => isOn => { if (isOn) set.delete(one); else set.add(one); change(); };
function makeFilters() {
  by("tasks").replaceChildren(...data.tasks.map((task, number) => choice("radio", "task",
    [el("b", {}, task.name), ` ${task.size}`], number === state.task, () => { state.task = number; state.open = null; change(); }, task.title)));
  by("modes").replaceChildren(
    choice("radio", "mode", "adapted to each policy", state.mode === "adaptive", () => { state.mode = "adaptive"; change(); }),
    choice("radio", "mode", "as declared", state.mode === "declared", () => { state.mode = "declared"; change(); }));
  by("claims").replaceChildren(...data.claims.map(one =>
    choice("checkbox", "claims", CLAIM_WORDS[one] || one, !state.hidden.has(one), toggle(state.hidden, one))));
  makeGrants();
}
function makeGrants() {
  const task = data.tasks[state.task];
  const cells = task ? task.lines.filter(line => line.group !== "honest").flatMap(line => line.places.flat()).filter(cell => cell >= 0) : [];
  const holders = new Map();
  for (const cell of cells) for (const one of grantsOf(cell)) holders.set(one, (holders.get(one) || 0) + 1);
  const boxes = special => data.grants.filter(one => holders.has(one.name) && (holders.get(one.name) < cells.length) === special).map(one =>
    choice("checkbox", "grants", [el("b", {}, one.name), ` ${one.meaning}`], !state.denied.has(one.name), toggle(state.denied, one.name)));
  const parts = [["Some attacks are granted", boxes(true)], ["Every attack is granted", boxes(false)]].filter(([, own]) => own.length);
  by("grants").replaceChildren(...parts.map(([title, own]) => el("fieldset", {}, el("legend", {}, title), el("div", { class: "choices column" }, own))));
  if (state.denied.size) by("granting").open = true;
}
function showGranted() {
  by("granted").textContent = state.denied.size ? `all but ${[...state.denied].join(", ")}` : "all";
}

// A cell's panel.
function settingTable(cell) {
  const setting = json(value(cell, "setting")), searched = json(value(cell, "searched"));
  const axes = [...new Set([...Object.keys(setting), ...Object.keys(searched)])].sort();
  if (!axes.length) return el("p", { class: "faint" }, "Nothing was searched: the arm is as declared.");
  const ends = value(cell, "ends").split(", ");
  const isEnd = axis => ends.some(one => one === axis || one.startsWith(`${axis} `));
  return el("table", { class: "facts" },
    el("thead", {}, el("tr", {}, hearing("axis"), hearing("found"), hearing("searched"))),
    el("tbody", {}, axes.map(axis => el("tr", {}, el("th", { scope: "row" }, axis),
      el("td", {}, axis in setting ? plain(setting[axis]) : "as declared", isEnd(axis) ? el("span", { class: "tag" }, "at the end of the range") : null),
      el("td", { class: "faint" }, axis in searched ? listed(searched[axis]) : UNKNOWN)))));
}
function factsTable(cell) {
  const groups = [...new Set(data.columns.map(one => one.group))];
  return groups.map(group => el("table", { class: "facts" }, el("caption", {}, group),
    el("tbody", {}, data.columns.filter(one => one.group === group).map(one => el("tr", {},
      el("th", { scope: "row" }, one.label),
      el("td", {}, one.name === "versions" || one.name === "searched" || one.name === "setting"
        ? Object.entries(json(value(cell, one.name))).map(([key, given]) => el("span", { class: "item" }, `${key}: ${plain(given)}`)) : cellText(cell, one)),
      el("td", { class: "faint" }, one.meaning))))));
}
function figure(title, text, more) {
  return el("div", { class: "figure" }, el("span", { class: "faint" }, title), el("b", {}, text), el("span", { class: "faint" }, more || ""));
}
function cellPart(cell) {
  const low = value(cell, "rate_low"), high = value(cell, "rate_high");
  const span = value(cell, "cost_low") === value(cell, "cost_high") || value(cell, "cost_low") === null ? ""
    : `, ${ratio(value(cell, "cost_low"))} to ${ratio(value(cell, "cost_high"))} over seeds`;
  return [
    el("p", {}, el("b", {}, value(cell, "_says"))),
    el("div", { class: "figures" },
      figure("cost", ratio(value(cell, "cost")), `× the proof's${span}`),
      figure("accepted", `${value(cell, "accepted")} of ${value(cell, "tried")}`, "forgeries judged"),
      figure("rate", percent(value(cell, "rate")), low === null ? "" : `95 %: ${percent(low)} to ${percent(high)}, of ${value(cell, "rate_of")}`),
      figure("error", ratio(value(cell, "error")), "× the proof's"),
      figure("seeds", `${value(cell, "seeds_accepted")} of ${value(cell, "seeds")}`, "accept the point")),
    value(cell, "rejected_by") ? el("p", {}, "Rejected by ", value(cell, "rejected_by").split(",").map((one, i) => [i ? ", " : "", el("code", {}, one)]).flat(), ".") : null,
    el("p", {}, "Trial ", el("code", { class: "trial" }, value(cell, "trial_id")), ` of sweep `, el("code", {}, value(cell, "sweep_id"))),
    value(cell, "command") ? el("pre", { tabindex: "0", "aria-label": "Command that makes the rows again" }, el("code", {}, value(cell, "command"))) : null,
    el("h3", {}, "Setting"), settingTable(cell),
    value(cell, "budget") ? el("p", { class: "faint" }, `Budget of ${counted(value(cell, "budget"), "forgery")}`
      + `${value(cell, "exhausted") ? "; every point that the axes allow was tried" : ""}`
      + `${value(cell, "ends") ? "; the point lies at an end of what was searched, so a better one may lie beyond" : ""}.`) : null,
    el("h3", {}, "Everything that is recorded"), ...factsTable(cell)];
}
function showCell(mode) {
  const dialog = by("cell"), task = data.tasks[state.task];
  if (!state.open || !task) { if (dialog.open) dialog.close(); return; }
  const [number, column] = state.open, line = task.lines[number], policy = task.policies[column], place = line.places[column];
  const cell = mode ? place[mode === "declared" ? 0 : 1] : shown(place, state.mode);
  const now = cell < 0 ? null : value(cell, "mode");
  const tabs = place.every(one => one >= 0) ? el("div", { class: "tabs" }, ["adaptive", "declared"].map(one =>
    el("button", { type: "button", "aria-pressed": String(one === now), on: { click: () => { showCell(one); document.querySelector('.tabs [aria-pressed="true"]').focus(); } } },
      one === "adaptive" ? "adapted to this policy" : "as declared"))) : null;
  by("cell-body").replaceChildren(
    el("div", { class: "bar" }, el("h2", { id: "cell-title" }, line.arm, el("span", { class: "faint" }, " against "), policy.label),
      el("button", { type: "button", class: "close", "aria-label": "Close", on: { click: () => dialog.close() } }, "✕")),
    el("p", { class: "faint" }, `${task.title}. ${groupTitle[line.group]}${line.source ? `; ${line.source}` : ""}.`,
      policy.about ? ` Policy: ${policy.about}.` : ""),
    ...[tabs].filter(Boolean),
    ...(cell < 0 ? [el("p", {}, absence(policy, place))] : cellPart(cell)).filter(Boolean));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

// The page.
function show() {
  const task = data.tasks[state.task];
  if (!task) {
    by("summary").textContent = "There are no cells yet.";
    return;
  }
  const lines = linesInView(task), ranked = rankVerifiers(task, lines);
  by("summary").textContent = summary(ranked);
  const isFiltered = state.hidden.size || state.denied.size;
  const notes = [
    state.mode === "declared" ? "Not adaptive: every attack as it was declared, adapted to no policy. An adversary would adapt." : "",
    isFiltered ? "Filters are on: matrix and rankings hold what is left." : ""].filter(Boolean);
  by("note").textContent = notes.join(" ");
  by("note").hidden = !notes.length;
  by("caption").textContent = "Each cell: cost of the cheapest accepted forgery over the honest proof's, or accepted of judged; below, the largest error "
    + "over the proof's, and the rate and the seeds at which it is accepted where that is not all. Policies stand from the one that is broken cheapest, attacks from "
    + "the one that most policies accept. A cell opens its record.";
  by("verifiers-rule").textContent = `${data.rules.verifiers} ${verification(lines)}`.trim();
  by("attacks-rule").textContent = data.rules.attacks;
  showMatrix(task, lines);
  showLegend(lines);
  showVerifiers(task, ranked);
  showAttacks(task, rankAttacks(task, lines));
  showMissing(task, lines);
  showGranted();
}
function provenance() {
  const listed = name => [...new Set(data.cells[name].of)].filter(Boolean);
  const parts = data.count ? [counted(data.tasks.length, "training"), counted(data.count, "cell"),
    `commit ${listed("commit").map(one => one.slice(0, 12)).join(", ") || "not recorded"}`, listed("device_name").join(", ")] : [];
  by("provenance").textContent = parts.filter(Boolean).join(" · ");
}
function start() {
  readAddress();
  makeFilters();
  show();
  showCell();
}
by("filters").addEventListener("submit", event => event.preventDefault());
by("filters").addEventListener("change", event => {
  if (event.target.name === "task") makeGrants();  // each training has its own
});
by("matrix").addEventListener("keydown", moveFocus);
by("cell").addEventListener("close", () => { state.open = null; writeAddress(); });
by("cell").addEventListener("click", event => { if (event.target === by("cell")) by("cell").close(); });
window.addEventListener("hashchange", start);
window.addEventListener("resize", fit);
provenance();
start();
})();
