// What was measured and what the papers report: curves drawn here as SVG, each with its numbers as a table.
(() => {
  const { t, el, hear, standIn } = ixc;
  const SVG = "http://www.w3.org/2000/svg";
  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [640, 300, 44, 14, 14, 40];

  ixc.evidence = (element, host) => {
    const body = el("div", { class: "ixc-evidence" });
    element.append(body);
    standIn(element, "evidence");
    hear("language", draw);

    function draw() {
      const value = host.props.value;
      if (!value) return;
      const isFirst = ({ model }) => model === value.curves[0].model; // the one that answers here
      const cards = [...value.curves.filter(isFirst).map(curveCard), ...value.comparisons.map(comparisonCard),
        ...value.curves.filter((each) => !isFirst(each)).map(curveCard), ...value.ablations.map(ablationCard), ...publishedCards(value.published), ...value.speeds.map(speedCard)];
      body.replaceChildren(el("p", { class: "ixc-small ixc-evidence-intro", text: t("evidence.intro") }), ...cards);
      if (!cards.length) body.append(el("p", { class: "ixc-card", text: t("evidence.none") }));
    }

    // --- cards --------------------------------------------------------------------------------------------------

    // What was asked stands in the title: shares of different tests are no answer to each other.
    function curveCard({ model, test, numDocuments, labels, series }) {
      const label = (budget) => labels[budget] ?? `HD-${budget}`;
      const budgets = [...new Set(series.flatMap(({ points }) => points.map(({ budget }) => budget)))].sort((a, b) => a - b);
      const lines = series.map(({ name, points }) => ({ name: groupName(name), values: budgets.map((budget) => {
        const point = points.find((each) => each.budget === budget);
        return point ? { y: 100 * point.share, spread: point.num ? 196 * Math.sqrt((point.share * (1 - point.share)) / point.num) : 0 } : null;
      }) }));
      const num = series[0].points[0]?.num;
      const asked = numDocuments ? "evidence.asked.documents" : `evidence.asked.${test}.alone`;
      const note = num ? t("evidence.curve.note", { asked: t(asked, { num: count(num), documents: count(numDocuments) }) }) : "";
      const title = t(`evidence.curve.${test}`, { model });
      return card(title, note,
        chart(budgets.map(label), lines.filter((_, at) => series[at].is_drawn), [0, 100], t("evidence.curve.alt", { title })),
        dataTable(t(`evidence.test.${test}`), budgets.map(label), lines.map(({ name, values }) => [name, ...values.map((each) => percent(each?.y))])));
    }

    // The same pictures and questions for every row.
    function comparisonCard({ models, rows }) {
      const head = ["signs", "documents", "legible"].map((each) => t(`evidence.test.${each}`));
      const cell = (each) => (each ? [t("evidence.of", { share: percent(100 * each.share), num: count(each.num) }), meter(each.share)] : "–");
      return card(t("evidence.comparison", { models: models.join(t("evidence.and")) }), t("evidence.comparison.note"),
        openTable(t("evidence.input"), head, rows.map(({ model, input, cells }) => [`${model}, ${input}`, ...cells.map(cell)])));
    }

    function meter(share) { return el("i", { class: "ixc-meter", style: `--share: ${100 * share}%`, "aria-hidden": "true" }); }
    function count(n) { return (n ?? 0).toLocaleString("en-US"); }

    function ablationCard({ model, budgets, rows, isOfOthers }) {
      const columns = budgets.map((budget) => (budget ? `HD-${budget}` : t("evidence.exact")));
      const note = [t("evidence.ablation.note"), isOfOthers ? t("evidence.ablation.others") : ""].filter(Boolean).join(" ");
      return card(t("evidence.ablation", { model }), note,
        openTable(t("evidence.variant"), columns, rows.map(({ name, shares }) => [variantName(name), ...shares.map((share) => percent(share == null ? null : 100 * share))])));
    }

    function publishedCards(published) {
      if (!published) return [];
      const steps = published.budgets.map(({ trained, run }) => `${trained} → ${run}`);
      const lines = published.tasks.map((name, at) => ({ name, values: published.budgets.map(({ scores }) => ({ y: scores[at], spread: 0 })) }));
      const rows = lines.map(({ name, values }) => [name, ...values.map(({ y }) => y.toFixed(1))]);
      const ablation = published.ablation.map(({ budget, variant, scores }) => [`HD-${budget}, ${variantName(variant)}`, ...scores.map((score) => score.toFixed(1))]);
      return [
        card(t("evidence.published"), t("evidence.published.note", { source: published.source }),
          chart(steps, lines, [40, 100], t("evidence.published.alt"), t("evidence.published.axis")), dataTable(t("evidence.task"), steps, rows)),
        card(t("evidence.published.ablation"), t("evidence.published.ablation.note", { source: published.source }), openTable(t("evidence.variant"), published.tasks, ablation)),
      ];
    }

    function speedCard({ model, hardware, torch, date, figures }) {
      const rows = figures.map((each) => [figureName(each.name), amount(each.value, each.unit),
        each.baseline == null ? "–" : `${amount(each.baseline, each.unit)} (${phrase("evidence.speed.by", each.baseline_name)})`,
        each.ratio == null ? "–" : `${each.ratio.toFixed(1)}×`, goal(each.target)]);
      const head = ["ours", "baseline", "ratio", "target"].map((key) => t(`evidence.speed.${key}`));
      return card(t("evidence.speed", { model }), [hardware, torch && `torch ${torch}`, date, t("evidence.speed.note")].filter(Boolean).join(" · "),
        openTable(t("evidence.speed.what"), head, rows));
    }

    function card(title, note, ...content) {
      return el("section", { class: "ixc-card" }, el("h2", { text: title }), note ? el("p", { class: "ixc-small", text: note }) : null, ...content);
    }

    function openTable(first, head, rows) {
      return el("div", { class: "ixc-scroll-x", tabindex: "0", role: "region", "aria-label": first }, el("table", { class: "ixc-table" },
        el("thead", {}, el("tr", {}, el("th", { scope: "col", text: first }), ...head.map((text) => el("th", { scope: "col", text })))),
        el("tbody", {}, ...rows.map(([name, ...cells]) => el("tr", {}, el("th", { scope: "row", text: name }), ...cells.map((cell) => el("td", {}, ...[cell].flat())))))));
    }

    function dataTable(first, head, rows) {
      return el("details", { class: "ixc-data" }, el("summary", { text: t("evidence.data") }), openTable(first, head, rows));
    }

    // A name of the file's own, such as a task's, is shown as it is.
    function known(prefix, name) {
      const text = t(`${prefix}.${name.replaceAll(" ", "_")}`);
      return text.startsWith(`${prefix}.`) ? name : text;
    }
    function groupName(name) { return known("evidence.group", name); }
    function variantName(name) { return known("evidence.variant", name); }
    function percent(n) { return n == null ? "–" : `${n.toFixed(Math.abs(n - Math.round(n)) < 0.05 ? 0 : 1)}\u00a0%`; }
    function amount(n, unit) { return `${n >= 100 ? Math.round(n).toLocaleString("en-US") : Number(n.toPrecision(3))}\u00a0${phrase("evidence.speed.unit", unit)}`; }

    // A phrase of the file's in the page's language, whatever its numbers: "vision tower, 7 views" is vision_tower_n_views.
    function phrase(prefix, text) {
      const numbers = text.match(/\d+/g) ?? [];
      const key = `${prefix}.${text.replace(/\d+/g, "n").replace(/\W+/g, "_")}`;
      const found = t(key, { n: numbers[0], m: numbers[1] });
      return found === key ? text : found;
    }

    // "HD-9 decode": the budget, and what was measured at it.
    function figureName(name) {
      const [, budget, what] = name.match(/^(HD-\d+ )?(.*)$/);
      return `${budget ?? ""}${phrase("evidence.speed.figure", what)}`;
    }

    function goal(text) {
      const [, bound, n, unit] = (text ?? "").match(/^at (most|least) ([\d.]+) ?(.*)$/) ?? [];
      if (!bound) return text || "–";
      return t(`evidence.speed.at${bound}`, { amount: unit === "x" ? `${n}×` : amount(Number(n), unit) });
    }

    // --- one chart ----------------------------------------------------------------------------------------------

    // `lines` have one value {y, spread} or null for each of `labels`; colours and dashes are the style sheet's.
    function chart(labels, lines, [low, high], alt, axis = "") {
      // Each in the middle of its share of the width, so that its label has room on both sides.
      const x = (at) => LEFT + ((WIDTH - RIGHT - LEFT) * (at + 0.5)) / labels.length;
      const y = (n) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * (n - low)) / (high - low);
      const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "ixc-chart", role: "img", "aria-label": alt });
      for (let n = low; n <= high; n += 20) {
        svg.append(node("line", { class: "ixc-grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(n), y2: y(n) }), label(LEFT - 8, y(n) + 4, `${n}`, "end"));
      }
      labels.forEach((text, at) => svg.append(label(x(at), HEIGHT - BOTTOM + 18, text, "middle")));
      if (axis) svg.append(label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, axis, "middle"));
      lines.forEach(({ name, values }, index) => {
        const group = node("g", { class: `ixc-line ixc-line-${index % 6}` });
        const points = values.map((value, at) => (value ? [x(at), y(value.y), value] : null)).filter(Boolean);
        group.append(node("polyline", { points: points.map(([px, py]) => `${px},${py}`).join(" ") }));
        for (const [px, py, value] of points) {
          if (index === 0 && value.spread) group.append(node("line", { class: "ixc-spread", x1: px, x2: px, y1: y(Math.max(low, value.y - value.spread)), y2: y(Math.min(high, value.y + value.spread)) }));
          const dot = node("circle", { cx: px, cy: py, r: index === 0 ? 5 : 4 });
          dot.append(node("title", {}, `${name}: ${percent(value.y)}`));
          group.append(dot);
        }
        svg.append(group);
      });
      const legend = el("ul", { class: "ixc-chart-legend" }, ...lines.map(({ name }, index) => el("li", {}, swatch(index), name)));
      return el("div", {}, svg, legend);
    }

    function swatch(index) {
      const svg = node("svg", { viewBox: "0 0 24 8", width: 24, height: 8, "aria-hidden": "true" });
      const group = node("g", { class: `ixc-line ixc-line-${index % 6}` });
      group.append(node("polyline", { points: "0,4 24,4" }), node("circle", { cx: 12, cy: 4, r: 3.5 }));
      svg.append(group);
      return svg;
    }

    function label(x, y, text, anchor) {
      return node("text", { x, y, "text-anchor": anchor }, text);
    }

    function node(name, attributes, text) {
      const made = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      if (text != null) made.textContent = text;
      return made;
    }
  };
})();
