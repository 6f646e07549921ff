// --- the model's mind, open to change: a thought, a patch, a verdict, another seed -------------------------------
// The end of a playable timeline's script. What is changed goes to Python as `change_mind`, which goes on from there.

// The forms are fetched where the first of them is opened.
async function openForm(name, part, ...about) {
  const mine = state;
  const forms = await fetched('editor', { root, make, makeButton, place, outline, reasonOf, go, CELLS, PLACED });
  if (!forms) tell('The page could not fetch what that takes. Load it again.');
  else if (mine === state) forms[name](part, ...about);
}

function mind() {
  if (state.given) return;
  const segments = (state.trajectory || {}).segments || [];
  segments.forEach((segment, index) => {
    const part = state.segments[index];
    const round = part && (part.node || part.frame || {}).parentElement;
    if (!round || !segment.finished || segment.kind === 'source') return;
    const bar = round.querySelector('.mind') || round.appendChild(make('p', 'mind'));
    const from = index && segments[index - 1].kind === 'thought' ? index - 1 : index;
    if (segment.kind === 'thought') offer(bar, 'Change the plan', () => openForm('changePlan', part, index));
    if (segment.kind === 'image' && segment.codes.length) offer(bar, 'Rub out patches', () => openForm('plant', part, index, segment.codes));
    if (segment.kind === 'image') offer(bar, 'Try another', () => go({ segment: from, what: 'seed' }));
    if (segment.kind === 'reflection') offer(bar, 'Disagree', () => openForm('sayOtherwise', part, index, segment, state.reasons || []));
  });
}

// After a yes of the model's own: does it notice when one object is not what it drew?
function offerPerturbations(last) {
  const segments = (state.trajectory || {}).segments || [];
  const index = segments.findLastIndex((segment) => segment.kind === 'image');
  if (state.answer !== 'yes' || !last || last.overruled || index < 0 || !segments[index].codes.length) return;
  press('perturb', 'Trip it up', () => go({ segment: index, what: 'perturb' }));
  $('.ending .perturb').title = 'One object is recoloured, moved, removed or doubled behind its back. Will it notice?';
  press('perturb-yourself', 'Trip it up yourself', async () => {
    const part = state.segments[index];
    await openForm('plant', part, index, segments[index].codes);
    part.frame.scrollIntoView({ block: 'center', behavior: CALM ? 'auto' : 'smooth' });
  });
}

const TITLES = {
  'Change the plan': 'Rewrite the plan or drag its outlines; the model draws that',
  'Rub out patches': 'Take patches out of the drawing, and see whether the model notices',
  'Try another': 'Draw this one again, with another seed',
  Disagree: 'Answer the verdict in its place, with your own reason',
};

function offer(bar, text, act) {
  bar.append(Object.assign(makeButton('offer', text, act), { title: TITLES[text] }));
}

function go(change) {
  root.querySelectorAll('.mind, .changing, .ending > *').forEach((node) => { node.inert = true; }); // until it goes on, or a notice says why not
  asked = { what: change.what, segment: change.segment };
  trigger('change_mind', { run: state.trajectory.id, ...change });
}
