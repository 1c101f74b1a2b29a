'use strict';
/* Characters with their looks and references: the frame, the mask over it, or what it cuts out. */
(function (app) {
  const { el } = app;
  const columns = () => (innerWidth > 1180 ? 5 : innerWidth > 680 ? 4 : 2); // as in the style
  const VIEWS = { mask: 'Mask', frame: 'Frame', cutout: 'Cut-out' };

  /* Put masks and pictures of a story's file together: [{character_id, frame_index, mask, image, colour}]. */
  app.joinReferences = function (file) {
    const order = file.story.main_characters.map((one) => one.id);
    const colourOf = (id) => app.CHARACTER_COLOURS[Math.max(0, order.indexOf(id)) % app.CHARACTER_COLOURS.length];
    const joined = new Map();
    const add = (one, more) => {
      const key = JSON.stringify([one.character_id, one.frame_index]);
      joined.set(key, { mask: null, image: null, ...joined.get(key), ...more,
        character_id: one.character_id, frame_index: one.frame_index, colour: colourOf(one.character_id) });
    };
    file.story.reference_masks.forEach((one) => add(one, { mask: one.mask }));
    file.references.forEach((one) => add(one, { image: one.image, size: one.size }));
    const all = [...joined.values()];
    file.numUnseen = all.filter((one) => !one.mask && !one.image).length; // the release holds placeholders
    return all.filter((one) => one.mask || one.image).sort((a, b) => a.frame_index - b.frame_index);
  };

  /* Return the section of the characters; `jump(frame)` shows a frame in the player. */
  app.makeCharacters = function (file, references, jump) {
    const { story } = file;
    const known = story.main_characters.map((one) => one.id);
    const others = [...new Set(references.map((one) => one.character_id))].filter((id) => !known.includes(id));
    const characters = [...story.main_characters, ...others.map((id) => ({ id, appearance: '' }))];
    if (!characters.length) return null;
    const tiles = [];
    const groups = characters.map((one) => character(one, story, references.filter((each) => each.character_id === one.id), tiles, jump));
    const section = el('section', { class: 'panel', 'aria-labelledby': 'characters-title' },
      el('div', { class: 'panel-head' }, el('h2', { id: 'characters-title' }, 'Characters'), tiles.length > 0 && views(tiles),
        file.numUnseen > 0 && el('p', { class: 'soft' }, `${app.count(file.numUnseen, 'reference')} without a mask in the dataset.`)),
      el('div', { class: tiles.length ? 'characters' : 'characters plain' }, groups));
    return section;
  };

  function views(tiles) {
    const buttons = Object.entries(VIEWS).map(([view, label]) => el('button', {
      type: 'button', 'data-view': view, 'aria-pressed': String(app.settings.view === view), onclick: () => app.setView(view),
    }, label));
    const group = el('div', { class: 'choice', role: 'group', 'aria-label': 'How references are shown' }, buttons);
    app.onView = (view) => {
      buttons.forEach((button) => button.setAttribute('aria-pressed', String(button.dataset.view === view)));
      tiles.filter((tile) => tile.element.isConnected).forEach((tile) => tile.draw());
    };
    return group;
  }

  function character(one, story, references, tiles, jump) {
    const colour = references.length ? references[0].colour
      : app.CHARACTER_COLOURS[story.main_characters.indexOf(one) % app.CHARACTER_COLOURS.length];
    const made = references.map((each) => makeTile(each, story, jump));
    const first = Math.max(4, columns());
    tiles.push(...made);
    const grid = el('div', { class: 'tiles' }, made.slice(0, first).map((tile) => tile.element));
    made.slice(0, first).forEach((tile) => tile.draw());
    const more = made.length > first && el('button', { type: 'button', class: 'quiet more', onclick: () => {
      grid.append(...made.slice(first).map((tile) => tile.element));
      made.slice(first).forEach((tile) => tile.draw());
      more.remove();
    } }, `Show all ${made.length} references`);
    const shots = story.shots.filter((shot) => shot.characters.includes(one.id)).length;
    return el('article', { class: 'character' },
      el('div', { class: 'character-text' },
        el('h3', { dir: 'auto' }, el('span', { class: 'dot', style: { background: colour } }), el('a', { href: app.listAddress({ q: `character:"${one.id.replace(/"/g, '')}"` }),
          title: 'Stories with this name' }, one.id)),
        one.appearance ? el('p', { dir: 'auto' }, one.appearance) : el('p', { class: 'soft' }, 'No description.'),
        el('p', { class: 'soft' }, `In ${shots} of ${app.count(story.shots.length, 'shot')}`)),
      el('div', { class: 'character-pictures' }, grid, more));
  }

  function makeTile(reference, story, jump) {
    const seconds = story.fps ? (reference.frame_index - (story.start_frame || 0)) / story.fps : null;
    const [height, width] = reference.mask ? reference.mask.size : [reference.size[1], reference.size[0]];
    const picture = reference.image && el('img', { src: reference.image, alt: '', loading: 'lazy', decoding: 'async', class: 'tile-picture' });
    const canvas = el('canvas', { class: 'tile-mask', 'aria-hidden': 'true' });
    const box = el('span', { class: 'tile-box', style: { 'aspect-ratio': `${width} / ${height}` } }, picture, canvas);
    const when = seconds === null ? `frame ${reference.frame_index}` : `${app.time(seconds, true)} · frame ${app.number(reference.frame_index)}`;
    const element = el('button', { type: 'button', class: 'tile', 'aria-label': `${reference.character_id}, ${when}: show in the player`,
      onclick: () => jump(reference.frame_index) }, box, el('span', { class: 'tile-when' }, when));
    return { element, draw: () => draw(element, reference, picture, canvas) };
  }

  async function draw(element, reference, picture, canvas) {
    const view = picture ? app.settings.view : 'mask'; // without a picture there is nothing but the mask
    element.dataset.view = view;
    element.dataset.drawn = '';
    try {
      if (view === 'mask' && reference.mask) app.drawMasks(canvas, [{ mask: reference.mask, colour: reference.colour }]);
      if (view === 'cutout' && reference.mask) {
        await picture.decode();
        if (element.dataset.view === view) app.drawCutout(canvas, picture, reference.mask);
      }
      element.dataset.drawn = view;
    } catch {
      element.dataset.drawn = 'unreadable';
    }
    element.classList.toggle('no-mask', !reference.mask || element.dataset.drawn === 'unreadable');
  }
})(window.animeshooter);
