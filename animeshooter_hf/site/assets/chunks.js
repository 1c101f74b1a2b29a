'use strict';
/* The data of the list: cards by number, facts of all stories, names to suggest, the file of a story. */
(function (app) {
  const FNV_OFFSET = 0xcbf29ce484222325n;
  const FNV_PRIME = 0x100000001b3n;

  /* Return the FNV-1a hash of a text's UTF-8, as the folder's writer computes it. */
  app.fnv64 = function (text) {
    let value = FNV_OFFSET;
    for (const byte of new TextEncoder().encode(text)) value = BigInt.asUintN(64, (value ^ BigInt(byte)) * FNV_PRIME);
    return value.toString(16).padStart(16, '0');
  };

  /* Return a promise of a story's file; its place follows from the ID alone. */
  app.loadStory = function (id) {
    const digest = app.fnv64(id);
    const slug = Array.from(id, (sign) => (/[A-Za-z0-9_-]/.test(sign) ? sign : '_')).join('').slice(0, 60);
    return app.load(`data/stories/${digest.slice(-2)}/${slug}-${digest}.js`);
  };

  /* Return a promise of the cards with these numbers; only their chunks are loaded. */
  app.loadCards = async function (numbers) {
    const { size, files } = app.contents.cards;
    const wanted = [...new Set(numbers.map((number) => Math.floor(number / size)))];
    const chunks = new Map(await Promise.all(wanted.map(async (chunk) => [chunk, await app.load(files[chunk])])));
    return numbers.map((number) => chunks.get(Math.floor(number / size))[number % size]);
  };

  let facts = null;

  /* Return a promise of all stories' facts, in order. */
  app.loadFacts = function () {
    facts = facts || Promise.all(app.contents.facts.files.map(app.load)).then((chunks) => chunks.flat().map(
      ([id, split, rating, flags, shots, seconds], number) => ({ number, id, split, rating, flags, shots, seconds }),
    ));
    facts.catch(() => { facts = null; });
    return facts;
  };

  app.loadNames = () => app.load(app.contents.names);
})(window.animeshooter);
