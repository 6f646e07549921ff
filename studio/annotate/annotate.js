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

  // What lies over the page: guidelines, a flag's note, one's own drawings; one at a time.
  const PANELS = { guide: 'Guidelines', flag: 'Flag', mine: 'My drawings' };
  const panel = () => find('#annotate-panel');
  const opened = () => panel()?.dataset.open;

  const close = () => {
    delete panel().dataset.open;
    document.activeElement?.blur();
  };

  const open = (name) => {
    if (opened() === name) return close();
    panel().dataset.open = name;
    Object.assign(panel(), { role: 'dialog', ariaLabel: PANELS[name] });
    pressButton(`annotate-do-${name}`);
    if (name === 'flag') setTimeout(() => find('#annotate-flag-note :is(textarea, input)')?.focus(), 30);
    return undefined;
  };

  const command = (button, value) => {
    panel().command = value;
    pressButton(`annotate-do-${button}`);
  };

  const submitted = (event) => { // a form in a panel
    const form = event.target.closest?.('#annotate-panel form');
    if (!form) return;
    event.preventDefault();
    const note = form.elements.note.value;
    command('command', form.dataset.flag ? { answer: Number(form.dataset.flag), note } : { example: note });
  };

  const clickedInPanel = (target) => {
    const { item, without } = target.closest?.('#annotate-panel [data-item], #annotate-panel [data-without]')?.dataset || {};
    if (without) command('command', { without: Number(without) });
    if (!item) return;
    close();
    clearTimeout(keeping);
    if (keeping) keep();
    ahead.begin();
    command('jump', item);
  };

  const shown = () => find('#annotate-token :is(input, textarea)')?.value;
  const ahead = typedAhead({
    shown,
    press: (event) => onPress(event, document.activeElement, true),
    below: '#annotate-note',
  });

  showMissing('#annotate-submit', sheet);
  document.addEventListener('submit', submitted);
  document.addEventListener('input', keepSoon);
  document.addEventListener('change', keepSoon);
  document.addEventListener('visibilitychange', () => document.hidden && keeping && keep());
  document.addEventListener('click', (event) => {
    if (event.target.closest?.('#annotate-help')) keys();
    for (const name of ['guide', 'mine', 'flag']) if (event.target.closest?.(`#annotate-${name}`)) open(name);
    if (event.target.closest?.('#annotate-panel .close')) close();
    if (event.target.closest?.('#annotate-on')) lesson.goOn();
    if (event.target.closest?.('#annotate-again')) lesson.again();
    clickedInPanel(event.target);
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

  const lessonShown = () => find('#annotate-learnt .lesson');
  const seenAt = new WeakMap(); // press → the lesson that was on the page
  const lesson = { // after an answer in practice
    goOn() {
      ahead.begin();
      pressButton('annotate-submit');
    },
    again() {
      if (!find('#annotate-again')) return false;
      ahead.begin();
      pressButton('annotate-do-again');
      return true;
    },
  };

  const verdicts = () => [...document.querySelectorAll('#annotate-sheet [data-question=verdict_right] input')];
  const isJudged = (value) => verdicts().some((input) => input.checked && (!value || input.value === value));

  const judging = {
    agree() { // with the model, unless something is answered; never with what is not shown yet
      if (!isJudged() && find('#annotate-claim .hides')) return;
      if (!isJudged()) sheet()?.pick('verdict_right', verdicts().findIndex((input) => input.value === 'yes'));
      submit();
    },
    rate(index) {
      if (!isJudged('no') || !sheet().suggest('reason_correction', index)) sheet()?.pick('reason_rating', index);
    },
    ratePlan: (index) => sheet()?.pick('thought_rating', index),
    judge: (index) => sheet()?.pick('verdict_right', index),
    correct: () => sheet()?.write('reason_correction', isJudged('no')),
    correctPlan: () => sheet()?.write('thought_correction', false),
  };

  const anywhere = {
    skip: () => pressButton('annotate-skip'),
    why: () => find('#annotate-why :is(input, textarea)')?.focus(),
    open,
    project: () => find('#annotate-project input')?.focus(),
    undo: () => pressButton('annotate-undo'),
    keys,
  };

  const act = (event) => {
    const first = sheet()?.taught ? ['lesson', lesson] : ['reflection', judging];
    if (isReflection() || sheet().taught ? perform(event, ...first) : sheet().press(event)) return true;
    const pictures = find(`${isReflection() ? '#annotate-stage' : '#annotate-sheet'} .together`);
    return perform(event, 'zoom', zooming(pictures)) || perform(event, 'annotate', anywhere);
  };

  const onPress = (event, target, again) => {
    const lessonSeen = () => lessonShown() && seenAt.get(event) === lessonShown();
    if (sheet()?.taught && again && !lessonSeen()) return undefined; // what was typed before it came skips no lesson
    if (namesOf(event)[0] === 'ctrl+Enter') {
      event.preventDefault();
      return sheet()?.taught ? lesson.goOn() : submit();
    }
    if (isTyping(target)) {
      if (again) writeInto(target, event);
      else if (event.key === 'Escape' && !event.isComposing) target.blur();
      else if (event.key === 'Enter' && target.closest('#annotate-why') && !event.isComposing) ahead.begin();
      return undefined;
    }
    if (target.closest?.('button, a, summary') && ['Enter', ' '].includes(event.key)) return undefined;
    if (act(event)) event.preventDefault();
    return undefined;
  };

  document.addEventListener('keydown', (event) => {
    if (opened() && event.key === 'Escape') close();
    else if (event.target.closest?.('#annotate-panel')) return;
    seenAt.set(event, lessonShown());
    if (!find('#annotate-top') || find('dialog.keys[open]') || ahead.take(event) || isRepeated(event)) return;
    onPress(event, event.target, false);
  });
});
