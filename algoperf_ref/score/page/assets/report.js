"use strict";

// The report is complete without this script: it sorts tables, says what is pointed at in a
// drawing, and hides submissions that the reader does not want to see.

(function () {
  document.documentElement.classList.add("scripted");

  // Sorting.

  function key(cell) {
    const value = cell.dataset.value;
    if (cell.classList.contains("number")) {
      return value === "" ? null : Number(value);
    }
    return (value === undefined ? cell.textContent : value).toLowerCase();
  }

  function compare(one, other, sign) {
    if (one === null || other === null) {
      return (one === null) - (other === null); // what is missing comes last both ways
    }
    return one < other ? -sign : one > other ? sign : 0;
  }

  function sort(table, column, order) {
    const body = table.tBodies[0];
    const sign = order === "ascending" ? 1 : -1;
    const rows = Array.from(body.rows, (row) => [key(row.cells[column]), row]);
    rows.sort((one, other) => compare(one[0], other[0], sign));
    rows.forEach((pair) => body.append(pair[1]));
    Array.from(table.tHead.rows[0].cells).forEach((cell, number) => {
      if (number === column) {
        cell.setAttribute("aria-sort", order);
      } else {
        cell.removeAttribute("aria-sort");
      }
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    Array.from(table.tHead.rows[0].cells).forEach((cell, column) => {
      if (!cell.textContent) {
        return;
      }
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        const first = cell.dataset.first || "ascending";
        const second = first === "ascending" ? "descending" : "ascending";
        sort(table, column, cell.getAttribute("aria-sort") === first ? second : first);
      });
    });
  }

  // Pointing at drawings.

  const tip = document.getElementById("tip");

  function show(text, x, y) {
    tip.textContent = text;
    tip.hidden = false;
    const right = document.documentElement.clientWidth;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 14, right - box.width - 8)) + "px";
    tip.style.top = (y + 18 + box.height > window.innerHeight ? y - box.height - 12 : y + 18) + "px";
  }

  function shape(drawing, name, attributes) {
    const made = document.createElementNS(drawing.namespaceURI, name);
    for (const attribute of Object.keys(attributes)) {
      made.setAttribute(attribute, attributes[attribute]);
    }
    return made;
  }

  function axis(text) {
    const [start, end, low, high] = text.split(" ").map(Number);
    return {
      place: (value) => start + ((value - low) / (high - low)) * (end - start),
      value: (place) => low + ((place - start) / (end - start)) * (high - low),
      within: (place) => Math.max(Math.min(start, end), Math.min(Math.max(start, end), place)),
    };
  }

  class Plot {
    constructor(drawing) {
      this.drawing = drawing;
      this.x = axis(drawing.dataset.x);
      this.y = axis(drawing.dataset.y);
      this.lines = Array.from(drawing.querySelectorAll("polyline.line"));
      this.cross = shape(drawing, "line", { class: "cross" });
      this.spot = shape(drawing, "circle", { class: "spot", r: 4 });
      drawing.addEventListener("pointermove", (event) => this.point(event));
      drawing.addEventListener("pointerleave", () => this.clear());
    }

    place(event) {
      const matrix = this.drawing.getScreenCTM();
      return new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    }

    point(event) {
      const place = this.place(event);
      const found = this.nearest(this.x.within(place.x), this.y.within(place.y));
      if (found) {
        this.mark(found);
        show(found.text, event.clientX, event.clientY);
      }
    }

    mark(found) {
      this.clear();
      for (const item of this.drawing.querySelectorAll("[data-series]")) {
        item.classList.toggle("faded", item.dataset.series !== found.line.dataset.series);
      }
      found.line.classList.add("strong");
      const range = this.drawing.dataset.y.split(" ");
      const ends = { x1: found.x, x2: found.x, y1: range[0], y2: range[1] };
      Object.keys(ends).forEach((name) => this.cross.setAttribute(name, ends[name]));
      this.spot.setAttribute("cx", found.x);
      this.spot.setAttribute("cy", found.y);
      this.drawing.append(this.cross, this.spot);
    }

    clear() {
      tip.hidden = true;
      this.cross.remove();
      this.spot.remove();
      for (const item of this.drawing.querySelectorAll(".faded, .strong")) {
        item.classList.remove("faded", "strong");
      }
    }

    visible() {
      return this.lines.filter((line) => line.style.display !== "none");
    }
  }

  class Curves extends Plot {
    nearest(x, y) {
      let best = null;
      for (const line of this.visible()) {
        for (const point of line.points) {
          const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
          if (best === null || distance < best.distance) {
            best = { line: line, x: point.x, y: point.y, distance: distance };
          }
        }
      }
      if (best) {
        const unit = this.drawing.dataset.unit;
        const at = this.x.value(best.x).toPrecision(4) + " " + unit;
        const value = this.y.value(best.y).toPrecision(4);
        const about = best.line.dataset.about;
        best.text = best.line.dataset.name + "\n" + value + " at " + at + "\n" + about;
      }
      return best;
    }
  }

  class Profile extends Plot {
    constructor(drawing) {
      super(drawing);
      this.number = 0;
      this.tau = 1;
      this.lines.reverse(); // the best one is drawn last
      drawing.setAttribute("tabindex", "0");
      drawing.addEventListener("keydown", (event) => this.press(event));
      drawing.addEventListener("blur", () => this.clear());
    }

    share(line, tau) {
      const steps = line.dataset.steps.split(" ").map(Number);
      let share = 0;
      for (let number = 0; number < steps.length && steps[number] <= tau; number += 2) {
        share = steps[number + 1];
      }
      return share;
    }

    at(number, tau) {
      const line = this.lines[number];
      const share = this.share(line, tau);
      const count = Number(this.drawing.dataset.count);
      const text =
        line.dataset.name + "\nτ = " + tau.toFixed(2) + ": " + Math.round(share * count) + " of " +
        count + " workloads (" + share.toFixed(3) + ")";
      return { line: line, x: this.x.place(tau), y: this.y.place(share), text: text };
    }

    nearest(x, y) {
      let best = null;
      this.tau = this.x.value(x);
      this.lines.forEach((line, number) => {
        const found = this.at(number, this.tau);
        if (best === null || Math.abs(found.y - y) < Math.abs(best.y - y)) {
          best = found;
          this.number = number;
        }
      });
      return best;
    }

    press(event) {
      const moves = { ArrowLeft: [0, -0.05], ArrowRight: [0, 0.05], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const move = moves[event.key];
      if (!move) {
        return;
      }
      event.preventDefault();
      const ends = this.drawing.dataset.x.split(" ").map(Number);
      const count = this.lines.length;
      this.number = (this.number + move[0] + count) % count;
      this.tau = Math.max(ends[2], Math.min(ends[3], this.tau + move[1]));
      const found = this.at(this.number, this.tau);
      this.mark(found);
      const matrix = this.drawing.getScreenCTM();
      const place = new DOMPoint(found.x, found.y).matrixTransform(matrix);
      show(found.text, place.x, place.y);
    }
  }

  document.querySelectorAll("svg[data-plot=profile]").forEach((drawing) => new Profile(drawing));
  document.querySelectorAll("svg[data-plot=curves]").forEach((drawing) => new Curves(drawing));

  // Hiding submissions in the learning curves.

  for (const button of document.querySelectorAll("[data-toggle]")) {
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", String(shown));
      const own = ".curves [data-series='" + button.dataset.toggle + "']";
      document.querySelectorAll(own).forEach((item) => {
        item.style.display = shown ? "" : "none";
      });
    });
  }
})();
