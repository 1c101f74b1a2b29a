'use strict';
/* Numbers over the shots of a story as small pictures: a line with its interval, and the mean of all ranked systems behind it. */
(function (app) {
  const { el, svg } = app;
  const WIDTH = 300; const HEIGHT = 170; const LEFT = 42; const RIGHT = 12; const TOP = 12; const BOTTOM = 28;

  /* Return a figure; points are [shot, value, low, high, stories], the field's [shot, value]. */
  app.curve = function (title, meaning, points, field) {
    const ends = [...points.flatMap(([, value, low, high]) => [value, low, high]), ...field.map(([, value]) => value)].filter((value) => value !== null);
    const [low, high] = padded(Math.min(...ends), Math.max(...ends));
    const last = Math.max(1, ...points.map(([shot]) => shot));
    const x = (shot) => LEFT + ((WIDTH - LEFT - RIGHT) * shot) / last;
    const y = (value) => TOP + ((HEIGHT - TOP - BOTTOM) * (high - value)) / (high - low);
    const digits = app.digitsOf(ends, false);
    const words = points.map(([shot, value, from, to, stories]) => `shot ${shot + 1}: ${app.text(value, digits)}${from === null ? '' : ` (${app.text(from, digits)} to ${app.text(to, digits)})`}, ${app.count(stories, 'story', 'stories')}`);
    const picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'curve', role: 'img', 'aria-label': `${title}; ${words.join('; ')}` },
      ...grid(low, high, y, digits), ...shotLabels(points, x), area(points, x, y), line(field, x, y, 'field'), line(points, x, y, 'own'), ...points.map((point, at) => dot(point, x, y, words[at])));
    return el('figure', { class: 'curve-figure' }, el('figcaption', {}, el('b', { 'data-tip': meaning, tabindex: 0 }, title)), picture);
  };

  function padded(low, high) {
    const pad = (high - low) * 0.12 || Math.max(0.01, Math.abs(high) * 0.05);
    return [low - pad, high + pad];
  }

  function grid(low, high, y, digits) {
    return ticks(low, high).flatMap((value) => {
      const label = svg('text', { x: LEFT - 6, y: y(value) + 3.5, 'text-anchor': 'end' });
      label.textContent = app.text(value, Math.min(digits, 3));
      return [svg('line', { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: 'grid' }), label];
    });
  }

  /* Return three to five round values between two ends. */
  function ticks(low, high) {
    const rough = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * ([1, 2, 5, 10].find((one) => one * power >= rough) || 10);
    const found = [];
    for (let at = Math.ceil(low / step); at * step <= high; at += 1) found.push(at * step);
    return found;
  }

  function shotLabels(points, x) {
    const every = Math.ceil(points.length / 8);
    return points.filter((_, at) => at % every === 0).map(([shot]) => {
      const label = svg('text', { x: x(shot), y: HEIGHT - 9, 'text-anchor': 'middle' });
      label.textContent = `${points.length <= 6 ? 'shot ' : ''}${shot + 1}`;
      return label;
    });
  }

  function area(points, x, y) {
    const known = points.filter(([, , low]) => low !== null);
    const there = known.map(([shot, , , high]) => `${x(shot)},${y(high)}`);
    const back = known.map(([shot, , low]) => `${x(shot)},${y(low)}`).reverse();
    return svg('polygon', { points: [...there, ...back].join(' '), class: 'band' });
  }

  const line = (points, x, y, name) => svg('polyline', { points: points.map(([shot, value]) => `${x(shot)},${y(value)}`).join(' '), class: name });

  function dot([shot, value], x, y, words) {
    const made = svg('circle', { cx: x(shot), cy: y(value), r: 3.4, class: 'dot-own' });
    made.dataset.tip = words;
    return made;
  }
})(window.animeshooter);
