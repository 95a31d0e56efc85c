// What every view has at its head: its name, a line of Python, its address, its data as a file.

import { button, h, icon, tell } from "./dom.js";
import { t } from "./i18n.js";

export class Tools {
  constructor(context, title) {
    this.context = context;
    this.python = "";
    this.file = null; // { question, params }
    this.subtitle = h("span", { class: "subtitle" });
    const { source } = context;
    const forms = source.still ? ["csv"] : ["csv", "parquet"];
    this.node = h("div", { class: "head" },
      h("h1", {}, title), this.subtitle, h("span", { class: "space" }),
      h("div", { class: "tools", role: "group" },
        !source.still && button(t("python"), { class: "tool", "data-tool": "python", onclick: (e) => this.copy(e, this.code()) }, icon("code"), "Python"),
        button(t("link"), { class: "tool", "data-tool": "link", onclick: (e) => this.copy(e, location.href) }, icon("link")),
        forms.map((form) => button(t("downloadAs", { form: t(form) }), {
          class: "tool", "data-tool": form, onclick: () => this.save(form),
        }, icon("down"), t(form)))));
  }

  answered(answer, question, params) {
    this.python = answer.python ?? "";
    this.file = { question, params };
  }

  code() {
    return `import polars as pl\nimport titans\n\nframe = ${this.python}\n`;
  }

  save(form) {
    if (!this.file) return;
    this.context.source.download(this.context.provider, this.file.question, this.file.params, form);
  }

  async copy(event, text) {
    const node = event.currentTarget;
    await copied(text);
    node.classList.add("done");
    tell(t("copied"));
    setTimeout(() => node.classList.remove("done"), 1200);
  }
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Not over plain HTTP from another machine: the old way.
    const area = h("textarea", { class: "quiet", value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
