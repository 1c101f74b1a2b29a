'use strict';
/* The keyboard, and the page that explains it. */
(function (app) {
  const { el } = app;
  const HELP = {
    'Everywhere': [['/', 'search'], ['?', 'this help'], ['Esc', 'close, or back to the list']],
    'A story': [['Space', 'play or pause'], ['← →', 'shot before, next shot'], ['k j', 'story before, next story'], ['m', 'masks'],
      ['c', 'captions: both, narrative, descriptive'], ['s', 'sound'], ['f', 'full screen']],
    'The list': [['j k', 'next story, story before'], ['Enter', 'open it'], ['← →', 'page before, next page']],
  };
  const SEARCH = [
    ['balloon beach', 'stories with both words, or words that begin so'], ['character:mia', 'a character of that name or look'], ['scene:"old barn"', 'a place'],
    ['caption:jumps', 'in what happens or is seen'], ['sound:bell', 'in what is heard'], ['storyline:lost', 'in the plot'], ['id:LvJRvwIDh0E', 'a video or a story'],
  ];

  function showHelp() {
    const dialog = document.getElementById('help');
    const table = (rows, tag) => el('dl', { class: 'keys' }, rows.map(([key, words]) => el('div', {}, el('dt', {}, tag ? el('code', {}, key) : key.split(' ').map((one) => el('kbd', {}, one))), el('dd', {}, words))));
    if (!dialog.childElementCount) {
      dialog.append(el('div', { class: 'help-head' }, el('h2', { id: 'help-title' }, 'Keys and search'),
        el('button', { type: 'button', class: 'quiet', 'aria-label': 'Close', onclick: () => dialog.close() }, '✕')),
      el('div', { class: 'help-columns' }, el('div', {}, Object.entries(HELP).map(([title, rows]) => [el('h3', {}, title), table(rows)])),
        el('div', {}, el('h3', {}, 'Search'), table(SEARCH, true))));
      dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
    }
    if (!dialog.open) dialog.showModal();
  }

  /* Show references and player with masks, without, or as cut-outs. */
  app.setView = function (view) {
    app.settings.view = view;
    app.onView(view);
    if (!app.page) return;
    app.page.player.setMasks(view !== 'frame');
    document.querySelectorAll('[data-key="m"]').forEach((button) => button.setAttribute('aria-pressed', String(view !== 'frame')));
  };

  function press(key) {
    const button = document.querySelector(`[data-key="${key}"]`);
    if (button) button.click();
    return Boolean(button);
  }

  function moveInList(by) {
    const cards = [...document.querySelectorAll('.card')];
    const at = cards.indexOf(document.activeElement);
    const to = at < 0 ? (by > 0 ? 0 : cards.length - 1) : at + by;
    if (cards[to]) cards[to].focus();
    return to >= 0 && to < cards.length;
  }

  function turnPage(rel) {
    const link = document.querySelector(`.pager a[rel="${rel}"]`);
    if (link) link.click();
    return Boolean(link);
  }

  const inStory = {
    ' ': () => { app.page.player.toggle(); return true; },
    ArrowLeft: () => { app.page.player.step(-1); return true; },
    ArrowRight: () => { app.page.player.step(1); return true; },
    j: () => { if (app.page.step) app.page.step(1); return true; },
    k: () => { if (app.page.step) app.page.step(-1); return true; },
    m: () => press('m'), s: () => press('s'), f: () => press('f'),
    c: () => { app.page.cycleCaptions(); return true; },
    Escape: () => { if (document.fullscreenElement) return false; app.go(app.found.address); return true; },
  };
  const isOnCard = () => document.activeElement && document.activeElement.classList.contains('card');
  const inList = {
    j: () => moveInList(1), k: () => moveInList(-1),
    ArrowDown: () => isOnCard() && moveInList(1), ArrowUp: () => isOnCard() && moveInList(-1),
    ArrowLeft: () => turnPage('prev'), ArrowRight: () => turnPage('next'),
  };
  const everywhere = {
    '/': () => { const field = document.getElementById('find'); field.focus(); field.select(); return true; },
    '?': () => { showHelp(); return true; },
  };

  function onKey(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.getElementById('help').open) return;
    const { target, key } = event;
    const isTyping = target.matches('input:not([type="checkbox"]), textarea, select, [contenteditable]');
    if (isTyping) {
      if (key === 'Escape') target.blur();
      return;
    }
    if (key === ' ' && target.matches('button, a, summary, input')) return;
    const run = everywhere[key] || (app.page ? inStory : inList)[key];
    if (run && run()) event.preventDefault();
  }

  /* After a click or a tap the space bar plays again; who came by the keyboard keeps the focus. */
  function onClick(event) {
    const button = event.detail > 0 && app.page && event.target.closest('.tile, .shot, .shot-row, .cover, .controls button');
    if (button) button.blur();
  }

  app.listenToKeys = function () {
    document.addEventListener('click', onClick);
    document.addEventListener('keydown', onKey);
    document.getElementById('open-help').addEventListener('click', showHelp);
  };
})(window.animeshooter);
