// What the keys of the Annotate page do; keys.js says which key is which (SHORTCUTS). Ignored while somebody types.

once('annotateKeys', () => {
  const find = (selector) => document.querySelector(selector);

  const sheet = () => find('#annotate-sheet .sheet:not([hidden])');
  const isReflection = () => !sheet() || sheet().matches('.reflection');
  const keys = () => find(isReflection() ? '#annotate-keys' : '#sheet-keys').showModal();

  let keeping = 0; // what is written is kept by the server a moment after the last change

  const keepSoon = (event) => {
    if (!event.target.closest?.('#annotate-form') || event.target.closest('#annotate-why')) return;
    clearTimeout(keeping);
    keeping = setTimeout(keep, 900);
  };

  const keep = () => {
    clearTimeout(keeping);
    keeping = 0;
    pressButton('annotate-save');
  };

  const shown = () => find('#annotate-token :is(input, textarea)')?.value;
  const ahead = typedAhead({
    shown,
    press: (event) => onPress(event, document.activeElement, true),
    below: '#annotate-note',
  });

  showMissing('#annotate-submit', sheet);
  document.addEventListener('input', keepSoon);
  document.addEventListener('change', keepSoon);
  document.addEventListener('visibilitychange', () => document.hidden && keeping && keep());
  document.addEventListener('click', (event) => {
    if (event.target.closest?.('#annotate-help')) keys();
    if (!event.target.closest?.('#annotate-submit, #annotate-skip, #annotate-undo')) return;
    clearTimeout(keeping);
    ahead.begin();
  });

  const submit = () => {
    document.activeElement?.blur(); // so that the next keys are commands again
    if (!shown() || sheet()?.missing()) return; // before anything is shown there is nothing to send
    ahead.begin();
    requestAnimationFrame(() => pressButton('annotate-submit')); // after the text has reached Gradio
  };

  const judging = {
    rate: (index) => sheet()?.pick('reason_rating', index),
    ratePlan: (index) => sheet()?.pick('thought_rating', index),
    judge: (index) => sheet()?.pick('verdict_right', index),
    correct: () => sheet()?.write('reason_correction', Boolean(find('[data-question=verdict_right] [value=no]:checked'))),
    correctPlan: () => sheet()?.write('thought_correction', false),
  };

  const anywhere = {
    skip: () => pressButton('annotate-skip'),
    why: () => find('#annotate-why :is(input, textarea)')?.focus(),
    guide: () => pressButton('annotate-guide'),
    project: () => find('#annotate-project input')?.focus(),
    undo: () => pressButton('annotate-undo'),
    keys,
  };

  const act = (event) => {
    if (isReflection() ? perform(event, 'reflection', judging) : sheet().press(event)) return true;
    const pictures = find(`${isReflection() ? '#annotate-stage' : '#annotate-sheet'} .together`);
    return perform(event, 'zoom', zooming(pictures)) || perform(event, 'annotate', anywhere);
  };

  const onPress = (event, target, again) => {
    if (namesOf(event)[0] === 'ctrl+Enter') {
      event.preventDefault();
      return submit();
    }
    if (isTyping(target)) {
      if (again) writeInto(target, event);
      else if (event.key === 'Escape' && !event.isComposing) target.blur();
      else if (event.key === 'Enter' && target.closest('#annotate-why') && !event.isComposing) ahead.begin();
    } else if (act(event)) event.preventDefault();
  };

  document.addEventListener('keydown', (event) => {
    if (!find('#annotate-top') || find('dialog.keys[open]') || ahead.take(event) || isRepeated(event)) return;
    onPress(event, event.target, false);
  });
});
