//! Line drawings on a 20 by 20 grid. They never carry a meaning that no word beside them has.
const paths = {
  home: "M3.5 9 10 3.5 16.5 9v7.5h-4.75V12h-3.5v4.5H3.5z",
  campaign: "M3.5 8.5v3l2.5.5 7.5 4V4L6 8zM6 12l1 4h2l-.8-3.1M16 8.2v3.6",
  message: "M3.5 4.5h13v9H9l-3.5 3v-3h-2zM6.5 7.75h7M6.5 10.25h4.5",
  people: "M7.5 9.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2.5 16.5c0-3 2-4.75 5-4.75s5 1.75 5 4.75M12.5 3.9a3 3 0 0 1 0 5.2M14.5 12.3c1.9.7 3 2.2 3 4.2",
  template: "M4 3.5h12v13H4zM7 7h6M7 10h6M7 13h3.5",
  phone: "M6 2.5h8v15H6zM9 14.75h2",
  settings: "M3 6h7m4 0h3M3 14h3m4 0h7M12 8.25a2.25 2.25 0 1 0 0-4.5 2.25 2.25 0 0 0 0 4.5zM8 16.25a2.25 2.25 0 1 0 0-4.5 2.25 2.25 0 0 0 0 4.5z",
  search: "M8.75 14.5a5.75 5.75 0 1 0 0-11.5 5.75 5.75 0 0 0 0 11.5zM13 13l4 4",
  menu: "M3 5.5h14M3 10h14M3 14.5h14",
  close: "m5 5 10 10M15 5 5 15",
  check: "m4.5 10.5 3.5 3.5 7.5-8",
  chevron: "m5.5 8 4.5 4.5L14.5 8",
  back: "m12 4.5-5.5 5.5 5.5 5.5",
  next: "m8 4.5 5.5 5.5L8 15.5",
  plus: "M10 4v12M4 10h12",
  more: "M10 5.01V5M10 10.01V10M10 15.01V15",
  copy: "M7 7h9.5v9.5H7zM13 7V3.5H3.5V13H7",
  upload: "M10 13V4M6 7.5 10 3.5l4 4M3.5 13v3.5h13V13",
  download: "M10 3.5v9M6 9l4 4 4-4M3.5 13v3.5h13V13",
  pause: "M7 5v10M13 5v10",
  clock: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM10 6v4.25l2.75 1.75",
  event: "M4 4.5h2M4 10h2M4 15.5h2M9 4.5h7M9 10h7M9 15.5h5",
  code: "m7 6-4 4 4 4M13 6l4 4-4 4",
  segment: "M10 3v7l5.5 4.3M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14z",
  warning: "M10 3.5 17.5 16h-15zM10 8.5v3.25M10 14.01V14",
  inbox: "M3.5 11.5h3.75L8.75 14h2.5l1.5-2.5h3.75M3.5 11.5 5.75 4.5h8.5l2.25 7v5h-13z",
  attach: "m15.5 9.5-5.6 5.6a3.3 3.3 0 0 1-4.7-4.7l6-6a2.2 2.2 0 0 1 3.1 3.1l-5.8 5.8a1.1 1.1 0 0 1-1.6-1.6l5.1-5.1",
  send: "M3.5 10 16.5 3.5 13 16.5l-3-5zM10 11.5l6.5-8",
  ticks: "m2.5 10.5 3.5 3.5 7.5-8M9 13l1.2 1.2 7.3-8.2",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 18, flip = false }: { name: IconName; size?: number; flip?: boolean }) {
  return (
    <svg className={flip ? "flip" : undefined} width={size} height={size} viewBox="0 0 20 20" fill="none" stroke="currentColor"
      strokeWidth={name === "more" ? 2.4 : 1.6} strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

export function Logo() {
  return (
    <svg width="26" height="26" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="var(--accent)" />
      <path d="M8 12.5A4.5 4.5 0 0 1 12.5 8h7a4.5 4.5 0 0 1 4.5 4.5v3a4.5 4.5 0 0 1-4.5 4.5H15l-4.6 3.6c-.4.3-.9 0-.9-.5v-3.7A4.5 4.5 0 0 1 8 15.5z" fill="var(--on-accent)" />
      <path d="m12.6 14.2 2.4 2.3 4.6-4.6" fill="none" stroke="var(--accent)" strokeWidth="2" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}
