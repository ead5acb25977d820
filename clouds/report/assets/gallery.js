// The gallery of generated images: choosing, ordering, paging, comparing. Pictures are loaded when they are seen.

const PAGE_ITEMS = 48;
const NUMBER = { id: 0, prompt: 1, seed: 2, confidence: 3, changed: 4, ignored: 5, classes: 6, problem: 7 };

// Every item as one object; the texts are searched in lower case.
function listItems() {
  const items = [];
  for (const script of document.querySelectorAll("script.items")) {
    const { shard, per, items: rows } = JSON.parse(script.textContent);
    rows.forEach((row, number) => {
      const item = { number: items.length, file: `${shard}-${String(Math.floor(number / per)).padStart(2, "0")}`, place: number % per };
      for (const [name, at] of Object.entries(NUMBER)) item[name] = row[at];
      item.text = item.prompt.toLowerCase();
      item.shares = new Map(item.classes);
      items.push(item);
    });
  }
  return items;
}

// Files of pictures: in the page, or beside it. The last few stay in memory.
const store = {
  kept: new Map(),
  waiting: new Map(),
  most: 12,

  get(file) {
    if (this.kept.has(file)) {
      const found = this.kept.get(file);
      this.kept.delete(file);
      this.kept.set(file, found);
      return found;
    }
    const found = this.embedded(file) ?? this.beside(file);
    this.kept.set(file, found);
    // one that is on its way is asked for once: a second promise would take the first one's place for good
    for (const name of this.kept.keys()) {
      if (this.kept.size <= this.most) break;
      if (!this.waiting.has(name)) this.kept.delete(name);
    }
    return found;
  },

  embedded(file) {
    const script = document.querySelector(`script.pictures[data-name="${file}"]`);
    return script && Promise.resolve(JSON.parse(script.textContent));
  },

  beside(file) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      this.waiting.set(file, resolve);
      script.src = `gallery/${file}.js`;
      script.onload = () => script.remove();
      script.onerror = () => { script.remove(); this.kept.delete(file); this.waiting.delete(file); reject(new Error(`gallery/${file}.js is not beside this page`)); };
      document.head.append(script);
    });
  },
};

// what the files of pictures call
window.cloudsPictures = (file, pictures) => {
  store.waiting.get(file)?.(pictures);
  store.waiting.delete(file);
};

const percent = (share, digits = 0) => (share === null ? "–" : `${(100 * share).toFixed(digits)}\u00a0%`);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const largest = (item) => item.classes.slice(0, 3).map(([id, share]) => `${setup.classes[id]} ${percent(share)}`).join(", ");

const gallery = {
  items: [],
  shown: [],
  page: 0,
  view: "compare",
  open: -1,
  at: {},

  start() {
    const names = ["gallery", "find", "class", "order", "least", "least-said", "strength", "strength-said", "found", "clear", "cards", "previous", "next", "page", "details", "details-title", "details-body", "close", "earlier", "later", "own-colors"];
    for (const name of names) this.at[name] = document.getElementById(name);
    if (!this.at.gallery) return;
    this.items = listItems();
    this.at.gallery.hidden = false;
    this.offer();
    this.fillChoices();
    this.listen();
    this.choose();
  },

  // Only what some image has something to show for: a teacher within a training, for one, leaves images without labels.
  offer() {
    const known = (name) => this.items.some((item) => item[name] !== null);
    this.has = { labels: known("ignored"), confidence: known("confidence"), change: known("changed") };
    for (const one of document.querySelectorAll("#gallery [data-needs]")) one.hidden = !this.has[one.dataset.needs];
    for (const one of this.at.order.querySelectorAll("[data-needs]")) one.disabled = one.hidden;
    if (!this.has.change) document.getElementById("compare-said").textContent = "label";
  },

  fillChoices() {
    const counts = setup.classes.map((_, id) => this.items.filter((item) => item.shares.has(id)).length);
    setup.classes.forEach((name, id) => this.at.class.append(element("option", { value: id }, `${name} (${counts[id]})`)));
    const most = this.items.reduce((largest, item) => Math.max(largest, item.changed ?? 0), 0);
    // steps as fine as the largest change there is; whole percents would be all or nothing
    this.at.least.max = Math.max(1, Math.ceil(100 * most));
    this.at.least.step = this.at.least.max > 20 ? 1 : 0.1;
  },

  listen() {
    const choose = () => this.choose();
    let pause;
    this.at.find.addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(choose, 120); });
    this.at.class.addEventListener("change", () => {
      classColors.highlighted = this.at.class.value === "" ? null : Number(this.at.class.value);
      classColors.apply();
      choose();
    });
    this.at.order.addEventListener("change", choose);
    this.at.least.addEventListener("input", choose);
    this.at.strength.addEventListener("input", () => this.say());
    this.at.clear.addEventListener("click", () => this.clear());
    this.at.previous.addEventListener("click", () => this.turn(this.page - 1));
    this.at.next.addEventListener("click", () => this.turn(this.page + 1));
    this.at.page.addEventListener("change", () => this.turn(Number(this.at.page.value)));
    for (const radio of document.querySelectorAll("input[name=view]")) {
      radio.addEventListener("change", () => { this.view = radio.value; this.at.cards.dataset.view = radio.value; });
    }
    this.at["own-colors"]?.addEventListener("change", (event) => {
      classColors.own = event.target.checked;
      classColors.apply();
      this.show();
    });
    this.at.close.addEventListener("click", () => this.at.details.close());
    this.at.earlier.addEventListener("click", () => this.detail(this.open - 1));
    this.at.later.addEventListener("click", () => this.detail(this.open + 1));
    this.at.cards.dataset.view = this.view;
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) { this.seen.unobserve(entry.target); this.fill(entry.target); }
    }, { rootMargin: "400px" });
  },

  clear() {
    this.at.find.value = "";
    this.at.class.value = "";
    this.at.least.value = 0;
    classColors.highlighted = null;
    classColors.apply();
    this.choose();
    this.at.find.focus();
  },

  // the items that were asked for, in the order that was asked for; then the first page of them
  choose() {
    const words = this.at.find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const id = this.at.class.value === "" ? null : Number(this.at.class.value);
    const least = Number(this.at.least.value) / 100;
    this.shown = this.items.filter((item) =>
      words.every((word) => item.text.includes(word)) && (id === null || item.shares.has(id)) && (least === 0 || (item.changed ?? -1) >= least));
    const by = {
      changed: (item) => -(item.changed ?? -1),
      unchanged: (item) => item.changed ?? 2,
      worst: (item) => item.confidence ?? 2,
      best: (item) => -(item.confidence ?? -1),
      class: (item) => (id === null ? 0 : -(item.shares.get(id) ?? 0)),
    }[this.at.order.value];
    if (by) this.shown.sort((one, other) => by(one) - by(other) || one.number - other.number);
    const chosen = this.shown.length < this.items.length;
    this.at.clear.hidden = !chosen && words.length === 0;
    this.page = 0;
    this.say();
    this.show();
  },

  say() {
    this.at["least-said"].textContent = `${Number(this.at.least.value).toFixed(this.at.least.step < 1 ? 1 : 0)}\u00a0%`;
    this.at["strength-said"].textContent = `${this.at.strength.value}\u00a0%`;
    this.at.cards.style.setProperty("--strength", this.at.strength.value / 100);
    this.at.details.style.setProperty("--strength", this.at.strength.value / 100);
    const of = this.items.length.toLocaleString("en");
    this.at.found.textContent = this.shown.length ? `${this.shown.length.toLocaleString("en")} of ${of} images` : `None of ${of} images is like that.`;
  },

  pages() {
    return Math.max(1, Math.ceil(this.shown.length / PAGE_ITEMS));
  },

  turn(page) {
    this.page = Math.min(Math.max(page, 0), this.pages() - 1);
    this.show();
    this.at.found.scrollIntoView({ block: "start" });
  },

  show() {
    const start = this.page * PAGE_ITEMS;
    const items = this.shown.slice(start, start + PAGE_ITEMS);
    this.seen.disconnect();
    this.at.cards.replaceChildren(...items.map((item, number) => this.card(item, start + number)));
    this.at.cards.start = start + 1;
    this.at.previous.disabled = this.page === 0;
    this.at.next.disabled = this.page >= this.pages() - 1;
    if (this.at.page.options.length !== this.pages()) {
      const options = Array.from({ length: this.pages() }, (_, number) => element("option", { value: number }, `${number + 1} of ${this.pages()}`));
      this.at.page.replaceChildren(...options);
    }
    this.at.page.value = this.page;
    for (const card of this.at.cards.children) this.seen.observe(card);
  },

  card(item, position) {
    const facts = [`seed ${item.seed ?? "–"}`];
    const numbers = element("p", { class: "numbers" });
    if (this.has.confidence) numbers.append(element("span", { title: "mean confidence of the pseudo-label" }, `confidence ${percent(item.confidence)}`));
    if (this.has.change) numbers.append(element("span", { title: "pixels whose label refinement changed" }, `changed ${percent(item.changed, 1)}`));
    const more = element("button", { type: "button", class: "more", "aria-label": `Details of image ${item.id}` }, "details");
    more.addEventListener("click", () => this.detail(position));
    const card = element("li", { class: "card" },
      element("div", { class: "stack empty" }),
      element("p", { class: "prompt", title: item.prompt }, item.prompt || item.id),
      numbers, element("p", { class: "note" }, element("code", {}, facts.join(", ")), more));
    card.item = item;
    return card;
  },

  async fill(card) {
    const { item } = card;
    try {
      if (item.problem) throw new Error(item.problem);
      const pictures = (await store.get(item.file))[item.place];
      if (card.isConnected) card.querySelector(".stack").replaceWith(stack(item, pictures));
    } catch (error) {
      card.querySelector(".stack").replaceChildren(element("p", {}, `No picture: ${error.message}`));
    }
  },

  async detail(position) {
    if (position < 0 || position >= this.shown.length) return;
    this.open = position;
    const item = this.shown[position];
    this.at["details-title"].textContent = item.prompt || item.id;
    this.at.earlier.disabled = position === 0;
    this.at.later.disabled = position === this.shown.length - 1;
    const facts = element("dl", { class: "facts" });
    const told = [["image", item.id], ["seed", item.seed ?? "–"]];
    if (this.has.confidence) told.push(["mean confidence", percent(item.confidence, 1)]);
    if (this.has.change) told.push(["pixels changed", percent(item.changed, 1)]);
    if (this.has.labels) told.push(["without a label", percent(item.ignored, 1)], ["largest classes", largest(item) || "–"]);
    for (const [key, value] of told) facts.append(element("div", {}, element("dt", {}, key), element("dd", {}, value)));
    this.at["details-body"].replaceChildren(facts);
    if (!this.at.details.open) this.at.details.showModal();
    try {
      if (item.problem) throw new Error(item.problem);
      const pictures = (await store.get(item.file))[item.place];
      if (this.open === position) this.at["details-body"].replaceChildren(element("div", { class: "big" }, stack(item, pictures), facts), strip(item, pictures));
    } catch (error) {
      this.at["details-body"].prepend(element("p", {}, `No picture: ${error.message}`));
    }
  },
};

function layer(kind, uri, alt, size) {
  return element("img", { class: kind, src: uri, alt, width: size.w, height: size.h, draggable: false });
}

// The image with its labels over it; where there are two of them, a slider says how much of each is seen.
function stack(item, pictures) {
  const made = element("div", { class: "stack" });
  made.style.aspectRatio = `${pictures.w} / ${pictures.h}`;
  made.append(layer("photo", `data:image/webp;base64,${pictures.p}`, `Generated image: ${item.prompt}`, pictures));
  if (pictures.b) made.append(layer("label before", recolor.uri(pictures.b), pictures.a ? "Pseudo-label" : `Pseudo-label: ${largest(item)}`, pictures));
  if (pictures.a) made.append(layer("label after", recolor.uri(pictures.a), `Refined label: ${largest(item)}`, pictures));
  if (pictures.c) made.append(layer("sure", recolor.uri(pictures.c), `Confidence, ${percent(item.confidence)} on average`, pictures));
  if (pictures.d) made.append(layer("changes", recolor.uri(pictures.d), `What refinement changed: ${percent(item.changed, 1)} of pixels`, pictures));
  if (pictures.a) made.append(...slider(made, item));
  return made;
}

function slider(made, item) {
  const range = element("input", { type: "range", class: "split", min: 0, max: 100, value: 50, "aria-label": `Pseudo-label and refined label of image ${item.id}` });
  const set = () => {
    made.style.setProperty("--split", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % pseudo-label, ${100 - range.value} % refined`);
  };
  range.addEventListener("input", set);
  set();
  return [range, element("span", { class: "handle", "aria-hidden": "true" }), element("span", { class: "tag left", "aria-hidden": "true" }, "before"), element("span", { class: "tag right", "aria-hidden": "true" }, "after")];
}

function strip(item, pictures) {
  const made = element("div", { class: "strip" });
  const add = (uri, alt, caption, kind = "still") => made.append(
    element("figure", {}, layer(kind, uri, alt, pictures), element("figcaption", {}, caption)));
  add(`data:image/webp;base64,${pictures.p}`, `Generated image: ${item.prompt}`, "Image", "");
  if (pictures.b) add(recolor.uri(pictures.b), "Pseudo-label", "Pseudo-label");
  if (pictures.c) add(recolor.uri(pictures.c), `Confidence, ${percent(item.confidence)} on average`, `Confidence, ${percent(item.confidence)} on average`);
  if (pictures.a) add(recolor.uri(pictures.a), `Refined label: ${largest(item)}`, "Refined label");
  if (pictures.d) add(recolor.uri(pictures.d), `What refinement changed: ${percent(item.changed, 1)} of pixels`, `Changed: ${percent(item.changed, 1)} of pixels`, "changes");
  for (const [stage, picture] of pictures.e ?? []) add(recolor.uri(picture), `Refined label of ${stage}`, `Refined before, ${stage}`);
  return made;
}

gallery.start();
