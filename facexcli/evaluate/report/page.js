"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const clock = (s) => {
    const minutes = Math.floor(s / 60), rest = (s - 60 * minutes).toFixed(2).padStart(5, "0");
    return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
  };

  // Before and after: the range says where the edge is.
  for (const box of document.querySelectorAll(".compare")) {
    const range = box.querySelector("input");
    const place = () => {
      box.style.setProperty("--at", `${range.value}%`);
      range.setAttribute("aria-valuetext", `${Math.round(100 - range.value)} per cent result`);
    };
    range.addEventListener("input", place);
    place();
  }
  for (const button of document.querySelectorAll("button.enlarge")) {
    button.addEventListener("click", () => {
      const isWide = button.closest("figure").classList.toggle("wide");
      button.textContent = isWide ? "Reduce" : "Enlarge";
      button.setAttribute("aria-pressed", isWide);
    });
  }

  // Timelines: one cursor for all plots of a timeline.
  const nearest = (values, wanted) => {
    let best = 0;
    for (let i = 1; i < values.length; i++) if (Math.abs(values[i] - wanted) < Math.abs(values[best] - wanted)) best = i;
    return best;
  };
  for (const timeline of data.timelines) {
    const section = document.getElementById(timeline.id), where = section.querySelector(".where");
    const plots = timeline.plots.map((plot) => {
      const figure = section.querySelector(`[data-plot="${plot.number}"]`);
      return { ...plot, figure, svg: figure.querySelector("svg"), cursor: figure.querySelector(".cursor"), outputs: figure.querySelectorAll("output") };
    });
    let at = 0;
    const show = (index) => {
      at = Math.max(0, Math.min(timeline.x.length - 1, index));
      section.classList.add("reading");
      where.textContent = timeline.t ? `${clock(timeline.t[at])}, frame ${timeline.f[at]}` : `frame ${timeline.f[at]}`;
      for (const plot of plots) {
        const place = `${100 * timeline.x[at]}%`;
        plot.cursor.setAttribute("x1", place);
        plot.cursor.setAttribute("x2", place);
        plot.series.forEach((values, i) => {
          const value = values[at] ?? values[near(values)];
          plot.outputs[i].textContent = value == null ? "" : value.toFixed(plot.digits);
        });
      }
    };
    // Some values are measured in every few frames only: the nearest within a few is told.
    const near = (values) => {
      for (let d = 1; d < 4; d++) for (const i of [at - d, at + d]) if (values[i] != null) return i;
      return -1;
    };
    const hide = () => {
      section.classList.remove("reading");
      where.textContent = where.dataset.rest;
      for (const plot of plots) for (const output of plot.outputs) output.textContent = "";
    };
    const toSample = () => {
      if (!timeline.leads || !data.samples.length) return;
      const frame = data.samples[nearest(data.samples, timeline.f[at])];
      const figure = document.getElementById(`frame-${frame}`);
      figure.scrollIntoView({ block: "center" });
      figure.querySelector("input").focus({ preventScroll: true });
    };
    for (const { figure, svg } of plots) {
      const read = (event) => {
        const edge = svg.getBoundingClientRect();
        show(nearest(timeline.x, (event.clientX - edge.left) / edge.width));
      };
      svg.addEventListener("pointermove", read);
      svg.addEventListener("pointerdown", read); // a finger does not move before it taps
      svg.addEventListener("pointerleave", hide);
      svg.addEventListener("click", (event) => { if (!event.target.closest("a")) toSample(); });
      figure.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -25, PageDown: 25, Home: -Infinity, End: Infinity }[event.key];
        if (step !== undefined) { event.preventDefault(); show(at + step); }
        if (event.key === "Enter") toSample();
      });
      figure.addEventListener("blur", hide);
    }
  }
}
