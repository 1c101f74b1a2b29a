'use strict';
/* Parts of tables: heads that sort, numbers with their interval, controls as chips. */
(function (app) {
  const { el } = app;

  /* Return a head whose button sorts; `sort` is { key, isReversed, isNone } of the whole table. */
  app.sortHead = function (key, words, sort, onSort, attributes = {}) {
    const isSorted = sort.key === key;
    const way = isSorted ? (attributes.ascending ? !sort.isReversed : sort.isReversed) : null;
    const aria = isSorted ? (way ? 'ascending' : 'descending') : null;
    return el('th', { scope: 'col', class: `${attributes.class || ''}${isSorted ? ' sorted' : ''}`, 'aria-sort': aria },
      el('button', { type: 'button', class: 'sort', 'data-sort': key, 'data-tip': attributes.tip || null, onclick: () => onSort(key) }, words,
        el('span', { class: 'way', 'aria-hidden': 'true' }, isSorted ? (way ? ' ▲' : ' ▼') : '')));
  };

  /* Return a name with its owner set apart. */
  app.named = function (name) {
    const at = name.lastIndexOf('/') + 1;
    return at > 0 && at < name.length ? [el('span', { class: 'org' }, name.slice(0, at)), el('span', {}, name.slice(at))] : [name];
  };

  /* Return the ends of a column's scale, so that all its bars can be held against each other. */
  app.scaleOf = function (cells) {
    const ends = cells.filter(Boolean).flatMap((cell) => [cell[app.VALUE], cell[app.LOW], cell[app.HIGH]]).filter((value) => value !== null);
    if (!ends.length) return { low: 0, high: 1 };
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const pad = (high - low) * 0.04 || 0.5;
    return { low: low - pad, high: high + pad };
  };

  /* Return a number with its interval as a bar, and what it rests on where that is not everything. */
  app.numberCell = function (cell, column, scale, digits, isMuted) {
    if (!cell || cell[app.VALUE] === null) {
      const why = cell ? `No value: ${cell[app.FAILED]} stories failed, to ${cell[app.SKIPPED]} it does not apply.` : 'Not computed under this signature.';
      return el('td', { class: 'number none' }, el('span', { 'data-tip': why, tabindex: cell ? 0 : null }, '–'));
    }
    const [value, low, high, count, failed, skipped, rank, best, worst, coverage] = cell;
    const has = low !== null;
    const part = (at) => `${Math.max(0, Math.min(100, (100 * (at - scale.low)) / (scale.high - scale.low)))}%`;
    const beyond = value < scale.low ? 'below' : value > scale.high ? 'above' : null; // what is not ranked may lie beyond the scale
    const lines = [`${app.text(value, digits + 1)}${has ? `, interval ${app.text(low, digits + 1)} to ${app.text(high, digits + 1)}` : ', no interval'}`,
      `${app.count(count, 'story', 'stories')}${failed ? `, ${failed} failed` : ''}${skipped ? `, not applicable to ${skipped}` : ''}`];
    if (rank !== null) lines.push(`Rank ${rank}${best === null ? '' : `; by its interval ${best === worst ? best : `${best} to ${worst}`}`}`);
    const bar = has && el('span', { class: 'interval', 'aria-hidden': 'true' },
      beyond ? el('b', { class: beyond }) : [el('i', { style: { left: part(low), right: `calc(100% - ${part(high)})` } }), el('b', { style: { left: part(value) } })]);
    return el('td', { class: `number${isMuted ? ' muted' : ''}`, 'data-tip': lines.join('\n') }, el('span', { class: 'value' }, app.text(value, digits)),
      coverage < 0.9995 && count > 0 && el('span', { class: 'partly' }, ` ${Math.floor(100 * coverage)} %`), bar,
      has && el('span', { class: 'visually-hidden' }, `, interval ${app.text(low, digits)} to ${app.text(high, digits)}`));
  };

  app.gateTip = (gate) => `${gate.control}: ${gate.flagged} of ${app.count(gate.tested, 'story', 'stories')} beyond the limit (${gate.limit}).${gate.isExperimental ? ' Experimental: it gates nobody.' : ''}`;

  app.gateChips = (system) => system.gates.filter((gate) => gate.isGated && !gate.isExperimental)
    .map((gate) => app.chip(`fails ${gate.control}`, 'fails', app.gateTip(gate)));

  /* Return what says whether the judge of a system passed its own exam. */
  app.judgeChip = function (judge) {
    if (!judge) return null;
    const told = Object.entries(judge).map(([name, value]) => `${name.replaceAll('_', ' ')}: ${value}`).join('\n');
    const words = { true: 'judge trusted', false: 'judge not trusted' }[judge.is_trusted] || 'judge not examined';
    return app.chip(words, judge.is_trusted === true ? 'good' : judge.is_trusted === false ? 'fails' : 'doubtful', told || 'Nothing is said of the judge.');
  };

  /* Sort rows by a value that may be null; what is missing comes last whichever way. */
  app.sortRows = function (rows, valueOf, isDescending) {
    const sign = isDescending ? -1 : 1;
    return [...rows].sort((one, other) => {
      const [a, b] = [valueOf(one), valueOf(other)];
      if (a === null || a === undefined) return b === null || b === undefined ? 0 : 1;
      if (b === null || b === undefined) return -1;
      if (typeof a === 'string') return sign * a.localeCompare(b, 'en', { numeric: true });
      return sign * (a - b);
    });
  };
})(window.animeshooter);
