// The picture with the plan laid over it. The picture is fetched once; a slider move replaces only the SVG above it.
(() => {
  const { t, el, icon, hear, tell, follow, standIn, passFocus, questionField, drawNotice, formatCount } = ixc;
  const LAYERS = ["tiles", "padding", "newlines", "tokens", "numbers"];

  ixc.stage = (element, host) => {
    const picture = el("img", { class: "ixc-picture", id: "ixc-picture", draggable: "false" });
    const overlay = el("div", { class: "ixc-overlay", id: "ixc-overlay", "aria-hidden": "true" });
    const hits = el("div", { class: "ixc-hits", role: "group", "data-t-label": "stage.region" });
    const tokenGrid = el("div", { class: "ixc-token-grid", "aria-hidden": "true" });
    const canvas = el("div", { class: "ixc-canvas" }, picture, overlay, tokenGrid, hits);
    picture.addEventListener("load", () => tell("picture-loaded", { picture, src: picture.src }));
    const view = el("div", { class: "ixc-view" }, canvas);
    const tip = el("div", { class: "ixc-tip", role: "tooltip", id: "ixc-tip", hidden: true });
    const zoom = toolButton("zoom", "stage.zoom", "ixc-zoom", switchZoom);
    const tools = el("div", { class: "ixc-stage-tools" }, zoom,
      toolButton("replace", "stage.replace", "ixc-replace", () => ixc.chooseFile()),
      toolButton("close", "stage.remove", "ixc-remove", () => host.trigger("remove")));
    const globalPicture = el("img", { class: "ixc-picture", alt: "", draggable: "false" });
    const globalBox = el("div", { class: "ixc-global", role: "img", "data-t-label": "stage.side.dynamic_partition.alt", "aria-describedby": "ixc-tip" }, globalPicture);
    const globalTitle = el("strong");
    const globalSize = el("span");
    const globalTokens = el("span");
    const globalDetail = el("p", { class: "ixc-small ixc-lines" }, globalSize, globalTokens);
    const layers = el("fieldset", { class: "ixc-layers" }, el("legend", { "data-t": "stage.layers" }), ...LAYERS.map(layerSwitch));
    const side = el("div", { class: "ixc-side" },
      el("figure", {}, globalBox, el("figcaption", {}, globalTitle, globalDetail)), layers);
    const frame = el("div", { class: "ixc-frame" }, view);
    const notice = el("div", { class: "ixc-notice", role: "alert", id: "ixc-image-notice", hidden: true });
    const toChat = el("button", { type: "button", class: "ixc-button ixc-primary ixc-to-chat", id: "ixc-to-chat",
      onclick: () => { ixc.showPane("chat"); questionField()?.focus(); } }, el("span", { "data-t": "chat.ask.here" }));
    element.append(el("div", { class: "ixc-stage" }, frame, side, tools), notice, tip, toChat);
    ixc.translateTree(element);
    standIn(element, "image");

    let image = null;
    let answered = 0; // the number of the server's last value
    let data = null;
    let zoomed = false;
    let lit = null; // a tile, or the box of the global view
    let anchor = null; // what the tip stands at, while there is one

    // An image of the conversation, back to be asked about. On a phone it has a tab of its own, where it is seen, or why it is not.
    ixc.showAgain = ({ image: key, kind, budget }) => {
      const isSameKind = kind === (ixc.last("model")?.layout ?? { kind: "dynamic_partition" }).kind; // other kinds have other budgets
      passFocus(document.querySelector("#ixc-chat-pane"), () => ixc.showPane("image"), () => document.querySelector("#ixc-tab-image"));
      ixc.openImage(() => host.trigger("reopen", { image: key, budget: isSameKind && budget ? budget : ixc.chosenBudget() }));
    };

    function toolButton(name, key, id, action) {
      return el("button", { type: "button", class: "ixc-tool", id, "data-t-label": key, "data-t-title": key, onclick: action }, icon(name));
    }

    function layerSwitch(layer) {
      const box = el("input", { type: "checkbox", checked: true, id: `ixc-layer-${layer}`,
        onchange: () => element.classList.toggle(`ixc-hide-${layer}`, !box.checked) });
      return el("label", { for: box.id, "data-layer": layer }, box, el("span", { "data-t": layer === "tiles" ? "stage.layer.cells.dynamic_partition" : `stage.layer.${layer}` }));
    }

    function switchZoom() {
      zoomed = !zoomed;
      zoom.replaceChildren(icon(zoomed ? "fit" : "zoom"));
      zoom.dataset.tLabel = zoom.dataset.tTitle = zoomed ? "stage.fit" : "stage.zoom";
      ixc.translateTree(tools);
      layout();
    }

    // The canvas has the shape of the padded image and fits the frame, so the page never moves while the slider does.
    function layout() {
      if (!data || !image) return;
      const [width, height] = data.plan.padded;
      const ratio = width / height;
      const { clientWidth: roomX, clientHeight: roomY } = view;
      if (!roomX || !roomY) return;
      const fit = Math.min(roomX, roomY * ratio);
      const readable = Math.min(roomX, 150); // a very tall image scrolls rather than becoming a thread
      let shown = Math.max(fit, readable);
      if (zoomed) shown = Math.max(roomX, fit * 2.2);
      canvas.style.width = `${shown}px`;
      canvas.style.height = `${shown / ratio}px`;
      const tile = shown / data.plan.cols;
      canvas.classList.toggle("ixc-dense", tile < 30);
      canvas.classList.toggle("ixc-very-dense", tile < 19);
    }

    function place(target) {
      const [width, height] = data.plan.padded;
      const [left, top, right, bottom] = data.plan.padding;
      Object.assign(target.style, {
        left: `${(100 * left) / width}%`, top: `${(100 * top) / height}%`,
        width: `${(100 * (width - left - right)) / width}%`, height: `${(100 * (height - top - bottom)) / height}%`,
      });
    }

    function drawPlan() {
      if (!data || !image || data.imageId !== image.id) return;
      const { cols, rows } = data.plan;
      place(picture);
      const cut = t(`stage.alt.${data.plan.kind}`, { width: image.width, height: image.height, cols, rows, px: data.plan.viewPx });
      picture.alt = [ixc.exampleAlt(image.id), cut].filter(Boolean).join(" ");
      drawSide();
      overlay.innerHTML = data.overlay; // drawn by our server from integers alone
      drawTokenGrid(data.plan.kind === "dynamic_partition" ? 0 : data.plan.localRows);
      drawHits(cols, rows);
      layout();
      mark();
    }

    // Beside the tiles their global view; beside a squashed view the picture in its own shape.
    function drawSide() {
      const { kind, globalTokens: tokens } = data.plan;
      document.body.dataset.cut = kind;
      globalTitle.textContent = t(`stage.side.${kind}`);
      globalBox.dataset.tLabel = `stage.side.${kind}.alt`;
      globalSize.textContent = t(`stage.side.${kind}.size`, { width: image.width, height: image.height });
      globalTokens.textContent = tokens ? t("stage.tokens", { tokens }) : "";
      globalBox.tabIndex = tokens ? 0 : -1;
      if (kind === "single_view") {
        const [wide, high] = image.width > image.height ? [1, image.height / image.width] : [image.width / image.height, 1];
        Object.assign(globalPicture.style, { left: `${50 * (1 - wide)}%`, top: `${50 * (1 - high)}%`, width: `${100 * wide}%`, height: `${100 * high}%` });
      } else place(globalPicture);
      const cells = layers.querySelector('[data-layer="tiles"] span');
      cells.dataset.t = `stage.layer.cells.${kind}`;
      ixc.translateTree(element);
    }

    // One line between any two rows and columns of tokens; of tiles there would be too many.
    function drawTokenGrid(side) {
      if (tokenGrid.dataset.side === String(side)) return;
      tokenGrid.dataset.side = side;
      const lines = Array.from({ length: Math.max(0, side - 1) }, (_, n) => `M0 ${n + 1}H${side}M${n + 1} 0V${side}`).join("");
      tokenGrid.innerHTML = `<svg viewBox="0 0 ${side} ${side}" preserveAspectRatio="none"><path d="${lines}" vector-effect="non-scaling-stroke"/></svg>`;
    }

    function drawHits(cols, rows) {
      hits.style.gridTemplateColumns = `repeat(${cols}, 1fr)`;
      hits.style.gridTemplateRows = `repeat(${rows}, 1fr)`;
      while (hits.children.length > cols * rows) hits.lastChild.remove();
      while (hits.children.length < cols * rows) {
        hits.append(el("button", { type: "button", class: "ixc-hit", "aria-describedby": "ixc-tip" }));
      }
      [...hits.children].forEach((hit, tile) => {
        hit.dataset.tile = tile;
        hit.dataset.number = tile + 1;
        hit.classList.toggle("ixc-row-end", data.plan.kind === "dynamic_partition" && tile % cols === cols - 1);
        hit.tabIndex = tile === 0 ? 0 : -1;
        hit.setAttribute("aria-label", t(`stage.cell.${data.plan.kind}.label`, { tile: tile + 1, row: Math.floor(tile / cols) + 1, col: (tile % cols) + 1 }));
      });
    }

    const tileOf = (event) => {
      const hit = event.target.closest?.(".ixc-hit");
      return hit ? Number(hit.dataset.tile) : null;
    };
    hits.addEventListener("pointermove", (event) => {
      const box = hits.getBoundingClientRect();
      tell("spot", { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height });
    });
    hits.addEventListener("pointerover", (event) => { if (event.pointerType !== "touch") tell("tile", { tile: tileOf(event), from: "stage" }); });
    hits.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") leave(); });
    hits.addEventListener("click", (event) => tell("tile", { tile: tileOf(event), from: "stage" }));
    hits.addEventListener("focusin", (event) => {
      if (!event.target.matches(":focus-visible")) return;
      const { offsetLeft: x, offsetTop: y, offsetWidth: width, offsetHeight: height } = event.target;
      tell("spot", { x: (x + width / 2) / hits.clientWidth, y: (y + height / 2) / hits.clientHeight });
      tell("tile", { tile: tileOf(event), from: "stage" });
    });
    hits.addEventListener("focusout", leave);
    // The global view is a stretch of the sequence too.
    globalBox.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch") enterGlobal(); });
    globalBox.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") leave(); });
    globalBox.addEventListener("click", (event) => { event.stopPropagation(); enterGlobal(); });
    globalBox.addEventListener("focusin", () => { if (globalBox.matches(":focus-visible")) enterGlobal(); });
    globalBox.addEventListener("focusout", leave);
    function enterGlobal() { if (data?.plan.globalTokens) tell("tile", { tile: null, part: "global", from: "stage" }); }
    function leave() { tell("tile", { tile: null, from: "stage" }); }
    // Escape takes the tip away where the pointer or the focus stays. Whoever is at the picture means the tip alone.
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || tip.hidden) return;
      if (side.parentNode.contains(event.target)) event.preventDefault();
      leave();
    }, true);
    hits.addEventListener("keydown", (event) => {
      const { cols, rows } = data.plan;
      const tile = tileOf(event);
      const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -cols, ArrowDown: cols, Home: -tile, End: cols * rows - 1 - tile };
      if (!(event.key in steps)) return;
      const next = tile + steps[event.key];
      event.preventDefault();
      if (next < 0 || next >= cols * rows) return;
      hits.children[tile].tabIndex = -1;
      hits.children[next].tabIndex = 0;
      hits.children[next].focus();
    });
    document.addEventListener("click", (event) => { if (!hits.contains(event.target)) leave(); });
    // Whatever scrolls, the tip stays with its tile, and goes when that is out of sight.
    function followTile() { if (anchor) placeTip(); }
    document.addEventListener("scroll", followTile, { capture: true, passive: true });
    window.addEventListener("resize", followTile);

    hear("tile", mark);

    function mark({ tile = null, part = null, from = "stage", anchor: stretch = null } = {}) {
      lit?.classList.remove("ixc-lit");
      const hit = data && tile != null && tile < data.tiles.length ? hits.children[tile] : null;
      lit = hit ?? (part === "global" ? globalBox : null);
      anchor = data ? hit ?? stretch ?? lit : null;
      tip.hidden = !anchor;
      if (!anchor) return;
      lit?.classList.add("ixc-lit");
      if (hit && from === "ribbon" && view.scrollHeight > view.clientHeight) {
        view.scrollTo({ top: hit.offsetTop - view.clientHeight / 3, left: hit.offsetLeft - view.clientWidth / 3 });
      }
      tip.replaceChildren(...(hit ? tileLines(tile) : partLines(part)));
      placeTip();
    }

    function tileLines(tile) {
      const { cols, tileSide } = data.plan;
      const [left, top, right, bottom, first, last] = data.tiles[tile];
      const row = Math.floor(tile / cols);
      const col = tile % cols;
      const empty = right <= left || bottom <= top;
      return [
        el("p", {}, el("strong", { text: t(`stage.cell.${data.plan.kind}`, { tile: tile + 1 }) }), ` ${t("stage.tile.place", { row: row + 1, col: col + 1 })}`),
        el("p", { text: empty ? t("stage.tile.padding") : t("stage.tile.pixels", { left, right, top, bottom }) }),
        el("p", { text: t("stage.tile.tokens", { tokens: tileSide * tileSide, runs: tileSide, firstRow: row * tileSide + 1, lastRow: (row + 1) * tileSide,
          firstCol: col * tileSide + 1, lastCol: (col + 1) * tileSide }) }),
        el("p", { text: placeInSequence(first, last) }),
      ];
    }

    // What is no tile: the global view, the separator, the text around the image.
    function partLines(part) {
      const { plan: { tokens, globalTokens }, text } = data;
      const [first, stop] = {
        "text-before": [-text.before, 0], global: [0, globalTokens], separator: [globalTokens, globalTokens + 1], "text-after": [tokens, tokens + text.after],
      }[part];
      const num = stop - first;
      return [
        el("p", {}, el("strong", { text: t(text.turns && part.startsWith("text-") ? "ribbon.text.turns" : `ribbon.${part.split("-")[0]}`) })),
        num > 1 ? el("p", { text: t("stage.tokens", { tokens: formatCount(num) }) }) : "",
        el("p", { text: placeInSequence(first, stop - 1) }),
      ];
    }

    // By people's count, from 1. Where no model is there to count the text before the image, only the image's tokens have numbers.
    function placeInSequence(first, last) {
      const { before } = data.text;
      const span = (from, to) => (from === to ? formatCount(from) : t("stage.tokens.span", { first: formatCount(from), last: formatCount(to) }));
      const [sequence, own] = [span(first + before + 1, last + before + 1), span(first + 1, last + 1)];
      if (first < 0 || last >= data.plan.tokens) return t("stage.tokens.sequence", { sequence });
      return before ? t("stage.tokens.both", { sequence, own }) : t("stage.tokens.own", { own });
    }

    // Inside the window, below the tile if there is room, else above it.
    function placeTip() {
      const box = anchor.getBoundingClientRect();
      const pane = element.closest("#ixc-image-pane").getBoundingClientRect();
      const visible = view.contains(anchor) ? view.getBoundingClientRect() : pane;
      const [above, below] = [Math.max(visible.top, pane.top), Math.min(visible.bottom, pane.bottom)];
      tip.hidden = box.bottom <= above || box.top >= below || box.right <= visible.left || box.left >= visible.right;
      const { offsetWidth: width, offsetHeight: height } = tip;
      const left = Math.min(Math.max(8, box.left + box.width / 2 - width / 2), document.documentElement.clientWidth - width - 8);
      let top = Math.min(box.bottom, visible.bottom) + 8;
      if (top + height > window.innerHeight - 8) top = Math.max(8, Math.max(box.top, visible.top) - height - 8);
      Object.assign(tip.style, { left: `${left}px`, top: `${top}px` });
    }

    const fileButton = () => document.querySelector(image ? "#ixc-replace" : "#ixc-choose");

    hear("notice", (message) => drawNotice(notice, message, () => tell("notice", null), fileButton));
    hear("plan", (value) => { data = value; drawPlan(); });
    new ResizeObserver(layout).observe(view);

    const show = follow(host, ({ image: next, error, question, number }) => {
      const isNew = number !== answered;
      answered = number;
      passFocus(element.closest("#ixc-image-pane"), () => showImage(next, isNew ? error : ixc.last("notice")), fileButton);
      if (!isNew) return; // the language was changed
      if (question) ixc.offerQuestion(question);
      ixc.imageAnswered();
    });

    function showImage(next, error) {
      const changed = next?.id !== image?.id;
      image = next;
      tell("image", next);
      tell("notice", error);
      document.body.dataset.image = String(Boolean(next));
      if (!next) {
        picture.removeAttribute("src");
        globalPicture.removeAttribute("src");
        overlay.replaceChildren();
        mark();
        return;
      }
      if (changed) {
        zoomed && switchZoom();
        picture.src = ixc.serverUrl(next.src);
        globalPicture.src = picture.src;
        // On a phone the frame is as high as this image needs with some padding; it depends on nothing that the slider changes.
        frame.style.setProperty("--image-height", `${Math.round((135 * next.height) / next.width)}vw`);
      }
      drawPlan();
    }
    show();
  };
})();
