"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // Larger cuts: one plane and one slice of it at a time; without this script all of them are shown.
  const slices = [...document.querySelectorAll(".slice")];
  if (slices.length) {
    const radios = (box, name, entries, chosen, onChange) => {
      box.querySelectorAll("label").forEach((label) => label.remove());
      for (const [value, text] of entries) {
        const label = make("label"), input = make("input", undefined, { type: "radio", name, value });
        input.checked = value === chosen;
        input.addEventListener("change", () => onChange(value));
        label.append(input, make("span", text));
        box.append(label);
      }
    };
    const show = (slice) => slices.forEach((other) => { other.hidden = other !== slice; });
    const choosePlane = (plane) => {
      const own = slices.filter((slice) => slice.dataset.plane === plane);
      const middle = own[Math.floor(own.length / 2)];
      radios(byId("slice-choice"), "slice", own.map((s, n) => [String(n), s.dataset.place]), String(own.indexOf(middle)),
        (n) => show(own[Number(n)]));
      show(middle);
    };
    const planes = [...new Set(slices.map((slice) => slice.dataset.plane))];
    const first = planes.includes("ZX") ? "ZX" : planes[0];
    radios(byId("plane-choice"), "plane", planes.map((plane) => [plane, plane]), first, choosePlane);
    choosePlane(first);
    byId("cuts").hidden = false;
  }

  // Blocks: a map of one layer in z, coloured by a metric, and the table sorted by it.
  const holder = byId("block-data");
  if (holder) {
    const data = JSON.parse(holder.textContent);
    const blocks = data.rows.map((row) => Object.fromEntries(data.columns.map((name, n) => [name, row[n]])));
    const metrics = Object.keys(data.metrics), svgNs = "http://www.w3.org/2000/svg";
    const metricChoice = byId("metric-choice"), layerChoice = byId("layer-choice"), grid = byId("map-grid");
    let metric = data.default, selected = null;

    const text = (name, value) => {
      if (value === null || value === undefined) return "–";
      const { digits, factor } = data.metrics[name], shown = value * factor;
      return digits && shown !== 0 && Math.abs(shown) < 10 ** -digits ? shown.toExponential(1) : shown.toFixed(digits);
    };
    const unit = (name) => (data.metrics[name].unit ? ` ${data.metrics[name].unit}` : "");
    const triple = (block, name) => `${block[name + "_z"]}, ${block[name + "_y"]}, ${block[name + "_x"]}`;
    const rank = (block) => data.bad_first[block.state] ?? 0;
    const badness = (block) => {
      const value = metric === null ? null : block[metric];
      return value === null ? -Infinity : data.metrics[metric].better === "higher" ? -value : value;
    };
    const worstFirst = () => [...blocks].sort((a, b) =>
      rank(a) - rank(b) || (badness(b) === badness(a) ? 0 : badness(b) - badness(a)) ||
      a.offset_z - b.offset_z || a.offset_y - b.offset_y || a.offset_x - b.offset_x);

    const detail = (block) => {
      selected = block;
      grid.querySelectorAll("rect").forEach((r) => r.setAttribute("aria-pressed", String(r.dataset.block === block.block_id)));
      const list = make("dl");
      const entry = (name, value) => list.append(make("dt", name), make("dd", value));
      entry("State", block.state);
      entry("Offset z, y, x", triple(block, "offset"));
      entry("Shape z, y, x", triple(block, "shape"));
      for (const name of metrics) entry(data.metrics[name].label, text(name, block[name]) + (block[name] === null ? "" : unit(name)));
      entry("Viewer position x, y, z", ["x", "y", "z"].map((a) => block["offset_" + a] + Math.floor(block["shape_" + a] / 2)).join(", "));
      if (block.message) entry("Message", block.message);
      byId("map-detail").replaceChildren(make("h3", `Block ${block.block_id}`), list, ...ways(block));
    };

    // Ways to look at a block: the cubes of this page, where one holds it; neuroglancer, where `isofield view` serves this page.
    const ways = (block) => {
      const place = { centre: {}, begin: {}, end: {} }, found = [];
      for (const a of "xyz") {
        place.begin[a] = block["offset_" + a];
        place.end[a] = place.begin[a] + block["shape_" + a];
        place.centre[a] = Math.floor((place.begin[a] + place.end[a]) / 2);
      }
      document.dispatchEvent(new CustomEvent("isofield-place", { detail: place }));
      if (place.show) {
        const button = make("button", "Look at it above", { type: "button" });
        button.addEventListener("click", place.show);
        found.push(button);
      }
      if (data.state && ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname) && location.pathname.startsWith("/report/")) {
        const state = { ...data.state, position: [..."xyz"].map((a, n) => data.edge[n] + place.centre[a] + 0.5) };
        const text = JSON.stringify(state).replaceAll("{base}", location.origin);
        found.push(make("a", "Open in neuroglancer", { href: `/neuroglancer/v/run/#!${encodeURIComponent(text)}`, target: "_blank" }));
      }
      const line = make("p");
      line.append(...found.flatMap((way, n) => (n ? [" ", way] : [way])));
      return found.length ? [line] : [];
    };

    const drawMap = () => {
      const layer = blocks.filter((block) => String(block.offset_z) === layerChoice.value);
      const scores = blocks.map(badness).filter(Number.isFinite), low = Math.min(...scores), high = Math.max(...scores);
      const end = (axis) => Math.max(...blocks.map((block) => block["offset_" + axis] + block["shape_" + axis]));
      const begin = (axis) => Math.min(...blocks.map((block) => block["offset_" + axis]));
      const [x0, y0, width, height] = [begin("x"), begin("y"), end("x") - begin("x"), end("y") - begin("y")];
      const gap = 0.006 * Math.max(width, height), svg = document.createElementNS(svgNs, "svg");
      svg.setAttribute("viewBox", `${x0 - gap} ${y0 - gap} ${width + 2 * gap} ${height + 2 * gap}`);
      layer.sort((a, b) => a.offset_y - b.offset_y || a.offset_x - b.offset_x);
      layer.forEach((block, n) => {
        const rect = document.createElementNS(svgNs, "rect"), score = badness(block);
        const [w, h] = [block.shape_x - gap, block.shape_y - gap];
        const attributes = { x: block.offset_x + gap / 2, y: block.offset_y + gap / 2, width: w, height: h, rx: gap, role: "button",
          tabindex: n === 0 ? 0 : -1, "aria-pressed": String(selected === block), "data-block": block.block_id,
          "aria-label": `Block ${block.block_id}, ${block.state}` + (metric === null ? "" : `, ${data.metrics[metric].label} ${text(metric, block[metric])}`) };
        for (const [name, value] of Object.entries(attributes)) rect.setAttribute(name, value);
        rect.classList.add(`state-${block.state.replace(/\W/g, "")}`);
        if (Number.isFinite(score)) rect.style.setProperty("--t", high > low ? (score - low) / (high - low) : 0);
        else rect.classList.add("unknown");
        const tip = document.createElementNS(svgNs, "title");
        tip.textContent = attributes["aria-label"];
        rect.append(tip);
        rect.addEventListener("click", () => detail(block));
        svg.append(rect);
        if (layer.length <= 64 && metric !== null) {
          const label = document.createElementNS(svgNs, "text");
          for (const [name, value] of Object.entries({ x: block.offset_x + block.shape_x / 2, y: block.offset_y + block.shape_y / 2,
            "font-size": Math.min(h * 0.3, w / 5), "aria-hidden": true })) label.setAttribute(name, value);
          label.textContent = text(metric, block[metric]);
          svg.append(label);
        }
      });
      grid.replaceChildren(svg);
      const higher = metric !== null && data.metrics[metric].better === "higher", shown = (s) => text(metric, higher ? -s : s) + unit(metric);
      byId("map-legend").hidden = !scores.length;
      if (scores.length) { byId("legend-good").textContent = shown(low); byId("legend-bad").textContent = shown(high); }
    };

    const drawTable = () => {
      const rows = worstFirst().slice(0, data.n_worst).map((block) => {
        const row = make("tr"), state = make("td");
        state.append(make("span", block.state, { class: `state state-${block.state.replace(/\W/g, "")}` }));
        row.append(make("th", block.block_id, { scope: "row" }), state);
        row.append(make("td", triple(block, "offset"), { class: "num" }));
        for (const name of metrics) row.append(make("td", text(name, block[name]), { class: "num" }));
        if (data.has_messages) row.append(make("td", block.message || ""));
        return row;
      });
      byId("worst").tBodies[0].replaceChildren(...rows);
      if (metric !== null) byId("worst-by").textContent = data.metrics[metric].label;
    };

    grid.addEventListener("keydown", (event) => {
      const rects = [...grid.querySelectorAll("rect")], at = rects.indexOf(document.activeElement);
      if (at < 0) return;
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); rects[at].dispatchEvent(new Event("click")); return; }
      const perRow = rects.filter((r) => r.getAttribute("y") === rects[0].getAttribute("y")).length;
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -perRow, ArrowDown: perRow }[event.key];
      const next = rects[at + step];
      if (step === undefined || !next) return;
      event.preventDefault();
      rects[at].setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    });
    for (const name of metrics) metricChoice.append(make("option", data.metrics[name].label, { value: name }));
    const layers = [...new Set(blocks.map((block) => block.offset_z))].sort((a, b) => a - b);
    for (const z of layers) layerChoice.append(make("option", `z from ${z}`, { value: z }));
    const worst = worstFirst()[0];
    layerChoice.value = String(worst.offset_z);
    if (metric !== null) metricChoice.value = metric;
    else metricChoice.parentElement.hidden = true;
    metricChoice.addEventListener("change", () => { metric = metricChoice.value; drawMap(); drawTable(); });
    layerChoice.addEventListener("change", drawMap);
    drawMap();
    detail(worst);
    byId("map").hidden = false;
  }
})();
