// window.ixc: sentences, language, small DOM helpers, and the board on which components tell each other what changed.
// Text from users, files or the model only ever reaches the page through text nodes and attributes, never as HTML.
window.ixc = (() => {
  const strings = window.IXC_STRINGS;
  const listeners = {};
  const last = {};

  function storedLanguage() {
    const stored = readStored("ixc-language");
    if (stored in strings) return stored;
    return (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
  }

  function readStored(key) {
    try { return localStorage.getItem(key) || ""; } catch { return ""; }
  }

  function store(key, value) {
    try { localStorage.setItem(key, value); } catch { /* private windows forbid it: the choice lasts for this page */ }
  }

  let language = storedLanguage();

  function t(key, values = {}) {
    const sentence = (strings[language] || strings.en)[key] ?? key;
    return sentence.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
  }

  // tell() remembers the last value of a topic, so that a component that appears later still hears it.
  function tell(topic, value) {
    last[topic] = value;
    for (const listener of listeners[topic] || []) listener(value);
  }

  function hear(topic, listener) {
    (listeners[topic] ||= []).push(listener);
    if (topic in last) listener(last[topic]);
  }

  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") node.textContent = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
  }

  const ICONS = {
    upload: "M12 16V4m0 0 5 5m-5-5L7 9M4 16v3a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-3",
    camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 17a4 4 0 1 0 0-8 4 4 0 0 0 0 8",
    replace: "M4 12a8 8 0 0 1 13.7-5.6L20 9M20 4v5h-5M20 12a8 8 0 0 1-13.7 5.6L4 15M4 20v-5h5",
    close: "m6 6 12 12M18 6 6 18",
    zoom: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14m9 2-4-4M11 8v6M8 11h6",
    fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
    copy: "M9 9h11v11H9zM5 15H4V4h11v1",
    retry: "M20 12a8 8 0 1 1-2.3-5.7L20 8.500M20 4v4.500h-4.500",
    undo: "M9 14 4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
    edit: "M4 20h4L19 9l-4-4L4 16zM13.500 6.500l4 4",
    check: "m5 12.500 4.500 4.500L19 7.500",
    plus: "M12 5v14M5 12h14",
    minus: "M5 12h14",
    download: "M12 4v12m0 0 5-5m-5 5-5-5M4 20h16",
    down: "M12 5v14m0 0 6-6m-6 6-6-6",
    chevron: "m6 9 6 6 6-6",
    sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8M12 3v2m0 14v2M3 12h2m14 0h2M5.600 5.600 7 7m10 10 1.400 1.400M5.600 18.400 7 17M17 7l1.400-1.400",
    info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M12 11v5m0-8.500v.01",
  };

  function icon(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("class", "ixc-icon");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", ICONS[name]);
    svg.append(path);
    return svg;
  }

  // A node whose text follows the language: <span data-t="key">, or attributes through data-t-title and data-t-label.
  function translateTree(root) {
    for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
    for (const node of root.querySelectorAll("[data-t-title]")) node.title = t(node.dataset.tTitle);
    for (const node of root.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  }

  function setLanguage(next) {
    if (!(next in strings)) return;
    language = next;
    store("ixc-language", next);
    document.documentElement.lang = next === "zh" ? "zh-CN" : "en";
    nameTab();
    translateTree(document);
    tell("language", next);
  }

  // Gradio names the tab too, in English, while the page starts.
  function nameTab() { document.title = t("app.title"); }
  hear("opened", nameTab);

  // The column that a component stands in is the panel of its tab.
  function standIn(element, pane) {
    const column = element.closest(`#ixc-${pane}-pane`);
    column?.setAttribute("role", "tabpanel");
    column?.setAttribute("aria-labelledby", `ixc-tab-${pane}`);
  }

  const BY_TOUCH = window.matchMedia("(hover: none) and (pointer: coarse)").matches;

  // Where `change` takes away or disables what has the keyboard's focus inside `root`, `heir()` gets it; whoever is elsewhere stays
  // there. A finger needs no focus, which might open the keyboard on the screen.
  function passFocus(root, change, heir) {
    const before = document.activeElement;
    const isAsked = root?.contains(before) && (!BY_TOUCH || before.matches(":focus-visible"));
    change();
    if (!isAsked || ![before, document.body].includes(document.activeElement)) return;
    const isHidden = before.checkVisibility?.({ visibilityProperty: true }) === false;
    if (!before.isConnected || before.disabled || isHidden) heir()?.focus({ preventScroll: true });
  }

  const questionField = () => document.querySelector("#ixc-question textarea");

  // A key that writes with an input method: Enter then takes a candidate, Escape drops it. Safari says so by the code alone.
  const isComposing = (event) => event.isComposing || event.keyCode === 229;

  // A value from the server that this component shows: now, and whenever it or the language changes.
  function follow(host, render) {
    // Gradio turns a value of None into an empty string.
    const show = () => { if (host.props.value !== "" && host.props.value != null) render(host.props.value); };
    host.watch("value", show);
    hear("language", show);
    return show;
  }

  function errorSentence(message) {
    const key = `error.${message.code}`;
    return t(key in strings.en ? key : "error.IxcError", { detail: message.detail ?? "", ...message });
  }

  // An error as a bar with a button that takes it away by `dismiss()`; the focus goes to `heir()` then.
  function drawNotice(notice, message, dismiss, heir) {
    notice.hidden = !message;
    if (!message) return notice.replaceChildren();
    notice.replaceChildren(el("p", { text: errorSentence(message) }), el("button", { type: "button", class: "ixc-tool",
      "aria-label": t("error.dismiss"), onclick: () => passFocus(notice, dismiss, heir) }, icon("close")));
  }

  // What a model's server says about it is English. Known models' sentences have a translation, and those about unknown ones.
  const OF_UNKNOWN = ["model.unknown", "model.remote"];
  const modelNote = (model) => {
    const key = OF_UNKNOWN.find((each) => strings.en[each] === model.note);
    return key ? t(key) : strings[language][`model.note.${model.name}`] ?? model.note;
  };

  // How an image is looked at, in words: "7 × 3 tiles", "one view of 490 × 490".
  const viewWords = (view) => t(`view.${view.kind}`, { cols: view.cols, rows: view.rows, px: view.viewPx });

  // The server may live under a path of another one.
  const serverUrl = (path) => `${(window.gradio_config?.root || "").replace(/\/$/, "")}/${path}`;

  const formatBytes = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.round(n / 1e6))} MB`);

  const formatCount = (n) => Math.round(n).toLocaleString("en-US");

  return {
    t, tell, hear, el, standIn, passFocus, questionField, isComposing, icon, translateTree, setLanguage, follow, errorSentence, drawNotice, modelNote, viewWords, serverUrl, formatBytes, formatCount, store, readStored,
    get language() { return language; },
    last: (topic) => last[topic],
  };
})();
