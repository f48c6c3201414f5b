// The layout explorer: one detail of the picture as each model gets it, beside what each spends on the whole image.
(() => {
  const { t, el, icon, tell, hear, follow, standIn, passFocus, formatCount, viewWords, errorSentence, drawNotice, serverUrl } = ixc;
  const STEP = 0.02; // of the image, for one press of an arrow key

  ixc.compare = (element, host) => {
    const { max, named, zooms } = JSON.parse(element.querySelector("[data-compare]").dataset.compare);
    const picture = el("img", { class: "ixc-cmp-picture", draggable: "false" });
    const box = el("button", { type: "button", class: "ixc-cmp-box", id: "ixc-cmp-box", "data-t-label": "compare.box" });
    const frame = el("div", { class: "ixc-cmp-frame" }, picture, box);
    const zoomLabel = el("span", { class: "ixc-small" });
    const zoomButtons = [zoomButton("minus", "compare.wider", 1), zoomButton("plus", "compare.closer", -1)];
    const budgets = el("div", { class: "ixc-row", role: "group", "data-t-label": "compare.budget" });
    const finder = el("div", { class: "ixc-card ixc-cmp-finder" },
      el("h2", { "data-t": "compare.title" }), el("p", { class: "ixc-small", "data-t": "compare.help" }), frame,
      el("div", { class: "ixc-row ixc-cmp-zoom" }, ...zoomButtons, zoomLabel),
      el("p", { class: "ixc-cmp-label", "data-t": "compare.budget" }), budgets);
    const patches = el("div", { class: "ixc-cmp-patches", id: "ixc-cmp-patches" });
    const table = el("div", { class: "ixc-scroll-x", tabindex: "0", role: "region", "data-t-label": "compare.table" });
    const results = el("div", { class: "ixc-cmp-results" },
      el("div", { class: "ixc-card" }, el("h2", { "data-t": "compare.detail" }), patches, el("p", { class: "ixc-small", "data-t": "compare.note" })),
      el("div", { class: "ixc-card" }, el("h2", { "data-t": "compare.cost" }), table));
    const notice = el("div", { class: "ixc-notice ixc-cmp-notice", role: "alert", hidden: true });
    const empty = el("div", { class: "ixc-card ixc-cmp-empty" }, el("h2", { "data-t": "compare.empty" }), el("p", { class: "ixc-small", "data-t": "compare.empty.help" }),
      el("button", { type: "button", class: "ixc-button ixc-primary", "data-t": "compare.choose", onclick: () => ixc.showPane("image") }));
    const work = el("div", { class: "ixc-cmp", hidden: true }, finder, results);
    element.append(notice, empty, work);
    ixc.translateTree(element);
    standIn(element, "compare");

    const look = { x: null, y: null, zoom: 1, // without a place where the image has most detail, which the server finds
      budget: Math.min(25, max) };
    let image = null;
    let value = null;
    let sliders = look.budget; // the slider's own, by its last plan

    function zoomButton(name, key, step) {
      return el("button", { type: "button", class: "ixc-tool", "data-t-label": key, "data-t-title": key, onclick: () => {
        const at = Math.min(Math.max(zooms.indexOf(look.zoom) + step, 0), zooms.length - 1);
        if (zooms[at] !== look.zoom) ask({ zoom: zooms[at] });
      } }, icon(name));
    }

    // `look` itself and no copy: of what is asked while an answer is on its way, Gradio sends the first event's data again.
    function ask(change = {}) {
      Object.assign(look, change);
      if (!image || document.body.dataset.pane !== "compare") return;
      host.trigger("look", look);
    }

    const isWanted = (asked) => Object.keys(look).every((name) => look[name] === asked[name]);

    // The box is drawn at once and the patches follow, so that dragging feels like dragging.
    function moveTo(x, y) {
      const clamp = (n) => Math.min(Math.max(n, 0), 1);
      const next = { x: clamp(x), y: clamp(y) };
      placeBox(next);
      ask(next);
    }

    function placeBox({ x, y }) {
      if (!value?.rect) return;
      const [width, height] = value.size;
      const [left, top, right, bottom] = value.rect;
      const wide = (right - left) / width;
      const high = (bottom - top) / height;
      const from = (centre, size) => `${100 * Math.min(Math.max(centre - size / 2, 0), 1 - size)}%`;
      Object.assign(box.style, { left: from(x, wide), top: from(y, high), width: `${100 * wide}%`, height: `${100 * high}%` });
    }

    frame.addEventListener("pointerdown", (event) => {
      const at = picture.getBoundingClientRect();
      const move = ({ clientX, clientY }) => moveTo((clientX - at.left) / at.width, (clientY - at.top) / at.height);
      frame.setPointerCapture(event.pointerId);
      frame.addEventListener("pointermove", move);
      frame.addEventListener("lostpointercapture", () => frame.removeEventListener("pointermove", move), { once: true });
      move(event);
      event.preventDefault();
      box.focus({ preventScroll: true, focusVisible: false });
    });
    box.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
      if (!(event.key in steps)) return;
      event.preventDefault();
      if (look.x == null) return; // not known yet where it is
      const [dx, dy] = steps[event.key];
      moveTo(look.x + dx, look.y + dy);
    });

    function drawBudgets() {
      const offered = [...new Set([...named, look.budget])].sort((a, b) => a - b);
      budgets.replaceChildren(...offered.map((budget) => el("button", { type: "button", class: "ixc-pill", text: String(budget),
        "data-budget": budget, "aria-pressed": String(budget === look.budget), onclick: () => {
          ask({ budget });
          passFocus(budgets, drawBudgets, () => budgets.querySelector(`[data-budget="${budget}"]`));
        } })));
    }

    // --- results ------------------------------------------------------------------------------------------------

    function patch(title, notes, src, cover) {
      const [left, top, right, bottom] = value.rect;
      const [width, height] = [right - left, bottom - top];
      const shown = el("img", { src, alt: t("compare.patch.alt", { name: title }), draggable: "false" });
      const [l, u, r, d] = cover;
      Object.assign(shown.style, { left: `${(100 * (l - left)) / width}%`, top: `${(100 * (u - top)) / height}%`,
        width: `${(100 * (r - l)) / width}%`, height: `${(100 * (d - u)) / height}%` });
      const pane = el("div", { class: "ixc-cmp-patch" }, shown);
      pane.style.aspectRatio = `${width} / ${height}`;
      return el("figure", {}, pane, el("figcaption", {}, el("strong", { text: title }), ...notes.map((text) => el("span", { class: "ixc-small", text }))));
    }

    const pixels = ([width, height]) => t("compare.pixels", { width: formatCount(width), height: formatCount(height) });

    function drawPatches() {
      const [left, top, right, bottom] = value.rect;
      patches.replaceChildren(
        patch(t("compare.original"), [t("compare.original.note"), pixels([right - left, bottom - top])], value.original, value.rect),
        ...value.rows.map((row) => patch(row.name, [viewWords(row.plan), pixels(row.detail.size)], row.detail.src, row.detail.rect)));
    }

    function drawTable() {
      const whole = value.size[0] * value.size[1];
      const most = Math.max(...value.rows.map((row) => row.plan.tokens));
      const head = ["model", "layout", "pixels", "tokens", "views", "padding"];
      table.replaceChildren(el("table", { class: "ixc-table" },
        el("thead", {}, el("tr", {}, ...head.map((key) => el("th", { scope: "col", text: t(`compare.head.${key}`) })))),
        el("tbody", {}, ...value.rows.map((row) => el("tr", {},
          el("th", { scope: "row", text: row.name }),
          el("td", { text: viewWords(row.plan) }),
          meter(t("compare.share", { millions: (row.usefulPixels / 1e6).toFixed(2), percent: Math.round((100 * row.usefulPixels) / whole) }), row.usefulPixels / whole),
          meter(formatCount(row.plan.tokens), row.plan.tokens / most),
          el("td", { text: formatCount(row.views) }),
          el("td", { text: `${(100 * row.plan.paddingShare).toFixed(1)} %` }))))));
    }

    function meter(text, share) {
      const bar = el("i", { class: "ixc-meter", "aria-hidden": "true" });
      bar.style.setProperty("--share", `${Math.min(100, 100 * share)}%`);
      return el("td", {}, el("span", { text }), bar);
    }

    follow(host, (next) => {
      if (next.error) {
        zoomLabel.textContent = errorSentence(next.error);
        if (next.isGone && image) ixc.replan(); // which takes the picture away everywhere
        return;
      }
      if (!next.imageId || next.imageId !== image?.id) return;
      value = next;
      const isLast = isWanted(value.askedFor);
      if (look.x == null) [look.x, look.y] = value.place;
      const [left, top, right, bottom] = value.rect;
      zoomLabel.textContent = t("compare.size", { width: right - left, height: bottom - top });
      passFocus(finder, () => {
        zoomButtons[0].disabled = look.zoom === zooms[zooms.length - 1];
        zoomButtons[1].disabled = look.zoom === zooms[0];
      }, () => zoomButtons.find((button) => !button.disabled));
      placeBox(look);
      drawPatches();
      drawTable();
      if (!isLast) ask();
    });

    hear("image", (next) => {
      if (next?.id !== image?.id) { Object.assign(look, { x: null, y: null }); value = null; patches.replaceChildren(); table.replaceChildren(); }
      image = next;
      empty.hidden = Boolean(image);
      work.hidden = !image;
      if (!image) return picture.removeAttribute("src");
      picture.src = serverUrl(image.src);
      picture.alt = t("compare.picture", { width: image.width, height: image.height });
      frame.style.setProperty("--ratio", image.width / image.height);
      ask();
    });
    hear("notice", (message) => drawNotice(notice, message, () => tell("notice", null), () => document.querySelector("#ixc-tab-compare")));
    // The slider's budget is the one to start from; here it can be changed without touching the conversation's.
    hear("plan", (plan) => {
      if (plan?.plan.kind !== "dynamic_partition" || plan.plan.budget === sliders) return;
      sliders = plan.plan.budget;
      ask({ budget: sliders });
      drawBudgets();
    });
    hear("pane", (pane) => { if (pane === "compare") ask(); });
    hear("language", drawBudgets);
  };
})();
