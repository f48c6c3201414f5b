// The frame: header with the model chip, language and theme; tabs on a phone; keys that work everywhere.
(() => {
  const { t, el, icon, hear, tell, setLanguage, follow, store, readStored, errorSentence, isComposing, serverUrl } = ixc;

  ixc.header = (element, host) => {
    const chipText = el("span");
    const chip = el("button", { type: "button", class: "ixc-chip", id: "ixc-model-chip", "aria-expanded": "false",
      "aria-controls": "ixc-model-note", onclick: () => toggleNote() }, el("span", { class: "ixc-dot" }), chipText);
    const note = el("div", { class: "ixc-popover", id: "ixc-model-note", role: "note", hidden: true });
    const languages = el("div", { class: "ixc-languages", role: "group", "data-t-label": "app.language" },
      languageButton("en", "EN"), el("span", { "aria-hidden": "true", text: "/" }), languageButton("zh", "中文"));
    const theme = el("button", { type: "button", class: "ixc-plain", "data-t-label": "app.theme", "data-t-title": "app.theme",
      onclick: switchTheme }, icon("sun"));
    element.append(
      el("div", { class: "ixc-brand" }, el("h1", { text: "4KHD" }), el("p", { "data-t": "app.tagline" })),
      el("div", { class: "ixc-tools" }, el("div", { class: "ixc-chip-box" }, chip, note), languages, theme));
    ixc.translateTree(element);

    function languageButton(code, label) {
      return el("button", { type: "button", class: "ixc-plain", lang: code === "zh" ? "zh-CN" : "en", "data-language": code,
        text: label, onclick: () => setLanguage(code) });
    }

    function toggleNote(open = note.hidden) {
      note.hidden = !open || !note.textContent;
      chip.setAttribute("aria-expanded", String(!note.hidden));
    }

    document.addEventListener("click", (event) => { if (!chip.parentNode.contains(event.target)) toggleNote(false); });
    chip.parentNode.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || note.hidden) return;
      event.preventDefault();
      toggleNote(false);
      chip.focus();
    });

    // What came of the switches before this page was opened is no news to it: it neither chose them nor waited for them.
    let numSwitchesBefore = null;
    let looking = null; // the clock, while a model is being downloaded
    function withNews(model) {
      const isNews = numSwitchesBefore != null && model.switches > numSwitchesBefore;
      return isNews || model.phase === "failed" ? model : { ...model, error: null, freed: null };
    }
    hear("opened", () => setTimeout(() => {
      const { switches, phase, coming } = host.props.value;
      numSwitchesBefore ??= switches - (phase === "loading" || coming ? 1 : 0); // of one under way this page sees the end
    }));

    follow(host, (value) => {
      const model = withNews(value);
      tell("model", model);
      followDownload(Boolean(model.coming));
      chip.dataset.phase = model.phase;
      const parts = { ready: [model.coming ? coming(model) : model.device.split(" (")[0] || t("model.elsewhere")], failed: [t("model.failed")], away: [t("model.away")], loading: [loading(model)] };
      chipText.textContent = [model.name, ...parts[model.phase]].filter(Boolean).join(" · ");
      chip.setAttribute("aria-label", `${t("model.about")}: ${chipText.textContent}`);
      document.body.dataset.layout = model.layout.kind;
      const notes = { failed: () => t("model.failed.long", { detail: errorSentence(model.error) }), away: () => t("model.away.long") };
      if (model.coming) notes.ready = () => t("model.coming.long", { model: model.name, coming: model.coming.name });
      note.textContent = (notes[model.phase] ?? (() => ixc.modelNote(model)))();
      if (!note.textContent) toggleNote(false);
      else if (model.choices > 1) note.append(el("button", { type: "button", class: "ixc-button ixc-choose-model", id: "ixc-choose-model", text: t("model.choose"), onclick: chooseModel }));
    })();

    function chooseModel() {
      toggleNote(false);
      ixc.showPane("chat");
      if (document.body.dataset.settings !== "open") document.querySelector("#ixc-settings-button").click();
      document.querySelector("#ixc-model input")?.focus();
    }

    function loading(model) {
      return model.percent == null ? `${t("model.loading")}…` : `${t("model.loading")} ${model.percent} %`;
    }

    function coming(model) {
      const { percent } = model.coming;
      return percent == null ? `${t("model.coming")}…` : t("model.coming.percent", { percent });
    }

    // How far a download is, which may take hours. Whoever is about to choose a model is not disturbed.
    function followDownload(isUnderWay) {
      if (isUnderWay === (looking != null)) return;
      if (!isUnderWay) clearInterval(looking);
      looking = isUnderWay ? setInterval(() => { if (!document.activeElement?.closest("#ixc-model")) refreshIfThere(); }, 2000) : null;
    }

    // Somebody else may have switched the model that all pages share, or its server was lost: an answer tells, and a plan does.
    ixc.refreshModel = () => host.trigger("refresh");
    hear("answered", ({ model, isLost }) => {
      const known = ixc.last("model");
      if (known?.phase === "ready" && (isLost || (model && model !== known.name))) ixc.refreshModel();
    });
    // Who comes back to this tab sees how things stand: once the app can be reached, for of a call that cannot reach it Gradio would
    // load the page again.
    document.addEventListener("visibilitychange", refreshIfThere);
    async function refreshIfThere() {
      if (document.hidden) return;
      const isThere = await fetch(serverUrl("gradio_api/app_id"), { cache: "no-store" }).then(({ ok }) => ok, () => false);
      if (isThere) ixc.refreshModel();
    }

    hear("language", (language) => {
      for (const button of languages.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(button.dataset.language === language));
      }
      // Gradio's own controls get their labels from the server.
      host.trigger("language");
    });
  };

  function switchTheme() {
    const dark = document.body.classList.toggle("dark");
    store("ixc-theme", dark ? "dark" : "light");
  }

  // On a wide screen image and chat stand side by side under one tab; on a phone each has its own.
  ixc.panes = (element) => {
    const PANES = ["image", "chat", "compare", "evidence"];
    const narrow = window.matchMedia("(max-width: 860px)");
    const tabs = PANES.map((pane) => el("button", { type: "button", role: "tab", id: `ixc-tab-${pane}`, "aria-controls": `ixc-${pane}-pane`,
      "data-pane": pane, onclick: () => ixc.showPane(pane) }, el("span", { "data-t": `app.pane.${pane}` })));
    element.append(el("div", { role: "tablist", class: "ixc-tabs", "data-t-label": "app.panes" }, ...tabs));

    ixc.showPane = (wanted) => {
      const pane = wanted === "chat" && !narrow.matches ? "image" : wanted;
      document.body.dataset.pane = pane;
      for (const tab of tabs) {
        tab.setAttribute("aria-selected", String(tab.dataset.pane === pane));
        tab.tabIndex = tab.dataset.pane === pane ? 0 : -1;
      }
      tell("pane", pane);
    };
    function fitWidth() {
      tabs[0].firstChild.dataset.t = narrow.matches ? "app.pane.image" : "app.pane.both";
      tabs[0].setAttribute("aria-controls", narrow.matches ? "ixc-image-pane" : "ixc-image-pane ixc-chat-pane");
      ixc.translateTree(element);
      ixc.showPane(document.body.dataset.pane || "image");
    }
    element.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      const shown = tabs.filter((tab) => tab.offsetParent);
      const next = shown[(shown.findIndex((tab) => tab.tabIndex === 0) + step + shown.length) % shown.length];
      ixc.showPane(next.dataset.pane);
      next.focus();
    });
    narrow.addEventListener("change", fitWidth);
    fitWidth();
  };

  ixc.settingsToggle = (element, host) => {
    const button = el("button", { type: "button", class: "ixc-settings-button", id: "ixc-settings-button", "aria-controls": "ixc-settings",
      "aria-expanded": "false", onclick: () => {
        const open = document.body.dataset.settings !== "open";
        document.body.dataset.settings = open ? "open" : "closed";
        button.setAttribute("aria-expanded", String(open));
        const pane = button.closest("#ixc-chat-pane");
        if (open && getComputedStyle(pane).overflowY === "auto") button.scrollIntoView({ block: "start" }); // they are below what is seen
      } }, el("span", { "data-t": "settings.title" }), icon("chevron"));
    element.append(button);
    ixc.translateTree(element);
    nameFields();

    ixc.restoreSettings = (values) => { keptSettings = values; host.trigger("restore"); };
  };

  // Gradio puts English before a slider's label, whatever the label's language: "number input for Temperature".
  function nameFields() {
    const rename = (field) => {
      const [, label] = (field.getAttribute("aria-label") ?? "").match(/^(?:number input|range slider) for (.*)/) ?? [, field.dataset.names];
      if (!label) return;
      field.dataset.names = label;
      const name = t(field.type === "range" ? "settings.field.range" : "settings.field.number", { label });
      if (field.getAttribute("aria-label") !== name) field.setAttribute("aria-label", name);
    };
    let named = null;
    hear("opened", () => { // and again with every language
      const fields = document.querySelector("#ixc-settings");
      const renameAll = () => fields.querySelectorAll("input").forEach(rename);
      renameAll();
      named ??= new MutationObserver(renameAll);
      named.observe(fields, { attributes: true, attributeFilter: ["aria-label"], subtree: true });
    });
  }

  // The settings as Gradio's controls have them: noted at every change, and given back once after the page was loaded again.
  let settings = null;
  let keptSettings = null;
  ixc.noteSettings = (values) => { settings = values; };
  ixc.settings = () => settings;
  ixc.keptSettings = () => keptSettings;

  // Text that the server wrote for the user to keep, saved without a file on the server.
  ixc.downloader = (element, host) => {
    host.watch("value", () => {
      const file = host.props.value;
      if (!file) return;
      const url = URL.createObjectURL(new Blob([file.text], { type: `${file.mime};charset=utf-8` }));
      el("a", { href: url, download: file.name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    });
  };

  ixc.isBusy = () => document.body.dataset.busy === "true";

  // Escape stops the answer, unless there is something smaller to leave: whoever has such a thing takes the key, or is named here.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !ixc.isBusy() || event.defaultPrevented || isComposing(event)) return;
    if (event.target.closest?.("dialog, #ixc-settings")) return;
    event.preventDefault();
    document.querySelector("#ixc-stop")?.click();
  });

  function start() {
    const theme = readStored("ixc-theme");
    if (theme) document.body.classList.toggle("dark", theme === "dark");
    setLanguage(ixc.language);
  }
  if (document.body) start();
  else document.addEventListener("DOMContentLoaded", start);
})();
