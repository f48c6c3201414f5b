// How an image gets in: choose, drop, paste or photograph. One path for all of them, with its progress and its errors.
(() => {
  const { t, el, icon, tell, hear, follow, passFocus } = ixc;
  // What a server says by its status, our own or a proxy before it. Another one is not foreseen.
  const REFUSALS = { 401: "LoginEnded", 408: "UploadTooSlow", 413: "UploadRefusedAsLarge", 500: "UploadRefused", 503: "UploadsWait", 507: "UploadRefused" };
  const NOBODY_ANSWERS = ["502", "504"]; // says a proxy whose app is down

  // Gradio's client throws "HTTP 503: ..." for a refusal and "Connection errored out. ..." where nobody answers.
  function uploadFailure(error) {
    const [, status] = error.message.match(/^HTTP (\d+)/) ?? [];
    const isOffline = navigator.onLine === false || error.message.startsWith("Connection errored out") || NOBODY_ANSWERS.includes(status);
    return isOffline ? { code: "IxcError", detail: t("app.offline") } : { code: REFUSALS[status] ?? "Unexpected" };
  }

  const UNANSWERED_MS = 30_000; // of an image that was asked for so long ago nothing more is to be waited for

  // One image is opened at a time. Of those asked for meanwhile the last one is next, be it a file or an example.
  let isOpening = false;
  let next = null;
  let askedAt = null; // when the server was asked to open it; null while its file is on the way

  function openImage(open) {
    if (isOpening) { next = open; return; }
    isOpening = true;
    document.body.dataset.opening = "true";
    askedAt = performance.now();
    tell("notice", null);
    open();
  }

  ixc.openImage = openImage;
  // Whether a question that is sent now might be answered without the image that it is about.
  ixc.isOpening = () => isOpening && (askedAt == null || performance.now() - askedAt < UNANSWERED_MS);

  // The server answers every image, good or bad, through the stage.
  ixc.imageAnswered = () => {
    if (!isOpening) return;
    isOpening = false;
    document.body.dataset.opening = "false";
    tell("opening", "");
    tell("held-back", false);
    const open = next;
    next = null;
    if (open) openImage(open);
  };

  ixc.dropZone = (element, host) => {
    const limits = JSON.parse(element.querySelector("[data-limits]").dataset.limits);
    const input = el("input", { type: "file", accept: "image/*,.avif,.tif,.tiff,.webp,.bmp", class: "ixc-offscreen", tabindex: "-1",
      id: "ixc-file", "data-t-label": "drop.label" });
    const choose = el("button", { type: "button", class: "ixc-button ixc-primary", id: "ixc-choose", onclick: () => input.click() },
      icon("upload"), el("span", { "data-t": "drop.choose" }));
    const camera = el("button", { type: "button", class: "ixc-button", id: "ixc-camera", onclick: openCamera },
      icon("camera"), el("span", { "data-t": "drop.webcam" }));
    const kinds = el("p", { class: "ixc-small" });
    const status = el("p", { class: "ixc-upload-status", role: "status" });
    // A finger neither drops files nor presses Ctrl+V.
    const byTouch = window.matchMedia("(hover: none) and (pointer: coarse)").matches;
    const zone = el("div", { class: "ixc-drop" },
      el("p", { class: "ixc-idea", "data-t": "drop.idea" }),
      el("p", { class: "ixc-drop-title", "data-t": byTouch ? "drop.title.touch" : "drop.title" }),
      byTouch ? null : el("p", { class: "ixc-small", "data-t": "drop.or" }),
      el("div", { class: "ixc-row" }, choose, navigator.mediaDevices ? camera : null), kinds);
    element.append(zone, input, status);
    ixc.translateTree(element);
    hear("language", () => { kinds.textContent = t("drop.kinds", { mb: limits.mb, megapixels: limits.megapixels }); });

    ixc.chooseFile = () => input.click();
    ixc.addFile = add;

    function add(file) {
      if (!file) return;
      if (file.size > limits.mb * 1024 * 1024) return fail({ code: "UploadTooLarge", mb: limits.mb });
      if (file.size === 0) file = new File(["\0"], file.name); // the server says what is wrong with it
      openImage(() => send(file));
    }

    async function send(file) {
      tell("opening", t("drop.decoding"));
      askedAt = null;
      try {
        const { path } = await host.upload(file);
        host.props.value = { path, orig_name: file.name, meta: { _type: "gradio.FileData" } };
        askedAt = performance.now();
        host.trigger("upload");
      } catch (error) {
        fail(uploadFailure(error));
        ixc.imageAnswered();
      }
    }

    function fail(message) {
      tell("notice", message);
      showWhy();
    }

    // Why an image cannot be opened is said beside the image, and in Compare. A file can be dropped or pasted anywhere.
    function showWhy() {
      const { pane } = document.body.dataset;
      if (!["chat", "evidence"].includes(pane)) return;
      passFocus(document.querySelector(`#ixc-${pane}-pane`), () => ixc.showPane("image"), () => document.querySelector("#ixc-tab-image"));
    }

    hear("notice", (message) => { if (message && isOpening) showWhy(); });

    hear("opening", (text) => { status.textContent = text; });

    input.addEventListener("change", () => { add(input.files[0]); input.value = ""; });

    let depth = 0;
    document.addEventListener("dragenter", (event) => {
      if (event.dataTransfer?.types?.includes("Files")) { depth += 1; document.body.dataset.dragging = "true"; }
    });
    document.addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); if (!depth) delete document.body.dataset.dragging; });
    document.addEventListener("dragover", (event) => { if (event.dataTransfer?.types?.includes("Files")) event.preventDefault(); });
    document.addEventListener("drop", (event) => {
      depth = 0;
      delete document.body.dataset.dragging;
      if (!event.dataTransfer?.files?.length) return;
      event.preventDefault();
      add(event.dataTransfer.files[0]);
    });
    // Cells of a spreadsheet come as text and as a picture of it: into a field goes the text.
    document.addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files || [])][0];
      const isText = event.target.closest?.("textarea, input") && event.clipboardData?.types.includes("text/plain");
      if (!file || isText) return;
      event.preventDefault();
      add(file);
    });

    let isCameraAsked = false; // whoever may use it is asked once, however often the button is pressed meanwhile
    async function openCamera() {
      if (isCameraAsked) return;
      isCameraAsked = true;
      let stream;
      try {
        stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 3840 }, height: { ideal: 2160 } } });
      } catch {
        return fail({ code: "IxcError", detail: t("webcam.denied") });
      } finally {
        isCameraAsked = false;
      }
      const video = el("video", { autoplay: true, playsinline: true, muted: true });
      video.srcObject = stream;
      const shoot = el("button", { type: "button", class: "ixc-button ixc-primary", text: t("webcam.take"), disabled: true, onclick: take });
      video.addEventListener("loadeddata", () => { shoot.disabled = false; shoot.focus(); }); // there is nothing to take before
      const dialog = el("dialog", { class: "ixc-dialog", "aria-label": t("webcam.title") }, video,
        el("div", { class: "ixc-row" }, shoot,
          el("button", { type: "button", class: "ixc-button", text: t("webcam.cancel"), onclick: () => dialog.close() })));
      dialog.addEventListener("close", () => { stream.getTracks().forEach((track) => track.stop()); dialog.remove(); });
      document.body.append(dialog);
      dialog.showModal();

      function take() {
        const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
        canvas.getContext("2d").drawImage(video, 0, 0);
        canvas.toBlob((blob) => { if (blob) add(new File([blob], "camera.png", { type: "image/png" })); dialog.close(); }, "image/png");
      }
    }
  };

  ixc.examples = (element, host) => {
    const strip = el("div", { class: "ixc-examples", role: "group", "data-t-label": "examples.title" });
    element.append(strip);
    ixc.translateTree(element);
    const inLanguage = (example, kind) => example[`${kind}_${ixc.language}`] || example[`${kind}_en`];
    const exampleOf = (imageId) => (host.props.value || []).find((each) => each.imageId === imageId);
    ixc.exampleAlt = (imageId) => {
      const example = exampleOf(imageId);
      return example ? inLanguage(example, "alt") : "";
    };
    // A small model is shown how these are cut; it cannot read them.
    const isBeyond = (example, model) => Boolean(example && !example.forSmall && model?.small);
    ixc.isBeyond = (imageId, model) => isBeyond(exampleOf(imageId), model);
    const name = () => [...strip.children].forEach((button, index) => {
      const example = host.props.value[index];
      const [title, alt, beyond] = [inLanguage(example, "title"), inLanguage(example, "alt"), isBeyond(example, ixc.last("model"))];
      button.dataset.beyond = beyond;
      button.title = beyond ? t("examples.beyond.title", { title }) : title;
      button.setAttribute("aria-label", t(beyond ? "examples.beyond" : "examples.open", { title, alt }));
    });
    hear("model", name);
    hear("language", name);
    follow(host, (examples) => {
      strip.replaceChildren(...examples.map((example, index) => el("button", { type: "button", class: "ixc-example",
        onclick: () => openImage(() => host.trigger("pick", { index, language: ixc.language })) },
      el("img", { src: example.thumbnail, alt: "", width: 64, height: 48, loading: "lazy" }))));
      name();
      element.hidden = examples.length === 0;
      if (examples.length) tell("opened", true); // the server has answered the page's first question
    })();
  };
})();
