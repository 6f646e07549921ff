// --- what is outlined in a picture: patches that the model did not choose, and what a reason finds fault with; each is
// said in words below the picture --------------------------------------------------------------------------------
// After timeline.js, whose state it reads.


function forced(row) {
  const part = state.segments[row.segment];
  if (!part || !part.canvas) return;
  for (let index = row.start; index < row.start + row.count; index += 1) {
    const box = make('i', 'forced');
    place(box, index % part.side, Math.floor(index / part.side), part.side);
    part.frame.append(box);
  }
  part.forced = (part.forced || 0) + row.count;
  part.forcedLegend ||= legend(part, 'as-seen');
  const one = part.forced === 1;
  const patches = one ? 'the outlined patch' : `the ${part.forced} outlined patches`;
  const { what, segment } = state.change || {};
  const own = what === 'perturb' || Number(segment) === row.segment ? what : ''; // a perturbation leaves earlier rounds out
  const were = one ? 'was' : 'were';
  part.forcedLegend.textContent = {
    perturb: `The studio changed ${patches} behind the model’s back`,
    codes: `You rubbed out ${patches}`,
  }[own] || (row.by === 'person' ? `T${patches.slice(1)} ${were} changed behind the model’s back` : `T${patches.slice(1)} ${were} given`);
}

// Where each reason finds fault: told with the last value of a trajectory, shown in the drawing that was judged.
function blame() {
  for (const [index, boxes] of Object.entries(state.blamed || {})) {
    const images = Object.keys(state.segments).filter((at) => Number(at) < index && state.segments[at].canvas);
    const part = state.segments[index] && state.segments[images.at(-1)];
    if (!part || part.blamed) continue;
    part.blamed = true;
    boxes.forEach((box) => part.frame.append(blamedBox(box)));
    legend(part, 'unmarked').textContent = 'Outlined: what the reason is about';
  }
}

function blamedBox(box) {
  const outlined = make('i', 'blamed');
  const [left, top, width, height] = box.map((share) => `${100 * share}%`);
  Object.assign(outlined.style, { left, top, width, height });
  return outlined;
}

// Without its outlines, the picture is as the model saw it.
function legend(part, without) {
  part.legends ||= put(make('div', 'legend'));
  part.frame.after(part.legends);
  const shown = make('input', '');
  Object.assign(shown, { type: 'checkbox', checked: true });
  shown.onchange = () => part.frame.classList.toggle(without, !shown.checked);
  const line = make('label', '');
  const words = make('span', '');
  line.append(shown, words);
  part.legends.append(line);
  return words;
}
