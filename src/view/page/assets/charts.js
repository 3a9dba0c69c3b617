// The charts. Each draws itself into its canvas; those over time share one stretch of time.

let crosshair = null;

const boxOf = (width, height, left) => ({ left, right: width - 12, top: 26, bottom: height - 36 });

// The points that are in view: from the one that holds `view.from` to the one behind `view.to`.
const inView = (times) => {
  const search = (value) => {
    let low = 0, high = times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (times[middle] <= value) low = middle; else high = middle - 1;
    }
    return low;
  };
  return [search(view.from), Math.min(search(view.to) + 1, times.length - 1)];
};

const stairs = (context, times, values, x, y, from, to, back) => {
  if (back) {
    for (let i = to - 1; i >= from; i--) {
      context.lineTo(x.at(times[i + 1]), y.at(values[i]));
      context.lineTo(x.at(times[i]), y.at(values[i]));
    }
    return;
  }
  for (let i = from; i < to; i++) {
    context.lineTo(x.at(times[i]), y.at(values[i]));
    context.lineTo(x.at(times[i + 1]), y.at(values[i]));
  }
};

// Means over groups of points, so that a line has room for its ups and downs.
const smooth = (times, values, from, to, most) => {
  const group = Math.ceil((to - from) / most);
  if (group <= 1) return [times, values, from, to];
  const edges = [], means = [], wide = (times[to] - times[from]) / most;
  for (let i = from, next = from; i < to; i = next) {
    let area = 0, width = 0;
    // A long point, such as a pause, stays by itself.
    do {
      area += values[next] * (times[next + 1] - times[next]);
      width += times[next + 1] - times[next];
      next += 1;
    } while (next < Math.min(i + group, to) && width < wide && times[next + 1] - times[next] < wide);
    edges.push(times[i]);
    means.push(width > 0 ? area / width : values[i]);
  }
  edges.push(times[to]);
  return [edges, means, 0, means.length];
};

const drawTime = (chart, context, box, hidden) => {
  const shown = chart.series.filter((series) => !hidden.has(series.name));
  const [from, to] = inView(chart.times);
  let top = 0;
  for (let i = from; i < to; i++) {
    let stack = 0;
    for (const series of shown) {
      if (series.style === "stack") stack += series.mean[i];
      else top = Math.max(top, series.max[i]);
    }
    top = Math.max(top, stack);
  }
  if (chart.y.unit === "percent") top = Math.max(top, 100);
  const y = chart.y.log
    ? axis(chart.y, chart.y.from, Math.max(top, 10) * 1.3, box.bottom, box.top)
    : axis(chart.y, 0, top > 0 ? top * 1.06 : 1, box.bottom, box.top);
  const x = axis(chart.x, view.from, view.to, box.left, box.right);
  drawGrid(context, box, x, y);
  context.save();
  context.beginPath();
  context.rect(box.left, box.top - 1, box.right - box.left, box.bottom - box.top + 2);
  context.clip();
  const count = chart.times.length - 1;
  let below = new Float64Array(count);
  for (const series of [...shown].sort((a, b) => (b.style === "peak") - (a.style === "peak"))) {
    context.fillStyle = context.strokeStyle = series.color;
    if (series.style === "stack") {
      const above = new Float64Array(count);
      for (let i = from; i < to; i++) above[i] = below[i] + series.mean[i];
      context.globalAlpha = 0.85;
      context.beginPath();
      stairs(context, chart.times, above, x, y, from, to);
      stairs(context, chart.times, below, x, y, from, to, true);
      context.fill();
      below = above;
    } else {
      const floor = series.style === "band" ? series.min : new Float64Array(count);
      context.globalAlpha = 0.25;
      context.beginPath();
      stairs(context, chart.times, series.max, x, y, from, to);
      stairs(context, chart.times, floor, x, y, from, to, true);
      context.fill();
      if (series.style === "peak") {
        // A peak narrower than a pixel is seen too.
        context.globalAlpha = 0.7;
        context.lineWidth = 0.8;
        context.beginPath();
        stairs(context, chart.times, series.max, x, y, from, to);
        context.stroke();
      }
      if (series.style === "band") {
        context.globalAlpha = 1;
        context.lineWidth = 1.6;
        context.beginPath();
        const [edges, means, first, last] = smooth(chart.times, series.mean, from, to, (box.right - box.left) / 3);
        stairs(context, edges, means, x, y, first, last);
        context.stroke();
      }
    }
  }
  const most = Math.max(...chart.marks.map((mark) => mark[1]), 1);
  context.fillStyle = STATE_COLORS.preempted;
  for (const [at, number] of chart.marks) {
    if (at < view.from || at > view.to) continue;
    context.globalAlpha = 0.15 + 0.85 * Math.sqrt(number / most);
    context.fillRect(x.at(at) - 0.8, box.bottom - 10, 1.6, 10);
  }
  context.restore();
  if (!chart.series.length || count < 1) nothing(context, box);
  return { x, y };
};

const nothing = (context, box) => {
  context.fillStyle = colors.soft;
  context.textAlign = "center";
  context.fillText("nothing to show", (box.left + box.right) / 2, (box.top + box.bottom) / 2);
};

const drawBars = (chart, context, box, range) => {
  const x = axis(chart.x, range[0], range[1], box.left, box.right);
  const seen = chart.bars.filter(([from, to]) => to >= range[0] && from <= range[1]);
  const y = axis(chart.y, 0, Math.max(...seen.map((bar) => bar[2]), 1) * 1.14, box.bottom, box.top);
  drawGrid(context, box, x, y);
  context.fillStyle = chart.color;
  context.globalAlpha = 0.85;
  for (const [from, to, count] of seen) {
    const left = Math.max(x.at(from), box.left), right = Math.min(x.at(to), box.right);
    context.fillRect(left + 0.5, y.at(count), Math.max(right - left - 1, 1), box.bottom - y.at(count));
  }
  context.globalAlpha = 1;
  if (!chart.bars.length) nothing(context, box);
  const taken = [];
  const labels = [];
  for (const [at, text] of chart.lines) {
    if (at < range[0] || at > range[1]) continue;
    const place = x.at(at), width = context.measureText(text).width;
    // On the side where it crosses fewer of the other lines.
    const crossed = (from) => chart.lines.filter(([other]) => {
      const line = x.at(other);
      return other !== at && line > from - 4 && line < from + width + 4;
    }).length;
    const before = place - width - 6, behind = place + 6;
    const fits = behind + width + 4 <= box.right;
    const left = fits && (before < box.left || crossed(behind) <= crossed(before)) ? behind : before;
    let row = taken.findIndex((end) => end + 8 < Math.min(left, place));
    if (row < 0) row = taken.push(0) - 1;
    taken[row] = Math.max(left + width, place);
    labels.push({ text, place, width, left, base: box.top + 12 + row * 16 });
  }
  context.strokeStyle = colors.ink;
  context.setLineDash([5, 4]);
  context.lineWidth = 1;
  for (const { place, base } of labels) {
    context.beginPath(); context.moveTo(place, base - 10); context.lineTo(place, box.bottom); context.stroke();
  }
  context.setLineDash([]);
  context.textAlign = "left";
  // No line crosses a label: which one it belongs to would be hard to tell.
  for (const { text, width, left, base } of labels) {
    context.fillStyle = colors.card;
    context.fillRect(left - 3, base - 11, width + 6, 14);
    context.fillStyle = colors.ink;
    context.fillText(text, left, base);
  }
  return { x, y };
};

const drawCurves = (chart, context, box, range, hidden) => {
  const x = axis(chart.x, range[0], range[1], box.left, box.right);
  const y = axis(chart.y, 0, 103, box.bottom, box.top);
  drawGrid(context, box, x, y);
  context.save();
  context.beginPath();
  context.rect(box.left, box.top - 1, box.right - box.left, box.bottom - box.top + 2);
  context.clip();
  context.lineWidth = 2;
  for (const curve of chart.curves) {
    if (hidden.has(curve.name)) continue;
    context.strokeStyle = curve.color;
    context.beginPath();
    let before = 0;
    for (const [at, share] of curve.points) {
      context.lineTo(x.at(at), y.at(before));
      context.lineTo(x.at(at), y.at(share));
      before = share;
    }
    context.stroke();
  }
  context.restore();
  if (!chart.curves.length) nothing(context, box);
  return { x, y };
};

const drawShares = (chart, context, box) => {
  const width = box.right - box.left;
  // The notes behind the bars need their room too.
  const to = chart.rows.reduce((to, row) => {
    const room = Math.max(width - context.measureText(row.note).width - 11, width / 4);
    return Math.max(to, row.parts.reduce((sum, part) => sum + part, 0) * width / room);
  }, chart.x.to);
  const x = axis(chart.x, chart.x.from, to, box.left, box.right);
  drawGrid(context, box, x, null);
  const height = (box.bottom - box.top) / Math.max(chart.rows.length, 1);
  const thick = Math.min(height * 0.55, 34);
  chart.rows.forEach((row, index) => {
    const middle = box.top + height * (index + 0.5);
    let sum = 0;
    row.parts.forEach((part, kind) => {
      context.fillStyle = chart.parts[kind][1];
      context.fillRect(x.at(sum), middle - thick / 2, x.at(sum + part) - x.at(sum), thick);
      sum += part;
    });
    context.fillStyle = colors.ink;
    context.textAlign = "right";
    context.fillText(row.name, box.left - 8, middle + 4);
    context.fillStyle = colors.soft;
    context.textAlign = "left";
    context.fillText(row.note, x.at(sum) + 7, middle + 4);
  });
  if (!chart.rows.length) nothing(context, box);
  return { x, rows: { height, top: box.top } };
};

// What a chart says at a place.
const lookUp = (chart, value, hidden, pixelY, scales) => {
  if (chart.kind === "time") {
    const times = chart.times;
    let low = 0, high = times.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (times[middle] <= value) low = middle; else high = middle - 1;
    }
    const lines = chart.series.filter((series) => !hidden.has(series.name)).map((series) => {
      const text = series.style === "band"
        ? `${series.name}: ${amount(series.mean[low], chart.y.unit)}` +
          (series.min[low] !== series.max[low] ? ` (${amount(series.min[low], chart.y.unit)} to ${amount(series.max[low], chart.y.unit)})` : "")
        : `${series.name}: ${amount((series.style === "stack" ? series.mean : series.max)[low], chart.y.unit)}`;
      return [series.color, text];
    });
    return [moment(value), lines];
  }
  if (chart.kind === "bars") {
    const bar = chart.bars.find(([from, to]) => value >= from && value < to);
    if (!bar) return [duration(value), [[null, "no request"]]];
    return [`${duration(bar[0])} to ${duration(bar[1])}`, [[chart.color, `${grouped(bar[2])} requests`]]];
  }
  if (chart.kind === "curves") {
    const lines = chart.curves.filter((curve) => !hidden.has(curve.name)).map((curve) => {
      let share = 0;
      for (const point of curve.points) { if (point[0] > value) break; share = point[1]; }
      return [curve.color, `${curve.name}: ${share.toFixed(1)} %`];
    });
    return [`at most ${duration(value)}`, lines];
  }
  const row = chart.rows[Math.floor((pixelY - scales.rows.top) / scales.rows.height)];
  if (!row) return null;
  const total = row.parts.reduce((sum, part) => sum + part, 0) || 1;
  return [row.name, row.parts.map((part, kind) =>
    [chart.parts[kind][1], `${chart.parts[kind][0]}: ${duration(part)} (${((part / total) * 100).toFixed(1)} %)`])];
};

const legendOf = (chart) =>
  chart.kind === "time" ? chart.series.map((series) => [series.name, series.color])
    : chart.kind === "curves" ? chart.curves.map((curve) => [curve.name, curve.color])
      : chart.kind === "shares" ? chart.parts : [];

const addChart = (chart) => {
  const canvas = make("canvas", { "aria-label": chart.title, role: "img" });
  const keys = make("div", { class: "keys" });
  const hidden = new Set();
  const home = [chart.x.from, chart.x.to];
  let range = home, scales = null, box = null;
  const draw = () => {
    const { context, width, height } = prepare(canvas);
    if (width < 20) return;
    box = boxOf(width, height, chart.kind === "shares" ? 92 : 58);
    scales = chart.kind === "time" ? drawTime(chart, context, box, hidden)
      : chart.kind === "bars" ? drawBars(chart, context, box, range)
        : chart.kind === "curves" ? drawCurves(chart, context, box, range, hidden)
          : drawShares(chart, context, box);
    drawBorder(context, box);
    if (chart.kind === "time") drawMarker(context, scales.x, box.top, box.bottom);
    if (chart.kind === "time" && crosshair !== null && crosshair >= view.from && crosshair <= view.to) {
      context.strokeStyle = colors.soft;
      const at = Math.round(scales.x.at(crosshair)) + 0.5;
      context.beginPath(); context.moveTo(at, box.top); context.lineTo(at, box.bottom); context.stroke();
    }
    drawSelection(context, canvas, box);
  };
  for (const [name, color] of legendOf(chart)) {
    const key = make("button", { class: "key", type: "button", "aria-pressed": "true" },
      make("i", { style: "background:" + color }), name);
    key.addEventListener("click", () => {
      if (chart.kind === "shares") return;
      if (!hidden.delete(name)) hidden.add(name);
      key.setAttribute("aria-pressed", String(!hidden.has(name)));
      draw();
    });
    keys.append(key);
  }
  if (chart.marks && chart.marks.length) {
    keys.append(make("span", { class: "key" },
      make("i", { style: "width:3px;background:" + STATE_COLORS.preempted }), chart.marksName));
  }
  zoomable(canvas, {
    inside: (at) => box && at >= box.left && at <= box.right,
    select(from, to) {
      const low = scales.x.value(Math.max(from, box.left)), high = scales.x.value(Math.min(to, box.right));
      if (chart.kind === "time") view.set(low, high);
      else if (chart.kind !== "shares" && high / low > 1.01) { range = [low, high]; draw(); }
    },
    reset() { if (chart.kind === "time") view.reset(); else { range = home; draw(); } },
    hover(event, at) {
      if (!event || !box || at < box.left || at > box.right) {
        tooltip.hide();
        if (crosshair !== null) { crosshair = null; schedule(); }
        return;
      }
      const found = lookUp(chart, scales.x.value(at), hidden, event.offsetY, scales);
      if (found) tooltip.show(event, found[0], found[1]); else tooltip.hide();
      if (chart.kind === "time") { crosshair = scales.x.value(at); schedule(); } else draw();
    },
  });
  byId("grid").append(make("figure", { class: "chart", id: "chart-" + chart.name },
    make("h3", { text: chart.title }), make("p", { class: "soft", text: chart.caption }), keys, canvas));
  view.changed.push(draw);
};
