'use strict';
/* The list of stories: filters, cards, pages. What it shows stands in the address, so that every view is a link. */
(function (app) {
  const PER_PAGE = 24;
  const { el } = app;
  let turn = 0; // only the newest view may show its results

  /* What was found last: the way from story to story follows it. */
  app.found = { address: '#/', numbers: null };

  app.showList = function (main, state) {
    const results = el('div', { class: 'results' });
    main.replaceChildren(filters(state), results);
    return showResults(results, state);
  };

  /* Show another state without making the filters anew, so that who types keeps the cursor. */
  app.updateList = function (main, state) {
    main.querySelectorAll('[data-filter]').forEach((field) => {
      const value = state[field.dataset.filter] || '';
      if (field.type === 'checkbox') field.checked = value === '1';
      else field.value = value;
    });
    main.querySelector('.filters-toggle').textContent = toggleWords(state);
    return showResults(main.querySelector('.results'), state);
  };

  async function showResults(results, state) {
    turn += 1;
    const mine = turn;
    results.setAttribute('aria-busy', 'true');
    try {
      const numbers = await app.select(state);
      const total = numbers ? numbers.length : app.contents.totals.stories;
      const pages = Math.max(1, Math.ceil(total / PER_PAGE));
      const page = Math.min(Math.max(1, parseInt(state.page, 10) || 1), pages);
      const shown = [];
      for (let at = (page - 1) * PER_PAGE; at < Math.min(page * PER_PAGE, total); at += 1) shown.push(numbers ? numbers[at] : at);
      const cards = await app.loadCards(shown);
      if (mine !== turn) return;
      app.found = { address: app.listAddress(state), numbers };
      const list = el('ul', { class: 'cards', 'aria-label': 'Stories' }, cards.map(card));
      results.replaceChildren(head(state, total), total ? list : nothing(state), pager(state, page, pages));
      app.announce(`${app.count(total, 'story', 'stories')} found, page ${page} of ${pages}`);
    } catch (error) {
      if (mine !== turn) return;
      results.replaceChildren(el('p', { class: 'notice', role: 'alert' }, `The list cannot be shown. ${error.message}`));
    }
    results.removeAttribute('aria-busy');
  }

  function head(state, total) {
    const { totals } = app.contents;
    const isPart = Object.keys(state).some((key) => key !== 'page' && key !== 'sort');
    const words = isPart
      ? `${app.number(total)} of ${app.count(totals.stories, 'story', 'stories')}`
      : `${app.count(totals.stories, 'story', 'stories')} · ${app.count(totals.shots, 'shot')} · ${app.span(totals.seconds)}`;
    return el('div', { class: 'results-head' }, el('h1', { class: 'count' }, words),
      isPart && el('a', { class: 'clear', href: '#/' }, 'Clear all'));
  }

  const nothing = (state) => el('div', { class: 'nothing' }, el('p', {}, 'No story fits.'),
    el('p', { class: 'soft' }, state.q
      ? 'Words are found by their beginning, in any order. Try fewer words, or clear the filters.'
      : 'Try fewer filters.'));

  function card(story) {
    const picture = story.thumb
      ? el('img', { src: story.thumb, alt: '', loading: 'lazy', decoding: 'async' })
      : el('span', { class: 'no-picture', 'aria-hidden': 'true' }, initials(story));
    const facts = [app.count(story.shots, 'shot'), story.references && app.count(story.references, 'reference'), story.sound && 'sound'];
    return el('li', {}, el('a', { class: 'card', href: app.storyAddress(story.id) },
      el('span', { class: story.thumb ? 'thumb' : 'thumb plain' }, picture, story.seconds > 0 && el('span', { class: 'length' }, app.time(story.seconds)),
        el('span', { class: 'strip', style: { background: stripes(story.strip) }, 'aria-hidden': 'true' })),
      el('span', { class: 'id' }, story.id),
      el('span', { class: 'card-text', dir: 'auto' }, story.text || 'No storyline'),
      el('span', { class: 'card-names', dir: 'auto' }, story.characters.join(', ')),
      el('span', { class: 'card-meta' }, facts.filter(Boolean).join(' · '))));
  }

  const initials = (story) => (story.characters[0] || story.text || story.id).slice(0, 1).toUpperCase();

  /* Return the shots as stripes in the colours of their scenes, as long as they last. */
  function stripes(strip) {
    const total = strip.reduce((sum, [, length]) => sum + length, 0) || 1;
    let at = 0;
    const stops = strip.map(([scene, length], number) => {
      const [from, to] = [at, at + (100 * length) / total];
      at = to;
      const gap = number + 1 < strip.length ? Math.min(0.6, (to - from) / 3) : 0;
      return `${app.sceneColour(scene)} ${from.toFixed(2)}% ${(to - gap).toFixed(2)}%, transparent ${(to - gap).toFixed(2)}% ${to.toFixed(2)}%`;
    });
    return `linear-gradient(to right, ${stops.join(', ') || 'transparent, transparent'})`;
  }

  function pager(state, page, pages) {
    if (pages < 2) return el('div');
    const to = (number, text, rel) => (number < 1 || number > pages
      ? el('span', { class: 'page-step', 'aria-disabled': 'true' }, text)
      : el('a', { class: 'page-step', href: app.listAddress({ ...state, page: number }), rel }, text));
    const jump = el('input', { type: 'number', min: 1, max: pages, value: page, 'aria-label': `Page, of ${pages}`, onchange: () => {
      app.go(app.listAddress({ ...state, page: Math.min(Math.max(1, parseInt(jump.value, 10) || 1), pages) }));
    } });
    return el('nav', { class: 'pager', 'aria-label': 'Pages' }, to(page - 1, '← Previous', 'prev'),
      el('span', { class: 'page-jump' }, 'Page ', jump, ` of ${app.number(pages)}`), to(page + 1, 'Next →', 'next'));
  }

  function filters(state) {
    const set = (key) => (event) => {
      const { target } = event;
      app.go(app.listAddress({ ...app.state(), [key]: target.type === 'checkbox' ? target.checked && '1' : target.value.trim(), page: '' }));
    };
    const select = (key, label, options) => el('label', { class: 'field' }, el('span', {}, label),
      el('select', { onchange: set(key), 'data-filter': key }, Object.entries(options).map(
        ([value, text]) => el('option', { value, selected: (state[key] || '') === value }, text))));
    const check = (key, label) => el('label', { class: 'check' },
      el('input', { type: 'checkbox', checked: state[key] === '1', onchange: set(key), 'data-filter': key }), label);
    const { splits, ratings } = app.contents;
    const counted = (counts, first) => ({ '': first, ...Object.fromEntries(
      Object.entries(counts).map(([name, count]) => [name || 'unrated', `${name || 'unrated'} (${app.number(count)})`])) });
    const toggle = el('button', { type: 'button', class: 'quiet filters-toggle', 'aria-expanded': 'false', onclick: () => {
      toggle.setAttribute('aria-expanded', String(bar.classList.toggle('open')));
    } }, toggleWords(state));
    const bar = el('section', { class: 'filters', 'aria-label': 'Filters' }, toggle, el('div', { class: 'filters-row' },
      Object.keys(splits).length > 1 && select('split', 'Split', counted(splits, 'All')),
      named('character', 'Character', state, set), named('scene', 'Scene', state, set),
      select('length', 'Length', app.LENGTHS),
      (Object.keys(ratings).length > 1) && select('rating', 'Rating', counted(ratings, 'Any')),
      select('sort', 'Order', app.ORDERS), el('span', { class: 'checks' }, check('sound', 'With sound'), check('refs', 'With references'))));
    return bar;
  }

  function toggleWords(state) {
    const some = Object.keys(state).filter((key) => !['q', 'page'].includes(key)).length;
    return some ? `Filters (${some})` : 'Filters';
  }

  /* A field with names to choose from; they are loaded when somebody goes there. */
  function named(key, label, state, set) {
    const list = el('datalist', { id: `names-${key}` });
    const fill = async () => {
      if (!list.childElementCount) list.replaceChildren(...(await app.loadNames())[key].map((name) => el('option', { value: name })));
    };
    return el('label', { class: 'field' }, el('span', {}, label), el('input', {
      type: 'text', list: list.id, placeholder: 'Any', value: state[key] || '', onfocus: fill, onchange: set(key), 'data-filter': key,
      autocomplete: 'off', spellcheck: 'false',
    }), list);
  }
})(window.animeshooter);
