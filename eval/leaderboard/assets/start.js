'use strict';
/* The beginning: what the address says is shown, and what is shown stands in the address. */
(function (app) {
  const DELAY_MS = 120;
  const scrolls = new Map(); // address -> where the reader was
  let address = null;

  /* Start with the page's first data. */
  app.begin = function (contents) {
    app.contents = contents;
    document.getElementById('bottom').append(app.el('span', {}, `Made by ${contents.tool}`),
      app.el('span', {}, 'Numbers of different signatures, benchmark revisions or tracks are never ranked together.'));
    app.listenToTips();
    listenToSearch();
    document.querySelectorAll('dialog').forEach((dialog) => dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); }));
    if ('scrollRestoration' in history) history.scrollRestoration = 'manual';
    addEventListener('hashchange', app.show);
    addEventListener('scroll', () => { if (address !== null) scrolls.set(address, scrollY); }, { passive: true });
    app.show();
  };

  app.show = async function () {
    const main = document.getElementById('main');
    const state = app.state();
    const to = state.view === 'board' ? `board ${state.board || ''}` : `${state.view} ${state.id}`;
    const isSame = to === address;
    address = null; // what scrolls while the page is made is not the reader
    const field = document.getElementById('find');
    if (document.activeElement !== field) field.value = state.q || '';
    main.setAttribute('aria-busy', 'true');
    try {
      if (state.view !== 'board') delete main.dataset.board;
      await { board: app.showBoard, system: app.showSystem, story: app.showStory }[state.view](main, state);
    } catch (error) {
      app.showNothing(main, `This cannot be shown. ${error.message}`);
    }
    main.removeAttribute('aria-busy');
    if (!isSame) scrollTo({ top: scrolls.get(to) || 0, behavior: 'instant' });
    address = to;
    document.body.dataset.shown = state.view;
  };

  app.showNothing = function (main, words) {
    main.replaceChildren(app.el('div', { class: 'nothing' }, app.el('h1', {}, words), app.el('p', {}, app.el('a', { href: '#/' }, 'To the board'))));
  };

  function listenToSearch() {
    const field = document.getElementById('find');
    let timer = 0;
    const search = () => {
      clearTimeout(timer);
      const state = app.state();
      const q = field.value.trim();
      if (state.view !== 'board') app.go({ board: state.board, q });
      else if ((state.q || '') !== q) app.replace({ ...state, q });
    };
    field.addEventListener('input', () => {
      clearTimeout(timer);
      if (app.state().view === 'board') timer = setTimeout(search, DELAY_MS); // elsewhere one may change one's mind until Enter
    });
    field.form.addEventListener('submit', (event) => { event.preventDefault(); search(); });
    document.addEventListener('keydown', (event) => {
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input, textarea, select')) return;
      event.preventDefault();
      field.focus();
      field.select();
    });
  }
})(window.animeshooter);
