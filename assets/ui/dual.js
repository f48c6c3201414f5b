// INF-LLaVA's two perspectives on one square: nine blocks, nine strided sub-images, and which of them the answer depends on.
// Everything is drawn from the picture on the page, in the square's own 1008 pixels.
(() => {
  const { t, el, hear, tell } = ixc;
  const [SIDE, VIEW, CUTS, TOKENS] = [1008, 336, 3, 24];
  const GROUND = "rgb(122, 116, 104)"; // CLIP's mean colour, with which the released code pads
  const PATCH = 18; // pixels of the square in the magnified patch: six samples of each strided view a side
  const MAGNIFIED = 12;

  ixc.dual = (element) => {
    const blocks = views("block");
    const strided = views("strided");
    const magnified = el("canvas", { class: "ixc-dual-patch", width: PATCH * MAGNIFIED, height: PATCH * MAGNIFIED, role: "img" });
    const said = el("p", { class: "ixc-small", id: "ixc-dual-said", "aria-live": "polite" });
    const panel = el("div", { class: "ixc-dual", hidden: true },
      el("h2", { "data-t": "dual.title" }), el("p", { class: "ixc-small", "data-t": "dual.help" }),
      el("div", { class: "ixc-dual-parts" },
        el("figure", {}, grid("dual.blocks", blocks), el("figcaption", {}, el("strong", { "data-t": "dual.blocks" }), el("span", { class: "ixc-small", "data-t": "dual.blocks.note" }))),
        el("figure", {}, grid("dual.strided", strided), el("figcaption", {}, el("strong", { "data-t": "dual.strided" }), el("span", { class: "ixc-small", "data-t": "dual.strided.note" }))),
        el("figure", {}, magnified, el("figcaption", {}, el("strong", { "data-t": "dual.patch" }), el("span", { class: "ixc-small", "data-t": "dual.patch.note" })))),
      said);
    element.append(panel);
    ixc.translateTree(element);

    let plan = null;
    let picture = null; // the image element, and
    let loaded = ""; // the address of what it holds: once it has another, it still shows this until that has arrived
    let square = null; // its pixels, SIDE x SIDE
    let chosen = 4; // the strided view whose samples are marked
    let spot = { x: 0.5, y: 0.5 };
    let drawnFrom = "";

    function views(kind) {
      return Array.from({ length: CUTS * CUTS }, (_, index) => {
        const canvas = el("canvas", { width: VIEW, height: VIEW, "aria-hidden": "true" });
        const matters = kind === "block" || index === 4;
        const button = el("button", { type: "button", class: `ixc-dual-view ixc-dual-${kind}`, "data-index": index, "data-matters": String(matters),
          tabindex: index === (kind === "block" ? 0 : 4) ? "0" : "-1" }, canvas);
        return { button, canvas };
      });
    }

    function grid(key, group) {
      const box = el("div", { class: "ixc-dual-grid", role: "group", "data-t-label": key }, ...group.map(({ button }) => button));
      box.addEventListener("keydown", (event) => {
        const at = group.findIndex(({ button }) => button === event.target);
        const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -CUTS, ArrowDown: CUTS }[event.key];
        if (at < 0 || !step) return;
        event.preventDefault();
        const next = group[at + step];
        if (!next || (Math.abs(step) === 1 && Math.floor(at / CUTS) !== Math.floor((at + step) / CUTS))) return;
        event.target.tabIndex = -1;
        next.button.tabIndex = 0;
        next.button.focus();
      });
      for (const name of ["pointerover", "focusin", "click"]) {
        box.addEventListener(name, (event) => {
          const button = event.target.closest("button");
          if (!button || (name === "pointerover" && event.pointerType === "touch")) return;
          // A tap must not reach the listener that puts every mark out.
          if (name === "click") event.stopPropagation();
          if (group === blocks) showBlock(Number(button.dataset.index)); else showStrided(Number(button.dataset.index));
        });
      }
      box.addEventListener("pointerleave", () => { if (group === blocks) tell("tile", { tile: null, from: "dual" }); });
      return box;
    }

    function showBlock(index) {
      tell("tile", { tile: index, from: "ribbon" });
      say(t("dual.say.block", { block: index + 1 }));
    }

    function showStrided(index) {
      chosen = index;
      const [row, col] = [Math.floor(index / CUTS), index % CUTS];
      strided.forEach(({ button }, at) => button.setAttribute("aria-pressed", String(at === chosen)));
      drawPatch();
      say(t(index === 4 ? "dual.say.centre" : "dual.say.strided", { row: row + 1, col: col + 1 }));
    }

    function say(sentence) { said.textContent = sentence; }

    // --- pixels -------------------------------------------------------------------------------------------------

    function canvasOf(size) {
      return Object.assign(document.createElement("canvas"), { width: size, height: size });
    }

    // The square as the model gets it: loaded at the input's size, enlarged to 1008 where that is smaller.
    function drawSquare() {
      const input = plan.viewPx;
      const loaded = canvasOf(input);
      const pen = loaded.getContext("2d");
      pen.imageSmoothingQuality = "high";
      pen.fillStyle = GROUND;
      pen.fillRect(0, 0, input, input);
      const [left, top, right, bottom] = plan.padding;
      pen.drawImage(picture, left, top, input - left - right, input - top - bottom);
      const whole = canvasOf(SIDE);
      const wide = whole.getContext("2d", { willReadFrequently: true });
      wide.imageSmoothingQuality = "high";
      wide.drawImage(loaded, 0, 0, SIDE, SIDE);
      square = { canvas: whole, data: wide.getImageData(0, 0, SIDE, SIDE).data };
    }

    function drawViews() {
      blocks.forEach(({ canvas }, index) => {
        const [row, col] = [Math.floor(index / CUTS), index % CUTS];
        canvas.getContext("2d").drawImage(square.canvas, -col * VIEW, -row * VIEW);
      });
      strided.forEach(({ canvas }, index) => {
        const [row, col] = [Math.floor(index / CUTS), index % CUTS];
        const pen = canvas.getContext("2d");
        const view = pen.createImageData(VIEW, VIEW);
        const [from, to] = [new Uint32Array(square.data.buffer), new Uint32Array(view.data.buffer)];
        for (let y = 0; y < VIEW; y += 1) {
          const start = (CUTS * y + row) * SIDE + col;
          for (let x = 0; x < VIEW; x += 1) to[y * VIEW + x] = from[start + CUTS * x];
        }
        pen.putImageData(view, 0, 0);
      });
    }

    function drawPatch() {
      if (!square) return;
      const corner = (share) => CUTS * Math.floor(Math.min(Math.max(share * SIDE - PATCH / 2, 0), SIDE - PATCH) / CUTS);
      const [x0, y0] = [corner(spot.x), corner(spot.y)];
      const pen = magnified.getContext("2d");
      pen.imageSmoothingEnabled = false;
      pen.drawImage(square.canvas, x0, y0, PATCH, PATCH, 0, 0, PATCH * MAGNIFIED, PATCH * MAGNIFIED);
      pen.fillStyle = "#4f46e5";
      pen.strokeStyle = "#ffffff";
      pen.lineWidth = 1.5;
      for (let y = Math.floor(chosen / CUTS); y < PATCH; y += CUTS) {
        for (let x = chosen % CUTS; x < PATCH; x += CUTS) {
          pen.beginPath();
          pen.arc((x + 0.5) * MAGNIFIED, (y + 0.5) * MAGNIFIED, MAGNIFIED * 0.32, 0, 2 * Math.PI);
          pen.fill();
          pen.stroke();
        }
      }
    }

    function draw() {
      const isDual = plan?.kind === "dual_perspective" && ixc.last("image");
      panel.hidden = !isDual;
      if (!isDual || !picture || picture.src !== loaded) return;
      const key = JSON.stringify([picture.src, plan.viewPx, plan.padding]);
      if (key !== drawnFrom) {
        drawnFrom = key;
        drawSquare();
        drawViews();
      }
      drawPatch();
    }

    function label() {
      blocks.forEach(({ button }, index) => button.setAttribute("aria-label", t("dual.block.label", { block: index + 1, row: Math.floor(index / CUTS) + 1, col: (index % CUTS) + 1 })));
      strided.forEach(({ button }, index) => {
        button.setAttribute("aria-label", t("dual.strided.label", { row: Math.floor(index / CUTS) + 1, col: (index % CUTS) + 1 }));
        button.title = t(index === 4 ? "dual.matters" : "dual.matters.not");
        button.setAttribute("aria-pressed", String(index === chosen));
      });
      magnified.setAttribute("aria-label", t("dual.patch"));
      showStrided(chosen);
    }

    hear("picture-loaded", (now) => { ({ picture, src: loaded } = now); draw(); });
    hear("plan", (value) => { plan = value?.plan ?? null; draw(); });
    hear("spot", (next) => { spot = next; if (!panel.hidden) drawPatch(); });
    hear("tile", ({ tile }) => blocks.forEach(({ button }, index) => button.classList.toggle("ixc-lit", index === tile)));
    hear("language", label);
  };
})();
