// Compares two pictures of one size: one over the other with a dividing line, or side by side, both
// zoomed and moved together; and lets a part of the photo be marked. `element`, `props`, `watch` and
// `trigger` come from Gradio's HTML component.

refocus.translate(element);
const find = (selector) => element.querySelector(selector);
const shown = find('.rf-shown');
const empty = find('.rf-empty');
const viewer = find('.rf-viewer');
const panes = find('.rf-panes');
const before = find('.rf-before');
const after = find('.rf-after');
const line = find('.rf-line');
const divider = find('.rf-divider');
const range = divider.querySelector('input');
const box = find('.rf-region');
const MOST = 16; // Screen pixels per picture pixel.
const LEAST_SIDE = 48; // CSS pixels: of a picture as thin as a thread something is to be seen.
const KNOB = 16; // Width of the knob of the range, CSS pixels.

let size = { width: 1, height: 1 }; // Of the photo, in its own pixels.
let view = { scale: 0, x: 0, y: 0 }; // Scale in CSS pixels per pixel, and offset of the picture.
let fits = true;
let beside = false;
let alone = false; // There is no result yet: the photo as it was chosen.
let holding = false;
let current = {}; // What is shown.
let pinned = null; // An earlier result to compare with: { id, source, label }.
let region = null; // Left, top, width, height of the marked part, pixels of the photo.
let draft = null; // The same, while it is being drawn.
let marking = false;
let tool = 'rectangle'; // Or the brush, or the eraser.
let strokes = []; // Of the brush, pixels of the photo: { points, radius, erases }.
let stroke = null; // The one that is being drawn.
let spot = null; // Where the brush is, pixels of the photo.
const canvas = find('.rf-paint');
const cursor = find('.rf-cursor');
const tools = find('.rf-tools');
const brushSize = find('.rf-brush-size');

const pane = () => ({ width: before.clientWidth, height: before.clientHeight });
const actual = () => 1 / window.devicePixelRatio;

function fitting() {
  const room = pane();
  const inside = Math.min(room.width / size.width, room.height / size.height);
  const across = Math.max(room.width / size.width, room.height / size.height);
  return Math.max(inside, Math.min(LEAST_SIDE / Math.min(size.width, size.height), across));
}

function clamp(offset, room, length) {
  return length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, offset));
}

// Where the picture is in its pane: left edge and width of what is seen of it.
function extent() {
  const room = pane();
  const left = Math.max(0, view.x);
  return { left, width: Math.max(1, Math.min(room.width, view.x + size.width * view.scale) - left) };
}

function draw() {
  const room = pane();
  if (!room.width) return;
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
  drawCloseup();
  const seen = extent();
  const place = seen.left + (seen.width * range.value) / 100;
  const one = beside || alone;
  after.style.clipPath = one ? '' : `inset(0 0 0 ${place}px)`;
  after.style.visibility = holding ? 'hidden' : '';
  line.style.left = `${place}px`;
  line.hidden = divider.hidden = one;
  // The knob below stands under the line.
  range.style.marginLeft = `${seen.left - KNOB / 2}px`;
  range.style.width = `${seen.width + KNOB}px`;
  panes.classList.toggle('rf-beside', beside && !alone);
  panes.classList.toggle('rf-alone', alone);
  panes.classList.toggle('rf-zoomed', !fits);
  panes.classList.toggle('rf-marking', marking || Boolean(pen));
  find('.rf-scale').textContent = `${Math.round((view.scale / actual()) * 100)}%`;
  find('.rf-slider').setAttribute('aria-pressed', String(!beside));
  find('.rf-both').setAttribute('aria-pressed', String(beside));
  find('.rf-mark').setAttribute('aria-pressed', String(marking));
  find('.rf-unmark').hidden = !region;
  find('.rf-results').hidden = alone;
  find('.rf-left').textContent = pinned ? refocus.say('pinned', { label: pinned.label }) : refocus.say('before');
  find('.rf-left').hidden = find('.rf-right').hidden = alone;
  find('.rf-pin').textContent = refocus.say(pinned ? 'unpin' : 'pin');
  const marked = draft || (Array.isArray(region) ? region : null);
  const painting = marking && tool !== 'rectangle';
  box.hidden = painting || !marked || !(marking || alone || draft);
  tools.hidden = !marking;
  for (const one of tools.querySelectorAll('.rf-tool')) one.setAttribute('aria-pressed', String(one.dataset.tool === tool));
  brushSize.disabled = find('.rf-undo').disabled = !painting;
  drawPaint(painting);
  if (marked) {
    box.style.left = `${view.x + marked[0] * view.scale}px`;
    box.style.top = `${view.y + marked[1] * view.scale}px`;
    box.style.width = `${marked[2] * view.scale}px`;
    box.style.height = `${marked[3] * view.scale}px`;
  }
}

function layout() {
  // The pane takes the width that is there, and no more height than leaves the controls in sight.
  panes.classList.toggle('rf-beside', beside && !alone);
  panes.style.setProperty('--ratio', String(Math.min(Math.max(size.width / size.height, 0.2), 6)));
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

function move(x, y) {
  view.x += x;
  view.y += y;
  draw();
}

function divide(x) {
  const seen = extent();
  range.value = String(Math.min(100, Math.max(0, ((x - seen.left) / seen.width) * 100)));
  draw();
}

function hold(yes) {
  holding = yes && !alone;
  draw();
}

// ---- Closeups: who looks closer than the preview of a large photo goes is shown that place in full.

const MOST_CLOSE = 4e6; // Pixels of the photo that one may show.
let close = null; // The place that is shown so: { box, sharp, of: the result's address }.
let wantedClose = ''; // What was asked for last.
let closer = 0;

// What is seen of the photo, with some of what lies around it: left, top, width, height.
function seenPlace() {
  const room = pane();
  const around = 0.25 / view.scale;
  const left = Math.max(0, Math.floor(-view.x / view.scale - around * room.width));
  const top = Math.max(0, Math.floor(-view.y / view.scale - around * room.height));
  const right = Math.min(size.width, Math.ceil((room.width - view.x) / view.scale + around * room.width));
  const bottom = Math.min(size.height, Math.ceil((room.height - view.y) / view.scale + around * room.height));
  return [left, top, right - left, bottom - top];
}

// Whether the preview shows less than the screen could.
function isCoarse() {
  const detail = after.querySelector('img').naturalWidth;
  return !alone && Boolean(current.after) && detail < size.width && view.scale * size.width > 1.1 * detail;
}

const isNearEnough = ([, , width, height]) => width > 0 && height > 0 && width * height <= MOST_CLOSE;

function covers(one, [left, top, width, height]) {
  const [x, y, w, h] = one.box;
  return x <= left && y <= top && x + w >= left + width && y + h >= top + height;
}

function drawCloseup() {
  for (const figure of [before, after]) {
    const canvas = figure.querySelector('.rf-closeup');
    canvas.hidden = !close || !isCoarse();
    if (canvas.hidden) continue;
    const [left, top, width, height] = close.box;
    canvas.style.width = `${width * view.scale}px`;
    canvas.style.height = `${height * view.scale}px`;
    canvas.style.transform = `translate(${view.x + left * view.scale}px, ${view.y + top * view.scale}px)`;
    canvas.style.imageRendering = view.scale >= 2 * actual() ? 'pixelated' : 'auto';
  }
  clearTimeout(closer);
  closer = setTimeout(lookCloser, 150);
}

async function lookCloser() {
  const room = pane();
  if (shown.hidden || (pinned && !pinned.close)) return;
  // Both sides are shown alike: of what was kept there is no more than was seen then.
  const place = pinned ? pinned.close.box : seenPlace();
  if (!isCoarse() || !isNearEnough(place)) return;
  const strictly = [
    Math.max(0, -view.x / view.scale),
    Math.max(0, -view.y / view.scale),
    Math.min(size.width, room.width / view.scale),
    Math.min(size.height, room.height / view.scale),
  ];
  // Not sharper than the screen, nor than the photo.
  const sharp = pinned ? pinned.close.sharp : Math.min(1, view.scale / actual());
  const isFresh = close && close.of === current.after;
  if (isFresh && (pinned || (covers(close, strictly) && close.sharp >= 0.9 * sharp))) return;
  const asked = `${current.id} ${current.after} ${place} ${sharp.toFixed(2)}`;
  if (asked === wantedClose) return;
  wantedClose = asked;
  const width = Math.max(1, Math.round(place[2] * sharp));
  const address = (side) =>
    refocus.url(`closeups/${refocus.door()}?picture=${current.id}&side=${side}&box=${place}&width=${width}`);
  try {
    const answers = await Promise.all(['before', 'after'].map((side) => fetch(address(side), { cache: 'no-store' })));
    if (answers.some((answer) => answer.status !== 200)) {
      // The preview has to do.
      close = null;
      draw();
      return;
    }
    const bitmaps = await Promise.all(answers.map(async (answer) => createImageBitmap(await answer.blob())));
    if (asked !== wantedClose) return;
    close = { box: place, sharp, of: current.after };
    putCloseup(before, pinned ? pinned.close.image : bitmaps[0]);
    putCloseup(after, bitmaps[1]);
    draw();
  } catch {
    wantedClose = ''; // The preview has to do; the next move asks again.
  }
}

function putCloseup(figure, image) {
  const canvas = figure.querySelector('.rf-closeup');
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext('2d').drawImage(image, 0, 0);
}

// A copy of what is seen of the result, to compare with.
function keepCloseup() {
  if (!close || close.of !== current.after) return null;
  const image = document.createElement('canvas');
  const seen = after.querySelector('.rf-closeup');
  image.width = seen.width;
  image.height = seen.height;
  image.getContext('2d').drawImage(seen, 0, 0);
  return { ...close, image };
}

function dropCloseup() {
  close = null;
  wantedClose = '';
}

// ---- A part of the photo.

// The rectangle between two corners, pixels of the photo.
function rectangle(a, b) {
  const limit = (value, most) => Math.min(Math.max(value, 0), most);
  const left = limit(Math.min(a.x, b.x), size.width - 1);
  const top = limit(Math.min(a.y, b.y), size.height - 1);
  const right = limit(Math.max(a.x, b.x), size.width);
  const bottom = limit(Math.max(a.y, b.y), size.height);
  const round = Math.round;
  return [round(left), round(top), Math.max(1, round(right - left)), Math.max(1, round(bottom - top))];
}

const inPhoto = (at) => ({ x: (at.x - view.x) / view.scale, y: (at.y - view.y) / view.scale });

// Half the size of the brush, pixels of the photo: the range says it in percent of the shorter side
// of what is seen.
const brushRadius = () => (brushSize.value / 200) * Math.min(pane().width, pane().height) / view.scale;

// What the brush has covered, and the brush itself.
function drawPaint(painting) {
  const shown = stroke ? [...strokes, stroke] : strokes;
  const painted = shown.length && (marking || alone) && (!marking || painting);
  canvas.hidden = !painted && !pen;
  canvas.classList.toggle('rf-inked', Boolean(pen));
  cursor.hidden = !painting || !spot;
  if (!cursor.hidden) {
    const radius = brushRadius() * view.scale;
    cursor.style.width = cursor.style.height = `${2 * radius}px`;
    cursor.style.transform = `translate(${view.x + spot.x * view.scale - radius}px, ${view.y + spot.y * view.scale - radius}px)`;
  }
  if (canvas.hidden) return;
  const room = pane();
  const dots = window.devicePixelRatio;
  canvas.width = Math.round(room.width * dots);
  canvas.height = Math.round(room.height * dots);
  canvas.style.width = `${room.width}px`;
  canvas.style.height = `${room.height}px`;
  const ink = canvas.getContext('2d');
  ink.setTransform(view.scale * dots, 0, 0, view.scale * dots, view.x * dots, view.y * dots);
  if (pen) {
    pen.draw(ink, view.scale);
    return;
  }
  ink.lineCap = ink.lineJoin = 'round';
  ink.strokeStyle = '#2563eb';
  for (const one of shown) {
    ink.globalCompositeOperation = one.erases ? 'destination-out' : 'source-over';
    ink.lineWidth = 2 * one.radius;
    ink.beginPath();
    ink.moveTo(...one.points[0]);
    for (const point of one.points.length > 1 ? one.points.slice(1) : one.points) ink.lineTo(...point);
    ink.stroke();
  }
  // What lies beside the photo is not painted.
  ink.globalCompositeOperation = 'destination-in';
  ink.fillRect(0, 0, size.width, size.height);
}

function begin(at) {
  stroke = { points: [[at.x, at.y]], radius: brushRadius(), erases: tool === 'eraser' };
}

function lead(at) {
  const [x, y] = stroke.points[stroke.points.length - 1];
  // Points closer together than a pixel of the screen show nothing.
  if (Math.hypot(at.x - x, at.y - y) * view.scale >= 1) stroke.points.push([at.x, at.y]);
}

function endStroke() {
  // Nothing to erase: nothing done.
  if (!stroke.erases || strokes.length) strokes.push(stroke);
  stroke = null;
  painted();
}

// Another part of the page may take the pen: { down(at), move(at), up(), key(event), cursor() and
// draw(context, scale) }, all in pixels of the photo. Then the picture is drawn on, not divided.
let pen = null;
refocus.takePen = (other) => {
  if (marking && other) setMarking(false);
  pen = other;
  if (pen) panes.focus({ preventScroll: true });
  panes.classList.toggle('rf-marking', marking || Boolean(pen));
  draw();
};
refocus.redraw = () => draw();

// Tells the server what is covered now.
function painted() {
  const round = (number) => Math.round(10 * number) / 10;
  const told = strokes.map((one) => ({
    points: one.points.map(([x, y]) => [round(x), round(y)]),
    radius: round(one.radius) || 0.1,
    erases: one.erases,
  }));
  region = told.some((one) => !one.erases) ? { strokes: told } : null;
  draw();
  trigger('marked', { id: current.id, region });
}

function undo() {
  if (!strokes.length) return;
  strokes.pop();
  if (strokes.every((one) => one.erases)) strokes = [];
  painted();
}

function choose(name) {
  tool = name;
  draft = null;
  if (tool === 'rectangle') draft = firstRectangle();
  spot = tool === 'rectangle' ? null : spot || { x: size.width / 2, y: size.height / 2 };
  find('.rf-hint').textContent = refocus.say(tool === 'rectangle' ? 'mark_hint' : 'brush_hint');
  panes.focus();
  draw();
}

for (const one of tools.querySelectorAll('.rf-tool')) {
  one.addEventListener('click', () => choose(one.dataset.tool));
}
brushSize.addEventListener('input', draw);
find('.rf-undo').addEventListener('click', undo);
find('.rf-finish').addEventListener('click', () => {
  setMarking(false);
  find('.rf-mark').focus();
});

// For the keyboard there is a rectangle to begin with.
function firstRectangle() {
  const room = pane();
  if (Array.isArray(region)) return region;
  return rectangle(
    inPhoto({ x: room.width * 0.35, y: room.height * 0.35 }),
    inPhoto({ x: room.width * 0.65, y: room.height * 0.65 }),
  );
}

function setMarking(yes) {
  if (yes) refocus.dropPen?.();
  marking = yes;
  draft = stroke = null;
  if (marking) {
    choose(tool);
  } else {
    find('.rf-hint').textContent = '';
  }
  draw();
}

function mark(part) {
  region = part;
  strokes = [];
  marking = false;
  draft = null;
  find('.rf-hint').textContent = '';
  draw();
  trigger('marked', { id: current.id, region: part });
}

find('.rf-mark').addEventListener('click', () => setMarking(!marking));
find('.rf-unmark').addEventListener('click', () => {
  mark(null);
  find('.rf-mark').focus();
});

// ---- Pointers.

function position(event) {
  const inAfter = beside && after.contains(event.target);
  const around = (inAfter ? after : before).getBoundingClientRect();
  return { x: event.clientX - around.left, y: event.clientY - around.top, inAfter };
}

const pointers = new Map();
let action = null;
let apart = 0;
let corner = null;

panes.addEventListener('pointerdown', (event) => {
  if (event.button > 0) return;
  panes.setPointerCapture(event.pointerId);
  const at = position(event);
  pointers.set(event.pointerId, at);
  const seen = extent();
  const near = Math.abs(at.x - (seen.left + (seen.width * range.value) / 100)) < 28;
  action = !beside && !alone && (fits || near) ? 'divide' : 'move';
  if (pointers.size === 2) {
    const [a, b] = pointers.values();
    action = 'pinch';
    draft = marking ? draft : null;
    apart = Math.hypot(a.x - b.x, a.y - b.y);
    stroke = null;
    if (pen) pen.cancel();
    draw();
  } else if (pen) {
    action = 'pen';
    pen.down(inPhoto(at));
    draw();
  } else if (marking && tool !== 'rectangle') {
    action = 'paint';
    spot = inPhoto(at);
    begin(spot);
    draw();
  } else if (marking) {
    action = 'mark';
    corner = inPhoto(at);
  } else if (action === 'divide') {
    divide(at.x);
  }
});

panes.addEventListener('pointermove', (event) => {
  const from = pointers.get(event.pointerId);
  if (!from) {
    if (marking && tool !== 'rectangle') {
      spot = inPhoto(position(event));
      draw();
    }
    return;
  }
  // Captured events aim at the panes: keep to the pane where the pointer went down.
  const around = (from.inAfter ? after : before).getBoundingClientRect();
  const at = { x: event.clientX - around.left, y: event.clientY - around.top, inAfter: from.inAfter };
  pointers.set(event.pointerId, at);
  if (action === 'pinch' && pointers.size === 2) {
    const [a, b] = pointers.values();
    const wide = Math.hypot(a.x - b.x, a.y - b.y);
    if (apart > 0) zoom(wide / apart, (a.x + b.x) / 2, (a.y + b.y) / 2);
    apart = wide;
  } else if (action === 'pen') {
    pen?.move(inPhoto(at), view.scale);
    draw();
  } else if (action === 'paint') {
    spot = inPhoto(at);
    lead(spot);
    draw();
  } else if (action === 'mark') {
    draft = rectangle(corner, inPhoto(at));
    draw();
  } else if (action === 'divide') {
    divide(at.x);
  } else if (action === 'move') {
    move(at.x - from.x, at.y - from.y);
  }
});

for (const name of ['pointerup', 'pointercancel']) {
  panes.addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    if (action === 'paint' && stroke) endStroke();
    if (action === 'pen') pen?.up();
    if (action === 'mark' && draft && name === 'pointerup') {
      // A mere click marks nothing.
      if (draft[2] * view.scale > 8 && draft[3] * view.scale > 8) mark(draft);
    }
    if (pointers.size === 0) action = null;
  });
}

panes.addEventListener('dblclick', (event) => {
  if (marking || pen) return;
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

// Two fingers on the picture are for the picture, not for the page.
panes.addEventListener(
  'touchmove',
  (event) => {
    if (event.touches.length > 1 && event.cancelable) event.preventDefault();
  },
  { passive: false },
);
for (const name of ['gesturestart', 'gesturechange']) {
  panes.addEventListener(name, (event) => event.preventDefault(), { passive: false });
}

// ---- Keys.

function paintByKey(event) {
  const step = Math.max(1, brushRadius() / 2);
  const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (by) {
    const from = spot;
    const limit = (value, most) => Math.min(Math.max(value, 0), most);
    spot = { x: limit(spot.x + by[0], size.width), y: limit(spot.y + by[1], size.height) };
    if (event.shiftKey) {
      begin(from);
      lead(spot);
      endStroke();
    }
  } else if (event.key === ' ') {
    begin(spot);
    endStroke();
  } else if (event.key === '[' || event.key === ']') {
    brushSize.value = Number(brushSize.value) + (event.key === '[' ? -2 : 2);
  } else if (event.key.toLowerCase() === 'u') undo();
  else if (event.key === 'Escape' || event.key === 'Enter') setMarking(false);
  else return false;
  draw();
  return true;
}

function markByKey(event) {
  const step = Math.max(1, Math.round(8 / view.scale));
  const [x, y, width, height] = draft;
  const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (event.key === 'Enter') mark(draft);
  else if (event.key === 'Escape') setMarking(false);
  else if (by && event.shiftKey) {
    draft = rectangle({ x, y }, { x: x + Math.max(1, width + by[0]), y: y + Math.max(1, height + by[1]) });
  } else if (by) {
    const left = Math.min(Math.max(0, x + by[0]), size.width - width);
    const top = Math.min(Math.max(0, y + by[1]), size.height - height);
    draft = [left, top, width, height];
  } else return false;
  draw();
  return true;
}

panes.addEventListener('keydown', (event) => {
  const step = 60;
  const keys = {
    '+': () => zoom(1.5),
    '=': () => zoom(1.5),
    '-': () => zoom(1 / 1.5),
    0: fit,
    1: () => pixels(),
    b: () => hold(true),
    f: full,
    ',': () => refocus.step(-1),
    '.': () => refocus.step(1),
    ArrowLeft: () => move(step, 0),
    ArrowRight: () => move(-step, 0),
    ArrowUp: () => move(0, step),
    ArrowDown: () => move(0, -step),
  };
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (pen && pen.key(event, view.scale)) {
    event.preventDefault();
    draw();
    return;
  }
  if (marking && (tool === 'rectangle' ? draft && markByKey(event) : paintByKey(event))) {
    event.preventDefault();
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!keys[key]) return;
  if (key.startsWith('Arrow') && fits) return; // The page scrolls.
  event.preventDefault();
  keys[key]();
});
panes.addEventListener('keyup', (event) => {
  if (event.key.toLowerCase() === 'b') hold(false);
});
panes.addEventListener('blur', () => hold(false));

// ---- Buttons.

const holder = find('.rf-hold');
holder.addEventListener('pointerdown', () => hold(true));
for (const name of ['pointerup', 'pointerleave', 'pointercancel', 'blur', 'keyup']) {
  holder.addEventListener(name, () => hold(false));
}
holder.addEventListener('keydown', (event) => {
  if (event.key === ' ' || event.key === 'Enter') {
    event.preventDefault();
    hold(true);
  }
});
holder.addEventListener('contextmenu', (event) => event.preventDefault());

find('.rf-pin').addEventListener('click', () => {
  if (pinned) {
    unpin();
    dropCloseup();
    show(before, current.images[0], 'before');
    draw();
    return;
  }
  // A copy: the server's file goes when another one is made.
  const image = after.querySelector('img');
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext('2d').drawImage(image, 0, 0);
  canvas.toBlob((blob) => {
    pinned = { id: current.id, source: URL.createObjectURL(blob), label: current.label, close: keepCloseup() };
    show(before, pinned.source, 'before');
    if (pinned.close) putCloseup(before, pinned.close.image);
    else dropCloseup();
    draw();
  });
});

function unpin() {
  if (pinned) URL.revokeObjectURL(pinned.source);
  pinned = null;
}

function full() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (viewer.requestFullscreen) viewer.requestFullscreen();
}
find('.rf-full').hidden = !document.fullscreenEnabled;
find('.rf-full').addEventListener('click', full);
document.addEventListener('fullscreenchange', () => setTimeout(layout, 50));

range.addEventListener('input', draw);
find('.rf-in').addEventListener('click', () => zoom(1.5));
find('.rf-out').addEventListener('click', () => zoom(1 / 1.5));
find('.rf-fit').addEventListener('click', fit);
find('.rf-pixels').addEventListener('click', () => pixels());
find('.rf-previous').addEventListener('click', () => refocus.step(-1));
find('.rf-next').addEventListener('click', () => refocus.step(1));
for (const [button, value] of [['.rf-slider', false], ['.rf-both', true]]) {
  find(button).addEventListener('click', () => {
    beside = value;
    layout();
  });
}
new ResizeObserver(() => {
  if (!shown.hidden) draw();
}).observe(panes);

// ---- What is shown.

function show(figure, source, side) {
  const img = figure.querySelector('img');
  if (source) img.src = source;
  else img.removeAttribute('src');
  img.alt = source ? `${refocus.say(side)}: ${current.name || ''}` : '';
}

async function decoded(address) {
  const image = new Image();
  image.src = address;
  await image.decode().catch(() => {});
  return image;
}

function nothing(text) {
  shown.hidden = true;
  empty.hidden = false;
  empty.textContent = text;
  current = {};
  dropCloseup();
  refocus.viewed = null;
  refocus.looked?.({}, size);
  for (const figure of [before, after]) show(figure, null);
}

let latest = 0;
let lookedAt = 'null'; // The part that was brought near last.

async function load() {
  const value = props.value || {};
  const turn = ++latest;
  const original = value.id && !value.after ? refocus.original(value.id) : null;
  if (!value.after && !original) {
    nothing(refocus.say('empty'));
    return;
  }
  // Nothing flickers while a slider moves: both are decoded before they are shown.
  const addresses = original ? [original, original] : [value.before, value.after].map(refocus.url);
  if (shown.hidden) empty.textContent = refocus.say('loading');
  const images = await Promise.all(addresses.map(decoded));
  if (turn !== latest) return;
  if (!images[1].naturalWidth) {
    if (original) nothing(refocus.say('empty'));
    return;
  }
  const anew = current.id !== value.id;
  const width = value.width || images[1].naturalWidth;
  const height = value.height || images[1].naturalHeight;
  if (anew || width !== size.width || height !== size.height) {
    fits = true;
    marking = false;
    draft = stroke = spot = null;
    find('.rf-hint').textContent = '';
  }
  if (pinned && pinned.id !== value.id) {
    unpin();
    dropCloseup();
  }
  size = { width, height };
  alone = Boolean(original);
  region = value.region || null;
  // Those that are just being painted are newer than what the server has heard of.
  if (anew || !marking) strokes = region && region.strokes ? region.strokes.slice() : [];
  if (anew || alone) dropCloseup();
  const part = JSON.stringify(value.region || null);
  const isNewPart = !alone && value.after !== current.after && part !== lookedAt;
  if (!alone) lookedAt = part;
  current = { ...value, images: images.map((image) => image.src) };
  refocus.viewed = value.id;
  refocus.looked?.(alone ? {} : value, size);
  show(before, pinned ? pinned.source : images[0].src, 'before');
  show(after, original ? null : images[1].src, 'after');
  find('.rf-title').textContent = value.name || '';
  empty.hidden = true;
  shown.hidden = false;
  layout();
  if (isNewPart) lookAtPart();
}

// Of a small part of a large photo one would see little: it is brought near.
function lookAtPart() {
  if (!Array.isArray(region) || !fits) return;
  const room = pane();
  const [left, top, width, height] = region;
  const scale = Math.min(actual(), (0.8 * room.width) / width, (0.8 * room.height) / height);
  if (scale < 2 * view.scale) return;
  fits = false;
  view = {
    scale,
    x: room.width / 2 - (left + width / 2) * scale,
    y: room.height / 2 - (top + height / 2) * scale,
  };
  draw();
}

watch('value', load);
load();
