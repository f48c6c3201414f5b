// The max-patches slider with its named budgets. Its value is a whole number; the server checks it again. A model that looks once
// has no budget, and one with two input sizes has two: 336 pixels cost one patch, 1008 cost nine.
(() => {
  const { t, el, icon, hear, formatCount } = ixc;
  const INPUTS = [[1, 336, "released"], [9, 1008, "trained"]];

  ixc.budget = (element, host) => {
    const { max, named } = JSON.parse(element.querySelector("[data-budgets]").dataset.budgets);
    const slider = el("input", { type: "range", id: "ixc-budget-slider", min: 1, max, step: 1, value: host.props.value,
      "aria-describedby": "ixc-budget-advice" });
    const shown = el("output", { for: "ixc-budget-slider", class: "ixc-budget-value" });
    const buttons = named.map((budget) => el("button", { type: "button", class: "ixc-pill", "data-budget": budget,
      onclick: () => set(budget) }, String(budget), budget === 55 ? el("span", { class: "ixc-4k", text: " · 4K" }) : null));
    const [suggestion, suggestedCost] = [el("span"), el("span", { class: "ixc-pill-cost" })];
    const suggested = el("button", { type: "button", class: "ixc-pill ixc-pill-suggested", id: "ixc-suggested", disabled: true,
      onclick: () => set(plan().suggested) }, suggestion, suggestedCost);
    const inputs = INPUTS.map(([budget, px, how]) => el("button", { type: "button", class: "ixc-pill", "data-input": px, disabled: budget > max,
      onclick: () => set(budget) }, `${px} px · `, el("span", { "data-t": `budget.input.${how}` })));
    const advice = el("p", { id: "ixc-budget-advice", class: "ixc-advice", "aria-live": "polite" });
    const help = el("p", { id: "ixc-budget-help", class: "ixc-small", "data-t": "budget.help", hidden: true });
    const helper = el("button", { type: "button", class: "ixc-plain", id: "ixc-budget-helper", "aria-controls": "ixc-budget-help", "aria-expanded": "false",
      "data-t-label": "budget.help.open", "data-t-title": "budget.help.open", hidden: true, onclick: () => openHelp(help.hidden) }, icon("info"));
    element.append(
      el("div", { class: "ixc-budget-line" },
        el("label", { for: "ixc-budget-slider", "data-t": "budget.label" }), slider, shown),
      el("p", { class: "ixc-input-label", "data-t": "budget.input" }),
      el("div", { class: "ixc-budget-buttons" },
        el("div", { class: "ixc-row ixc-budget-named", role: "group", "data-t-label": "budget.named" }, ...buttons, suggested),
        el("div", { class: "ixc-row ixc-inputs", role: "group", "data-t-label": "budget.input" }, ...inputs),
        el("div", { class: "ixc-advice-line" }, advice, helper)), help);
    ixc.translateTree(element);

    const plan = () => ixc.last("plan")?.plan;
    const layout = () => ixc.last("model")?.layout ?? { kind: "dynamic_partition" };
    // What was chosen for each kind of model: going there and back again loses nothing.
    const remembered = { dual_perspective: Math.min(9, max) };
    let kind = "dynamic_partition";
    let isChosen = false; // by somebody, or with an example

    function set(budget) {
      isChosen = true;
      move(budget);
    }

    function move(budget) {
      if (budget === host.props.value || kind === "single_view") return;
      host.props.value = budget;
      show();
      if (ixc.last("image")) host.trigger("input");
    }

    // The budget starts as the model's own.
    function followModel(model) {
      if (layout().kind !== kind) {
        remembered[kind] = host.props.value;
        kind = layout().kind;
        if (remembered[kind]) move(remembered[kind]);
      }
      if (model.phase === "ready" && kind === "dynamic_partition" && !isChosen && !ixc.last("image")) move(model.budget);
      show();
    }

    function show() {
      const budget = host.props.value;
      const hasTiles = kind === "dynamic_partition";
      if (Number(slider.value) !== budget && hasTiles) slider.value = budget;
      slider.style.setProperty("--filled", `${((slider.value - 1) / (max - 1)) * 100}%`);
      slider.disabled = !hasTiles;
      shown.textContent = hasTiles ? budget : "–";
      for (const button of buttons) {
        button.disabled = !hasTiles;
        button.setAttribute("aria-pressed", String(hasTiles && Number(button.dataset.budget) === budget));
      }
      for (const button of inputs) button.setAttribute("aria-pressed", String((budget >= 9 ? "1008" : "336") === button.dataset.input));
      const facts = hasTiles && plan()?.suggested ? plan() : null;
      suggested.disabled = !facts;
      suggestion.textContent = facts ? t("budget.suggested", { budget: facts.suggested }) : t("budget.suggested.none");
      const cost = facts ? formatCount(facts.suggestedTokens) : "";
      suggestedCost.textContent = facts ? t("stage.tokens", { tokens: cost }) : "";
      suggested.setAttribute("aria-pressed", String(Boolean(facts) && facts.suggested === budget));
      const why = t(facts?.suggestedShrinks ? "budget.suggested.title.shrinks" : "budget.suggested.title");
      suggested.title = facts ? t("budget.suggested.cost", { why, cost: t("ribbon.tokens", { tokens: cost }) }) : why;
      const general = hasTiles ? t("budget.help") : t(`budget.none.${kind}`, { px: layout().viewPx });
      advice.textContent = facts ? adviceText(facts) : general;
      // What to choose in general steps back behind what the budget does to this image.
      helper.hidden = !facts;
      if (!facts) openHelp(false);
    }

    function openHelp(isOpen) {
      help.hidden = !isOpen;
      helper.setAttribute("aria-expanded", String(isOpen));
    }

    function adviceText({ budget, scale, scaling }) {
      return t(`budget.advice.${scaling}`, { budget, factor: Math.max(scale, 1 / scale).toFixed(2) });
    }

    ixc.replan = () => host.trigger("input");
    ixc.chosenBudget = () => host.props.value;
    ixc.chooseBudget = (budget) => set(Math.min(budget || host.props.value, max)); // a page from before may have had more
    slider.addEventListener("input", () => set(Number(slider.value)));
    host.watch("value", () => { isChosen = true; show(); });
    hear("plan", show);
    hear("model", followModel);
    hear("language", show);
    show();
  };
})();
