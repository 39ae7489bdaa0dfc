// Read values off the line plots: the description below a plot becomes the values at the pointer.
(() => {
  const svgNamespace = "http://www.w3.org/2000/svg";
  const shown = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString());

  for (const svg of document.querySelectorAll(".plot svg")) {
    const readout = svg.closest("figure").querySelector(".readout");
    const [x0, x1, y0, y1] = svg.dataset.scale.split(" ").map(Number);
    const [left, right, bottom, top] = svg.dataset.box.split(" ").map(Number);
    const lines = [...svg.querySelectorAll("polyline:not(.guide):not(.faint)")].map((line) => ({
      name: line.dataset.name,
      points: [...line.points].map((point) => [point.x, point.y]),
    }));
    const cursor = document.createElementNS(svgNamespace, "line");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", top);
    cursor.setAttribute("y2", bottom);
    cursor.style.display = "none";
    svg.append(cursor);

    svg.addEventListener("pointermove", (event) => {
      const dot = event.target.closest("[data-text]");
      if (dot) {
        readout.textContent = dot.dataset.text;
        return;
      }
      const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
      if (!lines.length || x < left || x > right) return;
      cursor.style.display = "";
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      const values = lines.map(({ name, points }) => {
        const near = points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));
        const y = y0 + ((bottom - near[1]) / (bottom - top)) * (y1 - y0);
        return `${name ? `${name} ` : ""}${shown(y)}`;
      });
      readout.textContent = `at ${shown(x0 + ((x - left) / (right - left)) * (x1 - x0))}: ${values.join(", ")}`;
    });
    svg.addEventListener("pointerleave", () => {
      cursor.style.display = "none";
      readout.textContent = readout.dataset.rest;
    });
  }
})();
