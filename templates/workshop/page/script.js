// What the page does beyond showing HTML: copy buttons, answers without a
// reload, live state, keys, the clock. Without it the forms still work.
"use strict";
(() => {
  const body = document.body, base = body.dataset.base;
  const answer = document.getElementById("answer");

  for (const pre of document.querySelectorAll("article pre, .shell pre")) {
    const text = pre.textContent.replace(/\n$/, ""), button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    pre.classList.add("code");
    pre.prepend(button); // lines go around it
  }

  let busy = false;
  async function act(form) {
    if (busy || form.dataset.ask && !confirm(form.dataset.ask)) return;
    busy = true;
    const buttons = document.querySelectorAll("form button");
    const was = [...buttons].map((b) => b.disabled), focus = document.activeElement;
    buttons.forEach((b) => { b.disabled = true; });
    answer.className = "waiting";
    answer.textContent = "Working on it …";
    try {
      const response = await fetch(form.action, {
        method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(new FormData(form)),
      });
      const result = await response.json();
      if (result.go) {
        location.href = result.go;
        return;
      }
      answer.className = result.class;
      answer.innerHTML = result.html; // made by the server's templates
      answer.scrollIntoView({ block: "nearest" });
      if (form.dataset.act === "broadcast") form.reset();
    } catch (err) {
      answer.className = "bad";
      answer.textContent = "berth does not answer. Does `berth workshop serve` still run? (" + err.message + ")";
    } finally {
      busy = false;
      buttons.forEach((b, i) => { b.disabled = was[i]; });
      if (document.activeElement === body) focus.focus({ preventScroll: true }); // a disabled button has lost it
    }
    refresh();
  }
  document.addEventListener("submit", (event) => {
    event.preventDefault();
    act(event.target);
  });

  // What is told of an element so that it is found again after a refresh.
  function keyOf(element) {
    const quoted = (attribute) => `[${attribute}="${CSS.escape(element.closest(`[${attribute}]`)?.getAttribute(attribute) ?? "")}"]`;
    return { A: "a" + quoted("href"), BUTTON: "form" + quoted("data-act") + " button", SUMMARY: "details" + quoted("data-key") + " summary" }[element.tagName];
  }

  const live = document.getElementById("live");
  let shown = "";
  // show puts the live part in place. What is open stays open, and the focus where it is.
  function show(html) {
    if (html === shown) return;
    shown = html;
    const open = [...live.querySelectorAll("details[open] summary")].map(keyOf);
    const focus = live.contains(document.activeElement) && keyOf(document.activeElement);
    live.innerHTML = html; // made by the server's templates
    for (const key of open) live.querySelector(key)?.parentElement.setAttribute("open", "");
    if (focus) live.querySelector(focus)?.focus({ preventScroll: true });
  }
  async function refresh() {
    if (document.hidden) return;
    try {
      const response = await fetch(body.dataset.live);
      if (!response.ok) return;
      show(await response.text());
      const step = response.headers.get("Berth-Step");
      const messages = document.getElementById("messages"), told = response.headers.get("Berth-Messages");
      if (busy) return; // what was begun meanwhile will say where to go
      if (step && step !== body.dataset.step) location.href = base; // moved on the command line
      else if (messages && told !== String(messages.childElementCount)) location.reload();
    } catch (err) {
      // the next one may work
    }
  }
  setInterval(refresh, 2000);

  const elapsed = document.getElementById("elapsed"), started = Number(body.dataset.started);
  function tick() {
    const s = Math.max(0, Math.floor(Date.now() / 1000 - started));
    const two = (n) => String(n).padStart(2, "0");
    elapsed.textContent = Math.floor(s / 3600) + ":" + two(Math.floor(s / 60) % 60) + ":" + two(s % 60);
  }
  tick();
  setInterval(tick, 1000);

  document.addEventListener("keydown", (event) => {
    if (busy || event.ctrlKey || event.metaKey || event.altKey || /^(input|textarea|select)$/i.test(event.target.tagName)) return;
    const acts = { c: "check", n: "next", b: "back" };
    if (acts[event.key]) {
      const form = document.querySelector(`form[data-act="${acts[event.key]}"]`);
      if (form) form.requestSubmit();
      else location.href = base;
    }
    const links = [...document.querySelectorAll("nav a")], shown = links.findIndex((a) => a.hasAttribute("aria-current"));
    const other = links[shown + { ArrowRight: 1, ArrowLeft: -1 }[event.key]];
    if (other) other.click();
  });
})();
