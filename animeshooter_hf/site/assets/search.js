'use strict';
/* Search, filters and order: from what stands in the address to the numbers of the stories. */
(function (app) {
  const HAN_AND_KANA = /[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+/g;
  const HAS_SOUND = 2;
  const HAS_REFERENCES = 4;
  app.ORDERS = {
    '': 'In order', longest: 'Longest first', shortest: 'Shortest first', most: 'Most shots first', fewest: 'Fewest shots first',
  };
  app.LENGTHS = { '': 'Any length', '-20': 'Up to 20 s', '20-40': '20 to 40 s', '40-60': '40 to 60 s', '60-': 'From 60 s' };

  /* Return the words of a text as the index holds them. */
  app.wordsOf = function (text) {
    const plain = text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().normalize('NFC');
    return (plain.match(/[\p{L}\p{N}]+/gu) || []).flatMap((word) => word.match(HAN_AND_KANA));
  };

  /* Return the terms of a query such as `balloon character:"Old Bear"`: [{words, fields}]; fields 0 is anywhere. */
  app.termsOf = function (query) {
    const terms = [];
    for (const [, field, quoted, plain] of query.matchAll(/(?:(\p{L}+):)?(?:"([^"]*)"?|([^\s"]+))/gu)) {
      const bits = app.contents.search.fields[(field || '').toLowerCase()] || 0;
      const text = quoted === undefined ? plain : quoted;
      const words = app.wordsOf(field && !bits ? `${field} ${text}` : text);
      if (words.length) terms.push({ words, fields: bits });
    }
    return terms;
  };

  /* Return a promise of the numbers of the stories that hold a word, or one that begins with it. */
  async function find(word, fields) {
    const { first, files } = app.contents.search;
    const isWhole = /^[a-z0-9]$/.test(word); // a single letter is no prefix: it would find everything
    const last = isWhole ? word : `${word}\uffff`;
    const wanted = files.filter((_, chunk) => first[chunk] <= last && (chunk + 1 === files.length || first[chunk + 1] >= word));
    const found = new Set();
    for (const rows of await Promise.all(wanted.map(app.load))) {
      for (const [one, postings] of rows) {
        if (isWhole ? one === word : one.startsWith(word)) readPostings(postings, fields, found);
      }
    }
    return found;
  }

  function readPostings(postings, fields, found) {
    let number = 0;
    for (const text of postings.split(' ')) {
      const value = parseInt(text, 36);
      number += Math.floor(value / 64);
      if (!fields || value & fields) found.add(number);
    }
  }

  /* Return a promise of the numbers that fit a state of the list, in its order; null stands for all of them as they are. */
  app.select = async function (state) {
    const { fields } = app.contents.search;
    const terms = app.termsOf(state.q || '');
    for (const kind of ['character', 'scene']) {
      if (state[kind]) terms.push({ words: app.wordsOf(state[kind]), fields: fields[kind] });
    }
    const conditions = conditionsOf(state);
    if (!terms.length && !conditions.length && !state.sort) return null;
    const found = await Promise.all(terms.flatMap(({ words, fields: bits }) => words.map((word) => find(word, bits))));
    if (found.length && !conditions.length && !state.sort) return intersect(found);
    const facts = await app.loadFacts();
    const kept = (found.length ? intersect(found).map((number) => facts[number]) : facts)
      .filter((story) => conditions.every((fits) => fits(story)));
    return inOrder(kept, state.sort).map((story) => story.number);
  };

  function intersect(sets) {
    const [smallest, ...others] = [...sets].sort((a, b) => a.size - b.size);
    return [...smallest].filter((number) => others.every((set) => set.has(number))).sort((a, b) => a - b);
  }

  function conditionsOf(state) {
    const conditions = [];
    if (state.split) conditions.push((story) => story.split === state.split);
    if (state.rating) conditions.push((story) => (story.rating || 'unrated') === state.rating);
    if (state.sound) conditions.push((story) => story.flags & HAS_SOUND);
    if (state.refs) conditions.push((story) => story.flags & HAS_REFERENCES);
    const [low, high] = (state.length || '').split('-').map(Number);
    if (state.length) conditions.push((story) => story.seconds >= (low || 0) && story.seconds < (high || Infinity));
    return conditions;
  }

  function inOrder(stories, sort) {
    const by = {
      longest: (a, b) => b.seconds - a.seconds, shortest: (a, b) => a.seconds - b.seconds,
      most: (a, b) => b.shots - a.shots, fewest: (a, b) => a.shots - b.shots,
    }[sort];
    return by ? [...stories].sort((a, b) => by(a, b) || a.number - b.number) : stories;
  }
})(window.animeshooter);
