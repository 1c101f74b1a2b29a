'use strict';
/* Addresses, numbers as texts, and the small notes that explain what one points at. */
(function (app) {
  const KEYS = ['board', 'sort', 'dir', 'q', 'kind', 'cols', 'mix', 'with'];

  /* Return what the address says: { view, id, ...keys }. Keys that nobody knows are left out. */
  app.state = function () {
    const [, view, id, query] = /^#\/(?:(system|story)\/([^?]+))?(?:\?(.*))?$/.exec(location.hash) || [];
    const words = new URLSearchParams(query || '');
    const known = KEYS.map((key) => [key, words.get(key)]).filter(([, value]) => value);
    return { view: view || 'board', id: id ? decode(id) : '', ...Object.fromEntries(known) };
  };

  function decode(text) {
    try { return decodeURIComponent(text); } catch { return text; }
  }

  /* Return the address of a state; what is usual is left out. */
  app.address = function ({ view, id, ...rest }) {
    const words = new URLSearchParams(KEYS.filter((key) => rest[key]).map((key) => [key, rest[key]]));
    const path = view && view !== 'board' ? `#/${view}/${encodeURIComponent(id)}` : '#/';
    return String(words) ? `${path}?${words}` : path;
  };

  /* Put other children into an element, as `app.el` takes them: lists are opened, what is nothing is left out. */
  app.fill = function (element, ...children) {
    element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  };

  app.go = (state) => { location.hash = app.address(state); };

  /* Show another state without a step in the history. */
  app.replace = function (state) {
    history.replaceState(null, '', app.address(state));
    app.show();
  };

  app.boardOf = function (state) {
    const { boards } = app.contents;
    return boards.find((board) => board.key === state.board) || boards.find((board) => !board.isReported) || boards[0];
  };

  /* Return a link to a state on a board; the first board needs no name. */
  app.on = (board, state) => app.address({ ...state, board: board === app.boardOf({}) ? '' : board.key });

  /* The cells of the first data. */
  app.VALUE = 0; app.LOW = 1; app.HIGH = 2; app.COUNT = 3; app.FAILED = 4; app.SKIPPED = 5; app.RANK = 6; app.BEST = 7; app.WORST = 8; app.COVERAGE = 9;

  app.STATUS = {
    ranked: { one: 'model', many: 'Models' },
    gated: { one: 'gated', many: 'Gated', why: 'These fail a control, so their numbers are shown but not ranked.' },
    truth: { one: 'truth', many: 'Truth', why: 'Films whose truth is known: what a perfect system would get.' },
    adversarial: { one: 'attack', many: 'Attacks', why: 'Tricks that raise naive numbers, kept on the board so that everyone sees what the controls catch.' },
    reported: { one: 'reported', many: 'Reported', why: 'Reported by others, not run again.' },
  };

  app.digitsOf = function (values, isReported) {
    const largest = Math.max(0, ...values.filter((value) => value !== null).map(Math.abs));
    if (isReported) return largest <= 1.5 ? 4 : 2;
    return largest <= 1.5 ? 3 : largest <= 20 ? 2 : 1;
  };

  app.text = (value, digits = 3) => (value === null || value === undefined ? '–' : value.toFixed(digits).replace(/^-/, '−'));
  app.arrow = (direction) => ({ higher: '↑', lower: '↓' }[direction] || '');
  app.DIRECTIONS = { higher: 'Higher is better.', lower: 'Lower is better.', none: 'It only describes; neither way is better.' };

  app.chip = (text, kind, tip) => app.el('span', { class: `chip ${kind}`, 'data-tip': tip || null, tabindex: tip ? 0 : null }, text);

  app.webAddress = function (text) {
    let address;
    try { address = new URL(text); } catch { return null; }
    return address.protocol === 'https:' || address.protocol === 'http:' ? address.href : null;
  };

  /* One note for the whole page: it stands beside what is pointed at or has the focus, whatever clips that. */
  app.listenToTips = function () {
    const tip = document.getElementById('tip');
    const hide = () => { tip.hidden = true; };
    const show = (event) => {
      const target = event.target.closest && event.target.closest('[data-tip]');
      if (!target) { hide(); return; }
      tip.textContent = target.dataset.tip;
      tip.hidden = false;
      const box = target.getBoundingClientRect();
      const { offsetWidth: width, offsetHeight: height } = tip;
      const isBelow = box.bottom + height + 12 < innerHeight;
      tip.style.setProperty('left', `${Math.max(8, Math.min(innerWidth - width - 8, box.left + box.width / 2 - width / 2))}px`);
      tip.style.setProperty('top', `${isBelow ? box.bottom + 7 : Math.max(8, box.top - height - 7)}px`);
    };
    document.addEventListener('pointerover', show);
    document.addEventListener('focusin', show);
    document.addEventListener('focusout', hide);
    document.addEventListener('scroll', hide, { passive: true, capture: true });
    document.addEventListener('keydown', (event) => { if (event.key === 'Escape') hide(); });
  };
})(window.animeshooter);
