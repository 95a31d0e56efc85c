// SQL over the archive, where the server offers it.

import { h } from "./dom.js";
import { count, shown } from "./format.js";
import { t } from "./i18n.js";
import { Table } from "./table.js";
import { Tools } from "./tools.js";

const LIMIT = 100;

export function create(context) {
  const { about, provider, source, store, change, failed } = context;
  const tools = new Tools(context, t("sql"));
  const text = h("textarea", { class: "query", rows: 6, spellcheck: "false", autocomplete: "off", "aria-label": t("query"), maxlength: 20000 });
  const told = h("span", { class: "hint" });
  const run = h("button", { type: "button", class: "tool text strong", onclick: () => ask() }, t("run"));
  const table = new Table(t("sql"), {
    sort: (sort, desc) => change({ sort, desc: desc ? "1" : "", offset: "" }),
    offset: (offset) => change({ offset: offset || "" }),
  });
  const examples = h("div", { class: "chips" }, h("span", { class: "label" }, t("examples")), queries(about).map((query) =>
    h("button", { type: "button", class: "chip mono", onclick: () => { text.value = query; ask(); } }, query.replace(/\s+/g, " ").slice(0, 64) + (query.length > 64 ? "…" : ""))));
  const answerBox = h("section", { class: "card" }, table.node);
  const node = h("div", { class: "view sql" }, tools.node,
    store.sql ? h("section", { class: "card controls" }, text, h("div", { class: "row" }, run, h("span", { class: "hint" }, t("runHint")), h("span", { class: "space" }), told), examples) : h("p", { class: "note" }, t(source.still ? "sqlStill" : "sqlOff")),
    answerBox);
  let asking = null;

  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      ask();
    }
  });

  function ask() {
    change({ q: text.value.trim(), sort: "", desc: "", offset: "" }, { push: true });
  }

  return {
    node,
    async update(params) {
      const query = params.get("q") ?? "";
      if (document.activeElement !== text || !text.value) text.value = query || queries(about)[0];
      answerBox.hidden = !query;
      if (!store.sql || !query) return;
      asking?.abort();
      asking = new AbortController();
      const wanted = new URLSearchParams(params);
      wanted.set("limit", LIMIT);
      const started = performance.now();
      run.disabled = true;
      try {
        const answer = await source.ask(provider, "sql", wanted, asking.signal);
        const kept = answer.count > answer.kept ? ` · ${t("kept", { n: count(answer.kept) })}` : "";
        told.textContent = `${count(answer.count)} ${t("rows").toLowerCase()} · ${t("took", { ms: count(performance.now() - started) })}${kept}`;
        const columns = answer.columns.map((column, at) => ({ ...column, at, label: column.name, sort: column.name, cell: (row) => shown(row[at], column.kind) }));
        table.show({
          columns, rows: answer.rows, sort: params.get("sort") ?? "", desc: params.get("desc") === "1",
          offset: Number(params.get("offset") ?? 0), limit: LIMIT, total: answer.kept,
        });
        tools.answered(answer, "sql", params);
      } catch (error) {
        told.textContent = "";
        failed(error);
      } finally {
        run.disabled = false;
      }
    },
  };
}

const quoted = (name) => (/^[a-z_]\w*$/i.test(name) ? name : `"${name.replaceAll('"', '""')}"`);

function queries(about) {
  const first = quoted(about.key[about.key.length > 1 ? 1 : 0].name);
  const number = [...about.columns].reverse().find((column) => column.kind === "number" && column.nulls < 1);
  const found = [`SELECT ${first}, count(*) AS points FROM changes GROUP BY ALL ORDER BY points DESC`];
  if (number) {
    found.push(`SELECT ${first}, count(*) AS keys, median(${quoted(number.name)}) AS median\nFROM latest GROUP BY ALL ORDER BY median DESC`);
  }
  found.push(`SELECT date_trunc('day', Time) AS day, count(*) AS points, count_if(Ceased) AS ceased\nFROM changes GROUP BY ALL ORDER BY day`);
  return found;
}
