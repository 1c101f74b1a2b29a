'use strict';
/* The page of a story: the player, the line of its shots, what happens, who is there, what is heard. */
(function (app) {
  const { el } = app;
  const CAPTIONS = { both: 'Both captions', narrative: 'Narrative', descriptive: 'Descriptive' };
  app.settings = { view: 'mask', captions: 'both', muted: false };
  app.page = null; // what the keys talk to: {player, step, ...} of the story that is shown
  app.onView = () => {};
  let turn = 0;

  /* Show a story; if it is shown already, only go to the shot. */
  app.showStory = async function (main, id, shot) {
    if (app.page && app.page.id === id) {
      if (shot !== null && shot !== app.page.player.index) app.page.player.show(shot);
      return;
    }
    app.leaveStory();
    turn += 1;
    const mine = turn;
    main.setAttribute('aria-busy', 'true');
    let file = null;
    try {
      file = await app.loadStory(id);
    } catch { /* said below */ }
    if (mine !== turn) return;
    main.removeAttribute('aria-busy');
    if (!file) {
      main.replaceChildren(missing(id));
      return;
    }
    try {
      build(main, id, file, shot || 0);
    } catch (error) {
      main.replaceChildren(el('p', { class: 'notice', role: 'alert' }, `This story cannot be shown. ${error.message}`));
      throw error;
    }
    document.title = `${id} · ${app.contents.title}`;
    showNeighbours(id, mine);
  };

  app.leaveStory = function () {
    turn += 1;
    if (app.page) app.page.stop();
    app.forgetWholes();
    app.page = null;
    app.onView = () => {};
  };

  const missing = (id) => el('div', { class: 'nothing' }, el('h1', {}, 'This story is not here.'),
    el('p', { class: 'soft', dir: 'auto' }, `No story has the ID ${id}. It may have been taken down, or stand on another site.`),
    el('p', {}, el('a', { href: '#/' }, 'All stories')));

  function build(main, id, file, shot) {
    const { story } = file;
    const references = app.joinReferences(file);
    file.masks = references.filter((one) => one.mask);
    const parts = { words: el('div', { class: 'now' }), clock: el('span', { class: 'clock' }), play: null };
    let sounds = null;
    const player = app.makePlayer(file, {
      onShot: (index) => { showShot(index); remember(id, index); },
      onTime: (seconds) => { showTime(parts, player, seconds); },
      onPlay: (isPlaying) => { if (parts.play) showPlaying(parts.play, isPlaying); if (isPlaying && sounds) sounds.stop(); },
    });
    player.masksOn = app.settings.view !== 'frame';
    player.isMuted = app.settings.muted;
    parts.line = line(file, player, references);
    parts.list = shotList(file, player);
    sounds = app.makeSounds(file, () => player.pause());
    const jump = (frame) => {
      if (player.seekFrame(frame)) player.element.scrollIntoView({ block: 'center', behavior: app.smooth() });
    };
    function showShot(index) {
      parts.words.replaceChildren(...captions(file, index));
      parts.line.mark(index);
      parts.list.mark(index);
    }
    const article = el('article', { class: 'story' }, head(id, file),
      el('div', { class: 'watching' },
        el('div', { class: 'theatre' }, player.element, controls(parts, player, file), parts.line.element, parts.words), parts.list.element),
      app.makeCharacters(file, references, jump), scenes(story), sounds && sounds.element, about(file), raw(story));
    app.page = { id, file, player, cycleCaptions, stop: () => { player.pause(); if (sounds) sounds.stop(); } };
    function cycleCaptions() {
      const kinds = Object.keys(CAPTIONS);
      setCaptions(kinds[(kinds.indexOf(app.settings.captions) + 1) % kinds.length]);
    }
    function setCaptions(kind) {
      app.settings.captions = kind;
      if (parts.choice) parts.choice.value = kind;
      showShot(player.index);
    }
    parts.choice = article.querySelector('.caption-choice');
    parts.choice.addEventListener('change', () => setCaptions(parts.choice.value));
    main.replaceChildren(article);
    player.show(shot);
  }

  /* Keep the shot in the address, so that it can be shared, without a step in the history for each. */
  function remember(id, index) {
    if (!app.page || app.page.id !== id) return;
    history.replaceState(history.state, '', app.storyAddress(id, index));
  }

  function head(id, file) {
    const { story } = file;
    const place = el('nav', { class: 'crumbs', 'aria-label': 'Stories' }, el('a', { href: app.found.address }, '← Stories'),
      el('span', { class: 'neighbours' }, el('a', { class: 'page-step', 'data-step': '-1', 'aria-disabled': 'true' }, '‹ Previous'),
        el('a', { class: 'page-step', 'data-step': '1', 'aria-disabled': 'true' }, 'Next ›')));
    const seconds = story.fps && story.end_frame !== null ? (story.end_frame - story.start_frame) / story.fps : null;
    const facts = [file.split, app.count(story.shots.length, 'shot'), seconds !== null && app.time(seconds), story.rating, story.license];
    return el('header', { class: 'story-head' }, place,
      el('p', { class: 'eyebrow' }, el('span', { class: 'id' }, id), facts.filter(Boolean).map((fact) => el('span', { dir: 'auto' }, fact))),
      el('h1', { class: 'storyline', dir: 'auto' }, story.storyline || 'No storyline'));
  }

  async function showNeighbours(id, mine) {
    const facts = await app.loadFacts().catch(() => null);
    if (mine !== turn || !facts || !app.page) return;
    const numbers = app.found.numbers;
    const ids = numbers ? numbers.map((number) => facts[number].id) : facts.map((one) => one.id);
    const all = ids.includes(id) ? ids : facts.map((one) => one.id);
    const at = all.indexOf(id);
    app.page.step = (by) => { const to = all[at + by]; if (to !== undefined) app.go(app.storyAddress(to)); };
    document.querySelectorAll('[data-step]').forEach((link) => {
      const to = all[at + Number(link.dataset.step)];
      if (to === undefined) return;
      link.href = app.storyAddress(to);
      link.removeAttribute('aria-disabled');
    });
  }

  function controls(parts, player, file) {
    const button = (name, label, key, run) => el('button', { type: 'button', class: 'round', 'aria-label': label, title: `${label} (${key})`, onclick: run }, app.icon(name));
    parts.play = button('play', 'Play', 'space', () => player.toggle());
    parts.play.classList.add('main');
    const mute = button(player.isMuted ? 'silent' : 'sound', 'Sound on or off', 's', () => {
      app.settings.muted = !player.isMuted;
      player.setMuted(app.settings.muted);
      mute.replaceChildren(app.icon(player.isMuted ? 'silent' : 'sound'));
    });
    mute.dataset.key = 's';
    const rate = el('select', { class: 'small rate', 'aria-label': 'Speed', onchange: () => player.setRate(Number(rate.value)) },
      [0.25, 0.5, 1, 1.5, 2].map((value) => el('option', { value, selected: value === 1 }, `${value}×`)));
    const choice = el('select', { class: 'small caption-choice', 'aria-label': 'Captions' },
      Object.entries(CAPTIONS).map(([value, text]) => el('option', { value, selected: value === app.settings.captions }, text)));
    const masks = file.masks.length > 0 && el('button', { type: 'button', class: 'switch', 'aria-pressed': String(player.masksOn), 'data-key': 'm',
      title: 'Masks (m)', onclick: () => app.setView(app.settings.view === 'frame' ? 'mask' : 'frame') }, 'Masks');
    const full = button('full', 'Full screen', 'f', () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else if (player.element.requestFullscreen) player.element.requestFullscreen();
    });
    full.dataset.key = 'f';
    return el('div', { class: 'controls', role: 'group', 'aria-label': 'Player' },
      button('back', 'Previous shot', '←', () => player.step(-1)), player.hasClips && parts.play, button('next', 'Next shot', '→', () => player.step(1)),
      parts.clock, el('span', { class: 'spring' }), masks, choice, player.hasClips && rate, player.hasClips && mute, player.hasClips && full);
  }

  function showPlaying(button, isPlaying) {
    button.replaceChildren(app.icon(isPlaying ? 'pause' : 'play'));
    button.setAttribute('aria-label', isPlaying ? 'Pause' : 'Play');
  }

  function showTime(parts, player, seconds) {
    parts.clock.textContent = `${app.time(seconds, true)} / ${app.time(player.duration, true)}`;
    parts.line.move(seconds);
  }

  /* The line of shots: as long as they last, in the colours of their scenes, with a mark for each reference. */
  function line(file, player, references) {
    const { shots } = file.story;
    const order = file.story.main_scenes.map((scene) => scene.id);
    const buttons = shots.map((shot, index) => {
      const seconds = Math.max(0.05, player.starts[index + 1] - player.starts[index]);
      const marks = references.filter((one) => shot.start_frame !== null && one.frame_index >= shot.start_frame && one.frame_index < shot.end_frame)
        .map((one) => el('i', { style: { left: `${(100 * (one.frame_index - shot.start_frame)) / Math.max(1, shot.end_frame - shot.start_frame)}%`, background: one.colour } }));
      return el('button', {
        type: 'button', class: `shot${file.clips[index] ? '' : ' silent'}`, style: { 'flex-grow': seconds, '--scene': app.sceneColour(order.indexOf(shot.scene)) },
        'aria-label': `Shot ${index + 1}, ${shot.scene || 'no scene'}, ${seconds.toFixed(1)} s`, title: `Shot ${index + 1} · ${shot.scene || 'no scene'} · ${seconds.toFixed(1)} s`,
        onclick: (event) => {
          const box = event.currentTarget.getBoundingClientRect();
          const share = event.detail && box.width > 24 ? (event.clientX - box.left) / box.width : 0;
          player.show(index, file.clips[index] ? share * seconds : 0);
        },
      }, marks);
    });
    const head = el('span', { class: 'line-head', 'aria-hidden': 'true' });
    const element = el('div', { class: 'line', role: 'group', 'aria-label': 'Shots in time' }, buttons, head);
    return {
      element,
      mark: (index) => buttons.forEach((button, number) => button.setAttribute('aria-current', String(number === index))),
      move: (seconds) => {
        const button = buttons[player.index];
        const length = player.starts[player.index + 1] - player.starts[player.index];
        const share = Math.min(1, Math.max(0, (seconds - player.starts[player.index]) / length));
        head.style.transform = `translateX(${button.offsetLeft + share * button.offsetWidth}px)`;
      },
    };
  }

  /* What is said of the shot that is shown. */
  function captions(file, index) {
    const { story } = file;
    const shot = story.shots[index];
    const kind = app.settings.captions;
    const known = story.main_characters.map((one) => one.id);
    const isTimed = shot.start_time !== null && shot.end_time !== null;
    const source = app.shotSource(story, shot);
    const scene = story.main_scenes.findIndex((one) => one.id === shot.scene);
    const text = (name, caption) => (kind === 'both' || kind === name) && el('p', { class: name, dir: 'auto' },
      caption || el('span', { class: 'soft' }, `No ${name} caption.`));
    return [
      el('div', { class: 'now-head' }, el('strong', {}, `Shot ${index + 1} of ${story.shots.length}`),
        shot.scene && el('span', { class: 'chip', dir: 'auto' }, el('span', { class: 'dot', style: { background: app.sceneColour(scene) } }), shot.scene),
        shot.characters.map((name) => el('span', { class: 'chip', dir: 'auto' }, el('span', { class: 'dot round-dot',
          style: { background: known.includes(name) ? app.CHARACTER_COLOURS[known.indexOf(name) % app.CHARACTER_COLOURS.length] : 'var(--soft)' } }), name)),
        shot.is_prologue_or_epilogue && el('span', { class: 'chip' }, 'prologue or epilogue'),
        isTimed && el('span', { class: 'soft' }, `${app.time(shot.start_time, true)} to ${app.time(shot.end_time, true)}`),
        source && el('a', { href: source, target: '_blank', rel: 'noopener noreferrer' }, 'at its source ↗')),
      text('narrative', shot.narrative_caption), text('descriptive', shot.descriptive_caption),
      shot.audio_annotation && el('p', { class: 'soft heard', dir: 'auto' }, `Sound: ${shot.audio_annotation.audio_type}`),
    ].filter(Boolean);
  }

  function shotList(file, player) {
    const { story } = file;
    const order = story.main_scenes.map((scene) => scene.id);
    const items = story.shots.map((shot, index) => el('button', { type: 'button', class: 'shot-row', onclick: () => player.show(index) },
      el('span', { class: 'shot-picture', style: { '--scene': app.sceneColour(order.indexOf(shot.scene)) } },
        file.thumbnails[index] ? el('img', { src: file.thumbnails[index], alt: '', loading: 'lazy', decoding: 'async' }) : String(index + 1)),
      el('span', { class: 'shot-words' }, el('span', { class: 'soft' }, `${index + 1} · ${app.time(player.starts[index], true)}`),
        el('span', { class: 'shot-caption', dir: 'auto' }, shot.narrative_caption || shot.descriptive_caption || 'No caption'))));
    const element = el('div', { class: 'shot-list', role: 'group', 'aria-label': 'Shots' }, items);
    return {
      element,
      mark: (index) => items.forEach((item, number) => {
        item.setAttribute('aria-current', String(number === index));
        if (number === index && element.clientHeight) element.scrollTop = item.offsetTop - (element.clientHeight - item.offsetHeight) / 2;
      }),
    };
  }

  function scenes(story) {
    if (!story.main_scenes.length) return null;
    return el('section', { class: 'panel', 'aria-labelledby': 'scenes-title' }, el('div', { class: 'panel-head' }, el('h2', { id: 'scenes-title' }, 'Scenes')),
      el('div', { class: 'scenes' }, story.main_scenes.map((scene, number) => el('article', { style: { '--scene': app.sceneColour(number) } },
        el('h3', { dir: 'auto' }, el('a', { href: app.listAddress({ q: `scene:"${scene.id.replace(/"/g, '')}"` }) }, scene.id)),
        el('p', { dir: 'auto' }, scene.environment || 'No description.'),
        el('p', { class: 'soft' }, `${story.shots.filter((shot) => shot.scene === scene.id).length} of ${app.count(story.shots.length, 'shot')}`)))));
  }

  function about(file) {
    const { story, rights } = file;
    const source = app.shotSource(story, story.shots[0] || null);
    const known = rights || {};
    const facts = {
      Video: story.video_id, Source: source && el('a', { href: source, target: '_blank', rel: 'noopener noreferrer' }, story.url),
      Licence: story.license || known.license || 'not stated', Rating: story.rating, Split: file.split, Author: known.author, 'Basis of use': known.basis,
      'May be handed on': known.redistributable === true ? 'yes' : known.redistributable === false ? 'no' : 'not known',
      Frames: story.start_frame === null ? null : `${app.number(story.start_frame)} to ${app.number(story.end_frame)}`, 'Frame rate': story.fps && `${Math.round(story.fps * 1000) / 1000} per second`,
      'Pixels and sound': file.left_out,
    };
    return el('section', { class: 'panel', 'aria-labelledby': 'about-title' }, el('div', { class: 'panel-head' }, el('h2', { id: 'about-title' }, 'Source and rights')),
      el('dl', { class: 'facts' }, Object.entries(facts).filter(([, value]) => value).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', { dir: 'auto' }, value)))));
  }

  function raw(story) {
    const text = el('pre', { tabindex: '0', 'aria-label': 'The story as JSON' });
    return el('details', { class: 'panel raw', ontoggle: () => { if (!text.textContent) text.textContent = JSON.stringify(story, null, 2); } },
      el('summary', {}, 'The story as JSON'), text);
  }
})(window.animeshooter);
