// Afterwards: the first and the last drawing compared, p(yes) over the rounds, and what there is to keep. A module, fetched
// when the first drawing has ended; it is given what it needs of the timeline (drawing_actions.js).

const SEEN = 12; // of 255: a patch looks another where its colours differ by so much on average

export default function finished({ $, make, place, CALM }) {
  $('.wipe').oninput = wipe;
  $('.compare .picture').onpointerdown = slide;
  $('.compare .picture').onpointermove = slide;
  $('.mark-changes').onchange = mark;
  return { after, showInstead };

  function after(state) {
    const trajectory = state.trajectory;
    const drawn = Object.values(state.segments).filter((part) => part.canvas && part.canvas.width && !part.frame.classList.contains('unfinished'));
    $('.after').hidden = !trajectory || !drawn.length;
    if ($('.after').hidden) return;
    const images = trajectory.segments.filter((segment) => segment.kind !== 'thought' && segment.kind !== 'reflection');
    const verdicts = trajectory.segments.filter((segment) => segment.kind === 'reflection');
    const pair = drawn.length > 1 && differ(images[0], images[drawn.length - 1]);
    $('.instead').hidden = true;
    $('.compare').hidden = !pair;
    const given = images[0].kind === 'source'; // whose codes are not its pixels
    $('.sides').textContent = given ? 'Left of the line your picture, right of it the edited one' : 'Left of the line the first drawing, right of it the last';
    if (pair) compare(drawn[0], drawn.at(-1), images[0].codes, images[drawn.length - 1].codes, given);
    $('.odds').hidden = verdicts.length < 2;
    if (verdicts.length > 1) plot(verdicts);
    const name = fileName(trajectory.prompt);
    keep('.png', `${name}.png`, drawn.at(-1).canvas.toDataURL('image/png'));
    keep('.animated', `${name}.webp`, `./animation.webp?run=${encodeURIComponent(state.id)}`);
    const everything = new Blob([JSON.stringify({ trajectory, pictures: pictures(state) }, null, 1)], { type: 'application/json' });
    URL.revokeObjectURL($('.keep .json').href);
    keep('.json', `${name}.json`, URL.createObjectURL(everything));
  }

  // In a code, or, where one has none, as pictures.
  function differ(one, other) {
    const coded = one.codes.length && other.codes.length;
    return coded ? String(one.codes) !== String(other.codes) : one.sha256 !== other.sha256;
  }

  // `drawn`: of each image its picture, verdict and address.
  function showInstead(state, { of, drawn }) {
    if (of !== state.id || !drawn.length) return;
    const own = { png: state.png, answer: state.answer, id: state.id, name: 'Its own redraw' };
    $('.instead').hidden = false;
    $('.instead .pictures').replaceChildren(...[own, ...drawn].map(({ png, answer, id, name }) => {
      const link = make('a', 'link');
      link.href = `./?run=${encodeURIComponent(id)}`;
      const words = `${name || 'Another seed'}: ${answer === 'yes' ? '✓ yes' : '✗ no'}`;
      link.append(Object.assign(new Image(), { src: png, alt: '' }), make('span', '', words));
      return link;
    }));
    $('.instead').scrollIntoView({ block: 'nearest', behavior: CALM ? 'auto' : 'smooth' });
  }

  // By hash, as they are stored: what `python -m annotations.importing FILE --format ours` reads back.
  function pictures({ whole, trajectory }) {
    const seen = whole.filter((row) => row.is === 'picture' || row.is === 'frame');
    return Object.fromEntries(seen.map((row) => [row.sha256 || trajectory.segments[row.segment].sha256, row.png.split(',')[1]]));
  }

  function keep(link, name, url) {
    $(link).download = name;
    $(link).href = url;
  }

  // The last drawing lies on the first, cut off where the slider stands; cells that changed can be outlined: in their code,
  // or in their `pixels`.
  function compare(first, last, before, now, pixels) {
    const frame = $('.compare .picture');
    const copies = [first, last].map((part) => {
      const copy = make('canvas', '');
      copy.width = copy.height = part.canvas.width;
      copy.getContext('2d').drawImage(part.canvas, 0, 0);
      return copy;
    });
    copies[1].classList.add('upper');
    frame.classList.toggle('smooth', first.frame.classList.contains('smooth'));
    frame.style.setProperty('--side', first.side);
    frame.replaceChildren(...copies);
    const side = first.side;
    $('.mark-changes').parentElement.hidden = !now.length;
    const other = pixels && copies[0].width === copies[1].width ? (index) => looksOther(copies, index, side) : (index) => now[index] !== before[index];
    const changed = now.map((code, index) => index).filter(other);
    for (const index of changed) {
      const box = make('i', 'changed');
      place(box, index % side, Math.floor(index / side), side);
      frame.append(box);
    }
    $('.changes').textContent = `Mark the ${changed.length} of ${now.length} patches that changed`;
    mark();
    wipe();
  }

  function looksOther(copies, index, side) {
    const size = copies[0].width / side;
    const [one, other] = copies.map((copy) => copy.getContext('2d').getImageData((index % side) * size, Math.floor(index / side) * size, size, size).data);
    return one.reduce((sum, value, at) => sum + Math.abs(value - other[at]), 0) > SEEN * 0.75 * one.length; // alpha is the same
  }

  function wipe() {
    $('.compare .picture').style.setProperty('--cut', `${$('.wipe').value}%`);
  }

  function mark() {
    $('.compare .picture').classList.toggle('marked', $('.mark-changes').checked);
  }

  // On the picture itself, too.
  function slide(event) {
    if (!event.buttons) return;
    const { left, width } = event.currentTarget.getBoundingClientRect();
    $('.wipe').value = (100 * (event.clientX - left)) / width;
    wipe();
  }

  function plot(verdicts) {
    const at = (index, p) => [36 + (index * 190) / (verdicts.length - 1), 104 - 92 * p];
    const svg = $('.odds svg');
    svg.replaceChildren();
    svg.setAttribute('aria-label', verdicts.map((one, index) => `drawing ${index + 1}: p(yes) ${one.p_yes.toFixed(2)}`).join(', '));
    const draw = (tag, attributes, text) => {
      const node = document.createElementNS(svg.namespaceURI, tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      if (text !== undefined) node.textContent = text;
      svg.append(node);
    };
    for (const [p, label] of [[0, '0'], [0.5, '.5'], [1, '1']]) {
      draw('line', { x1: 26, x2: 232, y1: at(0, p)[1], y2: at(0, p)[1], class: 'rule' });
      draw('text', { x: 2, y: at(0, p)[1] + 4 }, label);
    }
    draw('polyline', { points: verdicts.map((one, index) => at(index, one.p_yes).join()).join(' '), class: 'course' });
    const byPerson = (one) => one.tokens.some(([, , origin]) => origin === 'person');
    $('.overruled').hidden = !verdicts.some(byPerson);
    verdicts.forEach((one, index) => {
      const [x, y] = at(index, one.p_yes);
      draw('circle', { cx: x, cy: y, r: 9, class: byPerson(one) ? 'person' : one.answer });
      draw('text', { x, y: y + 4, class: 'mark', 'text-anchor': 'middle' }, one.answer === 'yes' ? '✓' : '✗');
      draw('text', { x, y: 126, 'text-anchor': 'middle' }, index + 1);
    });
  }
}

// A prompt in any script as the name of a file that every system takes.
export function fileName(prompt) {
  const words = prompt.normalize('NFC').replace(/[^\p{L}\p{M}\p{N}]+/gu, '-').replace(/^-+/, '');
  const name = [...words].slice(0, 40).join('').replace(/-+$/, '');
  return /^(con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³])?$/i.test(name) ? `drawing${name && `-${name}`}` : name;
}
