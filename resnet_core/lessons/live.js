// The controls of the network that runs in the page (network.js): which picture, which blocks, which feature maps.
(() => {
  const holder = document.getElementById("lesson-data");
  const given = holder && JSON.parse(holder.textContent).live;
  if (!given) return;
  const find = (name) => document.getElementById("live-" + name);
  const say = (name, values) => given.texts[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const percent = (share) => (100 * share).toFixed(1) + " %";
  const model = network.read(given.plan, given.weights);
  const [height, width, channels] = given.plan.input;
  const pixels = height * width;
  const stored = Uint8Array.from(atob(given.pictures), (sign) => sign.charCodeAt(0));
  const frame = find("picture"), brush = frame.getContext("2d", { willReadFrequently: true });

  // Pictures are red, green, blue and opacity on a canvas, and one byte a channel here.
  const samplePicture = (number) => stored.subarray(number * pixels * channels, (number + 1) * pixels * channels);
  const paint = (context, picture, left = 0, top = 0) => {
    const data = context.createImageData(width, height);
    for (let n = 0; n < pixels; n++) {
      for (let c = 0; c < 3; c++) data.data[4 * n + c] = picture[n * channels + (channels < 3 ? 0 : c)];
      data.data[4 * n + 3] = 255;
    }
    context.putImageData(data, left, top);
  };
  const shownPicture = () => {
    const { data } = brush.getImageData(0, 0, width, height), picture = new Uint8Array(pixels * channels);
    for (let n = 0; n < pixels; n++) {
      const [red, green, blue] = data.subarray(4 * n, 4 * n + 3);
      for (let c = 0; c < channels; c++) {
        picture[n * channels + c] = channels === 1 ? (red * 299 + green * 587 + blue * 114 + 500) / 1000 : data[4 * n + (c % 3)];
      }
    }
    return picture;
  };
  // As `resnet_core.data.prepare.normalized`: each step is rounded to float32.
  const image = (picture) => {
    const { channel_order: order, white, mean, deviation } = given.preparation, round = Math.fround;
    return Array.from({ length: picture.length }, (_, n) => {
      const c = n % channels;
      let value = picture[order === "bgr" ? n - c + channels - 1 - c : n];
      if (white !== 255) value = round(round(value / 255) * round(white));
      if (mean) value = round(value - round(mean[c]));
      return deviation ? round(value / round(deviation[c])) : value;
    });
  };
  const shares = (logits) => {
    const most = Math.max(...logits), powers = logits.map((logit) => Math.exp(logit - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  };
  const best = (values) => values.indexOf(Math.max(...values));

  let kept = new Map();
  const selects = [...document.querySelectorAll("[data-block]")];
  const changes = () => Object.fromEntries(selects.filter((select) => select.value).map((select) => [select.dataset.block, select.value]));
  const number = () => (find("sample").value === "" ? null : Number(find("sample").value));

  const showClasses = (logits) => {
    const probabilities = shares(logits), order = probabilities.map((_, n) => n).sort((a, b) => probabilities[b] - probabilities[a]);
    const table = document.createElement("table");
    for (const label of order.slice(0, 5)) {
      const row = table.insertRow(), head = document.createElement("th");
      head.scope = "row";
      head.textContent = given.names[label];
      const bar = document.createElement("i");
      bar.style.width = 100 * probabilities[label] + "%";
      row.append(head);
      row.insertCell().append(bar);
      row.insertCell().textContent = percent(probabilities[label]);
    }
    find("classes").replaceChildren(table);
    find("classes").dataset.logits = JSON.stringify(logits);
  };
  const update = () => {
    const picture = number() === null ? shownPicture() : samplePicture(number()), input = image(picture), changed = changes();
    const start = performance.now();
    kept = new Map();
    const logits = [...network.run(model, input, changed, (path, map) => kept.set(path, map))];
    const said = [say("took", { milliseconds: (performance.now() - start).toFixed(0) })];
    showClasses(logits);
    if (given.labels && number() !== null) said.unshift(say("truth", { name: given.names[given.labels[number()]] }));
    if (Object.keys(changed).length) {
      const whole = shares([...network.run(model, input)]);
      said.push(say("before", { name: given.names[best(whole)], share: percent(Math.max(...whole)) }));
    }
    find("said").textContent = said.join(" · ");
    showMaps();
  };

  // One square for each channel, its values from black to white.
  const showMaps = () => {
    const found = kept.get(find("layer").value), canvas = find("maps");
    if (!found) return;
    const flat = found.shape.length === 1, [rows, columns] = flat ? [1, 1] : found.shape;
    const count = found.shape[found.shape.length - 1], scale = Math.max(1, Math.floor(56 / columns)), step = columns * scale + 2;
    const across = Math.min(count, Math.max(1, Math.floor((canvas.parentElement.clientWidth - 4) / step)));
    const low = found.data.reduce((a, b) => Math.min(a, b)), high = found.data.reduce((a, b) => Math.max(a, b));
    canvas.width = across * step;
    canvas.height = Math.ceil(count / across) * (rows * scale + 2);
    const context = canvas.getContext("2d");
    for (let c = 0; c < count; c++) for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
      const value = found.data[(i * columns + j) * count + c], light = high > low ? (255 * (value - low)) / (high - low) : 0;
      context.fillStyle = `rgb(${light},${light},${light})`;
      context.fillRect((c % across) * step + j * scale, Math.floor(c / across) * (rows * scale + 2) + i * scale, scale, scale);
    }
    const zeros = found.data.filter((value) => value === 0).length / found.data.length;
    find("range").textContent = say("range", { shape: found.shape.join(" × "), low: low.toPrecision(3), high: high.toPrecision(3), zeros: percent(zeros) });
  };
  const choose = (path) => {
    const wanted = given.aliases[path] || path;
    if (![...find("layer").options].some((option) => option.value === wanted)) return;
    find("layer").value = wanted;
    showMaps();
  };
  document.addEventListener("place", (event) => choose(event.detail));
  find("layer").addEventListener("change", showMaps);
  addEventListener("resize", showMaps);

  const showSample = (chosen) => {
    find("sample").value = String(chosen);
    drawing(false);
    paint(brush, samplePicture(chosen));
    update();
  };
  const sheet = find("sheet"), perRow = 20;
  if (sheet) {
    sheet.width = perRow * width;
    sheet.height = Math.ceil(given.count / perRow) * height;
    const context = sheet.getContext("2d");
    for (let n = 0; n < given.count; n++) paint(context, samplePicture(n), (n % perRow) * width, Math.floor(n / perRow) * height);
    sheet.addEventListener("click", (event) => {
      const box = sheet.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left) / box.width) * perRow);
      const chosen = Math.floor(((event.clientY - box.top) / box.height) * (sheet.height / height)) * perRow + column;
      if (chosen < given.count) showSample(chosen);
    });
  }
  find("sample").addEventListener("change", () => (number() === null ? update() : showSample(number())));

  // A picture of the reader's own: drawn, opened or dropped.
  const own = () => { find("sample").value = ""; };
  const button = find("draw");
  const drawing = (on) => {
    button.setAttribute("aria-pressed", String(on));
    frame.classList.toggle("drawing", on);
  };
  button.addEventListener("click", () => {
    own();
    drawing(true);
    brush.fillStyle = "#000";
    brush.fillRect(0, 0, width, height);
    update();
  });
  let last = null;
  const point = (event) => {
    const box = frame.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  frame.addEventListener("pointerdown", (event) => {
    if (button.getAttribute("aria-pressed") !== "true") return;
    frame.setPointerCapture(event.pointerId);
    last = point(event);
    stroke(event);
  });
  const stroke = (event) => {
    if (!last) return;
    Object.assign(brush, { strokeStyle: "#fff", lineWidth: Math.max(1, width / 14), lineCap: "round" });
    brush.beginPath();
    brush.moveTo(...last);
    last = point(event);
    brush.lineTo(last[0] + 0.01, last[1]);
    brush.stroke();
    schedule();
  };
  frame.addEventListener("pointermove", stroke);
  for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => { last = null; });
  let waiting = false;
  const schedule = () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => { waiting = false; update(); }, 60);
  };
  const open = async (file) => {
    if (!file) return;
    try {
      const bitmap = await createImageBitmap(file);
      own();
      drawing(false);
      brush.fillStyle = "#fff"; // behind what is transparent
      brush.fillRect(0, 0, width, height);
      brush.imageSmoothingQuality = "high";
      brush.drawImage(bitmap, 0, 0, width, height);
      update();
    } catch {
      find("said").textContent = given.texts.unreadable;
    }
  };
  find("file").addEventListener("change", (event) => open(event.target.files[0]));
  const area = document.querySelector(".live-input");
  area.addEventListener("dragover", (event) => event.preventDefault());
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    open(event.dataTransfer.files[0]);
  });
  find("invert").addEventListener("click", () => {
    const picture = shownPicture().map((value) => 255 - value);
    own();
    paint(brush, picture);
    update();
  });

  for (const select of selects) select.addEventListener("change", update);
  if (find("reset")) {
    find("reset").addEventListener("click", () => {
      for (const select of selects) select.value = "";
      update();
    });
  }
  // All sample pictures, a few at a time, so that the page still answers.
  if (find("all")) {
    let trial = 0;
    find("all").addEventListener("click", () => {
      const [changed, mine] = [changes(), ++trial];
      const go = (n, right) => {
        find("score").textContent = say("score", { right, count: n });
        if (n === given.count || mine !== trial) return;
        const good = best([...network.run(model, image(samplePicture(n)), changed)]) === given.labels[n];
        setTimeout(() => go(n + 1, right + good));
      };
      go(0, 0);
    });
  }
  setTimeout(() => showSample(0)); // behind the first paint
})();
