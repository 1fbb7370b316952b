// What the browser does itself: a pressed photo, an upload, walking over the map. Each function gets the element
// of its component and Gradio's `trigger`; web_page.py calls them from the components' js_on_load.
window.solesearch = {
  // Once new answers are in: the keyboard's place moves to their query when its button was among the old ones,
  // and on a phone, where answers lie below the screen, the page scrolls to them.
  reveal(place, moveFocus) {
    const row = document.getElementById(place);
    if (!row) return;
    const watching = new MutationObserver(() => {
      watching.disconnect();
      if (row.getBoundingClientRect().top > 0.8 * innerHeight) row.scrollIntoView();
      if (moveFocus) row.querySelector(".query")?.focus({ preventScroll: true });
    });
    watching.observe(row, { childList: true, subtree: true });
  },

  // A pressed photo becomes the query.
  pick(element, trigger) {
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-number]");
      if (!button) return;
      const below = button.closest("#map-neighbours") ? "map-neighbours" : "results";
      window.solesearch.reveal(below, Boolean(button.closest("#results, #map-neighbours")));
      trigger("click", { number: Number(button.dataset.number) });
    });
  },

  // The file's bytes go to /upload, its name does not; the token that comes back starts the search.
  upload(element, trigger) {
    element.addEventListener("change", async (event) => {
      const [file] = event.target.files || [];
      if (!file) return;
      window.solesearch.reveal("results", false);
      const most = Number(event.target.dataset.mostBytes);
      if (file.size > most) {
        trigger("upload", { token: "", problem: `The file is larger than ${most / 1e6} MB. Please choose a smaller photo.` });
        event.target.value = "";
        return;
      }
      try {
        const reply = await fetch("/upload", { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
        const said = await reply.json();
        trigger("upload", { token: said.token || "", problem: said.problem || "" });
      } catch {
        trigger("upload", { token: "", problem: "The page does not answer. Is its server still running?" });
      }
      event.target.value = "";  // the same file may be chosen again
    });
  },

  map(element, trigger) {
    const drawing = () => element.querySelector("svg.points");
    const visible = () => [...drawing().querySelectorAll("g:not([hidden]) > path")];
    const place = (mark) => mark.transform.baseVal[0].matrix;
    let current = null;

    const show = (mark) => {
      current = mark;
      const ring = drawing().querySelector(".cursor"), at = place(mark);
      ring.setAttribute("cx", at.e);
      ring.setAttribute("cy", at.f);
      ring.setAttribute("visibility", "visible");
      element.querySelector(".here").textContent = `${mark.parentNode.dataset.class}, photo ${mark.dataset.id}`;
    };
    // The neighbours that the row below shows get a black edge on the map.
    const row = () => document.getElementById("map-neighbours");
    const edge = () => {
      const near = new Set([...row().querySelectorAll(".answers [data-number]")].map((one) => one.dataset.number));
      for (const mark of drawing().querySelectorAll("path")) mark.classList.toggle("near", near.has(mark.dataset.number));
    };
    let watching = false;
    const choose = (mark) => {
      show(mark);
      if (!watching) new MutationObserver(edge).observe(row(), { childList: true, subtree: true });
      watching = true;
      trigger("click", { number: Number(mark.dataset.number) });
    };
    const nearest = (x, y, wanted = () => true) => {
      let best = null, least = Infinity;
      for (const mark of visible()) {
        const at = place(mark), far = (at.e - x) ** 2 + (at.f - y) ** 2;
        if (far < least && wanted(at.e - x, at.f - y)) [best, least] = [mark, far];
      }
      return [best, Math.sqrt(least)];
    };

    element.addEventListener("click", (event) => {
      const legend = event.target.closest(".legend button");
      if (legend) {
        const group = [...drawing().querySelectorAll("g")].find((one) => one.dataset.class === legend.dataset.class);
        group.toggleAttribute("hidden");
        legend.setAttribute("aria-pressed", String(!group.hasAttribute("hidden")));
        return;
      }
      if (!event.target.closest("svg.points")) return;
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing().getScreenCTM().inverse());
      const scale = 1 / drawing().getScreenCTM().a;  // a finger is about 22 pixels wide
      const [mark, far] = nearest(point.x, point.y);
      if (mark && far < 22 * scale) choose(mark);
    });

    const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    element.addEventListener("keydown", (event) => {
      if (!event.target.closest("svg.points")) return;
      if (event.key in ways) {
        event.preventDefault();
        const [right, down] = ways[event.key];
        const from = current && !current.parentNode.hasAttribute("hidden") ? place(current) : null;
        const [mark] = from
          ? nearest(from.e, from.f, (x, y) => x * right + y * down > Math.abs(x * down) + Math.abs(y * right))
          : nearest(500, 320);
        if (mark) show(mark);
      } else if ((event.key === "Enter" || event.key === " ") && current) {
        event.preventDefault();
        choose(current);
      }
    });
  },
};
