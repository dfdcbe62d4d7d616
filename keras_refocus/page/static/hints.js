// Colours that a person gives: picked, clicked or drawn on the picture of the viewer, whose pen is
// taken meanwhile. `element`, `props`, `watch` and `trigger` come from Gradio.

refocus.translate(element);
const find = (selector) => element.querySelector(selector);
const section = find('.rf-hints');
const button = find('.rf-hinting');
const color = find('input[type=color]');
const likely = find('.rf-likely');
let id = null; // Of the picture that is looked at.
let size = { width: 1, height: 1 };
let hints = []; // { color, points, width }, pixels of the picture.
let stroke = null;
let spot = null; // Where the keys are.
let on = false;

const inside = ({ x, y }) => ({
  x: Math.min(Math.max(x, 0), size.width - 1),
  y: Math.min(Math.max(y, 0), size.height - 1),
});
const rounded = ({ x, y }) => [Math.round(10 * x) / 10, Math.round(10 * y) / 10];

function draw() {
  button.setAttribute('aria-pressed', String(on));
  for (const one of element.querySelectorAll('.rf-hint-tools')) one.hidden = !on;
  find('.rf-hint-undo').disabled = find('.rf-hint-clear').disabled = !hints.length;
  refocus.redraw?.();
}

function tell() {
  draw();
  trigger('hinted', { id, hints });
}

function set(points) {
  hints = [...hints, { color: color.value, points, width: 0 }];
  tell();
  suggest(points[0]);
}

// What the colorizer thinks likely at the place of the last hint, to choose instead.
let asked = 0;
async function suggest([x, y]) {
  const turn = ++asked;
  likely.replaceChildren();
  let found = [];
  try {
    const where = new URLSearchParams({ picture: id, x, y });
    const answer = await fetch(refocus.url(`suggestions/${refocus.door()}?${where}`), { cache: 'no-store' });
    found = (await answer.json()).colors;
  } catch {
    found = []; // The colour that was chosen stays.
  }
  if (turn !== asked) return;
  likely.replaceChildren(
    ...found.map((one, index) => {
      const swatch = document.createElement('button');
      swatch.type = 'button';
      swatch.className = 'rf-swatch';
      swatch.style.background = one;
      swatch.setAttribute('aria-label', `${refocus.say('hint_likely_one', { number: index + 1 })}: ${one}`);
      swatch.addEventListener('click', () => {
        color.value = one;
        if (!hints.length) return;
        hints = [...hints.slice(0, -1), { ...hints[hints.length - 1], color: one }];
        tell();
      });
      return swatch;
    }),
  );
}

function undo() {
  if (!hints.length) return;
  likely.replaceChildren();
  hints = hints.slice(0, -1);
  tell();
}

const pen = {
  down(at) {
    spot = inside(at);
    stroke = [rounded(spot)];
  },
  move(at, scale) {
    if (!stroke) return;
    spot = inside(at);
    const [x, y] = stroke[stroke.length - 1];
    // A hand that trembles on a click draws no stroke.
    if (Math.hypot(spot.x - x, spot.y - y) * scale >= 6) stroke.push(rounded(spot));
  },
  up() {
    if (!stroke) return;
    const points = stroke;
    stroke = null;
    set(points);
  },
  cancel() {
    stroke = null;
  },
  key(event, scale) {
    const step = (event.shiftKey ? 24 : 6) / scale;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (by) spot = inside({ x: spot.x + by[0], y: spot.y + by[1] });
    else if (event.key === ' ' || event.key === 'Enter') set([rounded(spot)]);
    else if (event.key.toLowerCase() === 'u') undo();
    else if (event.key === 'Escape') turn(false);
    else return false;
    return true;
  },
  draw(ink, scale) {
    const drawn = stroke ? [...hints, { color: color.value, points: stroke }] : hints;
    for (const one of drawn) {
      for (const [style, width] of [['#000', 14], ['#fff', 11], [one.color, 8]]) {
        ink.lineCap = ink.lineJoin = 'round';
        ink.strokeStyle = style;
        ink.lineWidth = width / scale;
        ink.beginPath();
        ink.moveTo(...one.points[0]);
        for (const point of one.points.length > 1 ? one.points.slice(1) : one.points) ink.lineTo(...point);
        ink.stroke();
      }
    }
    if (!spot) return;
    // Where the keys would set the colour.
    for (const [style, width] of [['#000', 4], ['#fff', 2]]) {
      ink.strokeStyle = style;
      ink.lineWidth = width / scale;
      ink.beginPath();
      ink.arc(spot.x, spot.y, 10 / scale, 0, 2 * Math.PI);
      ink.stroke();
    }
  },
};

function turn(yes) {
  on = yes;
  stroke = null;
  spot = yes ? { x: size.width / 2, y: size.height / 2 } : null;
  refocus.takePen(yes ? pen : null);
  draw();
  if (!yes) button.focus({ preventScroll: true });
}

button.addEventListener('click', () => turn(!on));
find('.rf-hint-undo').addEventListener('click', undo);
find('.rf-hint-clear').addEventListener('click', () => {
  hints = [];
  likely.replaceChildren();
  tell();
});
// The viewer needs the pen for something else.
refocus.dropPen = () => {
  if (!on) return;
  on = false;
  refocus.takePen(null);
  draw();
};

// The viewer shows another picture, or the same one made anew.
refocus.looked = (value, newSize) => {
  const anew = id !== (value.id || null);
  if (anew) likely.replaceChildren();
  id = value.id || null;
  size = newSize;
  section.hidden = !value.coloured;
  if (anew || !on) hints = value.hints || [];
  if (on && (anew || !value.coloured)) refocus.dropPen();
  draw();
};
draw();
