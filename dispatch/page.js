"use strict";
(() => {
  const plan = JSON.parse(document.getElementById("plan").textContent);
  const details = document.getElementById("details");
  const map = document.getElementById("map");
  let chosen = null;

  const all = (selector) => Array.from(document.querySelectorAll(selector));

  function tell(title, rows) {
    const heading = document.createElement("strong");
    heading.textContent = title;
    const list = document.createElement("dl");
    for (const [name, value] of rows) {
      const term = document.createElement("dt"), words = document.createElement("dd");
      term.textContent = name;
      words.textContent = value;
      list.append(term, words);
    }
    details.replaceChildren(heading, list);
  }

  function chooseRoute(n) {
    chosen = chosen === n ? null : n;
    document.body.classList.toggle("some", chosen !== null);
    for (const part of all("[data-route]")) part.classList.toggle("on", part.dataset.route === chosen);
    for (const button of all("#legend button")) button.setAttribute("aria-pressed", String(button.dataset.route === chosen));
    if (chosen !== null) tell(plan.routes[Number(chosen)].title, plan.routes[Number(chosen)].rows);
  }

  function showStop(id, keep) {
    tell(plan.stops[id].title, plan.stops[id].rows);
    if (!keep) return;
    for (const part of all(".picked")) part.classList.remove("picked");
    for (const part of all(`[data-stop="${id}"]`)) part.classList.add("picked");
  }

  function act(target) {
    const stop = target.closest("[data-stop]");
    if (stop) return showStop(stop.dataset.stop, true);
    const route = target.closest("[data-route]");
    if (route) chooseRoute(route.dataset.route);
  }

  document.addEventListener("click", (event) => act(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && chosen !== null) chooseRoute(chosen);
    if ((event.key === "Enter" || event.key === " ") && event.target.closest("svg")) {
      event.preventDefault();
      act(event.target);
    }
  });
  document.addEventListener("mouseover", (event) => {
    const stop = event.target.closest("[data-stop]");
    if (stop) showStop(stop.dataset.stop, false);
  });

  if (!map) return;
  const view = map.viewBox.baseVal, whole = { x: view.x, y: view.y, width: view.width, height: view.height };
  const place = (box) => Object.assign(view, box);
  map.addEventListener("wheel", (event) => {
    event.preventDefault();
    const frame = map.getBoundingClientRect(), by = event.deltaY < 0 ? 0.8 : 1.25;
    const width = Math.min(whole.width, view.width * by), height = Math.min(whole.height, view.height * by);
    const x = view.x + ((view.width - width) * (event.clientX - frame.left)) / frame.width;
    const y = view.y + ((view.height - height) * (event.clientY - frame.top)) / frame.height;
    place({
      x: Math.max(whole.x, Math.min(x, whole.x + whole.width - width)),
      y: Math.max(whole.y, Math.min(y, whole.y + whole.height - height)), width, height,
    });
  }, { passive: false });
  map.addEventListener("dblclick", () => place(whole));
})();
