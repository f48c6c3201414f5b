// The token ribbon and the numbers under the picture.
(() => {
  const { t, el, hear, tell, follow, formatBytes, formatCount } = ixc;
  const MAX_LOOKS = 6; // each after twice the time of the one before: others may be answered first

  ixc.plan = (element, host) => {
    const tokens = el("span", { id: "ixc-visual-tokens" });
    const ribbon = el("div", { class: "ixc-ribbon-picture", id: "ixc-ribbon", role: "img", "data-t-label": "ribbon.label" });
    const legend = el("p", { class: "ixc-small ixc-legend" });
    const facts = el("dl", { class: "ixc-facts", id: "ixc-facts", "data-t-label": "facts.title" });
    const clamped = el("p", { class: "ixc-small", hidden: true, "data-t": "facts.clamped" });
    element.append(
      el("div", { class: "ixc-ribbon-head" }, el("h2", { "data-t": "ribbon.title" }), tokens),
      el("div", { class: "ixc-ribbon-box" }, ribbon), legend, facts, clamped);
    ixc.translateTree(element);

    // It comes again with each look at the model. Where no more than its expected cost is new, what is marked in it stays marked.
    let told = "";
    host.watch("value", () => {
      const value = host.props.value || null;
      const key = JSON.stringify(value && { ...value, cost: null });
      const isNew = key !== told;
      told = key;
      if (isNew) tell("plan", value); else check(ixc.last("plan"));
      lookAgain(value);
    });
    let drawn = "";
    follow(host, (value) => {
      const key = ixc.language + JSON.stringify(value);
      if (key !== drawn) show(value);
      drawn = key;
    });
    hear("plan", (value) => { document.body.dataset.plan = String(Boolean(value)); });

    // A plan says what it was made for. Where the page shows something else by then, it asks again: another budget was chosen
    // meanwhile, or another image opened, or another tab switched the model. Once all of an answer has been taken over, that is.
    hear("plan", check);
    function check(value) { setTimeout(() => {
      const [image, model] = [ixc.last("image"), ixc.last("model")];
      if (!value || value !== ixc.last("plan") || !image) return;
      if (model && model.key !== value.askedFor.model) ixc.refreshModel();
      else if (value.askedFor.budget !== ixc.chosenBudget() || value.imageId !== image.id) ixc.replan();
    }); }

    function show(value) {
      const { plan, text, room } = value;
      tokens.textContent = t(text.turns ? "ribbon.tokens.of" : "ribbon.tokens", { tokens: formatCount(plan.tokens), all: formatCount(room?.tokens ?? 0) });
      ribbon.innerHTML = value.ribbon; // drawn by our server from integers alone
      showLegend(value);
      showFacts(value);
      clamped.hidden = !plan.clamped;
    }

    function showLegend({ plan, text }) {
      const parts = plan.kind === "dynamic_partition"
        ? [["global", t("ribbon.global")], ["separator", t("ribbon.separator")],
          ["local", t("ribbon.local", { rows: plan.localRows, rowTokens: plan.localRowTokens - 1 })]]
        : [["local", t("ribbon.map", { rows: plan.localRows, rowTokens: plan.localRowTokens })]];
      if (text.before || text.after) parts.push(["text", t(text.turns ? "ribbon.text.turns" : "ribbon.text")]);
      legend.replaceChildren(...parts.map(([kind, label]) => el("span", {}, el("i", { class: `ixc-key ixc-key-${kind}` }), label)));
    }

    function showFacts({ plan, cost }) {
      const factor = Math.max(plan.scale, 1 / plan.scale);
      const size = ([width, height]) => `${width} × ${height}`;
      facts.replaceChildren(
        fact("size", size(plan.original), t("facts.size"), plan.kind === "single_view"
          ? t("facts.squashed", { resized: size(plan.resized) })
          : t("facts.resized", { resized: size(plan.resized), padded: size(plan.padded) })),
        plan.kind === "dynamic_partition"
          ? fact("grid", `${plan.cols} × ${plan.rows}`, t("facts.grid", { used: plan.used, budget: plan.budget }))
          : plan.kind === "single_view" ? fact("grid", "1", t("facts.view", { px: plan.viewPx }))
            : fact("grid", `${plan.cols * plan.rows} + 1`, t("facts.dual")),
        plan.kind === "single_view" ? squashFact(plan)
          : fact("scale", `${plan.scale.toFixed(2)}×`, t(`facts.scale.${plan.scaling}`, { factor: factor.toFixed(2) })),
        fact("padding", `${(100 * plan.paddingShare).toFixed(1)} %`, t("facts.padding")),
        costFact(cost));
    }

    // A squashed view has two scales: across in large, down beside it, and how far they are apart.
    function squashFact({ scaleX, scaleY }) {
      const factor = Math.max(scaleX, scaleY) / Math.min(scaleX, scaleY);
      return fact("scale", `${scaleX.toFixed(2)}×`, t("facts.scale.squashed", { down: scaleY.toFixed(2) }),
        factor < 1.005 ? null : t("facts.distorted", { factor: factor.toFixed(2) }));
    }

    function costFact(cost) {
      if (!cost) return fact("cost", "–", t(ixc.last("model")?.phase === "ready" ? "facts.cost.unknown" : "facts.cost.none"));
      const memory = formatBytes(cost.bytes);
      if (cost.ttftMs == null) return fact("cost", memory, t("facts.cost.memory", { device: cost.device.split(" (")[0] }));
      const seconds = cost.ttftMs < 95 ? "<0.1" : (cost.ttftMs / 1000).toFixed(1); // the steps of one answer differ by more
      return fact("cost", `${seconds} s · ${memory}`, t(cost.isRead ? "facts.cost.read" : "facts.cost", { device: cost.device.split(" (")[0] }));
    }

    // The model reads the image before it is asked. Once it should have, the page looks how soon an answer would begin now.
    let [lookedFor, looks, timer] = ["", 0, null];
    function lookAgain(value) {
      clearTimeout(timer);
      if (!value?.readsAhead || !value.cost?.ttftMs || value.cost.isRead) return;
      if (lookedFor !== told) [lookedFor, looks] = [told, 0];
      looks += 1;
      if (looks <= MAX_LOOKS) timer = setTimeout(() => { if (document.body.dataset.busy !== "true" && ixc.last("image")) ixc.replan(); }, (1200 + 1.2 * value.cost.ttftMs) * 2 ** (looks - 1));
    }

    // dt after dd in the picture, before it in the document: the number is what the eye looks for.
    function fact(name, number, label, more) {
      return el("div", { class: "ixc-fact", "data-fact": name },
        el("dt", {}, label, more ? el("span", { class: "ixc-more", text: more }) : null), el("dd", { text: number }));
    }

    // The ribbon's SVG holds one path per tile that covers exactly that tile's runs of tokens, and a rectangle for every other part.
    const stretchAt = (event) => {
      const run = event.target.closest?.("[data-tile]");
      const part = event.target.closest?.("[data-part]");
      return { tile: run ? Number(run.dataset.tile) : null, part: part?.dataset.part, anchor: part, from: "ribbon" };
    };
    ribbon.addEventListener("pointermove", (event) => tell("tile", stretchAt(event)));
    ribbon.addEventListener("pointerleave", () => tell("tile", { tile: null, from: "ribbon" }));
    ribbon.addEventListener("click", (event) => { event.stopPropagation(); tell("tile", stretchAt(event)); });

    hear("tile", ({ tile, part }) => {
      ribbon.querySelector(".ixc-lit")?.classList.remove("ixc-lit");
      const stretch = tile != null ? `[data-tile="${tile}"]` : `[data-part="${part}"]`;
      ribbon.querySelector(stretch)?.classList.add("ixc-lit");
    });
  };
})();
