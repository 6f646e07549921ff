// The keyboard of the pages where people answer: every shortcut, which of them a key press means on any layout, and the
// presses that come while an answer is being sent.

const digits = (most, act, before = '') =>
  Object.fromEntries(Array.from({ length: most }, (_, at) => [`${before}${at + 1}`, [act, at]]));

const SHORTCUTS = { // by page: the press, what it does, and with what
  reflection: {
    ...digits(9, 'rate'), ...digits(9, 'ratePlan', 'shift+'),
    y: ['judge', 0], n: ['judge', 1], ' ': ['agree'], c: ['correct'], 'shift+c': ['correctPlan'],
  },
  sheet: {
    ...digits(9, 'pick'),
    ArrowDown: ['step', 1], ArrowUp: ['step', -1], ArrowLeft: ['beside', -1], ArrowRight: ['beside', 1],
    Enter: ['take'], ' ': ['take'], Delete: ['clear'], Backspace: ['clear'], ',': ['turn', -1], '.': ['turn', 1],
    r: ['aim'], e: ['aimAnew'], c: ['correct'], Escape: ['letGo'],
  },
  facts: {
    y: ['tick', 'yes'], n: ['tick', 'no'], x: ['tick', 'unclear'], ArrowDown: ['moveRow', 1], ArrowUp: ['moveRow', -1],
  },
  zoom: {
    '+': ['closer', 1.5], '=': ['closer', 1.5], '-': ['closer', 1 / 1.5], 0: ['whole'],
    'shift+ArrowLeft': ['move', -0.2, 0], 'shift+ArrowRight': ['move', 0.2, 0],
    'shift+ArrowUp': ['move', 0, -0.2], 'shift+ArrowDown': ['move', 0, 0.2],
  },
  annotate: {
    s: ['skip'], 'shift+s': ['why'], g: ['open', 'guide'], m: ['open', 'mine'], f: ['open', 'flag'], p: ['project'],
    u: ['undo'], '?': ['keys'],
  },
  lesson: { Enter: ['goOn'], ' ': ['goOn'], a: ['again'] },
  arena: {
    ArrowLeft: ['choose', 'left'], ArrowRight: ['choose', 'right'], ArrowDown: ['choose', 'tie'],
    e: ['choose', 'tie'], b: ['choose', 'both_bad'], n: ['press', 'arena-none'],
    s: ['press', 'arena-skip'], u: ['press', 'arena-undo'],
  },
  review: { n: ['press', 'review-next'], a: ['press', 'review-accept'], 'ctrl+Enter': ['press', 'review-decide'] },
};

// Signs that stand where ours do on other layouts; those of full width are made plain by Unicode itself.
const SIGNS = { '؟': '?', '，': ',', '、': ',', '،': ',', '。': '.', '۔': '.', '−': '-' };
const PLACES = { Comma: ',', Period: '.', Minus: '-', Equal: '=' }; // where the key of that place writes no sign
const DVORAK = /[',.;"<>:]/; // what Latin layouts write with keys that are letters on others

// The names of a press, the likelier first: “y”, “shift+c”, “1”, “ctrl+Enter”. Digits are keys of a place, since layouts
// write other signs there; letters are what the layout writes, or, where it writes another script, the key of the place.
function namesOf(event) {
  if (event.isComposing || event.keyCode === 229 || event.altKey || event.getModifierState?.('AltGraph')) return [];
  if (event.ctrlKey || event.metaKey) return event.key === 'Enter' ? ['ctrl+Enter'] : [];
  const shift = event.shiftKey ? 'shift+' : '';
  const key = SIGNS[event.key] ?? event.key.normalize('NFKC');
  const code = event.code || '';
  if (/^[A-Za-z]\w+$/.test(key) && !['Unidentified', 'Dead'].includes(key)) return [key.startsWith('Arrow') ? shift + key : key];
  const names = [];
  const digit = /^Digit(\d)$/.exec(code)?.[1] ?? /^\d$/.exec(key)?.[0];
  if (digit) names.push(shift + digit);
  const letter = /^Key([A-Z])$/.exec(code)?.[1].toLowerCase();
  if (/^\p{Script=Latin}$/u.test(key)) names.push(shift + key.toLowerCase());
  else if (/^[ -~]$/.test(key) && !/\d/.test(key)) names.push(key);
  const foreign = key !== 'Dead' && !/^\p{Script=Latin}$/u.test(key);
  if (letter && foreign && !DVORAK.test(key)) names.push(shift + letter);
  if (PLACES[code] && !/^[ -~]$/.test(key)) names.push(event.shiftKey ? '' : PLACES[code]);
  return names.filter(Boolean);
}

// Do what a press means on a page: the first of its names that has a shortcut whose act does not return false.
function perform(event, page, acts) {
  return namesOf(event).some((name) => {
    const [act, ...given] = (Object.hasOwn(SHORTCUTS[page], name) && SHORTCUTS[page][name]) || [];
    return act in acts && acts[act](...given) !== false;
  });
}

const isRepeated = (event) => event.repeat && !namesOf(event).some((name) => /Arrow|^[-+=]$/.test(name));

function isTyping(target) {
  const field = target?.closest?.('input, textarea, select, [contenteditable]:not([contenteditable=false])');
  return Boolean(field) && !(field.tagName === 'INPUT' && ['radio', 'checkbox', 'button', 'submit'].includes(field.type));
}

// Where something is written already, a key writes: as the browser does with a press of a person's.
function writeInto(field, event) {
  const [start, end] = [field.selectionStart, field.selectionEnd];
  if (event.key === 'Escape') return field.blur();
  if (event.key === 'Backspace') field.setRangeText('', Math.max(0, start === end ? start - 1 : start), end, 'end');
  else if (event.key === 'Enter') field.setRangeText('\n', start, end, 'end');
  else if ([...event.key].length === 1) field.setRangeText(event.key, start, end, 'end');
  field.dispatchEvent(new InputEvent('input', { bubbles: true }));
}

// Where something required is missing in a sheet, a press of the button that sends it shows that instead.
function showMissing(button, sheet) {
  document.addEventListener('click', (event) => {
    if (event.target.closest?.(button) && sheet()?.missing()) swallow(event);
  }, true);
}

const PATIENCE = 60000; // ms until an answer that does not arrive is given up
const SETTLING = 200; // ms in which what has arrived is shown

const inWords = (presses) => presses.map((event) => event.key).join(' ');

// Presses that come while an answer is being sent are kept for what is shown next: never done to what is shown still.
// `shown()` names what is on the page, `press(event)` does a press; what is kept, and what became of it, is said below the
// node `below`. The page sends the document an event `answered` when the answer has arrived.
function typedAhead({ shown, press, below }) {
  let waiting = null; // what was shown when the answer went off
  let kept = [];
  let giveUp = 0;

  const tell = (words) => {
    document.getElementById('typed-ahead')?.remove();
    if (!words) return;
    const line = Object.assign(make('p', '', words), { id: 'typed-ahead', role: 'status' });
    document.querySelector(below)?.after(line);
  };
  const flush = (said = '') => {
    waiting = null;
    const done = [];
    while (kept.length && waiting === null) {
      done.push(kept[0]);
      press(kept.shift());
    }
    tell(waiting === null ? said : `Typed ahead: ${inWords([...done, ...kept])}. Undo takes back what was sent.`);
  };
  const refused = (early) => { // what was typed before the refusal was meant for what did not come; the rest is for this one
    const left = kept.splice(0, early).length;
    flush(left ? `Not sent; what you typed meanwhile (${left === 1 ? '1 key' : `${left} keys`}) was left out.` : '');
  };

  document.addEventListener('answered', () => {
    if (waiting === null) return;
    clearTimeout(giveUp);
    const [since, before, early] = [performance.now(), waiting, kept.length];
    const look = () => {
      if (shown() !== before) setTimeout(flush, 40);
      else if (performance.now() - since < SETTLING) setTimeout(look, 20);
      else refused(early);
    };
    look();
  });

  return {
    get waits() { return waiting !== null; },
    begin() {
      clearTimeout(giveUp);
      tell('');
      waiting = shown();
      giveUp = setTimeout(() => refused(kept.length), PATIENCE);
    },
    take(event) { // whether the press is kept for later
      const worth = /^(ctrl\+Enter|(shift\+)?Arrow\w+|Enter|Escape|Delete|Backspace|.|shift\+.)$/u;
      const names = [...namesOf(event), [...event.key].length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey ? event.key : ''];
      if (waiting === null || !names.some((name) => worth.test(name))) return false;
      if (event.target.closest?.('button, a') && ['Enter', ' '].includes(event.key)) return false;
      event.preventDefault();
      if (event.repeat) return true;
      kept.push(event);
      tell(`Typed ahead, for what comes next: ${inWords(kept)}.`);
      return true;
    },
  };
}
