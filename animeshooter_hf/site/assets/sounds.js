'use strict';
/* The sound of a story: each row of the audio config with its outline, its playhead and its words. */
(function (app) {
  const { el, svg } = app;
  const SIGNS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const HEIGHT = 64;

  /* Return the section of the sounds, or null if none is known; `onStart()` is called when one begins to play. */
  app.makeSounds = function (file, onStart) {
    const { shots } = file.story;
    const rows = file.sounds.length ? file.sounds : shots.filter((shot) => shot.audio_annotation).map((shot) => ({
      ...shot.audio_annotation, shot_id: shot.shot_id, start_time: shot.start_time, end_time: shot.end_time,
      start_frame: shot.start_frame, end_frame: shot.end_frame, file: null, peaks: '',
    }));
    if (!rows.length) return null;
    const playing = { audio: null };
    const stop = () => { if (playing.audio) playing.audio.pause(); };
    const section = el('section', { class: 'panel', 'aria-labelledby': 'sounds-title' },
      el('div', { class: 'panel-head' }, el('h2', { id: 'sounds-title' }, 'Sound')),
      el('div', { class: 'sounds' }, rows.map((row) => sound(row, shots, playing, () => { stop(); onStart(); }))));
    return { element: section, stop };
  };

  function sound(row, shots, playing, onStart) {
    const covered = shots.map((shot, index) => ({ shot, index })).filter(({ shot }) => overlaps(row, shot));
    const where = covered.length > 1 ? `Shots ${covered[0].index + 1} to ${covered[covered.length - 1].index + 1}`
      : covered.length ? `Shot ${covered[0].index + 1}` : row.shot_id;
    const when = row.start_time === null || row.start_time === undefined ? '' : ` · ${app.time(row.start_time, true)} to ${app.time(row.end_time, true)}`;
    return el('article', { class: 'sound' },
      el('div', { class: 'sound-text' }, el('h3', { dir: 'auto' }, row.audio_type || 'Sound'), el('p', { class: 'soft' }, where + when),
        row.sound_description && el('p', { dir: 'auto' }, row.sound_description),
        row.visual_context && el('p', { class: 'soft', dir: 'auto' }, row.visual_context)),
      row.file ? wave(row, playing, onStart) : row.peaks && el('div', { class: 'wave' }, outline(row.peaks)));
  }

  function overlaps(row, shot) {
    if (row.shot_id === shot.shot_id) return true;
    if ([row.start_frame, row.end_frame, shot.start_frame, shot.end_frame].some((at) => at === null || at === undefined)) return false;
    const shared = Math.min(row.end_frame, shot.end_frame) - Math.max(row.start_frame, shot.start_frame);
    return shared > 0 && shared * 2 >= shot.end_frame - shot.start_frame;
  }

  function wave(row, playing, onStart) {
    const audio = el('audio', { src: row.file, preload: 'none' });
    const button = el('button', { type: 'button', class: 'round', 'aria-label': `Play the sound: ${row.audio_type || row.shot_id}` }, app.icon('play'));
    const head = el('span', { class: 'wave-head', 'aria-hidden': 'true' });
    const slider = el('div', { class: 'wave-slider', role: 'slider', tabindex: '0', 'aria-label': 'Position in the sound', 'aria-valuemin': '0',
      'aria-valuemax': String(row.seconds), 'aria-valuenow': '0' }, outline(row.peaks), outline(row.peaks, 'played'), head);
    const clock = el('span', { class: 'clock' }, app.time(row.seconds, true));
    const showTime = () => {
      const share = Math.min(1, audio.currentTime / row.seconds);
      slider.style.setProperty('--at', `${(share * 100).toFixed(2)}%`);
      slider.setAttribute('aria-valuenow', audio.currentTime.toFixed(2));
      slider.setAttribute('aria-valuetext', app.time(audio.currentTime, true));
      clock.textContent = audio.currentTime ? `${app.time(audio.currentTime, true)} / ${app.time(row.seconds, true)}` : app.time(row.seconds, true);
      if (!audio.paused) requestAnimationFrame(showTime);
    };
    const seek = async (seconds) => {
      const to = Math.min(Math.max(0, seconds), row.seconds);
      const isPlaying = !audio.paused;
      if (!audio.readyState) await loaded(audio, row.file);
      if (!app.canSeek(audio) && location.protocol.startsWith('http')) await loaded(audio, await app.takeWhole(row.file));
      audio.currentTime = to;
      if (isPlaying) audio.play();
    };
    const swap = () => {
      button.replaceChildren(app.icon(audio.paused ? 'play' : 'pause'));
      button.setAttribute('aria-label', `${audio.paused ? 'Play' : 'Pause'} the sound: ${row.audio_type || row.shot_id}`);
      showTime();
    };
    button.addEventListener('click', () => {
      if (!audio.paused) { audio.pause(); return; }
      onStart();
      playing.audio = audio;
      audio.play().catch(() => { clock.textContent = 'This sound cannot be played here.'; });
    });
    for (const event of ['play', 'pause', 'seeked', 'ended']) audio.addEventListener(event, swap);
    slider.addEventListener('click', (event) => {
      const box = slider.getBoundingClientRect();
      seek(((event.clientX - box.left) / box.width) * row.seconds);
    });
    slider.addEventListener('keydown', (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      seek(audio.currentTime + by * Math.max(0.1, row.seconds / 20));
    });
    return el('div', { class: 'wave' }, button, slider, clock, audio);
  }

  /* Give a player an address and wait until it knows what is there. */
  const loaded = (audio, address) => new Promise((resolve) => {
    audio.addEventListener('loadedmetadata', resolve, { once: true });
    audio.preload = 'auto';
    audio.src = address;
    audio.load();
  });

  /* Return the outline of a waveform: one line of bars, mirrored. */
  function outline(peaks, name = '') {
    const middle = HEIGHT / 2;
    const bars = Array.from(peaks, (sign, at) => {
      const level = Math.max(0.6, (SIGNS.indexOf(sign) / 63) * (middle - 1));
      return `M${at + 0.5} ${(middle - level).toFixed(1)}V${(middle + level).toFixed(1)}`;
    });
    return svg('svg', { class: `wave-outline ${name}`, viewBox: `0 0 ${Math.max(1, peaks.length)} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      svg('path', { d: bars.join('') }));
  }
})(window.animeshooter);
