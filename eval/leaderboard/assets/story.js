'use strict';
/* The page of a story: what it asks for, and what each system made of it, side by side. */
(function (app) {
  const { el } = app;
  const AT_FIRST = 3;

  app.showStory = async function (main, state) {
    const board = app.boardOf(state);
    const list = await app.load(board.storyList);
    const at = list.findIndex(([story]) => story === state.id);
    if (at < 0) { app.showNothing(main, `There is no story ${state.id} on this board.`); return; }
    document.title = `${state.id} · ${app.contents.title}`;
    const data = await app.load(list[at][2]);
    const now = app.state();
    if (now.view !== 'story' || now.id !== state.id) return;
    const chosen = choose(board, data, now);
    main.replaceChildren(el('article', { class: 'story-page' },
      crumbs(board, list, at, now), el('header', {}, el('h1', { dir: 'auto' }, data.id), el('p', { class: 'soft', dir: 'auto' }, [data.ip, data.track, app.count(data.systems.length, 'system')].filter(Boolean).join(' · '))),
      captions(data), picker(board, data, chosen, now),
      el('div', { class: 'side-by-side' }, chosen.map((one) => card(board, data, one)))));
  };

  /* Return the systems to show: those of the address, else the best of the board's first column. */
  function choose(board, data, state) {
    const order = board.columns.findIndex((column) => column.key === board.primary);
    const rank = ({ system }) => { const cell = board.systems[system].cells[order]; return cell && cell[app.RANK] !== null ? cell[app.RANK] : 1e9; };
    const sorted = [...data.systems].sort((one, other) => rank(one) - rank(other));
    if (state.with === 'none') return [];
    const wanted = (state.with || '').split('~').filter(Boolean);
    const named = wanted.map((key) => sorted.find(({ system }) => board.systems[system].key === key)).filter(Boolean);
    return named.length ? named : sorted.slice(0, AT_FIRST);
  }

  function crumbs(board, list, at, state) {
    const step = (to, words, rel) => (list[to]
      ? el('a', { class: 'page-step', rel, href: app.on(board, { view: 'story', id: list[to][0], with: state.with }) }, words)
      : el('span', { class: 'page-step', 'aria-disabled': 'true' }, words));
    return el('nav', { class: 'crumbs', 'aria-label': 'Stories' }, el('a', { href: app.on(board, {}) }, '← The board'),
      el('span', { class: 'neighbours' }, step(at - 1, '← Previous', 'prev'), el('span', { class: 'soft' }, `${at + 1} of ${list.length}`), step(at + 1, 'Next →', 'next')));
  }

  const captions = (data) => (data.captions.length ? el('section', { class: 'panel' }, el('h2', {}, 'What is asked for'), captionList(data.captions)) : null);
  const captionList = (texts) => el('ol', { class: 'captions' }, texts.map((text) => el('li', { dir: 'auto' }, text || el('span', { class: 'soft' }, 'No caption'))));

  function picker(board, data, chosen, state) {
    const keys = chosen.map(({ system }) => board.systems[system].key);
    const toggle = (key) => app.go({ ...state, with: (keys.includes(key) ? keys.filter((one) => one !== key) : [...keys, key]).join('~') || 'none' });
    return el('section', { class: 'panel' }, el('h2', {}, 'Side by side'), el('div', { class: 'picker', role: 'group', 'aria-label': 'Systems to show' }, data.systems.map(({ system, flags }) => {
      const one = board.systems[system];
      return el('button', { type: 'button', class: 'switch', 'aria-pressed': String(keys.includes(one.key)), onclick: () => toggle(one.key), dir: 'auto' }, one.name, one.revision && el('span', { class: 'soft' }, ` ${one.revision.slice(0, 8)}`), flags.length ? el('span', { class: 'flag-mark' }, ' ⚑') : null);
    })));
  }

  function card(board, data, found) {
    const system = board.systems[found.system];
    const places = found.columns.map((key, at) => ({ at, column: board.columns.find((one) => one.key === key) })).filter(({ column }) => column && column.isHeadline);
    const [path, width, height] = found.picture || [];
    const strip = path
      ? el('a', { href: path, class: 'strip-link', target: '_blank', rel: 'noopener' }, el('img', { src: path, width, height, loading: 'lazy', decoding: 'async', alt: `Frames of ${system.name}: a row for each shot, the reference in front` }))
      : el('p', { class: 'no-frames soft' }, 'No frames in its results.');
    return el('section', { class: `panel-card is-${system.status}`, 'aria-label': system.name },
      el('h3', { dir: 'auto' }, el('a', { href: app.on(board, { view: 'system', id: system.key }) }, system.name)),
      el('p', { class: 'chips' }, system.status !== 'ranked' && app.chip(app.STATUS[system.status].one, system.status), found.flags.map((flag) => app.chip(flag, 'fails', 'This story is beyond the limit of this control.'))),
      strip, found.captions && el('details', {}, el('summary', {}, 'It was given other captions'), captionList(found.captions)),
      el('dl', { class: 'card-numbers' }, places.map(({ at, column }) => el('div', { 'data-tip': app.columnTip(board, column) }, el('dt', {}, column.title), el('dd', {}, app.text(found.values[at], app.digitsOf([found.values[at]], false)))))),
      shotTable(data, found));
  }

  function shotTable(data, found) {
    if (!found.shots.length || !found.shotColumns.length) return null;
    const columns = found.shotColumns.map((key) => data.shotColumns.find((column) => column.key === key));
    return el('details', { class: 'shots', open: columns.length <= 3 }, el('summary', {}, 'Shot by shot'), el('div', { class: 'scroller' }, el('table', { class: 'plain' },
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Shot'), columns.map((column) => el('th', { scope: 'col', class: 'number', 'data-tip': `${column.metric}\n${column.meaning}` }, column.title)))),
      el('tbody', {}, found.shots.map(([shot, values, problem]) => el('tr', {}, el('th', { scope: 'row' }, shot + 1),
        values.map((value) => el('td', { class: 'number', 'data-tip': value === null && problem ? problem : null }, app.text(value, app.digitsOf([value], false)))))))),
    found.shots.some(([, , problem]) => problem) && el('ul', { class: 'problems' }, found.shots.filter(([, , problem]) => problem).map(([shot, , problem]) => el('li', { dir: 'auto' }, `Shot ${shot + 1}: ${problem}`)))));
  }
})(window.animeshooter);
