// The projection of the embeddings: hover or arrow keys name a clip.
(() => {
  const data = readData("map-data");
  if (!data) return;
  const box = byId("map");
  const canvas = box.querySelector("canvas");
  const filter = byId("map-class");
  const palette = ["#4c8bf5", "#e8710a", "#1fa37a", "#d64f8b", "#9a67ea", "#b08900", "#17a2c4", "#e05b4b", "#6b9e23", "#8c6d5a"];
  const grey = "#8b95a3";
  const spread = 1000; // the largest coordinate
  const pad = 12;
  const predicted = [];
  data.wrong.forEach((wrong, i) => wrong && (predicted[i] = data.predicted[predicted.filter(() => true).length]));
  const tip = create("div", "tip");
  tip.hidden = true;
  box.append(tip);
  let chosen = -1;
  let width = 0;
  let height = 0;

  const shown = (i) => filter.value === "" || data.labels[data.label[i]] === filter.value;
  const place = (i) => [
    pad + (data.x[i] / spread) * (width - 2 * pad),
    height - pad - (data.y[i] / spread) * (height - 2 * pad),
  ];
  const draw = () => {
    width = box.clientWidth;
    height = Math.min(560, Math.max(300, Math.round(width * 0.6)));
    const context = sized(canvas, width, height);
    const [text, bad] = [color("text"), color("bad")];
    const radius = data.x.length > 3000 ? 2 : 3.5;
    for (const wrong of [0, 1]) {
      for (let i = 0; i < data.x.length; i += 1) {
        if (data.wrong[i] !== wrong) continue;
        const [x, y] = place(i);
        context.globalAlpha = shown(i) ? 0.85 : 0.08;
        context.fillStyle = palette[data.label[i]] ?? grey;
        context.beginPath();
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.fill();
        if (wrong) {
          context.strokeStyle = bad;
          context.lineWidth = 1.5;
          context.beginPath();
          context.arc(x, y, radius + 2.5, 0, 2 * Math.PI);
          context.stroke();
        }
      }
    }
    context.globalAlpha = 1;
    if (chosen >= 0) {
      context.strokeStyle = text;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(...place(chosen), radius + 6, 0, 2 * Math.PI);
      context.stroke();
    }
  };

  const choose = (i) => {
    if (i === chosen && !tip.hidden) return;
    chosen = i;
    if (i >= 0) {
      const answer = data.wrong[i] ? `predicted ${predicted[i]}` : "predicted right";
      byId("map-readout").textContent = `${data.clip[i]}: ${data.labels[data.label[i]]}, ${answer}`;
    }
    tip.hidden = i < 0;
    draw();
    if (i < 0) return;
    tip.textContent = byId("map-readout").textContent;
    const [x, y] = place(i);
    tip.style.left = `${Math.max(0, Math.min(x + 12, width - tip.offsetWidth))}px`;
    tip.style.top = `${y > height / 2 ? y - tip.offsetHeight - 12 : y + 12}px`;
  };

  const nearest = (x, y) => {
    let best = -1;
    let least = 15 ** 2;
    for (let i = 0; i < data.x.length; i += 1) {
      if (!shown(i)) continue;
      const [a, b] = place(i);
      const distance = (a - x) ** 2 + (b - y) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  };

  box.addEventListener("pointermove", (event) => {
    const area = canvas.getBoundingClientRect();
    const found = nearest(event.clientX - area.left, event.clientY - area.top);
    if (found >= 0) choose(found);
  });
  const open = () => chosen >= 0 && document.dispatchEvent(new CustomEvent("open-clip", { detail: data.clip[chosen] }));
  box.addEventListener("click", open);
  box.addEventListener("pointerleave", () => (tip.hidden = true));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter") open();
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    for (let tried = 1, i = chosen; tried <= data.x.length; tried += 1) {
      i = (i + step + data.x.length) % data.x.length;
      if (shown(i)) {
        choose(i);
        break;
      }
    }
  });
  filter.addEventListener("change", () => {
    byId("map-readout").textContent = "No clip is chosen.";
    choose(-1);
    draw();
  });
  const legend = data.labels.slice(0, palette.length).map((label, i) => [label, palette[i]]);
  if (data.labels.length > palette.length) legend.push([`${data.labels.length - palette.length} more classes`, grey]);
  for (const [label, shade] of legend) {
    const entry = create("span");
    const swatch = create("span", "swatch");
    swatch.style.background = shade;
    entry.append(swatch, label);
    byId("map-legend").append(entry);
  }
  redrawn(box, draw);
})();
