// Renews a page when the server says that something changed. Everything works without it: the page then renews itself by the clock.
"use strict";
(() => {
  const address = document.body.dataset.live;
  if (!address) return;
  const note = document.getElementById("live");
  let due = false, busy = false;

  // Nobody loses what he is typing or has opened.
  const inUse = () => {
    const main = document.getElementById("main");
    const at = document.activeElement;
    return main.querySelector("details[open]") !== null
      || (main.contains(at) && ["INPUT", "SELECT", "BUTTON"].includes(at.tagName));
  };

  const renew = async () => {
    if (busy || document.hidden || inUse()) { due = true; return; }
    busy = true;
    due = false;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", headers: { Accept: "text/html" } });
      if (answer.redirected && new URL(answer.url).pathname.endsWith("/login")) { location.reload(); return; }
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.getElementById("main").replaceWith(document.adoptNode(fresh.getElementById("main")));
      note.textContent = `Renewed at ${new Date().toLocaleTimeString()}.`;
    } catch (error) {
      note.textContent = `The page could not be renewed (${error.message}); it is as of its last renewal.`;
      due = true;
    } finally {
      busy = false;
    }
  };

  const stream = new EventSource(address);
  stream.onmessage = renew;
  stream.onerror = () => { note.textContent = "No connection: this page may be old."; };
  stream.onopen = () => { note.textContent = "Live."; };
  // What was put off, and times such as "3 min ago", which grow old by themselves.
  setInterval(() => { if (due) renew(); }, 2000);
  setInterval(renew, 30000);
})();
