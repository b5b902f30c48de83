//! Lists. Only the rows in view exist, so that a million of them scroll like ten; where the screen is narrow each is a card.
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useRef, useState, type ReactNode } from "react";
import { t } from "~/i18n";
import type { Pages } from "~/lib/data";
import { number } from "~/lib/format";
import { Failure, Skeleton } from "./parts";

export interface Column<N> {
  title: string;
  cell: (row: N) => ReactNode;
  end?: boolean;
  width?: string;
  /** Says nothing on a card. */
  isBlank?: (row: N) => boolean;
}

interface Props<N> {
  label: string;
  columns: Column<N>[];
  rows: N[];
  id: (row: N) => string;
  linked?: boolean;
  onEnd?: () => void;
}

const row_height = 58;

export function Table<N>({ label, columns, rows, id, linked, onEnd }: Props<N>) {
  const body = useRef<HTMLTableElement>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => setTop((body.current?.getBoundingClientRect().top ?? 0) + window.scrollY), [rows.length]);
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => row_height,
    overscan: 12,
    scrollMargin: top,
    getItemKey: (index) => id(rows[index] as N),
  });
  const items = virtual.getVirtualItems();
  const first = items[0];
  const last = items[items.length - 1];
  const before = first ? first.start - top : 0;
  const after = last ? virtual.getTotalSize() - (last.end - top) : 0;
  const isAtEnd = !!last && last.index >= rows.length - 20;
  useEffect(() => {
    if (isAtEnd) onEnd?.();
  }, [isAtEnd, rows.length, onEnd]);

  return (
    <table ref={body} className="table" role="table" aria-label={label} aria-rowcount={onEnd ? -1 : rows.length + 1}>
      <thead role="rowgroup">
        <tr role="row" aria-rowindex={1}>
          {columns.map((column, index) => (
            <th key={index} role="columnheader" scope="col" className={column.end ? "end" : undefined} style={{ inlineSize: column.width }}>
              {column.title || <span className="visually-hidden">{t("common.actions")}</span>}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {before > 0 && <tr className="spacer" aria-hidden="true"><td style={{ blockSize: before, padding: 0 }} /></tr>}
        {items.map((item) => {
          const row = rows[item.index] as N;
          return (
            <tr key={item.key} role="row" aria-rowindex={item.index + 2} data-index={item.index} ref={virtual.measureElement} className={linked ? "linked" : undefined}>
              {columns.map((column, index) => (
                <td key={index} role="cell" data-label={column.title} className={[column.end && "end", column.isBlank?.(row) && "blank"].filter(Boolean).join(" ") || undefined}>
                  {index === 0 ? column.cell(row) : <span>{column.cell(row)}</span>}
                </td>
              ))}
            </tr>
          );
        })}
        {after > 0 && <tr className="spacer" aria-hidden="true"><td style={{ blockSize: after, padding: 0 }} /></tr>}
      </tbody>
    </table>
  );
}

/** A list from the gateway in a card of its own: it loads, fails, is empty, or shows its rows and goes on at its end. */
export function ListCard<N>({ pages, empty, foot, ...table }: Omit<Props<N>, "rows" | "onEnd"> & { pages: Pages<N>; empty: ReactNode; foot?: ReactNode }) {
  const { items, problem, hasMore, loadMore } = pages;
  return (
    <section className="card">
      {problem && <div className="card-body"><Failure problem={problem} /></div>}
      {!items && !problem && <div className="card-body"><Skeleton lines={6} /></div>}
      {items && items.length === 0 && !problem && empty}
      {items && items.length > 0 && (
        <>
          <Table {...table} rows={items} onEnd={hasMore ? loadMore : undefined} />
          <div className="table-foot">
            <span>{hasMore ? t("list.shownSoFar", { n: number(items.length) }) : t("list.all", { count: items.length, n: number(items.length) })}</span>
            {foot}
          </div>
        </>
      )}
    </section>
  );
}
