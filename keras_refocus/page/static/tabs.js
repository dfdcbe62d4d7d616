// Photos or video: two panels of one page, of which one is seen.
refocus.translate(element);
const tabs = [...element.querySelectorAll('[role=tab]')];
const panels = { photos: 'work', video: 'clips' };

refocus.tab = (name) => {
  document.documentElement.dataset.tab = name;
  for (const tab of tabs) {
    tab.setAttribute('aria-selected', String(tab.dataset.tab === name));
    tab.tabIndex = tab.dataset.tab === name ? 0 : -1;
  }
};

element.addEventListener('click', (event) => {
  const tab = event.target.closest('[role=tab]');
  if (tab) refocus.tab(tab.dataset.tab);
});
element.addEventListener('keydown', (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1, Home: -tabs.length, End: tabs.length }[event.key];
  if (!by) return;
  event.preventDefault();
  const place = tabs.indexOf(document.activeElement) + by;
  const wrapped = Math.abs(by) === 1 ? (place + tabs.length) % tabs.length : by < 0 ? 0 : tabs.length - 1;
  tabs[wrapped].focus();
  refocus.tab(tabs[wrapped].dataset.tab);
});

// The panels come after the tabs.
function name() {
  let missing = false;
  for (const [tab, id] of Object.entries(panels)) {
    const panel = document.getElementById(id);
    if (!panel) {
      missing = true;
      continue;
    }
    panel.setAttribute('role', 'tabpanel');
    panel.setAttribute('aria-labelledby', `rf-tab-${tab}`);
  }
  if (missing) setTimeout(name, 50);
}
name();
refocus.tab(location.hash === '#video' ? 'video' : 'photos');
