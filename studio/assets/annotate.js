// The keys of the Annotate page. Registered once per page; ignored while somebody types.

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

  const typing = (target) =>
    target.isContentEditable || target.tagName === "TEXTAREA" ||
    (target.tagName === "INPUT" && !["radio", "checkbox"].includes(target.type));

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

  window.ahaKeys = keys;

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
    if (event.target.closest?.("#annotate-submit, #sheet-submit, #annotate-skip, #annotate-undo")) clearTimeout(keeping);
  });

  const submit = () => {
    document.activeElement?.blur(); // so that the next keys are commands again
    requestAnimationFrame(() => press(sheet() ? "sheet-submit" : "annotate-submit")); // after the text has reached Gradio
  };

  const judge = (event) => {
    if (/^[1-5]$/.test(event.key)) return choose("annotate-rating", event.key - 1);
    const digit = event.shiftKey && /^Digit([1-5])$/.exec(event.code)?.[1]; // its key is a sign, as “!” for 1
    if (digit) return choose("annotate-plan-rating", digit - 1);
    switch (event.key) {
      case "y": return choose("annotate-right", 0);
      case "n": return choose("annotate-right", 1);
      case "c": return write("annotate-reason", radios("annotate-right")[1]?.checked);
      case "C": return write("annotate-plan", false);
      default: return "other";
    }
  };

  const act = (event) => {
    if (sheet() ? sheet().press(event) : judge(event) !== "other") return;
    if (zoomKey(event, sheet()?.querySelector(".together") || find("#annotate-stage .together"))) return;
    switch (event.key) {
      case "s": return press("annotate-skip");
      case "S": return find("#annotate-why :is(input, textarea)")?.focus();
      case "g": return press("annotate-guide");
      case "p": return find("#annotate-project input")?.focus();
      case "u": return press("annotate-undo");
      case "?": return keys();
      default: return "other";
    }
  };

  document.addEventListener("keydown", (event) => {
    if (event.repeat && !/^Arrow|^[-+=]$/.test(event.key)) return;
    if (!find("#annotate-top") || find("dialog.keys[open]")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      return submit();
    }
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (act(event) !== "other") event.preventDefault();
  });
}
