// Axes: where a value is, what stands at the ticks; and the mouse that zooms.

const niceStep = (least) => {
  const power = Math.pow(10, Math.floor(Math.log10(least)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= least * 0.9999);
};

const timeUnit = (longest) =>
  TIME_UNITS.find(([, scale]) => longest >= (scale > 1e9 ? (100 * scale) / 60 : 1.5 * scale)) || ["ns", 1];

// An axis from `from` to `to`, drawn between the pixels `low` and `high`.
const axis = (spec, from, to, low, high) => {
  const log = spec.log;
  const position = log
    ? (value) => low + (Math.log(Math.max(value, from * 1e-6) / from) / Math.log(to / from)) * (high - low)
    : (value) => low + ((value - from) / (to - from)) * (high - low);
  const [first, last] = low < high ? [low, high] : [high, low];
  const at = (value) => Math.min(Math.max(position(value), first - 1), last + 1);
  const value = (pixel) => {
    const part = (pixel - low) / (high - low);
    return log ? from * Math.pow(to / from, part) : from + part * (to - from);
  };
  const unit = spec.unit === "ns" && !log ? timeUnit(Math.max(Math.abs(to), Math.abs(from))) : ["", 1];
  const title =
    spec.unit === "percent" ? `${spec.label} (%)`
      : spec.unit === "ns" && !log ? `${spec.label} (${unit[0]})` : spec.label;
  return { spec, from, to, at, value, unit, title, log };
};

const ticks = (axis, count) => {
  if (axis.log) return logTicks(axis);
  const scale = axis.unit[1];
  let step = niceStep((axis.to - axis.from) / scale / count);
  if (axis.spec.unit === "count") step = Math.max(step, 1);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const out = [];
  for (let index = Math.ceil(axis.from / scale / step - 1e-9); index * step * scale <= axis.to * (1 + 1e-12); index++) {
    const value = index * step;
    out.push([value * scale, digits ? value.toFixed(digits) : grouped(Math.round(value))]);
    if (out.length > 40) break;
  }
  return out;
};

const logTicks = (axis) => {
  const decades = Math.log10(axis.to / axis.from);
  const named = decades <= 1.2 ? [1, 2, 3, 5, 7] : decades <= 2.2 ? [1, 2, 5] : decades <= 3.5 ? [1, 3] : [1];
  const nameOf = (value) =>
    axis.spec.unit === "ns" ? duration(value).replace(/(\.\d*?)0+ /, "$1 ").replace(". ", " ") : grouped(Math.round(value));
  const out = [];
  if (decades < 0.6) {
    // So narrow that whole steps of a decade would leave it bare.
    const step = niceStep((axis.to - axis.from) / 4);
    for (let index = Math.ceil(axis.from / step); index * step <= axis.to; index++) {
      out.push([index * step, nameOf(index * step)]);
    }
    return out;
  }
  for (let power = Math.pow(10, Math.floor(Math.log10(axis.from))); power <= axis.to; power *= 10) {
    for (let step = 1; step < 10; step++) {
      const value = step * power;
      if (value < axis.from || value > axis.to) continue;
      out.push([value, named.includes(step) ? nameOf(value) : ""]);
    }
  }
  return out;
};

const drawGrid = (context, box, x, y) => {
  context.lineWidth = 1;
  context.textAlign = "center";
  for (const [value, text] of ticks(x, Math.max(2, Math.floor((box.right - box.left) / 90)))) {
    const at = Math.round(x.at(value)) + 0.5;
    context.strokeStyle = text ? colors.line : colors.minor;
    context.beginPath(); context.moveTo(at, box.top); context.lineTo(at, box.bottom); context.stroke();
    context.fillStyle = colors.soft;
    context.fillText(text, Math.min(at, box.right + 12 - context.measureText(text).width / 2), box.bottom + 16);
  }
  if (y) {
    context.textAlign = "right";
    let lastAt = Infinity;
    for (const [value, text] of ticks(y, 5)) {
      const at = Math.round(y.at(value)) + 0.5;
      context.strokeStyle = text ? colors.line : colors.minor;
      context.beginPath(); context.moveTo(box.left, at); context.lineTo(box.right, at); context.stroke();
      context.fillStyle = colors.soft;
      if (text && lastAt - at >= 14) { context.fillText(text, box.left - 7, at + 4); lastAt = at; }
    }
    context.fillStyle = colors.ink;
    context.textAlign = "left";
    context.fillText(y.title, 2, box.top - 12);
  }
  context.fillStyle = colors.ink;
  context.textAlign = "right";
  context.fillText(x.title, box.right, box.bottom + 31);
};

const drawBorder = (context, box) => {
  context.strokeStyle = colors.axis;
  context.beginPath();
  context.moveTo(box.left - 0.5, box.top);
  context.lineTo(box.left - 0.5, box.bottom + 0.5);
  context.lineTo(box.right, box.bottom + 0.5);
  context.stroke();
};

// Dragging selects a range, a double click goes back, the pointer's place is told to `hover`.
const zoomable = (canvas, { inside, select, reset, hover, click }) => {
  let start = null;
  const x = (event) => event.clientX - canvas.getBoundingClientRect().left;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !inside(x(event))) return;
    start = x(event);
    if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    canvas.selection = start !== null && Math.abs(x(event) - start) > 3 ? [start, x(event)] : null;
    hover(event, x(event));
  });
  canvas.addEventListener("pointerup", (event) => {
    const from = start;
    start = null;
    canvas.selection = null;
    if (from === null) return;
    if (Math.abs(x(event) - from) > 3) select(Math.min(from, x(event)), Math.max(from, x(event)));
    else if (click) click(event);
  });
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("dblclick", reset);
  canvas.addEventListener("wheel", (event) => {
    // The plain wheel scrolls the page.
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    view.zoom(event.deltaY > 0 ? 1.25 : 0.8);
  }, { passive: false });
};

// The moment of the finding that was asked for.
const drawMarker = (context, x, top, bottom) => {
  if (view.marker === null || view.marker < view.from || view.marker > view.to) return;
  const at = Math.round(x.at(view.marker)) + 0.5;
  context.strokeStyle = colors.bad;
  context.lineWidth = 1;
  context.setLineDash([4, 3]);
  context.beginPath(); context.moveTo(at, top); context.lineTo(at, bottom); context.stroke();
  context.setLineDash([]);
};

const drawSelection = (context, canvas, box) => {
  if (!canvas.selection) return;
  const [from, to] = canvas.selection.map((at) => Math.min(Math.max(at, box.left), box.right));
  context.fillStyle = colors.select;
  context.fillRect(Math.min(from, to), box.top, Math.abs(to - from), box.bottom - box.top);
};
