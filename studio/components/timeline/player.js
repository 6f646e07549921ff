
// --- the player: small steps, as fast as they come when live, at a pace when replayed, and the replay's controls ---
// After timeline.js, whose state it moves on.

let running = false;

function play(now) {
  if (running) return;
  running = true;
  const mine = state;
  const tick = (time) => {
    if (mine !== state || state.paused || state.at >= state.steps.length) {
      running = false;
      control();
      if (mine !== state) requestAnimationFrame(play);
      return;
    }
    if (state.pace && !CALM) paced(time); else hurried(time);
    control();
    requestAnimationFrame(tick);
  };
  tick(now || performance.now());
}

function hurried(time) {
  const count = Math.ceil((state.steps.length - state.at) / LIVE_FRAMES);
  for (let i = 0; i < count && ready(state.steps[state.at]); i++) {
    const { takes, part } = state.steps[state.at];
    if ((takes === 'cell' || takes === 'frame') && !due(time, part || 1 / state.cells)) return;
    state.steps[state.at++].act();
  }
}

// Whether the next part of a live picture, a cell or a frame, may be shown: a quick model draws faster than an eye can
// follow.
function due(time, part) {
  const least = CALM || state.hurry ? 0 : Number($('.least').value);
  if (state.due > time) return false;
  state.due = Math.max(state.due, time - 100) + 1000 * least * part;
  return true;
}

function paced(time) {
  if (state.due < time - 250) state.due = time;
  while (state.due <= time && ready(state.steps[state.at])) {
    const step = state.steps[state.at++];
    step.act();
    state.due += (REPLAY_MS[step.takes] || 0) / (state.pace * speed);
  }
}

// Every step up to `at`, at once, on an empty page; what plays goes on from there.
function seek(at) {
  rewind();
  state.follows = false;
  while (state.at < Math.min(at, state.steps.length)) state.steps[state.at++].act();
  control();
}

function ready(step) {
  return step && (!step.image || step.image.complete);
}

const BEHIND = 12; // steps of a live drawing that are still to be shown, from which on they can be skipped
let speed = 1; // times the pace; the visitor's choice

function control() {
  $('.player').hidden = !state.pace || !state.steps.length;
  $('.skip').hidden = state.pace !== undefined || state.steps.length - state.at < BEHIND;
  const over = state.at >= state.steps.length;
  $('.toggle').textContent = over ? 'Play again' : state.paused ? 'Play' : 'Pause';
  $('.scrub').max = state.steps.length;
  $('.scrub').value = state.at;
}

$('.skip').onclick = () => { state.hurry = true; };
$('.toggle').onclick = () => {
  state.unasked = false;
  const over = state.at >= state.steps.length;
  if (over) seek(0);
  state.paused = !over && !state.paused;
  control();
  requestAnimationFrame(play);
};
$('.scrub').oninput = (event) => {
  state.paused = true;
  state.unasked = false;
  seek(Number(event.target.value));
};
$('.speed').onchange = (event) => { speed = Number(event.target.value); };
