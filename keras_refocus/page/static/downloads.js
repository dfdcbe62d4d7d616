// Fetches a result whole before it is saved, so that the server, which may delete it afterwards, is
// asked for it exactly once. `element`, `props`, `watch` and `trigger` come from Gradio.

const list = element.querySelector('.rf-downloads');
const said = element.querySelector('.rf-download-said');

async function save(link, button) {
  button.disabled = true;
  said.textContent = 'Downloading…';
  try {
    const response = await fetch(link.href, { cache: 'no-store' });
    if (!response.ok) throw new Error(String(response.status));
    const address = URL.createObjectURL(await response.blob());
    const anchor = document.createElement('a');
    anchor.href = address;
    anchor.download = link.name;
    document.body.append(anchor);
    anchor.click();
    anchor.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    said.textContent = '';
    trigger('downloaded', { name: link.name });
  } catch (error) {
    said.textContent =
      error.message === '404'
        ? 'This result has been deleted. Upload the photo again.'
        : 'The download failed: the page cannot reach its server. Try again.';
    button.disabled = false;
  }
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
      note.textContent = `${link.name}, ${link.size}`;
      button.append(note);
      button.addEventListener('click', () => save(link, button));
      return button;
    }),
  );
  said.textContent = '';
}

watch('value', draw);
draw();
