// The max-patches slider with its named budgets. Its value is a whole number; the server checks it again.
(() => {
  const { t, el, hear } = ixc;

  ixc.budget = (element, host) => {
    const { max, named } = JSON.parse(element.querySelector("[data-budgets]").dataset.budgets);
    const slider = el("input", { type: "range", id: "ixc-budget-slider", min: 1, max, step: 1, value: host.props.value,
      "aria-describedby": "ixc-budget-advice" });
    const shown = el("output", { for: "ixc-budget-slider", class: "ixc-budget-value" });
    const buttons = named.map((budget) => el("button", { type: "button", class: "ixc-pill", "data-budget": budget,
      onclick: () => set(budget) }, String(budget), budget === 55 ? el("span", { class: "ixc-4k", text: " · 4K" }) : null));
    const suggested = el("button", { type: "button", class: "ixc-pill ixc-pill-suggested", id: "ixc-suggested", disabled: true,
      "data-t-title": "budget.suggested.title", onclick: () => set(plan().suggested) });
    const advice = el("p", { id: "ixc-budget-advice", class: "ixc-advice", "aria-live": "polite" });
    element.append(
      el("div", { class: "ixc-budget-line" },
        el("label", { for: "ixc-budget-slider", "data-t": "budget.label" }), slider, shown),
      el("div", { class: "ixc-budget-buttons" },
        el("div", { class: "ixc-row", role: "group", "data-t-label": "budget.named" }, ...buttons, suggested), advice));
    ixc.translateTree(element);

    const plan = () => ixc.last("plan")?.plan;
    const layout = () => ixc.last("model")?.layout ?? { kind: "dynamic_partition" };

    function set(budget) {
      if (budget === host.props.value || layout().kind !== "dynamic_partition") return;
      host.props.value = budget;
      show();
      host.trigger("input");
    }

    function show() {
      const budget = host.props.value;
      if (Number(slider.value) !== budget) slider.value = budget;
      slider.style.setProperty("--filled", `${((budget - 1) / (max - 1)) * 100}%`);
      shown.textContent = budget;
      for (const button of buttons) button.setAttribute("aria-pressed", String(Number(button.dataset.budget) === budget));
      const hasBudget = layout().kind === "dynamic_partition";
      const facts = plan()?.suggested ? plan() : null;
      for (const control of [slider, ...buttons]) control.disabled = !hasBudget;
      element.classList.toggle("ixc-no-budget", !hasBudget);
      if (!hasBudget) shown.textContent = "–";
      suggested.disabled = !facts || !hasBudget;
      suggested.textContent = facts ? t("budget.suggested", { budget: facts.suggested }) : t("budget.suggested.none");
      suggested.setAttribute("aria-pressed", String(Boolean(facts) && facts.suggested === budget));
      advice.textContent = !hasBudget ? t(`budget.none.${layout().kind}`, { px: layout().viewPx })
        : facts ? adviceText(facts) : t("budget.help");
      advice.title = t("budget.help");
    }

    function adviceText({ budget, scale }) {
      const factor = scale < 1 ? 1 / scale : scale;
      if (factor < 1.005) return t("budget.advice.exact", { budget });
      const key = scale < 1 ? "budget.advice.shrunk" : "budget.advice.enlarged";
      return t(key, { budget, factor: factor.toFixed(2) });
    }

    slider.addEventListener("input", () => set(Number(slider.value)));
    host.watch("value", show);
    hear("plan", show);
    hear("model", show);
    hear("language", show);
    show();
  };
})();
