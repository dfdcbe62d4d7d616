// Fetches a result whole before it is saved, so that the server, which may delete it afterwards, is
// asked for it exactly once. `element`, `props`, `watch` and `trigger` come from Gradio.

const list = element.querySelector('.rf-downloads');
const said = element.querySelector('.rf-download-said');
let busy = false;

async function save(link, button) {
  if (busy) return;
  busy = true;
  button.setAttribute('aria-disabled', 'true');
  // It may have to be made first, which takes its time for a large photo.
  said.textContent = refocus.say('preparing');
  try {
    const response = await fetch(refocus.url(link.href), { cache: 'no-store' });
    if (!response.ok) throw new Error(response.status === 500 ? await response.text() : response.status);
    said.textContent = refocus.say('downloading');
    const disposition = response.headers.get('content-disposition') || '';
    const encoded = /filename\*=utf-8''([^;]+)/i.exec(disposition);
    const plain = /filename="([^"]+)"/i.exec(disposition);
    const name = encoded ? decodeURIComponent(encoded[1]) : plain ? plain[1] : link.name;
    const address = URL.createObjectURL(await response.blob());
    const anchor = document.createElement('a');
    anchor.href = address;
    anchor.download = name;
    document.body.append(anchor);
    anchor.click();
    anchor.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    said.textContent = '';
    trigger('downloaded', { name });
  } catch (error) {
    const sentences = { 404: 'download_gone', 401: 'logged_out' };
    const known = sentences[error.message];
    const text = error.message.length > 3 && !(error instanceof TypeError) ? error.message : null;
    said.textContent = known ? refocus.say(known) : text || refocus.say('download_failed');
  }
  busy = false;
  button.removeAttribute('aria-disabled');
}

function draw() {
  const links = (props.value && props.value.links) || [];
  list.replaceChildren(
    ...links.map((link, index) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = index ? 'rf-download' : 'rf-download rf-first';
      button.dataset.href = link.href;
      button.append(link.label);
      const note = document.createElement('small');
      note.textContent = link.size ? `${link.name}, ${link.size}` : link.name;
      button.append(note);
      button.addEventListener('click', () => save(link, button));
      return button;
    }),
  );
  if (!busy) said.textContent = '';
}

watch('value', draw);
draw();
