'use strict';
/* Which columns are shown, and the dialog in which one chooses them and reads what they mean. */
(function (app) {
  const { el } = app;

  const usual = (board) => board.columns.filter((column) => column.isHeadline || board.isReported).map((column) => column.key);

  /* Return the columns to show, in the order of the board. */
  app.shownColumns = function (board, state) {
    const wanted = new Set(state.cols ? state.cols.split('~') : usual(board));
    const sort = app.sortOf(board, state);
    return board.columns.filter((column) => wanted.has(column.key) || column.key === sort);
  };

  /* Return the key of the column by which a board is sorted; the system's name is "name". */
  app.sortOf = function (board, state) {
    const isThere = state.sort === 'name' || board.columns.some((column) => column.key === state.sort);
    return isThere ? state.sort : board.primary || 'name';
  };

  app.variantOf = (board, column) => board.variants.find((variant) => variant.key === column.variant);

  app.columnTip = function (board, column) {
    const variant = app.variantOf(board, column);
    return [`${variant.title}: ${column.title}`, column.meaning, app.DIRECTIONS[column.direction], ...variant.notes.map((note) => `Caution: ${note}`), `Signature: ${variant.signature}`].join('\n');
  };

  app.chooseColumns = function (board) {
    const dialog = document.getElementById('chooser');
    const close = el('button', { type: 'button', class: 'quiet', 'aria-label': 'Close', onclick: () => dialog.close() }, '✕');
    const boxes = new Map();
    const take = (keys) => {
      const isUsual = keys.join('~') === usual(board).join('~');
      boxes.forEach((box, key) => { box.checked = keys.includes(key); });
      app.replace({ ...app.state(), cols: isUsual ? '' : keys.join('~') || 'none' });
    };
    const read = () => take(board.columns.map((column) => column.key).filter((key) => boxes.get(key).checked));
    const shown = new Set(app.shownColumns(board, app.state()).map((column) => column.key));
    const row = (column) => {
      const box = el('input', { type: 'checkbox', checked: shown.has(column.key), onchange: read });
      boxes.set(column.key, box);
      return el('label', { class: 'choose' }, box, el('span', {}, el('b', {}, column.title, ' ', app.arrow(column.direction)), el('span', { class: 'soft' }, ` ${column.meaning} ${app.DIRECTIONS[column.direction]}`)));
    };
    const groups = board.variants.map((variant) => el('fieldset', {}, el('legend', {}, variant.title, variant.label && el('span', { class: 'soft' }, ` ${variant.label}`)),
      el('p', { class: 'signature' }, variant.signature), board.columns.filter((column) => column.variant === variant.key).map(row)));
    const button = (text, keys) => el('button', { type: 'button', class: 'quiet', onclick: () => take(keys()) }, text);
    app.fill(dialog, el('div', { class: 'help-head' }, el('h2', { id: 'chooser-title' }, 'Columns'), close),
      el('p', { class: 'soft' }, 'A number is compared only with numbers of the same signature: each signature has columns of its own.'),
      el('div', { class: 'choose-all' }, button('Headline', () => usual(board)), button('All', () => board.columns.map((column) => column.key))), groups);
    if (!dialog.open) dialog.showModal();
  };
})(window.animeshooter);
