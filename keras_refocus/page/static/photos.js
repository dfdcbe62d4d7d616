// The visitor's photos: choosing, dropping and pasting them, their list, and for how long they are
// kept. `element`, `props`, `watch` and `trigger` come from Gradio.

refocus.translate(element);
const find = (selector) => element.querySelector(selector);
const input = find('input[type=file]');
const list = find('.rf-list');
const refused = find('.rf-refused');
const addButton = find('.rf-add');
input.accept = props.accepted;

const thumbnails = new Map(); // By picture, made here from what was chosen.
const arriving = []; // Files on their way: { file, name, percent }.
let uploading = false;

const value = () => props.value || {};
const pictures = () => value().pictures || [];

// ---- Files come in.

const suffix = (name) => `.${(name || '').split('.').pop().toLowerCase()}`;
const isVideo = (file) =>
  file.type.startsWith('video/') || ((props.videos || []).includes(suffix(file.name)) && !file.type.startsWith('image/'));

function take(files, name = null) {
  const wanted = [...files];
  if (!wanted.length) return;
  // Clips are for the other tab.
  if (refocus.takeClip && wanted.every(isVideo)) {
    refocus.takeClip(wanted);
    return;
  }
  if (refocus.tab) refocus.tab('photos');
  refused.replaceChildren();
  for (const file of wanted) arriving.push({ file, name: name || file.name || refocus.say('pasted_name'), percent: 0 });
  draw();
  upload();
}

async function upload() {
  if (uploading || !value().door) return;
  uploading = true;
  // One after the other, so that they keep their order.
  while (arriving.length) {
    const one = arriving[0];
    try {
      const { id } = await send(one);
      refocus.files.set(id, one.file);
      await draught(id, one.file);
      trigger('added', {});
    } catch (error) {
      refuse(one.name, error.message);
    }
    arriving.shift();
    draw();
  }
  uploading = false;
  if (startsWhenThere) {
    startsWhenThere = false;
    find('.rf-starts').textContent = '';
    document.querySelector('#start')?.click();
  }
}

// Who presses Restore while photos are on their way means them, too.
let startsWhenThere = false;
document.addEventListener(
  'click',
  (event) => {
    if (!event.target.closest?.('#start') || !arriving.length) return;
    event.stopPropagation();
    event.preventDefault();
    startsWhenThere = true;
    find('.rf-starts').textContent = refocus.say('starts_when_there');
  },
  true,
);

function send(one) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', refocus.url(`uploads/${value().door}`));
    request.setRequestHeader('content-type', 'application/octet-stream');
    request.setRequestHeader('x-name', encodeURIComponent(one.name));
    request.upload.addEventListener('progress', (event) => {
      if (!event.lengthComputable) return;
      one.percent = Math.floor((100 * event.loaded) / event.total);
      draw();
    });
    request.addEventListener('load', () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        answer = {};
      }
      if (request.status === 200 && answer.id) resolve(answer);
      else if (request.status === 401) reject(new Error(refocus.say('logged_out')));
      else reject(new Error(answer.error || refocus.say('upload_failed')));
    });
    request.addEventListener('error', () => reject(new Error(refocus.say('upload_failed'))));
    request.send(one.file);
  });
}

// A thumbnail of what was chosen, where this browser can read it.
async function draught(id, file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, 96 / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement('canvas');
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    canvas.getContext('2d').drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    thumbnails.set(id, canvas.toDataURL('image/jpeg', 0.8));
  } catch {
    thumbnails.delete(id); // TIFF or HEIC: the server makes one with the result.
  }
}

function refuse(name, why) {
  const line = document.createElement('p');
  line.className = 'rf-error';
  const text = document.createElement('span');
  text.textContent = `${name}: ${why}`;
  const dismiss = document.createElement('button');
  dismiss.type = 'button';
  dismiss.textContent = '×';
  dismiss.setAttribute('aria-label', refocus.say('dismiss', { name }));
  dismiss.addEventListener('click', () => {
    line.remove();
    addButton.focus();
  });
  line.append(text, dismiss);
  refused.append(line);
}

addButton.addEventListener('click', () => input.click());
input.addEventListener('change', () => {
  take(input.files);
  input.value = '';
});

// ---- Dropping works on all of the page, and never leads away from it.

const curtain = document.createElement('div');
curtain.className = 'rf-curtain';
curtain.hidden = true;
curtain.textContent = refocus.say('drop_here');
document.body.append(curtain);
let hideCurtain = 0;
const carriesFiles = (event) => [...(event.dataTransfer?.types || [])].includes('Files');

for (const name of ['dragenter', 'dragover']) {
  window.addEventListener(
    name,
    (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = 'copy';
      curtain.hidden = false;
      clearTimeout(hideCurtain);
      hideCurtain = setTimeout(() => (curtain.hidden = true), 400);
    },
    true,
  );
}
window.addEventListener(
  'drop',
  (event) => {
    event.preventDefault();
    curtain.hidden = true;
    if (carriesFiles(event)) take(event.dataTransfer.files);
  },
  true,
);
document.addEventListener('paste', (event) => {
  const files = [...(event.clipboardData?.files || [])].filter((file) => file.type.startsWith('image/'));
  if (!files.length) return;
  event.preventDefault();
  // What was copied out of a picture is called image.png by every browser.
  const unnamed = files.length === 1 && files[0].name === 'image.png';
  take(files, unnamed ? `${refocus.say('pasted_name')} ${now()}.png` : null);
});

const now = () => new Date().toLocaleString('sv').replaceAll(':', '.');

// ---- The camera, where the browser has one: not on pages without encryption.

const cameraButton = find('.rf-camera');
const shot = find('.rf-shot');
const video = find('video');
cameraButton.hidden = !(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);

cameraButton.addEventListener('click', async () => {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: 'environment', width: { ideal: 4096 }, height: { ideal: 4096 } },
    });
    shot.hidden = false;
    find('.rf-take').focus();
  } catch (error) {
    refuse(refocus.say('camera_name'), refocus.say('camera_denied', { reason: error.message }));
  }
});
function stopCamera() {
  for (const track of video.srcObject?.getTracks() || []) track.stop();
  video.srcObject = null;
  shot.hidden = true;
  cameraButton.focus();
}
find('.rf-stop').addEventListener('click', stopCamera);
find('.rf-take').addEventListener('click', () => {
  if (!video.videoWidth) return;
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext('2d').drawImage(video, 0, 0);
  canvas.toBlob((blob) => take([blob], `${refocus.say('camera_name')} ${now()}.png`), 'image/png');
  stopCamera();
});

// ---- The list.

function entry(picture) {
  const item = document.createElement('li');
  item.className = `rf-entry rf-${picture.state}`;
  const show = document.createElement('button');
  show.type = 'button';
  show.className = 'rf-show';
  show.setAttribute('aria-pressed', String(picture.id === value().chosen));
  show.dataset.id = picture.id;
  const source = picture.thumbnail ? refocus.url(picture.thumbnail) : thumbnails.get(picture.id);
  if (source) {
    const image = document.createElement('img');
    image.src = source;
    image.alt = '';
    show.append(image);
  } else {
    const blank = document.createElement('span');
    blank.className = 'rf-blank';
    blank.textContent = (picture.name.split('.').pop() || '').slice(0, 4).toUpperCase();
    blank.setAttribute('aria-hidden', 'true');
    show.append(blank);
  }
  const name = document.createElement('span');
  name.className = 'rf-name';
  name.textContent = picture.name;
  const state = document.createElement('small');
  state.textContent = refocus.say(`state_${picture.state}`);
  show.append(name, state);
  show.addEventListener('click', () => trigger('chosen', { id: picture.id }));
  const remove = document.createElement('button');
  remove.type = 'button';
  remove.className = 'rf-remove';
  remove.textContent = '×';
  remove.setAttribute('aria-label', refocus.say('remove', { name: picture.name }));
  remove.addEventListener('click', () => {
    remove.disabled = true;
    trigger('removed', { id: picture.id });
  });
  item.append(show, remove);
  return item;
}

function onItsWay(one) {
  const item = document.createElement('li');
  item.className = 'rf-entry rf-arriving';
  const name = document.createElement('span');
  name.className = 'rf-name';
  name.textContent = one.name;
  const state = document.createElement('small');
  state.textContent = refocus.say('uploading', { percent: one.percent });
  item.append(name, state);
  return item;
}

let drawn = '';
const listed = new Set();

function draw() {
  const shown = JSON.stringify([pictures(), value().chosen, arriving.map((one) => [one.name, one.percent])]);
  if (shown === drawn) return;
  drawn = shown;
  const focus = document.activeElement?.dataset?.id || null;
  list.replaceChildren(...pictures().map(entry), ...arriving.map(onItsWay));
  if (focus) list.querySelector(`[data-id="${focus}"]`)?.focus({ preventScroll: true });
  const filled = pictures().length + arriving.length > 0;
  if (!startsWhenThere) find('.rf-starts').textContent = '';
  list.hidden = !filled;
  addButton.textContent = refocus.say(filled ? 'add_more' : 'add');
  find('.rf-clear').hidden = pictures().length < 2;
  // What has left the list is let go, unless it is still looked at.
  for (const one of pictures()) listed.add(one.id);
  for (const id of listed) {
    if (pictures().some((one) => one.id === id) || id === refocus.viewed) continue;
    refocus.forget(id);
    thumbnails.delete(id);
    listed.delete(id);
  }
}

find('.rf-clear').addEventListener('click', () => trigger('cleared', {}));

// By what this visitor's page asks for more.
refocus.door = () => value().door;

// The comparison asks for the previous or the next one.
refocus.step = (by) => {
  const all = pictures();
  const place = all.findIndex((one) => one.id === value().chosen);
  const next = all[place + by];
  if (next) trigger('chosen', { id: next.id });
};

// ---- For how long they are kept.

const expiry = find('.rf-expiry');
// It concerns both tabs.
document.getElementById('work')?.before(expiry);
const countdown = expiry.querySelector('.rf-countdown');
const keep = expiry.querySelector('.rf-keep');
const aloud = expiry.querySelector('.rf-aloud');
let ends = null; // When they are deleted, by the clock of this page.
let asked = 0;
let differs = 0;
let clip = null; // Of the other tab, as the server has it.

async function ask() {
  asked = Date.now();
  if (!value().door) return;
  try {
    const answer = await fetch(refocus.url(`standing/${value().door}`), { cache: 'no-store' });
    if (!answer.ok) return;
    const standing = await answer.json();
    document.dispatchEvent(new CustomEvent('refocus:standing', { detail: standing }));
    clip = standing.clip;
    ends = standing.left === null ? null : Date.now() + 1000 * standing.left;
    const here = Object.fromEntries(pictures().map((one) => [one.id, one.state]));
    const there = standing.pictures;
    if (pictures().length && !Object.keys(there).length) {
      ends = null;
      trigger('expired', {});
      return;
    }
    // What a page missed that was asleep, or cut off, is shown again.
    const same = JSON.stringify(Object.entries(here).sort()) === JSON.stringify(Object.entries(there).sort());
    differs = same || standing.working ? 0 : differs + 1;
    if (differs > 1) {
      differs = 0;
      trigger('returned', {});
    }
  } catch {
    ends = null; // The server is not there; whatever is pressed next says so.
  }
}

function tick() {
  const left = ends === null ? null : Math.max(0, Math.round((ends - Date.now()) / 1000));
  const soon = left !== null && left <= 60 && (pictures().length > 0 || clip !== null);
  countdown.textContent = soon ? refocus.say('expires', { seconds: left }) : '';
  if (!soon) aloud.textContent = '';
  else if (keep.hidden || left === 30 || left === 10) aloud.textContent = countdown.textContent;
  keep.hidden = !soon;
  const pause = soon ? (left <= 1 ? 1000 : 3000) : 10000;
  if (Date.now() - asked >= pause) ask();
}

keep.addEventListener('click', async () => {
  await fetch(refocus.url(`standing/${value().door}`), { method: 'POST' }).catch(() => {});
  addButton.focus();
  await ask();
  tick();
});
setInterval(tick, 1000);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) ask();
});

watch('value', () => {
  draw();
  upload();
});
draw();
upload();
