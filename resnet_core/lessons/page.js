// Lights what belongs together, shows one view of the network at a time, and chooses the programs.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);
  const root = document.documentElement;
  root.classList.add("js");
  const texts = JSON.parse(one("#lesson-data").textContent).texts;
  const said = (name, values = {}) => texts[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);

  // Places: each thing on the page has its own, and those that it is related to.
  const keys = (text) => new Set((text || "").split(" ").filter(Boolean));
  const meet = (these, those) => [...these].some((key) => those.has(key));
  const things = all("[data-own]").map((element) => ({
    element, own: keys(element.dataset.own), related: keys(element.dataset.rel), line: element.classList.contains("l"),
  }));
  const thingOf = new Map(things.map((thing) => [thing.element, thing]));
  let pinned = null;

  const light = (source) => {
    for (const thing of things) {
      const on = source && meet(source.own, thing.own);
      const near = source && !on && !(source.line && thing.line) &&
        (meet(source.own, thing.related) || meet(source.related, thing.own));
      thing.element.classList.toggle("on", Boolean(on));
      thing.element.classList.toggle("near", Boolean(near));
    }
  };
  const thingAt = (target) => {
    const element = target instanceof Element ? target.closest("[data-own]") : null;
    const thing = element && thingOf.get(element);
    return thing && thing.own.size ? thing : null;
  };
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse") light(thingAt(event.target) || pinned);
  });
  document.addEventListener("focusin", (event) => { if (thingAt(event.target)) light(thingAt(event.target)); });

  // Views: the address says which one is shown, so that the browser's own way back works.
  const views = all(".view").filter((view) => view.id !== "layer");
  const named = new Map(views.map((view) => [view.id, view]));
  const layer = one("#layer");
  const crumbs = one(".crumbs");
  const layers = new Map(all("tr[data-layer]").map((row) => [row.dataset.layer, row]));
  let shown = "overview";

  const link = (name, text) => Object.assign(document.createElement("a"), { href: "#" + name, textContent: text });
  const titleOf = (name) => named.get(name).dataset.title;
  const above = (name) => (named.has(name) ? named.get(name).dataset.above : shown);

  const describe = (name) => {
    const row = layers.get(name);
    const kind = row ? row.dataset.kind : name.replace("kind.", "");
    const article = document.getElementById("kind." + kind);
    if (!article) return false;
    layer.replaceChildren(...[...article.cloneNode(true).childNodes]);
    if (row) {
      const facts = document.createElement("dl");
      facts.className = "facts";
      const cells = all("td", row);
      const rows = [[said("layer"), name + ": " + cells[0].textContent],
        [said("shape"), said("shapes", { before: row.dataset.in, after: cells[1].textContent })]];
      for (const how of row.dataset.how.split("; ")) if (how) rows.push(how.split(": "));
      for (const [term, text] of rows) {
        facts.append(Object.assign(document.createElement("dt"), { textContent: term }),
          Object.assign(document.createElement("dd"), { textContent: text }));
      }
      layer.append(facts);
    }
    return true;
  };

  const render = (name) => {
    let view = name;
    let detail = "";
    if (layers.has(name)) {
      view = all("[data-own]").find((found) => found.getAttribute("href") === "#" + name).closest(".view").id;
      detail = name;
    } else if (!named.has(name)) {
      view = shown;
      detail = name;
    }
    shown = view;
    for (const found of views) found.hidden = found.id !== view;
    layer.hidden = !detail || !describe(detail);
    const path = [];
    for (let at = view; at; at = above(at)) path.unshift(at);
    crumbs.replaceChildren(...path.map((at) => link(at, titleOf(at))));
    if (detail && !layer.hidden) {
      const text = layers.has(detail) ? detail.split(".").slice(view.split(".").length).join(".") : one("h3", layer).textContent;
      crumbs.append(Object.assign(document.createElement("span"), { textContent: text }));
    }
    const back = detail && !layer.hidden ? view : path[path.length - 2];
    document.dispatchEvent(new CustomEvent("place", { detail: detail || view }));
    if (back) {
      const way = link(back, said("back"));
      way.className = "back";
      crumbs.append(way);
    }
  };
  const known = (name) => named.has(name) || layers.has(name) || name.startsWith("kind.");
  const go = (name, pushed = true) => {
    root.classList.add("moves");
    if (pushed) history.pushState(null, "", "#" + name);
    render(name);
  };
  const address = () => decodeURIComponent(location.hash.slice(1));
  addEventListener("popstate", () => { if (known(address())) render(address()); else if (!address()) render("overview"); });

  const inSight = (element) => {
    const box = element.getBoundingClientRect();
    const top = Math.max(0, one(".picture").getBoundingClientRect().bottom);
    return box.height > 0 && box.top >= top && box.bottom <= innerHeight;
  };
  const bring = (element, block = "start") => {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.style.scrollMarginTop = one(".picture").offsetHeight + 60 + "px";
    element.scrollIntoView({ behavior: still ? "auto" : "smooth", block });
  };
  // A box that is lit, where the picture is wider than its frame.
  const bringBox = () => {
    const box = one(".view:not([hidden]) a.on") || one(".view:not([hidden]) a.near");
    const frame = box && box.closest(".scroll");
    if (!frame || frame.scrollWidth <= frame.clientWidth) return;
    const [seen, around] = [box.getBoundingClientRect(), frame.getBoundingClientRect()];
    if (seen.left < around.left || seen.right > around.right) frame.scrollLeft += seen.left - around.left - around.width / 3;
  };
  const bringLines = () => {
    const lines = all(".l.on").filter((line) => line.offsetParent);
    if (lines.length && !lines.some(inSight)) bring(lines[0]);
  };

  document.addEventListener("click", (event) => {
    const thing = thingAt(event.target);
    const anchor = event.target instanceof Element ? event.target.closest("a[href^='#']") : null;
    if (anchor) {
      const name = decodeURIComponent(anchor.getAttribute("href").slice(1));
      if (known(name)) {
        event.preventDefault();
        const from = document.activeElement === anchor;
        go(name);
        if (!anchor.isConnected || (from && anchor.closest(".view") && anchor.closest(".view").hidden)) {
          (one(".view:not([hidden]) a.el") || one(".crumbs a")).focus({ preventScroll: true });
        }
        if (!anchor.closest(".picture")) bring(one(".picture"), "nearest");
      }
    }
    pinned = thing || (event.target.closest(".picture, .programs") ? null : pinned);
    if (thing && thing.line && !anchor) showPlace(thing);
    light(pinned);
    if (thing) bringBox();
    if (thing && !thing.line && thing.element.closest(".picture")) bringLines();
  });

  // A line's place, where the view that is shown does not have it.
  const showPlace = (thing) => {
    const holds = (view) => all("[data-own]", view).some((element) => meet(thing.own, thingOf.get(element).own));
    if (one(".legend [data-own~='" + [...thing.own][0] + "']") || holds(named.get(shown))) return;
    const found = views.find(holds);
    if (found) go(found.id);
  };

  // Programs: several beside each other, or one at a time where the window is narrow.
  const programs = one("#programs");
  const choices = all(".choice button");
  const narrow = matchMedia("(max-width: 760px)");
  const order = choices.map((button) => button.dataset.backend);
  let chosen = order.slice(0, innerWidth >= 2300 ? 4 : innerWidth >= 1750 ? 3 : 2);
  const show = () => {
    const seen = narrow.matches ? chosen.slice(0, 1) : chosen;
    for (const button of choices) button.setAttribute("aria-pressed", String(seen.includes(button.dataset.backend)));
    for (const cell of all(".cell")) cell.hidden = !seen.includes(cell.dataset.backend);
    for (const row of all(".row")) row.hidden = all(".cell", row).every((cell) => cell.hidden || cell.classList.contains("empty"));
    programs.style.setProperty("--n", seen.length);
  };
  for (const button of choices) {
    button.addEventListener("click", () => {
      const name = button.dataset.backend;
      if (narrow.matches) chosen = [name, ...chosen.filter((other) => other !== name)].slice(0, Math.max(2, chosen.length));
      else if (!chosen.includes(name)) chosen = order.filter((other) => other === name || chosen.includes(other));
      else if (chosen.length > 2) chosen = chosen.filter((other) => other !== name);
      else say(said("fewest"));
      show();
    });
  }
  narrow.addEventListener("change", show);
  show();
  const only = one("#only");
  only.addEventListener("click", () => {
    const on = only.getAttribute("aria-pressed") !== "true";
    only.setAttribute("aria-pressed", String(on));
    programs.classList.toggle("only", on);
  });

  // The keyboard: one stop for each program, arrows from line to line, Escape one step back.
  const status = one("#status");
  const say = (text) => { status.textContent = text; };
  let current = null;
  const walk = (pre, step) => {
    const lines = all(".cell[data-backend='" + pre.dataset.column + "'] .l").filter((line) => line.offsetParent && line.dataset.own);
    const at = lines.indexOf(current);
    const next = lines[Math.min(Math.max(at + step, 0), lines.length - 1)];
    if (!next) return;
    if (current) current.classList.remove("cur");
    current = next;
    next.classList.add("cur");
    light(thingOf.get(next));
    bringBox();
    say(said("line", { number: next.dataset.n, text: next.textContent.trim(), places: next.dataset.own.split(" ").join(", ") }));
    if (!inSight(next)) bring(next, step > 0 ? "nearest" : "start");
  };
  document.addEventListener("keydown", (event) => {
    const pre = event.target instanceof Element ? event.target.closest("pre[data-column]") : null;
    if (pre && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      walk(pre, event.key === "ArrowDown" ? 1 : -1);
    } else if (pre && event.key === "Enter" && current) {
      pinned = thingOf.get(current);
      showPlace(pinned);
      light(pinned);
    } else if (event.key === "Escape") {
      pinned = null;
      light(null);
      const back = one(".crumbs .back");
      if (back) {
        go(decodeURIComponent(back.getAttribute("href").slice(1)));
        if (document.activeElement === document.body || !document.activeElement.offsetParent) {
          (one(".view:not([hidden]) a.el")).focus({ preventScroll: true });
        }
      }
    }
  });
  for (const pre of all("pre[data-column]")) {
    pre.addEventListener("blur", () => { if (current) current.classList.remove("cur"); light(pinned); });
  }

  // The programs on this page are those that `resnet source` prints: their bytes are counted again here.
  const check = async (cell) => {
    const lines = all(".cell[data-backend='" + cell.dataset.sum + "'] .l").map((line) => line.textContent + "\n");
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(lines.join("")));
    const found = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const good = found === cell.dataset.digest;
    cell.textContent = said(good ? "good" : "bad");
    cell.className = good ? "yes" : "no";
  };
  if (window.crypto && crypto.subtle) all("[data-sum]").forEach(check);

  // The recorded curve without shortcuts, behind the reader's own guess.
  const away = one("#take-away");
  away.addEventListener("click", () => {
    away.setAttribute("aria-pressed", String(one("#degradation").classList.toggle("shown")));
  });

  // The exercise: a count, with or without commas.
  const form = one("#exercise-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = one("#exercise-guess").value.replace(/[\s,._，]/g, ""), [guess, answer] = [Number(text), Number(form.dataset.answer)];
    const share = ((100 * guess) / answer).toPrecision(3) + " %";
    const name = !/^\d+$/.test(text) ? "number" : guess === answer ? "right" : guess < answer ? "low" : "high";
    one("#exercise-said").textContent = said("exercise." + name, { share });
  });

  render(known(address()) ? address() : "overview");
  // Without a script, a layer's address is its row in the table.
  if (layers.has(address())) addEventListener("load", () => setTimeout(() => one(".picture").scrollIntoView({ block: "nearest" })));
})();
