'use strict';
/* The page of a system: what it is, its controls, its numbers, how they go over the shots, by character, by story. */
(function (app) {
  const { el } = app;
  const CURVES_AT_FIRST = 4;
  const STORIES_AT_FIRST = 60; // rows; the rest comes when it is asked for

  app.showSystem = async function (main, state) {
    const board = app.boardOf(state);
    const at = board.systems.findIndex((system) => system.key === state.id);
    if (at < 0) { app.showNothing(main, `There is no system ${state.id} on this board.`); return; }
    const system = board.systems[at];
    document.title = `${system.name} · ${app.contents.title}`;
    const data = await app.load(board.systemFiles[at]);
    if (app.state().id !== state.id) return;
    main.replaceChildren(el('article', { class: 'system-page' },
      el('p', { class: 'crumbs' }, el('a', { href: app.on(board, {}) }, '← The board')),
      head(system), gates(system), headline(board, system), curves(data), byIp(board, data), stories(board, system, data, state), problems(board, data), runs(data)));
  };

  function head(system) {
    const link = app.webAddress(system.url);
    const facts = [['Revision', system.revision], ['Licence', system.licence], ['Sampled by', system.sampledBy], ['Evaluated by', system.evaluatedBy], ['Date', system.date]];
    return el('header', {}, el('h1', { dir: 'auto' }, system.name),
      el('p', { class: 'chips' }, app.chip(app.STATUS[system.status].one, system.status, app.STATUS[system.status].why), app.gateChips(system), app.judgeChip(system.judge)),
      system.notes && el('p', { class: 'lead', dir: 'auto' }, system.notes),
      el('dl', { class: 'facts' }, facts.filter(([, value]) => value).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', { dir: 'auto' }, value))),
        link && el('div', {}, el('dt', {}, 'Where'), el('dd', {}, el('a', { href: link, rel: 'noopener noreferrer' }, new URL(link).hostname)))));
  }

  const section = (title, ...children) => el('section', { class: 'panel' }, el('h2', {}, title), children);

  function gates(system) {
    if (!system.gates.length) return null;
    const verdict = (gate) => (!gate.tested ? 'not tested' : gate.isGated ? (gate.isExperimental ? 'would fail' : 'fails') : 'passes');
    return section('Controls', el('div', { class: 'scroller' }, el('table', { class: 'plain' },
      el('thead', {}, el('tr', {}, ['Control', 'Verdict', 'Stories beyond the limit', 'Limit'].map((name) => el('th', { scope: 'col' }, name)))),
      el('tbody', {}, system.gates.map((gate) => el('tr', {}, el('th', { scope: 'row' }, gate.control, gate.isExperimental && el('span', { class: 'soft' }, ' experimental')),
        el('td', {}, app.chip(verdict(gate), gate.isGated && !gate.isExperimental ? 'fails' : gate.isGated || !gate.tested ? 'doubtful' : 'good')),
        el('td', { class: 'number' }, `${gate.flagged} of ${gate.tested}`), el('td', { class: 'limit' }, gate.limit)))))));
  }

  function headline(board, system) {
    const shown = board.columns.map((column, at) => ({ column, cell: system.cells[at] })).filter(({ column, cell }) => cell && cell[app.VALUE] !== null && (column.isHeadline || board.isReported));
    return section('Numbers', el('div', { class: 'tiles-row' }, shown.map(({ column, cell }) => {
      const digits = app.digitsOf([cell[app.VALUE]], board.isReported);
      const range = cell[app.BEST] !== null && cell[app.BEST] !== cell[app.WORST] ? ` (${cell[app.BEST]}–${cell[app.WORST]})` : '';
      const below = [cell[app.LOW] !== null && `${app.text(cell[app.LOW], digits)} to ${app.text(cell[app.HIGH], digits)}`,
        cell[app.RANK] !== null && `rank ${cell[app.RANK]}${range}`, cell[app.FAILED] > 0 && `${cell[app.FAILED]} failed`].filter(Boolean);
      return el('div', { class: 'figure', 'data-tip': app.columnTip(board, column), tabindex: 0 }, el('span', { class: 'figure-name' }, app.variantOf(board, column).title, ': ', column.title, ' ', app.arrow(column.direction)),
        el('span', { class: 'figure-value' }, app.text(cell[app.VALUE], digits)), el('span', { class: 'soft' }, below.join(' · ')));
    })), el('details', {}, el('summary', {}, `All ${board.columns.filter((_, at) => system.cells[at]).length} numbers`), allNumbers(board, system)));
  }

  function allNumbers(board, system) {
    const rows = board.columns.map((column, at) => [column, system.cells[at]]).filter(([, cell]) => cell);
    return el('div', { class: 'scroller' }, el('table', { class: 'plain' }, el('thead', {}, el('tr', {}, ['Number', 'Value', 'Interval', 'Stories', 'Failed', 'Not applicable', 'Rank'].map((name) => el('th', { scope: 'col' }, name)))),
      el('tbody', {}, rows.map(([column, cell]) => el('tr', {}, el('th', { scope: 'row', 'data-tip': app.columnTip(board, column) }, `${app.variantOf(board, column).title}: ${column.title} ${app.arrow(column.direction)}`),
        [app.text(cell[app.VALUE], 4), cell[app.LOW] === null ? '–' : `${app.text(cell[app.LOW], 4)} to ${app.text(cell[app.HIGH], 4)}`, cell[app.COUNT], cell[app.FAILED], cell[app.SKIPPED], cell[app.RANK] ?? '–'].map((text) => el('td', { class: 'number' }, text)))))));
  }

  function curves(data) {
    const shown = data.shotColumns.filter((column) => data.curves[column.key]);
    if (!shown.length) return null;
    const draw = (columns) => el('div', { class: 'curves' }, columns.map((column) => app.curve(column.title === column.metric ? column.title : `${column.metric}: ${column.title}`, column.meaning, data.curves[column.key], data.field[column.key] || [])));
    const more = el('details', {}, el('summary', {}, `${app.count(shown.length - CURVES_AT_FIRST, 'more curve')}`));
    more.addEventListener('toggle', () => { if (more.childElementCount < 2) more.append(draw(shown.slice(CURVES_AT_FIRST))); });
    return section('Over the shots of a story', el('p', { class: 'soft' }, 'Mean at each position with its 95 % interval; the dashed line is the mean of all ranked systems.'),
      draw(shown.slice(0, CURVES_AT_FIRST)), shown.length > CURVES_AT_FIRST && more);
  }

  /* Return the places of headline numbers among those of single stories. */
  function shownPlaces(board, keys) {
    const columns = keys.map((key, at) => ({ at, column: board.columns.find((one) => one.key === key) })).filter(({ column }) => column);
    const some = columns.filter(({ column }) => column.isHeadline);
    return some.length ? some : columns.slice(0, 4);
  }

  const numberHeads = (board, places) => places.map(({ column }) => el('th', { scope: 'col', class: 'number', 'data-tip': app.columnTip(board, column) }, column.title, ' ', app.arrow(column.direction)));

  function byIp(board, data) {
    const places = shownPlaces(board, data.columns);
    if (data.ips.length < 2 || !places.length) return null;
    const digits = places.map(({ at }) => app.digitsOf(data.ips.map(([, , values]) => values[at]), false));
    return section('By character', el('div', { class: 'scroller' }, el('table', { class: 'plain' },
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Character'), el('th', { scope: 'col', class: 'number' }, 'Stories'), numberHeads(board, places))),
      el('tbody', {}, data.ips.map(([ip, count, values]) => el('tr', {}, el('th', { scope: 'row', dir: 'auto' }, ip), el('td', { class: 'number' }, count),
        places.map(({ at }, place) => shaded(values[at], data.ips.map(([, , all]) => all[at]), digits[place]))))))));
  }

  /* Return a number with a bar for where it lies among its like. */
  function shaded(value, all, digits) {
    if (value === null) return el('td', { class: 'number none' }, '–');
    const known = all.filter((one) => one !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const share = high === low ? 0 : (value - low) / (high - low);
    return el('td', { class: 'number shaded', style: { '--share': `${(4 + 96 * share).toFixed(1)}%` } }, app.text(value, digits));
  }

  function stories(board, system, data, state) {
    const places = shownPlaces(board, data.columns);
    if (!data.stories.length) return null;
    const digits = places.map(({ at }) => app.digitsOf(data.stories.map((row) => row[3][at]), false));
    const holder = el('div');
    const sort = { key: 'story', isReversed: false };
    let isAll = data.stories.length <= STORIES_AT_FIRST;
    const draw = () => {
      const place = places.find(({ column }) => column.key === sort.key);
      const valueOf = { story: (row) => row[0], ip: (row) => row[1], flags: (row) => row[2].length }[sort.key] || ((row) => row[3][place.at]);
      const isDown = sort.key === 'flags' || (place && place.column.direction !== 'lower') ? !sort.isReversed : sort.isReversed;
      const rows = app.sortRows(data.stories, valueOf, isDown);
      const focused = holder.contains(document.activeElement) && document.activeElement.dataset.sort;
      const left = holder.firstChild ? holder.firstChild.scrollLeft : 0;
      app.fill(holder, el('div', { class: 'scroller', tabindex: 0, role: 'region', 'aria-label': 'Stories; the table scrolls sideways' }, el('table', { class: 'plain stories-table' },
        el('thead', {}, el('tr', {}, app.sortHead('story', 'Story', sort, onSort, { ascending: true }), app.sortHead('ip', 'Character', sort, onSort, { ascending: true }), app.sortHead('flags', 'Flags', sort, onSort),
          places.map(({ column }) => app.sortHead(column.key, [column.title, ' ', app.arrow(column.direction)], sort, onSort, { class: 'number', tip: app.columnTip(board, column), ascending: column.direction === 'lower' })))),
        el('tbody', {}, rows.slice(0, isAll ? rows.length : STORIES_AT_FIRST).map((row) => storyRow(board, system, row, places, digits))))),
      !isAll && el('button', { type: 'button', class: 'quiet more', onclick: () => { isAll = true; draw(); } }, `Show all ${app.count(rows.length, 'story', 'stories')}`));
      holder.firstChild.scrollLeft = left;
      if (focused) holder.querySelector(`[data-sort="${CSS.escape(focused)}"]`).focus();
    };
    const onSort = (key) => {
      sort.isReversed = key === sort.key && !sort.isReversed;
      sort.key = key;
      draw();
    };
    draw();
    return section('Stories', holder);
  }

  function storyRow(board, system, [story, ip, flags, values, picture], places, digits) {
    const strip = picture && el('img', { src: picture[0], width: picture[1], height: picture[2], alt: '', loading: 'lazy', decoding: 'async' });
    return el('tr', {}, el('th', { scope: 'row' }, el('a', { href: app.on(board, { view: 'story', id: story, with: system.key }), class: 'story-link', dir: 'auto' }, strip, el('span', {}, story))),
      el('td', { dir: 'auto' }, ip), el('td', {}, flags.map((flag) => app.chip(flag, 'fails'))), places.map(({ at }, place) => el('td', { class: 'number' }, app.text(values[at], digits[place]))));
  }

  function problems(board, data) {
    if (!data.problems.length) return null;
    return section(`What could not be scored (${data.problems.length})`, el('ul', { class: 'problems' }, data.problems.slice(0, 200).map(([story, shot, why]) => el('li', {},
      el('a', { href: app.on(board, { view: 'story', id: story }), dir: 'auto' }, story), ` shot ${shot + 1}: `, el('span', { dir: 'auto' }, why)))));
  }

  function runs(data) {
    const list = (values) => Object.entries(values).map(([name, value]) => `${name} ${value}`).join(', ');
    return el('details', { class: 'panel signatures' }, el('summary', {}, 'How it was computed'), data.runs.map((run) => el('dl', {}, [
      ['Results file', `${run.file}, sha256 ${run.sha256 || 'unknown'}`], ...Object.entries(run.signatures), ['Versions', list(run.versions)], ['Settings', list(run.settings)],
    ].filter(([, text]) => text).map(([name, text]) => el('div', {}, el('dt', {}, name), el('dd', {}, el('code', {}, text)))))));
  }
})(window.animeshooter);
