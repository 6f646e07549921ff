// --- patches that the model did not choose: outlined in the picture, and said in words below it ------------------
// After timeline.js, whose state it reads.

const FORCED_BY = { person: 'a person put there', template: 'were given' };

function forced(row) {
  const part = state.segments[row.segment];
  if (!part || !part.canvas) return;
  for (let index = row.start; index < row.start + row.count; index += 1) {
    const box = make('i', 'forced');
    place(box, index % part.side, Math.floor(index / part.side), part.side);
    part.frame.append(box);
  }
  part.forced = (part.forced || 0) + row.count;
  part.legend ||= legend(part);
  const patches = part.forced === 1 ? 'The outlined patch is what' : `The ${part.forced} outlined patches are what`;
  part.legend.textContent = `${patches} ${FORCED_BY[row.by]}`;
}

// Without its outlines, the picture is as the model saw it.
function legend(part) {
  const line = put(make('label', 'legend'));
  const shown = make('input', '');
  Object.assign(shown, { type: 'checkbox', checked: true });
  shown.onchange = () => part.frame.classList.toggle('as-seen', !shown.checked);
  const words = make('span', '');
  line.append(shown, words);
  return words;
}

