(() => {
  "use strict";
  const root = document.documentElement;
  const every = (selector, within) => [...(within || document).querySelectorAll(selector)];

  // Light, dark, or as the system has it; kept where the browser lets a file keep anything.
  const button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  let theme = "auto";
  try { theme = localStorage.getItem("anchorbench-theme") || "auto"; } catch { theme = "auto"; }
  const dress = () => {
    if (theme === "auto") root.removeAttribute("data-theme"); else root.dataset.theme = theme;
    button.textContent = `colours: ${theme}`;
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("anchorbench-theme", theme); } catch { /* a file may keep nothing */ }
    dress();
  });
  dress();

  // The value of a point or bar, beside the pointer: its <title>, without the browser's delay.
  const tip = document.getElementById("tip");
  const show = (item) => {
    const box = item.getBoundingClientRect();
    tip.textContent = item.dataset.tip;
    tip.hidden = false;
    const left = Math.min(box.right + 10, window.innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, box.top - tip.offsetHeight - 8)}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const item of every(".point > title, .part > title")) {
    const parent = item.parentElement;
    parent.dataset.tip = item.textContent;
    item.remove();
    parent.addEventListener("pointerenter", () => show(parent));
    parent.addEventListener("pointerleave", hide);
  }

  for (const chart of every(".chart")) {
    const curves = every(".curve", chart);
    const rows = every("button", chart.closest(".drawn"));
    const only = (n) => {
      chart.classList.toggle("one", n !== null);
      for (const curve of curves) curve.classList.toggle("on", curve.dataset.n === n);
    };
    for (const row of rows) {
      const mine = curves.filter((curve) => curve.dataset.n === row.dataset.n);
      row.addEventListener("click", () => {
        const on = row.getAttribute("aria-pressed") !== "true";
        row.setAttribute("aria-pressed", String(on));
        for (const curve of mine) curve.classList.toggle("off", !on);
      });
      row.addEventListener("pointerenter", () => only(row.dataset.n));
      row.addEventListener("pointerleave", () => only(null));
      row.addEventListener("focus", () => only(row.dataset.n));
      row.addEventListener("blur", () => only(null));
    }
    // The arrows walk from point to point.
    let at = -1;
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const points = every(".curve:not(.off) .point", chart);
      if (!step || !points.length) return;
      event.preventDefault();
      for (const point of points) point.classList.remove("at");
      at = (at + step + points.length) % points.length;
      points[at].classList.add("at");
      points[at].scrollIntoView({ block: "nearest" });
      show(points[at]);
    });
    chart.addEventListener("blur", () => { hide(); for (const point of every(".at", chart)) point.classList.remove("at"); });
  }

  // Tables sort by a click on a heading: numbers as numbers, dashes and rows without cells last.
  const units = { s: 1, min: 60, h: 3600 };
  const value = (cell) => {
    if (!cell) return null;
    const copy = cell.cloneNode(true);
    for (const small of every("small", copy)) small.remove();
    const text = copy.textContent.trim().replace(/\u2212/g, "-").replace(/[\u202f,](?=\d{3})/g, "");
    if (!text || text === "–") return null;
    const time = [...text.matchAll(/([\d.]+) (h|min|s)\b/g)];
    if (time.length && /^[\d.]/.test(text)) return time.reduce((sum, [, n, unit]) => sum + n * units[unit], 0);
    const found = text.match(/^[<≥≤]?\s*([+-]?\d+(\.\d+)?(e[+-]?\d+)?)/i);
    return found ? Number(found[1]) : text.toLowerCase();
  };
  for (const table of every("table.sort")) {
    const body = table.tBodies[0];
    every("thead th", table).forEach((head, column) => {
      const press = document.createElement("button");
      press.type = "button";
      press.append(...head.childNodes);
      head.append(press);
      press.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of every("thead th", table)) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const keyed = [...body.rows].map((row) => [value(row.cells[column]), row]);
        keyed.sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null);
          const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
          return up ? order : -order;
        });
        body.append(...keyed.map(([, row]) => row));
      });
    });
  }

  // What is folded away is printed too.
  window.addEventListener("beforeprint", () => { for (const one of every("section > details.print")) one.open = true; });
})();
