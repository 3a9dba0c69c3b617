// Opened as `page.html#selftest`, the page uses itself and writes what happened into the document.

const selftest = () => {
  const results = [];
  const check = (name, holds) => results.push(`${holds ? "ok" : "FAILED"} ${name}`);
  const pointer = (canvas, type, x, y) => {
    const box = canvas.getBoundingClientRect();
    canvas.dispatchEvent(new PointerEvent(type, {
      clientX: box.left + x, clientY: box.top + y, button: 0, pointerId: 1, bubbles: true,
    }));
  };
  const inked = (canvas) => {
    const { width, height } = canvas;
    const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
    let count = 0;
    for (let at = 3; at < pixels.length; at += 4) count += pixels[at] > 0;
    return count > 200;
  };
  try {
    redraw();
    const canvases = [...document.querySelectorAll(".chart canvas")];
    check(`${canvases.length} charts`, canvases.length === data.charts.length && canvases.length > 8);
    check("every chart has ink", canvases.every(inked));
    check("the timeline has ink", inked(byId("rows")) && inked(byId("overview")));

    const first = canvases[0], whole = view.to - view.from, width = first.clientWidth;
    pointer(first, "pointerdown", width * 0.4, 80);
    pointer(first, "pointermove", width * 0.5, 80);
    pointer(first, "pointerup", width * 0.6, 80);
    redraw();
    check("dragging zooms", view.to - view.from < whole * 0.5);
    pointer(first, "pointermove", width * 0.5, 80);
    check("hovering tells", tooltip.element.style.display === "block" && tooltip.element.textContent.length > 5);
    first.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
    check("a double click goes back", view.to - view.from === whole);
    document.querySelector('[data-zoom="in"]').click();
    check("the button zooms", view.to - view.from < whole);
    document.querySelector('[data-zoom="all"]').click();

    document.querySelector('[data-column="e2e"]').click();
    if (table.sort !== "e2e" || !table.down) document.querySelector('[data-column="e2e"]').click();
    const sorted = table.rows.map((index) => requests.e2e[index]).filter((value) => value !== null);
    check("the table sorts", sorted.every((value, at) => at === 0 || sorted[at - 1] >= value));
    const body = byId("table").tBodies[0];
    check("the table has rows", body.rows.length === Math.min(requests.id.length, PAGE));
    if (requests.id.length) {
      setFilter(requests.id[0]);
      check("the search finds", table.rows.includes(0) && table.rows.length <= requests.id.length);
      setFilter("");
      body.rows[0].click();
      redraw();
      check("a row leads to the timeline", timeline.selected === table.rows[0]);
      view.reset();
    }
    const link = document.querySelector("[data-finding]");
    if (link) {
      const finding = findings[Number(link.dataset.finding)];
      link.click();
      redraw();
      check("a finding leads to the timeline", finding.request === null ? view.to - view.from < whole : timeline.selected === finding.request);
      check("its moment is in view", finding.at === null || (finding.at >= view.from && finding.at <= view.to));
      view.reset();
    }
    byId("theme").click();
    check("the theme changes", document.documentElement.dataset.theme !== undefined);
    redraw();
  } catch (error) {
    results.push("FAILED " + error.stack);
  }
  const failed = results.some((line) => line.startsWith("FAILED"));
  document.body.append(make("pre", { id: "selftest", "data-result": failed ? "failed" : "passed", text: results.join("\n") }));
};
