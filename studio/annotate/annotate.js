// The keys of the Annotate page, after keys.js and zoom.js. Registered once per page; ignored while somebody types.

if (!window.ahaAnnotateKeys) {
  window.ahaAnnotateKeys = true;

  const find = (selector) => document.querySelector(selector);
  const press = (id) => find(`#${id}`)?.click();
  const radios = (id) => document.querySelectorAll(`#${id} input[type=radio]`);
  const choose = (id, index) => radios(id)[index]?.click();

  const write = (id, everything) => {
    const field = find(`#${id} textarea`);
    if (!field) return;
    field.focus();
    field.setSelectionRange(everything ? 0 : field.value.length, field.value.length);
  };

  const sheet = () => find("#annotate-sheet .sheet:not([hidden])"); // what is shown where it is no reflection
  const keys = () => find(sheet() ? "#sheet-keys" : "#annotate-keys").showModal();

  let keeping = 0; // what is written is kept by the server a moment after the last change

  const keepSoon = (event) => {
    if (!event.target.closest?.("#annotate-form") || event.target.closest("#annotate-why")) return;
    clearTimeout(keeping);
    keeping = setTimeout(keep, 900);
  };

  const keep = () => {
    clearTimeout(keeping);
    keeping = 0;
    press(sheet() ? "sheet-save" : "annotate-save");
  };

  const tell = (words) => {
    find("#typed-ahead")?.remove();
    if (!words) return;
    const line = document.createElement("p");
    Object.assign(line, { id: "typed-ahead", textContent: words });
    line.setAttribute("role", "status");
    find("#annotate-note")?.after(line);
  };

  const ahead = typedAhead({
    shown: () => find("#annotate-token :is(input, textarea)")?.value,
    press: (event) => onPress(event, document.activeElement, true),
    tell,
  });

  window.ahaKeys = keys;
  window.ahaSettled = ahead.settle;

  document.addEventListener("click", (event) => { // what is missing is shown, instead of sent
    if (event.target.closest?.("#sheet-submit") && sheet()?.missing()) {
      event.stopImmediatePropagation();
      event.preventDefault();
    }
  }, true);
  document.addEventListener("input", keepSoon);
  document.addEventListener("change", keepSoon);
  document.addEventListener("visibilitychange", () => document.hidden && keeping && keep());
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#annotate-submit, #sheet-submit, #annotate-skip, #annotate-undo")) return;
    clearTimeout(keeping);
    ahead.begin();
  });

  const submit = () => {
    document.activeElement?.blur(); // so that the next keys are commands again
    if (sheet()?.missing()) return;
    ahead.begin();
    requestAnimationFrame(() => press(sheet() ? "sheet-submit" : "annotate-submit")); // after the text has reached Gradio
  };

  const judging = {
    rate: (index) => choose("annotate-rating", index),
    ratePlan: (index) => choose("annotate-plan-rating", index),
    judge: (index) => choose("annotate-right", index),
    correct: () => write("annotate-reason", radios("annotate-right")[1]?.checked),
    correctPlan: () => write("annotate-plan", false),
  };

  const anywhere = {
    skip: () => press("annotate-skip"),
    why: () => find("#annotate-why :is(input, textarea)")?.focus(),
    guide: () => press("annotate-guide"),
    project: () => find("#annotate-project input")?.focus(),
    undo: () => press("annotate-undo"),
    keys,
  };

  const act = (event) => {
    if (sheet() ? sheet().press(event) : perform(event, "reflection", judging)) return true;
    const pictures = sheet()?.querySelector(".together") || find("#annotate-stage .together");
    return perform(event, "zoom", zooming(pictures)) || perform(event, "annotate", anywhere);
  };

  const onPress = (event, target, again) => {
    if (namesOf(event)[0] === "ctrl+Enter") {
      event.preventDefault();
      return submit();
    }
    if (isTyping(target)) {
      if (again) writeInto(target, event);
      else if (event.key === "Escape" && !event.isComposing) target.blur();
      else if (event.key === "Enter" && target.closest("#annotate-why") && !event.isComposing) ahead.begin();
    } else if (act(event)) event.preventDefault();
  };

  document.addEventListener("keydown", (event) => {
    if (!find("#annotate-top") || find("dialog.keys[open]") || ahead.take(event) || isRepeated(event)) return;
    onPress(event, event.target, false);
  });
}
