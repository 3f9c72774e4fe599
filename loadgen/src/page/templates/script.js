"use strict";
(() => {
  const tip = document.getElementById("tip");
  const format = (value, unit) => {
    const size = Math.abs(value);
    const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : 2;
    return value.toFixed(digits) + (unit ? " " + unit : "");
  };
  const nearest = (points, at) => {
    let low = 0, high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < at) low = middle + 1; else high = middle;
    }
    return low > 0 && at - points[low - 1][0] < points[low][0] - at ? points[low - 1] : points[low];
  };
  for (const figure of document.querySelectorAll("figure.chart")) {
    const data = JSON.parse(figure.querySelector("script").textContent);
    for (const box of figure.querySelectorAll("[data-area]")) {
      const [left, right, top, bottom] = box.dataset.area.split(",").map(Number);
      const svg = box.querySelector("svg");
      const rule = document.createElementNS("http://www.w3.org/2000/svg", "line");
      rule.setAttribute("class", "rule");
      rule.setAttribute("y1", top); rule.setAttribute("y2", bottom);
      const hide = () => { tip.hidden = true; rule.remove(); };
      svg.addEventListener("pointerleave", hide);
      svg.addEventListener("pointermove", (event) => {
        const frame = svg.getBoundingClientRect();
        const x = (event.clientX - frame.left) * svg.viewBox.baseVal.width / frame.width;
        if (x < left - 4 || x > right + 4) return hide();
        const [from, to] = data.span;
        const at = from + (x - left) / (right - left) * (to - from);
        const rows = [];
        let anchor = null;
        for (const series of data.series) {
          if (!series.points.length) continue;
          const point = nearest(series.points, at);
          anchor ??= point;
          rows.push([series.class, series.name, format(point[2], series.unit)]);
        }
        if (!anchor) return hide();
        const line = left + (anchor[0] - from) / (to - from) * (right - left);
        rule.setAttribute("x1", line); rule.setAttribute("x2", line);
        svg.append(rule);
        tip.replaceChildren();
        const head = document.createElement("strong");
        head.textContent = anchor[1];
        tip.append(head);
        for (const [kind, name, value] of rows) {
          const row = document.createElement("div");
          const mark = document.createElement("i");
          mark.className = kind;
          const label = document.createElement("span");
          label.textContent = name;
          const number = document.createElement("b");
          number.textContent = value;
          row.append(mark, label, number);
          tip.append(row);
        }
        tip.hidden = false;
        const width = tip.offsetWidth, height = tip.offsetHeight;
        tip.style.left = Math.max(8, Math.min(event.clientX + 16, innerWidth - width - 8)) + "px";
        tip.style.top = Math.max(8, Math.min(event.clientY + 16, innerHeight - height - 8)) + "px";
      });
    }
  }
})();
