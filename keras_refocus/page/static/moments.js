// Plays the frames of one exposure, which come as one sheet, one below the other.
// `element`, `props` and `watch` come from Gradio.

refocus.translate(element);
const find = (selector) => element.querySelector(selector);
const player = find('.rf-moments');
const canvas = find('.rf-moments-screen');
const seek = find('.rf-moments-seek');
const EACH = 140; // Of a frame, milliseconds.
const REST = 5; // Frames for which the last one stays before it begins again.

let sheet = null;
let at = 0;
let reversed = false;
let timer = 0;
let latest = 0;
let playing = '';

const value = () => props.value || {};

function draw() {
  const { count, width, height } = value();
  if (!sheet || !count) return;
  const shown = Math.min(at, count - 1);
  const row = reversed ? count - 1 - shown : shown;
  canvas.getContext('2d').drawImage(sheet, 0, row * height, width, height, 0, 0, width, height);
  canvas.dataset.frame = String(row);
  seek.value = String(shown);
  find('.rf-moments-play').textContent = refocus.say(timer ? 'pause' : 'play');
  find('.rf-moments-turn').setAttribute('aria-pressed', String(reversed));
}

function stop() {
  clearInterval(timer);
  timer = 0;
  draw();
}

function play() {
  clearInterval(timer);
  timer = setInterval(() => {
    at = (at + 1) % (value().count + REST);
    draw();
  }, EACH);
  draw();
}

find('.rf-moments-play').addEventListener('click', () => (timer ? stop() : play()));
find('.rf-moments-turn').addEventListener('click', () => {
  reversed = !reversed;
  draw();
});
seek.addEventListener('input', () => {
  at = Number(seek.value);
  stop();
});

async function load() {
  const wanted = value();
  if (wanted.sheet && wanted.sheet === playing) return;
  const turn = ++latest;
  playing = wanted.sheet || '';
  stop();
  player.hidden = true;
  sheet = null;
  if (!playing) return;
  let picture;
  try {
    const answer = await fetch(refocus.url(wanted.sheet), { cache: 'no-store' });
    if (!answer.ok) return;
    picture = await createImageBitmap(await answer.blob());
  } catch {
    return;
  }
  if (turn !== latest) return;
  sheet = picture;
  [canvas.width, canvas.height] = [wanted.width, wanted.height];
  [at, reversed] = [0, false];
  seek.max = String(wanted.count - 1);
  find('.rf-moments-title').textContent = wanted.name;
  find('.rf-moments-about').textContent = wanted.about;
  const save = find('.rf-moments-save');
  save.href = refocus.url(wanted.clip);
  save.setAttribute('download', '');
  player.hidden = false;
  // Who asked for less motion starts it.
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) draw();
  else play();
}

watch('value', load);
load();
