'use strict';
/* The beginning: what the address says is shown, and what is shown stands in the address. */
(function (app) {
  const KEYS = ['q', 'split', 'character', 'scene', 'length', 'rating', 'sound', 'refs', 'sort', 'page'];
  const DELAY_MS = 180;
  const scrolls = new Map(); // address -> where the reader was
  let shown = null; // 'list' or 'story'
  let address = null;

  /* Return what the address says of the list; keys that nobody knows are left out. */
  app.state = function () {
    const words = new URLSearchParams(location.hash.split('?').slice(1).join('?'));
    return Object.fromEntries(KEYS.map((key) => [key, words.get(key)]).filter(([key, value]) => value && !(key === 'page' && value === '1')));
  };

  app.listAddress = function (state) {
    const words = new URLSearchParams(KEYS.filter((key) => state[key] && !(key === 'page' && String(state[key]) === '1')).map((key) => [key, state[key]]));
    return words.size || String(words) ? `#/?${words}` : '#/';
  };

  app.storyAddress = (id, shot) => `#/story/${encodeURIComponent(id)}${shot ? `?shot=${shot + 1}` : ''}`;

  app.go = (to) => { location.hash = to; };

  app.smooth = () => (matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth');

  /* Start with the page's first data. */
  app.begin = function (contents) {
    app.contents = contents;
    footer(contents);
    listenToSearch();
    app.listenToKeys();
    if ('scrollRestoration' in history) history.scrollRestoration = 'manual';
    addEventListener('hashchange', () => route());
    addEventListener('scroll', () => { if (address !== null) scrolls.set(address, scrollY); }, { passive: true });
    route();
  };

  async function route() {
    const main = document.getElementById('main');
    const story = /^#\/story\/([^?]+)(?:\?(.*))?$/.exec(location.hash);
    const to = story ? `story ${story[1]}` : location.hash;
    const isSame = to === address;
    address = null; // what scrolls while the page is made is not the reader
    if (story) {
      const shot = parseInt(new URLSearchParams(story[2] || '').get('shot'), 10);
      shown = 'story';
      await app.showStory(main, decode(story[1]), Number.isFinite(shot) ? Math.max(0, shot - 1) : null);
    } else {
      const state = app.state();
      app.leaveStory();
      document.title = app.contents.title;
      const field = document.getElementById('find');
      if (document.activeElement !== field) field.value = state.q || '';
      const isList = shown === 'list';
      shown = 'list';
      await (isList ? app.updateList(main, state) : app.showList(main, state));
    }
    if (!isSame) scrollTo({ top: scrolls.get(to) || 0, behavior: 'instant' });
    address = to;
    document.body.dataset.shown = shown;
  }

  function decode(text) {
    try { return decodeURIComponent(text); } catch { return text; }
  }

  function listenToSearch() {
    const field = document.getElementById('find');
    let timer = 0;
    const search = (isNew) => {
      clearTimeout(timer);
      const to = app.listAddress({ ...(shown === 'list' ? app.state() : {}), q: field.value.trim(), page: '' });
      if (to === (location.hash || '#/')) return;
      if (isNew || shown !== 'list') app.go(to);
      else { history.replaceState(null, '', to); route(); }
    };
    field.addEventListener('input', () => {
      if (shown !== 'list') return; // on a story's page one may change one's mind until Enter
      clearTimeout(timer);
      timer = setTimeout(search, DELAY_MS);
    });
    field.form.addEventListener('submit', (event) => { event.preventDefault(); search(true); });
  }

  function footer(contents) {
    const { totals } = contents;
    const source = contents.source && app.el('a', { href: `https://huggingface.co/datasets/${contents.source}`, rel: 'noopener noreferrer' }, contents.source);
    document.getElementById('bottom').append(
      app.el('span', {}, `${app.count(totals.videos, 'video')}, ${app.count(totals.stories, 'story', 'stories')}, ${app.count(totals.shots, 'shot')}`),
      source ? app.el('span', {}, 'Dataset: ', source) : '', contents.licence ? app.el('span', {}, `Licence: ${contents.licence}`) : '',
      app.el('span', {}, `Made by ${contents.tool}`));
  }
})(window.animeshooter);
