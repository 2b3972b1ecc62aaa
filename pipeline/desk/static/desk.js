// Live updates and single keys. Everything also works without this file, by links and forms.
"use strict";
(() => {
  const $ = (selector, from = document) => from.querySelector(selector);
  const body = document.body;

  // --- live: the server says "something changed", htmx fetches the part again, at most once a second
  let lastPush = 0, waiting = null;
  const push = () => {
    const due = 1000 - (Date.now() - lastPush);
    if (due > 0) { waiting ??= setTimeout(() => { waiting = null; push(); }, due); return; }
    lastPush = Date.now();
    htmx.trigger(body, "desk:change");
  };
  const offline = (is) => {
    const banner = $("#offline"), mark = $("#livemark");
    if (banner) banner.hidden = !is;
    if (mark) mark.classList.toggle("off", is);
  };

  const incident = $("#incident");
  const changed = (change) => {
    push();
    if (!incident || change.subject !== incident.dataset.id) return;
    if (change.what === "feedback.given") {
      const note = $("#answer input[name=note]");
      if (!note || !note.value) htmx.ajax("GET", `/incidents/${incident.dataset.id}/answer`, { target: "#answer", swap: "outerHTML" });
    } else { const fresh = $("#fresh"); if (fresh) fresh.hidden = false; }
  };

  if (body.dataset.after !== undefined && "EventSource" in window) {
    let broken = false;
    const source = new EventSource(`/events?after=${body.dataset.after}`);
    source.addEventListener("change", (event) => changed(JSON.parse(event.data)));
    source.addEventListener("tick", push);
    source.onopen = () => { offline(false); if (broken) { broken = false; push(); htmx.trigger("#strip", "desk:change"); } };
    source.onerror = () => {
      broken = true;
      offline(true);
      // A closed source (signed out, server gone for long) does not come back by itself.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
    };
    addEventListener("pagehide", () => source.close());
  }

  // --- failures of a part: say it in words, once
  const trouble = (status) => {
    const banner = $("#trouble");
    if (!banner) return;
    banner.textContent = "⚠ " + (banner.dataset[String(status)] || banner.dataset.other);
    banner.hidden = false;
  };
  body.addEventListener("htmx:responseError", (event) => trouble(event.detail.xhr.status));
  body.addEventListener("htmx:sendError", () => offline(true));
  body.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) { const banner = $("#trouble"); if (banner) banner.hidden = true; }
  });

  // --- the list keeps its place when it is renewed; the title tells how many wait
  let place = null;
  body.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id === "list") place = document.activeElement?.closest?.(".row")?.id ?? null;
  });
  body.addEventListener("htmx:afterSwap", (event) => {
    const list = $("#list");
    if (!list) return;
    if (place) document.getElementById(place)?.querySelector("a")?.focus({ preventScroll: true });
    place = null;
    const open = Number(list.dataset.open);
    document.title = (open ? `(${open}) ` : "") + "Sitrep";
  });

  // --- pictures: mark the one that is shown
  const pick = () => {
    for (const radio of document.querySelectorAll(".pick"))
      document.querySelector(`.film label[for=${radio.id}]`)?.classList.toggle("on", radio.checked);
  };
  document.addEventListener("change", (event) => { if (event.target.matches?.(".pick")) pick(); });
  pick();

  // --- keys
  const go = (address) => { if (address) location.assign(address); };
  const step = (by) => {
    const links = [...document.querySelectorAll(".row > a")];
    if (!links.length) return;
    const now = links.indexOf(document.activeElement);
    const next = links[Math.min(Math.max(now + by, 0), links.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input[type=text], input[type=password], select, textarea");
    if (typing) {
      // Enter in the note must not choose an answer.
      if (event.target.name === "note" && (event.key === "Enter" || event.key === "Escape")) { event.preventDefault(); event.target.blur(); }
      return;
    }
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
    // event.code too: with a Korean keyboard layout the same keys give other letters.
    const key = event.key.length === 1 && /^Key[A-Z]$/.test(event.code) ? event.code[3].toLowerCase() : event.key;
    const path = $(".path");
    if (path) {
      const button = $(`#answer button[data-key="${key}"]`);
      if (button && "cfu".includes(key)) { event.preventDefault(); button.click(); }
      else if (key === "j") go(path.dataset.next);
      else if (key === "k") go(path.dataset.previous);
      else if (key === "n") { event.preventDefault(); $("#answer input[name=note]")?.focus(); }
      else if (key === "Escape") go(path.dataset.back);
    } else if (key === "j") step(1);
    else if (key === "k") step(-1);
  });
  body.dataset.ready = "yes";
})();
