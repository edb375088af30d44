// What a person may do. Each act says what will happen, asks for its words, and shows the daemon's refusal as it is.

import { card, coded, h, redrawn, trouble } from "./dom.js";
import { Problem } from "./forestay.js";
import * as f from "./format.js";

const ACTS = [
  {
    id: "promote", title: "Go live", button: "Go live…", words: "go live", path: "/promote", preflight: true,
    allowed: (status) => status === "ELIGIBLE", why: "Its record must be eligible, and no lock in force.",
    explain: ["The agent trades real money from the next decision on, with what the wallet holds.", "Each swap is signed by the guard, within the guard's own limits.", "Reaching a drawdown limit takes it out of live by itself and sells what it holds."],
    body: () => ({ confirm: "go live" }), done: "It is live.",
  },
  {
    id: "force", title: "Go live without the record", button: "Force it…", words: "go live", path: "/promote", preflight: true, force: true, danger: true,
    allowed: (status) => status === "PAPER", why: "Only from paper; where it is eligible, force is not needed.",
    explain: ["The same as going live, but the record has not earned it.", "All other checks of the preflight still have to hold, and a lock after a breach cannot be forced."],
    body: () => ({ confirm: "go live", force: true }), done: "It is live, by force.",
  },
  {
    id: "demote", title: "Back to paper", button: "Demote…", words: "back to paper", path: "/demote", reason: true, danger: true, stop: true,
    allowed: (status) => status === "LIVE", why: "It is not live; this also sells what a kill switch has left behind.", always: true,
    explain: ["The agent stops trading live, and what the live book holds is sold for USDT at once.", "No lock follows: it may be promoted again when its record allows it."],
    body: (reason) => ({ reason }), done: ({ flattening }) => `It trades on paper.${flattening ? " What the live book holds is sold for USDT, once the guard signs that." : ""}`,
  },
  {
    id: "reapprove", title: "Lift the lock", button: "Re-approve…", words: "re-approve", path: "/reapprove", reason: true,
    allowed: (status, lock) => status === "DEMOTED" && lock?.breach === "max", why: "There is no lock after a max drawdown.",
    explain: ["A breach of the max drawdown locks promotion until a person has looked at it.", "This lifts the lock of exactly that demotion. It promotes nothing."],
    body: (reason, live) => ({ reason, demotion: live.lock?.journal_ref ?? live.lock?.id ?? "" }), done: "The lock is lifted.",
  },
  {
    id: "kill", title: "Kill switch", button: "Revoke signing…", words: "revoke signing", path: "/kill-switch", danger: true, stop: true, always: true,
    allowed: () => true,
    explain: ["The guard signs nothing more, at once, whatever the daemon asks for. A live agent goes back to paper.", "Nothing is sold: what is held stays held until the guard is restored and the agent is demoted by hand.", "Only `forestay guard restore`, with the keystore's password, undoes it. Where the daemon hangs, `forestay kill` does the same without it."],
    signing: "Signing is not set up here: there is no guard, so nothing can be signed anyway.",
    patience: 10_000, otherwise: "`forestay kill` stops all signing without it.",
    body: () => ({ confirm: "revoke signing", reason: "from the dashboard" }), done: "The guard signs nothing more.",
  },
];

export function mount(main, { client, live, query }) {
  const standing = h("p.note");
  const cards = ACTS.map((act) => actCard(act, client, live)), limits = config(client, live);
  main.append(
    h("section", { "aria-label": "Stop it", id: "stop" }, h("div.grid.acts", cards.filter(({ act }) => act.stop).map(({ element }) => element))),
    h("section", { "aria-label": "Go live" }, h("div.grid.acts", cards.filter(({ act }) => !act.stop).map(({ element }) => element))),
    limits.element);
  const tell = () => cards.forEach((it) => it.tell());
  const unwatch = live.watch(tell);
  tell();
  if (query.get("to") === "stop") cards.find(({ act }) => act.id === (live.agent?.status === "LIVE" ? "demote" : "kill")).button.focus();
  return () => {
    unwatch();
    limits.close();
  };
}

function actCard(act, client, live) {
  const button = h(act.danger ? "button.danger" : "button", { type: "button", onclick: () => ask(act, client, live) }, act.button);
  const why = h("p.note");
  const draw = redrawn(why, (words) => words);
  const element = card(act.title, h("ul", act.explain.map((line) => h("li", coded(line)))), why, button);
  return {
    act, element, button,
    tell() {
      const fits = Boolean(live.agent && act.allowed(live.agent.status, live.lock));
      const guard = act.signing && live.kept("health")?.guard;
      const told = guard === null ? act.signing : guard?.killed ? `It is on since ${f.time(guard.killed_at)}.` : fits ? "" : act.why;
      draw(told);
      why.hidden = !told;
      button.disabled = !fits && !act.always && !act.preflight;
    },
  };
}

/** The dialog of an act: preflight, words, refusal. */
function ask(act, client, live) {
  const typed = h("input", { type: "text", autocomplete: "off", spellcheck: "false", oninput: ready });
  const reason = act.reason && h("input", { type: "text", maxlength: 500, oninput: ready });
  const said = h("div", { role: "alert" }), checks = h("div");
  const sure = h(act.danger ? "button.danger" : "button", { type: "submit", disabled: true }, act.title);
  const title = `act-${act.id}`;
  const dialog = h("dialog", { "aria-labelledby": title },
    h("form", { onsubmit: doIt },
      h("h2", { id: title }, act.title),
      h("ul", act.explain.map((line) => h("li", coded(line)))),
      checks,
      reason && h("label", "Why? It goes into the journal.", reason),
      h("label", h("span", "Type ", h("b", act.words), " to confirm"), typed),
      said,
      h("div.actions", h("button.quiet", { type: "button", onclick: () => dialog.close() }, "Leave it"), sure)));

  function ready() {
    sure.disabled = typed.value.trim() !== act.words || Boolean(reason && !reason.value.trim());
  }

  async function doIt(event) {
    event.preventDefault();
    sure.disabled = true;
    said.replaceChildren(h("p.note", "Asking…"));
    try {
      const done = await client.send("POST", act.path, act.body(reason?.value.trim(), live), { signal: AbortSignal.timeout(act.patience ?? 120_000) });
      said.replaceChildren(h("p.good-news", typeof act.done === "function" ? act.done(done) : act.done));
      typed.disabled = true;
      if (reason) reason.disabled = true;
      live.renew("health", "objectives", "evaluation", "positions");
    } catch (error) {
      said.replaceChildren(error instanceof Problem ? trouble(error) : h("p.trouble", `The daemon does not answer (${error.message}), so nobody knows here whether it was done. `, act.otherwise && coded(act.otherwise)));
      if (error.body?.checks) checks.replaceChildren(h("div", checkList(error.body.checks)));
      ready();
    }
  }

  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  if (act.preflight) {
    const place = h("div");
    checks.append(place); // what is newer takes its place, and a late answer is then seen nowhere
    look(act, client, place);
  }
}

async function look(act, client, root) {
  root.replaceChildren(h("p.note", "Looking at guard, wallet and chain…"));
  try {
    root.replaceChildren(checkList((await client.get("/preflight", act.force ? { force: "true" } : {}, { signal: AbortSignal.timeout(60_000) })).body));
  } catch (error) {
    root.replaceChildren(trouble(error));
  }
}

function checkList(checks) {
  return h("ul.checks", { "aria-label": "Preflight" }, checks.map((it) => h("li", h("span.chip", { "data-tone": it.ok ? "good" : "bad" }, it.ok ? "holds" : "fails"), h("span.name", it.name), h("span", it.detail))));
}

// --- limits

const LIMITS = [
  ["risk.max_drawdown_pct", "Max drawdown, %"], ["risk.daily_drawdown_pct", "Daily drawdown, %"], ["risk.max_consecutive_losses", "Losses in a row"],
  ["risk.cooldown_hours", "Cooldown after them, hours"], ["risk.per_pair_exposure_pct", "Exposure of a pair, %"], ["evaluation.eval_window_days", "Evaluation window, days"],
  ["evaluation.trade_floor", "Closed trades at least"],
];

function config(client, live) {
  const inputs = LIMITS.map(([key]) => [key, h("input", { type: "number", step: "any", name: key, required: true })]);
  const fields = h("div.filters", LIMITS.map(([, label], at) => h("label", label, inputs[at][1]))), said = h("div", { role: "status" });
  let before = {}, unfollow;
  const sure = h("button", { type: "submit", disabled: true }, "Adopt as a new version");
  const form = h("form", { onsubmit: adopt }, fields, said, sure);
  const value = (document, key) => key.split(".").reduce((it, name) => it?.[name], document);

  /** As it is in force now, by whomever; what somebody is just changing here is left alone. */
  function show(document) {
    before = document;
    for (const [key, input] of inputs) {
      const untouched = input.value === input.defaultValue;
      input.defaultValue = value(document, key);
      if (untouched) input.value = input.defaultValue;
    }
  }

  function read() {
    unfollow?.();
    unfollow = live.follow(() => client.get("/config"), (page, error) => {
      if (error || sure.disabled) said.replaceChildren(...(error ? [trouble(error)] : []));
      sure.disabled = Boolean(error);
      if (page) show(page.body);
    }, (events) => events.some((it) => it.type === "CONFIG_CHANGE") && read());
  }

  async function adopt(event) {
    event.preventDefault();
    const patch = {};
    for (const [key, input] of inputs) {
      const [section, name] = key.split("."), given = Number(input.value);
      if (given !== value(before, key)) (patch[section] ??= {})[name] = given;
    }
    if (!Object.keys(patch).length) return said.replaceChildren(h("p.note", "Nothing is changed."));
    try {
      show(await client.send("PATCH", "/config", patch, { signal: AbortSignal.timeout(60_000) }));
      said.replaceChildren(h("p.good-news", "It is in force; a fresh evaluation has begun."));
    } catch (error) {
      said.replaceChildren(trouble(error));
    }
  }

  read();
  const element = card("Limits and criteria", h("p.note", "Each change makes a new version of the config and begins a fresh evaluation. While live, no limit can be loosened."), form);
  return { element, close: () => unfollow() };
}
