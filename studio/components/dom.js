// What the scripts of several pages do with the document.

function make(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) Object.assign(node, { textContent: text, dir: 'auto' });
  return node;
}

const makeButton = (className, text, act) => Object.assign(make('button', className, text), { type: 'button', onclick: act });
const pressButton = (id) => document.getElementById(id)?.click();
const swallow = (event) => { event.stopImmediatePropagation(); event.preventDefault(); };

// Listeners of the whole document begin once, however often the component that brings them is mounted.
function once(name, begin) {
  const { dataset } = document.documentElement;
  if (name in dataset) return;
  dataset[name] = '';
  begin();
}
