// --- what can be done with a drawing that has ended: go on, link to it, delete it --------------------------------
// After timeline.js, whose state it reads.

function end(row) {
  blame();
  after();
  const last = Object.values(state.segments).findLast((part) => part.kind === 'reflection');
  const edited = state.guess && row.reason === 'edited'; // all of it is another picture
  const said = edited ? 'The model has drawn all of the picture anew.' : last && last.overruled && row.person ? row.person : row.text;
  say(said);
  if ('playable' in root.dataset) mind();
  root.querySelectorAll('.writing').forEach((node) => node.classList.remove('writing'));
  root.querySelectorAll('.head .progress').forEach((node) => { node.textContent = node.textContent.split(' · ')[0]; });
  root.querySelectorAll('.pen').forEach((node) => { node.hidden = true; });
  const cutShort = row.reason === 'cancelled' && 'playable' in root.dataset && state.pace !== undefined; // its settings stand in the form
  $('.ending').replaceChildren(make('span', '', cutShort ? `${said} Press Draw to draw all of it.` : said));
  if ('perturbations' in root.dataset) offerPerturbations(last);
  if ('playable' in root.dataset) offerInstead();
  if (state.pace !== undefined && !state.given) link('Change it and draw it again', './?run=');
  else link('Permanent link', './?run=', 'Where it can be watched again');
  press('copy', 'Copy link', copyLink);
  if (navigator.share) press('copy', 'Share', share);
  const images = ((state.trajectory || {}).segments || []).filter((segment) => segment.kind === 'image');
  if (images.at(-1)?.sha256) link('Use this image', './image?from=', 'Have it judged by other words, or edited');
  const parent = state.trajectory && state.trajectory.parent;
  if (parent) link('Beside what it goes on from', `./compare?left=${encodeURIComponent(parent.trajectory_id)}&right=`);
  if (state.pace === undefined || state.deletable || receipts[state.id]) takeBack();
}

// What is shown of a drawing that has ended is fetched with the first.
const finishedScript = () => fetched('finished', { $, make, place, CALM });

async function after() {
  const mine = state;
  const shown = await finishedScript();
  if (mine === state) shown?.after(state);
}

// What another seed had made of the same prompt, as many images long: drawn where somebody asks for it.
function offerInstead() {
  const segments = (state.trajectory || {}).segments || [];
  const images = segments.filter((segment) => segment.kind === 'image' && segment.sha256);
  if (images.length < 2 || state.given) return;
  press('another', 'Another seed instead', (button) => {
    button.disabled = true;
    button.textContent = 'Drawing with another seed…';
    trigger('change_mind', { run: state.trajectory.id, what: 'instead' });
  });
}

async function showInstead(value) {
  $('.ending .another')?.remove();
  (await finishedScript())?.showInstead(state, value);
}

function link(text, address, title = '') {
  const node = make('a', 'link', text);
  node.title = title;
  node.href = address + encodeURIComponent(state.id);
  $('.ending').append(node);
}

function press(name, text, act) {
  $('.ending').append(makeButton(name, text, (event) => act(event.target)));
}

// From its first event on, so that the page loaded again shows this drawing and no other.
function showAddress(run) {
  if ('playable' in root.dataset) history.replaceState({}, '', `${location.pathname}?run=${encodeURIComponent(run)}`);
}

const address = () => new URL(`./?run=${encodeURIComponent(state.id)}`, document.baseURI).href;

// The system's own sheet; that somebody closes it is no failure.
function share() {
  navigator.share({ title: 'Aha Studio', text: `“${state.prompt}”`, url: address() }).catch(() => {});
}

async function copyLink(button) {
  const copied = await copy(address());
  button.textContent = copied ? 'Copied' : 'Press Ctrl+C to copy it';
  $('.spoken').textContent = button.textContent;
  setTimeout(() => { button.textContent = 'Copy link'; }, 2500);
}

// Browsers open the clipboard to pages by HTTPS or on this machine only; elsewhere a selected field has to do.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = make('textarea', 'sr-only');
    field.value = text;
    document.body.append(field);
    field.select();
    const copied = document.execCommand('copy');
    if (copied) field.remove(); else setTimeout(() => field.remove(), 20000);
    return copied;
  }
}

// At the second press.
function takeBack() {
  press('forget', 'Delete it', (button) => {
    if (button.dataset.sure) trigger('forget', { run: state.id, receipt: receipts[state.id] });
    button.dataset.sure = 'yes';
    button.textContent = 'Press again to delete it for good';
  });
}

// --- what this browser has asked for, and may delete: a receipt of each, kept in the browser alone ---

const RECEIPTS = 'aha-receipts';
const MOST_RECEIPTS = 1000;
const receipts = stored();

function stored() {
  try {
    return JSON.parse(localStorage.getItem(RECEIPTS)) || {};
  } catch {
    return {}; // a browser that keeps nothing: they last as long as the page
  }
}

function remember(run, receipt) {
  if (receipts[run]) return;
  receipts[run] = receipt;
  keepReceipts({ [run]: receipt });
}

// Other pages of this browser may have added some meanwhile.
function keepReceipts(more, without) {
  const all = Object.entries({ ...stored(), ...more }).filter(([run]) => run !== without);
  try {
    localStorage.setItem(RECEIPTS, JSON.stringify(Object.fromEntries(all.slice(-MOST_RECEIPTS))));
  } catch { /* as above */ }
}

// It is deleted: nothing leads to it any more.
function gone(run) {
  delete receipts[run];
  keepReceipts({}, run);
  const query = new URLSearchParams(location.search);
  if (query.get('run') !== run) return;
  query.delete('run');
  history.replaceState({}, '', location.pathname + (String(query) && `?${query}`));
}

