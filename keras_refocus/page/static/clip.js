// The visitor's clip: choosing and dropping it, and what is said of it. `element`, `props`, `watch`
// and `trigger` come from Gradio.

refocus.translate(element);
const find = (selector) => element.querySelector(selector);
const input = find('input[type=file]');
const list = find('.rf-list');
const refused = find('.rf-refused');
const addButton = find('.rf-add');
input.accept = props.accepted;
const value = () => props.value || {};
const clip = () => value().clip || null;
let arriving = null; // { name, percent, request }.
let turn = 0;

// What may be uploaded is said before anything is.
const length = props.seconds < 90 ? refocus.say('length_seconds', { count: props.seconds }) : refocus.say('length_minutes', { count: Math.round(props.seconds / 6) / 10 });
find('.rf-clip-hint').textContent = refocus.say('clip_hint', { seconds: length, megabytes: props.megabytes });

// How long a clip is, as far as this browser can read it; else null.
function lasting(file) {
  return new Promise((resolve) => {
    const film = document.createElement('video');
    const address = URL.createObjectURL(file);
    const done = (seconds) => {
      clearTimeout(patience);
      URL.revokeObjectURL(address);
      film.removeAttribute('src');
      resolve(Number.isFinite(seconds) ? seconds : null);
    };
    const patience = setTimeout(() => done(null), 4000);
    film.preload = 'metadata';
    film.addEventListener('loadedmetadata', () => done(film.duration));
    film.addEventListener('error', () => done(null));
    film.src = address;
  });
}

async function take(files) {
  const file = [...files][0];
  if (!file) return;
  const mine = ++turn;
  arriving?.request?.abort();
  refused.replaceChildren();
  if (files.length > 1) refuse(file.name, refocus.say('one_clip'));
  const size = Math.ceil(file.size / 1e6);
  if (size > props.megabytes) {
    refuse(file.name, refocus.say('clip_heavy', { size, most: props.megabytes }));
    return;
  }
  arriving = { name: file.name, percent: 0 };
  draw();
  const seconds = await lasting(file);
  // A page that has just been opened does not know yet where to.
  while (!value().door) await new Promise((resolve) => setTimeout(resolve, 100));
  if (mine !== turn) return;
  if (seconds !== null && seconds > props.seconds + 0.5) {
    arriving = null;
    draw();
    refuse(file.name, refocus.say('clip_lasts', { size: Math.ceil(seconds), most: props.seconds }));
    return;
  }
  try {
    await send(file);
    trigger('arrived', {});
  } catch (error) {
    if (mine === turn && error.message) refuse(file.name, error.message);
  }
  if (mine === turn) arriving = null;
  draw();
}

function send(file) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    arriving.request = request;
    request.open('POST', refocus.url(`clips/${value().door}`));
    request.setRequestHeader('content-type', 'application/octet-stream');
    request.setRequestHeader('x-name', encodeURIComponent(file.name));
    request.upload.addEventListener('progress', (event) => {
      if (!event.lengthComputable || !arriving) return;
      arriving.percent = Math.floor((100 * event.loaded) / event.total);
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
    request.addEventListener('abort', () => reject(new Error('')));
    request.send(file);
  });
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

function entry(one) {
  const item = document.createElement('li');
  item.className = 'rf-entry';
  const about = document.createElement('span');
  about.className = 'rf-clip';
  const name = document.createElement('span');
  name.className = 'rf-name';
  name.textContent = one.name;
  const state = document.createElement('small');
  state.textContent = one.about;
  about.append(name, state);
  item.append(about);
  if (one.percent === undefined) {
    const remove = document.createElement('button');
    remove.type = 'button';
    remove.className = 'rf-remove';
    remove.textContent = '×';
    remove.setAttribute('aria-label', refocus.say('remove', { name: one.name }));
    remove.addEventListener('click', () => {
      remove.disabled = true;
      trigger('removed', {});
    });
    item.append(remove);
  }
  return item;
}

function draw() {
  const coming = arriving && { ...arriving, about: refocus.say('uploading', { percent: arriving.percent }) };
  const shown = coming || clip();
  list.replaceChildren(...(shown ? [entry(shown)] : []));
  list.hidden = !shown;
  addButton.textContent = refocus.say(shown ? 'replace_clip' : 'add_clip');
}

addButton.addEventListener('click', () => input.click());
input.addEventListener('change', () => {
  take(input.files);
  input.value = '';
});

// Dropped anywhere on the page.
refocus.takeClip = (files) => {
  refocus.tab('video');
  take(files);
};

// When the time is up it is said, and the entry leaves.
document.addEventListener('refocus:standing', (event) => {
  if (clip() && event.detail.clip === null) trigger('expired', {});
});

watch('value', draw);
draw();
