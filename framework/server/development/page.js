// Development only: loads the page anew when what it is made of has changed, swaps its style
// sheets, and shows what the compiler said until a build is good again.
(() => {
  if (window.hulseDev) return;
  window.hulseDev = true;
  const source = new URL(document.currentScript.src);
  const release = source.search.slice(1);
  let first, overlay, wait = 100;

  function show(words) {
    if (!words) return overlay?.remove();
    overlay ??= document.createElement("pre");
    overlay.id = "hulse-development";
    overlay.setAttribute("role", "alert");
    overlay.textContent = words;
    overlay.style.cssText = "all:initial;position:fixed;inset:0;z-index:2147483647;overflow:auto;" +
      "box-sizing:border-box;padding:24px;border-top:8px solid #e5484d;background:#161618f2;" +
      "color:#f4f4f5;font:14px/1.5 ui-monospace,monospace;white-space:pre-wrap;" +
      "overflow-wrap:anywhere";
    document.documentElement.append(overlay);
  }

  function restyle() {
    for (const old of document.querySelectorAll("link[rel~=stylesheet][href]")) {
      const url = new URL(old.href);
      if (url.origin !== location.origin) continue;
      url.searchParams.set("hulse", Date.now());
      const fresh = old.cloneNode();
      fresh.href = url;
      fresh.onload = fresh.onerror = () => old.remove();
      old.after(fresh);
    }
  }

  function hear(news) {
    first ??= news;
    if (news.page !== first.page) return location.reload();
    // Once for each: a page that comes out of a cache all the same would come from there again.
    const key = "hulse " + location.pathname;
    if (news.release && news.release !== release && sessionStorage[key] !== news.release) {
      sessionStorage[key] = news.release;
      return location.reload();
    }
    if (news.style !== first.style) restyle();
    first = news;
    show(news.failed);
  }

  function connect() {
    const socket = new WebSocket(source.origin.replace("http", "ws") + source.pathname + "/news");
    socket.onopen = () => { wait = 100; };
    socket.onmessage = (event) => hear(JSON.parse(event.data));
    socket.onclose = () => setTimeout(connect, wait = Math.min(wait * 1.5, 2000));
  }

  connect();
})();
