'use strict';
/* The board: who ranks where, by what, how surely, and who is not ranked and why. */
(function (app) {
  const { el } = app;
  const ORDER = ['ranked', 'gated', 'truth', 'adversarial', 'reported'];

  app.showBoard = function (main, state) {
    const board = app.boardOf(state);
    document.title = app.contents.title;
    if (main.dataset.board === board.key && main.querySelector('.board-main')) {
      update(main, board, state);
    } else {
      main.dataset.board = board.key;
      app.fill(main, head(board), toolbar(board, state), el('div', { class: 'board-main' }), legend(board), reported(board), signatures(board));
      fill(main, board, state);
    }
  };

  function update(main, board, state) {
    const focused = document.activeElement && document.activeElement.dataset.sort;
    const scroller = main.querySelector('.board-main .scroller');
    const left = scroller ? scroller.scrollLeft : 0;
    fill(main, board, state);
    main.querySelector('.board-main .scroller').scrollLeft = left;
    main.querySelectorAll('[data-filter]').forEach((field) => {
      const value = state[field.dataset.filter] || '';
      if (field.type === 'checkbox') field.checked = value === '1';
      else field.value = value;
    });
    if (focused) main.querySelector(`.board-main [data-sort="${CSS.escape(focused)}"]`)?.focus();
  }

  function fill(main, board, state) {
    const shown = select(board, state);
    main.querySelector('.board-main').replaceChildren(boardTable(board, state, shown));
    const words = `${app.count(shown.length, 'system')} of ${board.systems.length}`;
    main.querySelector('.found').textContent = shown.length < board.systems.length ? words : app.count(shown.length, 'system');
    app.announce(`${words}, sorted by ${titleOf(board, app.sortOf(board, state))}`);
  }

  const titleOf = (board, key) => (board.columns.find((column) => column.key === key) || { title: 'name' }).title;

  function head(board) {
    const { boards, title, subtitle } = app.contents;
    const tabs = boards.filter((one) => !one.isReported);
    const name = (one) => one.track || (one.benchmark ? 'All stories' : 'No benchmark named');
    const isTwice = (one) => tabs.filter((other) => name(other) === name(one)).length > 1;
    const facts = [board.benchmark || 'These stories belong to no named benchmark', board.revision && `revision ${board.revision.slice(0, 16)}`, board.ips && app.count(board.ips, 'character'), board.stories && app.count(board.stories, 'story', 'stories')];
    return el('div', { class: 'masthead' }, el('h1', { dir: 'auto' }, title), el('p', { class: 'lead', dir: 'auto' }, subtitle),
      tabs.length > 1 && el('nav', { class: 'tabs', 'aria-label': 'Tracks' }, tabs.map((one) => el('a', { href: app.on(one, {}), 'aria-current': one === board ? 'page' : null },
        name(one), isTwice(one) && el('span', { class: 'soft' }, ` ${one.revision.slice(0, 12)}`)))),
      el('p', { class: 'facts-line' }, facts.filter(Boolean).map((fact) => el('span', {}, fact))),
      cautions(board));
  }

  function cautions(board) {
    const notes = [...new Set(board.variants.flatMap((variant) => variant.notes))];
    const metrics = new Map();
    board.variants.forEach((variant) => metrics.set(variant.title, (metrics.get(variant.title) || 0) + 1));
    const mixed = [...metrics].filter(([, count]) => count > 1).map(([title]) => title);
    if (mixed.length && !board.isReported) notes.push(`${mixed.join(', ')}: the systems were scored under different signatures, so there is a column, and a ranking, for each of them.`);
    return notes.length ? el('ul', { class: 'cautions' }, notes.map((note) => el('li', {}, note))) : null;
  }

  function toolbar(board, state) {
    const set = (key) => (event) => app.go({ ...app.state(), [key]: event.target.type === 'checkbox' ? event.target.checked && '1' : event.target.value });
    const counts = ORDER.map((status) => [status, board.systems.filter((system) => system.status === status).length]).filter(([, count]) => count);
    return el('section', { class: 'toolbar', 'aria-label': 'What is shown' },
      el('span', { class: 'found' }),
      el('label', { class: 'pick' }, el('span', {}, 'Show'), el('select', { 'data-filter': 'kind', onchange: set('kind') }, el('option', { value: '' }, 'Everything'),
        counts.map(([status, count]) => el('option', { value: status, selected: state.kind === status }, `${app.STATUS[status].many} (${count})`)))),
      el('label', { class: 'check', 'data-tip': 'Put models, attacks and everything else into one order. Ranks stay with the models.' },
        el('input', { type: 'checkbox', checked: state.mix === '1', 'data-filter': 'mix', onchange: set('mix') }), 'One list by value'),
      el('button', { type: 'button', class: 'quiet', id: 'open-chooser', onclick: () => app.chooseColumns(board) }, 'Columns'));
  }

  function select(board, state) {
    const words = (state.q || '').toLowerCase().split(/\s+/).filter(Boolean);
    return board.systems.filter((system) => {
      if (state.kind && system.status !== state.kind) return false;
      const text = [system.name, system.revision, system.licence, system.sampledBy, system.evaluatedBy, system.notes, app.STATUS[system.status].one, ...system.failedControls].join(' ').toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  /* Return the table of these systems. */
  function boardTable(board, state, systems, go = (change) => app.go({ ...app.state(), ...change })) {
    const columns = app.shownColumns(board, state);
    const sort = { key: app.sortOf(board, state), isReversed: state.dir === 'r' };
    const onSort = (key) => {
      const isSame = key === sort.key;
      go({ sort: key === board.primary ? '' : key, dir: isSame && !sort.isReversed ? 'r' : '' });
    };
    const places = columns.map((column) => board.columns.indexOf(column));
    const inScale = board.systems.filter((system) => state.mix || board.isReported || system.status === 'ranked');
    const scales = places.map((place) => app.scaleOf((inScale.length ? inScale : board.systems).map((system) => system.cells[place])));
    const digits = places.map((place) => app.digitsOf(board.systems.map((system) => system.cells[place] && system.cells[place][app.VALUE]), board.isReported));
    const by = board.columns.findIndex((column) => column.key === sort.key);
    const width = columns.length + 4;
    const draw = (system, above) => systemRow(board, state, system, { columns, places, scales, digits, by, tie: tieOf(board, by, above, system) });
    const body = sections(board, state, systems, sort, by).map(({ status, rows }) => el('tbody', {},
      status && status !== 'ranked' && !board.isReported && el('tr', { class: 'section' }, el('th', { colspan: width, scope: 'rowgroup' }, el('span', {}, el('b', {}, app.STATUS[status].many), ' ', app.STATUS[status].why))),
      rows.map((system, at) => draw(system, rows[at - 1]))));
    const table = el('table', { class: 'board' }, el('caption', { class: 'visually-hidden' }, `Systems by ${titleOf(board, sort.key)}`),
      tableHead(board, columns, sort, onSort), body);
    if (!systems.length) return el('div', { class: 'scroller' }, table, el('p', { class: 'nothing-here' }, 'No system fits. Try fewer words, or show everything.'));
    return el('div', { class: 'scroller', tabindex: 0, role: 'region', 'aria-label': 'The board; it scrolls sideways' }, table);
  }

  function tableHead(board, columns, sort, onSort) {
    const groups = [];
    columns.forEach((column) => {
      const variant = app.variantOf(board, column);
      if (groups.length && groups[groups.length - 1].variant === variant) groups[groups.length - 1].count += 1;
      else groups.push({ variant, count: 1 });
    });
    const top = groups.map(({ variant, count }) => el('th', { colspan: count, scope: 'colgroup', class: 'group' }, el('span', {}, variant.title), variant.label && el('span', { class: 'variant' }, variant.label)));
    const lower = columns.map((column, at) => app.sortHead(column.key, [column.title, el('span', { class: 'soft' }, ` ${app.arrow(column.direction)}`)], sort, onSort,
      { class: `number${at === 0 || column.variant !== columns[at - 1].variant ? ' first' : ''}`, tip: app.columnTip(board, column), ascending: column.direction === 'lower' }));
    const rank = board.isReported ? null : el('th', { scope: 'col', class: 'rank', rowspan: 2, 'data-tip': 'Rank among the models, and below it the range of ranks that the intervals allow.' }, 'Rank');
    const name = app.sortHead('name', 'System', sort, onSort, { class: 'system', ascending: true });
    name.setAttribute('rowspan', 2);
    return el('thead', {}, el('tr', {}, rank, name, top, el('th', { class: 'group', colspan: 2 })),
      el('tr', {}, lower, el('th', { scope: 'col', class: 'coverage first' }, 'Stories'), el('th', { scope: 'col', class: 'who' }, 'Sampled / evaluated by')));
  }

  /* Return the rows in their order: section by section, or all in one. */
  function sections(board, state, systems, sort, by) {
    const column = board.columns[by];
    const value = sort.key === 'name' ? (system) => system.name : (system) => system.cells[by] && system.cells[by][app.VALUE];
    const isDescending = sort.key === 'name' ? sort.isReversed : (column.direction === 'lower') === sort.isReversed;
    const isRanked = (system) => system.cells[by] && system.cells[by][app.RANK] !== null;
    const order = (rows) => {
      const sorted = app.sortRows(rows, value, isDescending);
      if (sort.key === 'name' || state.mix) return sorted;
      return [...sorted.filter(isRanked), ...sorted.filter((system) => !isRanked(system))]; // a number on too few stories stands below
    };
    if (state.mix || board.isReported) return [{ status: null, rows: order(systems) }];
    return ORDER.map((status) => ({ status, rows: order(systems.filter((system) => system.status === status)) })).filter(({ rows }) => rows.length);
  }

  /* Return the comparison of two rows that follow each other in the ranking, whichever comes first; null if there is none. */
  function tieOf(board, by, above, system) {
    const column = board.columns[by];
    if (!column || !above) return null;
    const [one, other] = [board.systems.indexOf(above), board.systems.indexOf(system)];
    const [first, second] = column.ties[one] && column.ties[one][0] === other ? [one, other] : [other, one];
    const tie = column.ties[first];
    if (!tie || tie[0] !== second) return null;
    const [, difference, low, high, p, ips, stories, least, isDifferent] = tie;
    const names = `${board.systems[first].name} and ${board.systems[second].name}`;
    const found = low === null ? '' : ` [${app.text(low, 4)}, ${app.text(high, 4)}]`;
    const words = `${names} ${isDifferent ? 'can be told apart' : 'cannot be told apart'} in ${column.title}.\nDifference ${app.text(difference, 4)}${found}, p = ${p < 0.001 ? '< .001' : p.toFixed(3)} (Holm over the column)\n${app.count(ips, 'character')}, ${app.count(stories, 'story', 'stories')}; least difference that could be found: ${app.text(least, 4)}`;
    return { isDifferent, words };
  }

  function systemRow(board, state, system, { columns, places, scales, digits, by, tie }) {
    const cell = by < 0 ? null : system.cells[by];
    const isRanked = cell && cell[app.RANK] !== null;
    const isMuted = system.status !== 'ranked' && !board.isReported;
    const range = isRanked && cell[app.BEST] !== null && cell[app.BEST] !== cell[app.WORST] ? `${cell[app.BEST]}–${cell[app.WORST]}` : '';
    const isThin = cell && cell[app.VALUE] !== null && system.status === 'ranked' && by >= 0 && board.columns[by].direction !== 'none' && !isRanked;
    const rank = board.isReported ? null : el('td', { class: 'rank' }, isRanked ? el('span', { class: 'place' }, cell[app.RANK]) : el('span', { class: 'unranked', 'aria-label': 'not ranked' }, '·'),
      range && el('span', { class: 'range' }, range),
      tie && !tie.isDifferent && el('span', { class: 'tie', 'data-tip': tie.words, tabindex: 0 }, '≈', el('span', { class: 'visually-hidden' }, ' not distinguishable from the one above')),
      tie && tie.isDifferent && el('span', { class: 'apart', 'data-tip': tie.words }));
    const place = [system.missing ? `${system.stories}/${system.stories + system.missing}` : app.number(system.stories)];
    return el('tr', { class: `is-${system.status}` }, rank,
      el('th', { scope: 'row', class: 'system' },
        el('a', { href: app.on(board, { view: 'system', id: system.key }), dir: 'auto' }, app.named(system.name)), system.revision && el('span', { class: 'revision' }, ` ${system.revision.slice(0, 8)}`),
        el('span', { class: 'chips' }, system.status === 'truth' || system.status === 'adversarial' ? app.chip(app.STATUS[system.status].one, system.status) : null, app.gateChips(system),
          isThin && app.chip('too few stories', 'doubtful', `This number rests on ${Math.floor(100 * cell[app.COVERAGE])} % of the stories; it takes ${100 * board.smallestCoverage} % to be ranked.`),
          app.judgeChip(system.judge), !system.failedControls.length && system.licence && el('span', { class: 'licence', dir: 'auto' }, system.licence))),
      columns.map((column, at) => {
        const made = app.numberCell(system.cells[places[at]], column, scales[at], digits[at], isMuted);
        if (at === 0 || column.variant !== columns[at - 1].variant) made.classList.add('first');
        if (places[at] === by) made.classList.add('sorted');
        return made;
      }),
      el('td', { class: `coverage first${system.missing ? ' some' : ''}`, 'data-tip': system.missing ? `${system.missing} stories of the board are not in its results.` : null }, place),
      el('td', { class: 'who', dir: 'auto' }, el('span', {}, system.sampledBy || '–'), el('span', { class: 'soft' }, system.evaluatedBy || '–')));
  }

  function legend(board) {
    if (board.isReported) return null;
    const item = (mark, ...words) => el('li', {}, el('span', { class: 'mark' }, mark), el('span', {}, ...words));
    const bar = el('span', { class: 'interval sample' }, el('i', { style: { left: '20%', right: '25%' } }), el('b', { style: { left: '50%' } }));
    return el('section', { class: 'legend', 'aria-label': 'How to read the board' }, el('ul', {},
      item(bar, '95 % interval: characters are drawn again, then their stories.'),
      item(el('span', { class: 'range' }, '2–4'), 'Ranks that the intervals allow.'),
      item(el('span', { class: 'tie sample' }, '≈'), 'These two neighbours cannot be told apart (paired by story, signs flipped by character, Holm over the column). It says nothing of others.'),
      item(el('span', { class: 'apart sample' }), 'These two can be told apart, at 5 % over the whole column.'),
      item(el('span', { class: 'partly' }, '97 %'), 'Part of the stories that the number rests on, where something failed. A failure is never a zero.')));
  }

  /* Return what others report on numbers that look alike: apart, as they gave it, and never ranked. */
  function reported(board) {
    if (board.isReported) return null;
    const boards = app.contents.boards.filter((one) => one.isReported);
    if (!boards.length) return null;
    return el('section', { class: 'panel reported', id: 'reported' }, el('h2', {}, 'As reported, not re-run'),
      el('p', { class: 'soft' }, 'Other backbones, other stories or other prompts, and no intervals: nothing here can be compared with the board above.'),
      boards.map((one) => [el('h3', {}, one.benchmark, el('span', { class: 'soft' }, ` ${[one.revision, one.track].filter(Boolean).join(', ')}`)), ownTable(one)]));
  }

  /* Return a table that is sorted by itself, without a word in the address. */
  function ownTable(board) {
    const holder = el('div');
    const draw = (state) => {
      const hadFocus = holder.contains(document.activeElement) && document.activeElement.dataset.sort;
      const left = holder.firstChild ? holder.firstChild.scrollLeft : 0;
      app.fill(holder, boardTable(board, state, board.systems, draw));
      holder.firstChild.scrollLeft = left;
      if (hadFocus) holder.querySelector(`[data-sort="${CSS.escape(hadFocus)}"]`).focus();
    };
    draw({});
    return holder;
  }

  function signatures(board) {
    const rows = board.variants.map((variant) => el('div', {}, el('dt', {}, variant.title), el('dd', {}, el('code', {}, variant.signature), el('span', { class: 'soft' }, ` ${app.count(variant.systems, 'system')}`))));
    return el('details', { class: 'panel signatures' }, el('summary', {}, 'Signatures: exactly what was computed'), el('dl', {}, rows));
  }
})(window.animeshooter);
