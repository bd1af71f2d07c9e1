"use strict";
(() => {
  // Looking through a cube of the volume: three planes through one point, swept between two images of it.
  const holder = document.getElementById("cube-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent), byId = (id) => document.getElementById(id);
  const colours = Uint8Array.from(atob(data.colours), (c) => c.charCodeAt(0));
  const AXES = ["z", "y", "x"], PANELS = { XY: ["z", "y", "x"], ZX: ["y", "z", "x"], ZY: ["x", "z", "y"] };
  const sides = { left: byId("left-choice"), right: byId("right-choice") }, wanted = { left: "measured", right: "isotropic" };
  const places = byId("place-choice"), swipe = byId("swipe-range");
  const volumes = new Map();
  let cube = data.cubes[0], at = { z: 0, y: 0, x: 0 }, drawn = 0;

  const size = (axis) => cube.shape[AXES.indexOf(axis)];
  const offset = (axis) => cube.offset[AXES.indexOf(axis)];

  const decoded = (owner, key) => {
    const name = `${data.cubes.indexOf(owner)} ${key}`;
    if (!volumes.has(name)) volumes.set(name, decode(owner.stored[key], owner.shape[1], owner.shape[2]));
    return volumes.get(name);
  };
  const decode = async (stored, rows, columns) => {
    const image = new Image();
    image.src = stored.uri;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, image.width, image.height).data, levels = new Uint8Array(stored.n * rows * columns);
    for (let k = 0, to = 0; k < stored.n; k += 1) {
      const top = Math.floor(k / stored.across) * rows, left = (k % stored.across) * columns;
      for (let j = 0; j < rows; j += 1) {
        for (let i = 0, from = ((top + j) * image.width + left) * 4; i < columns; i += 1, from += 4) levels[to++] = pixels[from];
      }
    }
    return levels;
  };

  // What an image is at a voxel of the cube, as a function of (k, j, i), from the volumes that are stored.
  const NEEDS = { linear: ["measured"], error: ["isotropic", "truth"] };
  const reader = async (key) => {
    const owner = cube, stored = await Promise.all((NEEDS[key] ?? [key]).map((name) => decoded(owner, name)));
    const [, rows, columns] = owner.shape, plane = rows * columns, [first, second] = stored;
    const index = (k, j, i) => k * plane + j * columns + i;
    const n = first.length / plane, inside = (s) => Math.max(0, Math.min(n - 1, s));
    const section = (k) => (owner.offset[0] + k + 0.5) / owner.ratio - owner.first_section;
    if (key === "error") {
      const scale = data.contrast / data.limits.error;
      return (k, j, i) => Math.min(255, Math.abs(first[index(k, j, i)] - second[index(k, j, i)]) * scale);
    }
    if (key === "linear") {
      return (k, j, i) => {
        const exact = section(k) - 0.5, below = Math.floor(exact), share = exact - below;
        return (1 - share) * first[index(inside(below), j, i)] + share * first[index(inside(below + 1), j, i)];
      };
    }
    if (key === "measured" || key === "residual") return (k, j, i) => first[index(inside(Math.floor(section(k))), j, i)];
    return (k, j, i) => first[index(k, j, i)];
  };

  const draw = async () => {
    const turn = ++drawn, keys = { left: sides.left.value, right: sides.right.value };
    const [left, right] = await Promise.all([reader(keys.left), reader(keys.right)]);
    if (turn !== drawn) return;
    for (const [name, [normal, down, across]] of Object.entries(PANELS)) {
      const panel = byId(`panel-${name}`), canvas = panel.querySelector("canvas");
      const [rows, columns] = [size(down), size(across)], edge = Math.round(columns * swipe.value / 100);
      canvas.width = columns;
      canvas.height = rows;
      panel.style.setProperty("--columns", columns);
      panel.style.setProperty("--rows", rows);
      const context = canvas.getContext("2d", { willReadFrequently: true }), picture = context.createImageData(columns, rows), point = { ...at };
      for (let r = 0, to = 0; r < rows; r += 1) {
        point[down] = r;
        for (let c = 0; c < columns; c += 1, to += 4) {
          point[across] = c;
          const side = c < edge ? "left" : "right";
          const level = Math.round((c < edge ? left : right)(point.z, point.y, point.x));
          for (let channel = 0; channel < 3; channel += 1) {
            picture.data[to + channel] = keys[side] in data.limits ? colours[3 * level + channel] : level;
          }
          picture.data[to + 3] = 255;
        }
      }
      context.putImageData(picture, 0, 0);
      const bar = panel.querySelector(".bar");
      bar.style.setProperty("--bar", `${cube.bars[name].percent}%`);
      bar.lastElementChild.textContent = cube.bars[name].text;
      panel.querySelector("h3 span").textContent = `${normal} = ${offset(normal) + at[normal]}`;
      panel.style.setProperty("--at", `${100 * edge / columns}%`);
      panel.style.setProperty("--row", `${100 * (at[down] + 0.5) / rows}%`);
      panel.style.setProperty("--column", `${100 * (at[across] + 0.5) / columns}%`);
      canvas.setAttribute("aria-label", `${name} plane at ${normal} = ${offset(normal) + at[normal]}: ` +
        `${data.labels[keys.left]} left of the line, ${data.labels[keys.right]} right of it`);
      panel.querySelector(".tag-left").textContent = data.labels[keys.left];
      panel.querySelector(".tag-right").textContent = data.labels[keys.right];
    }
    for (const axis of AXES) {
      const input = byId(`at-${axis}`);
      input.max = size(axis) - 1;
      input.value = at[axis];
      input.setAttribute("aria-valuetext", `${axis} = ${offset(axis) + at[axis]}`);
      byId(`shown-${axis}`).textContent = offset(axis) + at[axis];
    }
    swipe.setAttribute("aria-valuetext", `${Math.round(swipe.value)} % ${data.labels[keys.left]}`);
    const maps = [...new Set(Object.values(keys))].filter((key) => key in data.limits);
    byId("cube-scale").hidden = !maps.length;
    byId("cube-scale-end").textContent = maps.map((key) => `${data.limits[key]} (${data.labels[key]})`).join(", ");
    holder.dataset.drawn = turn;
  };

  const goTo = (chosen, point) => {
    cube = chosen;
    places.value = data.cubes.indexOf(cube);
    AXES.forEach((axis) => { at[axis] = point ? point[axis] - offset(axis) : Math.floor(size(axis) / 2); });
    for (const side of ["left", "right"]) {
      sides[side].replaceChildren(...cube.keys.map((key) => new Option(data.labels[key], key)));
      sides[side].value = cube.keys.includes(wanted[side]) ? wanted[side] : cube.keys.at(side === "left" ? 0 : -1);
    }
    return draw();
  };

  for (const side of ["left", "right"]) {
    sides[side].addEventListener("change", () => { wanted[side] = sides[side].value; draw(); });
  }
  for (const axis of AXES) byId(`at-${axis}`).addEventListener("input", (event) => { at[axis] = Number(event.target.value); draw(); });
  swipe.addEventListener("input", draw);
  data.cubes.forEach((one, n) => places.append(new Option(one.label, n)));
  places.parentElement.hidden = data.cubes.length < 2;
  places.addEventListener("change", () => goTo(data.cubes[places.value]));
  byId("crosshair").addEventListener("change", (event) => byId("viewer").classList.toggle("plain", !event.target.checked));

  for (const [name, [, down, across]] of Object.entries(PANELS)) {
    const frame = byId(`panel-${name}`).querySelector(".frame");
    let sweeping = false;
    const follow = (event) => {
      const box = frame.getBoundingClientRect(), share = (event.clientX - box.left) / box.width;
      if (sweeping) swipe.value = 100 * share;
      else {
        const inside = (value, axis) => Math.max(0, Math.min(size(axis) - 1, Math.floor(value * size(axis))));
        at[across] = inside(share, across);
        at[down] = inside((event.clientY - box.top) / box.height, down);
      }
      draw();
    };
    frame.addEventListener("pointerdown", (event) => {
      const box = frame.getBoundingClientRect();
      sweeping = Math.abs(event.clientX - box.left - box.width * swipe.value / 100) < 16;
      frame.setPointerCapture(event.pointerId);
      event.preventDefault();
      follow(event);
    });
    frame.addEventListener("pointermove", (event) => { if (frame.hasPointerCapture(event.pointerId)) follow(event); });
  }

  // A place asked for by the map of blocks: shown if a cube holds it, and in neuroglancer if the page is served beside it.
  const holding = (p) => data.cubes.find((c) => AXES.every((a, n) => p[a] >= c.offset[n] && p[a] < c.offset[n] + c.shape[n]));
  document.addEventListener("isofield-place", (event) => {
    const found = holding(event.detail.centre) ?? data.cubes.find((c) => AXES.every((a, n) =>
      event.detail.begin[a] < c.offset[n] + c.shape[n] && c.offset[n] < event.detail.end[a]));
    if (!found) return;
    event.detail.show = () => {
      const point = {};
      AXES.forEach((a, n) => { point[a] = Math.max(found.offset[n], Math.min(found.offset[n] + found.shape[n] - 1, event.detail.centre[a])); });
      goTo(found, point);
      byId("viewer").scrollIntoView({ block: "center" });
    };
  });

  byId("viewer").hidden = false;
  goTo(cube);
})();
