import { Outlet } from "@tanstack/react-router";
import { Mark } from "./mark";

export function VisitorFrame() {
  return (
    <div className="flex min-h-dvh flex-col items-center px-4 pt-[12vh] pb-12">
      <header className="mb-7 flex items-center gap-2.5">
        <Mark size={28} />
        <span className="text-base font-semibold tracking-tight">Tollgate</span>
      </header>
      <main className="w-full max-w-sm">
        <Outlet />
      </main>
    </div>
  );
}

/** The one card of a page for visitors. */
export function Card({ title, note, children }: { title: string; note?: string; children: React.ReactNode }) {
  return (
    <div className="rounded-xl border border-line bg-panel p-6 shadow-low">
      <title>{`${title} · Tollgate`}</title>
      <h1 className="text-base font-semibold tracking-tight">{title}</h1>
      {note && <p className="mt-1 text-muted">{note}</p>}
      <div className="mt-5">{children}</div>
    </div>
  );
}
