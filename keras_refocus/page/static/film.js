// Compares two films of the same times: one over the other with a dividing line, played together.
// `element`, `props`, `watch` and `trigger` come from Gradio.

refocus.translate(element);
const find = (selector) => element.querySelector(selector);
const shown = find('.rf-film-shown');
const empty = find('.rf-empty');
const screen = find('.rf-screen');
const before = find('.rf-film-before');
const after = find('.rf-film-after');
const films = [before, after];
const line = find('.rf-film-line');
const divider = find('.rf-film-divider input');
const seek = find('.rf-seek');
const STEP = 1 / 30; // Of a key, seconds; frames are rarely shorter.
const APART = 0.02; // How far the two may be apart before one is led, seconds.

let holding = false;
let slow = false;
let seeking = false;
let addresses = [];

const speed = () => (slow ? 0.25 : 1);
const length = () => Math.min(before.duration || 0, after.duration || 0);
const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, '0')}`;

function draw() {
  const place = Number(divider.value);
  after.style.clipPath = holding ? 'inset(0 0 0 100%)' : `inset(0 0 0 ${place}%)`;
  line.style.left = `${place}%`;
  line.hidden = holding;
  const playing = !before.paused;
  find('.rf-play').textContent = refocus.say(playing ? 'pause' : 'play');
  find('.rf-slow').setAttribute('aria-pressed', String(slow));
  find('.rf-sound').setAttribute('aria-pressed', String(!after.muted));
  find('.rf-time').textContent = `${clock(before.currentTime)} / ${clock(length())}`;
  if (!seeking && length()) seek.value = String(Math.round((1000 * before.currentTime) / length()));
}

// The second film is led by the first: a little faster or slower, or put in its place.
function lead() {
  const gap = before.currentTime - after.currentTime;
  if (Math.abs(gap) > 0.25) after.currentTime = before.currentTime;
  after.playbackRate = speed() * (Math.abs(gap) > APART ? 1 + Math.max(-0.5, Math.min(0.5, 2 * gap)) : 1);
}

function run() {
  if (before.paused) return;
  if (before.currentTime >= length() - 0.02 || before.ended || after.ended) {
    // From the beginning again.
    go(0);
    before.play().catch(() => {});
    after.play().catch(() => {});
  } else {
    lead();
    if (after.paused) after.play().catch(() => {});
  }
  draw();
  requestAnimationFrame(run);
}

function go(seconds) {
  const place = Math.min(Math.max(seconds, 0), Math.max(length() - 0.001, 0));
  for (const film of films) film.currentTime = place;
  draw();
}

async function play() {
  for (const film of films) film.playbackRate = speed();
  after.currentTime = before.currentTime;
  await Promise.all(films.map((film) => film.play())).catch(() => {});
  draw();
  requestAnimationFrame(run);
}

function stop() {
  for (const film of films) film.pause();
  after.currentTime = before.currentTime;
  draw();
}

const toggle = () => (before.paused ? play() : stop());

function step(by) {
  stop();
  go(before.currentTime + by * STEP);
}

function hold(yes) {
  holding = yes;
  draw();
}

find('.rf-play').addEventListener('click', toggle);
find('.rf-frame-back').addEventListener('click', () => step(-1));
find('.rf-frame-on').addEventListener('click', () => step(1));
find('.rf-slow').addEventListener('click', () => {
  slow = !slow;
  for (const film of films) film.playbackRate = speed();
  draw();
});
find('.rf-sound').addEventListener('click', () => {
  after.muted = !after.muted;
  draw();
});
divider.addEventListener('input', draw);
seek.addEventListener('input', () => {
  seeking = true;
  go((Number(seek.value) / 1000) * length());
});
seek.addEventListener('change', () => {
  seeking = false;
  draw();
});

const holder = find('.rf-film-hold');
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

function full() {
  if (document.fullscreenElement) document.exitFullscreen();
  else find('.rf-film').requestFullscreen?.();
}
find('.rf-film-full').hidden = !document.fullscreenEnabled;
find('.rf-film-full').addEventListener('click', full);

// The line follows the pointer; a mere click plays and stops.
let down = null;
function divide(event) {
  const around = screen.getBoundingClientRect();
  divider.value = String(Math.min(100, Math.max(0, (100 * (event.clientX - around.left)) / around.width)));
  draw();
}
screen.addEventListener('pointerdown', (event) => {
  if (event.button > 0) return;
  down = { x: event.clientX, moved: false };
  screen.setPointerCapture(event.pointerId);
});
screen.addEventListener('pointermove', (event) => {
  if (!down) return;
  if (Math.abs(event.clientX - down.x) > 4) down.moved = true;
  if (down.moved) divide(event);
});
screen.addEventListener('pointerup', () => {
  if (down && !down.moved) toggle();
  down = null;
});
screen.addEventListener('pointercancel', () => (down = null));

screen.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    ' ': toggle,
    k: toggle,
    ',': () => step(-1),
    '.': () => step(1),
    ArrowLeft: () => go(before.currentTime - 1),
    ArrowRight: () => go(before.currentTime + 1),
    b: () => hold(true),
    f: full,
  };
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!keys[key]) return;
  event.preventDefault();
  keys[key]();
});
screen.addEventListener('keyup', (event) => {
  if (event.key.toLowerCase() === 'b') hold(false);
});
screen.addEventListener('blur', () => hold(false));
for (const film of films) {
  for (const name of ['timeupdate', 'loadedmetadata', 'seeked', 'pause', 'play']) film.addEventListener(name, draw);
}

// ---- What is shown.

function letGo() {
  for (const film of films) {
    film.pause();
    film.removeAttribute('src');
  }
  for (const address of addresses) URL.revokeObjectURL(address);
  addresses = [];
}

function nothing(text) {
  letGo();
  shown.hidden = true;
  empty.hidden = false;
  empty.textContent = text;
}

// Fetched whole: the server's files go when the clip is downloaded, and nothing stutters.
async function fetched(path) {
  const answer = await fetch(refocus.url(path), { cache: 'no-store' });
  if (!answer.ok) throw new Error(String(answer.status));
  return URL.createObjectURL(await answer.blob());
}

const loaded = (film) =>
  new Promise((resolve, reject) => {
    film.addEventListener('loadeddata', resolve, { once: true });
    film.addEventListener('error', reject, { once: true });
  });

let latest = 0;
let playing = ''; // What the players hold.

async function load() {
  const value = props.value || {};
  if (value.after && value.after === playing) return;
  const turn = ++latest;
  playing = value.after || '';
  if (!value.after) {
    nothing(refocus.say('film_empty'));
    return;
  }
  if (shown.hidden) empty.textContent = refocus.say('loading');
  let both;
  try {
    both = await Promise.all([fetched(value.before), fetched(value.after)]);
  } catch {
    if (turn === latest) nothing(refocus.say('download_gone'));
    return;
  }
  if (turn !== latest) {
    both.forEach((address) => URL.revokeObjectURL(address));
    return;
  }
  letGo();
  addresses = both;
  const title = value.preview ? `${value.name}: ${refocus.say('film_preview')}` : value.name;
  find('.rf-film-title').textContent = title;
  const ready = Promise.all(films.map(loaded));
  films.forEach((film, index) => (film.src = both[index]));
  try {
    await ready;
  } catch {
    if (turn === latest) nothing(refocus.say('film_unplayable'));
    return;
  }
  screen.style.setProperty('--ratio', String(before.videoWidth / before.videoHeight || 1.5));
  // Sound stays off until it is asked for; whether there is any, browsers tell in their own ways.
  const heard = after.mozHasAudio || after.webkitAudioDecodedByteCount || after.audioTracks?.length;
  find('.rf-sound').hidden = !heard && after.webkitAudioDecodedByteCount !== undefined;
  empty.hidden = true;
  shown.hidden = false;
  go(0);
}

watch('value', load);
load();
