"use strict";
const dark = matchMedia("screen and (prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 600px)");

function colours(isDark) {
  const ink = isDark ? "#e6e9ee" : "#1f2933", rule = isDark ? "#39424d" : "#dfe3e8";
  return { ink, rule };
}

// The layout that a figure gets on this screen: texts and lines in the page's colours.
function layoutOf(figure, isDark) {
  const { ink, rule } = colours(isDark);
  const layout = structuredClone(figure.layout);
  Object.assign(layout, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
    font: { color: ink, family: "system-ui, sans-serif", size: narrow.matches ? 10 : 12 },
    margin: { l: narrow.matches ? 46 : 66, r: 14, t: 12, b: 50 },
    legend: { orientation: "h", y: narrow.matches ? -0.32 : -0.2, yanchor: "top", x: 0, font: { size: 11 } },
    hoverlabel: { bgcolor: isDark ? "#1c2229" : "#ffffff", font: { color: ink } },
  });
  for (const key of Object.keys(layout)) {
    if (/^[xy]axis\d*$/.test(key)) {
      Object.assign(layout[key], { gridcolor: rule, linecolor: rule, zeroline: false });
    }
  }
  return layout;
}

function draw(place, isDark = dark.matches) {
  place.figure ??= JSON.parse(place.nextElementSibling.textContent);
  const settings = { responsive: true, displaylogo: false, displayModeBar: false };
  const data = place.figure.data.map((trace) =>  // names would overlap on a phone
    narrow.matches && trace.mode === "markers+text" ? { ...trace, mode: "markers" } : trace);
  return Plotly.react(place, data, layoutOf(place.figure, isDark), settings);
}

const plots = [...document.querySelectorAll(".plot")];
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
  }
}, { rootMargin: "600px" });
plots.forEach((place) => seen.observe(place));
const redraw = (isDark) => plots.filter((place) => place.figure).forEach((p) => draw(p, isDark));
dark.addEventListener("change", () => redraw(dark.matches));
narrow.addEventListener("change", () => redraw(dark.matches));
addEventListener("beforeprint", () => plots.forEach((place) => draw(place, false)));
addEventListener("afterprint", () => redraw(dark.matches));

// Sorting: a click on a heading orders a table's rows, a second one the other way round.
function sortBy(table, heading) {
  const column = [...heading.parentNode.children].indexOf(heading);
  const up = heading.getAttribute("aria-sort") !== "ascending";
  const value = (body) => body.rows[0].cells[column].dataset.value;
  const numbers = heading.classList.contains("number") || column === 3;
  const rows = [...table.tBodies].sort((a, b) =>
    numbers ? value(a) - value(b) : value(a).localeCompare(value(b)));
  if (!up) rows.reverse();
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  table.append(...rows);
}

for (const table of document.querySelectorAll("table.board")) {
  table.addEventListener("click", (event) => {
    const heading = event.target.closest("th");
    if (heading && event.target.closest("button")) sortBy(table, heading);
    const row = event.target.closest("tr:not(.more)");
    if (!row || row.closest("thead")) return;
    const more = row.nextElementSibling, opener = row.querySelector(".opener");
    more.hidden = !more.hidden;
    opener.setAttribute("aria-expanded", String(!more.hidden));
    opener.textContent = more.hidden ? "+" : "\u2212";
  });
}
