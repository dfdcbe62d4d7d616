// What the parts of the page share. Runs before anything else: the server puts it, with the
// table of sentences filled in, into the head of every page.

window.refocus = (() => {
  const words = WORDS;
  const wanted = (navigator.languages || [navigator.language || 'en']).map((language) =>
    language.split('-')[0].toLowerCase(),
  );
  const language = wanted.find((one) => words[one]) || 'en';
  document.documentElement.lang = language;

  // Fills a sentence in.
  function say(name, values = {}) {
    return Object.entries(values).reduce(
      (text, [key, value]) => text.replaceAll(`{${key}}`, String(value)),
      words[language][name] || name,
    );
  }

  // Puts the sentences of this language where a template names them.
  function translate(element) {
    for (const one of element.querySelectorAll('[data-say]')) one.textContent = say(one.dataset.say);
    for (const one of element.querySelectorAll('[data-label]')) {
      one.setAttribute('aria-label', say(one.dataset.label));
    }
  }

  // The address of something of ours, behind whatever proxy.
  function url(path) {
    const root = (window.gradio_config && window.gradio_config.root) || '/';
    return `${new URL(root, location.href).pathname.replace(/\/$/, '')}/${path}`;
  }

  const files = new Map(); // What this visitor chose, by picture.
  const addresses = new Map();

  // The address of a photo as it was chosen, if this page still has it.
  function original(id) {
    if (!addresses.has(id) && files.has(id)) addresses.set(id, URL.createObjectURL(files.get(id)));
    return addresses.get(id);
  }

  function forget(id) {
    if (addresses.has(id)) URL.revokeObjectURL(addresses.get(id));
    addresses.delete(id);
    files.delete(id);
  }

  return { language, say, translate, url, files, original, forget, step: () => {} };
})();
