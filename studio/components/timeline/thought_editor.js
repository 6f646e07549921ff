// The forms in which a person changes a thought, a patch or a verdict: a module, fetched where the first is opened.
// It is given what it needs of the timeline (change_offers.js); what was changed goes to `go`.

export default function editor({ root, make, makeButton, place, outline, reasonOf, go, CELLS, PLACED }) {
  return { changePlan, plant, sayOtherwise };

  // One thing is changed at a time: a form after `node`, and what undoes what it did to the page.
  function form(node, confirm, act, leave) {
    root.querySelectorAll('.changing').forEach((open) => open.leave());
    const box = make('form', 'changing');
    const hint = make('p', 'hint');
    const buttons = make('p', 'buttons');
    buttons.append(make('button', 'go', confirm), makeButton('', 'Leave it', () => box.leave()));
    box.append(hint, buttons);
    const round = node.parentElement;
    round.onkeydown = (event) => { if (event.key === 'Escape') box.leave(); };
    box.leave = () => { round.onkeydown = null; box.remove(); leave(); };
    box.onsubmit = (event) => { event.preventDefault(); act(); };
    node.after(box);
    return { box, hint, buttons };
  }

  function area(label, className, text) {
    const rows = Math.max(3, text.split('\n').length);
    return Object.assign(make('textarea', className), { dir: 'auto', value: text, rows, maxLength: 600, ariaLabel: label });
  }

  // --- a thought: as text, or by dragging its outlines ---

  function changePlan(part, index) {
    const text = area('The plan', 'plan', part.text.trim().replace(/; /g, ';\n'));
    const { hint } = form(part.node, 'Draw this', () => go({ segment: index, what: 'thought', text: inOne(part, text.value) }), () => {
      part.node.hidden = false;
      if (part.frame) part.frame.classList.remove('planning');
      outlineAgain(part, part.text);
    });
    part.node.hidden = true;
    const written = 'One object after another: colour, thing, column and row; 0 0 is the top left.';
    hint.textContent = part.frame ? `${written} Or drag an outline.` : written;
    hint.before(text);
    text.oninput = () => { outlineAgain(part, text.value); drag(part, text); };
    if (part.frame) part.frame.classList.add('planning');
    drag(part, text);
    text.focus();
  }

  // An object a line is for the eye; the model writes them one after another.
  function inOne(part, text) {
    const joined = text.trim().replace(/;\s*\n\s*/g, '; ');
    return part.frame ? joined.replace(/\s*\n\s*/g, '; ') : joined;
  }

  function outlineAgain(part, text) {
    if (!part.frame) return;
    part.frame.querySelectorAll('.planned').forEach((box) => box.remove());
    outline({ frame: part.frame, text });
  }

  function drag(part, text) {
    if (!part.frame) return;
    part.frame.querySelectorAll('.planned').forEach((box, number) => {
      box.onpointerdown = (start) => {
        box.setPointerCapture(start.pointerId);
        const size = part.frame.clientWidth / CELLS;
        const [column, row] = [box.offsetLeft, box.offsetTop].map((at) => Math.round(at / size));
        box.onpointermove = (now) => {
          const moved = [column + (now.clientX - start.clientX) / size, row + (now.clientY - start.clientY) / size];
          const [x, y] = moved.map((at) => Math.min(CELLS - 2, Math.max(0, Math.round(at))));
          place(box, x, y, CELLS);
          let met = 0;
          text.value = text.value.replace(PLACED, (old, colour, noun) => (met++ === number ? `${colour} ${noun} at ${x} ${y}` : old));
        };
        box.onpointerup = () => { box.onpointermove = null; };
      };
    });
  }

  // --- a drawing: some of its patches rubbed out, by clicking or by dragging across them ---

  function plant(part, index, codes) {
    const counts = {};
    for (const code of codes) counts[code] = (counts[code] || 0) + 1;
    const blank = codes.reduce((best, code) => (counts[code] > counts[best] ? code : best));
    const rubbed = new Set();
    const grid = make('div', 'cells');
    const which = 'Press the patches to rub out, or drag across them. Will it notice?';
    const bar = part.frame.parentElement.querySelector('.mind');
    const { hint } = form(bar, 'Let it look', () => {
      if (rubbed.size) go({ segment: index, what: 'codes', codes: [...rubbed].map((cell) => [cell, blank]) });
      else hint.textContent = 'Choose at least one patch first.';
    }, () => { grid.remove(); bar.hidden = false; });
    bar.hidden = true;
    hint.textContent = which;
    grid.style.setProperty('--side', part.side);
    const rub = (cell, out) => {
      if (out) rubbed.add(cell); else rubbed.delete(cell);
      grid.children[cell].setAttribute('aria-pressed', String(out));
      hint.textContent = which;
    };
    codes.forEach((code, cell) => {
      const byKeyboard = (event) => { if (!event.detail) rub(cell, !rubbed.has(cell)); }; // the pointer: below
      const names = { ariaLabel: `Patch ${cell + 1} of ${codes.length}`, ariaPressed: 'false' };
      grid.append(Object.assign(makeButton('cell', undefined, byKeyboard), names));
    });
    sweep(grid, part.side, (cell) => rubbed.has(cell), rub);
    part.frame.append(grid);
  }

  // A pointer that is pressed does to every cell it comes to what it did to the first.
  function sweep(grid, side, isOut, rub) {
    const cellAt = (event) => {
      const { left, top, width, height } = grid.getBoundingClientRect();
      const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height].map((at) => Math.floor(at * side));
      return x >= 0 && y >= 0 && x < side && y < side ? y * side + x : null;
    };
    grid.onpointerdown = (press) => {
      const first = cellAt(press);
      if (first === null || press.button) return;
      const out = !isOut(first);
      rub(first, out);
      grid.setPointerCapture(press.pointerId);
      grid.onpointermove = (now) => { if (cellAt(now) !== null) rub(cellAt(now), out); };
    };
    grid.onpointerup = () => { grid.onpointermove = null; };
    grid.onpointercancel = grid.onpointerup;
  }

  // --- a verdict and its reason ---

  // It opens at the other verdict, without words: the model's own reason is given with the model's own verdict only. What
  // the model said stands above it.
  function sayOtherwise(part, index, segment, reasons) {
    const own = reasonOf(part.text);
    const text = area('The reason', 'said', '');
    const { hint, buttons } = form(part.node, 'Go on from here', () => {
      const answer = hint.querySelector('input:checked').value;
      go({ segment: index, what: 'reflection', answer, text: text.value });
    }, () => { part.node.hidden = false; });
    part.node.hidden = true;
    if (own.trim()) hint.before(make('p', 'was', `The model said: ${own.trim()}`));
    for (const answer of ['no', 'yes']) {
      const label = make('label', '');
      const choice = make('input', '');
      Object.assign(choice, { type: 'radio', name: `answer-${index}`, value: answer, checked: answer !== segment.answer });
      choice.onchange = () => {
        if (answer === segment.answer && !text.value.trim()) text.value = own;
        else if (answer !== segment.answer && text.value === own) text.value = '';
      };
      label.append(choice, answer === 'yes' ? 'Yes, it fits' : 'No, draw again');
      hint.append(label);
    }
    text.placeholder = 'Why?';
    const chips = make('p', 'reasons');
    chips.append(...reasons.map((reason) => makeButton('choice', reason, () => { text.value = reason; text.focus(); })));
    if (segment.answer === 'yes') buttons.before(chips);
    buttons.before(text);
    text.focus();
  }
}
