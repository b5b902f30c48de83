//! Numbers over time. What they say stands in words beside them as well.
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { instant } from "~/lib/format";
import { usePreferences } from "~/lib/preferences";

const height = 170;

export interface Line {
  name: string;
  values: number[];
  /** One of the tokens' colours. */
  colour: string;
}

export default function Chart({ times, lines, label }: { times: number[]; lines: Line[]; label: string }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const { theme } = usePreferences();
  const names = lines.map(({ name }) => name).join();

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: colour("--ink-2"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    plot.current = new uPlot(
      {
        width: element.clientWidth, height, legend: { show: false }, cursor: { y: false },
        scales: { y: { range: (_, __, max) => [0, Math.max(1, max * 1.15)] } },
        axes: [
          // Whole seconds, with room between them: a run that has just begun has few.
          { ...axis, size: 30, space: 96, incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600], values: (_, ticks) => ticks.map((tick) => instant(new Date(tick * 1000).toISOString(), undefined, true).split(", ")[1]?.replace(/\s\S+$/, "") ?? "") },
          { ...axis, size: 52 },
        ],
        series: [{}, ...lines.map((line, index) => ({ stroke: colour(line.colour), width: 2, points: { show: false }, ...(index === 0 ? { fill: `${colour(line.colour)}22` } : {}) }))],
      },
      [times, ...lines.map(({ values }) => values)],
      element,
    );
    const observer = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [theme, names]);

  useEffect(() => plot.current?.setData([times, ...lines.map(({ values }) => values)]), [times, lines]);

  return (
    <div>
      <ul className="legend small" aria-hidden="true">{lines.map(({ name, colour }) => <li key={name}><span style={{ background: `var(${colour})` }} />{name}</li>)}</ul>
      <div ref={box} className="chart" role="img" aria-label={label} />
    </div>
  );
}
