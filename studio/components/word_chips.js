// Buttons that put a prompt together: each word comes with the article, the plural and the “and” that it needs.
const kinds = {};
for (const button of element.querySelectorAll('[data-word]')) {
  const { kind } = button.parentElement.dataset;
  for (const word of [button.dataset.word, button.dataset.plural]) if (word) kinds[word.split(' ').at(-1)] = kind;
}

function withArticle(word) {
  return `${/^[aeiou]/.test(word) ? 'an' : 'a'} ${word}`;
}

function added(prompt, kind, word, plural) {
  let said = prompt.trim().split(/\s+/).filter(Boolean);
  const kindOf = (at) => kinds[(said.at(at) || '').toLowerCase()];
  const last = kindOf(-1);
  if (kind === 'relation') return last === 'noun' ? [...said, word].join(' ') : prompt;
  if (kind === last && kind !== 'noun') said = said.slice(0, kind === 'colour' && kindOf(-2) !== 'number' ? -2 : -1);
  else if (last === 'noun') said.push('and');
  const counted = kindOf(-1) === 'number' || (kindOf(-1) === 'colour' && kindOf(-2) === 'number');
  const open = counted || kindOf(-1) === 'colour';
  if (kind === 'noun') said.push(counted ? plural : open ? word : withArticle(word));
  else said.push(kind === 'number' || counted ? word : withArticle(word));
  return said.join(' ');
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-word]');
  if (!button) return;
  const box = document.querySelector('#prompt textarea');
  const { word, plural } = button.dataset;
  box.value = added(box.value, button.parentElement.dataset.kind, word, plural);
  box.dispatchEvent(new Event('input', { bubbles: true }));
});

// Three kinds of things in relations are what the world calls hard.
function mark(prompt) {
  const said = prompt.trim().split(/\s+/).map((word) => kinds[word.toLowerCase().replace(/\W+$/, '')]);
  const hard = said.filter((kind) => kind === 'noun').length > 2 && said.includes('relation');
  element.querySelector('.harder').hidden = !hard;
}

document.addEventListener('input', (event) => {
  if (event.target.closest('#prompt')) mark(event.target.value);
});
