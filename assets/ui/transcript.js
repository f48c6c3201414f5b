// The conversation. Each exchange keeps its DOM while it does not change, so that streaming moves nothing but the new text.
(() => {
  const KEPT = "ixc-kept"; // what a tab keeps while its page is loaded again
  const { t, el, icon, hear, follow, standIn, passFocus, questionField, isComposing, errorSentence, drawNotice, formatBytes, formatCount, renderMarkdown, viewWords, notesBefore, askedImage } = ixc;

  ixc.transcript = (element, host) => {
    const exporter = menu("chat.export", "download", [["markdown", "chat.export.markdown"], ["json", "chat.export.json"]], (format) =>
      host.trigger("export", { format, language: ixc.language }));
    const fresh = barButton("plus", "chat.new", "ixc-new", () => { host.trigger("clear"); });
    const bar = el("div", { class: "ixc-chat-bar" }, el("h2", { "data-t": "chat.region" }), el("div", { class: "ixc-row" }, fresh, exporter));
    const log = el("div", { class: "ixc-log", id: "ixc-log", role: "log", "aria-live": "off", "data-t-label": "chat.region", tabindex: "0" });
    // What a screen reader says by itself; the log is redrawn as it grows, and would be said again each time.
    const said = el("div", { class: "ixc-sr", id: "ixc-said", role: "status" });
    const empty = el("div", { class: "ixc-empty" });
    const pending = el("p", { class: "ixc-note", id: "ixc-pending-note", role: "status", hidden: true });
    const jump = el("button", { type: "button", class: "ixc-jump", hidden: true, "data-t-label": "chat.jump", onclick: () => scrollDown() }, icon("down"));
    const notice = el("div", { class: "ixc-notice", role: "alert", id: "ixc-chat-notice", hidden: true });
    const scroller = el("div", { class: "ixc-scroller" }, empty, log, pending);
    element.append(bar, el("div", { class: "ixc-scroll-box" }, scroller, jump), notice, said);
    ixc.translateTree(element);
    standIn(element, "chat");

    let value = host.props.value;
    let shown = []; // what each child of the log was drawn from
    let lastFinished = 0; // the number of the last value in which nothing was being written
    let follows = true; // stay at the end unless the reader scrolled up
    const user = window.gradio_config?.username ?? null;
    let kept = null; // from the page before this one, until the server has it

    function ask(kind, details) { if (ixc.maySend()) host.trigger(kind, details); }

    function barButton(name, key, id, action) {
      return el("button", { type: "button", class: "ixc-bar-button", id, onclick: action }, icon(name), el("span", { "data-t": key }));
    }

    function menu(key, name, items, act) {
      const list = el("div", { class: "ixc-menu", role: "menu", hidden: true }, ...items.map(([format, itemKey]) =>
        el("button", { type: "button", role: "menuitem", tabindex: "-1", "data-format": format, "data-t": itemKey, onclick: () => { leave(); act(format); } })));
      const button = el("button", { type: "button", class: "ixc-bar-button", id: "ixc-export", "aria-haspopup": "menu", "aria-expanded": "false",
        onclick: () => open(list.hidden) }, icon(name), el("span", { "data-t": key }));
      const box = el("div", { class: "ixc-menu-box" }, button, list);
      function open(wanted) { list.hidden = !wanted; button.setAttribute("aria-expanded", String(wanted)); if (wanted) list.firstChild.focus(); }
      function leave() { open(false); button.focus(); }
      box.addEventListener("keydown", (event) => {
        const entries = [...list.children];
        const at = entries.indexOf(document.activeElement);
        const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
        if (list.hidden || (to == null && event.key !== "Escape")) return;
        event.preventDefault();
        if (to == null) leave();
        else entries.at(to % entries.length).focus();
      });
      box.addEventListener("focusout", (event) => { if (event.relatedTarget && !box.contains(event.relatedTarget)) open(false); });
      document.addEventListener("click", (event) => { if (!box.contains(event.target)) open(false); });
      return box;
    }

    // --- exchanges ----------------------------------------------------------------------------------------------

    function question(exchange, index) {
      const bubble = el("div", { class: "ixc-question" }, el("span", { class: "ixc-sr", text: `${t("chat.you")}: ` }), exchange.question);
      const actions = index == null ? null : el("div", { class: "ixc-actions" },
        action("edit", "chat.edit", () => startEditing(node, exchange, index)), copyAction(exchange.question));
      const node = el("div", { class: "ixc-asked" }, bubble, actions);
      return node;
    }

    function answer(exchange, index, isLast) {
      const body = el("div", { class: "ixc-answer" }, el("span", { class: "ixc-sr", text: `${t("chat.model")}: ` }));
      if (exchange.answer) body.append(renderMarkdown(exchange.answer));
      else if (!exchange.error) body.append(el("p", { class: "ixc-small", text: t("chat.noanswer") }));
      const error = exchange.error ? failure(exchange, isLast) : null;
      const actions = el("div", { class: "ixc-actions" }, exchange.answer ? copyAction(exchange.answer) : null,
        isLast && !exchange.error ? action("retry", "chat.retry", () => ask("retry")) : null,
        isLast ? action("undo", "chat.undo", () => host.trigger("undo")) : null);
      return el("div", { class: "ixc-answered" }, exchange.answer || !exchange.error ? body : null, error,
        exchange.lacksImage ? el("p", { class: "ixc-small ixc-lacks", text: t("chat.note.lacks") }) : null,
        el("div", { class: "ixc-under" }, el("p", { class: "ixc-stats", text: statsText(exchange) }), actions));
    }

    // What went wrong, and beside it the button that its sentence speaks of.
    function failure({ error, question: asked }, isLast) {
      const isTooLong = error.code === "ConversationTooLong"; // and would be again
      const beginAnew = () => { host.trigger("clear"); ixc.offerQuestion(asked); };
      const button = !isLast ? null : el("button", { type: "button", class: "ixc-button", "data-action": isTooLong ? "new" : "retry",
        onclick: isTooLong ? beginAnew : () => ask("retry") }, icon(isTooLong ? "plus" : "retry"), t(isTooLong ? "chat.new" : "chat.retry"));
      return el("div", { class: "ixc-failed" }, el("p", { text: errorSentence(error) }), button);
    }

    function action(name, key, act) {
      return el("button", { type: "button", class: "ixc-action", "data-action": name, title: t(key), "aria-label": t(key), onclick: act }, icon(name));
    }

    function copyAction(text) {
      const button = action("copy", "chat.copy", async () => {
        if (!await copy(text)) return;
        button.replaceChildren(icon("check"));
        button.setAttribute("aria-label", t("chat.copied"));
        setTimeout(() => { button.replaceChildren(icon("copy")); button.setAttribute("aria-label", t("chat.copy")); }, 1500);
      });
      return button;
    }

    async function copy(text) {
      if (navigator.clipboard?.writeText) {
        try { await navigator.clipboard.writeText(text); return true; } catch { /* pages without https may not */ }
      }
      const area = el("textarea", { class: "ixc-offscreen" });
      area.value = text;
      const before = document.activeElement;
      document.body.append(area);
      area.select();
      const isCopied = document.execCommand("copy");
      area.remove();
      before?.focus({ preventScroll: true });
      return isCopied;
    }

    function statsText({ stats, reason, view }) {
      if (!stats) return "";
      const parts = [];
      if (reason === "stopped") parts.push(t(stats.ttftMs == null ? "chat.stats.nothing" : "chat.stats.stopped"));
      if (stats.ttftMs != null) {
        const seconds = stats.ttftMs < 995 ? (stats.ttftMs / 1000).toFixed(2) : (stats.ttftMs / 1000).toFixed(1);
        parts.push(t("chat.stats.ttft", { seconds }));
      }
      if (stats.tokensPerS != null) parts.push(t("chat.stats.speed", { speed: Math.round(stats.tokensPerS) }));
      if (stats.promptTokens) {
        const key = stats.cachedTokens ? "chat.stats.cached" : "chat.stats.prompt";
        parts.push(t(key, { tokens: formatCount(stats.promptTokens), cached: formatCount(stats.cachedTokens) }));
      }
      if (view) parts.push(view.kind === "dynamic_partition" ? t("chat.stats.budget", { budget: view.budget }) : viewWords(view));
      if (stats.waitedMs >= 1000) parts.push(t("chat.stats.waited", { seconds: (stats.waitedMs / 1000).toFixed(1) }));
      if (reason === "length") parts.push(t("chat.stats.length"));
      return parts.join(" · ");
    }

    function startEditing(node, exchange, index) {
      if (ixc.isBusy()) return;
      const area = el("textarea", { class: "ixc-edit", "aria-label": t("chat.edit.label"), rows: Math.min(8, exchange.question.split("\n").length + 1) });
      area.value = exchange.question;
      const save = () => { const text = area.value.trim(); if (text) ask("edit", { index, text }); };
      const cancel = () => {
        editor.replaceWith(node);
        draw(); // what the open editor held up
        (ixc.isBusy() ? questionField() : shown[index].node.querySelector('[data-action="edit"]')).focus();
      };
      const editor = el("div", { class: "ixc-editor" }, area, el("div", { class: "ixc-row" },
        el("button", { type: "button", class: "ixc-button", "data-t": "chat.edit.cancel", text: t("chat.edit.cancel"), onclick: cancel }),
        el("button", { type: "button", class: "ixc-button ixc-primary", "data-t": "chat.edit.save", text: t("chat.edit.save"), onclick: save })));
      editor.addEventListener("keydown", (event) => {
        if (isComposing(event)) return;
        if (event.key === "Enter" && !event.shiftKey && event.target === area) { event.preventDefault(); save(); }
        if (event.key === "Escape") { event.preventDefault(); cancel(); }
      });
      node.replaceWith(editor);
      area.focus();
      area.setSelectionRange(area.value.length, area.value.length);
    }

    // --- the answer being written -------------------------------------------------------------------------------

    const liveBody = el("div", { class: "ixc-answer ixc-live" });
    const liveStage = el("p", { class: "ixc-stats", id: "ixc-stage-text" });
    const liveBar = el("progress", { class: "ixc-progress", max: 100, hidden: true, "aria-hidden": "true" });
    let liveNode = null;
    let liveKey = "";

    let saidStage = null;

    // Each stage once, without its counting, and then the whole answer or why there is none.
    function say(live, last) {
      const hasEnded = Boolean(liveNode && !live && last);
      const stage = live && (live.text ? "" : live.stage);
      if (live && stage !== saidStage) said.textContent = stageText(live);
      else if (hasEnded) said.replaceChildren(last.error ? errorSentence(last.error) : renderMarkdown(last.answer || t("chat.noanswer")));
      else if (!live) said.replaceChildren();
      saidStage = stage;
    }

    function showLive(live, exchanges) {
      if (!live) { liveNode?.remove(); liveNode = null; liveKey = ""; return; }
      const key = JSON.stringify([live.question, live.view, live.model, live.leftOut, shown.length, ixc.language]);
      if (key !== liveKey) {
        if (!liveNode) ixc.takeFromField(live.question);
        liveNode?.remove();
        liveKey = key;
        const note = notesBefore(exchanges, live);
        liveNode = el("div", { class: "ixc-exchange", id: "ixc-live" }, note ? el("p", { class: "ixc-note", text: note }) : null,
          askedImage(live, exchanges[exchanges.length - 1]), question(live, null), el("div", { class: "ixc-answered" }, liveBody, liveBar, el("div", { class: "ixc-under" }, liveStage)));
        log.append(liveNode);
        follows = true;
      }
      liveBody.hidden = !live.text;
      liveBody.replaceChildren(renderMarkdown(live.text));
      (lastTextBlock(liveBody) || liveBody).append(el("span", { class: "ixc-caret", "aria-hidden": "true" }));
      liveStage.textContent = document.body.dataset.stopping === "true" ? t("chat.stopping") : stageText(live);
      const counts = live.stage === "vision" || live.stage === "prefill" || (live.stage === "loading" && live.done > 0);
      liveBar.hidden = !counts || !live.total;
      if (counts) liveBar.value = (100 * live.done) / live.total;
    }

    function lastTextBlock(root) {
      const blocks = root.querySelectorAll("p, li, td, code");
      return blocks[blocks.length - 1];
    }

    function stageText({ stage, done, total, text }) {
      if (text || !stage) return t("chat.answering");
      if (stage === "line") return t("chat.stage.line", { ahead: total });
      if (stage === "loading") return done ? t("chat.stage.loading.percent", { percent: done }) : t("chat.stage.loading");
      if (stage === "vision" || stage === "prefill") return t(`chat.stage.${stage}`, { done: formatCount(done), total: formatCount(total) });
      return t(stage === "waiting" ? "chat.stage.waiting" : "chat.stage.start");
    }

    // --- drawing ------------------------------------------------------------------------------------------------

    function draw() {
      const { exchanges, live, error } = value;
      exchanges.forEach((exchange, index) => {
        if (shown[index]?.text === exchange.question && shown[index].node.querySelector(".ixc-editor")) return; // somebody writes there
        const isLast = index === exchanges.length - 1 && !live;
        const note = notesBefore(exchanges.slice(0, index), exchange);
        const picture = askedImage(exchange, exchanges[index - 1]);
        const key = JSON.stringify([exchange, isLast, note, picture?.textContent, picture?.childElementCount, ixc.language]);
        if (shown[index]?.key === key) return;
        const node = el("div", { class: "ixc-exchange" }, note ? el("p", { class: "ixc-note", text: note }) : null,
          picture, question(exchange, index), answer(exchange, index, isLast));
        if (shown[index]) shown[index].node.replaceWith(node);
        else log.insertBefore(node, liveNode);
        shown[index] = { key, node, text: exchange.question };
      });
      shown.splice(exchanges.length).forEach(({ node }) => node.remove());
      say(live, exchanges[exchanges.length - 1]);
      showLive(live, exchanges);
      const busy = Boolean(live);
      if (!busy) document.body.dataset.stopping = "false";
      document.body.dataset.busy = String(busy);
      document.body.dataset.chatting = String(exchanges.length > 0 || busy);
      fresh.disabled = busy || !exchanges.length;
      exporter.querySelector("button").disabled = !exchanges.length;
      const last = exchanges[exchanges.length - 1];
      if (!live && last) ixc.tell("answered", { model: last.model, isLost: last.error?.code === "BackendLost" });
      showPending();
      if (follows) scrollDown(); else onScroll();
    }

    // A long answer takes long to draw, and more of it comes 25 times a second: most of the time is for its reader.
    let drawAgain = null;
    let mayDrawAt = 0;
    function drawInTime() {
      const waitMs = mayDrawAt - performance.now();
      if (value.live && liveNode && waitMs > 0) { drawAgain ??= setTimeout(() => { drawAgain = null; drawInTime(); }, waitMs); return; }
      clearTimeout(drawAgain);
      drawAgain = null;
      const begunAt = performance.now();
      draw();
      mayDrawAt = performance.now() + 3 * (performance.now() - begunAt);
    }

    function showNotice(error) {
      notice.dataset.code = error?.code ?? "";
      drawNotice(notice, error, () => { notice.hidden = true; }, questionField);
    }

    // What the next question will use, when that differs from the last one; or what it waits for.
    function showPending() {
      if (ixc.last("held-back") && ixc.isOpening()) { showNote(t("chat.note.opening"), true); return; }
      const plan = ixc.last("image") ? ixc.last("plan") : null;
      const model = ixc.last("model");
      const full = value.live ? null : fullNote(plan?.room, model);
      const note = value.live ? null : [pendingNote(plan && { image: plan.imageId, ...plan.plan }, model), full].filter(Boolean).join(t("chat.note.between"));
      showNote(note, Boolean(full));
    }

    function showNote(note, isWarning) {
      pending.hidden = !note;
      pending.classList.toggle("ixc-warning", isWarning);
      if (note && pending.textContent !== note) pending.textContent = note;
      if (note && follows) scrollDown();
    }

    // What would be refused is said before it is asked.
    function fullNote(room, model) {
      if (model?.phase !== "ready" || !room?.max || room.tokens < room.max) return null;
      return t(value.exchanges.length ? "chat.note.full" : "chat.note.full.first",
        { tokens: formatCount(room.tokens), max: formatCount(room.max), model: model.name });
    }

    function pendingNote(view, model) {
      const notes = [];
      const last = value.exchanges[value.exchanges.length - 1];
      const isOther = last?.model && model && last.model !== model.name;
      if (model?.phase === "loading" && isOther) return t("chat.note.loading", { model: model.name });
      if (model?.coming) notes.push(t("chat.note.coming", { model: model.name, coming: model.coming.name }));
      if (model?.phase === "ready" && model.error) notes.push(t("chat.note.kept", { model: model.name, detail: errorSentence(model.error) }));
      const isReady = model?.phase === "ready";
      if (isReady && ixc.isBeyond(view?.image, model)) notes.push(t("chat.note.beyond", { model: model.name }));
      const leftOut = isReady && model.oneImage ? ixc.numLeftOut(value.exchanges, view?.image ?? null) : 0;
      if (last) notes.push(notesBefore(value.exchanges, { view, model: isReady ? model.name : "", leftOut }));
      if (model?.freed?.bytes && (isOther || !last)) notes.push(t("chat.note.freed", { size: formatBytes(model.freed.bytes), model: model.freed.name }));
      return notes.filter(Boolean).join(t("chat.note.between"));
    }

    function showEmpty() {
      const model = ixc.last("model");
      const phone = window.matchMedia("(max-width: 860px)").matches;
      empty.replaceChildren(el("h3", { text: t("chat.empty.title") }), el("p", { text: t(phone ? "chat.empty.phone" : "chat.empty.text") }));
      if (model?.phase === "ready" && model.note) empty.append(el("p", { class: "ixc-about" }, icon("info"), el("span", {}, el("strong", { text: `${model.name}: ` }), ixc.modelNote(model))));
      if (model?.phase === "failed") empty.append(el("p", { class: "ixc-about ixc-about-failed" }, icon("info"), t("model.failed.long", { detail: errorSentence(model.error) })));
    }

    function atEnd() { return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48; }
    function scrollDown() { scroller.scrollTop = scroller.scrollHeight; follows = true; jump.hidden = true; }
    function onScroll() { follows = atEnd(); jump.hidden = follows; }
    scroller.addEventListener("scroll", onScroll, { passive: true });
    new ResizeObserver(() => { if (follows) scrollDown(); }).observe(scroller);

    hear("plan", showPending);
    hear("held-back", showPending);
    hear("image", (image) => {
      if (image && ["PageReloaded", "ImageGone"].includes(notice.dataset.code)) notice.hidden = true; // there is one again
      showPending();
    });
    hear("model", () => { showEmpty(); showPending(); });
    hear("language", () => { showEmpty(); draw(); if (!notice.hidden) showNotice(value.error); });
    hear("pane", () => { if (follows) scrollDown(); });
    follow(host, (next) => {
      if (next.number <= lastFinished) return; // delivered again at the end of its stream, or overtaken
      if (!next.live) lastFinished = next.number;
      const isOver = !next.live && (value.live || value.exchanges.length !== next.exchanges.length);
      value = next;
      kept = null;
      ixc.answerHeard();
      passFocus(document.querySelector("#ixc-chat-pane"), () => { drawInTime(); showNotice(next.error); }, questionField);
      if (next.draft) ixc.offerQuestion(next.draft);
      if (isOver && ixc.last("image")) ixc.replan(); // its numbers are those of the next question
    })();

    // --- kept while the page is loaded again --------------------------------------------------------------------

    // Gradio's script reloads the page after a broken connection, and a phone discards a tab in the background. What was said, typed
    // and set stays in the tab meanwhile, and nowhere else, for the same user. Views and figures do not come back: the server has
    // freed the image.
    function takeKept() {
      try {
        const found = JSON.parse(sessionStorage.getItem(KEPT));
        sessionStorage.removeItem(KEPT);
        // Loaded again, come back to by Back or Forward, or discarded by the browser while it was hidden, as phones do.
        const isSameVisit = document.wasDiscarded || ["reload", "back_forward"].includes(performance.getEntriesByType("navigation")[0]?.type);
        return isSameVisit && found?.user === user ? found : null;
      } catch { return null; } // some frames and windows may keep nothing
    }

    function keep() {
      const { exchanges, live } = value;
      const left = kept ?? {
        user, draft: questionField()?.value ?? "", model: ixc.last("model")?.key, settings: ixc.settings(), budget: ixc.chosenBudget?.(),
        exchanges: exchanges.map(({ question: asked, answer: text, model, error, used, lacksImage, leftOut, image }) =>
          ({ question: asked, answer: text, model, error, used, lacksImage, leftOut, image })),
        numViews: [ixc.last("image"), live?.image, ...exchanges.map(({ image }) => image)].filter(Boolean).length,
        thumbnails: ixc.keptThumbnails([live?.image, ...exchanges.map(({ image }) => image)]),
      };
      if (!kept && live) {
        const { question: asked, text, model, used, image, leftOut } = live;
        left.exchanges.push({ question: asked, answer: text, model, used, image, leftOut, error: { code: "AnswerCut" } });
      }
      try { sessionStorage.setItem(KEPT, JSON.stringify(left)); } catch { /* as above */ }
    }

    // After the server's first answer, which sets what the model sets; another model has settings of its own.
    function giveBack() {
      const { thumbnails, ...words } = kept; // pictures stay in the page
      const { model, settings, budget, draft, exchanges } = words;
      ixc.restoreThumbnails(thumbnails);
      if (model === ixc.last("model")?.key) {
        if (settings) ixc.restoreSettings(settings);
        ixc.chooseBudget(budget);
      }
      if (draft || exchanges.length) host.trigger("restore", words);
      else kept = null;
    }

    window.addEventListener("pagehide", keep);
    document.addEventListener("visibilitychange", () => { if (document.hidden) keep(); }); // a tab that is discarded says no more
    kept = takeKept();
    let isGivenBack = false;
    hear("opened", () => setTimeout(() => {
      if (kept && !isGivenBack) giveBack();
      isGivenBack = true;
    }));

    document.addEventListener("click", (event) => {
      if (!event.target.closest?.("#ixc-stop") || !ixc.isBusy()) return;
      document.body.dataset.stopping = "true";
      liveStage.textContent = t("chat.stopping");
    });
  };
})();
