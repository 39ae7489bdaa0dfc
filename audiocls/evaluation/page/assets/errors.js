// The error browser: a list of errors, and the chosen one with its picture, sound and probabilities.
(() => {
  const data = readData("browser-data");
  if (!data) return;
  const browser = byId("browser");
  const list = byId("browser-list");
  const filter = byId("browser-class");
  const detail = byId("browser-detail");
  const audio = detail.querySelector("audio");
  let entries = [];
  let chosen = 0;

  const named = (labels) => labels.join(" + ") || "(none)";
  const isOfClass = (item) => filter.value === "" || item.true.includes(filter.value) || item.predicted.includes(filter.value);

  const fill = () => {
    const { about, entries: all } = data.lists[browser.querySelector("[name=list]:checked").value];
    entries = all.filter(([position]) => isOfClass(data.items[position]));
    byId("browser-about").textContent = about;
    list.replaceChildren(
      ...entries.map(([position, remark], i) => {
        const item = data.items[position];
        const option = create("div", "option");
        option.id = `error-${i}`;
        option.setAttribute("role", "option");
        option.append(create("b", "", `${named(item.true)} → ${named(item.predicted)}`), create("small", "", item.clip));
        if (remark) option.title = remark;
        option.addEventListener("click", () => choose(i));
        return option;
      }),
    );
    if (!entries.length) {
      const none = create("div", "option", "No error of this class in this list.");
      none.setAttribute("role", "option");
      none.setAttribute("aria-disabled", "true");
      list.append(none);
      list.removeAttribute("aria-activedescendant");
    }
    detail.hidden = !entries.length;
    if (entries.length) choose(0);
  };

  const choose = (i) => {
    chosen = Math.max(0, Math.min(entries.length - 1, i));
    for (const option of list.children) option.setAttribute("aria-selected", String(option.id === `error-${chosen}`));
    list.setAttribute("aria-activedescendant", `error-${chosen}`);
    const option = list.children[chosen];
    if (option.offsetTop < list.scrollTop) list.scrollTop = option.offsetTop;
    const below = option.offsetTop + option.offsetHeight - list.clientHeight;
    if (below > list.scrollTop) list.scrollTop = below;
    show(data.items[entries[chosen][0]], entries[chosen][1]);
  };

  // Of clips with several labels: which are missed, and which are false.
  const difference = (item) => {
    if (item.true.length === 1 && item.predicted.length === 1) return "";
    const missed = item.true.filter((label) => !item.predicted.includes(label));
    const wrong = item.predicted.filter((label) => !item.true.includes(label));
    return [missed.length ? `missed: ${missed.join(", ")}` : "", wrong.length ? `false: ${wrong.join(", ")}` : ""]
      .filter(Boolean)
      .join("; ");
  };

  const show = (item, remark) => {
    detail.querySelector(".position").textContent = `${chosen + 1} of ${entries.length}`;
    const answer = detail.querySelector(".answer");
    answer.replaceChildren(`${named(item.true)} → `, create("span", "wrong", named(item.predicted)));
    detail.querySelector(".remark").textContent = remark || difference(item);
    const picture = detail.querySelector(".spectrogram");
    picture.hidden = audio.hidden = !item.picture;
    detail.querySelector(".silent").hidden = Boolean(item.picture);
    audio.pause();
    if (item.picture) {
      picture.src = item.picture;
      picture.alt = `Spectrogram of ${item.clip}`;
      audio.src = item.sound;
      audio.setAttribute("aria-label", `Sound of ${item.clip}`);
    } else {
      picture.removeAttribute("src");
      audio.removeAttribute("src");
    }
    showProbabilities(item);
    showFacts(item);
  };

  const showProbabilities = (item) => {
    const table = detail.querySelector(".probabilities");
    table.hidden = !item.probabilities.length;
    table.tBodies[0].replaceChildren(
      ...item.probabilities.map(([label, probability]) => {
        const row = create("tr");
        const head = create("th", "", item.true.includes(label) ? `${label} (true)` : label);
        head.scope = "row";
        const meter = create("meter");
        meter.value = probability;
        meter.setAttribute("aria-label", `Probability of ${label}`);
        const cell = create("td");
        cell.append(meter, ` ${probability.toFixed(3)}`);
        row.append(head, cell);
        return row;
      }),
    );
  };

  const showFacts = (item) => {
    const facts = [["file", item.file], ["group", item.group], ["split", item.split], ["length", item.part]];
    detail.querySelector(".facts").replaceChildren(
      ...facts
        .filter(([, value]) => value)
        .map(([name, value]) => {
          const fact = create("div");
          fact.append(create("dt", "", name), create("dd", "", value));
          return fact;
        }),
    );
  };

  const toggle = () => (audio.paused ? audio.play().catch(() => {}) : audio.pause());
  const steps = { j: 1, k: -1, ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
  // Letters work anywhere on the page, the other keys in the list, where they have no other meaning.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !entries.length) return;
    if (event.target.closest?.("select, input[type=text], textarea")) return;
    const inList = event.target === list;
    if (event.key === " " && inList) {
      event.preventDefault();
      toggle();
    } else if (steps[event.key] && (inList || event.key.length === 1)) {
      event.preventDefault();
      if (!inList) {
        browser.scrollIntoView({ block: "nearest" });
        list.focus({ preventScroll: true });
      }
      choose(chosen + steps[event.key]);
    }
  });
  // The projection asks for a clip by its name.
  document.addEventListener("open-clip", (event) => {
    const position = data.items.findIndex((item) => item.clip === event.detail);
    if (position < 0) return;
    const [key] = Object.entries(data.lists).find(([, { entries: all }]) => all.some(([each]) => each === position));
    browser.querySelector(`[name=list][value=${key}]`).checked = true;
    filter.value = "";
    fill();
    choose(entries.findIndex(([each]) => each === position));
    browser.scrollIntoView();
    list.focus({ preventScroll: true });
  });
  for (const radio of browser.querySelectorAll("[name=list]")) radio.addEventListener("change", fill);
  filter.addEventListener("change", fill);
  fill();
})();
