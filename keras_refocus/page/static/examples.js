// One click on an example restores it.
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-example]');
  if (button) trigger('chosen', { name: button.dataset.example });
});
