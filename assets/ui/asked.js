// What each question is about: the notes between questions, and the picture beside one where it changes.
(() => {
  const { t, el, hear, viewWords, serverUrl } = ixc;
  const WIDE_PX = 132; // twice what is shown, for fine screens
  const HIGH_PX = 99;
  const MAX_THUMBNAILS = 32;
  const thumbnails = new Map(); // by the page's name for an image, a small copy of a picture that the stage has shown

  // Of a question that was kept while the page was loaded again, the image's name and budget are left.
  const viewOf = ({ view, image, used }) => view ?? (image ? { image, budget: used?.budget } : null);

  // How many of the answered questions before it a model that looks at one image at a time is not told of. The server says the
  // same of a question that was asked.
  ixc.numLeftOut = (earlier, image) => {
    const told = earlier.filter(({ answer }) => answer);
    const first = told.findIndex((each) => (each.image || null) === image);
    return told.filter((each, index) => first < 0 || index < first || (each.image && each.image !== image)).length;
  };

  function noteBetween(before, after, keepsImages) {
    if (!before && !after) return null;
    if (!after) return before.kind ? t(keepsImages ? "chat.note.removed.kept" : "chat.note.removed") : null; // else a notice says it
    const view = viewWords(after);
    if (!before) return t("chat.note.added", { view });
    if (before.image !== after.image) return t("chat.note.image", { view });
    if (!before.kind || before.budget === after.budget) return null;
    return after.kind === "dynamic_partition" ? t("chat.note.budget", { budget: after.budget, view }) : t("chat.note.view", { view });
  }

  // Another model, another image, another budget: whatever the next answer does not share with the one before. And once, that a
  // model which looks at one image at a time is not told of all.
  ixc.notesBefore = (earlier, next) => {
    const before = earlier[earlier.length - 1];
    if (!before) return "";
    const { view, model } = next;
    const isOther = model && before.model && before.model !== model;
    const keepsImages = !next.leftOut && earlier.some((each) => each.answer && viewOf(each));
    const change = !isOther ? noteBetween(viewOf(before), view, keepsImages)
      : view ? t("chat.note.model.view", { model, view: viewWords(view) }) : t("chat.note.model", { model });
    const isNews = next.leftOut > 0 && !earlier.some(({ leftOut }) => leftOut > 0);
    return [change, isNews ? t("chat.note.one", { model }) : null].filter(Boolean).join(t("chat.note.between"));
  };

  // The picture that a question is about, where the one before it was about another; null where there is nothing to say. It is
  // the way back to that image.
  ixc.askedImage = (exchange, before) => {
    const view = viewOf(exchange);
    if (!view || (before && viewOf(before)?.image === view.image)) return null;
    const source = thumbnails.get(view.image);
    const budget = view.budget && (!view.kind || view.kind === "dynamic_partition") ? t("chat.stats.budget", { budget: view.budget }) : null;
    const words = [view.width ? `${view.width} × ${view.height}` : null, budget ?? (view.kind ? viewWords(view) : null)].filter(Boolean).join(" · ");
    return el("figure", { class: "ixc-asked-image" }, el("figcaption", { class: "ixc-small" }, el("span", { class: "ixc-sr", text: t("chat.about") }), words),
      source ? el("button", { type: "button", class: "ixc-asked-picture", title: t("chat.again"), "aria-label": t("chat.again.label", { view: words }),
        onclick: () => ixc.showAgain(view) }, el("img", { src: source, alt: "" })) : null);
  };

  ixc.keptThumbnails = (images) => [...thumbnails].filter(([image]) => images.includes(image));
  ixc.restoreThumbnails = (kept) => {
    for (const [image, source] of Array.isArray(kept) ? kept : []) if (String(source).startsWith("data:image/")) thumbnails.set(image, source);
  };

  // From the top left, where documents have their heading. Drawn here, from what the page shows: nothing more is fetched.
  hear("picture-loaded", ({ picture, src }) => {
    const image = ixc.last("image");
    if (!image || thumbnails.has(image.id) || src !== new URL(serverUrl(image.src), location.href).href) return;
    const { naturalWidth: width, naturalHeight: height } = picture;
    const [cutWidth, cutHeight] = [Math.min(width, (height * WIDE_PX) / HIGH_PX), Math.min(height, (width * HIGH_PX) / WIDE_PX)];
    const canvas = el("canvas", { width: WIDE_PX, height: HIGH_PX });
    canvas.getContext("2d").drawImage(picture, 0, 0, cutWidth, cutHeight, 0, 0, WIDE_PX, HIGH_PX);
    thumbnails.set(image.id, canvas.toDataURL("image/webp", 0.8));
    if (thumbnails.size > MAX_THUMBNAILS) thumbnails.delete(thumbnails.keys().next().value);
  });
})();
