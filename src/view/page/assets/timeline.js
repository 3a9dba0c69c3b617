// The timeline: one row per request, drawn only where it is seen, below an overview of all of them.

const ROW = 17;
const LABEL = 150;

const timeline = {
  rows: [], // top down: the requests of each row, in order of time
  selected: null,
  filter: "",
};

const finishOf = (index) => {
  const spans = requests.spans[index];
  const last = spans.length ? requests.arrival[index] + (spans[spans.length - 3] + spans[spans.length - 2]) * data.tick : 0;
  return Math.max(requests.completion[index] ?? last, requests.arrival[index]);
};

const finish = requests.id.map((_, index) => finishOf(index));

// Puts every request into the first row that is free when it arrives.
const pack = (order) => {
  const rows = [], ends = [];
  for (const index of order) {
    let row = ends.findIndex((end) => end <= requests.arrival[index]);
    if (row < 0) row = rows.push([]) - 1;
    rows[row].push(index);
    ends[row] = finish[index];
  }
  return rows;
};

const arrange = () => {
  const by = byId("order").value;
  const onlyInView = byId("inview").checked;
  const keys = by === "packed" || by === "arrival" ? null : requests[by];
  const order = requests.id.map((_, index) => index).filter((index) =>
    (!timeline.filter || requests.id[index].toLowerCase().includes(timeline.filter)) &&
    (!onlyInView || (requests.arrival[index] <= view.to && finish[index] >= view.from)));
  order.sort((a, b) =>
    (keys ? (keys[b] ?? -1) - (keys[a] ?? -1) : 0) || requests.arrival[a] - requests.arrival[b] || a - b);
  timeline.rows = by === "packed" ? pack(order) : order.map((index) => [index]);
  byId("spacer").style.height = Math.max(timeline.rows.length * ROW + 30, 1) + "px";
};
const rowOf = (index) => timeline.rows.findIndex((row) => row.includes(index));

// The spans of a request: [kind, from, to, reason], running split at the first token.
const spansOf = (index) => {
  const out = [], spans = requests.spans[index], first = requests.firstToken[index];
  for (let at = 0; at < spans.length; at += 4) {
    const state = data.states[spans[at]];
    const from = requests.arrival[index] + spans[at + 1] * data.tick, to = from + spans[at + 2] * data.tick;
    if (state !== "running") out.push([state, from, to, spans[at + 3]]);
    else if (first === null || first >= to) out.push(["prefill", from, to, -1]);
    else if (first <= from) out.push(["running", from, to, -1]);
    else out.push(["prefill", from, first, -1], ["running", first, to, -1]);
  }
  return out;
};

const laneAxis = (width) =>
  axis({ label: "time since the start", unit: "ns", log: false }, view.from, view.to, LABEL, width - 14);

const drawLane = (context, index, top, x, right) => {
  const shortest = (view.to - view.from) / (right - LABEL) / 3;
  const crowded = x.at(finish[index]) - x.at(requests.arrival[index]) < 14;
  let covered = -1;
  for (const [kind, from, to, reason] of spansOf(index)) {
    if (to < view.from || from > view.to) continue;
    const left = Math.max(x.at(from), LABEL), width = Math.max(Math.min(x.at(to), right) - left, 1);
    // What is narrower than a pixel is drawn once per pixel.
    if (to - from < shortest && kind !== "preempted" && left < covered + 0.5) continue;
    covered = left + width;
    context.fillStyle = STATE_COLORS[kind];
    const waits = kind === "waiting" || kind === "preempted";
    context.globalAlpha = waits ? 0.75 : 1;
    context.fillRect(left, top + (waits ? 5 : 3), width, ROW - (waits ? 9 : 6));
    context.globalAlpha = 1;
    if (waits && reason >= 0) {
      context.fillStyle = reasonColor(reason);
      context.fillRect(left, top + ROW - 5, width, 3);
    }
    if (kind === "preempted" && from >= view.from) {
      context.fillStyle = STATE_COLORS.preempted;
      if (crowded) {
        context.fillRect(left - 0.5, top + 1, 2, 4);
        continue;
      }
      context.beginPath();
      context.moveTo(left - 4, top + 1); context.lineTo(left + 4, top + 1); context.lineTo(left, top + 8);
      context.fill();
    }
  }
};

const drawFindingMarks = (context, x, first, last, offset) => {
  const rows = new Map();
  for (let row = first; row < last; row++) for (const index of timeline.rows[row]) rows.set(index, row);
  findings.forEach((finding) => {
    const row = rows.get(finding.request);
    if (row === undefined || finding.at === null || finding.at < view.from || finding.at > view.to) return;
    const at = x.at(finding.at), middle = row * ROW + offset + ROW / 2;
    context.fillStyle = finding.severity === "error" ? colors.bad : colors.warn;
    context.strokeStyle = colors.card;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(at, middle - 7); context.lineTo(at + 6, middle); context.lineTo(at, middle + 7); context.lineTo(at - 6, middle);
    context.closePath();
    context.fill(); context.stroke();
  });
};

const shortened = (context, text, width) => {
  let short = text;
  while (short.length > 4 && context.measureText(short + "…").width > width) short = short.slice(0, -2);
  return short.length < text.length ? short + "…" : text;
};

const drawSelected = (context, index, top, x, right) => {
  const left = Math.max(x.at(requests.arrival[index]) - 3, LABEL);
  const end = Math.min(x.at(finish[index]) + 3, right);
  context.fillStyle = colors.select;
  context.fillRect(left, top, end - left, ROW);
  context.strokeStyle = colors.accent;
  context.lineWidth = 1.5;
  context.strokeRect(left + 0.5, top + 0.5, end - left - 1, ROW - 1);
};

// Names in the bars that have room for them.
const drawNames = (context, row, top, x, right) => {
  for (const index of row) {
    const left = Math.max(x.at(requests.arrival[index]), LABEL), end = Math.min(x.at(finish[index]), right);
    if (end - left < 34 || requests.arrival[index] > view.to || finish[index] < view.from) continue;
    const name = shortened(context, requests.id[index], end - left - 8);
    context.lineWidth = 3;
    context.strokeStyle = colors.card;
    context.globalAlpha = 0.75;
    context.strokeText(name, left + 5, top + 13);
    context.globalAlpha = 1;
    context.fillStyle = requests.findings[index] ? colors.bad : colors.ink;
    context.fillText(name, left + 5, top + 13);
  }
};

const drawRows = () => {
  const canvas = byId("rows");
  const { context, width, height } = prepare(canvas);
  if (width < LABEL + 30) return;
  const x = laneAxis(width), right = width - 14, bottom = height - 24;
  context.strokeStyle = colors.line;
  context.lineWidth = 1;
  context.textAlign = "center";
  for (const [value, text] of ticks(x, Math.floor((right - LABEL) / 110))) {
    const at = Math.round(x.at(value)) + 0.5;
    context.beginPath(); context.moveTo(at, 0); context.lineTo(at, bottom); context.stroke();
    context.fillStyle = colors.soft;
    context.fillText(text, at, height - 8);
  }
  context.textAlign = "left";
  context.fillStyle = colors.ink;
  context.fillText(`time (${x.unit[0]})`, 8, height - 8);
  const scrolled = byId("scroll").scrollTop;
  const first = Math.floor(scrolled / ROW), last = Math.min(first + Math.ceil(height / ROW) + 1, timeline.rows.length);
  context.save();
  context.beginPath(); context.rect(0, 0, width, bottom); context.clip();
  for (let row = first; row < last; row++) {
    const here = timeline.rows[row], top = row * ROW - scrolled;
    for (const index of here) {
      if (requests.arrival[index] > view.to || finish[index] < view.from) continue;
      if (index === timeline.selected) drawSelected(context, index, top, x, right);
      drawLane(context, index, top, x, right);
    }
    if (byId("order").value === "packed") {
      drawNames(context, here, top, x, right);
      context.fillStyle = colors.soft;
      context.fillText(`lane ${row + 1}`, 8, top + 13);
      continue;
    }
    context.fillStyle = requests.findings[here[0]] ? colors.bad : colors.ink;
    context.fillText(shortened(context, requests.id[here[0]], LABEL - 16), 8, top + 13);
  }
  drawMarker(context, x, 0, bottom);
  drawFindingMarks(context, x, first, last, -scrolled);
  context.restore();
  if (crosshair !== null && crosshair >= view.from && crosshair <= view.to) {
    context.strokeStyle = colors.soft;
    context.beginPath(); context.moveTo(x.at(crosshair), 0); context.lineTo(x.at(crosshair), bottom); context.stroke();
  }
  drawSelection(context, canvas, { left: LABEL, right, top: 0, bottom });
};

// All requests at once: how many run and how many wait.
const drawOverview = () => {
  const canvas = byId("overview");
  const { context, width, height } = prepare(canvas);
  const queues = data.charts.find((chart) => chart.name === "queue-lengths");
  if (width < LABEL + 30 || !queues || queues.times.length < 2) return;
  const x = laneAxis(width), right = width - 14;
  const [from, to] = inView(queues.times);
  const [running, waiting] = queues.series.map((series) => series.mean);
  let most = 1;
  for (let i = from; i < to; i++) most = Math.max(most, running[i] + waiting[i]);
  const y = axis({ label: "", unit: "count", log: false }, 0, most * 1.05, height - 6, 10);
  const none = new Float64Array(running.length), sum = running.map((count, i) => count + waiting[i]);
  context.save();
  context.beginPath(); context.rect(LABEL, 0, right - LABEL, height); context.clip();
  for (const [above, below, color] of [[running, none, STATE_COLORS.running], [sum, running, STATE_COLORS.waiting]]) {
    context.fillStyle = color;
    context.globalAlpha = 0.85;
    context.beginPath();
    stairs(context, queues.times, above, x, y, from, to);
    stairs(context, queues.times, below, x, y, from, to, true);
    context.fill();
  }
  context.restore();
  context.fillStyle = colors.ink;
  context.textAlign = "left";
  context.fillText("all requests", 8, 20);
  context.fillStyle = colors.soft;
  context.fillText(`running + waiting, up to ${grouped(most)}`.slice(0, 40), 8, 36, LABEL - 16);
  drawSelection(context, canvas, { left: LABEL, right, top: 0, bottom: height });
};

const laneAt = (event, at) => {
  const row = Math.floor((event.clientY - byId("rows").getBoundingClientRect().top + byId("scroll").scrollTop) / ROW);
  const here = timeline.rows[row] || [];
  if (here.length === 1 && byId("order").value !== "packed") return here[0];
  const slack = (view.to - view.from) / 500;
  return here.find((index) => requests.arrival[index] - slack <= at && finish[index] + slack >= at);
};

const describe = (index, at) => {
  const lines = [];
  const span = spansOf(index).find(([, from, to]) => at >= from && at <= to);
  if (span) {
    const [kind, from, to, reason] = span;
    const name = kind === "running" ? "running (decode)" : kind === "prefill" ? "running (prefill)" : kind;
    lines.push([STATE_COLORS[kind], `${name} for ${duration(to - from)}`]);
    if (reason >= 0) lines.push([reasonColor(reason), `kept out by ${data.reasons[reason]}`]);
  }
  lines.push([null, `arrived at ${moment(requests.arrival[index])}`]);
  lines.push([null, `TTFT ${duration(requests.ttft[index])} · TPOT ${duration(requests.tpot[index])} · e2e ${duration(requests.e2e[index])}`]);
  lines.push([null, `${grouped(requests.input[index])} prompt, ${grouped(requests.output[index])} output tokens`]);
  if (requests.preemptions[index]) lines.push([STATE_COLORS.preempted, `preempted ${requests.preemptions[index]} times`]);
  for (const finding of findings) {
    if (finding.request === index && lines.length < 12) lines.push([colors.bad, `${finding.severity} ${finding.rule}`]);
  }
  return lines;
};

// Selects a request, shows where it is, and marks its row in the table.
const select = (index, zoom) => {
  timeline.selected = index;
  if (index !== null && rowOf(index) < 0) {
    byId("inview").checked = false;
    setFilter("");
  }
  if (zoom && index !== null) {
    const from = requests.arrival[index], to = finish[index], width = Math.max(to - from, 1e6);
    view.set(from - width * 0.15, to + width * 0.15);
  }
  const row = rowOf(index);
  if (row >= 0) {
    const scroll = byId("scroll");
    const hidden = row * ROW < scroll.scrollTop || (row + 3) * ROW > scroll.scrollTop + scroll.clientHeight;
    if (hidden) scroll.scrollTop = Math.max(0, row * ROW - scroll.clientHeight / 2);
  }
  markTableRow();
  schedule();
};

const startTimeline = () => {
  const keys = [["waiting", STATE_COLORS.waiting], ["running: prefill", STATE_COLORS.prefill],
    ["running: decode", STATE_COLORS.running], ["preempted ▾", STATE_COLORS.preempted],
    ...seenReasons.map((reason) => ["kept out by " + data.reasons[reason], reasonColor(reason)])];
  keys.forEach(([name, color], index) => byId("lanekeys").append(make("span", { class: "key" },
    make("i", { style: `background:${color}` + (index > 3 ? ";height:4px" : "") }), name)));
  if (findings.length) byId("lanekeys").append(make("span", { class: "key" }, "◆ finding"));
  const shared = {
    inside: (at) => at >= LABEL,
    reset: () => view.reset(),
  };
  for (const canvas of [byId("rows"), byId("overview")]) {
    const value = (at) => laneAxis(canvas.clientWidth).value(Math.min(Math.max(at, LABEL), canvas.clientWidth - 14));
    zoomable(canvas, {
      ...shared,
      select: (from, to) => view.set(value(from), value(to)),
      click(event) {
        const index = canvas.id === "rows" ? laneAt(event, value(event.offsetX)) : undefined;
        if (index !== undefined) select(index, false);
      },
      hover(event, at) {
        crosshair = event && at >= LABEL ? value(at) : null;
        const index = event && canvas.id === "rows" ? laneAt(event, value(at)) : undefined;
        if (index === undefined) tooltip.hide();
        else tooltip.show(event, requests.id[index], describe(index, at >= LABEL ? value(at) : -1));
        schedule();
      },
    });
  }
  byId("scroll").addEventListener("scroll", schedule);
  byId("order").addEventListener("change", () => { arrange(); byId("scroll").scrollTop = 0; schedule(); });
  byId("inview").addEventListener("change", () => { arrange(); schedule(); });
  view.changed.push(() => { if (byId("inview").checked) arrange(); drawOverview(); drawRows(); });
  arrange();
};
