// The confusion matrix of many classes, as a heat map with a readout.
(() => {
  const data = readData("matrix-data");
  if (!data) return;
  const { labels, counts } = data;
  const box = byId("matrix");
  const canvas = box.querySelector("canvas");
  const number = labels.length;
  const totals = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
  const chosen = { row: -1, column: -1 };
  let margin = 0;
  let side = 0;

  const shortened = (label) => (label.length > 18 ? `${label.slice(0, 17)}…` : label);
  const font = (size) => `${size}px system-ui, sans-serif`;
  const draw = () => {
    const width = box.clientWidth;
    const measured = canvas.getContext("2d");
    measured.font = font(10);
    margin = width < 600 ? 0 : 10 + Math.ceil(Math.max(...labels.map((label) => measured.measureText(shortened(label)).width)));
    side = Math.max(3, Math.min(22, Math.floor((width - margin) / number)));
    const context = sized(canvas, margin + side * number, margin + side * number);
    const [heat, track, text] = [color("heat"), color("track"), color("text")];
    context.fillStyle = track;
    context.fillRect(margin, margin, side * number, side * number);
    counts.forEach((row, i) =>
      row.forEach((count, j) => {
        if (!count) return;
        context.globalAlpha = 0.2 + 0.8 * Math.sqrt(count / totals[i]);
        context.fillStyle = heat;
        context.fillRect(margin + j * side, margin + i * side, side, side);
      }),
    );
    context.globalAlpha = 1;
    if (margin && side >= 7) {
      context.fillStyle = text;
      context.font = font(Math.min(10, side + 1));
      context.textBaseline = "middle";
      labels.forEach((label, i) => {
        context.textAlign = "right";
        context.fillText(shortened(label), margin - 6, margin + (i + 0.5) * side, margin - 8);
        context.save();
        context.translate(margin + (i + 0.5) * side, margin - 6);
        context.rotate(-Math.PI / 2);
        context.textAlign = "left";
        context.fillText(shortened(label), 0, 0, margin - 8);
        context.restore();
      });
    }
    if (chosen.row >= 0) {
      context.strokeStyle = text;
      context.lineWidth = 2;
      context.strokeRect(margin + chosen.column * side - 1, margin + chosen.row * side - 1, side + 2, side + 2);
    }
  };

  const choose = (row, column) => {
    if (row < 0 || column < 0 || row >= number || column >= number) return;
    if (row === chosen.row && column === chosen.column) return;
    Object.assign(chosen, { row, column });
    const share = totals[row] ? ` (${Math.round((100 * counts[row][column]) / totals[row])} %)` : "";
    byId("matrix-readout").textContent =
      `true ${labels[row]}, predicted ${labels[column]}: ${counts[row][column]} of ${totals[row]} clips${share}`;
    draw();
  };

  box.addEventListener("pointermove", (event) => {
    const place = canvas.getBoundingClientRect();
    const cell = (at) => Math.floor((at - margin) / side);
    choose(cell(event.clientY - place.top), cell(event.clientX - place.left));
  });
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  box.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    if (chosen.row < 0) choose(0, 0);
    else choose(chosen.row + step[0], chosen.column + step[1]);
  });
  redrawn(box, draw);
})();
