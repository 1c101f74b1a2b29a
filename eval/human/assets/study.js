'use strict';
/* The page of a human study: one task at a time, answers kept on this device, handed over as a file at the end. */
(function () {
  const data = window.study;
  const FORMAT = 'animeshooter-study-votes';
  const ENOUGH = 0.9; // share of a film that counts as seen
  const SIDES = [['left', 'A is better'], ['tie', 'About the same'], ['right', 'B is better']];
  const main = document.getElementById('main');
  let state = null; // {rater, session, revision, at, votes}
  let screen = null; // what the present task needs: its questions, films, watches
  let canStore = true;

  /* Return an element. Texts become text nodes, never markup; keys with "on" are listeners. */
  function el(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? '' : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  function say(text) { document.getElementById('announce').textContent = text; }

  /* Keeping. A browser may forbid it; then the page says so and goes on. */
  const placeOf = (rater) => `animeshooter-study:${data.study}:${rater}`;
  function recall(place) {
    try { return JSON.parse(localStorage.getItem(place)); } catch (error) { canStore = false; return null; }
  }
  function keep() {
    state.revision += 1;
    try {
      localStorage.setItem(placeOf(state.rater), JSON.stringify(state));
      localStorage.setItem(placeOf('last'), JSON.stringify(state.rater));
      canStore = true;
    } catch (error) { canStore = false; }
  }
  function token() {
    const bytes = crypto.getRandomValues(new Uint8Array(8));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  const order = () => data.orders[(state.rater - 1) % data.orders.length];
  const isDone = (name) => Object.prototype.hasOwnProperty.call(state.votes, name);
  const numDone = () => order().filter(isDone).length;

  /* The rater's number may stand in the address, as #rater=3. */
  function numberInAddress() {
    const found = /(?:[#?&])rater=([0-9]{1,6})\b/.exec(location.href);
    return found && Number(found[1]) >= 1 ? Number(found[1]) : null;
  }

  function show(element, title) {
    main.replaceChildren(element);
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
    say(title);
  }

  function progress() {
    const bar = document.getElementById('progress');
    const total = order().length;
    bar.hidden = false;
    bar.max = total;
    bar.value = numDone();
    document.getElementById('count').textContent = `${numDone()} of ${total} done`;
    document.getElementById('save-now').hidden = numDone() === 0;
  }

  /* Welcome: what it is about, consent, and the rater's number. */
  function welcome() {
    screen = null;
    const given = numberInAddress() || recall(placeOf('last'));
    const notice = el('p', { class: 'notice', id: 'problem', role: 'alert' });
    const number = el('input', { type: 'number', id: 'rater', min: 1, max: 999999, step: 1, required: true, inputmode: 'numeric', value: given });
    const consent = el('input', { type: 'checkbox', id: 'consent' });
    const begin = () => {
      const rater = Number(number.value);
      if (!Number.isInteger(rater) || rater < 1 || rater > 999999) { notice.textContent = 'Please enter your number: a whole number, 1 or more.'; number.focus(); return; }
      if (!consent.checked) { notice.textContent = 'Please tick the box if you agree. Without it we cannot go on.'; consent.focus(); return; }
      const kept = recall(placeOf(rater));
      const isGood = kept && kept.votes && typeof kept.session === 'string';
      state = isGood ? kept : { rater, session: token(), revision: 0, at: 0, votes: {} };
      keep();
      progress();
      next();
    };
    const parts = new Set(Object.values(data.tasks).map((task) => task.part));
    show(el('form', { class: 'text', novalidate: true, onsubmit: (event) => { event.preventDefault(); begin(); } },
      el('h1', { dir: 'auto' }, data.title),
      el('p', {}, 'You will watch short animated films. Each film tells a story in a few shots. Beside it you see a picture of the main character and the text of the story.'),
      el('ul', {},
        parts.has('rating') && el('li', {}, `Some screens show one film. Answer each question with a number from ${data.scale[0]} to ${data.scale[1]}.`),
        parts.has('pair') && el('li', {}, 'Some screens show two films, A and B. Say which one is better, or that they are about the same.'),
        el('li', {}, 'There are no right or wrong answers. Go by what you see.'),
        el('li', {}, 'Some films come more than once, and some may not fit the picture at all. That is on purpose.'),
        el('li', {}, 'You can stop at any time. Your answers stay on this device, and you can go on later in the same browser.'),
        el('li', {}, 'At the end you save a small file with your answers and send it to the people who invited you.')),
      data.contact && el('p', { dir: 'auto' }, data.contact),
      el('h2', {}, 'The questions'),
      el('ul', {}, data.dimensions.map((dimension) => el('li', {}, el('strong', {}, dimension.question), ' ', dimension.hint))),
      el('h2', {}, 'Before you begin'),
      el('label', { class: 'field' }, 'Your number (from your invitation)', number),
      el('label', { class: 'check' }, consent,
        el('span', {}, 'I take part of my own free will. My answers may be used for research and published without my name. The file holds my number, a random code, my answers, how long I took and how much of each film I saw; nothing else about me.')),
      notice,
      el('div', { class: 'buttons' }, el('button', { class: 'main', type: 'submit', id: 'begin' }, 'Begin')),
    ), data.title);
  }

  /* The first task without an answer, from where the rater is; the end if there is none. */
  function next() {
    const names = order();
    const ahead = names.findIndex((name, at) => at >= state.at && !isDone(name));
    const found = ahead >= 0 ? ahead : names.findIndex((name) => !isDone(name));
    if (found < 0) { end(); return; }
    task(found);
  }

  function film(file, label, number) {
    const seen = el('p', { class: 'seen' });
    const video = el('video', { src: file, controls: true, playsinline: true, preload: 'auto', 'aria-label': label });
    const watch = { video, share: 0, isBroken: false };
    const look = () => {
      if (!video.duration) return;
      let length = 0;
      for (let at = 0; at < video.played.length; at += 1) length += video.played.end(at) - video.played.start(at);
      watch.share = Math.max(watch.share, Math.min(1, length / video.duration));
      if (watch.share >= ENOUGH) seen.textContent = 'Seen';
    };
    video.addEventListener('timeupdate', look);
    video.addEventListener('ended', look);
    video.addEventListener('play', () => { for (const other of screen.watches) if (other !== watch && !screen.isTogether) other.video.pause(); });
    video.addEventListener('error', () => {
      watch.isBroken = true;
      seen.textContent = 'This film does not play here.';
      document.getElementById('skip').hidden = false;
    });
    screen.watches[number] = watch;
    return el('figure', { class: 'film' }, label.length === 1 && el('figcaption', {}, label), video, seen);
  }

  function question(dimension, isPair, answer) {
    const options = isPair ? SIDES : Array.from({ length: data.scale[1] - data.scale[0] + 1 }, (_, at) => [data.scale[0] + at, String(data.scale[0] + at)]);
    const field = el('fieldset', { 'data-key': dimension.key },
      el('legend', {}, isPair ? dimension.pair_question : dimension.question),
      el('p', { class: 'hint' }, dimension.hint.replace(isPair ? / Another character is a 1\./ : /^$/, '')),
      el('div', { class: 'scale' }, options.map(([value, text]) =>
        el('label', {}, el('input', { type: 'radio', name: dimension.key, value, checked: answer === value }), el('span', {}, text)))),
      !isPair && el('div', { class: 'ends' }, el('span', {}, `${data.scale[0]} ${dimension.low}`), el('span', {}, `${data.scale[1]} ${dimension.high}`)));
    field.addEventListener('change', () => { field.classList.remove('missing'); mark(); });
    field.addEventListener('focusin', () => mark(field));
    return field;
  }

  const chosen = (field) => field.querySelector('input:checked');
  /* Mark the question that a digit key answers: the focused one, else the first without an answer. */
  function mark(focused) {
    const now = focused || screen.fields.find((field) => !chosen(field)) || null;
    screen.now = now;
    for (const field of screen.fields) field.classList.toggle('now', field === now);
  }

  function task(at) {
    const name = order()[at];
    const given = data.tasks[name];
    const isPair = given.part === 'pair';
    const earlier = (state.votes[name] || {}).answers || {};
    state.at = at;
    screen = { name, isPair, watches: [], began: performance.now(), isTogether: false, now: null };
    screen.fields = data.dimensions.map((dimension) => question(dimension, isPair, earlier[dimension.key]));
    const films = given.films.map((file, number) => film(file, isPair ? 'AB'[number] : 'Film', number));
    const together = () => {
      screen.isTogether = true;
      Promise.all(screen.watches.map(({ video }) => { video.currentTime = 0; return video.play(); })).catch(() => {}).finally(() => { if (screen) screen.isTogether = false; });
    };
    const element = el('form', { class: isPair ? 'task pair' : 'task', 'data-task': name, onsubmit: (event) => { event.preventDefault(); submit(); } },
      el('section', { class: 'watch', 'aria-label': isPair ? 'The films' : 'The film' },
        el('div', { class: 'films' }, films),
        isPair && el('div', { class: 'buttons' }, el('button', { type: 'button', class: 'quiet', id: 'together', onclick: together }, 'Play both')),
        given.references.length + given.captions.length > 0 && el('div', { class: 'story' },
          given.references.length > 0 && el('div', { class: 'references' }, given.references.map(({ file, name: who }) =>
            el('figure', {}, el('img', { src: file, alt: who ? `Picture of ${who}` : 'Picture of the main character' }), who && el('figcaption', { dir: 'auto' }, who)))),
          given.captions.length > 0 && el('div', {}, el('h2', {}, 'The story, shot by shot'),
            el('ol', { class: 'captions' }, given.captions.map((text) => el('li', { dir: 'auto' }, text)))))),
      el('section', { class: 'questions', 'aria-label': 'Questions' }, screen.fields,
        el('p', { class: 'notice', id: 'problem', role: 'alert' }),
        !canStore && el('p', { class: 'notice' }, 'This browser keeps nothing. Do not close the page before you have saved your answers.'),
        el('div', { class: 'buttons' },
          at > 0 && el('button', { type: 'button', class: 'quiet', id: 'back', onclick: () => task(at - 1) }, 'Back'),
          el('button', { type: 'submit', class: 'main', id: 'next' }, 'Next'),
          el('button', { type: 'button', class: 'link', id: 'skip', hidden: true, onclick: () => record(null) }, 'Go on without this film')),
        el('p', { class: 'keys' }, 'Keys: ', el('kbd', {}, '1'), '–', el('kbd', {}, isPair ? '3' : String(data.scale[1])), ' answer, ',
          el('kbd', {}, 'Space'), ' play, ', el('kbd', {}, 'Enter'), ' next, ', el('kbd', {}, 'Backspace'), ' back')));
    progress();
    show(element, `Task ${at + 1} of ${order().length}`);
    mark();
  }

  function problem(text) { document.getElementById('problem').textContent = text; }

  function submit() {
    const missing = screen.fields.filter((field) => !chosen(field));
    for (const field of screen.fields) field.classList.toggle('missing', missing.includes(field));
    if (missing.length) { problem('Please answer every question.'); mark(missing[0]); missing[0].scrollIntoView({ block: 'nearest' }); return; }
    if (screen.watches.some(({ isBroken }) => isBroken)) { problem('This film does not play here. Use “Go on without this film”.'); return; }
    if (!isDone(screen.name) && screen.watches.some(({ share }) => share < ENOUGH)) { problem(screen.isPair ? 'Please watch both films to the end first.' : 'Please watch the film to the end first.'); return; }
    record(Object.fromEntries(screen.fields.map((field) => {
      const value = chosen(field).value;
      return [field.dataset.key, screen.isPair ? value : Number(value)];
    })));
  }

  function record(answers) {
    const before = state.votes[screen.name];
    const seconds = (performance.now() - screen.began) / 1000 + (before ? before.seconds : 0);
    const watched = screen.watches.map(({ share }, at) => Math.max(share, before ? before.watched[at] : 0));
    state.votes[screen.name] = { answers, seconds: Math.round(seconds * 10) / 10, watched: watched.map((share) => Math.round(share * 100) / 100) };
    state.at += 1;
    keep();
    const names = order();
    if (state.at < names.length && before) task(state.at); else next();
  }

  /* The votes, in the order of showing. */
  function votes() {
    const names = order();
    return {
      format: FORMAT, version: 1, study: data.study, rater: state.rater, session: state.session, revision: state.revision,
      finished: numDone() === names.length,
      votes: names.filter(isDone).map((name) => ({ task: name, ...state.votes[name] })),
    };
  }
  const fileName = () => `votes-${data.study.slice(0, 6)}-rater${state.rater}-${state.session.slice(0, 4)}.json`;
  function download() {
    const address = URL.createObjectURL(new Blob([`${JSON.stringify(votes(), null, 1)}\n`], { type: 'application/json' }));
    const link = el('a', { href: address, download: fileName() });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }
  async function copy(area, told) {
    try {
      await navigator.clipboard.writeText(area.value);
    } catch (error) { // no permission, or a page from disk: the old way
      area.hidden = false;
      area.select();
      if (!document.execCommand('copy')) { told.textContent = 'Please copy the text below by hand.'; return; }
    }
    told.textContent = 'Copied.';
  }

  function end() {
    screen = null;
    progress();
    const area = el('textarea', { readonly: true, id: 'votes', 'aria-label': 'Your answers' });
    area.value = JSON.stringify(votes());
    const told = el('p', { role: 'status', id: 'told' });
    show(el('div', { class: 'text' },
      el('h1', {}, 'Thank you!'),
      el('p', {}, 'You have answered everything. Save the file and send it to the people who invited you, or copy the text and send that.'),
      data.contact && el('p', { dir: 'auto' }, data.contact),
      el('div', { class: 'buttons' },
        el('button', { type: 'button', class: 'main', id: 'download', onclick: () => { download(); told.textContent = 'Saved. Look in your downloads.'; } }, 'Save the file'),
        el('button', { type: 'button', class: 'quiet', id: 'copy', onclick: () => copy(area, told) }, 'Copy the text'),
        el('button', { type: 'button', class: 'link', id: 'look-back', onclick: () => task(order().length - 1) }, 'Look at my answers again')),
      told, area), 'Thank you!');
  }

  document.getElementById('save-now').addEventListener('click', download);
  document.addEventListener('keydown', (event) => {
    if (!screen || event.ctrlKey || event.metaKey || event.altKey) return;
    const tag = event.target.tagName;
    if (/^[1-9]$/.test(event.key) && screen.now) {
      const inputs = screen.now.querySelectorAll('input');
      const input = inputs[Number(event.key) - (screen.isPair ? 1 : data.scale[0])];
      if (!input) return;
      input.checked = true;
      screen.now.dispatchEvent(new Event('change'));
      if (tag === 'INPUT') (screen.now ? screen.now.querySelector('input') : document.getElementById('next')).focus();
    } else if (event.key === 'Enter' && tag !== 'BUTTON') {
      event.preventDefault();
      submit();
    } else if (event.key === ' ' && !['BUTTON', 'INPUT', 'VIDEO'].includes(tag)) {
      event.preventDefault();
      const both = document.getElementById('together');
      const { video } = screen.watches[0];
      if (both && video.paused) both.click();
      else if (video.paused) video.play().catch(() => {});
      else screen.watches.forEach((watch) => watch.video.pause());
    } else if (event.key === 'Backspace') {
      event.preventDefault();
      const back = document.getElementById('back');
      if (back) back.click();
    }
  });

  welcome();
}());
