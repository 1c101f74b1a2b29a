'use strict';
/* COCO run-length masks: decoding, and drawing on a canvas that lies over a picture. */
(function (app) {
  const MAX_PIXELS = 2 ** 28;

  /* Return the runs of COCO's compressed text, the first one outside the mask; damaged text is an error. */
  app.decodeRuns = function (counts, limit) {
    const runs = [];
    let value = 0;
    let scale = 1;
    for (let at = 0; at < counts.length; at += 1) {
      const code = counts.charCodeAt(at) - 48;
      if (code < 0 || code > 63 || scale > 2 ** 30) throw new Error('This is not COCO run-length text.');
      value += (code & 31) * scale;
      scale *= 32;
      if (code & 32) continue;
      if (code & 16) value -= scale;
      if (runs.length > 2) value += runs[runs.length - 2];
      if (value < 0 || value > limit) throw new Error('A run lies outside of the mask.');
      runs.push(value);
      value = 0;
      scale = 1;
    }
    if (scale !== 1 || !runs.length) throw new Error('The text ends inside a run.');
    return runs;
  };

  /* Return {width, height, inside}, where `inside` holds a 0 or 1 per pixel, row by row. */
  app.decodeMask = function (mask) {
    const [height, width] = mask.size;
    if (!(height > 0 && width > 0 && height * width <= MAX_PIXELS)) throw new Error('A mask has no such size.');
    const runs = app.decodeRuns(mask.counts, height * width);
    if (runs.reduce((sum, run) => sum + run, 0) !== height * width) throw new Error('The runs do not fill the mask.');
    const inside = new Uint8Array(height * width);
    let at = 0; // counts column by column
    runs.forEach((run, number) => {
      if (number % 2) {
        for (let pixel = at; pixel < at + run; pixel += 1) {
          inside[(pixel % height) * width + Math.floor(pixel / height)] = 1;
        }
      }
      at += run;
    });
    return { width, height, inside };
  };

  /* Draw masks on a canvas: [{mask, colour}], a tint inside and a line around each. */
  app.drawMasks = function (canvas, layers) {
    const decoded = layers.map(({ mask, colour }) => ({ ...app.decodeMask(mask), colour }));
    if (!decoded.length) return;
    const { width, height } = decoded[0];
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext('2d');
    const image = context.createImageData(width, height);
    decoded.filter((one) => one.width === width && one.height === height).forEach((one) => tint(image, one));
    context.putImageData(image, 0, 0);
  };

  function tint(image, { width, height, inside, colour }) {
    const rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const line = Math.max(1, Math.round(Math.max(width, height) / 360));
    const isOut = (x, y) => x < 0 || y < 0 || x >= width || y >= height || !inside[y * width + x];
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const at = y * width + x;
        if (!inside[at]) continue;
        const isEdge = isOut(x - line, y) || isOut(x + line, y) || isOut(x, y - line) || isOut(x, y + line);
        image.data.set(rgb, at * 4);
        image.data[at * 4 + 3] = isEdge ? 255 : 96;
      }
    }
  }

  /* Draw what of a picture lies inside of a mask. */
  app.drawCutout = function (canvas, picture, mask) {
    const { width, height, inside } = app.decodeMask(mask);
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext('2d');
    const image = context.createImageData(width, height);
    for (let at = 0; at < inside.length; at += 1) image.data[at * 4 + 3] = inside[at] * 255;
    context.putImageData(image, 0, 0);
    context.globalCompositeOperation = 'source-in';
    context.drawImage(picture, 0, 0, width, height);
  };
})(window.animeshooter);
