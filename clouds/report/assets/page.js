// The page around the gallery: light or dark, and the colours of classes. It knows no item.
"use strict";

const setup = JSON.parse(document.getElementById("setup").textContent);

const theme = {
  key: "clouds-theme",
  root: document.documentElement,
  button: document.getElementById("theme"),

  start() {
    const kept = remembered(this.key);
    if (kept === "light" || kept === "dark") this.root.dataset.theme = kept;
    this.button.hidden = false;
    this.button.addEventListener("click", () => this.set(this.isDark() ? "light" : "dark"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.say());
    this.say();
  },

  isDark() {
    const chosen = this.root.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  },

  set(name) {
    this.root.dataset.theme = name;
    remember(this.key, name);
    this.say();
  },

  say() {
    const other = this.isDark() ? "Light" : "Dark";
    document.getElementById("theme-name").textContent = other;
    this.button.setAttribute("aria-label", `${other} colours`);
  },
};

// a page that is opened as a file may be denied storage
function remembered(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

function remember(key, value) {
  try { localStorage.setItem(key, value); } catch { /* it lasts as long as the page */ }
}

// Palette PNGs hold their colours in a chunk of their own: exchanging that recolours a picture without decoding it.
const recolor = {
  exchange: new Map(),
  crcs: Uint32Array.from({ length: 256 }, (_, number) => {
    for (let bit = 0; bit < 8; bit++) number = number & 1 ? 0xedb88320 ^ (number >>> 1) : number >>> 1;
    return number;
  }),

  // which colours take the places of which, as [red, green, blue]
  use(pairs) {
    this.exchange = new Map(pairs.map(([from, to]) => [from.join(), to]));
  },

  uri(base64) {
    return `data:image/png;base64,${this.exchange.size ? this.png(base64) : base64}`;
  },

  png(base64) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    let at = 8;
    while (at < bytes.length && view.getUint32(at + 4) !== 0x504c5445) at += 12 + view.getUint32(at);
    if (at >= bytes.length) return base64;
    const size = view.getUint32(at);
    for (let entry = at + 8; entry < at + 8 + size; entry += 3) {
      const to = this.exchange.get(bytes.subarray(entry, entry + 3).join());
      if (to) bytes.set(to, entry);
    }
    view.setUint32(at + 8 + size, this.crc(bytes.subarray(at + 4, at + 8 + size)));
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
  },

  crc(bytes) {
    let sum = 0xffffffff;
    for (const byte of bytes) sum = this.crcs[(sum ^ byte) & 255] ^ (sum >>> 8);
    return (sum ^ 0xffffffff) >>> 0;
  },
};

const classColors = {
  own: false,
  highlighted: null,

  // tell everything that is coloured by class; the gallery redraws itself
  apply() {
    const shown = this.own ? setup.own : setup.safe;
    recolor.use(setup.safe.map((from, id) => [from, this.faded(shown[id], id)]).filter(([from, to]) => from.join() !== to.join()));
    for (const swatch of document.querySelectorAll(".swatch[data-color]")) {
      const id = setup.safe.findIndex((color) => hex(color) === swatch.dataset.color);
      if (id >= 0) swatch.style.background = hex(shown[id]);
    }
    for (const image of document.querySelectorAll("img.flat[src^='data:image/png']")) {
      image.dataset.png ||= image.src.slice(image.src.indexOf(",") + 1);
      const names = new Map(setup.safe.map((from, id) => [from.join(), shown[id]]));
      image.src = `data:image/png;base64,${recolorWith(names, image.dataset.png)}`;
    }
  },

  // of all classes but the one that was asked for, little more than grey remains
  faded(color, id) {
    if (this.highlighted === null || this.highlighted === id) return color;
    const grey = Math.round(0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]);
    return color.map((channel) => Math.round(0.2 * channel + 0.4 * grey + 0.4 * 128));
  },
};

function recolorWith(names, base64) {
  const kept = recolor.exchange;
  recolor.exchange = names;
  const changed = recolor.png(base64);
  recolor.exchange = kept;
  return changed;
}

function hex(color) {
  return `#${color.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}

// a wide table is shown whole where there is room for it: only one that scrolls is a stop for the keyboard
function stops() {
  for (const region of document.querySelectorAll(".scroll")) {
    if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
    else region.removeAttribute("tabindex");
  }
}

theme.start();
stops();
addEventListener("resize", stops);
