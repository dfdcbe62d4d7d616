// Compares two pictures of one size: one over the other with a dividing line, or side by side, both
// zoomed and moved together. `element`, `props` and `watch` come from Gradio's HTML component.

const find = (selector) => element.querySelector(selector);
const shown = find('.rf-shown');
const empty = find('.rf-empty');
const invitation = empty.textContent;
const panes = find('.rf-panes');
const before = find('.rf-before');
const after = find('.rf-after');
const line = find('.rf-line');
const divider = find('.rf-divider');
const range = divider.querySelector('input');
const MOST = 16; // Screen pixels per picture pixel.

let size = { width: 1, height: 1 }; // Of the pictures, in their own pixels.
let view = { scale: 0, x: 0, y: 0 }; // Scale in CSS pixels per pixel, and offset of the picture.
let fits = true;
let beside = false;

const pane = () => ({ width: before.clientWidth, height: before.clientHeight });
const fitting = () => Math.min(pane().width / size.width, pane().height / size.height);
const actual = () => 1 / window.devicePixelRatio;

function clamp(offset, room, length) {
  return length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, offset));
}

function draw() {
  const room = pane();
  if (fits) view.scale = fitting();
  const width = size.width * view.scale;
  const height = size.height * view.scale;
  view.x = clamp(view.x, room.width, width);
  view.y = clamp(view.y, room.height, height);
  for (const figure of [before, after]) {
    const img = figure.querySelector('img');
    img.style.width = `${width}px`;
    img.style.height = `${height}px`;
    img.style.transform = `translate(${view.x}px, ${view.y}px)`;
    img.style.imageRendering = view.scale >= 2 * actual() ? 'pixelated' : 'auto';
  }
  after.style.clipPath = beside ? '' : `inset(0 0 0 ${range.value}%)`;
  line.style.left = `${range.value}%`;
  panes.classList.toggle('rf-beside', beside);
  panes.classList.toggle('rf-zoomed', !fits);
  line.hidden = divider.hidden = beside;
  find('.rf-scale').textContent = `${Math.round((view.scale / actual()) * 100)}%`;
  find('.rf-slider').setAttribute('aria-pressed', String(!beside));
  find('.rf-both').setAttribute('aria-pressed', String(beside));
}

function layout() {
  // In the slider view the pane hugs the picture, so that the line crosses all of it.
  panes.style.setProperty('--ratio', String(size.width / size.height));
  panes.classList.toggle('rf-beside', beside);
  draw();
}

function zoom(factor, x = pane().width / 2, y = pane().height / 2) {
  const least = Math.min(fitting(), actual());
  const scale = Math.min(Math.max(view.scale * factor, least), MOST * actual());
  view.x = x - ((x - view.x) * scale) / view.scale;
  view.y = y - ((y - view.y) * scale) / view.scale;
  view.scale = scale;
  fits = Math.abs(scale / fitting() - 1) < 0.01;
  draw();
}

function fit() {
  fits = true;
  draw();
}

function pixels(x, y) {
  zoom(actual() / view.scale, x, y);
}

function divide(value) {
  range.value = String(Math.min(100, Math.max(0, value)));
  draw();
}

// Where a pointer is in the pane it is over.
function position(event) {
  const inAfter = beside && after.contains(event.target);
  const box = (inAfter ? after : before).getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top, inAfter };
}

const pointers = new Map();
let action = null;
let apart = 0;

panes.addEventListener('pointerdown', (event) => {
  if (event.button > 0) return;
  panes.setPointerCapture(event.pointerId);
  const at = position(event);
  pointers.set(event.pointerId, at);
  const near = Math.abs(at.x - (pane().width * range.value) / 100) < 28;
  action = !beside && (fits || near) ? 'divide' : 'move';
  if (pointers.size === 2) {
    const [a, b] = pointers.values();
    action = 'pinch';
    apart = Math.hypot(a.x - b.x, a.y - b.y);
  } else if (action === 'divide') {
    divide((at.x / pane().width) * 100);
  }
});

panes.addEventListener('pointermove', (event) => {
  const from = pointers.get(event.pointerId);
  if (!from) return;
  // Captured events aim at the panes: keep to the pane where the pointer went down.
  const box = (from.inAfter ? after : before).getBoundingClientRect();
  const at = { x: event.clientX - box.left, y: event.clientY - box.top, inAfter: from.inAfter };
  pointers.set(event.pointerId, at);
  if (action === 'pinch' && pointers.size === 2) {
    const [a, b] = pointers.values();
    const now = Math.hypot(a.x - b.x, a.y - b.y);
    if (apart > 0) zoom(now / apart, (a.x + b.x) / 2, (a.y + b.y) / 2);
    apart = now;
  } else if (action === 'divide') {
    divide((at.x / pane().width) * 100);
  } else if (action === 'move') {
    view.x += at.x - from.x;
    view.y += at.y - from.y;
    draw();
  }
});

for (const name of ['pointerup', 'pointercancel']) {
  panes.addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    if (pointers.size === 0) action = null;
  });
}

panes.addEventListener('dblclick', (event) => {
  const at = position(event);
  if (fits) pixels(at.x, at.y);
  else fit();
});

panes.addEventListener(
  'wheel',
  (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // The wheel alone scrolls the page.
    event.preventDefault();
    const at = position(event);
    zoom(Math.exp(-event.deltaY / 300), at.x, at.y);
  },
  { passive: false },
);

panes.addEventListener('keydown', (event) => {
  const step = 60;
  const keys = {
    '+': () => zoom(1.5),
    '=': () => zoom(1.5),
    '-': () => zoom(1 / 1.5),
    0: fit,
    1: () => pixels(),
    ArrowLeft: () => move(step, 0),
    ArrowRight: () => move(-step, 0),
    ArrowUp: () => move(0, step),
    ArrowDown: () => move(0, -step),
  };
  const move = (x, y) => {
    view.x += x;
    view.y += y;
    draw();
  };
  if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  if (event.key.startsWith('Arrow') && fits) return; // The page scrolls.
  event.preventDefault();
  keys[event.key]();
});

range.addEventListener('input', draw);
find('.rf-in').addEventListener('click', () => zoom(1.5));
find('.rf-out').addEventListener('click', () => zoom(1 / 1.5));
find('.rf-fit').addEventListener('click', fit);
find('.rf-pixels').addEventListener('click', () => pixels());
for (const [button, value] of [['.rf-slider', false], ['.rf-both', true]]) {
  find(button).addEventListener('click', () => {
    beside = value;
    layout();
  });
}
new ResizeObserver(() => {
  if (!shown.hidden) draw();
}).observe(panes);

let latest = 0;

async function load() {
  const value = props.value;
  const turn = ++latest;
  if (!value || !value.after) {
    shown.hidden = true;
    empty.hidden = false;
    empty.textContent = invitation;
    for (const figure of [before, after]) figure.querySelector('img').removeAttribute('src');
    return;
  }
  empty.textContent = 'Loading the comparison…'; // Seen when nothing is shown yet.
  // Decoded before they are shown, so that nothing flickers while a slider moves.
  const loaded = await Promise.all(
    [value.before, value.after].map(async (address) => {
      const image = new Image();
      image.src = address;
      await image.decode().catch(() => {});
      return image;
    }),
  );
  if (turn !== latest || !loaded[1].naturalWidth) return;
  const changed =
    size.width !== loaded[1].naturalWidth || size.height !== loaded[1].naturalHeight;
  size = { width: loaded[1].naturalWidth, height: loaded[1].naturalHeight };
  [before, after].forEach((figure, index) => {
    const img = figure.querySelector('img');
    img.src = loaded[index].src;
    img.alt = `${index ? 'After' : 'Before'}: ${value.name}`;
  });
  empty.hidden = true;
  shown.hidden = false;
  if (changed) fits = true;
  layout();
}

watch('value', load);
load();
