// The field for the question. What is sent there is sent once, and leaves the field when its answer begins; nothing else does.
(() => {
  const { el } = ixc;
  let isOnItsWay = false; // a question of which nothing was heard yet: not even that it waits

  ixc.answerHeard = () => { isOnItsWay = false; };

  // True for whoever may send a question now and then does. A second click comes as soon as the first was made, and its request
  // possibly when a short answer to the first is over: the server could not tell it from a question asked again.
  ixc.maySend = () => {
    if (isOnItsWay || ixc.isBusy()) return false;
    isOnItsWay = true;
    return true;
  };

  function sendOrKeep(event) {
    if (ixc.maySend()) return;
    event.preventDefault();
    event.stopPropagation();
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    if (event.target.closest?.("#ixc-question")) sendOrKeep(event);
  }, true);
  document.addEventListener("click", (event) => { if (event.target.closest?.("#ixc-send")) sendOrKeep(event); }, true);

  // What is being answered leaves the field; a draft does not, be it that another question is retried or that typing went on.
  ixc.takeFromField = (asked) => {
    const field = document.querySelector("#ixc-question textarea");
    if (field?.value.trim() !== asked) return;
    field.value = "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };

  ixc.composerHint = (element) => {
    element.append(el("p", { class: "ixc-small", "data-t": "composer.hint" }));
    ixc.translateTree(element);
  };
})();
