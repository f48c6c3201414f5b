// The field for the question. What is sent there is sent once, and leaves the field when its answer begins; nothing else does.
(() => {
  const { el, tell, hear, questionField, isComposing } = ixc;
  const UNHEARD_MS = 15_000;
  let sentAt = -Infinity; // of a question of which nothing was heard yet: not even that it waits
  let offered = ""; // what the page itself has put into the field

  ixc.answerHeard = () => { sentAt = -Infinity; };

  // True for whoever may send a question now and then does. A second click comes as soon as the first was made, and its request
  // possibly when a short answer to the first is over: the server could not tell it from a question asked again.
  ixc.maySend = () => {
    if (ixc.isOpening()) { tell("held-back", true); return false; } // it is about an image that is not there yet
    if (performance.now() - sentAt < UNHEARD_MS || ixc.isBusy()) return false; // one that nobody hears of bars the way for no longer
    sentAt = performance.now();
    return true;
  };

  function sendOrKeep(event) {
    if (ixc.maySend()) return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Gradio sends on this very event. An Enter that takes an input method's candidate, or goes with a command key, makes none.
  document.addEventListener("keypress", (event) => {
    if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
    if (event.target.closest?.("#ixc-question")) sendOrKeep(event);
  }, true);
  document.addEventListener("click", (event) => { if (event.target.closest?.("#ixc-send")) sendOrKeep(event); }, true);

  // What is being answered leaves the field; a draft does not, be it that another question is retried or that typing went on.
  ixc.takeFromField = (asked) => { if (questionField()?.value.trim() === asked) fill(""); };

  // An example's question, or one that was taken back. What somebody typed stays.
  ixc.offerQuestion = (text) => {
    const field = questionField();
    if (!field || !["", offered].includes(field.value.trim())) return;
    offered = text.trim();
    fill(text);
  };

  function fill(text) {
    const field = questionField();
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // Gradio measures what was filled in when it comes, which may be before the field is seen: on a phone it has a tab of its own.
  hear("pane", (pane) => {
    const field = questionField();
    if (pane === "chat" && field?.value) fill(field.value);
  });

  ixc.composerHint = (element) => {
    element.append(el("p", { class: "ixc-small", "data-t": "composer.hint" }));
    ixc.translateTree(element);
  };
})();
