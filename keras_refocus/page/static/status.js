// What happens, in words. The places that are read aloud are there before they say anything.
const message = element.querySelector('.rf-message');
const bar = element.querySelector('progress');
const errors = element.querySelector('.rf-errors');
bar.setAttribute('aria-label', refocus.say('state_working'));

function draw() {
  const { message: said = '', errors: wrong = [], progress = null } = props.value || {};
  if (message.textContent !== said) message.textContent = said;
  const old = [...errors.children].map((line) => line.textContent);
  if (old.join('\n') !== wrong.join('\n')) {
    errors.replaceChildren(
      ...wrong.map((text) => {
        const line = document.createElement('p');
        line.className = 'rf-error';
        line.textContent = text;
        return line;
      }),
    );
  }
  bar.hidden = !progress;
  if (progress && progress[1] > 0) {
    bar.max = progress[1];
    bar.value = progress[0];
  } else {
    bar.removeAttribute('value');
  }
}

watch('value', draw);
draw();
