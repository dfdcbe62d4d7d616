// One click on an example restores it.
refocus.translate(element);
for (const image of element.querySelectorAll('img[data-src]')) {
  image.loading = 'lazy';
  image.src = refocus.url(image.dataset.src);
}
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-example]');
  if (button) trigger('chosen', { name: button.dataset.example });
});
