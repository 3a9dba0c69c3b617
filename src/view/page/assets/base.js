// What every part uses: the data, the common stretch of time, numbers, the tooltip.

const byId = (id) => document.getElementById(id);
const make = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "text") element.textContent = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};

const data = JSON.parse(byId("data").textContent);
for (const chart of data.charts) {
  if (chart.kind !== "time") continue;
  let at = 0;
  // Ticks as differences become nanoseconds.
  chart.times = Float64Array.from(chart.times, (step) => (at += step) * data.tick);
  for (const mark of chart.marks) mark[0] *= data.tick;
}
const requests = data.requests;
for (const name of ["arrival", "completion", "firstToken", "waiting", "ttft", "e2e"]) {
  requests[name] = requests[name].map((value) => (value === null ? null : value * data.tick));
}
const findings = data.findings.map(([rule, request, at, severity]) => ({
  rule, request, severity, at: at === null ? null : at * data.tick,
}));
requests.findings = requests.id.map(() => 0);
for (const finding of findings) if (finding.request !== null) requests.findings[finding.request] += 1;

// The stretch of time that all charts over time and the timeline show.
const view = {
  least: 0, most: Math.max(data.end, 1), from: 0, to: Math.max(data.end, 1), changed: [], marker: null,
  set(from, to) {
    const narrowest = Math.max((this.most - this.least) * 1e-7, 1);
    let width = Math.min(Math.max(to - from, narrowest), this.most - this.least);
    from = Math.min(Math.max(from, this.least), this.most - width);
    this.from = from;
    this.to = from + width;
    schedule();
  },
  zoom(factor, around) {
    const center = around === undefined ? (this.from + this.to) / 2 : around;
    this.set(center - (center - this.from) * factor, center + (this.to - center) * factor);
  },
  shift(part) {
    const by = (this.to - this.from) * part;
    this.set(this.from + by, this.to + by);
  },
  reset() { this.set(this.least, this.most); },
};

let scheduled = false;
const redraw = () => { scheduled = false; for (const draw of view.changed) draw(); };
const schedule = () => {
  if (!scheduled) { scheduled = true; requestAnimationFrame(redraw); }
};

const grouped = (value) => {
  const text = Math.abs(value) >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3);
  const [whole, rest] = text.split(".");
  return whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",") + (rest ? "." + rest : "");
};
const TIME_UNITS = [["h", 3.6e12], ["min", 6e10], ["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]];
const duration = (nanos) => {
  if (nanos === null || nanos === undefined) return "–";
  const [unit, scale] = TIME_UNITS.slice(2).find(([, scale]) => nanos >= scale) || ["ns", 1];
  const value = nanos / scale;
  const digits = value >= 100 || unit === "ns" ? 0 : value >= 10 ? 1 : 2;
  return (digits ? value.toFixed(digits) : grouped(Math.round(value))) + " " + unit;
};
const moment = (nanos) => {
  // As many digits as tell two neighbouring pixels apart.
  const digits = Math.min(9, Math.max(0, Math.ceil(-Math.log10((view.to - view.from) / 1e12))));
  return (nanos / 1e9).toFixed(digits) + " s";
};
const amount = (value, unit) =>
  unit === "ns" ? duration(value) : unit === "percent" ? value.toFixed(1) + " %" : grouped(value);

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let colors = {};
const readColors = () => {
  for (const name of ["card", "ink", "soft", "line", "minor", "axis", "accent", "bad", "warn", "select"]) {
    colors[name] = css("--" + name);
  }
};
readColors();

const STATE_COLORS = { waiting: "#d8b12f", prefill: "#3b7dd8", running: "#2a9d7c", preempted: "#d1495b" };
const REASON_COLORS = ["#3b7dd8", "#e58a2c", "#8661c1", "#d1495b", "#58b4d9", "#2a9d7c", "#7d8896"];
const seenReasons = [];
for (const spans of requests.spans) {
  for (let at = 3; at < spans.length; at += 4) {
    if (spans[at] >= 0 && !seenReasons.includes(spans[at])) seenReasons.push(spans[at]);
  }
}
seenReasons.sort((a, b) => a - b);
const reasonColor = (reason) => REASON_COLORS[seenReasons.indexOf(reason) % REASON_COLORS.length];

// A canvas as sharp as the screen; returns its context and its extent in CSS pixels.
const prepare = (canvas) => {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif";
  context.textBaseline = "alphabetic";
  return { context, width, height };
};

const tooltip = {
  element: byId("tooltip"),
  show(event, title, lines) {
    this.element.replaceChildren(make("b", { text: title }));
    for (const [color, text] of lines) {
      const line = make("div", {});
      if (color) line.append(make("i", { style: "background:" + color }));
      line.append(text);
      this.element.append(line);
    }
    this.element.style.display = "block";
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const left = event.clientX + 16 + width > innerWidth ? event.clientX - width - 12 : event.clientX + 16;
    const top = Math.min(event.clientY + 14, innerHeight - height - 8);
    this.element.style.left = Math.max(4, left) + "px";
    this.element.style.top = Math.max(4, top) + "px";
  },
  hide() { this.element.style.display = "none"; },
};
