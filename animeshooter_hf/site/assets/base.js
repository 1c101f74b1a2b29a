'use strict';
/* What every part of the page uses: loading data, making elements, writing times and numbers. */
window.animeshooter = {};
(function (app) {
  const KEPT = 64;
  const loading = new Map(); // path -> promise of its value; the last ones are kept
  const waiting = new Map(); // path -> what takes its value

  /* A data file calls this with its own path. The page's first data start the page. */
  app.receive = function (path, value) {
    if (path.startsWith('data/site/')) {
      app.begin(value);
    } else if (waiting.has(path)) {
      waiting.get(path)(value);
    }
  };

  /* Return a promise of what a data file holds. `fetch` is forbidden from disk, so that data are scripts. */
  app.load = function (path) {
    if (!loading.has(path)) {
      loading.set(path, loadScript(path));
      if (loading.size > KEPT) loading.delete(loading.keys().next().value);
    }
    return loading.get(path);
  };

  function loadScript(path) {
    return new Promise((resolve, reject) => {
      const script = document.createElement('script');
      const address = path.split('/').map(encodeURIComponent).join('/');
      const finish = () => { waiting.delete(path); script.remove(); };
      waiting.set(path, (value) => { finish(); resolve(value); });
      script.onerror = () => { finish(); loading.delete(path); reject(new Error(`${path} cannot be loaded.`)); };
      script.src = path.startsWith('data/stories/') ? `${address}?v=${document.body.dataset.version}` : address;
      document.head.append(script);
    });
  }

  /* Return an element. Texts become text nodes, never markup; keys with "on" are listeners, `null` attributes are left out. */
  app.el = function (name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
      else if (key === 'style') Object.entries(value).forEach(([name, to]) => element.style.setProperty(name, to));
      else element.setAttribute(key, value === true ? '' : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  };

  const SVG = 'http://www.w3.org/2000/svg';
  app.svg = function (name, attributes, ...children) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  const ICONS = {
    play: 'M7 4.500v15l12-7.500z', pause: 'M6.5 5h4v14h-4zM13.5 5h4v14h-4z', next: 'M6 5v14l9-7zM16.5 5h2.500v14h-2.500z',
    back: 'M18 5v14l-9-7zM5 5h2.500v14H5z', again: 'M12 5V1.500L7 6l5 4.500V7a5 5 0 1 1-5 5H5a7 7 0 1 0 7-7z',
    sound: 'M4 9v6h4l5 4.500v-15L8 9zM15.5 8.500v7a4 4 0 0 0 0-7zM15.5 4.500v2a6 6 0 0 1 0 11v2a8 8 0 0 0 0-15z',
    silent: 'M4 9v6h4l5 4.500v-15L8 9zm11.5.700L17.800 12l-2.300 2.300 1.200 1.200 2.300-2.300 2.300 2.300 1.200-1.200L20.200 12l2.300-2.300-1.200-1.200L19 10.800l-2.300-2.300z',
    full: 'M4 4h6v2H6v4H4zM14 4h6v6h-2V6h-4zM4 14h2v4h4v2H4zM18 14h2v6h-6v-2h4z',
  };
  app.icon = (name) => app.svg(
    'svg', { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' }, app.svg('path', { d: ICONS[name] }),
  );

  /* Write seconds as 0:07, with tenths as 0:07.2, from an hour on as 1:02:03. */
  app.time = function (seconds, tenths) {
    const units = Math.max(0, Math.round(seconds * (tenths ? 10 : 1)));
    const whole = tenths ? Math.floor(units / 10) : units;
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const pad = (number) => String(number).padStart(2, '0');
    const text = hours ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${minutes}:${pad(rest)}`;
    return tenths ? `${text}.${units % 10}` : text;
  };

  /* Write a long time in words: "40 s", "12 min", "3.5 h". */
  app.span = function (seconds) {
    if (seconds < 90) return `${Math.round(seconds)} s`;
    return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${app.number(Math.round(seconds / 360) / 10)} h`;
  };

  const numbers = new Intl.NumberFormat('en');
  app.number = (value) => numbers.format(value);
  app.count = (value, one, many) => `${app.number(value)} ${value === 1 ? one : many || `${one}s`}`;

  app.SCENE_COLOURS = 8;
  app.CHARACTER_COLOURS = ['#e4572e', '#1b9aaa', '#d99a1c', '#8a63c4', '#3d9a50', '#d6458b'];
  app.sceneColour = (position) => (position < 0 ? 'var(--scene-none)' : `var(--scene-${position % app.SCENE_COLOURS})`);

  /* Return the address of a source video at a second, or null if it is not one of the web. */
  app.sourceAt = function (url, seconds) {
    let address;
    try { address = new URL(url); } catch { return null; }
    if (address.protocol !== 'https:' && address.protocol !== 'http:') return null;
    const at = Math.max(0, Math.floor(seconds || 0));
    if (/(^|\.)(youtube\.com|youtu\.be|youtube-nocookie\.com)$/.test(address.hostname)) {
      address.searchParams.set('t', `${at}s`);
    } else {
      address.hash = `t=${at}`;
    }
    return address.href;
  };

  const wholes = new Map(); // address -> promise of the address of a copy in memory

  /* Return whether a player can jump: a server that answers no ranges leaves it nothing but playing on. */
  app.canSeek = (media) => media.seekable.length > 0 && media.seekable.end(media.seekable.length - 1) > 0;

  /* Return a promise of an address at which a whole file is in memory, so that a player can jump in it. */
  app.takeWhole = function (address) {
    if (!wholes.has(address)) {
      wholes.set(address, fetch(address).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob)));
    }
    return wholes.get(address);
  };

  app.forgetWholes = function () {
    wholes.forEach((promise) => promise.then(URL.revokeObjectURL, () => {}));
    wholes.clear();
  };

  app.announce = (text) => { document.getElementById('announce').textContent = text; };
})(window.animeshooter);
