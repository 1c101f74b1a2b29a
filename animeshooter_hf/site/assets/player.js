'use strict';
/* Plays the shots of a story in sequence: two videos take turns, so that the next clip is loaded while one plays. */
(function (app) {
  const { el } = app;
  const HOLD_FRAMES = 2; // a mask is shown on its own frame, and while playing on its neighbours

  /* Return a player of a story's file. `listeners`: onShot(index), onTime(seconds in the story), onPlay(isPlaying). */
  app.makePlayer = function (file, listeners) {
    const { shots } = file.story;
    const fps = file.story.fps || 24;
    const starts = startsOf(shots);
    const parts = makeParts();
    const player = {
      element: parts.stage, index: 0, isPlaying: false, starts, show, play, pause, toggle, step, seek, seekFrame, setMasks, setMuted, setRate,
      isMuted: false, masksOn: true, duration: starts[starts.length - 1], hasClips: file.clips.some(Boolean), video: () => parts.active,
    };
    let wanted = null; // a time that is to be sought as soon as the clip can do it

    function makeParts() {
      const video = () => el('video', { playsinline: true, preload: 'auto', tabindex: '-1', 'aria-hidden': 'true' });
      const [active, standby] = [video(), video()];
      const canvas = el('canvas', { class: 'over', 'aria-hidden': 'true' });
      const words = el('div', { class: 'no-clip' });
      const cover = el('button', { type: 'button', class: 'cover', 'aria-label': 'Play', tabindex: '-1', onclick: () => player.toggle() }, app.icon('play'));
      const frame = el('div', { class: 'frame' }, standby, active, canvas, words, cover);
      return { active, standby, canvas, words, cover, frame, stage: el('div', { class: file.clips.some(Boolean) || file.thumbnails.some(Boolean) ? 'stage' : 'stage bare' }, frame) };
    }

    /* Show a shot from a time in it; it plays if the player does. */
    function show(index, at = 0) {
      player.index = Math.min(Math.max(0, index), shots.length - 1);
      const clip = file.clips[player.index];
      parts.frame.classList.toggle('without', !clip);
      parts.frame.classList.remove('broken');
      parts.words.replaceChildren(...(clip ? [] : wordsFor(player.index)));
      if (clip) bring(clip, at);
      else rest();
      clearMasks();
      lastFrame = null;
      if (clip && parts.active.readyState >= 2) drawMasks(Math.floor(at * fps + 1e-6));
      listeners.onShot(player.index);
      listeners.onTime(starts[player.index] + at);
      if (!clip) pause();
    }

    function bring(clip, at) {
      if (parts.active.dataset.clip !== clip) {
        if (parts.standby.dataset.clip === clip) [parts.active, parts.standby] = [parts.standby, parts.active];
        else give(parts.active, clip);
        parts.active.classList.add('shown');
        parts.standby.classList.remove('shown');
        parts.standby.pause();
      }
      parts.active.classList.add('shown');
      parts.active.muted = player.isMuted;
      parts.active.playbackRate = player.rate || 1;
      const thumbnail = file.thumbnails[player.index];
      if (thumbnail) parts.active.poster = thumbnail;
      seekClip(at);
      if (player.isPlaying) start();
      loadNext();
    }

    function rest() {
      [parts.active, parts.standby].forEach((video) => { video.pause(); video.classList.remove('shown'); });
    }

    function loadNext() {
      const next = file.clips[player.index + 1];
      if (next && parts.standby.dataset.clip !== next) give(parts.standby, next);
    }

    function give(video, clip, address = clip) {
      video.dataset.clip = clip;
      video.src = address;
    }

    function seekClip(at) {
      wanted = at;
      if (parts.active.readyState >= 1) applySeek(parts.active);
    }

    function applySeek(video) {
      if (video !== parts.active || wanted === null) return;
      const isThere = Math.abs(video.currentTime - wanted) <= 1e-3;
      if (!isThere && !app.canSeek(video) && location.protocol.startsWith('http')) {
        takeWhole(video, video.dataset.clip);
        return;
      }
      if (!isThere) video.currentTime = wanted;
      wanted = null;
    }

    /* Load the whole clip, from a server that answers no ranges; the seek is made when it is there. */
    async function takeWhole(video, clip) {
      const address = await app.takeWhole(clip).catch(() => null);
      if (!address || video !== parts.active || video.dataset.clip !== clip || video.src === address) return;
      give(video, clip, address);
      if (player.isPlaying) start();
    }

    function start() {
      const promise = parts.active.play();
      if (promise) promise.catch(() => { if (!parts.active.ended) setPlaying(!parts.active.paused); });
    }

    function play() {
      parts.frame.classList.add('started');
      if (!file.clips[player.index]) {
        const next = file.clips.findIndex((clip, index) => clip && index > player.index);
        if (next < 0) return;
        setPlaying(true);
        show(next);
        return;
      }
      const isAtEnd = player.index === shots.length - 1 && parts.active.ended;
      setPlaying(true);
      if (isAtEnd) show(Math.max(0, file.clips.findIndex(Boolean)));
      else start();
    }

    function pause() {
      setPlaying(false);
      parts.active.pause();
      drawMasks(lastFrame);
    }

    function toggle() {
      if (player.isPlaying) pause();
      else play();
    }

    function setPlaying(isPlaying) {
      player.isPlaying = isPlaying;
      parts.frame.classList.toggle('playing', isPlaying);
      listeners.onPlay(isPlaying);
      if (isPlaying) requestAnimationFrame(tick);
    }

    function tick() {
      if (!player.isPlaying || !parts.stage.isConnected) return;
      report();
      requestAnimationFrame(tick);
    }

    const report = () => listeners.onTime(starts[player.index] + parts.active.currentTime);

    function step(by) {
      const to = player.index + by;
      if (to >= 0 && to < shots.length) show(to);
      else if (to < 0) show(0);
    }

    /* Go to a time of the story. */
    function seek(seconds) {
      let index = shots.findIndex((_, number) => seconds < starts[number + 1]);
      if (index < 0) index = shots.length - 1;
      show(index, Math.max(0, seconds - starts[index]));
    }

    /* Go to a frame of the video and stop there; return whether it lies in a shot. */
    function seekFrame(frame) {
      const index = shots.findIndex((shot) => shot.start_frame !== null && shot.start_frame <= frame && frame < shot.end_frame);
      if (index < 0) return false;
      pause();
      parts.frame.classList.add('started');
      show(index, (frame - shots[index].start_frame + 0.5) / fps);
      return true;
    }

    function setMuted(isMuted) {
      player.isMuted = isMuted;
      parts.active.muted = isMuted;
    }

    function setRate(rate) {
      player.rate = rate;
      parts.active.playbackRate = rate;
    }

    function setMasks(isOn) {
      player.masksOn = isOn;
      drawMasks(lastFrame);
    }

    let lastFrame = null;
    let drawn = '';

    function clearMasks() {
      parts.canvas.classList.remove('shown');
      drawn = '';
    }

    /* Draw the masks that belong to a frame of the shot. */
    function drawMasks(frameInShot) {
      lastFrame = frameInShot;
      const shot = shots[player.index];
      if (!player.masksOn || frameInShot === null || shot.start_frame === null) return clearMasks();
      const frame = shot.start_frame + frameInShot;
      const reach = player.isPlaying ? HOLD_FRAMES : 0;
      const near = (file.masks || []).filter((one) => Math.abs(one.frame_index - frame) <= reach
        && one.frame_index >= shot.start_frame && one.frame_index < shot.end_frame);
      if (!near.length) return clearMasks();
      const name = near.map((one) => `${one.character_id}@${one.frame_index}`).join();
      if (name !== drawn) {
        try {
          app.drawMasks(parts.canvas, near.map((one) => ({ mask: one.mask, colour: one.colour })));
        } catch { return clearMasks(); }
        drawn = name;
      }
      parts.canvas.classList.add('shown');
      return undefined;
    }

    function wordsFor(index) {
      const thumbnail = file.thumbnails[index];
      const source = app.shotSource(file.story, shots[index]);
      return [
        thumbnail && el('img', { src: thumbnail, alt: '' }),
        el('div', { class: 'no-clip-words' },
          el('p', {}, file.left_out || (file.media === 'copy' ? 'The dataset holds no clip of this shot.' : 'This site holds no clips.')),
          source && el('a', { href: source, target: '_blank', rel: 'noopener noreferrer', class: 'watch' }, 'Watch this shot at its source ↗')),
      ].filter(Boolean);
    }

    function listen(video) {
      const isActive = () => video === parts.active;
      video.addEventListener('loadedmetadata', () => {
        applySeek(video);
        if (isActive() && video.videoWidth) parts.frame.style.setProperty('--ratio', video.videoWidth / video.videoHeight);
      });
      video.addEventListener('ended', () => {
        if (!isActive()) return;
        if (player.index + 1 < shots.length) show(player.index + 1);
        else setPlaying(false);
        if (player.isPlaying && !file.clips[player.index]) pause();
      });
      video.addEventListener('timeupdate', () => { if (isActive() && !player.isPlaying) report(); });
      video.addEventListener('error', () => {
        if (!isActive() || !file.clips[player.index]) return;
        parts.frame.classList.add('without', 'broken');
        parts.words.replaceChildren(el('div', { class: 'no-clip-words' }, el('p', {}, 'This clip cannot be played here.')));
        pause();
      });
      const presented = (_, { mediaTime }) => {
        if (!parts.stage.isConnected) return;
        if (isActive()) drawMasks(Math.round(mediaTime * fps));
        video.requestVideoFrameCallback(presented);
      };
      if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(presented);
      else video.addEventListener('seeked', () => { if (isActive()) drawMasks(Math.floor(video.currentTime * fps)); });
    }

    [parts.active, parts.standby].forEach(listen);
    return player;
  };

  /* Return where each shot starts, in seconds of the story, and the end of the last one. */
  function startsOf(shots) {
    const starts = [];
    let at = 0;
    for (const shot of shots) {
      const isTimed = shot.start_time !== null && shot.start_time !== undefined && shot.start_time >= at - 1e-6;
      const start = isTimed ? shot.start_time : at;
      starts.push(start);
      at = shot.end_time !== null && shot.end_time !== undefined && shot.end_time > start ? shot.end_time : start + 1;
    }
    return [...starts, at];
  }

  /* Return the address of a shot at its source, or null. */
  app.shotSource = function (story, shot) {
    if (!story.url) return null;
    const isFramed = shot && shot.start_frame !== null && story.fps;
    return app.sourceAt(story.url, isFramed ? shot.start_frame / story.fps : (story.start_frame || 0) / (story.fps || 24));
  };
})(window.animeshooter);
