// Pasted pictures go where dropped ones go.
() => {
  document.addEventListener('paste', (event) => {
    const files = [...((event.clipboardData && event.clipboardData.files) || [])].filter((file) =>
      file.type.startsWith('image/'),
    );
    const input = document.querySelector('#photos input[type=file]');
    if (!files.length || !input) return;
    event.preventDefault();
    const transfer = new DataTransfer();
    for (const file of files) transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
  });
  document.documentElement.lang = 'en';
};
